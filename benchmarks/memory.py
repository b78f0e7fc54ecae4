"""Memory of the driver by number of shards, and of a worker by size of file.

    python benchmarks/memory.py [--shards 10000 100000] [--gb 1] [--json]

driver: a map over so many shards, its records frozen into a manifest, the manifest written and read back; the tasks
themselves are played by a runner that only writes their records. worker: a map over one Parquet file that is a single
row group of so much text; `narrow` counts words, `text` writes the lowered text back. Every figure is from a process
of its own: the highest resident size (VmHWM) over what was resident after imports and a rehearsal on ten shards.
"""

import importlib
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

from pipeline import store
from pipeline.corpus import DATA, Corpus, Manifest, Shard, Shards
from pipeline.execution import LocalRunner
from pipeline.stage import Step
from pipeline.store import Record
from pipeline.tasks import Foreman, Task

SUM = "0123456789abcdef0123456789abcdef"


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


def inside(root: Path, what: str, amount: str) -> dict[str, float]:
    """Rehearse, measure and return one figure, in this process."""
    if what == "driver":
        drive(root / "rehearsal", 10)
        base = resident_mb()
        drive(root, int(amount))
    else:
        stream(root, what, "small.parquet")
        base = resident_mb()
        stream(root, what, amount)
    return {"base_mb": base, "peak_mb": peak_mb(), "over_mb": peak_mb() - base}


def main() -> None:
    """Measure and print."""
    parser = arguments(__doc__.splitlines()[0], repeats=1)
    parser.add_argument("--shards", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--gb", type=float, default=1.0, help="text in the big file, in 10^9 bytes")
    parser.add_argument("--inside", nargs=3, metavar=("ROOT", "WHAT", "AMOUNT"), help="(the child's own)")
    options = parser.parse_args()
    if options.inside:
        options.json = True
        finish(options, inside(Path(options.inside[0]), *options.inside[1:]))
        return
    result: dict[str, dict[str, float]] = {}
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
