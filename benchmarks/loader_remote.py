"""Rows from object storage: requests and CPU time a row, beside fsspec's plain reading of the same byte ranges.

    python benchmarks/loader_remote.py [--rows 512] [--json]

Sequences as those of `benchmarks/loader.py`, each read once, lie on a server of S3 on this machine (moto), which is a
process of its own and does not count; what is counted is this process with its threads, and the requests that the
server has logged. The server, not the client, sets the pace here, so rows a second would say nothing of a real store
and are not told. `batch` makes everything a trainer wants of each row. The peers fetch its tokens alone: `pyarrow` one
range after the other through fsspec's wrapper of pyarrow, `s3fs` (left out and named if it is not installed) the ranges
of a batch at once.
"""

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from fsspec.implementations.arrow import ArrowFSWrapper
from harness import arguments, finish, table
from loader import make
from pyarrow import fs

from pipeline.tokens.loader import PackedDataset

BUCKET, CORPUS, LENGTH, BATCH = "packed", "sequences", 2048, 32
KEYS = {"AWS_ACCESS_KEY_ID": "any", "AWS_SECRET_ACCESS_KEY": "any", "AWS_EC2_METADATA_DISABLED": "true"}

Range = tuple[str, int, int]


@contextmanager
def served(log: Path) -> Iterator[str]:
    """Give the address of a server of S3 that writes a line into `log` for every request."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with log.open("wb") as out, subprocess.Popen(command, stdout=out, stderr=out) as server:
        try:
            while server.poll() is None and "Running on" not in log.read_text():
                time.sleep(0.1)
            yield f"127.0.0.1:{port}"
        finally:
            server.terminate()


def uploaded(folder: Path, address: str) -> fs.FileSystem:
    """Copy a folder into the bucket; return the file system."""
    system = fs.S3FileSystem(
        endpoint_override=address,
        scheme="http",
        region="us-east-1",
        allow_bucket_creation=True,
        background_writes=False,
    )
    system.create_dir(BUCKET)
    fs.copy_files(str(folder), f"{BUCKET}/{CORPUS}", destination_filesystem=system)
    return system


def ranges(data: PackedDataset, rows: np.ndarray) -> list[Range]:
    """Return where the tokens of rows lie: file, first byte, byte behind the last."""
    row_bytes = data.sequence_length * data.form.dtype.itemsize
    found = []
    for part, at in data._located(rows):
        one = data.packed.parts[part]
        first = one.bytes[0] - one.rows * row_bytes + at * row_bytes
        found.append((f"{BUCKET}/{CORPUS}/data/{one.paths()[0].name}", first, first + row_bytes))
    return found


def ways(system: fs.FileSystem, address: str, folder: Path) -> dict[str, Callable[[], int]]:
    """Return how to read by name, each returning how many bytes of tokens it has got."""
    local = PackedDataset(folder, seed=1)
    steps = [ranges(local, step) for step in local.steps(BATCH)]
    url = f"s3://{BUCKET}/{CORPUS}?scheme=http&endpoint_override={address}&region=us-east-1"

    def batch() -> int:
        made = PackedDataset(url, seed=1).batches(BATCH)
        return sum(one["tokens"].size * local.form.dtype.itemsize for one in made)

    def arrow() -> int:
        plain = ArrowFSWrapper(system)
        return sum(len(plain.cat_file(*one)) for step in steps for one in step)

    def s3fs() -> int:
        from s3fs import S3FileSystem

        plain = S3FileSystem(endpoint_url=f"http://{address}", skip_instance_cache=True)
        return sum(len(got) for step in steps for got in plain.cat_ranges(*map(list, zip(*step, strict=True))))

    return {"batch": batch, "pyarrow": arrow} | ({"s3fs": s3fs} if find_spec("s3fs") else {})


def requests(log: Path) -> int:
    """Return how many requests the server has logged."""
    return log.read_text().count(" HTTP/1.1")


def cost(read: Callable[[], int], log: Path, rows: int) -> tuple[float, float, float]:
    """Return, a row: requests, milliseconds of CPU of this process; and MB of tokens a CPU second."""
    asked, start = requests(log), time.process_time()
    got = read()
    seconds = time.process_time() - start
    return (requests(log) - asked) / rows, 1e3 * seconds / rows, got / 1e6 / seconds


def main() -> None:
    """Measure and print."""
    parser = arguments(__doc__.splitlines()[0], repeats=3)
    parser.add_argument("--rows", type=int, default=512)
    options = parser.parse_args()
    os.environ.update(KEYS)
    with tempfile.TemporaryDirectory() as work:
        folder, log = Path(work) / CORPUS, Path(work) / "log"
        make(folder, options.rows, LENGTH)
        with served(log) as address:
            readers = ways(uploaded(folder, address), address, folder)
            runs = [{n: cost(read, log, options.rows) for n, read in readers.items()} for _ in range(options.repeats)]
    result = {name: np.median([run[name] for run in runs], axis=0).tolist() for name in readers}
    less = {name: float(np.median([run[name][1] / run["batch"][1] for run in runs])) for name in readers}
    header = ("reading", "requests a row", "ms of CPU a row", "MB of tokens a CPU second", "batch is less by")
    lines = [(name, *figures, less[name]) for name, figures in result.items()]
    table(f"{options.rows:,} rows of {LENGTH:,} tokens in random order, batches of {BATCH}", header, lines)
    if "s3fs" not in readers:
        print("\nleft out, not installed: s3fs")
    finish(options, {"costs": result, "cpu_ratio": less})


if __name__ == "__main__":
    main()
