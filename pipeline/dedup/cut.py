"""Write the documents without the bytes that a mask's `spans` name, or with its `marks` in their place.

Reads documents and a mask with `spans` that was made from these very documents (`dedup.lines`, `dedup.paragraphs`,
`dedup.substrings`, `dedup.bloom`, stages of quality). Writes documents: the same columns, shards, rows and order. A
document with spans has a new text, so a new `bytes` and a new `doc_id`, the one that ingest gives that text in that
domain; all others are as they were, and so is a document that the mask drops. The mask goes on to be the mask of these
documents.

    marks   list<string>, a column the mask may have: what is written in place of each span, in the order of the spans;
            null for a span that is deleted, a null or empty list where all are
"""

from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline import schemas
from pipeline.corpus import Corpus
from pipeline.dedup.units import domain_seeds
from pipeline.errors import DataError
from pipeline.kernels import hashing, spans
from pipeline.ledger import Tally
from pipeline.stage import Params, Stage, Step


class CutParams(Params):
    """Nothing to choose: what is cut out, and what is put in its place, is in the mask."""


def cut_batch(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """Return the batch's documents, those with spans changed, in its order.

    Raises:
        DataError: spans are not parts of the text they speak of, or a document's marks are not one a span.
    """
    spans_S2, ends = _spans(batch)
    if not len(spans_S2):
        return pa.RecordBatch.from_arrays([batch[name] for name in schema.names], schema=schema)
    try:
        data, offsets = spans.cut(*schemas.text_buffers(batch["text"]), spans_S2, ends, _marks(batch))
    except ValueError as error:
        raise DataError(
            f"{error}: the mask was made from other documents. Wire the documents it was made from."
        ) from None
    ids_N2 = hashing.murmur128(data, offsets, domain_seeds(batch["domain"]))
    changed_N = np.diff(ends) > 0
    made = {
        "doc_id": schemas.doc_id_array(np.where(changed_N[:, None], ids_N2, schemas.doc_ids(batch["doc_id"]))),
        "text": pa.LargeStringArray.from_buffers(batch.num_rows, pa.py_buffer(offsets), pa.py_buffer(data)),
        "bytes": pa.array(np.diff(offsets)),
    }
    return pa.RecordBatch.from_arrays([made.get(name, batch[name]) for name in schema.names], schema=schema)


def _spans(batch: pa.RecordBatch) -> tuple[np.ndarray, np.ndarray]:
    """Return (spans int64 [S, 2], ends int64 [N + 1]) of the kept documents; the others have none."""
    lengths_N = pc.fill_null(pc.list_value_length(batch["spans"]), 0).to_numpy()
    if (lengths_N % 2).any():
        raise DataError("a document has a span without an end: `spans` holds start, end, start, end ...")
    keep_N = np.asarray(batch["keep"])
    values = batch["spans"].flatten().to_numpy()[np.repeat(keep_N, lengths_N)]
    ends = np.concatenate([np.zeros(1, np.int64), np.cumsum(np.where(keep_N, lengths_N // 2, 0))])
    return values.reshape(-1, 2), ends


def _marks(batch: pa.RecordBatch) -> tuple[np.ndarray, np.ndarray] | None:
    """Return (data, offsets [S + 1]) of the marks of the kept documents' spans, null ones empty; None without marks."""
    if "marks" not in batch.schema.names:
        return None
    spans_N = pc.fill_null(pc.list_value_length(batch["spans"]), 0).to_numpy() // 2
    marks_N = pc.fill_null(pc.list_value_length(batch["marks"]), 0).to_numpy()
    keep_N = np.asarray(batch["keep"])
    marked_N = keep_N & (marks_N > 0)
    if (wrong_N := marked_N & (marks_N != spans_N)).any():
        row = int(np.flatnonzero(wrong_N)[0])
        raise DataError(
            f"a document has {spans_N[row]:,} spans and {marks_N[row]:,} marks: `marks` holds one a span, or none"
        )
    # Every span takes a mark: of documents without marks the null behind the last one.
    places_N = np.cumsum(marks_N) - marks_N
    spans_N = np.where(keep_N, spans_N, 0)
    within_S = np.arange(spans_N.sum()) - np.repeat(np.cumsum(spans_N) - spans_N, spans_N)
    places_S = np.where(np.repeat(marked_N, spans_N), np.repeat(places_N, spans_N) + within_S, marks_N.sum())
    marks = pa.concat_arrays([batch["marks"].flatten().cast(pa.large_string()), pa.nulls(1, pa.large_string())])
    return schemas.text_buffers(pc.fill_null(marks.take(pa.array(places_S)), ""))


def shortened(batch: pa.RecordBatch, result: pa.RecordBatch) -> Tally:
    """Return by domain how many documents were changed, and the bytes of all before and after."""
    before, after = batch["bytes"], result["bytes"]
    columns = {
        "domain": batch["domain"],
        "before": before,
        "after": after,
        "changed": pc.not_equal(batch["doc_id"], result["doc_id"]),
    }
    groups = pa.table(columns).group_by("domain", use_threads=False)
    sums = groups.aggregate([("changed", "sum"), ("before", "sum"), ("after", "sum")]).to_pylist()
    names = {"shortened_documents": "changed_sum", "bytes_before": "before_sum", "bytes_after": "after_sum"}
    return {name: {row["domain"]: row[column] for row in sums} for name, column in names.items()}


def cut(step: Step, params: CutParams) -> None:
    """Cut shard by shard; nothing is held between batches."""
    documents = step.inputs["documents"]
    _check_made_for(documents, step.inputs["mask"])
    schema, mask = _schema(documents), ("keep", "spans", *_optional(step.inputs["mask"], "marks"))
    totals = step.map_shards(
        partial(cut_batch, schema=schema),
        columns={"documents": tuple(schema.names), "mask": mask},
        schema=schema,
        tally=shortened,
    )
    step.note(**totals)


def _optional(corpus: Corpus, column: str) -> tuple[str, ...]:
    """Return the column, if the corpus has it."""
    first = next(iter(corpus.paths()), None)
    return (column,) if first is not None and column in pq.read_schema(first).names else ()


def _check_made_for(documents: Corpus, mask: Corpus) -> None:
    """See that the mask was made from these documents: shortened ones have the same shards and rows, but other places.

    Raises:
        DataError: it was made from others.
    """
    theirs = mask.manifest.inputs.get("documents")
    if theirs != documents.manifest.fingerprint:
        raise DataError(
            f"dedup.cut: the mask {mask.root.name} was not made from {documents.root.name}, so its spans mean other "
            "bytes. Wire the documents that the mask's step reads, or make a new mask of these."
        )


def _schema(documents: Corpus) -> pa.Schema:
    """Return the schema of the documents, with the extra columns they have."""
    first = next(iter(documents.paths()), None)
    names = schemas.documents().names if first is None else pq.read_schema(first).names
    return schemas.documents(tuple(names[len(schemas.DOCUMENT_FIELDS) :]))


CUT = Stage("dedup.cut", version=1, params=CutParams, inputs=("documents", "mask"), run=cut)
