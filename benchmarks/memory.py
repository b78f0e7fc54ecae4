"""Memory of the driver by number of shards, and of a worker by size of file.

    python benchmarks/memory.py [--shards 10000 100000] [--gb 1] [--tokens [MB]] [--json]

driver: a map over so many shards, its records frozen into a manifest, the manifest written and read back; the tasks
themselves are played by a runner that only writes their records. worker: a map over one Parquet file that is a single
row group of so much text; `narrow` counts words, `text` writes the lowered text back. `--tokens` measures encoding
instead, of documents of so many MB each, with either engine: the highest resident size within every step of a build
from raw Parquet to packed sequences, driver and worker in one process. Every figure is from a process of its own:
the highest resident size (VmHWM) over what was resident after imports and a rehearsal on ten shards, or on words.
"""

import importlib
import os
import random
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from engine import FUNCTIONS, narrow_batch
from harness import arguments, finish, in_child, peak_mb, resident_mb, table

import pipeline
from pipeline import store
from pipeline.api import Silent
from pipeline.config import Profile
from pipeline.corpus import DATA, Corpus, Manifest, Shard, Shards
from pipeline.execution import LocalRunner
from pipeline.recipe import Recipe, Source, Tokens
from pipeline.stage import Step
from pipeline.store import Record
from pipeline.tasks import Foreman, Task
from pipeline.tokens import engine
from pipeline.tokens.train import TrainParams, train_tokenizer

