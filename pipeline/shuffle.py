"""Blocks: the files of a shuffle. A map task writes one file, a reduce task reads its range of every file.

    file = blocks | schema | offsets [R, P + 1] int64 | tail (R, P, where schema and offsets begin, magic)

A block is one Arrow record batch message without its schema, which the file holds once: at 512 partitions half of the
time went into writing and parsing it again. R runs of P blocks lie one after the other, nothing for an empty block. A
run is what a task held in memory when it reached `SPILL_BYTES`; so memory is bounded whatever a task is fed. Parquet
row groups would do the same with footers that grow to megabytes at a few hundred partitions.
"""

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.errors import DataError
from pipeline.kernels import grouping
from pipeline.ledger import Tally

SPILL_BYTES = 64 << 20
_TAIL = struct.Struct("<qqqq8s")
_RANGE = struct.Struct("<qq")
_MAGIC = b"CMBLOCK2"


class BlockWriter:
    """Collects rows with their destinations and writes them grouped by destination, in the order they came."""

    def __init__(self, path: Path, partitions: int):
        self.rows = 0
        self._partitions = partitions
        self._narrow = np.uint16 if partitions <= 1 << 16 else np.uint32
        self._file = path.open("wb")
        self._schema: pa.Schema | None = None
        self._offsets: list[np.ndarray] = []
        self._held: list[pa.RecordBatch] = []
        self._destinations: list[np.ndarray] = []
        self._held_bytes = 0

    def add(self, rows: "pa.RecordBatch | pa.Table", destinations: np.ndarray) -> None:
        """Send row i of `rows` to partition `destinations[i]`.

        Raises:
            DataError: the lengths differ, a destination is not a partition, or the columns are not those of before.
        """
        if rows.num_rows != len(destinations):
            raise DataError(f"{rows.num_rows:,} rows but {len(destinations):,} destinations")
        if not rows.num_rows:
            return
        low, high = int(destinations.min()), int(destinations.max())
        if low < 0 or high >= self._partitions:
            raise DataError(f"destination {low if low < 0 else high} of {self._partitions} partitions")
        for batch in rows.to_batches() if isinstance(rows, pa.Table) else [rows]:
            self._hold(_without_dictionaries(batch))
        self._destinations.append(destinations.astype(self._narrow))
        self.rows += rows.num_rows
        if self._held_bytes >= SPILL_BYTES:
            self._spill()

    def _hold(self, batch: pa.RecordBatch) -> None:
        if self._schema is None:
            self._schema = batch.schema.remove_metadata()
        if not batch.schema.equals(self._schema):
            raise DataError(f"one shuffle was sent\n{batch.schema}\nafter\n{self._schema}")
        if batch.num_rows:
            self._held.append(batch)
            self._held_bytes += batch.nbytes

    def _spill(self) -> None:
        if not self._held:
            return
        destinations = np.concatenate(self._destinations)
        counts = np.bincount(destinations, minlength=self._partitions)
        self._offsets.append(self._write_run(_grouped(self._held, destinations, counts), counts))
        self._held, self._destinations, self._held_bytes = [], [], 0

    def _write_run(self, rows: pa.RecordBatch, counts: np.ndarray) -> np.ndarray:
        """Write the blocks of rows that are sorted by partition; return where each begins, and where the last ends."""
        sizes = np.zeros(self._partitions + 1, np.int64)
        sizes[0] = self._file.tell()
        row = 0
        for partition in np.flatnonzero(counts).tolist():
            count = int(counts[partition])
            block = rows.slice(row, count).serialize()
            self._file.write(block)
            sizes[partition + 1] = block.size
            row += count
        return np.cumsum(sizes)

    def close(self) -> None:
        """Write what is held, the schema, the offsets and the tail."""
        self._spill()
        begin = self._file.tell()
        if self._schema is not None:
            self._file.write(self._schema.serialize())
        middle = self._file.tell()
        for offsets in self._offsets:
            self._file.write(offsets.tobytes())
        self._file.write(_TAIL.pack(len(self._offsets), self._partitions, begin, middle, _MAGIC))
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


def _grouped(held: list[pa.RecordBatch], destinations: np.ndarray, counts: np.ndarray) -> pa.RecordBatch:
    """Return the rows of all batches by destination; `held` is emptied, so that no column is there three times."""
    schema = held[0].schema
    columns = [[batch.column(c) for batch in held] for c in range(len(schema))]
    held.clear()
    order: pa.Array | None = None
    grouped = []
    while columns:
        column = pa.concat_arrays(columns.pop(0))
        if column.null_count or not (pa.types.is_integer(column.type) or pa.types.is_floating(column.type)):
            if order is None:
                order = pa.array(grouping.grouped(np.arange(len(destinations)), destinations, counts))
            grouped.append(column.take(order))
        else:
            grouped.append(pa.array(grouping.grouped(column.to_numpy(), destinations, counts), column.type))
    return pa.RecordBatch.from_arrays(grouped, schema=schema)


