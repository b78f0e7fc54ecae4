"""What masks say that shorten documents: the columns `spans` and `removed_bytes`, and the books about them.

    spans          list<int64>: start, end, start, end ... of the bytes to be cut out of the text, sorted and disjoint,
                   between characters; null where the document is not kept, empty where all of it stays
    removed_bytes  their sum; 0 where the document is not kept

The documents stay as they are until `dedup.cut` writes them shortened.
"""

import numpy as np
import pyarrow as pa

from pipeline import schemas
from pipeline.ledger import Tally

SPANS = pa.field("spans", pa.list_(pa.int64()))
REMOVED = pa.field("removed_bytes", pa.int64(), nullable=False)


def columns(
    batch: pa.RecordBatch, rows_N: np.ndarray, spans_S2: np.ndarray, ends: np.ndarray, gone_N: np.ndarray, reason: str
) -> dict[str, pa.Array]:
    """Return keep, reason, spans and removed_bytes of a batch, given the spans of some of its rows.

    rows int64 [N] ascending, spans int64 [S, 2] with ends int64 [N + 1], gone bool [N]: of which nothing is left, and
    which have no spans.
    """
    drop = np.zeros(batch.num_rows, bool)
    drop[rows_N] = gone_N
    made = schemas.decide(batch, drop, reason)
    lengths, removed = np.zeros(batch.num_rows, np.int64), np.zeros(batch.num_rows, np.int64)
    lengths[rows_N] = 2 * np.diff(ends)
    sums = np.concatenate([np.zeros(1, np.int64), np.cumsum(spans_S2[:, 1] - spans_S2[:, 0])])
    removed[rows_N] = np.diff(sums[ends])
    starts = np.concatenate([np.zeros(1, np.int32), np.cumsum(lengths)]).astype(np.int32)
    lists = pa.ListArray.from_arrays(
        pa.array(starts), pa.array(spans_S2.ravel()), type=SPANS.type, mask=pa.array(~np.asarray(made["keep"]))
    )
    return made | {"spans": lists, "removed_bytes": pa.array(removed)}


def shortened(batch: pa.RecordBatch, result: pa.RecordBatch) -> Tally:
    """Return by domain how many documents are kept shortened, and by how many bytes."""
    table = pa.table({"domain": batch["domain"], "removed": result["removed_bytes"]})
    table = table.filter(pa.array(result["removed_bytes"].to_numpy() > 0))
    groups = table.group_by("domain", use_threads=False).aggregate([("removed", "count"), ("removed", "sum")])
    return {
        name: {group["domain"]: group[f"removed_{sum_}"] for group in groups.to_pylist()}
        for name, sum_ in (("shortened_documents", "count"), ("removed_bytes", "sum"))
    }
