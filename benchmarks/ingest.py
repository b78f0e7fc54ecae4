"""What ingest costs over a bare pyarrow loop, how fast it reads JSON Lines, and how much memory any file takes.

    python benchmarks/ingest.py [--json]

The bare loop reads the same columns in batches with `ParquetFile.iter_batches` and writes them with `ParquetWriter`,
with the settings of our shards (zstd-3, page checksums, no dictionary); it judges nothing, names nothing and commits
nothing. Ingest also validates every byte, hashes every text, keeps the books, syncs, takes the checksum of its output
and writes records. Corpus: `data/bench` (20 files, 238 MB of text), as Parquet and as JSON Lines. Memory: one Parquet
file of 600 MB of text in a single row group, and as much text by one page repeated through a dictionary, each in a
fresh process.
"""

import json
import shutil
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
from harness import MB, arguments, finish, in_child, interleaved, median, ratio, shared, table

from pipeline.execution.local import LocalRunner
from pipeline.ingest.checksums import with_checksums
from pipeline.ingest.inspect import inspect_sources
from pipeline.ingest.plan import plan
from pipeline.ingest.sources import SourceFiles, SourceSpec
from pipeline.ingest.stage import INGEST, IngestParams
from pipeline.stage import Step
from pipeline.tasks import Foreman

TINY_FILES = 2000
BIG_MB = 600


def sources(path: Path) -> dict[str, SourceFiles]:
    """Return one domain's files with their checksums, as preflight finds them."""
    return with_checksums(inspect_sources({"web": SourceSpec(paths=(str(path),), id="id")}).sources, {})


def ingest(files: dict[str, SourceFiles], out: Path) -> int:
    """Run the stage in this process; return the bytes of text kept."""
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    step = Step("ingest", out, {}, Foreman("ingest", out, LocalRunner(1)), sources=files)
    INGEST.run(step, IngestParams(sources={"web": SourceSpec(paths=("",), id="id").columns()}))
    return int(step.ledger["web"]["bytes_kept"])


def bare(paths: list[Path], out: Path) -> None:
    """Read and write the columns, batch for batch."""
    for path in paths:
        file = pq.ParquetFile(path, pre_buffer=False)
        schema = pa.schema([("id", pa.string()), ("text", pa.string())])
        settings = {"use_dictionary": False, "write_statistics": False, "write_page_checksum": True}
        with pq.ParquetWriter(out, schema, compression="zstd", compression_level=3, **settings) as writer:
            for batch in file.iter_batches(1024, columns=["id", "text"], use_threads=False):
                writer.write_batch(batch)


def bare_lines(paths: list[Path]) -> None:
    """Parse every line with orjson, and nothing else."""
    for path in paths:
        with pa.CompressedInputStream(pa.OSFile(str(path)), "zstd") as stream:
            for line in stream.read().split(b"\n"):
                if line:
                    orjson.loads(line)


def write_lines(paths: list[Path], folder: Path) -> list[Path]:
    """Write every Parquet file as zstd JSON Lines."""
    folder.mkdir()
    for path in paths:
        rows = pq.read_table(path, columns=["id", "text"]).to_pylist()
        content = b"".join(orjson.dumps(row) + b"\n" for row in rows)
        (folder / f"{path.stem}.jsonl.zst").write_bytes(pa.compress(content, "zstd", asbytes=True))
    return sorted(folder.iterdir())


def throughput(tmp: Path, repeats: int) -> dict[str, Any]:
    """Return MB of text per second of CPU, by variant, and the ratios to the bare loops."""
    parquet = sorted((shared() / "data" / "bench").glob("*.parquet"))
    lines = write_lines(parquet, tmp / "lines")
    planned, planned_lines = sources(shared() / "data" / "bench"), sources(tmp / "lines")
    size = ingest(planned, tmp / "out")
    runs = {
        "bare pyarrow loop": partial(bare, parquet, tmp / "bare.parquet"),
        "ingest, Parquet": partial(ingest, planned, tmp / "out"),
        "bare orjson loop (no output)": partial(bare_lines, lines),
        "ingest, JSON Lines zst": partial(ingest, planned_lines, tmp / "out"),
    }
    samples = interleaved(runs, repeats)
    figures: dict[str, Any] = {name: {"mb_s": size / MB / median(found)} for name, found in samples.items()}
    figures["ingest, Parquet"]["cpu_ratio"] = ratio(samples["ingest, Parquet"], samples["bare pyarrow loop"])
    return figures


