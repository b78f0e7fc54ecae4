"""The column of token weights: how much each token of a document counts in the loss, made by another step.

Reads `weights`, a list of numbers a document, one for each of its tokens; they are carried to the packed rows as
float16. What packing puts between documents is not of them: BOS and EOS weigh 1, padding 0.
"""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.errors import DataError
from pipeline.tokens.column import token_column
from pipeline.tokens.format import WEIGHT

WEIGHTS = "weights"
BITS = np.dtype("<u2")
"""Weights are moved as their bits: compiled code has no float16."""
ONE = int(WEIGHT.type(1).view(BITS))


def weight_column(batch: pa.RecordBatch) -> pa.Array:
    """Return the weights of the kept rows as raw float16 in a column like that of the tokens.

    Raises:
        DataError: it is no column of lists, a document has not one weight for each of its tokens, or a weight is null,
            negative, or not a number that float16 holds.
    """
    column, keep, length = batch[WEIGHTS], batch["keep"], batch["length"].to_numpy()
    if not (pa.types.is_list(column.type) or pa.types.is_large_list(column.type)):
        raise DataError(f"the column {WEIGHTS!r} is of type {column.type}; it must be a list of numbers, one a token")
    found = pc.fill_null(pc.list_value_length(column), -1).to_numpy().astype(np.int64)
    wrong = keep.to_numpy(zero_copy_only=False) & (found != length)
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        got = "no weights" if found[row] < 0 else f"{found[row]:,} weights"
        raise DataError(
            f"document {_name(batch, row)} has {got} for its {length[row]:,} tokens; make the weights from these tokens"
        )
    kept = column.filter(keep)
    values = pc.fill_null(kept.flatten().cast(pa.float32()), float("nan")).to_numpy()
    with np.errstate(over="ignore"):
        narrow = values.astype(WEIGHT)
    lengths = np.where(keep.to_numpy(zero_copy_only=False), length, 0)
    if len(bad := np.flatnonzero(~(np.isfinite(narrow) & (narrow >= 0)))):
        row = int(np.searchsorted(np.cumsum(lengths), bad[0], "right"))
        token = int(bad[0] - lengths[:row].sum())
        raise DataError(
            f"document {_name(batch, row)}: the weight of token {token:,} is {values[bad[0]]}; weights are finite "
            "numbers from 0 up to 65,504"
        )
    return token_column(narrow.view(BITS), lengths, np.zeros(len(lengths), bool))


def _name(batch: pa.RecordBatch, row: int) -> str:
    return batch["doc_id"][row].as_py().hex()
