"""Does deduplication grow linearly, and within its memory? Ten times the documents, and the same cap.

    python benchmarks/dedup_scale.py [--documents 10000000] [--memory-mb 1024] [--work DIR] [--json]

Synthetic short documents made from a seed: 8 to 24 words of 50,000, of ten documents one a near copy of an earlier one
(a word changed or added), of a hundred one an exact copy, and of a hundred one with a banner of 30 words that all of
these share (a hot key). N and 10 N documents are built by `pipeline.build` with one worker, each in a process of its
own: CPU seconds and wall clock of every step, the highest resident memory of the process, and the ratio of the two
sizes. Needs about 2 kB a document on the disk of --work.
"""

import json
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from dedup_quality import Clock
from harness import arguments, finish, in_child, peak_mb, table

FILE_DOCUMENTS = 250_000
WORDS = 50_000
STEPS = ("exact", "bands", "candidates", "similar", "near")


def vocabulary() -> pa.Array:
    """Return made-up words of 3 to 11 letters."""
    generator = np.random.default_rng(1)
    lengths = generator.integers(3, 12, WORDS)
    letters = generator.integers(97, 123, lengths.sum()).astype(np.uint8)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    return pa.StringArray.from_buffers(WORDS, pa.py_buffer(offsets.tobytes()), pa.py_buffer(letters.tobytes()))


def texts(words: pa.Array, seed: int, count: int) -> pa.Array:
    """Return `count` documents that follow from the seed."""
    generator = np.random.default_rng(seed)
    lengths = generator.integers(8, 25, count)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    drawn = generator.integers(0, WORDS, offsets[-1])
    kind = generator.random(count)
    sources = np.maximum(np.arange(count) - generator.integers(1, 1000, count), 0)
    chosen = np.where(kind < 0.11, sources, np.arange(count))
    lengths = lengths[chosen]
    starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    places = np.arange(starts[-1]) - np.repeat(starts[:-1], lengths) + np.repeat(offsets[chosen], lengths)
    copied = drawn[places]
    near = np.flatnonzero((kind >= 0.01) & (kind < 0.11))
    copied[starts[near]] = generator.integers(0, WORDS, len(near))
    lists = pa.ListArray.from_arrays(pa.array(starts.astype(np.int32)), words.take(pa.array(copied)))
    joined = pc.binary_join(lists, " ")
    banner = pa.scalar(" ".join(words.slice(0, 30).to_pylist()) + " ")
    with_banner = pc.binary_join_element_wise(banner, joined, "")
    return pc.if_else(pa.array(kind > 0.99), with_banner, joined)


def write_source(folder: Path, documents: int) -> float:
    """Write Parquet files of so many documents; return the bytes of their text."""
    folder.mkdir(parents=True)
    words, size = vocabulary(), 0
    for number, first in enumerate(range(0, documents, FILE_DOCUMENTS)):
        column = texts(words, number, min(FILE_DOCUMENTS, documents - first))
        size += pc.sum(pc.binary_length(column)).as_py()
        pq.write_table(pa.table({"text": column}), folder / f"part-{number:05d}.parquet", compression="zstd")
    return float(size)


def build(work: Path, documents: int, memory_mb: int) -> dict[str, Any]:
    """Build so many documents; return seconds by step, the peak of this process and what was dropped."""
    import pipeline
    from pipeline.config import Profile
    from pipeline.recipe import Recipe

    size = write_source(work / "raw", documents)
    recipe = Recipe.model_validate({"name": "scale", "sources": {"web": str(work / "raw")}, "dedup": {}})
    clock = Clock()
    built = pipeline.build(recipe, Profile(root=work / "root", workers=1, memory_mb=memory_mb), watcher=clock)
    facts = built["candidates"].manifest.facts
    dropped = {
        step: sum(d["dropped"] for d in built[step].manifest.facts["lost"].values()) for step in ("exact", "near")
    }
    return {
        "documents": documents,
        "text_mb": size / 1e6,
        "cpu_s": clock.cpu_s,
        "peak_mb": peak_mb(),
        "pairs": facts["pairs"],
        "hottest_key": facts["hot_keys"][0]["documents"] if facts["hot_keys"] else 0,
        "dropped": dropped["near"],
        "dropped_exact": dropped["exact"],
    }


def one(options: Any) -> int:
    """Run one size in this process and print its JSON."""
    work = Path(tempfile.mkdtemp(dir=options.work))
    try:
        print(json.dumps(build(work, options.one, options.memory_mb)))
    finally:
        shutil.rmtree(work)
    return 0


def main() -> int:
    parser = arguments(__doc__.splitlines()[0], repeats=1)
    parser.add_argument("--documents", type=int, default=10_000_000, help="the larger size (%(default)s)")
    parser.add_argument("--memory-mb", type=int, default=1024, help="`memory_mb` of the profile (%(default)s)")
    parser.add_argument("--work", type=Path, default=None, help="where to work (the system's temporary folder)")
    parser.add_argument("--one", type=int, help="this size only, in this process")
    options = parser.parse_args()
    if options.one:
        return one(options)
    more = ["--memory-mb", str(options.memory_mb), *(["--work", str(options.work)] if options.work else [])]
    sizes = (options.documents // 10, options.documents)
    small, large = (in_child(__file__, "--one", str(size), *more) for size in sizes)
    rows = [
        [step, small["cpu_s"][step], large["cpu_s"][step], large["cpu_s"][step] / small["cpu_s"][step]]
        for step in STEPS
    ]
    sums = [sum(run["cpu_s"][step] for step in STEPS) for run in (small, large)]
    rows.append(["deduplication together", *sums, sums[1] / sums[0]])
    table("CPU seconds", ["step", *(f"{size:,}" for size in sizes), "ratio"], rows)
    names = ("text_mb", "peak_mb", "pairs", "hottest_key", "dropped_exact", "dropped")
    table("figures", ["figure", *(f"{size:,}" for size in sizes)], [[n, small[n], large[n]] for n in names])
    finish(options, {"small": small, "large": large, "ratio": sums[1] / sums[0]})
    return 0


if __name__ == "__main__":
    sys.exit(main())
