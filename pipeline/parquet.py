"""Parquet shards: streamed side by side on the way in, row groups of bounded size on the way out.

Every file is written with page checksums and read with their verification; text has neither dictionary nor
statistics (pyarrow would copy whole minimum and maximum texts into the headers).
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.errors import DataError
from pipeline.schemas import ADDRESS

BATCH_ROWS = 1 << 15
"""Of narrow columns; a batch of texts is cut by its bytes. With 4096 a shuffle spent a tenth of its time on batches."""
BATCH_BYTES = 8 << 20
GROUP_ROWS = 1 << 17
GROUP_BYTES = 16 << 20

_DICTIONARY = {"domain", "reason"}
_SORTED = {"key"}
"""Columns that rise from row to row: the differences are what is written."""
_PLAIN = {"tokens"}
"""Columns left uncompressed: Zstandard halves token ids, in a third of the time that encoding them takes."""


class ShardWriter:
    """Writes batches of one schema to one Parquet file, in row groups of some 16 MiB whatever the batches' sizes."""

    def __init__(self, path: Path, schema: pa.Schema):
        self.schema = schema
        self.rows = 0
        self._held: list[pa.RecordBatch] = []
        self._held_bytes = 0
        self._held_rows = 0
        self._writer = pq.ParquetWriter(
            path,
            schema,
            **_codecs(schema),
            use_dictionary=[name for name in schema.names if name in _DICTIONARY],
            column_encoding=dict.fromkeys(_SORTED.intersection(schema.names), "DELTA_BINARY_PACKED") or None,
            write_statistics=[f.name for f in schema if _is_number(f.type)],
            write_page_checksum=True,
        )

    def write(self, batch: pa.RecordBatch) -> None:
        """Add a batch.

        Raises:
            DataError: its schema is not the declared one.
        """
        if not batch.schema.equals(self.schema):
            raise DataError(f"a stage returned\n{batch.schema}\nbut declared\n{self.schema}")
        self.rows += batch.num_rows
        while self._held_rows + batch.num_rows >= GROUP_ROWS:
            head = GROUP_ROWS - self._held_rows
            self._hold(batch.slice(0, head))
            self._flush()
            batch = batch.slice(head)
        self._hold(batch)
        if self._held_bytes >= GROUP_BYTES:
            self._flush()

    def _hold(self, batch: pa.RecordBatch) -> None:
        if batch.num_rows:
            self._held.append(batch)
            self._held_rows += batch.num_rows
            self._held_bytes += batch.nbytes

    def _flush(self) -> None:
        if self._held:
            table = pa.Table.from_batches(self._held, self.schema)
            self._writer.write_table(table, row_group_size=GROUP_ROWS)
        self._held, self._held_bytes, self._held_rows = [], 0, 0

    def close(self) -> None:
        """Write what is held and the footer."""
        self._flush()
        self._writer.close()

    def __enter__(self) -> "ShardWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self._writer.close()  # the draft is deleted with its attempt; nothing reads it


def _codecs(schema: pa.Schema) -> dict[str, Any]:
    """Return how columns are compressed: all alike, but for those of _PLAIN."""
    if not (plain := _PLAIN.intersection(schema.names)):
        return {"compression": "zstd", "compression_level": 3}
    # A codec by column goes by the path of the leaf, and a leaf that is not named is left uncompressed.
    sink = pa.BufferOutputStream()
    pq.write_table(schema.empty_table(), sink)
    written = pq.ParquetFile(pa.BufferReader(sink.getvalue())).schema
    paths = [written.column(leaf).path for leaf in range(len(written))]
    levels = {path: 3 for path in paths if path not in plain}
    return {"compression": dict.fromkeys(plain, "none") | dict.fromkeys(levels, "zstd"), "compression_level": levels}


def _is_number(kind: pa.DataType) -> bool:
    return pa.types.is_integer(kind) or pa.types.is_floating(kind)


def write_table(path: Path, table: pa.Table, schema: pa.Schema | None = None) -> int:
    """Write a whole table as one shard; return its rows.

    Raises:
        DataError: its schema is not the declared one.
    """
    with ShardWriter(path, schema or table.schema) as writer:
        for batch in table.to_batches():
            writer.write(batch)
    return writer.rows


def read_batches(path: Path, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """Yield the chosen columns of a shard in batches of bounded rows and bytes."""
    with pq.ParquetFile(path, pre_buffer=False, page_checksum_verification=True) as file:
        yield from file.iter_batches(_batch_rows(file, columns), columns=list(columns), use_threads=False)


def _batch_rows(file: pq.ParquetFile, columns: Sequence[str]) -> int:
    """Return how many rows make a batch, from the largest average row of any row group."""
    widest = 1.0
    for index in range(file.metadata.num_row_groups):
        group = file.metadata.row_group(index)
        size = sum(
            group.column(c).total_uncompressed_size
            for c in range(group.num_columns)
            if group.column(c).path_in_schema.split(".")[0] in columns
        )
        widest = max(widest, size / max(group.num_rows, 1))
    return int(max(1, min(BATCH_ROWS, BATCH_BYTES / widest)))


def read_zipped(shards: Mapping[Path, Sequence[str]], first_address: int | None = None) -> Iterator[pa.RecordBatch]:
    """Yield the chosen columns of co-partitioned shards side by side.

    Args:
        first_address: if given, a uint64 column `address` counts up from it.

    Raises:
        DataError: the shards differ in row count, or two of them offer the same column.
    """
    names = [name for columns in shards.values() for name in columns]
    if len(names) != len(set(names)):
        raise DataError(f"two inputs offer one column: {sorted(names)}; ask for it from one input only")
    address = first_address
    for batch in _aligned([read_batches(path, columns) for path, columns in shards.items()], list(shards)):
        if address is not None:
            places = pa.array(np.arange(address, address + batch.num_rows, dtype=np.uint64))
            address += batch.num_rows
            batch = batch.append_column(ADDRESS, places)
        yield batch


def _aligned(readers: list[Iterator[pa.RecordBatch]], paths: list[Path]) -> Iterator[pa.RecordBatch]:
    """Cut the readers' batches to common lengths and join them column-wise."""
    held: list[Any] = [None] * len(readers)
    while True:
        for place, reader in enumerate(readers):
            while held[place] is None or not held[place].num_rows:
                held[place] = next(reader, None)
                if held[place] is None:
                    break
        parts = [batch for batch in held if batch is not None]
        if not parts:
            return
        if len(parts) < len(readers):
            short = [str(path) for path, batch in zip(paths, held, strict=True) if batch is None]
            raise DataError(f"shards are not co-partitioned: {', '.join(short)} ended before the others; rebuild it")
        rows = min(batch.num_rows for batch in parts)
        columns = [column for batch in parts for column in batch.slice(0, rows).columns]
        yield pa.RecordBatch.from_arrays(columns, names=[name for batch in parts for name in batch.schema.names])
        held = [batch.slice(rows) for batch in parts]
