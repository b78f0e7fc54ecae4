"""Shuffle 20 M (u64, u64) pairs through `Step.scatter` and `Step.gather` on one worker, with 32 and 512 partitions.

    python benchmarks/shuffle.py [--pairs 20000000] [--json]

Map: read a shard of pairs, send each to a partition by a hash of its key. Reduce: sort a partition by key and count the
pairs that share theirs with a pair of lower value, the work of candidate matching; the output is a row a partition, so
that the figures are the shuffle's. Every run is a fresh process; CPU time is that of the two rounds alone, memory
is the highest resident size of that process (VmHWM, interpreter and libraries included), and beside it what was
resident before the first round.
"""

import importlib
import resource
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from harness import arguments, finish, in_child, peak_mb, resident_mb, table

from pipeline.corpus import DATA, Corpus, Manifest, Shard, Shards
from pipeline.execution import LocalRunner
from pipeline.parquet import ShardWriter
from pipeline.stage import Step
from pipeline.tasks import Foreman

PAIRS = pa.schema([pa.field("key", pa.uint64(), nullable=False), pa.field("value", pa.uint64(), nullable=False)])
ANSWER = pa.schema([("same", pa.int64()), ("mixed", pa.uint64())])
SHARDS = 16
ODD = np.uint64(0x9E3779B97F4A7C15)


def make_pairs(root: Path, pairs: int) -> None:
    """Write pairs of which a fifth shares its key with others."""
    rng = np.random.default_rng(0)
    (root / DATA).mkdir(parents=True)
    for shard in range(SHARDS):
        rows = pairs // SHARDS
        keys = rng.integers(0, 1 << 64, rows, dtype=np.uint64)
        twin = rng.random(rows) < 0.2
        keys[twin] = rng.integers(0, pairs // 20, int(twin.sum())).astype(np.uint64) * ODD
        values = np.arange(shard * rows, (shard + 1) * rows, dtype=np.uint64)
        with ShardWriter(root / DATA / _name(shard), PAIRS) as writer:
            for begin in range(0, rows, 1 << 17):
                part = slice(begin, begin + (1 << 17))
                writer.write(pa.RecordBatch.from_arrays([pa.array(keys[part]), pa.array(values[part])], schema=PAIRS))


def pairs_corpus(root: Path, pairs: int) -> Corpus:
    """Return the pairs that `make_pairs` wrote."""
    shards = Shards(Shard(_name(shard), pairs // SHARDS, 0, "") for shard in range(SHARDS))
    manifest = Manifest(stage="pairs", version=1, fingerprint="pairs", params={}, inputs={}, shards=shards)
    return Corpus(root=root, manifest=manifest)


def _name(shard: int) -> str:
    return f"part-{shard:05d}.parquet"


def to_partition(batch: pa.RecordBatch, partitions: int) -> tuple[pa.RecordBatch, np.ndarray]:
    """Send every pair to the partition of its key: the high half of a mixed key, scaled."""
    mixed = (batch["key"].to_numpy() * ODD) >> np.uint64(32)
    return batch, ((mixed * np.uint64(partitions)) >> np.uint64(32)).astype(np.uint32)


def count_same(pairs: pa.Table) -> pa.Table:
    """Return how many pairs are not the first of their key, and a sum that tells whether it is the right ones."""
    keys, values = pairs["key"].to_numpy(), pairs["value"].to_numpy()
    order = np.argsort(keys)
    keys, values = keys[order], values[order]
    starts = np.flatnonzero(np.concatenate([[True], keys[1:] != keys[:-1]]))
    lowest = np.minimum.reduceat(values, starts)
    mixed = np.bitwise_xor.reduce(values * ODD) ^ np.bitwise_xor.reduce(lowest * ODD)
    return pa.Table.from_arrays([pa.array([len(keys) - len(starts)], pa.int64()), pa.array([mixed])], schema=ANSWER)


def answer(out: pa.Table) -> tuple[int, int]:
    """Return the answers of all partitions as one."""
    return int(out["same"].to_numpy().sum()), int(np.bitwise_xor.reduce(out["mixed"].to_numpy()))


def run(root: Path, pairs: int, partitions: int) -> dict[str, Any]:
    """Shuffle in this process and return the figures."""
    import pyarrow.parquet as pq

    out = root / f"out-{partitions}"
    corpus = pairs_corpus(root, pairs)
    step = Step("shuffle", out, {"pairs": corpus}, Foreman("shuffle", out, LocalRunner(1)))
    base, start, wall = resident_mb(), _cpu(), time.perf_counter()
    columns = {"pairs": ("key", "value")}
    blocks = step.scatter(partial(to_partition, partitions=partitions), columns=columns, partitions=partitions)
    middle = _cpu()
    step.gather(blocks, count_same, schema=ANSWER)
    end, wall = _cpu(), time.perf_counter() - wall
    peak = peak_mb()
    files = sum(1 for path in blocks.folder.rglob("*") if path.is_file())
    results = [pq.read_table(path) for path in sorted((out / DATA).iterdir())]
    return {
        "partitions": partitions,
        "cpu_s": end - start,
        "scatter_s": middle - start,
        "gather_s": end - middle,
        "wall_s": wall,
        "peak_mb": peak,
        "base_mb": base,
        "files": files,
        "map_tasks": blocks.sources,
        "answer": answer(pa.concat_tables(results)),
    }


def _cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def main() -> None:
    """Measure and print."""
    parser = arguments(__doc__.splitlines()[0], repeats=3)
    parser.add_argument("--pairs", type=int, default=20_000_000)
    parser.add_argument("--partitions", type=int, nargs="+", default=[32, 512])
    parser.add_argument("--inside", type=Path, help="(the child's own) where the pairs lie")
    options = parser.parse_args()
    if options.inside:
        options.json = True
        finish(options, run(options.inside, options.pairs, options.partitions[0]))
        return
    runs: dict[int, list[dict[str, Any]]] = {partitions: [] for partitions in options.partitions}
    for _ in range(options.repeats):
        for partitions in options.partitions:
            with tempfile.TemporaryDirectory() as folder:
                make_pairs(Path(folder), options.pairs)
                inside = ["--inside", folder, "--pairs", str(options.pairs), "--partitions", str(partitions)]
                runs[partitions].append(in_child(__file__, *inside))
    assert len({tuple(run["answer"]) for found in runs.values() for run in found}) == 1, "the answers differ"
    result = [sorted(found, key=lambda run: run["cpu_s"])[len(found) // 2] for found in runs.values()]
    header = ["partitions", "cpu s", "scatter", "gather", "wall s", "peak MB", "of which base", "files / map task"]
    rows = [
        [
            str(r["partitions"]),
            r["cpu_s"],
            r["scatter_s"],
            r["gather_s"],
            r["wall_s"],
            r["peak_mb"],
            r["base_mb"],
            files,
        ]
        for r in result
        for files in [f"{r['files']}/{r['map_tasks']}"]
    ]
    table(f"shuffle of {options.pairs:,} (u64, u64) pairs, one worker, median of {options.repeats}", header, rows)
    finish(options, {"pairs": options.pairs, "runs": result})


if __name__ == "__main__":
    # Imported under its own name, so that a worker would find the functions in a module and not in its __main__.
    sys.exit(importlib.import_module("shuffle").main())
