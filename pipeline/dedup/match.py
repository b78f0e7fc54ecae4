"""Find the documents that share a band: for each, the better ones it has to be compared with.

Reads documents, bands (and the latest mask, and scores if they decide which document is better); writes, co-partitioned
with documents,

    candidates  addresses of the better documents that share a band with this one, best first; null if there are none
    anchor      the first of them that was not met in a hot bucket, null if there is none: documents of one anchor are
                likely to be compared with the same ones

A key that up to `run` documents share gives all their pairs. A hotter one, boilerplate that a million pages share,
gives each of them the `lsh.HUBS` best ones only: a star, which grows linearly. The manifest's facts count the keys by
how many documents share them and name the hottest, each with the address of its best document.

The rows (key, rank, document) are shuffled by key. A partition that is larger than the memory of a task is worked off
in pieces by key; of a key that would not fit, the best rows are held and the others read once more.
"""

from collections.abc import Iterator
from functools import partial
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from pipeline import schemas
from pipeline.dedup import bands
from pipeline.dedup.ranking import Keeper, best_first, only, ranks
from pipeline.kernels import lsh
from pipeline.ledger import Tally
from pipeline.shuffle import Part
from pipeline.stage import Stage, Step

SCHEMA = pa.schema([pa.field("candidates", pa.list_(pa.uint64())), pa.field("anchor", pa.uint64())])
HOTTEST = 20
_ROW_BYTES = 32
_ROOM = 6
"""A part is sorted and copied on the way; so often its bytes must fit into the memory of a task."""
_SIZES = {"2": 2, "3 to 10": 10, "11 to 100": 100, "101 to 1,000": 1000}


class MatchParams(Keeper):
    """Which of two documents is the better one, and from how many documents on a key is hot."""

    run: int = Field(32, ge=lsh.HUBS, le=4096)


class Keyed(NamedTuple):
    """Rows that have a key, column by column: uint64, int64, uint64, uint64, all [M]."""

    keys: np.ndarray
    ranks: np.ndarray
    ids: np.ndarray
    addresses: np.ndarray

    def at(self, places: np.ndarray) -> "Keyed":
        """Return the rows at these places, or where a mask is true."""
        return Keyed(*(column[places] for column in self))


def keyed_rows(batch: pa.RecordBatch, *, keeper: Keeper, partitions: int) -> tuple[pa.RecordBatch, np.ndarray]:
    """Return (key, rank, id, address) for every band of every document that has bands, and its key's partition."""
    rows = batch.filter(pc.and_(batch["keep"], batch["bands"].is_valid()))
    keys_NB = bands.matrix(rows["bands"])
    keys_M, width = keys_NB.reshape(-1), keys_NB.shape[1]
    # The lower half of the id stands for the whole: two documents share it by a chance of 2**-64.
    narrow = (ranks(rows, keeper), schemas.doc_ids(rows["doc_id"])[:, 0], rows["address"].to_numpy())
    columns = Keyed(keys_M, *(np.repeat(column, width) for column in narrow))
    # The key is a hash throughout; its upper half leaves the lower one for whoever cuts a partition further.
    destinations = ((keys_M >> np.uint64(32)) % np.uint64(partitions)).astype(np.uint32)
    return pa.record_batch(list(columns), names=list(Keyed._fields)), destinations


def candidate_rows(part: Part, *, run: int, memory_bytes: int) -> Iterator[pa.Table | Tally]:
    """Yield (address, other, rank and id of the other, hot) for the pairs of a partition, and what was counted."""
    pieces = 1 + part.bytes() * _ROOM // memory_bytes
    for piece in range(pieces):
        most = memory_bytes // (_ROOM * _ROW_BYTES) if pieces > 1 else None
        rows = _grouped(_gathered(_rows_of(part, piece, pieces), run, most))
        sizes = np.diff(lsh.buckets(rows.keys))
        cold = np.repeat(sizes <= run, sizes)
        yield from _pairs(rows.at(cold))
        yield {"keys": _classes(sizes[sizes <= run])}
        if not cold.all():
            again = _rows_of(part, piece, pieces) if most else iter([rows.at(~cold)])
            yield from _stars(rows.at(~cold), again)


