"""Single rows of a corpus by their place, a shard and a row in it; only the row groups they lie in are read."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.corpus import DATA, Corpus


class Place(NamedTuple):
    """Where a row lies inside one corpus, or in any that is co-partitioned with it."""

    shard: str
    row: int


def values(corpus: Corpus, places: Iterable[Place], columns: Sequence[str]) -> Iterator[tuple[Place, dict[str, Any]]]:
    """Yield (place, column -> value) for each different place, in the order of shards and rows.

    Raises:
        OSError: a shard is gone or cannot be read.
        IndexError: a shard has no such row.
    """
    rows: dict[str, list[int]] = {}
    for shard, row in sorted(set(places)):
        rows.setdefault(shard, []).append(row)
    for shard, wanted in rows.items():
        for row, found in _of_shard(corpus.root / DATA / shard, wanted, columns):
            yield Place(shard, row), found


def _of_shard(path: Path, rows: Sequence[int], columns: Sequence[str]) -> Iterator[tuple[int, dict[str, Any]]]:
    with pq.ParquetFile(path, pre_buffer=False, page_checksum_verification=True) as file:
        if rows[-1] >= file.metadata.num_rows:
            raise IndexError(f"{path} has {file.metadata.num_rows:,} rows and no row {rows[-1]:,}")
        first = 0
        for group in range(file.metadata.num_row_groups):
            end = first + file.metadata.row_group(group).num_rows
            if wanted := [row for row in rows if first <= row < end]:
                table = file.read_row_group(group, columns=list(columns), use_threads=False)
                picked = table.take(pa.array([row - first for row in wanted]))
                yield from zip(wanted, picked.to_pylist(), strict=True)
            first = end
