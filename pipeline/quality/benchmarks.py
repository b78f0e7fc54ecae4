"""Benchmark files as items to look for, and their index, which is made once and mapped by the workers.

A file is Parquet or JSON Lines, one item a row. An item's passages are its texts in the columns asked for, so that a
question is also found without its answer: the first column must be there, the others are read where a file has them.
"""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.errors import ConfigError
from pipeline.kernels import overlap, shingles, utf8
from pipeline.kernels.hashing import read_only
from pipeline.kernels.overlap import Index
from pipeline.quality.prepared import mapped, write_once
from pipeline.schemas import text_buffers
from pipeline.stage import Params

_PARQUET = b"PAR1"
LAYOUT = 1
"""Of what `prepare` writes. Raised when that changes: a step that was stopped may be resumed by a later version."""
_HALVES = re.compile("[\ud800-\udfff]")


class BenchmarkParams(Params):
    """Where items stand in their files, and which of their runs of words count."""

    id: str = "id"
    task: str | None = "task"
    texts: tuple[str, ...] = ("text", "question")
    ngram: int = 8
    least_words: int = 3
    most_items: int = 10


@dataclass(frozen=True)
class Known:
    """All items, their passages and the index of those; items[p] is the item of passage p."""

    names: pa.Array  # task/id of every item
    tasks: pa.Array  # task of every item
    texts: pa.Array  # of every passage
    items: np.ndarray
    index: Index

    def short(self) -> int:
        """Return how many items have no key: too few words, or nothing but matters of form."""
        keyed = np.bincount(self.items, self.index.totals, minlength=len(self.names))
        return int(np.count_nonzero(keyed == 0))


@lru_cache(maxsize=2)
def load(paths: tuple[Path, ...], params: BenchmarkParams) -> Known:
    """Return the items of all files in their order, and the index of their passages.

    Raises:
        ConfigError: a file cannot be read, lacks a column, or has an item without an id.
    """
    rows = [row for path in paths for row in _rows(path, params)]
    if not rows:
        raise ConfigError(f"the benchmark files {', '.join(map(str, paths))} have no items")
    items = np.repeat(np.arange(len(rows)), [len(texts) for _, _, texts in rows])
    texts = pa.array([text for _, _, texts in rows for text in texts], pa.large_string())
    words_W, firsts = words(texts)
    index = overlap.build(words_W, firsts, items, params.ngram, params.least_words, params.most_items)
    return Known(pa.array([name for name, _, _ in rows]), pa.array([task for _, task, _ in rows]), texts, items, index)


@dataclass(frozen=True)
class Sought:
    """What a worker needs of the items: their names, the item of every passage, and the index."""

    names: pa.Array
    items: np.ndarray
    index: Index


def prepare(known: Known, folder: Path) -> Path:
    """Return the folder under `folder` with what a worker needs, written if it is not there."""
    ends = text_buffers(known.names.cast(pa.large_string()))
    arrays = {f"index_{name}": np.asarray(value) for name, value in known.index._asdict().items()}
    made = arrays | {"items": known.items, "names_data": ends[0], "names_offsets": ends[1]}
    return write_once(folder / f"benchmarks-{LAYOUT}", lambda: made)


@lru_cache(maxsize=2)
def opened(prepared: Path) -> Sought:
    """Return what `prepare` wrote, mapped; the last ones stay for the next batch."""
    found = mapped(prepared)
    # A number was written as an array without dimensions; a mapped array is a class of its own, which numba would see.
    fields: dict[str, Any] = {
        name: int(value) if value.ndim == 0 else read_only(np.asarray(value))
        for name, value in ((name, found[f"index_{name}"]) for name in Index._fields)
    }
    offsets = pa.py_buffer(np.asarray(found["names_offsets"], np.int64))
    names = pa.LargeStringArray.from_buffers(
        len(found["names_offsets"]) - 1, offsets, pa.py_buffer(found["names_data"])
    )
    return Sought(names.cast(pa.string()), found["items"], Index(**fields))


def words(texts: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """Return (uint64 [W], firsts int64 [N + 1]): the hash of every word of texts that are valid UTF-8."""
    return shingles.hashes(*shingles.plain(*text_buffers(texts)), 1)


def _rows(path: Path, params: BenchmarkParams) -> Iterator[tuple[str, str, list[str]]]:
    """Yield (task/id, task, texts) of every item of a file."""
    optional = params.texts[1:]
    columns = (params.id, *([] if params.task is None else [params.task]), *params.texts)
    for number, row in enumerate(_read(path, columns, optional), 1):
        key, task = row.get(params.id), "benchmark" if params.task is None else row.get(params.task)
        if key is None or task is None:
            raise ConfigError(f"{path}, item {number}: {params.id if key is None else params.task} is null")
        texts = dict.fromkeys(row[name] for name in params.texts if row.get(name))
        if wrong := next((text for text in texts if not _readable(text)), None):
            raise ConfigError(f"{path}, item {number}: {str(wrong)[:40]!r} is not a text")
        yield f"{task}/{key}", str(task), list(texts)


def _readable(text: Any) -> bool:
    """Tell whether a value is a text; JSON can also write half of a character."""
    return isinstance(text, str) and _HALVES.search(text) is None


def _read(path: Path, columns: Sequence[str], optional: Sequence[str]) -> Iterator[dict[str, Any]]:
    try:
        with path.open("rb") as file:
            parquet = file.read(4) == _PARQUET
        found, present = _parquet(path, columns) if parquet else _json_lines(path)
    except (OSError, ValueError, pa.ArrowException) as error:
        raise ConfigError(f"{path} cannot be read as benchmark items (Parquet or JSON Lines): {error}") from None
    missing = [name for name in columns if name not in present and name not in optional]
    if present and missing:
        raise ConfigError(
            f"{path} has no column {missing[0]!r}; it has {', '.join(sorted(present))}. Name the columns of the "
            "benchmark files in the step's params `id`, `task` (null: there is none) and `texts`."
        )
    yield from found


def _parquet(path: Path, columns: Sequence[str]) -> tuple[list[dict[str, Any]], set[str]]:
    """Return the items and the names of all columns."""
    present = pq.read_schema(path).names
    table = pq.read_table(path, columns=[name for name in dict.fromkeys(columns) if name in present])
    for column in table.columns:
        if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
            states = utf8.text_states(*text_buffers(column.combine_chunks()))
            if (states == utf8.INVALID).any():
                raise ValueError(f"row {int(np.argmax(states == utf8.INVALID)):,} is not UTF-8")
    return table.to_pylist(), set(present)


def _json_lines(path: Path) -> tuple[list[dict[str, Any]], set[str]]:
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    if wrong := next((row for row in rows if not isinstance(row, dict)), None):
        raise ValueError(f"a line is {str(wrong)[:40]!r}, not an object")
    return rows, {name for row in rows for name in row}
