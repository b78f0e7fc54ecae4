"""The corpus between `dedup.sign` and its readers: band keys, one row a document.

bands     fixed_size_list<uint64>[B], null for a document without words or dropped earlier
shingles  int32, how many shingles the document has, repeats included; 0 where bands is null
"""

import numpy as np
import pyarrow as pa


def schema(bands: int) -> pa.Schema:
    """Return the schema of a corpus of so many bands."""
    return pa.schema(
        [pa.field("bands", pa.list_(pa.uint64(), bands)), pa.field("shingles", pa.int32(), nullable=False)]
    )


def column(keys_NB: np.ndarray, null_N: np.ndarray) -> pa.Array:
    """Return band keys as the column `bands`, null where asked."""
    return pa.FixedSizeListArray.from_arrays(pa.array(keys_NB.reshape(-1)), keys_NB.shape[1], mask=pa.array(null_N))


def matrix(column: pa.Array | pa.ChunkedArray) -> np.ndarray:
    """Return the column `bands` as uint64 [N, B]; what a null row holds means nothing."""
    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    bands = array.type.list_size
    values = array.values.slice(array.offset * bands, len(array) * bands)
    # With a null in it numpy would get floats, which do not hold 64 bits.
    return values.fill_null(0).to_numpy().reshape(-1, bands)