def _rows_of(part: Part, piece: int, pieces: int) -> Iterator[Keyed]:
    for batch in part.batches():
        rows = Keyed(*(batch[name].to_numpy() for name in Keyed._fields))
        yield rows if pieces == 1 else rows.at((rows.keys & np.uint64(0xFFFFFFFF)) % np.uint64(pieces) == piece)


def _gathered(batches: Iterator[Keyed], run: int, most: int | None) -> Keyed:
    """Return all rows; if more than `most` would be held, only run + 1 of the best of a key that has more."""
    held, count = [Keyed(*(np.zeros(0, kind) for kind in (np.uint64, np.int64, np.uint64, np.uint64)))], 0
    for rows in batches:
        held.append(rows)
        count += len(rows.keys)
        if most and count > most:
            held = [_best(_concatenated(held), run + 1)]
            # What cannot be made smaller must not be sorted again for every batch.
            count = len(held[0].keys) // 2
    return _concatenated(held)


def _concatenated(parts: list[Keyed]) -> Keyed:
    return Keyed(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


def _best(rows: Keyed, count: int) -> Keyed:
    """Return the `count` best rows of every key."""
    rows = rows.at(best_first(*rows))
    starts = lsh.buckets(rows.keys)
    places = np.arange(len(rows.keys)) - np.repeat(starts[:-1], np.diff(starts))
    return rows.at(places < count)


def _grouped(rows: Keyed) -> Keyed:
    """Return the rows whose key is not theirs alone, by key, the best of each first."""
    rows = rows.at(lsh.shared(rows.keys))
    return rows.at(best_first(*rows))


def _pairs(rows: Keyed) -> Iterator[pa.Table]:
    for better, worse in lsh.pairs(lsh.buckets(rows.keys), rows.addresses):
        yield _table(rows.at(better), rows.addresses[worse], hot=False)


def _stars(rows: Keyed, batches: Iterator[Keyed]) -> Iterator[pa.Table | Tally]:
    """Yield the pairs of the hot keys' documents with the best ones of their key; `rows` hold at least those."""
    starts = lsh.buckets(rows.keys)[:-1]
    hot = rows.keys[starts]
    counts = np.zeros(len(hot), np.int64)
    for batch in batches:
        places = np.minimum(np.searchsorted(hot, batch.keys), len(hot) - 1)
        known = hot[places] == batch.keys
        batch, places = batch.at(known), places[known]
        counts += np.bincount(places, minlength=len(hot))
        for centre in range(lsh.HUBS):
            hubs = rows.at(starts[places] + centre)
            leaves = _better(hubs, batch)
            yield _table(hubs.at(leaves), batch.addresses[leaves], hot=True)
    yield {"keys": _classes(counts), "hot": _hottest(hot, counts, rows.addresses[starts])}


def _better(rows: Keyed, others: Keyed) -> np.ndarray:
    same_rank, same_id = rows.ranks == others.ranks, rows.ids == others.ids
    by_id = (rows.ids < others.ids) | (same_id & (rows.addresses < others.addresses))
    return (rows.ranks < others.ranks) | (same_rank & by_id)


def _table(better: Keyed, addresses: np.ndarray, *, hot: bool) -> pa.Table:
    columns = {"address": addresses, "other": better.addresses, "rank": better.ranks, "id": better.ids}
    return pa.table(columns | {"hot": np.full(len(addresses), hot)})


def _classes(sizes: np.ndarray) -> Tally:
    """Return how many keys are shared by how many documents."""
    names = [*_SIZES, "over 1,000"]
    counts = np.bincount(np.searchsorted(list(_SIZES.values()), sizes), minlength=len(names)).tolist()
    return {name: count for name, count in zip(names, counts, strict=True) if count}


def _hottest(keys: np.ndarray, counts: np.ndarray, best: np.ndarray) -> Tally:
    order = np.lexsort((keys, -counts))[:HOTTEST].tolist()
    return {f"{int(keys[i]):016x} {int(best[i])}": int(counts[i]) for i in order}


def candidate_batch(batch: pa.RecordBatch, rows: pa.Table | None) -> pa.RecordBatch:
    """Return the candidates and the anchor of each row, given the pairs in which it is the worse document."""
    number = batch.num_rows
    if rows is None or not rows.num_rows:
        return pa.record_batch([pa.nulls(number, SCHEMA.field(0).type), pa.nulls(number, pa.uint64())], schema=SCHEMA)
    places, others, hot = _distinct(rows, batch["address"][0].as_py())
    offsets = np.searchsorted(places, np.arange(number + 1)).astype(np.int32)
    none = pa.array(offsets[1:] == offsets[:-1])
    candidates = pa.ListArray.from_arrays(pa.array(offsets), pa.array(others), mask=none)
    firsts, heads = np.unique(places[~hot], return_index=True)
    anchors, without = np.zeros(number, np.uint64), np.ones(number, bool)
    anchors[firsts], without[firsts] = others[~hot][heads], False
    return pa.record_batch([candidates, pa.array(anchors, mask=without)], schema=SCHEMA)


def _distinct(rows: pa.Table, first: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return (place in the batch, other, hot), each pair once, by place and then best first; cold once is cold."""
    names = ("address", "rank", "id", "other", "hot")
    addresses, ranks_, ids, others, hot = (rows[name].to_numpy() for name in names)
    order = best_first(addresses, ranks_, ids, others)
    addresses, others, hot = addresses[order], others[order], hot[order]
    new = np.ones(len(order), bool)
    new[1:] = (addresses[1:] != addresses[:-1]) | (others[1:] != others[:-1])
    starts = np.flatnonzero(new)
    places = (addresses[starts] - np.uint64(first)).astype(np.int64)
    return places, others[starts], np.logical_and.reduceat(hot, starts)


def count_candidates(batch: pa.RecordBatch, result: pa.RecordBatch) -> Tally:
    """Return how many pairs are to be compared, and how many documents are the worse of one."""
    column = result["candidates"]
    return {"pairs": len(column.flatten()), "documents_compared": len(column) - column.null_count}


def match(step: Step, params: MatchParams) -> None:
    """Shuffle by key, pair what shares one, send the pairs to the worse document's shard."""
    source = step.inputs["bands"].manifest
    partitions = step.partitions(source.rows * int(source.params["bands"]) * _ROW_BYTES)
    blocks = step.scatter(
        partial(keyed_rows, keeper=only(params), partitions=partitions),
        columns={
            "documents": (*params.columns(), "address"),
            "bands": ("bands",),
            "mask": ("keep",),
            **params.scores(),
        },
        partitions=partitions,
    )
    home = step.parts_to_shards(blocks, partial(candidate_rows, run=params.run, memory_bytes=step.memory_bytes))
    totals = step.map_shards(
        candidate_batch,
        columns={"documents": ("bytes", "address")},
        schema=SCHEMA,
        tally=count_candidates,
        addressed=home,
    )
    step.note(**totals, **noted_keys(step, home.tally))


def noted_keys(step: Step, tally: Tally) -> Tally:
    """Return the facts about keys: counts by size, and the hottest with the shard and row of their best document."""
    sizes = {name: tally.get("keys", {}).get(name, 0) for name in [*_SIZES, "over 1,000"]}
    hottest = sorted(tally.get("hot", {}).items(), key=lambda pair: (-pair[1], pair[0]))[:HOTTEST]
    shards = step.inputs["documents"].manifest.shards
    named = []
    for name, count in hottest:
        key, address = name.split()
        place = {"shard": shards[int(address) >> 32].name, "row": int(address) & 0xFFFFFFFF}
        named.append({"key": key, "documents": count, **place})
    return {"keys": sizes, "hot_keys": named}


MATCH = Stage(
    "dedup.match",
    version=2,
    params=MatchParams,
    inputs=("documents", "bands"),
    run=match,
    optional=("mask", "scores"),
)
