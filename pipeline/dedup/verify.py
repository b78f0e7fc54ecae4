"""Compare the candidates: the true Jaccard similarity of their shingle sets, and containment.

Reads documents and candidates (which may be documents of earlier builds, found by the same indexes); writes,
co-partitioned, `similar` (see `pipeline.dedup.similar`): of each document's candidates those that are like it,

    J(A, B) >= threshold,  or, if asked, |A and B| / |B| >= containment  for the document B and the better one A.

Bands only proposed; from here on nothing is estimated. (Bands propose by J, so a short document inside of a much longer
one is mostly not proposed: `containment` widens what is dropped among the proposed.)

The texts are shuffled to where they are compared: documents of one anchor go together, and a text that documents of
several anchors are compared with is sent to each of them. A partition holds some 64 MiB of text, and one that is larger
than the memory of a task is worked off in pieces by anchor; of one anchor, not hot, there are at most
bands x run documents.
"""

import operator
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from itertools import pairwise
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from pipeline.dedup import earlier, similar
from pipeline.kernels import jaccard, lsh, shingles
from pipeline.ledger import Tally
from pipeline.schemas import DOC_ID, text_buffers
from pipeline.shuffle import Blocks, Part
from pipeline.stage import MAX_MAP_TASKS, Params, Stage, Step

_RUN_BYTES = 1 << 20
_ROW_BYTES = 64
_REPLICAS = 2
"""A text is sent about so often; only the number of partitions follows from it."""
_ROOM = 4
"""Beside a text lie its shingles, 8 bytes a word, twice while repeats are taken out."""


class VerifyParams(Params):
    """When two documents are like. `ngram` and `unit` should be those of the bands."""

    threshold: float = Field(0.8, gt=0, le=1)
    containment: float | None = Field(None, gt=0, le=1)
    ngram: int = Field(5, ge=1, le=64)
    unit: Literal["word", "byte"] = "word"


def requests(batch: pa.RecordBatch, *, partitions: int) -> tuple[pa.RecordBatch, np.ndarray]:
    """Return (address, part): which document is wanted where, sent to the shard it lies in."""
    rows = batch.filter(batch["candidates"].is_valid())
    wanted = rows["candidates"].flatten().to_numpy()
    parts = np.repeat(_parts(rows, partitions), rows["candidates"].value_lengths().to_numpy())
    pairs = _unique(wanted, parts)
    batch = pa.record_batch({"address": pairs[:, 0], "part": pairs[:, 1].astype(np.uint32)})
    return batch, (pairs[:, 0] >> np.uint64(32)).astype(np.uint32)


def _unique(addresses: np.ndarray, parts: np.ndarray) -> np.ndarray:
    """Return distinct (address, part), uint64 [M, 2], ascending."""
    order = np.lexsort((parts, addresses))
    pairs = np.stack([addresses[order], parts[order].astype(np.uint64)], axis=1)
    new = np.ones(len(pairs), bool)
    new[1:] = (pairs[1:] != pairs[:-1]).any(axis=1)
    return pairs[new]


def _parts(rows: pa.RecordBatch, partitions: int) -> np.ndarray:
    return lsh.spread(_anchors(rows), partitions)


def _anchors(rows: pa.RecordBatch) -> np.ndarray:
    return pc.coalesce(rows["anchor"], rows["address"]).to_numpy()


def wanted_texts(batch: pa.RecordBatch, rows: pa.Table | None, *, partitions: int) -> tuple[pa.RecordBatch, np.ndarray]:
    """Return the documents that are compared, each once for every partition where it is, and the partition.

    `candidates` and `anchor` are there in the partition of the document's own anchor only.
    """
    own = np.flatnonzero(np.asarray(batch["candidates"].is_valid()))
    own_parts = _parts(batch, partitions)
    places, parts = _requested(batch, rows)
    others = own_parts[places] != parts
    others |= ~np.isin(places, own)
    places, parts = places[others], parts[others]
    order = pa.array(np.concatenate([own, places]))
    narrow = batch.select(_TEXTS.names[:4]).take(order)
    asked = pa.array(np.arange(len(order)) >= len(own))
    columns = [*narrow.columns, *(_without(batch[name].take(order), asked) for name in ("candidates", "anchor"))]
    return pa.record_batch(columns, schema=_TEXTS), np.concatenate([own_parts[own], parts])


_TEXTS = pa.schema(
    [
        pa.field("address", pa.uint64()),
        pa.field("doc_id", DOC_ID),
        pa.field("domain", pa.string()),
        pa.field("text", pa.large_string()),
        pa.field("candidates", pa.list_(pa.uint64())),
        pa.field("anchor", pa.uint64()),
    ]
)


