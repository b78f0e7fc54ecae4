"""What the engine costs: the same stage function in a bare loop, through `Step` in this process, and on Ray.

    python benchmarks/engine.py [--ray] [--json]

The bare loop reads the same batches, calls the same function and writes the same bytes to files, and nothing else: no
tasks, attempts, checksums, syncs, records or manifest. Two functions: `text` lowers every text, counts its words and
writes it back, the weight of an ordinary stage; `narrow` only counts, so that nearly all it does is to read: the worst
case for an engine. Corpus: `data/bench` (20 shards, 238 MB of text).

`side by side` is the finest comparison: between any two tasks of the engine the bare loop does the same shard, so that
both see the same machine; CPU and clock of the loop are taken off the engine's. The other rows compare whole runs, one
after the other; their CPU time is that of all processes, Ray's own included.
"""

import importlib
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from harness import Sample, arguments, finish, interleaved, median, ratio, shared, table

from pipeline import store
from pipeline.corpus import DATA, Corpus, Manifest, Shard, Shards
from pipeline.execution import LocalRunner, runner_for
from pipeline.execution.base import Runner, Settings
from pipeline.parquet import ShardWriter, read_zipped
from pipeline.stage import Step
from pipeline.store import Record
from pipeline.tasks import Foreman

COLUMNS = ("id", "text")
TEXT = pa.schema([("id", pa.string()), ("text", pa.string()), ("words", pa.int32())])
NARROW = pa.schema([("words", pa.int32())])


