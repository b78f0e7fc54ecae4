"""Columns and Arrow types that cross a stage boundary, and the two views of them that kernels take."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

DOC_ID = pa.binary(16)
"""A document's identity: 128 bits of its text and domain. It outlives files, shards and builds."""

ADDRESS = "address"
"""Virtual column: shard ordinal << 32 | row. A locator inside one build; never decides anything."""

DOCUMENT_FIELDS = (
    pa.field("doc_id", DOC_ID, nullable=False),
    pa.field("text", pa.large_string(), nullable=False),
    pa.field("domain", pa.string(), nullable=False),
    pa.field("bytes", pa.int64(), nullable=False),
    pa.field("source_id", pa.string()),
)

MASK_FIELDS = (pa.field("keep", pa.bool_(), nullable=False), pa.field("reason", pa.string()))
MASK = ("keep", "reason")
"""The columns a stage asks of its `mask` role; unwired, every row is kept."""


BUCKET = "bucket"
"""The column a stage asks of its `buckets` role: a part of a domain, null for a document that is in none.

It is a path: `high` is a part of its document's domain, `/physics` stands alone whatever the document's domain.
"""


def documents(extra: tuple[str, ...] = ()) -> pa.Schema:
    """Return the schema of documents with the user's own columns, carried along as text."""
    return pa.schema([*DOCUMENT_FIELDS, *(pa.field(name, pa.string()) for name in extra)])


def mask(*more: pa.Field) -> pa.Schema:
    """Return the schema of a mask with a stage's own columns behind keep and reason."""
    return pa.schema([*MASK_FIELDS, *more])


def is_mask(schema: pa.Schema) -> bool:
    """Tell whether a schema carries decisions, which the ledger then counts."""
    return set(MASK) <= set(schema.names)


def decide(batch: pa.RecordBatch, drop: "np.ndarray | pa.Array", reason: str) -> dict[str, pa.Array]:
    """Return the cumulative keep and reason columns: what was dropped before stays so, for its earlier reason.

    Args:
        batch: has the earlier keep and reason.
        drop: [N] bool, the stage's own decision; what it says of rows dropped earlier does not matter.
    """
    drop = drop if isinstance(drop, pa.Array) else pa.array(drop, pa.bool_())
    now = pc.and_(batch["keep"], drop)
    return {
        "keep": pc.and_not(batch["keep"], drop),
        "reason": pc.if_else(now, pa.scalar(reason, pa.string()), batch["reason"]),
    }


def mixed_domains(batch: pa.RecordBatch) -> pa.Array:
    """Return the domain of each row as a mixture sees it: `domain/bucket` where it is in a bucket, else the domain.

    A bucket that begins with a slash is a domain of its own, called by what follows.
    """
    if BUCKET not in batch.schema.names:
        return batch["domain"]
    bucket = batch[BUCKET]
    part = pc.binary_join_element_wise(batch["domain"], bucket, "/")
    alone = pc.utf8_slice_codeunits(bucket, 1)
    return pc.coalesce(pc.if_else(pc.starts_with(bucket, "/"), alone, part), batch["domain"])


def doc_ids(array: pa.Array) -> np.ndarray:
    """Return [N, 2] uint64, a view of a doc_id column: the low and the high half. Null slots hold zeros."""
    if isinstance(array, pa.ChunkedArray):
        array = array.combine_chunks()
    buffer = array.buffers()[1]
    if buffer is None or not len(array):
        return np.zeros((len(array), 2), np.uint64)
    words = np.frombuffer(buffer, np.uint64, 2 * len(array), 16 * array.offset).reshape(-1, 2)
    if not array.null_count:
        return words
    return np.where(np.asarray(array.is_null())[:, None], np.uint64(0), words)


def doc_id_array(words: np.ndarray, mask: "np.ndarray | None" = None) -> pa.Array:
    """Return [N, 2] uint64 as a doc_id column; `mask` is true where the result is null."""
    buffer = pa.py_buffer(np.ascontiguousarray(words, np.uint64))
    validity = None if mask is None else pa.array(~np.asarray(mask, bool)).buffers()[1]
    return pa.FixedSizeBinaryArray.from_buffers(DOC_ID, len(words), [validity, buffer])


def text_buffers(array: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """Return (data [bytes] uint8, offsets [N + 1] int64) of a string or binary column, slices honoured.

    A null value is an empty range; data is never of length zero, so that a kernel may take its address.
    """
    wide = pa.types.is_large_string(array.type) or pa.types.is_large_binary(array.type)
    _, ends, data = array.buffers()
    if ends is None or not len(array):
        offsets = np.zeros(len(array) + 1, np.int64)
    else:
        view = np.frombuffer(ends, np.int64 if wide else np.int32)[array.offset : array.offset + len(array) + 1]
        offsets = view.astype(np.int64, copy=False)
    if data is None or data.size == 0:
        return np.zeros(1, np.uint8), offsets
    return np.frombuffer(data, np.uint8), offsets
