"""Drop a document when one that stays is so like it: near duplicates, decided by the true Jaccard similarity.

Reads documents, bands and clusters (and an earlier mask); writes a mask with

    keeper        doc_id of the kept document most like a dropped one (the better one of equals), null where kept
    similarity    J of their word shingle sets, null where kept
    cluster       doc_id of the best document of the cluster, null for a document that shares no band with another
    cluster_size  documents in the cluster; 1 for a document without one, 0 for a document dropped earlier

Within a cluster the documents are taken best first; one is dropped if a document that stays, and shares a band with it,
has J >= threshold, else it stays. So every dropped document has a kept one that like, whatever the bands proposed: no
chain of small changes removes a text that nothing kept resembles.

Best first means, by `keep`:

    longest          (bytes from most to fewest, doc_id, address)
    source_priority  (place of the domain in `priority`, bytes from most to fewest, doc_id, address)

The address decides only between rows of one doc_id, which are of one text and domain. The texts of clustered documents
are shuffled by cluster; a partition holds some 64 MiB, or its largest cluster.
"""

import operator
from collections.abc import Iterator
from functools import partial
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field, model_validator

from pipeline import schemas
from pipeline.dedup import bands, ranking
from pipeline.kernels import jaccard, lsh, shingles
from pipeline.ledger import Tally
from pipeline.stage import Params, Stage, Step

REASON = "near_duplicate"
_RUN_BYTES = 1 << 20
_ROW_BYTES = 128
_SIMILARITY_CLASSES = 20


class KeepParams(Params):
    """When a document goes, and which of several stays. `ngram` should be that of the bands."""

    threshold: float = Field(0.8, gt=0, le=1)
    ngram: int = Field(5, ge=1, le=64)
    keep: Literal["longest", "source_priority"] = "longest"
    priority: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _priority_is_given(self) -> "KeepParams":
        if self.keep == "source_priority" and not self.priority:
            raise ValueError("keep: source_priority needs `priority`, the domains from the best to the worst")
        return self


SCHEMA = schemas.mask(
    pa.field("keeper", schemas.DOC_ID),
    pa.field("similarity", pa.float32()),
    pa.field("cluster", schemas.DOC_ID),
    pa.field("cluster_size", pa.int32(), nullable=False),
)


def clustered(batch: pa.RecordBatch, *, partitions: int) -> tuple[pa.RecordBatch, np.ndarray]:
    """Return the kept documents that are in clusters, and the partition of each one's cluster."""
    rows = batch.filter(pc.and_(batch["keep"], batch["cluster"].is_valid())).drop_columns(["keep"])
    return rows, lsh.spread(rows["cluster"].to_numpy(), partitions)


def decisions(table: pa.Table, params: KeepParams) -> pa.Table:
    """Return address, keeper, similarity, cluster and cluster_size of the documents of whole clusters."""
    table = table.combine_chunks()
    table = table.take(pa.array(_best_first(table, params)))
    sets_S, ends = shingle_sets(table["text"].combine_chunks(), params.ngram)
    buckets_NB, _ = lsh.buckets(bands.matrix(table["bands"]))
    keepers_N, similarities_N = jaccard.choose(sets_S, ends, buckets_NB, params.threshold)
    ids_N2, kept_N = schemas.doc_ids(table["doc_id"]), keepers_N < 0
    _, heads, clusters_N, sizes = np.unique(
        table["cluster"].to_numpy(), return_index=True, return_inverse=True, return_counts=True
    )
    return pa.table(
        {
            "address": table["address"],
            "keeper": schemas.doc_id_array(ids_N2[keepers_N], mask=kept_N),
            "similarity": pa.array(similarities_N.astype(np.float32), mask=kept_N),
            "cluster": schemas.doc_id_array(ids_N2[heads[clusters_N]]),
            "cluster_size": sizes[clusters_N].astype(np.int32),
        }
    )


def _best_first(table: pa.Table, params: KeepParams) -> np.ndarray:
    ids_N2 = schemas.doc_ids(table["doc_id"])
    keys = [-table["bytes"].to_numpy(), ids_N2[:, 0], ids_N2[:, 1], table["address"].to_numpy()]
    if params.keep == "source_priority":
        keys.insert(0, ranking.priority(table["domain"].combine_chunks(), params.priority))
    return ranking.best_first(*keys)