def text_batch(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Lower the texts and count their words."""
    lower = pc.utf8_lower(batch["text"])
    return pa.RecordBatch.from_arrays([batch["id"], lower, pc.count_substring(lower, " ")], schema=TEXT)


def narrow_batch(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Count the words."""
    return pa.RecordBatch.from_arrays([pc.count_substring(batch["text"], " ")], schema=NARROW)


Watch = Callable[[int, int, Record | None], None]
FUNCTIONS = {"text": (text_batch, TEXT), "narrow": (narrow_batch, NARROW)}


def bench_corpus(root: Path) -> Corpus:
    """Return the shared corpus under a root of ours: links to its files, and a manifest in memory."""
    files = sorted((shared() / "data" / "bench").glob("*.parquet"))
    (root / DATA).mkdir(parents=True)
    shards = Shards()
    for file in files:
        (root / DATA / file.name).symlink_to(file)
        shards.append(Shard(file.name, pq.read_metadata(file).num_rows, file.stat().st_size, file.name))
    manifest = Manifest(stage="ingest", version=1, fingerprint="bench", params={}, inputs={}, shards=shards)
    return Corpus(root=root, manifest=manifest)


def bare(corpus: Corpus, out: Path, name: str) -> None:
    """Do the work and nothing else."""
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    for path in corpus.paths():
        _bare_shard(path, out, *FUNCTIONS[name])


def _bare_shard(path: Path, out: Path, fn: Callable[[pa.RecordBatch], pa.RecordBatch], schema: pa.Schema) -> None:
    with ShardWriter(out / path.name, schema) as writer:
        for batch in read_zipped({path: COLUMNS}):
            writer.write(fn(batch))


def through_step(corpus: Corpus, out: Path, name: str, runner: Runner, watch: Watch = lambda *_: None) -> None:
    """Do the work as a build does it, to the manifest."""
    shutil.rmtree(out, ignore_errors=True)
    fn, schema = FUNCTIONS[name]
    store.begin(out, {"stage": name})
    step = Step(name, out, {"documents": corpus}, Foreman(name, out, runner, watch=watch))
    step.map_shards(fn, columns={"documents": COLUMNS}, schema=schema)

    def manifest(shards: Shards, files: Shards) -> Manifest:
        return Manifest(stage=name, version=1, fingerprint="", params={}, inputs={}, shards=shards, files=files)

    store.finish(out, manifest, step.keys)


def side_by_side(corpus: Corpus, out: Path, name: str) -> tuple[Sample, Sample]:
    """Return what the bare loop and the engine take when they do every shard in turns, in this process."""
    fn, schema = FUNCTIONS[name]
    shutil.rmtree(out, ignore_errors=True)
    (out / "bare").mkdir(parents=True)
    paths = list(corpus.paths())
    taken = [0.0, 0.0]

    def loop(done: int, total: int, record: Record | None) -> None:
        if record is not None:
            wall, cpu = time.perf_counter(), time.process_time()
            _bare_shard(paths[done - 1], out / "bare", fn, schema)
            taken[0] += time.perf_counter() - wall
            taken[1] += time.process_time() - cpu

    wall, cpu = time.perf_counter(), time.process_time()
    through_step(corpus, out / "step", name, LocalRunner(1), loop)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return Sample(*taken), Sample(wall - taken[0], cpu - taken[1])


def same_bytes(left: Path, right: Path) -> bool:
    """Tell whether two folders hold the same files."""
    names = sorted(p.name for p in left.iterdir())
    return names == sorted(p.name for p in right.iterdir()) and all(
        (left / name).read_bytes() == (right / name).read_bytes() for name in names
    )


def measure(name: str, corpus: Corpus, tmp: Path, runners: dict[str, Runner], repeats: int) -> dict[str, Any]:
    """Return the figures of one function on every runner."""
    runs = {"bare": partial(bare, corpus, tmp / "bare", name)}
    runs |= {label: partial(through_step, corpus, tmp / label, name, runner) for label, runner in runners.items()}
    for run in runs.values():
        run()  # workers start, imports and the page cache warm up
    samples = interleaved(runs, repeats)
    assert all(same_bytes(tmp / "bare", tmp / label / DATA) for label in runners), "the engine changed a byte"
    return {label: _figures(runs_, samples["bare"]) for label, runs_ in samples.items()}


def _figures(samples: list[Sample], base: list[Sample]) -> dict[str, float]:
    over = {"wall_ratio": ratio(samples, base, "wall_s"), "cpu_ratio": ratio(samples, base)}
    return {"wall_s": median(samples, "wall_s"), "cpu_s": median(samples), **over}


def main() -> None:
    """Measure and print."""
    parser = arguments(__doc__.splitlines()[0])
    parser.add_argument("--ray", action="store_true", help="also on an embedded Ray with one CPU, then with two")
    options = parser.parse_args()
    result: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        tmp = Path(folder)
        corpus = bench_corpus(tmp / "bench")
        for name in FUNCTIONS:
            pairs = [side_by_side(corpus, tmp / "pair", name) for _ in range(options.repeats + 1)][1:]
            result[name] = {"side by side": _figures([b for _, b in pairs], [a for a, _ in pairs])}
        sets = [{"local 1": Settings(workers=1), "local 2": Settings(workers=2)}]
        if options.ray:
            sets += [{f"ray {n}": Settings("ray", workers=n)} for n in (1, 2)]
        for settings in sets:
            with ExitStack() as stack:
                runners = {label: stack.enter_context(runner_for(each)) for label, each in settings.items()}
                for name in FUNCTIONS:
                    figures = measure(name, corpus, tmp, runners, options.repeats)
                    result[name].update(figures if "bare" not in result[name] else _without_bare(figures))
    for name, figures in result.items():
        rows = [
            [label, f["wall_s"], f["cpu_s"], f"{f['wall_ratio']:.3f}", f"{f['cpu_ratio']:.3f}"]
            for label, f in figures.items()
        ]
        table(f"{name}: 238 MB of text, 20 shards", ["", "wall s", "cpu s", "wall / bare", "cpu / bare"], rows)
    finish(options, result)


def _without_bare(figures: dict[str, Any]) -> dict[str, Any]:
    return {label: figure for label, figure in figures.items() if label != "bare"}


if __name__ == "__main__":
    # Imported under its own name, so that workers find the batch functions in a module and not in their __main__.
    sys.exit(importlib.import_module("engine").main())
