"""Drop a document when one that stays is so like it: near duplicates, decided by verified similarities alone.

Reads documents and `similar` (and an earlier mask, and the mask of `dedup.exact`); writes a mask with

    keeper        doc_id of the kept document most like a dropped one (the better one of equals), null where kept
    similarity    J of their shingle sets, null where kept
    containment   share of the dropped document's shingles that the keeper has, null where kept
    cluster       the smallest doc_id among the documents that verified pairs connect with this one, null without a pair
    cluster_size  documents in the cluster; 1 for a document without one, 0 for a document dropped earlier
    supersedes    doc_ids of documents that earlier builds have kept, that are like this one and worse; null where none,
                  as always if earlier documents win
    copies        rows that have exactly this text; 1 where exact copies were not looked for

A document goes if one of the better documents like it stays, else it stays (see `pipeline.kernels.settle`). So every
dropped document has a kept one that like it: no chain of small changes removes a text that nothing kept resembles.
Rows that `dedup.exact` dropped keep its keeper and copies, with similarity 1.

The pairs, without text, are shuffled by cluster; a partition larger than the memory of a task is worked off in pieces
by cluster.
"""

import operator
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from pipeline import schemas
from pipeline.dedup import cluster, losses, similar, sizes
from pipeline.dedup.ranking import best_first
from pipeline.errors import DataError
from pipeline.kernels import lsh, settle
from pipeline.ledger import Tally
from pipeline.shuffle import Part
from pipeline.stage import Params, Stage, Step

REASON = "near_duplicate"
_ENTRY_BYTES = 96
_ROOM = 3
_SIMILARITY_CLASSES = 20


class KeepParams(Params):
    """No choice is left to make here; `source_cap` is a gate: the largest share of a domain that may be copies."""

    source_cap: float | None = Field(None, gt=0, le=1, exclude=True)


SCHEMA = schemas.mask(
    pa.field("keeper", schemas.DOC_ID),
    pa.field("similarity", pa.float32()),
    pa.field("containment", pa.float32()),
    pa.field("cluster", schemas.DOC_ID),
    pa.field("cluster_size", pa.int32(), nullable=False),
    pa.field("supersedes", pa.list_(schemas.DOC_ID)),
    pa.field("copies", pa.int32(), nullable=False),
)
_DECISIONS = pa.schema([pa.field("address", pa.uint64()), *list(SCHEMA)[2:8]])
_OF_KEEPERS = ("keeper", "similarity", "containment", "keeper_domain", "keeper_address")


def clustered(batch: pa.RecordBatch, rows: pa.Table | None, *, partitions: int) -> tuple[pa.RecordBatch, np.ndarray]:
    """Return the documents that are in clusters, with their entries, and the partition of each one's cluster."""
    places, clusters = _placed(batch, rows)
    found = batch.select(["address", "doc_id", "domain", "bytes", "similar"]).take(pa.array(places))
    return found.append_column("group", pa.array(clusters)), lsh.spread(clusters, partitions)


def _placed(batch: pa.RecordBatch, rows: pa.Table | None) -> tuple[np.ndarray, np.ndarray]:
    """Return (place in the batch, cluster) of the rows sent to it, ascending, a place once."""
    if rows is None or not rows.num_rows:
        return np.zeros(0, np.int64), np.zeros(0, np.uint64)
    addresses, first = np.unique(rows["address"].to_numpy(), return_index=True)
    return (addresses - np.uint64(batch["address"][0].as_py())).astype(np.int64), rows["cluster"].to_numpy()[first]


def decided(part: Part, *, memory_bytes: int, shards: int) -> Iterator[pa.Table | Tally]:
    """Yield the decisions about a partition's documents, a few whole clusters at a time, and what was counted."""
    pieces = 1 + part.bytes() * _ROOM // memory_bytes
    for piece in range(pieces):
        batches = [
            batch.filter(pa.array(lsh.pieces(batch["group"].to_numpy(), pieces) == piece)) for batch in part.batches()
        ]
        if any(batch.num_rows for batch in batches):
            table = decisions(pa.Table.from_batches(batches))
            # What an earlier build decided is not decided again.
            table = table.filter(pc.less(table["address"], pa.scalar(shards << 32, pa.uint64())))
            yield table.select(_DECISIONS.names)
            yield _counted(table)