def shingle_sets(texts: pa.Array, ngram: int) -> tuple[np.ndarray, np.ndarray]:
    """Return (distinct shingles uint64 [S], offsets int64 [N + 1]) of each text."""
    data, offsets = shingles.plain(*schemas.text_buffers(texts))
    sets, counts = [np.zeros(0, np.uint64)], [np.zeros(1, np.int64)]
    for first, end in shingles.runs(offsets, _RUN_BYTES):
        found_S, ends = jaccard.distinct(*shingles.hashes(data, offsets[first : end + 1], ngram))
        sets.append(found_S)
        counts.append(np.diff(ends))
    return np.concatenate(sets), np.cumsum(np.concatenate(counts))


def mask_batch(batch: pa.RecordBatch, rows: pa.Table | None) -> pa.RecordBatch:
    """Return the decisions about a batch, given those about its clustered documents."""
    number = batch.num_rows
    if rows is None or not rows.num_rows:
        home = pa.nulls(number, pa.int64())
        rows = _NO_DECISIONS
    else:
        places = (rows["address"].to_numpy() - batch["address"][0].as_py()).astype(np.int64)
        home_N, none_N = np.zeros(number, np.int64), np.ones(number, bool)
        home_N[places], none_N[places] = np.arange(len(places)), False
        home = pa.array(home_N, mask=none_N)
    found = {name: rows[name].combine_chunks().take(home) for name in SCHEMA.names[2:]}
    alone = pc.cast(batch["keep"], pa.int32())
    found["cluster_size"] = pc.coalesce(found["cluster_size"], alone)
    return pa.record_batch(schemas.decide(batch, found["keeper"].is_valid(), REASON) | found, schema=SCHEMA)


_NO_DECISIONS = pa.schema([pa.field("address", pa.uint64()), *list(SCHEMA)[2:]]).empty_table()


def similarity_classes(batch: pa.RecordBatch, result: pa.RecordBatch) -> Tally:
    """Return how many documents were dropped at which similarity, in classes of 0.05 named by their lower end."""
    similarities = result["similarity"].drop_null().to_numpy().astype(np.float64)
    classes = np.floor(similarities * _SIMILARITY_CLASSES + 1e-6).astype(np.int64)
    counts = np.bincount(classes, minlength=_SIMILARITY_CLASSES + 1)
    return {"similarity": {f"{i / _SIMILARITY_CLASSES:.2f}": int(n) for i, n in enumerate(counts) if n}}


def bytes_in_clusters(batches: Iterator[pa.RecordBatch], width: int) -> int:
    """Return how many bytes the clustered documents of a shard will be in the shuffle, with `width` of bands each."""
    total = 0
    for batch in batches:
        sizes = batch["bytes"].filter(batch["cluster"].is_valid())
        total += (pc.sum(sizes).as_py() or 0) + len(sizes) * (_ROW_BYTES + width)
    return total


def keep(step: Step, params: KeepParams) -> None:
    """Shuffle the clustered texts by cluster, decide within each, send the decisions home."""
    width = 8 * int(step.inputs["bands"].manifest.params["bands"])
    measure, narrow = partial(bytes_in_clusters, width=width), {"documents": ("bytes",), "clusters": ("cluster",)}
    partitions = step.partitions(step.fold(measure, operator.add, columns=narrow) or 0)
    blocks = step.scatter(
        partial(clustered, partitions=partitions),
        columns={
            "documents": ("doc_id", "text", "domain", "bytes", "address"),
            "bands": ("bands",),
            "clusters": ("cluster",),
            "mask": ("keep",),
        },
        partitions=partitions,
    )
    totals = step.map_shards(
        mask_batch,
        columns={"documents": ("domain", "bytes", "address"), "mask": schemas.MASK},
        schema=SCHEMA,
        addressed=step.to_shards(blocks, partial(decisions, params=params)),
        tally=similarity_classes,
    )
    step.note(**totals)


KEEP = Stage(
    "dedup.keep",
    version=1,
    params=KeepParams,
    inputs=("documents", "bands", "clusters"),
    run=keep,
    optional=("mask",),
)
