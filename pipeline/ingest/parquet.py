"""Read row groups of a raw Parquet file in batches of bounded bytes; tell apart bad bytes and a bad connection.

Pages are decoded one after another (`pre_buffer=False`, a buffer of 1 MiB a column), so memory does not grow with the
row group or the file. Page checksums are verified where a file has them. When a group breaks, its rows up to the break
are kept and the rest is lost, counted by the footer; the next groups go on. A break may also be the disk's or the
network's fault: then the same bytes cannot be fetched either, the error is raised, and the task is tried again.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.errors import DataError
from pipeline.ingest.inspect import first_line
from pipeline.ingest.plan import Piece
from pipeline.ingest.rows import Lost, Rows
from pipeline.ingest.sources import SourceColumns, SourceFile, open_file

BUFFER_BYTES = 1 << 20
BATCH_BYTES = 8 << 20
BATCH_ROWS = 8192
PROBE_ROWS = 16


def read_parquet(piece: Piece, columns: SourceColumns) -> Iterator[Rows | Lost]:
    """Yield the rows of a piece in order; rows read and rows lost add up to the footer's.

    Raises:
        DataError: the file is another than the one that was planned.
        OSError: its bytes cannot be fetched.
    """
    row = piece.first_row
    with _opened(piece.file) as file:
        names = [name for name in columns.wanted() if name in file.schema_arrow.names]
        swell = _swell(file, piece, columns.text)
        for index in range(piece.first, piece.last):
            group = file.metadata.row_group(index)
            batch_rows = _batch_rows(group, names, swell)
            yield from _read_group(file, piece, index, row, batch_rows, names, columns)
            row += group.num_rows


@contextmanager
def _opened(file: SourceFile) -> Iterator[pq.ParquetFile]:
    with open_file(file) as stream:
        yield pq.ParquetFile(stream, pre_buffer=False, buffer_size=BUFFER_BYTES, page_checksum_verification=True)


def _read_group(
    file: pq.ParquetFile,
    piece: Piece,
    index: int,
    first_row: int,
    batch_rows: int,
    names: Sequence[str],
    columns: SourceColumns,
) -> Iterator[Rows | Lost]:
    expected = file.metadata.row_group(index).num_rows
    done, detail = 0, "the row group ends early"
    try:
        for batch in file.iter_batches(batch_rows, row_groups=[index], columns=list(names), use_threads=False):
            yield _rows(batch, first_row + done, piece.file, columns)
            done += batch.num_rows
    except (pa.ArrowException, OSError) as error:
        _fetch(piece.file, file.metadata.row_group(index))
        detail = f"row group {index}: {first_line(error)}"
    if done > expected:
        raise DataError(f"{piece.file.url}: row group {index} holds {done:,} rows, its footer says {expected:,}")
    if done < expected:
        yield Lost("unreadable_page", expected - done, row=first_row + done, detail=detail)


def _fetch(file: SourceFile, group: pq.RowGroupMetaData) -> None:
    """Read the bytes of a group that did not decode; raise OSError if they cannot even be read."""
    chunks = [group.column(c) for c in range(group.num_columns)]
    with open_file(file) as stream:
        for chunk in chunks:
            start = min(place for place in (chunk.dictionary_page_offset, chunk.data_page_offset) if place)
            stream.seek(start)
            left = chunk.total_compressed_size
            while left > 0 and (piece := stream.read(min(left, BUFFER_BYTES))):
                left -= len(piece)


def _batch_rows(group: pq.RowGroupMetaData, names: Sequence[str], swell: float) -> int:
    """Return how many rows of a group are some 8 MiB; `swell` is how much larger they are than the footer says."""
    chunks = (group.column(c) for c in range(group.num_columns))
    size = sum(chunk.total_uncompressed_size for chunk in chunks if chunk.path_in_schema.split(".")[0] in names)
    widest = max(1.0, swell * size / max(group.num_rows, 1))
    return int(max(1, min(BATCH_ROWS, BATCH_BYTES / widest)))


def _swell(file: pq.ParquetFile, piece: Piece, text: str) -> float:
    """Return how much larger the text is than its chunk, judged by the first rows of the first group.

    The footer's "uncompressed" size is that of encoded pages: a page of one megabyte repeated through a dictionary a
    thousand times counts once. Rows of such groups must not be asked for by the thousand.
    """
    if piece.first == piece.last or not file.metadata.row_group(piece.first).num_rows:
        return 1.0
    group = file.metadata.row_group(piece.first)
    chunk = next(c for c in map(group.column, range(group.num_columns)) if c.path_in_schema == text)
    if not chunk.has_dictionary_page:
        return 1.0
    try:
        probe = next(file.iter_batches(PROBE_ROWS, row_groups=[piece.first], columns=[text], use_threads=False))
    except (pa.ArrowException, OSError, StopIteration):
        return 1.0  # the group's own turn will tell
    mean = (pc.sum(pc.binary_length(_plain(probe.column(0)))).as_py() or 0) / max(probe.num_rows, 1)
    return max(1.0, mean * group.num_rows / max(chunk.total_uncompressed_size, 1))


def _rows(batch: pa.RecordBatch, first_row: int, file: SourceFile, columns: SourceColumns) -> Rows:
    def column(name: str) -> pa.Array:
        if name in batch.schema.names:
            return batch.column(name)
        return pa.array([dict(file.partitions).get(name)] * batch.num_rows, pa.string())

    carried = {name: column(name) for name in columns.extra}
    if columns.id:
        carried["source_id"] = column(columns.id)
    row_N = np.arange(first_row, first_row + batch.num_rows)
    return Rows(_plain(batch.column(columns.text)), carried, row_N)


def _plain(array: pa.Array) -> pa.Array:
    """Return a textual column of any kind as large_binary, bytes untouched and unjudged."""
    if isinstance(array, pa.ExtensionArray):
        return _plain(array.storage)
    if pa.types.is_dictionary(array.type):
        # Not cast at once: the values' own type may be an extension or a view.
        return _plain(array.dictionary).take(array.indices)
    return array.cast(pa.large_binary())