def old_texts(shards: tuple[earlier.OldShard, ...], *, asked: Blocks) -> Iterator[tuple[pa.RecordBatch, np.ndarray]]:
    """Yield those documents of earlier builds that are asked for and were kept, and the partition."""
    for shard in shards:
        rows = asked.read(shard.ordinal)
        if rows is None:
            continue
        pairs = _unique(rows["address"].to_numpy(), rows["part"].to_numpy())
        table = earlier.read_kept(shard, np.unique(pairs[:, 0] & np.uint64(0xFFFFFFFF)).astype(np.int64))
        places = np.searchsorted(table["address"].to_numpy(), pairs[:, 0])
        there = (places < table.num_rows) & np.isin(pairs[:, 0], table["address"].to_numpy())
        found = table.take(pa.array(places[there])).combine_chunks()
        nothing = [pa.nulls(found.num_rows, _TEXTS.field(name).type) for name in ("candidates", "anchor")]
        columns = [found[name].combine_chunks() for name in _TEXTS.names[:4]]
        yield pa.record_batch([*columns, *nothing], schema=_TEXTS), pairs[there, 1].astype(np.uint32)


def _requested(batch: pa.RecordBatch, rows: pa.Table | None) -> tuple[np.ndarray, np.ndarray]:
    if rows is None or not rows.num_rows:
        return np.zeros(0, np.int64), np.zeros(0, np.uint32)
    pairs = _unique(rows["address"].to_numpy(), rows["part"].to_numpy())
    return (pairs[:, 0] - np.uint64(batch["address"][0].as_py())).astype(np.int64), pairs[:, 1].astype(np.uint32)


def _without(column: pa.Array, empty: pa.Array) -> pa.Array:
    return pc.if_else(empty, pa.scalar(None, column.type), column)


def alike(part: Part, *, params: VerifyParams, memory_bytes: int) -> Iterator[pa.Table | Tally]:
    """Yield (address, entry of `similar`) for every pair of a partition that is like, and how many were compared."""
    pieces = 1 + part.bytes() * _ROOM // memory_bytes
    for piece in range(pieces):
        table = _piece(part, piece, pieces)
        if table is not None:
            yield from _compared(table.combine_chunks(), params)


def _piece(part: Part, piece: int, pieces: int) -> pa.Table | None:
    """Return the documents of some anchors with all that they are compared with."""
    if pieces == 1:
        return part.table()
    members, needed = [np.zeros(0, np.uint64)], [np.zeros(0, np.uint64)]
    for batch in part.batches():
        rows = batch.filter(batch["candidates"].is_valid())
        rows = rows.filter(pa.array(lsh.pieces(_anchors(rows), pieces) == piece))
        members.append(rows["address"].to_numpy())
        needed.append(rows["candidates"].flatten().to_numpy())
    ours, all_ = pa.array(np.concatenate(members)), pa.array(np.concatenate([*members, *needed]))
    chosen = [batch.filter(pc.is_in(batch["address"], all_)) for batch in part.batches()]
    if not len(ours):
        return None
    table = pa.Table.from_batches(chosen)
    others = pc.invert(pc.is_in(table["address"], ours))
    column = table.schema.get_field_index("candidates")
    return table.set_column(
        column, "candidates", _without(table["candidates"].combine_chunks(), others.combine_chunks())
    )


def _compared(table: pa.Table, params: VerifyParams) -> Iterator[pa.Table | Tally]:
    addresses, candidates = table["address"].to_numpy(), table["candidates"].combine_chunks()
    counts = candidates.value_lengths().fill_null(0).to_numpy(zero_copy_only=False)
    documents, wanted = np.repeat(np.arange(len(addresses)), counts), candidates.flatten().to_numpy()
    order = np.argsort(addresses)  # the texts stay where they are
    others = order[np.minimum(np.searchsorted(addresses, wanted, sorter=order), len(addresses) - 1)]
    there = addresses[others] == wanted  # a document of an earlier build that was dropped there is not sent
    documents, others = documents[there], others[there]
    sets_S, ends = shingle_sets(table["text"].combine_chunks(), params.ngram, params.unit)
    found, contained = jaccard.similarities(sets_S, ends, documents, others, params.threshold, params.containment)
    like = found >= params.threshold
    if params.containment is not None:
        like |= contained >= params.containment
    yield {"pairs_compared": len(found), "pairs_alike": int(like.sum())}
    better = table.select(["address", "doc_id", "domain"]).take(pa.array(others[like]))
    columns = {"address": addresses[documents[like]], "other": better["address"], "doc_id": better["doc_id"]}
    columns |= {"domain": better["domain"], "similarity": found[like], "containment": contained[like]}
    yield pa.table(columns)


