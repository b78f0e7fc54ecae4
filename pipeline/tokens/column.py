"""The column of token ids: the ids of a document as raw little-endian bytes, in an Arrow large_binary.

Parquet has no 16-bit integers: a list column of uint16 is written as 32-bit ones with two levels a value, which costs
three times the CPU on the way out and in and a sixth more bytes. The dtype of the ids is in the manifest's facts.
"""

import numpy as np
import pyarrow as pa

TOKENS = pa.large_binary()


def token_column(ids: np.ndarray, lengths: np.ndarray, null: np.ndarray) -> pa.Array:
    """Return the column of N documents whose ids lie back to back in `ids`.

    Args:
        ids: [T] uint16 or uint32.
        lengths: [N] int64, ids of each document; 0 where `null`.
        null: [N] bool, documents that were not encoded.
    """
    offsets = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(lengths * ids.dtype.itemsize, out=offsets[1:])
    validity = pa.array(~null).buffers()[1]
    data = pa.py_buffer(np.ascontiguousarray(ids))
    return pa.LargeBinaryArray.from_buffers(TOKENS, len(lengths), [validity, pa.py_buffer(offsets), data])


def token_values(column: pa.Array, dtype: np.dtype) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return (ids [T], first [N], length [N]) of a column, without a copy: document i is ids[first[i]:][:length[i]].

    A null document has length 0.
    """
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    if not len(column):
        return np.zeros(0, dtype), np.zeros(0, np.int64), np.zeros(0, np.int64)
    _, bounds, data = column.buffers()
    offsets = np.frombuffer(bounds, np.int64)[column.offset : column.offset + len(column) + 1] // dtype.itemsize
    ids = np.frombuffer(data, dtype, int(offsets[-1])) if data is not None else np.zeros(0, dtype)
    return ids, offsets[:-1], np.diff(offsets)