def decisions(table: pa.Table) -> pa.Table:
    """Return the decision about each document of whole clusters, by address; null keepers stay."""
    table = pa.concat_tables([table, _outsiders(table)])
    table = table.take(pc.sort_indices(table["address"])).combine_chunks()
    addresses, ids_N2 = table["address"].to_numpy(), schemas.doc_ids(table["doc_id"])
    offsets, entries = similar.entries(table["similar"])
    better_E, documents_E = np.asarray(entries.field("better")), np.repeat(np.arange(len(addresses)), np.diff(offsets))
    above = entries.filter(pa.array(better_E))
    ends = np.searchsorted(documents_E[better_E], np.arange(len(addresses) + 1))
    others_E = np.searchsorted(addresses, above.field("address").to_numpy())
    edges_N = settle.keepers(ends, others_E, above.field("similarity").to_numpy())
    stays = edges_N < 0
    chosen = above.take(pa.array(np.maximum(edges_N, 0), mask=stays))
    beaten = ~better_E & stays[documents_E]
    clusters_N, members_N = _named(table["group"].to_numpy(), ids_N2)
    columns = {
        "address": addresses,
        "keeper": chosen.field("doc_id"),
        "similarity": pc.cast(chosen.field("similarity"), pa.float32()),
        "containment": pc.cast(chosen.field("containment"), pa.float32()),
        "cluster": schemas.doc_id_array(ids_N2[clusters_N]),
        "cluster_size": members_N.astype(np.int32),
        "supersedes": _supersedes(documents_E[beaten], entries.filter(pa.array(beaten)), len(addresses)),
        "keeper_domain": chosen.field("domain"),
        **{name: table[name] for name in ("domain", "bytes", "doc_id", "group")},
        "keeper_address": chosen.field("address"),
    }
    return pa.table({name: _nulled(column, stays if name in _OF_KEEPERS else None) for name, column in columns.items()})


def _supersedes(documents: np.ndarray, rivals: pa.StructArray, number: int) -> pa.Array:
    offsets = np.searchsorted(documents, np.arange(number + 1)).astype(np.int32)
    none = pa.array(offsets[1:] == offsets[:-1])
    kind = SCHEMA.field("supersedes").type
    return pa.ListArray.from_arrays(pa.array(offsets), rivals.field("doc_id"), type=kind, mask=none)


def _nulled(column: Any, empty: np.ndarray | None) -> Any:
    # A field of a struct that is null is not itself null.
    return column if empty is None else pc.if_else(pa.array(empty), pa.scalar(None, column.type), column)


def _outsiders(table: pa.Table) -> pa.Table:
    """Return a row for every document that others are like and that is not here: one an earlier build has kept."""
    offsets, entries = similar.entries(table["similar"])
    others, first = np.unique(entries.field("address").to_numpy(), return_index=True)
    missing = ~np.isin(others, table["address"].to_numpy())
    chosen = entries.take(pa.array(first[missing]))
    groups = np.repeat(table["group"].to_numpy(), np.diff(offsets))[first[missing]]
    columns = {name: chosen.field(name) for name in ("address", "doc_id", "domain")}
    columns |= {"bytes": np.zeros(len(chosen), np.int64), "similar": pa.nulls(len(chosen), table["similar"].type)}
    return pa.table(columns | {"group": groups}).cast(table.schema)


