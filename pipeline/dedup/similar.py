"""The corpus between `dedup.verify` and `dedup.keep`: who is like whom, by the true similarity.

similar   list, one entry for each candidate that this document is like, in their order; null where there is none

    address      of the other document
    doc_id       of it
    domain       of it
    similarity   J of the two sets of shingles
    containment  share of this document's shingles that the other one has
    better       false for a rival: a worse document that an earlier build has kept
"""

import numpy as np
import pyarrow as pa

from pipeline.schemas import DOC_ID

ENTRY = pa.struct(
    [
        pa.field("address", pa.uint64(), nullable=False),
        pa.field("doc_id", DOC_ID, nullable=False),
        pa.field("domain", pa.string(), nullable=False),
        pa.field("similarity", pa.float64(), nullable=False),
        pa.field("containment", pa.float64(), nullable=False),
        pa.field("better", pa.bool_(), nullable=False),
    ]
)
SCHEMA = pa.schema([pa.field("similar", pa.list_(ENTRY))])


def column(counts_N: np.ndarray, entries: pa.StructArray) -> pa.Array:
    """Return the column `similar` of rows that have so many entries each; null for none."""
    offsets = np.concatenate([[0], np.cumsum(counts_N)]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), entries, type=pa.list_(ENTRY), mask=pa.array(counts_N == 0))


def entries(column: pa.Array | pa.ChunkedArray) -> tuple[np.ndarray, pa.StructArray]:
    """Return (offsets int64 [N + 1], all entries) of the column; a null row has none."""
    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    counts = array.value_lengths().fill_null(0).to_numpy(zero_copy_only=False)
    return np.concatenate([[0], np.cumsum(counts)]).astype(np.int64), array.flatten()
