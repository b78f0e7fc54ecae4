"""What the exports share: their parameters, tasks by part of the packed sequences, and files that speak of the others.

A part without rows makes no task and no file: several formats know no empty file.
"""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from pipeline.corpus import DATA
from pipeline.errors import DataError
from pipeline.ledger import Tally
from pipeline.stage import Params, Step
from pipeline.store import Attempt
from pipeline.tasks import Task
from pipeline.tokens.format import PADDING, Packed, Part, read_packed

BLOCK_TOKENS = 1 << 20
"""Tokens held at a time, or one row if that is longer."""


class ExportParams(Params):
    """Nothing to choose: the sequences are exported as they are."""


class Slice(NamedTuple):
    """Rows of a part, and the name of the file they go to."""

    name: str
    first: int
    rows: int


def opened(step: Step) -> Packed:
    """Return the packed sequences that play the role `sequences`."""
    return read_packed(step.inputs["sequences"].root)


def filled(packed: Packed) -> list[Part]:
    """Return the parts that hold rows."""
    return [part for part in packed.parts if part.rows]


def by_part(step: Step, packed: Packed, work: Callable[[Task, Attempt], Tally]) -> Tally:
    """Do `work` for every part that holds rows: the task's key is the part's name, its payload the part."""
    return step.produce(work, [Task(part.stem.name, payload=part) for part in filled(packed)])


def rows_told(packed: Packed) -> dict[str, Any]:
    """Return the facts of an export whose samples are the packed rows."""
    return {
        "folder": DATA,
        "samples": packed.rows,
        "sequence_length": packed.sequence_length,
        "dtype": packed.dtype.name,
        "vocab_size": packed.vocab_size,
        "eos_id": packed.eos_id,
        "pad_id": packed.pad_id,
    }


def without_uint32(dtype: np.dtype) -> np.dtype:
    """Return the dtype that formats without uint32 read: int32 in its place, which has the same bytes for any id."""
    return np.dtype("<u2") if dtype.itemsize == 2 else np.dtype("<i4")


def slices(part: Part, row_bytes: int, size: int, suffix: str) -> list[Slice]:
    """Return how a part is cut into files of at most `size` bytes, or one row: PART.suffix, PART-1.suffix, ...

    Raises:
        DataError: one row takes 4 GiB; these formats keep offsets in 32 bits.
    """
    if row_bytes + (1 << 16) >= 1 << 32:
        raise DataError(
            f"{part.stem.name}: one row takes {row_bytes:,} bytes; this format keeps offsets in 32 bits. Pack shorter "
            "sequences, or use another export."
        )
    rows = max(1, size // row_bytes)
    starts = range(0, part.rows, rows)
    tail = ["", *(f"-{number}" for number in range(1, len(starts)))]
    return [
        Slice(f"{part.stem.name}{end}.{suffix}", start, min(rows, part.rows - start))
        for end, start in zip(tail, starts, strict=True)
    ]


def filled_ends(segments: np.ndarray, offsets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return (counts [n] int64, ends [E] uint32): per row, where its pieces of documents end, without padding.

    Args:
        segments: [S] SEGMENT, those of n rows.
        offsets: [n + 1] int64 into the segments; the first is 0.
    """
    kept = segments["domain"] != PADDING
    before = np.concatenate([[0], np.cumsum(kept)])
    return np.diff(before[offsets]), segments["end"][kept].astype("<u4")


def write_plain(step: Step, name: str, content: Any) -> None:
    """Write a JSON file that tells of the files already written; its task's key is the name without suffix."""
    text = json.dumps(content, sort_keys=True)
    step.produce(partial(_write, name=name, text=text), [Task(Path(name).stem)])


def _write(task: Task, attempt: Attempt, *, name: str, text: str) -> Tally:
    attempt.path(name).write_text(text, encoding="utf-8")
    return {}


def sizes(step: Step, names: list[str]) -> list[int]:
    """Return the bytes of files that earlier rounds of this step have written."""
    return [(step.root / DATA / name).stat().st_size for name in names]


def refuse_wide(packed: Packed, format_name: str, dtype: np.dtype) -> None:
    """Raise DataError where a format has narrower tokens than the sequences."""
    if packed.dtype.itemsize > dtype.itemsize:
        raise DataError(
            f"{packed.root}: a vocabulary of {packed.vocab_size:,} needs {packed.dtype.name}; {format_name} reads "
            f"{dtype.name}, at most {1 << 8 * dtype.itemsize:,} ids. Use another export."
        )
