"""Blocks: the files of a shuffle. A map task writes one file, a reduce task reads its range of every file.

File = runs of Arrow IPC streams, one stream a partition and run (nothing for an empty one), then the table of offsets
[R, P + 1] int64, then a tail (R, P, where the table begins). A run is what a task held in memory when it reached
`SPILL_BYTES`; so memory is bounded whatever a task is fed. Parquet row groups would do the same with footers that grow
to megabytes at a few hundred partitions.
"""

import os
import struct
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.errors import DataError

SPILL_BYTES = 96 << 20
_TAIL = struct.Struct("<qqq8s")
_MAGIC = b"CMBLOCK1"


class BlockWriter:
    """Collects rows with their destinations and writes them grouped by destination, in the order they came."""

    def __init__(self, path: Path, partitions: int):
        self.rows = 0
        self._partitions = partitions
        self._file = path.open("wb")
        self._offsets: list[np.ndarray] = []
        self._held: list[pa.RecordBatch] = []
        self._destinations: list[np.ndarray] = []
        self._held_bytes = 0

    def add(self, rows: "pa.RecordBatch | pa.Table", destinations: np.ndarray) -> None:
        """Send row i of `rows` to partition `destinations[i]`.

        Raises:
            DataError: the lengths differ, or a destination is not a partition.
        """
        if rows.num_rows != len(destinations):
            raise DataError(f"{rows.num_rows:,} rows but {len(destinations):,} destinations")
        if rows.num_rows and int(destinations.max()) >= self._partitions:
            raise DataError(f"destination {int(destinations.max())} of {self._partitions} partitions")
        batches = rows.to_batches() if isinstance(rows, pa.Table) else [rows]
        self._held += [batch for batch in batches if batch.num_rows]
        # 16-bit keys: numpy sorts them by radix, in linear time.
        narrow = np.uint16 if self._partitions <= 1 << 16 else np.uint32
        self._destinations.append(destinations.astype(narrow))
        self._held_bytes += rows.nbytes
        self.rows += rows.num_rows
        if self._held_bytes >= SPILL_BYTES:
            self._spill()

    def _spill(self) -> None:
        destinations = np.concatenate(self._destinations) if self._destinations else np.zeros(0, np.uint16)
        if len(destinations):
            order = np.argsort(destinations, kind="stable")
            cuts = np.searchsorted(destinations[order], np.arange(self._partitions + 1))
            rows = pa.Table.from_batches(self._held)
            if len(self._held) > 1:
                rows = rows.combine_chunks()
            self._offsets.append(self._write_run(rows.take(pa.array(order)), cuts))
        self._held, self._destinations, self._held_bytes = [], [], 0

    def _write_run(self, rows: pa.Table, cuts: np.ndarray) -> np.ndarray:
        offsets = np.empty(self._partitions + 1, np.int64)
        for partition in range(self._partitions):
            offsets[partition] = self._file.tell()
            count = cuts[partition + 1] - cuts[partition]
            if count:
                with pa.ipc.new_stream(self._file, rows.schema) as stream:
                    stream.write_table(rows.slice(cuts[partition], count))
        offsets[-1] = self._file.tell()
        return offsets

    def close(self) -> None:
        """Write what is held, the offsets and the tail."""
        self._spill()
        start = self._file.tell()
        for offsets in self._offsets:
            self._file.write(offsets.tobytes())
        self._file.write(_TAIL.pack(len(self._offsets), self._partitions, start, _MAGIC))
        self._file.close()

    def __enter__(self) -> "BlockWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self._file.close()


@dataclass(frozen=True, slots=True)
class Blocks:
    """A finished first round of a shuffle: `sources` files in `folder`, each cut into `partitions`."""

    folder: Path
    sources: int
    partitions: int

    def path(self, source: int) -> Path:
        """Return the file of one map task."""
        return self.folder / block_name(source)

    def read(self, partition: int) -> pa.Table | None:
        """Return all rows sent to `partition`, in the order of (map task, row); None if there are none."""
        tables = [table for source in range(self.sources) for table in _read_file(self.path(source), partition)]
        return pa.concat_tables(tables) if tables else None


def block_name(source: int) -> str:
    """Return the file name of one map task's blocks."""
    return f"{part(source)}.blocks"


def part(index: int) -> str:
    """Return the key of the task with this ordinal."""
    return f"part-{index:05d}"


def _read_file(path: Path, partition: int) -> list[pa.Table]:
    with path.open("rb") as file:
        handle = file.fileno()
        size = os.fstat(handle).st_size
        runs, partitions, start, magic = _TAIL.unpack(os.pread(handle, _TAIL.size, size - _TAIL.size))
        if magic != _MAGIC:
            raise DataError(f"{path} is not a file of shuffle blocks; delete the folder it lies in and build again")
        tables = []
        for run in range(runs):
            begin, end = struct.unpack("<qq", os.pread(handle, 16, start + 8 * (run * (partitions + 1) + partition)))
            if end > begin:
                tables.append(pa.ipc.open_stream(pa.py_buffer(os.pread(handle, end - begin, begin))).read_all())
        return tables


def by_column(table: pa.Table, *names: str) -> pa.Table:
    """Return the rows sorted by the named columns, ascending; the names make a total key wherever bytes depend on it."""
    return table.take(pc.sort_indices(table, sort_keys=[(name, "ascending") for name in names]))
