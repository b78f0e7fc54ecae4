"""Drop all but one of the documents whose texts are equal up to white space.

Reads documents (an earlier mask, and the indexes of earlier builds, whose copy of a text wins); writes a mask with
`keeper`, the doc_id of the document that stays for a dropped one, and `copies`, how many rows share the text (on every
one of them; 0 for rows dropped earlier).

Texts are compared by the MurmurHash3 x64 128 of " ".join(text.split()): case and punctuation count, for `a+b` and `a-b`
differ in code. Two of n different texts are taken for equal with probability n**2 / 2**129. The hashes are shuffled, so
memory is bounded by the partition; the keeper is the first in the order of `pipeline.dedup.ranking`.
"""

from collections.abc import Iterator
from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from pipeline import schemas
from pipeline.dedup import earlier, losses, ranking
from pipeline.dedup.ranking import Keeper
from pipeline.kernels import hashing, whitespace
from pipeline.ledger import Tally
from pipeline.shuffle import Part
from pipeline.stage import Stage, Step

REASON = "exact_duplicate"
_ROW_BYTES = 64


class ExactParams(Keeper):
    """Which copy stays; `source_cap` is a gate: the largest share of a domain that may be copies."""

    source_cap: float | None = Field(None, gt=0, le=1, exclude=True)


SCHEMA = schemas.mask(pa.field("keeper", schemas.DOC_ID), pa.field("copies", pa.int32(), nullable=False))


def text_hashes(batch: pa.RecordBatch, *, keeper: Keeper, partitions: int) -> tuple[pa.RecordBatch, np.ndarray]:
    """Return the hash, rank and address of each kept document, and the partition its hash belongs to."""
    rows = batch.filter(batch["keep"])
    hashes_N2 = hashing.murmur128(*whitespace.collapse(*schemas.text_buffers(rows["text"])))
    columns = {
        "low": pa.array(hashes_N2[:, 0]),
        "high": pa.array(hashes_N2[:, 1]),
        "rank": pa.array(ranking.ranks(rows, keeper)),
        **{name: rows[name] for name in ("doc_id", "domain", "bytes", "address")},
    }
    return pa.record_batch(columns), earlier.range_of(hashes_N2[:, 0], partitions)


def copies(part: Part, *, indexes: tuple[earlier.Index, ...], shards: int) -> Iterator[pa.Table | Tally]:
    """Yield address, keeper, copies and `drop` of the rows whose text more than one has, and whose copies they are.

    Args:
        shards: how many this build's documents have; a row with a higher ordinal is of an index, and not decided here.
    """
    table = part.table()
    if table is None:
        return
    if indexes:
        table = pa.concat_tables([table, *_known(table, part, indexes)]).combine_chunks()
    low, high, rank, address = (table[name].to_numpy() for name in ("low", "high", "rank", "address"))
    ids_N2 = schemas.doc_ids(table["doc_id"])
    order = ranking.best_first(low, high, rank, ids_N2[:, 0], ids_N2[:, 1], address)
    low, high = low[order], high[order]
    first = np.ones(len(order), bool)
    first[1:] = (low[1:] != low[:-1]) | (high[1:] != high[:-1])
    starts = np.flatnonzero(first)
    sizes = np.diff(starts, append=len(order))
    sizes_N, keepers_N = np.repeat(sizes, sizes), np.repeat(order[starts], sizes)
    many = sizes_N > 1
    found = _verdicts(table, order[many], keepers_N[many], sizes_N[many], ~first[many])
    found = found.filter(pc.less(found["address"], pa.scalar(shards << 32, pa.uint64())))
    yield found.select(["address", "keeper", "copies", "drop"])
    yield losses.counted(found.filter(found["drop"]))


def _known(table: pa.Table, part: Part, indexes: tuple[earlier.Index, ...]) -> Iterator[pa.Table]:
    """Yield the rows of the indexes whose hash is in the table, all better than its rows, the earliest index first."""
    wanted, parts = np.sort(table["low"].to_numpy()), part.rounds[0].partitions
    for place, index in enumerate(indexes):
        for rows in index.rows(earlier.TEXTS, part.number, parts, wanted):
            rank = np.full(rows.num_rows, np.iinfo(np.int64).min + place)
            columns = {"low": rows["key"], "high": rows["high"], "rank": rank, "doc_id": rows["doc_id"]}
            columns |= {
                "domain": rows["domain"],
                "bytes": np.zeros(rows.num_rows, np.int64),
                "address": rows["address"],
            }
            yield pa.table(columns).cast(table.schema)


def _verdicts(table: pa.Table, rows: np.ndarray, keepers: np.ndarray, sizes: np.ndarray, drop: np.ndarray) -> pa.Table:
    best = table.take(pa.array(keepers))
    found = table.take(pa.array(rows)).select(["address", "doc_id", "domain", "bytes"])
    for name, column in (("keeper", "doc_id"), ("keeper_domain", "domain"), ("keeper_address", "address")):
        found = found.append_column(name, best[column])
    more = {"copies": sizes.astype(np.int32), "similarity": np.ones(len(rows)), "drop": drop}
    for name, values in more.items():
        found = found.append_column(name, pa.array(values))
    return found


def mask_batch(batch: pa.RecordBatch, rows: pa.Table | None) -> pa.RecordBatch:
    """Return the decisions about a batch, given the rows of it that have copies."""
    drop_N, keepers_N2 = np.zeros(batch.num_rows, bool), np.zeros((batch.num_rows, 2), np.uint64)
    copies_N = np.asarray(batch["keep"]).astype(np.int32)
    if rows is not None:
        places = (rows["address"].to_numpy() - batch["address"][0].as_py()).astype(np.int64)
        drop_N[places] = rows["drop"].to_numpy()
        keepers_N2[places] = schemas.doc_ids(rows["keeper"])
        copies_N[places] = rows["copies"].to_numpy()
    columns = schemas.decide(batch, drop_N, REASON)
    columns |= {"keeper": schemas.doc_id_array(keepers_N2, mask=~drop_N), "copies": pa.array(copies_N)}
    return pa.record_batch(columns, schema=SCHEMA)


def exact(step: Step, params: ExactParams) -> None:
    """Shuffle the hashes, find the copies, send the decisions home."""
    known = earlier.index_rows(step, earlier.TEXTS)
    partitions = step.partitions((step.inputs["documents"].manifest.rows + known) * _ROW_BYTES)
    columns = tuple(dict.fromkeys((*params.columns(), "text", "domain", "bytes", "address")))
    blocks = step.scatter(
        partial(text_hashes, keeper=ranking.only(params), partitions=partitions),
        columns={"documents": columns, "mask": ("keep",), **params.scores()},
        partitions=partitions,
    )
    work = partial(copies, indexes=earlier.indexes(step), shards=earlier.new_shards(step))
    home = step.parts_to_shards(blocks, work)
    totals = step.map_shards(
        mask_batch,
        columns={"documents": ("domain", "bytes", "address"), "mask": schemas.MASK},
        schema=SCHEMA,
        addressed=home,
        tally=losses.lost,
    )
    step.note(**totals, **losses.noted(step, home.tally))


EXACT = Stage(
    "dedup.exact",
    version=2,
    params=ExactParams,
    inputs=("documents",),
    run=exact,
    optional=("mask", "scores", "earlier.*"),
    gate=losses.within_cap,
)
