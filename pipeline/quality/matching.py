"""Which documents are of a class, as far as a row alone can tell."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.errors import DataError
from pipeline.quality.labels import Labels


def matching(batch: pa.RecordBatch, labels: Labels) -> np.ndarray:
    """Return which rows of `batch` are of the class, as far as a row alone can tell, bool [N].

    A row that the mask drops is not; nor, where strength is asked for, is one whose strength is null.

    Raises:
        DataError: a value of a column with a range is no number, or a strength is outside of [0, 1].
    """
    found = np.zeros(batch.num_rows, bool)
    if labels.domains:
        found |= _truth(pc.is_in(batch["domain"], value_set=pa.array(labels.domains, pa.string())))
    if labels.values:
        found |= _truth(pc.is_in(batch[labels.column], value_set=pa.array(labels.values, pa.string())))
    elif labels.column:
        found |= _between(numbers(batch, labels.column), labels.min, labels.max)
    if not labels.domains and not labels.column:
        found[:] = True
    if labels.strength:
        found &= _between(strengths(batch), labels.strength.min, labels.strength.max)
    return found & _truth(batch["keep"])


def numbers(batch: pa.RecordBatch, column: str) -> np.ndarray:
    """Return a column of text as numbers, float64 [N]; NaN where it is null or blank.

    Raises:
        DataError: a value is no finite number.
    """
    text = pc.utf8_trim_whitespace(batch[column])
    text = pc.if_else(pc.equal(text, ""), pa.scalar(None, pa.string()), text)
    number = pc.match_substring_regex(text, r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,2})?$")
    if not pc.all(number, min_count=0).as_py():
        wrong = pc.index(number, False).as_py()
        raise DataError(
            f"quality.train: {column} of document {batch['doc_id'][wrong].as_py().hex()} (domain "
            f"{batch['domain'][wrong].as_py()}) is {batch[column][wrong].as_py()!r}, which is no number; `min` and "
            "`max` want numbers or nothing. Give `values`, or mend the column."
        )
    found: np.ndarray = pc.cast(text, pa.float64()).fill_null(np.nan).to_numpy()
    return found


def strengths(batch: pa.RecordBatch) -> np.ndarray:
    """Return the strength of each row, float32 [N], NaN where it is unknown.

    Raises:
        DataError: a strength is outside of [0, 1].
    """
    found: np.ndarray = pc.cast(batch["strength"], pa.float32()).fill_null(np.nan).to_numpy()
    if len(wrong := np.flatnonzero((found < 0) | (found > 1))):
        raise DataError(
            f"quality.train: the strength of document {batch['doc_id'][int(wrong[0])].as_py().hex()} is "
            f"{found[wrong[0]]:g}; a strength lies from 0 to 1. Wire a corpus of quality.strength as `strength`."
        )
    return found


def _between(values_N: np.ndarray, least: float | None, most: float | None) -> np.ndarray:
    """Which values are known and within the bounds."""
    found = ~np.isnan(values_N)
    if least is not None:
        found &= values_N >= values_N.dtype.type(least)
    if most is not None:
        found &= values_N <= values_N.dtype.type(most)
    return found


def _truth(array: pa.Array) -> np.ndarray:
    found: np.ndarray = pc.fill_null(array, False).to_numpy(zero_copy_only=False)
    return found
