"""Find the documents that share a band: for each, the better ones it has to be compared with.

Reads documents, bands (the latest mask, scores if they decide which document is better, and the indexes of earlier
builds); writes, co-partitioned with documents,

    candidates  addresses of the better documents that share a band with this one, best first, and behind them its
                rivals; null if there are none
    rivals      those of the candidates that are worse than this document: they are of an earlier build and have been
                decided there; null if there are none, as it always is if earlier documents win
    anchor      the first better one that was not met in a hot bucket, null if there is none: documents of one anchor
                are likely to be compared with the same ones

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
from pipeline.dedup import bands, earlier, losses, sizes
from pipeline.dedup.ranking import Keeper, best_first, only, ranks
from pipeline.kernels import lsh
from pipeline.ledger import Tally
from pipeline.shuffle import Part
from pipeline.stage import Stage, Step

SCHEMA = pa.schema(
    [
        pa.field("candidates", pa.list_(pa.uint64())),
        pa.field("rivals", pa.list_(pa.uint64())),
        pa.field("anchor", pa.uint64()),
    ]
)
HOTTEST = 20
_ROW_BYTES = 32
_ROOM = 6
"""A part is sorted and copied on the way; so often its bytes must fit into the memory of a task."""


class MatchParams(Keeper):
    """Which of two documents is the better one, and from how many documents on a key is hot.

    With `earlier_wins` every document of an earlier build is better than every new one, without it the order decides
    between them as well, and of equals the earlier one is the better.
    """

    earlier_wins: bool = True
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
    return pa.record_batch(list(columns), names=list(Keyed._fields)), earlier.range_of(keys_M, partitions)


def candidate_rows(
    part: Part, *, run: int, memory_bytes: int, indexes: tuple[earlier.Index, ...], shards: int, earlier_wins: bool
) -> Iterator[pa.Table | Tally]:
    """Yield (address, other, rank and id of the other, hot, rival) for the pairs of a partition, and what was counted.

    The other is the better document; a rival is a worse one, of an earlier build.

    Args:
        shards: how many this build's documents have; one with a higher ordinal is of an index and is the better one.
    """
    pieces = 1 + part.bytes() * _ROOM // memory_bytes
    for piece in range(pieces):
        most = memory_bytes // (_ROOM * _ROW_BYTES) if pieces > 1 else None
        new = _gathered(_rows_of(part, piece, pieces), run, most)
        rows = _grouped(_concatenated([new, *_known(new.keys, part, indexes, run, earlier_wins)]))
        shared_by = np.diff(lsh.buckets(rows.keys))
        cold = np.repeat(shared_by <= run, shared_by)
        yield from _pairs(rows.at(cold), shards)
        yield {"keys": sizes.counted(shared_by[shared_by <= run])}
        if not cold.all():
            again = _rows_of(part, piece, pieces) if most else iter([rows.at(~cold & _is_new(rows.addresses, shards))])
            yield from _stars(rows.at(~cold), again)


def _is_new(addresses: np.ndarray, shards: int) -> np.ndarray:
    return addresses < np.uint64(shards << 32)


def _known(
    keys: np.ndarray, part: Part, indexes: tuple[earlier.Index, ...], run: int, earlier_wins: bool
) -> Iterator[Keyed]:
    """Yield the rows of the indexes that have one of the keys, at most run + 1 a key of each."""
    wanted = np.sort(keys) if indexes else keys
    for place, index in enumerate(indexes):
        # In an index the best document of a key comes first; the earliest index comes before the others.
        first = np.iinfo(np.int64).min + (place << 40)
        held, last, count = [], np.uint64(0), 0
        for table in index.rows(earlier.BANDS, part.number, part.rounds[0].partitions, wanted):
            found, addresses = table["key"].to_numpy(), table["address"].to_numpy()
            starts = lsh.buckets(found)
            places = np.arange(len(found)) - np.repeat(starts[:-1], np.diff(starts))
            # A key that began in the batch before goes on counting.
            places[: starts[1]] += count if found[0] == last else 0
            last, count = found[-1], int(places[-1]) + 1
            chosen = places <= run
            order = first + places[chosen] if earlier_wins else table["rank"].to_numpy()[chosen]
            # No id: of equal rank the earlier document is the better one.
            held.append(Keyed(found[chosen], order, np.zeros(len(order), np.uint64), addresses[chosen]))
        yield from held


def _rows_of(part: Part, piece: int, pieces: int) -> Iterator[Keyed]:
    for batch in part.batches():
        rows = Keyed(*(batch[name].to_numpy() for name in Keyed._fields))
        yield rows if pieces == 1 else rows.at((rows.keys & np.uint64(0xFFFFFFFF)) % np.uint64(pieces) == piece)


def _gathered(batches: Iterator[Keyed], run: int, most: int | None) -> Keyed:
    """Return all rows; if more than `most` would be held, of a key with more than `run` only the best run + 1."""
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


def _pairs(rows: Keyed, shards: int) -> Iterator[pa.Table]:
    for better, worse in lsh.pairs(lsh.buckets(rows.keys), rows.addresses):
        new = _is_new(rows.addresses[worse], shards)
        yield _table(rows.at(better[new]), rows.addresses[worse[new]])
        rivals = ~new & _is_new(rows.addresses[better], shards)
        yield _table(rows.at(worse[rivals]), rows.addresses[better[rivals]], rival=True)


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
            leaves[leaves] = lsh.distinct(batch.addresses[leaves], hubs.addresses[leaves])
            yield _table(hubs.at(leaves), batch.addresses[leaves], hot=True)
    yield {"keys": sizes.counted(counts), "hot": _hottest(hot, counts, rows.addresses[starts])}


def _better(rows: Keyed, others: Keyed) -> np.ndarray:
    same_rank, same_id = rows.ranks == others.ranks, rows.ids == others.ids
    by_id = (rows.ids < others.ids) | (same_id & (rows.addresses < others.addresses))
    return (rows.ranks < others.ranks) | (same_rank & by_id)


def _table(others: Keyed, addresses: np.ndarray, *, hot: bool = False, rival: bool = False) -> pa.Table:
    columns = {"address": addresses, "other": others.addresses, "rank": others.ranks, "id": others.ids}
    return pa.table(columns | {"hot": np.full(len(addresses), hot), "rival": np.full(len(addresses), rival)})


def _hottest(keys: np.ndarray, counts: np.ndarray, best: np.ndarray) -> Tally:
    order = np.lexsort((keys, -counts))[:HOTTEST].tolist()
    return {f"{int(keys[i]):016x} {int(best[i])}": int(counts[i]) for i in order}


def candidate_batch(batch: pa.RecordBatch, rows: pa.Table | None) -> pa.RecordBatch:
    """Return the candidates and the anchor of each row, given the pairs in which it is the worse document."""
    number = batch.num_rows
    if rows is None or not rows.num_rows:
        return pa.record_batch([pa.nulls(number, field.type) for field in SCHEMA], schema=SCHEMA)
    places, others, hot, rival = _distinct(rows, batch["address"][0].as_py())
    near = ~hot & ~rival
    firsts, heads = np.unique(places[near], return_index=True)
    anchors, without = np.zeros(number, np.uint64), np.ones(number, bool)
    anchors[firsts], without[firsts] = others[near][heads], False
    rivals = _lists(places[rival], others[rival], number)
    columns = [_lists(places, others, number), rivals, pa.array(anchors, mask=without)]
    return pa.record_batch(columns, schema=SCHEMA)


def _lists(places: np.ndarray, others: np.ndarray, number: int) -> pa.Array:
    """Return a list of others for each of `number` rows, null for none; places are ascending."""
    offsets = np.searchsorted(places, np.arange(number + 1)).astype(np.int32)
    none = pa.array(offsets[1:] == offsets[:-1])
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(others, pa.uint64()), mask=none)


def _distinct(rows: pa.Table, first: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return (place in the batch, other, hot, rival), each pair once: by place, best first, rivals last."""
    # Like documents share many bands, so most rows come again; to hash them is cheaper than to sort them.
    marked = rows["address"].to_numpy() << np.uint64(1) | rows["hot"].to_numpy()
    rows = rows.filter(pa.array(lsh.distinct(marked, rows["other"].to_numpy())))
    names = ("address", "rival", "rank", "id", "other")
    columns = [rows[name].to_numpy() for name in names]
    order = best_first(*columns)
    addresses, rival, _, _, others = (column[order] for column in columns)
    new = np.ones(len(order), bool)
    new[1:] = (addresses[1:] != addresses[:-1]) | (others[1:] != others[:-1])
    starts = np.flatnonzero(new)
    places = (addresses[starts] - np.uint64(first)).astype(np.int64)
    return places, others[starts], np.logical_and.reduceat(rows["hot"].to_numpy()[order], starts), rival[starts]