def _named(groups: np.ndarray, ids_N2: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return (place of the document that names the cluster of each document, size of the cluster)."""
    order = best_first(groups, ids_N2[:, 0], ids_N2[:, 1])
    starts = lsh.buckets(groups[order])
    members = np.diff(starts)
    names, counts = np.empty(len(groups), np.int64), np.empty(len(groups), np.int64)
    names[order], counts[order] = np.repeat(order[starts[:-1]], members), np.repeat(members, members)
    return names, counts


def _counted(table: pa.Table) -> Tally:
    """Return clusters by size, dropped documents by similarity, and what was taken from which source."""
    # Not by the document that names a cluster: rows of one text and domain have one doc_id.
    _, heads = np.unique(table["group"].to_numpy(), return_index=True)
    by_size = sizes.counted(table["cluster_size"].to_numpy()[heads])
    tally: Tally = {"clusters": len(heads), "documents_in_clusters": table.num_rows, "cluster_sizes": by_size}
    dropped = table.filter(table["keeper"].is_valid())
    tally["superseded"] = pc.sum(pc.list_value_length(table["supersedes"])).as_py() or 0
    return tally | {"similarity": _similarity_classes(dropped["similarity"].to_numpy())} | losses.counted(dropped)


def _similarity_classes(similarities: np.ndarray) -> Tally:
    """Return counts in classes of 0.05 named by their lower end."""
    classes = np.floor(similarities.astype(np.float64) * _SIMILARITY_CLASSES + 1e-6).astype(np.int64)
    counts = np.bincount(classes, minlength=_SIMILARITY_CLASSES + 1)
    return {f"{i / _SIMILARITY_CLASSES:.2f}": int(n) for i, n in enumerate(counts) if n}


def mask_batch(batch: pa.RecordBatch, rows: pa.Table | None) -> pa.RecordBatch:
    """Return the decisions about a batch, given those about its clustered documents.

    Raises:
        DataError: the mask drops documents that are in clusters, where they may have kept others out.
    """
    found = _home(batch, rows)
    _check_mask(batch["keep"], found["cluster_size"])
    drop = found["keeper"].is_valid()
    columns = schemas.decide(batch, drop, REASON) | {name: found[name] for name in SCHEMA.names[2:8]}
    columns["cluster_size"] = pc.coalesce(found["cluster_size"], pc.cast(batch["keep"], pa.int32()))
    if "keeper" in batch.schema.names:
        copied = pc.and_(pc.invert(batch["keep"]), batch["keeper"].is_valid())
        one = pa.scalar(1.0, pa.float32())
        columns["keeper"] = pc.if_else(copied, batch["keeper"], columns["keeper"])
        columns |= {name: pc.if_else(copied, one, columns[name]) for name in ("similarity", "containment")}
    alone = pa.array(np.ones(batch.num_rows, np.int32))
    columns["copies"] = batch["copies"] if "copies" in batch.schema.names else alone
    return pa.record_batch(columns, schema=SCHEMA)


def _check_mask(keep: pa.Array, cluster_size: pa.Array) -> None:
    late = pc.sum(pc.and_not(cluster_size.is_valid(), keep)).as_py() or 0
    if late:
        raise DataError(
            f"{late:,} of its documents were compared with others and are dropped in the mask: the pairs were found "
            "with another one. Wire the same mask to the steps dedup.sign, dedup.match and dedup.keep."
        )


def _home(batch: pa.RecordBatch, rows: pa.Table | None) -> dict[str, pa.Array]:
    """Return the columns of the decisions for every row of the batch, null for those without one."""
    number = batch.num_rows
    if rows is None or not rows.num_rows:
        return {field.name: pa.nulls(number, field.type) for field in _DECISIONS}
    places = (rows["address"].to_numpy() - np.uint64(batch["address"][0].as_py())).astype(np.int64)
    home_N, none_N = np.zeros(number, np.int64), np.ones(number, bool)
    home_N[places], none_N[places] = np.arange(len(places)), False
    home = pa.array(home_N, mask=none_N)
    return {name: rows[name].combine_chunks().take(home) for name in _DECISIONS.names}


def entry_bytes(batches: Iterator[pa.RecordBatch]) -> int:
    """Return about how many bytes the entries of a shard will be in the shuffle."""
    return _ENTRY_BYTES * sum(len(batch["similar"].flatten()) for batch in batches)


def keep(step: Step, params: KeepParams) -> None:
    """Shuffle the entries by cluster, decide within each, send the decisions home."""
    partitions = step.partitions(step.fold(entry_bytes, operator.add, columns={"similar": ("similar",)}) or 0)
    blocks = step.scatter(
        partial(clustered, partitions=partitions),
        columns={"documents": ("doc_id", "domain", "bytes", "address"), "similar": ("similar",)},
        partitions=partitions,
        addressed=cluster.members(step, partitions),
    )
    shards = len(step.inputs["documents"].manifest.shards)
    home = step.parts_to_shards(blocks, partial(decided, memory_bytes=step.memory_bytes, shards=shards))
    exact = {"exact": ("keeper", "copies")} if "exact" in step.inputs else {}
    totals = step.map_shards(
        mask_batch,
        columns={"documents": ("domain", "bytes", "address"), "mask": schemas.MASK, **exact},
        schema=SCHEMA,
        addressed=home,
        tally=losses.lost,
    )
    counts = {"clusters": 0, "documents_in_clusters": 0, "superseded": 0, "cluster_sizes": {}, "similarity": {}}
    found = {name: home.tally.get(name, nothing) for name, nothing in counts.items()}
    found["cluster_sizes"] = sizes.ordered(found["cluster_sizes"])
    step.note(**found, **totals, **losses.noted(step, home.tally))


KEEP = Stage(
    "dedup.keep",
    version=2,
    params=KeepParams,
    inputs=("documents", "similar"),
    run=keep,
    optional=("mask", "exact"),
    gate=losses.within_cap,
)