def tiny_files(tmp: Path) -> dict[str, float]:
    """Return what looking at many tiny files takes: seconds of inspection, checksums and planning, and tasks."""
    folder = tmp / "tiny"
    folder.mkdir()
    for index in range(TINY_FILES):
        pq.write_table(pa.table({"id": [str(index)], "text": [f"tiny document {index}"]}), folder / f"{index}.parquet")
    begin = time.perf_counter()
    report = inspect_sources({"web": SourceSpec(paths=(str(folder),), id="id")})
    looked = time.perf_counter()
    files = with_checksums(report.sources, {})
    hashed = time.perf_counter()
    tasks = plan(files, 64 << 20)
    done = time.perf_counter()
    took = {"inspect_s": looked - begin, "checksum_s": hashed - looked, "plan_s": done - hashed}
    return took | {"files": TINY_FILES, "tasks": len(tasks)}


def write_big(path: Path, kind: str) -> None:
    """Write the file that must not fit into memory."""
    rng = np.random.default_rng(1)
    words = np.array([f"word{i} " for i in range(3000)])
    if kind == "dictionary":
        page = "".join(rng.choice(words, 150_000))
        rows = BIG_MB * 1_000_000 // len(page)
        column = pa.DictionaryArray.from_arrays(pa.array(np.zeros(rows, np.int32)), pa.array([page]))
        pq.write_table(pa.table({"id": pa.nulls(rows, pa.string()), "text": column}), path, store_schema=False)
        return
    texts = ["".join(rng.choice(words, 2000)) for _ in range(500)]
    rows = BIG_MB * 1_000_000 // len(texts[0])
    data = pa.table({"id": map(str, range(rows)), "text": [f"{i} {texts[i % 500]}" for i in range(rows)]})
    pq.write_table(data, path, row_group_size=rows, use_dictionary=False, write_statistics=False)


def high_water_mb() -> float:
    """Return the most memory this program has held. Not ru_maxrss: that begins with what its parent held."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def child(kind: str) -> None:
    """Print the memory that one file adds to a process that has imported everything."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "big.parquet")
        # Written by another process: the peak of this one must be ingest's own.
        in_child(__file__, "--write", str(path), kind)
        before = high_water_mb()
        size = ingest(sources(path), Path(folder, "out"))
        print(json.dumps({"before_mb": before, "added_mb": high_water_mb() - before, "text_mb": size / MB}))


def main() -> None:
    """Measure and print."""
    parser = arguments(__doc__.splitlines()[0])
    parser.add_argument("--child", help="internal: measure memory on a file of this kind")
    parser.add_argument("--write", nargs=2, help="internal: write that file")
    options = parser.parse_args()
    if options.write:
        write_big(Path(options.write[0]), options.write[1])
        print("{}")
        return
    if options.child:
        child(options.child)
        return
    with tempfile.TemporaryDirectory() as folder:
        tmp = Path(folder)
        result: dict[str, Any] = {"throughput": throughput(tmp, options.repeats), "tiny_files": tiny_files(tmp)}
    result["memory"] = {kind: in_child(__file__, "--child", kind) for kind in ("plain", "dictionary")}
    rows = [
        [name, f["mb_s"], f"{f['cpu_ratio']:.2f}" if "cpu_ratio" in f else ""]
        for name, f in result["throughput"].items()
    ]
    table("238 MB of text, one core", ["", "MB/s of CPU", "cpu / bare"], rows)
    tiny = result["tiny_files"]
    cells = [[f"{tiny['files']:,} tiny files", tiny["inspect_s"], tiny["checksum_s"], tiny["plan_s"], tiny["tasks"]]]
    table("before the first task", ["", "inspect s", "checksum s", "plan s", "tasks"], cells)
    memory = [[kind, f["text_mb"], f["before_mb"], f["added_mb"]] for kind, f in result["memory"].items()]
    table("memory for one file in one row group", ["", "text MB", "imported MB", "added MB"], memory)
    finish(options, result)


if __name__ == "__main__":
    main()
