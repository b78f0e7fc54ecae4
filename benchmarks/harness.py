"""What the benchmarks share: interleaved repetitions, CPU time of a process with its children, tables, `--json`.

A script is run as `python benchmarks/NAME.py [--json]`: it prints a table for people and, asked for it, one JSON object
as its last line. Figures are medians; ratios are medians of the ratios of runs next to each other in time, because a
shared machine drifts.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.api import Silent
from pipeline.corpus import Corpus
from pipeline.dedup.units import domain_seeds
from pipeline.kernels import hashing
from pipeline.parquet import write_table
from pipeline.schemas import doc_id_array, documents, text_buffers
from pipeline.store import Attempt, Record

MB = 1e6


@dataclass(frozen=True, slots=True)
class Sample:
    """One run: seconds on the clock, and of CPU in this process and in all it has started."""

    wall_s: float
    cpu_s: float


class Clock(Silent):
    """Notes the CPU seconds of every step."""

    def __init__(self) -> None:
        self.cpu_s: dict[str, float] = {}
        self.since = 0.0

    def begin(self, step: Any, index: int, total: int) -> None:
        """Start."""
        self.since = time.process_time()

    def end(self, step: Any, corpus: Any, *, kept: bool, seconds: float) -> None:
        """Stop."""
        self.cpu_s[step.name] = time.process_time() - self.since


def arguments(summary: str, *, repeats: int = 5) -> argparse.ArgumentParser:
    """Return a parser with the options of every benchmark."""
    parser = argparse.ArgumentParser(description=summary)
    parser.add_argument("--json", action="store_true", help="print one JSON object as the last line")
    parser.add_argument("--repeats", type=int, default=repeats, help="interleaved repetitions (default %(default)s)")
    return parser


def shared() -> Path:
    """Return the folder of the corpora that benchmarks run on; leave with a message if it is not there."""
    folder = Path(os.environ.get("CORPUSMILL_SHARED", Path(__file__).parents[2] / "shared"))
    if not (folder / "data").is_dir():
        sys.exit(f"there are no corpora in {folder}; name their folder in CORPUSMILL_SHARED")
    return folder


def measured(run: Callable[[], object]) -> Sample:
    """Return what one call took."""
    wall, cpu = time.perf_counter(), _cpu()
    run()
    return Sample(time.perf_counter() - wall, _cpu() - cpu)


def interleaved(variants: Mapping[str, Callable[[], object]], repeats: int) -> dict[str, list[Sample]]:
    """Return the samples of every variant; run i of all of them comes before run i + 1 of any."""
    samples: dict[str, list[Sample]] = {name: [] for name in variants}
    for _ in range(repeats):
        for name, run in variants.items():
            samples[name].append(measured(run))
    return samples


def median(samples: Sequence[Sample], field: str = "cpu_s") -> float:
    """Return the median of one field."""
    return statistics.median(getattr(sample, field) for sample in samples)


def ratio(samples: Sequence[Sample], base: Sequence[Sample], field: str = "cpu_s") -> float:
    """Return the median of the ratios of neighbouring runs."""
    pairs = zip(samples, base, strict=True)
    return statistics.median(getattr(a, field) / getattr(b, field) for a, b in pairs)


def write_shard(attempt: Attempt, text: pa.Array, domain: pa.Array) -> Record:
    """Write texts and their domains as one shard of documents; return its record."""
    data, offsets = text_buffers(text)
    ids = doc_id_array(hashing.murmur128(data, offsets, domain_seeds(domain)))
    columns = [ids, text, domain, pa.array(np.diff(offsets)), pa.nulls(len(text), pa.string())]
    name = f"{attempt.key}.parquet"
    attempt.rows(name, write_table(attempt.path(name), pa.Table.from_arrays(columns, schema=documents())))
    return attempt.commit({})


def texts(corpus: Corpus) -> Iterator[str]:
    """Yield the texts of all shards."""
    for path in corpus.paths():
        yield from pq.read_table(path, columns=["text"])["text"].to_pylist()


def in_child(script: str, *arguments: str) -> dict[str, Any]:
    """Run a benchmark script in a fresh process and return the JSON object on its last line."""
    command = [sys.executable, script, *arguments]
    lines = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()
    found: dict[str, Any] = json.loads(lines[-1])
    return found


def peak_mb() -> float:
    """Return the highest resident memory this process has had, in MB of 2^20 bytes.

    Linux' VmHWM: ru_maxrss begins with that of the process that started this one.
    """
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) / 1024


def resident_mb() -> float:
    """Return the resident memory of this process now, in MB of 2^20 bytes."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / (1 << 20)


def table(title: str, header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print rows under a header, first column to the left, the others to the right."""
    cells = [list(header), *([_text(value) for value in row] for row in rows)]
    widths = [max(len(row[c]) for row in cells) for c in range(len(header))]
    print(f"\n{title}")
    for row in cells:
        right = (cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))
        print("  " + "  ".join([row[0].ljust(widths[0]), *right]).rstrip())


def finish(options: argparse.Namespace, result: Mapping[str, Any]) -> None:
    """Print the JSON line if it was asked for."""
    if options.json:
        print(json.dumps(result))


def _text(value: object) -> str:
    return (
        f"{value:,.3g}"
        if isinstance(value, float) and abs(value) < 100
        else (f"{value:,.0f}" if isinstance(value, (int, float)) else str(value))
    )


def _cpu() -> float:
    """Return the CPU seconds of this process and of everything it has started, living or ended."""
    return sum(os.times()[:4]) + sum(_ticks(pid) for pid in _descendants()) / os.sysconf("SC_CLK_TCK")


def _stat(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:  # it has ended since
        return []


def _ticks(pid: int) -> int:
    """Return the ticks of a process and of its children that have ended."""
    return sum(int(field) for field in _stat(pid)[11:15])


def _descendants() -> list[int]:
    parents = {int(p.name): int(stat[1]) for p in Path("/proc").glob("[0-9]*") if (stat := _stat(int(p.name)))}
    found = [os.getpid()]
    for parent in found:
        found += [pid for pid, its_parent in parents.items() if its_parent == parent]
    return found[1:]