def shingle_sets(texts: pa.Array, ngram: int, unit: shingles.Unit = "word") -> tuple[np.ndarray, np.ndarray]:
    """Return (distinct shingles uint64 [S], offsets int64 [N + 1]) of each text."""
    data, offsets = shingles.plain(*text_buffers(texts))
    sets, counts = [np.zeros(0, np.uint64)], [np.zeros(1, np.int64)]
    for first, end in shingles.runs(offsets, _RUN_BYTES):
        found_S, ends = jaccard.distinct(*shingles.hashes(data, offsets[first : end + 1], ngram, unit))
        sets.append(found_S)
        counts.append(np.diff(ends))
    return np.concatenate(sets), np.cumsum(np.concatenate(counts))


def similar_batch(batch: pa.RecordBatch, rows: pa.Table | None) -> pa.RecordBatch:
    """Return the entries of each row, in the order of its candidates."""
    if rows is None or not rows.num_rows:
        return pa.record_batch([pa.nulls(batch.num_rows, similar.SCHEMA.field(0).type)], schema=similar.SCHEMA)
    places = (rows["address"].to_numpy() - np.uint64(batch["address"][0].as_py())).astype(np.int64)
    found = rows.append_column("better", pa.array(~_among(places, rows["other"].to_numpy(), batch["rivals"])))
    names = {"address": "other"}
    columns = [found[names.get(field.name, field.name)].combine_chunks() for field in similar.ENTRY]
    entries = pa.StructArray.from_arrays(columns, fields=list(similar.ENTRY))
    column = similar.column(np.bincount(places, minlength=batch.num_rows), entries)
    return pa.record_batch([column], schema=similar.SCHEMA)


def _among(places: np.ndarray, others: np.ndarray, rivals: pa.Array) -> np.ndarray:
    """Return bool: is `others[i]` a rival of the document at `places[i]`?"""
    theirs = rivals.flatten().to_numpy()
    if not len(theirs):
        return np.zeros(len(places), bool)
    owners = np.repeat(np.arange(len(rivals)), rivals.value_lengths().fill_null(0).to_numpy())
    pairs = np.stack([np.concatenate([owners, places]).astype(np.uint64), np.concatenate([theirs, others])])
    numbers = np.unique(pairs, axis=1, return_inverse=True)[1].reshape(-1)
    return np.isin(numbers[len(theirs) :], numbers[: len(theirs)])


def bytes_compared(batches: Iterator[pa.RecordBatch]) -> int:
    """Return about how many bytes of a shard's documents will be in the shuffle."""
    total = 0
    for batch in batches:
        sizes = batch["bytes"].filter(batch["candidates"].is_valid())
        total += (pc.sum(sizes).as_py() or 0) + len(sizes) * _ROW_BYTES
    return total * _REPLICAS


def verify(step: Step, params: VerifyParams) -> None:
    """Ask for the texts, send them together, compare, send the similarities home."""
    narrow = {"documents": ("bytes",), "candidates": ("candidates",)}
    partitions = step.partitions(step.fold(bytes_compared, operator.add, columns=narrow) or 0)
    old = earlier.old_shards(step)
    asked = step.scatter(
        partial(requests, partitions=partitions),
        columns={"candidates": ("candidates", "anchor", "address")},
        partitions=max(earlier.new_shards(step) + len(old), 1),
    )
    texts = step.scatter(
        partial(wanted_texts, partitions=partitions),
        columns={"documents": ("doc_id", "text", "domain", "address"), "candidates": ("candidates", "anchor")},
        partitions=partitions,
        addressed=asked,
    )
    rounds = (texts, *_sent_by_earlier_builds(step, old, asked, partitions))
    home = step.parts_to_shards(rounds, partial(alike, params=params, memory_bytes=step.memory_bytes))
    step.map_shards(
        similar_batch,
        columns={"documents": ("bytes", "address"), "candidates": ("rivals",)},
        schema=similar.SCHEMA,
        addressed=home,
    )
    step.note(**{"pairs_compared": 0, "pairs_alike": 0} | {n: v for n, v in home.tally.items() if n != "rows"})


def _sent_by_earlier_builds(
    step: Step, old: list[earlier.OldShard], asked: Blocks, partitions: int
) -> Iterator[Blocks]:
    groups = min(len(old), MAX_MAP_TASKS)
    if groups:
        bounds = [len(old) * g // groups for g in range(groups + 1)]
        payloads = [tuple(old[first:end]) for first, end in pairwise(bounds)]
        yield step.send(partial(old_texts, asked=replace(asked, tally={})), payloads, partitions=partitions)


VERIFY = Stage(
    "dedup.verify",
    version=1,
    params=VerifyParams,
    inputs=("documents", "candidates"),
    run=verify,
    optional=("earlier.*",),
    agree=earlier.agree_on_likeness,
)