def _without_dictionaries(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Return the batch with plain columns: a block is a single message and has no place for a dictionary."""
    if not any(pa.types.is_dictionary(field.type) for field in batch.schema):
        return batch
    columns = [c.dictionary_decode() if pa.types.is_dictionary(c.type) else c for c in batch.columns]
    return pa.RecordBatch.from_arrays(columns, names=batch.schema.names)


@dataclass(frozen=True, slots=True)
class Blocks:
    """A finished round of a shuffle: `sources` files in `folder`, each cut into `partitions`.

    `tally` is what the tasks of the round counted.
    """

    folder: Path
    sources: int
    partitions: int
    tally: Tally = field(default_factory=dict)

    def path(self, source: int) -> Path:
        """Return the file of one map task."""
        return self.folder / block_name(source)

    def part(self, partition: int) -> "Part":
        """Return what was sent to `partition`, not yet read."""
        return Part((self,), partition)

    def read(self, partition: int) -> pa.Table | None:
        """Return all rows sent to `partition`, in the order of (map task, row); None if there are none.

        Raises:
            DataError: a file is not one of blocks, or was cut for another number of partitions.
        """
        return self.part(partition).table()


@dataclass(frozen=True, slots=True)
class Part:
    """One partition of one or more rounds: read whole, or by batches when it may be larger than memory."""

    rounds: tuple[Blocks, ...]
    number: int

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Yield the rows in the order of (map task, row), a block at a time."""
        for blocks in self.rounds:
            for source in range(blocks.sources):
                yield from _blocks(blocks.path(source), self.number, blocks.partitions)

    def table(self) -> pa.Table | None:
        """Return all rows, None if there are none."""
        batches = list(self.batches())
        return pa.Table.from_batches(batches) if batches else None

    def bytes(self) -> int:
        """Return the bytes of the partition's blocks, without reading them."""
        files = ((blocks, blocks.path(source)) for blocks in self.rounds for source in range(blocks.sources))
        return sum(_bytes(path, self.number, blocks.partitions) for blocks, path in files)


def block_name(source: int) -> str:
    """Return the file name of one map task's blocks."""
    return f"{part(source)}.blocks"


def part(index: int) -> str:
    """Return the key of the task with this ordinal."""
    return f"part-{index:05d}"


def _blocks(path: Path, partition: int, partitions: int) -> Iterator[pa.RecordBatch]:
    """Yield what one file holds for a partition, run by run."""
    with path.open("rb", buffering=0) as file:
        handle = file.fileno()
        schema = None
        for start, end, begin, middle in _spans(handle, path, partition, partitions):
            schema = schema or pa.ipc.read_schema(pa.py_buffer(os.pread(handle, middle - begin, begin)))
            yield pa.ipc.read_record_batch(pa.py_buffer(os.pread(handle, end - start, start)), schema)


def _bytes(path: Path, partition: int, partitions: int) -> int:
    with path.open("rb", buffering=0) as file:
        return sum(end - start for start, end, *_ in _spans(file.fileno(), path, partition, partitions))


def _spans(handle: int, path: Path, partition: int, partitions: int) -> Iterator[tuple[int, int, int, int]]:
    """Yield where the blocks of a partition begin and end, and the schema does; empty blocks are left out."""
    runs, cut_for, begin, middle = _tail(handle, path)
    if cut_for != partitions:
        raise DataError(f"{path} holds {cut_for} partitions, not {partitions}; delete its corpus and build again")
    for run in range(runs):
        place = middle + 8 * (run * (partitions + 1) + partition)
        start, end = _RANGE.unpack(os.pread(handle, _RANGE.size, place))
        if end > start:
            yield start, end, begin, middle


def _tail(handle: int, path: Path) -> tuple[int, int, int, int]:
    size = os.fstat(handle).st_size
    tail = os.pread(handle, _TAIL.size, max(0, size - _TAIL.size))
    if len(tail) != _TAIL.size or not tail.endswith(_MAGIC):
        raise DataError(f"{path} is not a file of shuffle blocks; delete the corpus it lies in and build again")
    runs, partitions, begin, middle, _ = _TAIL.unpack(tail)
    return runs, partitions, begin, middle


def by_column(table: pa.Table, *names: str) -> pa.Table:
    """Return the rows sorted by the named columns, ascending; the names make a total key where bytes depend on it."""
    return table.take(pc.sort_indices(table, sort_keys=[(name, "ascending") for name in names]))