os.environ |= {"RAYON_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
SUM = "0123456789abcdef0123456789abcdef"
HUGE = {engine.FAST: 8, engine.REFERENCE: 2}
"""How many huge documents an engine gets: Hugging Face `tokenizers` takes some seconds for each."""


class Peaks(Silent):
    """Notes the highest resident size within every step."""

    def __init__(self) -> None:
        self.mb: dict[str, float] = {}

    def begin(self, step: Any, index: int, total: int) -> None:
        """Forget the highest size so far, which Linux does when it is asked."""
        Path("/proc/self/clear_refs").write_text("5")

    def end(self, step: Any, corpus: Any, *, kept: bool, seconds: float) -> None:
        """Note it."""
        self.mb[step.name] = peak_mb()


class Actor:
    """A runner that does no task, but writes the record that a worker would have written."""

    def __init__(self, root: Path):
        self.root = root

    def run(self, fn: Callable[[Any], Any], tasks: Sequence[Task], *, warm: bool = False) -> Iterator[tuple[int, Any]]:
        """Yield a record for every task."""
        for index in range(len(tasks)):
            task = tasks[index]
            shard = Shard(f"{task.key}.parquet", 1000, 1 << 20, f"{index:032x}")
            record = Record(task.key, task.identity, (shard,), tally={"web": {"rows_in": 1000, "rows_kept": 1000}})
            path = store.record_path(self.root, DATA, task.key)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(record.to_json())
            yield index, record


def drive(root: Path, shards: int) -> None:
    """Do all that a driver does for one map step."""
    names = (Shard(f"part-{i:06d}.parquet", 1000, 1 << 20, f"{i:032x}", SUM) for i in range(shards))
    manifest = Manifest(stage="in", version=1, fingerprint="in", params={}, inputs={}, shards=Shards(names))
    corpus = Corpus(root=root / "in", manifest=manifest)
    out = root / f"out-{shards}"
    store.begin(out, {"stage": "out"})
    step = Step("out", out, {"documents": corpus}, Foreman("out", out, Actor(out)))  # type: ignore[arg-type]
    step.map_shards(narrow_batch, columns={"documents": ("text",)}, schema=FUNCTIONS["narrow"][1])

    def describe(found: Shards, files: Shards) -> Manifest:
        return Manifest(stage="out", version=1, fingerprint="", params={}, inputs={}, shards=found, files=files)

    made = hash(store.finish(out, describe, step.keys).manifest.shards)
    read = store.open_corpus(out)
    assert read is not None
    assert len(read.manifest.shards) == shards
    assert hash(read.manifest.shards) == made


def write_big(path: Path, size: int) -> None:
    """Write `size` bytes of text as a single row group."""
    words = " ".join(f"{i * 2654435761 % 99991:05d}" for i in range(1000))
    texts = [f"{i} {words}" for i in range(size // len(words))]
    rows = pa.table({"id": pa.array([str(i) for i in range(len(texts))]), "text": pa.array(texts, pa.large_string())})
    pq.write_table(rows, path, row_group_size=1 << 30, use_dictionary=False, write_page_checksum=True)
    assert pq.read_metadata(path).num_row_groups == 1


def stream(root: Path, name: str, file: str) -> None:
    """Map one file."""
    rows = pq.read_metadata(root / DATA / file).num_rows
    shards = Shards([Shard(file, rows, 0, file)])
    manifest = Manifest(stage="in", version=1, fingerprint="in", params={}, inputs={}, shards=shards)
    out = root / f"{name}-{file}"
    step = Step("out", out, {"documents": Corpus(root=root, manifest=manifest)}, Foreman("out", out, LocalRunner(1)))
    fn, schema = FUNCTIONS[name]
    if name == "text":
        schema = schema.set(1, pa.field("text", pa.large_string()))
        fn = _lower_large
    step.map_shards(fn, columns={"documents": ("id", "text")}, schema=schema)


def _lower_large(batch: pa.RecordBatch) -> pa.RecordBatch:
    lower = pc.utf8_lower(batch["text"])
    words = pc.count_substring(lower, " ").cast(pa.int32())
    return pa.RecordBatch.from_arrays([batch["id"], lower, words], names=["id", "text", "words"])


def write_huge(folder: Path, size: int) -> None:
    """Write texts of `size` bytes each, lines of this project's own files in random order, and a vocabulary of them."""
    root = Path(__file__).parents[1]
    files = [path for part in ("pipeline", "tests", "docs") for path in sorted((root / part).rglob("*.[pm][yd]"))]
    lines = [line for path in files for line in path.read_text(encoding="utf-8").splitlines()]
    train_tokenizer(lines, TrainParams(vocab_size=8192)).save(str(folder / "tokenizer.json"))
    chance, mean = random.Random(0), sum(len(line.encode()) + 1 for line in lines) / len(lines)
    texts = ["\n".join(chance.choices(lines, k=int(size / mean))) for _ in range(max(HUGE.values()))]
    for count in set(HUGE.values()):
        pq.write_table(pa.table({"text": texts[:count]}), folder / f"huge-{count}.parquet", row_group_size=1)
    pq.write_table(pa.table({"text": ["some words"]}), folder / "words.parquet")


def tokenize(root: Path, using: str, file: str) -> dict[str, float]:
    """Build packed sequences of a raw file; return the highest resident size by step."""
    if using == engine.REFERENCE:
        engine.choose = lambda *_: (engine.REFERENCE, "asked for")
    tokens = Tokens(tokenizer=str(root / "tokenizer.json"))
    recipe = Recipe(name="huge", sources={"web": Source(paths=(str(root / file),))}, tokens=tokens)
    peaks = Peaks()
    pipeline.build(recipe, Profile(root=root / f"{using}-{file}", workers=1), watcher=peaks)
    return peaks.mb


def inside(root: Path, what: str, amount: str) -> dict[str, float]:
    """Rehearse, measure and return one figure, in this process; of tokens, one of every step."""
    if what in HUGE:
        tokenize(root, what, "words.parquet")
        return {"base": resident_mb(), **tokenize(root, what, amount)}
    if what == "driver":
        drive(root / "rehearsal", 10)
        base = resident_mb()
        drive(root, int(amount))
    else:
        stream(root, what, "small.parquet")
        base = resident_mb()
        stream(root, what, amount)
    return {"base_mb": base, "peak_mb": peak_mb(), "over_mb": peak_mb() - base}


def of_tokens(size: int) -> dict[str, dict[str, float]]:
    """Return, by engine, the highest resident size in every step from raw Parquet to packed sequences."""
    with tempfile.TemporaryDirectory() as folder:
        write_huge(Path(folder), size)
        return {
            f"{using}, {count} documents": in_child(__file__, "--inside", folder, using, f"huge-{count}.parquet")
            for using, count in HUGE.items()
        }


def main() -> None:
    """Measure and print."""
    parser = arguments(__doc__.splitlines()[0], repeats=1)
    parser.add_argument("--shards", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--gb", type=float, default=1.0, help="text in the big file, in 10^9 bytes")
    parser.add_argument("--tokens", type=int, nargs="?", const=20, metavar="MB", help="encode documents of so many MB")
    parser.add_argument("--inside", nargs=3, metavar=("ROOT", "WHAT", "AMOUNT"), help="(the child's own)")
    options = parser.parse_args()
    if options.inside:
        options.json = True
        finish(options, inside(Path(options.inside[0]), *options.inside[1:]))
        return
    if options.tokens:
        result = of_tokens(options.tokens * 1_000_000)
        header = ["", *next(iter(result.values()))]
        rows: list[list[object]] = [[label, *figures.values()] for label, figures in result.items()]
        table(f"resident memory, MB of 2^20 bytes, documents of {options.tokens} MB", header, rows)
        finish(options, result)
        return
    result = {}
    for shards in options.shards:
        with tempfile.TemporaryDirectory() as folder:
            result[f"driver, {shards:,} shards"] = in_child(__file__, "--inside", folder, "driver", str(shards))
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / DATA).mkdir()
        write_big(Path(folder) / DATA / "small.parquet", 1_000_000)
        write_big(Path(folder) / DATA / "big.parquet", int(options.gb * 1e9))
        for name in ("narrow", "text"):
            label = f"worker, {name}, {options.gb:g} GB in one row group"
            result[label] = in_child(__file__, "--inside", folder, name, "big.parquet")
    rows = [[label, f["base_mb"], f["peak_mb"], f["over_mb"]] for label, f in result.items()]
    table("resident memory, MB of 2^20 bytes", ["", "base", "peak", "over base"], rows)
    finish(options, result)


if __name__ == "__main__":
    sys.exit(importlib.import_module("memory").main())
