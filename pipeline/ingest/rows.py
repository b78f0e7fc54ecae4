"""What a reader yields: rows to be judged, and what it could not read."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

RAW_BYTES = 64 << 10
"""At most so much of a row goes into the quarantine."""


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows of one file as they lie there. Letters: N rows.

    text: large_binary [N], null where the file has a null; not yet known to be UTF-8. columns: source_id and the extra
    columns by their name in documents, of any type. row_N: row (Parquet) or line (JSON Lines) in the file, counted from
    0, or -1 where unknown; byte_N: place in the (decompressed) stream, for lines.
    """

    text: pa.Array
    columns: dict[str, pa.Array]
    row_N: np.ndarray
    byte_N: np.ndarray | None = None


@dataclass(frozen=True, slots=True)
class Lost:
    """Rows in a row that could not be read: how many, from where in the file, why, and their bytes if known."""

    reason: str
    rows: int = 1
    row: int | None = None
    byte: int | None = None
    detail: str = ""
    raw: bytes | None = None