def count_candidates(batch: pa.RecordBatch, result: pa.RecordBatch) -> Tally:
    """Return how many pairs are to be compared, and how many documents are the worse of one."""
    column = result["candidates"]
    return {"pairs": len(column.flatten()), "documents_compared": len(column) - column.null_count}


def match(step: Step, params: MatchParams) -> None:
    """Shuffle by key, pair what shares one, send the pairs to the worse document's shard."""
    source = step.inputs["bands"].manifest
    size = source.rows * int(source.params["bands"]) + earlier.index_rows(step, earlier.BANDS)
    partitions = step.partitions(size * _ROW_BYTES)
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
    work = partial(
        candidate_rows,
        run=params.run,
        memory_bytes=step.memory_bytes,
        indexes=earlier.indexes(step),
        shards=earlier.new_shards(step),
        earlier_wins=params.earlier_wins,
    )
    home = step.parts_to_shards(blocks, work)
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
    hottest = sorted(tally.get("hot", {}).items(), key=lambda pair: (-pair[1], pair[0]))[:HOTTEST]
    shards = step.inputs["documents"].manifest.shards
    named = []
    for name, count in hottest:
        key, address = name.split()
        named.append({"key": key, "documents": count, **losses.place(shards, int(address))})
    return {"keys": sizes.ordered(tally.get("keys", {})), "hot_keys": named}


MATCH = Stage(
    "dedup.match",
    version=2,
    params=MatchParams,
    inputs=("documents", "bands"),
    run=match,
    optional=("mask", "scores", "earlier.*"),
    agree=earlier.agree_on_bands,
)
