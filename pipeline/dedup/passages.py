"""Cut out lines or paragraphs that other documents have too: `dedup.lines` and `dedup.paragraphs`.

Reads documents (and an earlier mask); writes a mask with

    spans          the bytes to be cut out (see `dedup.spans`); a passage goes with what separates it from the next
    passages       how many lines or paragraphs the document has that are not blank; 0 for documents dropped earlier
    removed_bytes  how many bytes go

A line is the text between "\\n", a paragraph the text between blank lines. Passages are equal by their text up to white
space (see `dedup.units`). Blank ones, and those of fewer than `min_bytes` without surplus white space, neither count
nor go. One that at most `most` documents have is left alone everywhere; of one that more have

    keep: first       the first occurrence stays, by (priority of the domain, doc_id, place in the document, address)
    keep: none_above  none stays: what so many documents have is boilerplate

A document of which less than `min_left_bytes` would be left is dropped as `boilerplate`. The address decides between
rows of one doc_id only. With `min_left_bytes` above 1 a first occurrence may go with its document. The documents stay
as they are: `dedup.cut` writes them shortened, and this mask is the mask of those as well.

A batch sends each distinct passage once, with its best occurrence and how many documents have it; the verdict on it
comes back once. So a line in a million documents is as many rows as there are batches that hold it. The batches of both
passes over the texts are the same ones, which is checked.
"""

import operator
from collections.abc import Iterator
from functools import partial
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from pipeline import ledger, schemas
from pipeline.dedup import ranking, spans
from pipeline.dedup.units import Scope, Unit, placed, units
from pipeline.errors import DataError
from pipeline.kernels import passages
from pipeline.ledger import Tally
from pipeline.stage import Params, Stage, Step

REASON = "boilerplate"
SHOWN = 20
SHOWN_CHARACTERS = 200


class PassageParams(Params):
    """Which passages go: those that more than `most` documents have, all but the first of them or all."""

    keep: Literal["first", "none_above"] = "first"
    most: int = Field(1, ge=1)
    min_bytes: int = Field(30, ge=1)
    min_left_bytes: int = Field(1, ge=1)
    scope: Scope = "corpus"
    priority: tuple[str, ...] = ()


SCHEMA = schemas.mask(spans.SPANS, pa.field("passages", pa.int32(), nullable=False), spans.REMOVED)
# The same columns in both passes, so that they are cut into the same batches.
_COLUMNS = {"documents": ("doc_id", "text", "domain", "bytes", "address"), "mask": schemas.MASK}


def gathered(
    batch: pa.RecordBatch, *, unit: Unit, params: PassageParams, partitions: int
) -> tuple[pa.RecordBatch, np.ndarray]:
    """Return the distinct passages of a batch, each with its best occurrence, and the partition of each.

    `home` and `home_rows` are the batch's address and length, `address` and `place` those of the best occurrence.
    """
    _, rows = placed(batch, ("doc_id", "text", "domain", "address"))
    found = units(rows["text"], rows["domain"], unit, params.scope)
    ids_N2, priority_N = schemas.doc_ids(rows["doc_id"]), ranking.priority(rows["domain"], params.priority)
    order_N = ranking.best_first(priority_N, ids_N2[:, 0], ids_N2[:, 1], rows["address"].to_numpy())
    places_D, documents_D = passages.distinct(found.hashes, found.sizes >= params.min_bytes, found.firsts, order_N)
    owners_D = np.searchsorted(found.firsts, places_D, side="right") - 1
    hashes_D2 = found.hashes[places_D]
    columns = {
        "low": pa.array(hashes_D2[:, 0]),
        "high": pa.array(hashes_D2[:, 1]),
        "priority": pa.array(priority_N[owners_D]),
        "doc_id": schemas.doc_id_array(ids_N2[owners_D]),
        "address": rows["address"].take(pa.array(owners_D)),
        "place": pa.array((places_D - found.firsts[owners_D]).astype(np.int32)),
        "documents": pa.array(documents_D),
        "home": pa.array(np.full(len(places_D), batch["address"][0].as_py(), np.uint64)),
        "home_rows": pa.array(np.full(len(places_D), batch.num_rows, np.int32)),
    }
    return pa.record_batch(columns), (hashes_D2[:, 0] % np.uint64(partitions)).astype(np.uint32)


_VERDICTS = pa.schema(
    {
        "address": pa.uint64(),
        "home_rows": pa.int32(),
        "low": pa.uint64(),
        "high": pa.uint64(),
        "best": pa.uint64(),
        "place": pa.int32(),
        "documents": pa.int64(),
        "passages": pa.int64(),
    }
)
# Upper ends of the classes of passages by how many documents have one.
_CLASSES = np.array([2, *(10**k for k in range(1, 19))])


def verdicts(table: pa.Table, *, most: int, shards: int) -> tuple[pa.Table, np.ndarray]:
    """Return the passages that more than `most` documents have, once for every batch that has them, and their shards.

    `address` and `home_rows` are those of the batch, `best` and `place` are the best occurrence. To the partition
    behind the shards' go the figures: the most frequent passages, and rows that each count the `passages` of a class.
    """
    table = table.take(pa.array(_candidates(table)))
    low, high, priority, address = (table[name].to_numpy() for name in ("low", "high", "priority", "address"))
    ids_N2 = schemas.doc_ids(table["doc_id"])
    table = table.take(pa.array(ranking.best_first(low, high, priority, ids_N2[:, 0], ids_N2[:, 1], address)))
    low, high, address, place = (table[name].to_numpy() for name in ("low", "high", "address", "place"))
    first_N = np.ones(len(low), bool)
    first_N[1:] = (low[1:] != low[:-1]) | (high[1:] != high[:-1])
    starts, groups_N = np.flatnonzero(first_N), np.cumsum(first_N) - 1
    documents = np.add.reduceat(table["documents"].to_numpy(), starts) if len(starts) else np.zeros(0, np.int64)
    best_N = starts[groups_N]
    homes = [table[name].to_numpy() for name in ("home", "home_rows")]
    columns = [*homes, low, high, address[best_N], place[best_N], documents[groups_N]]
    made = pa.table([*columns, np.zeros(len(low), np.int64)], schema=_VERDICTS)
    over = made.filter(pa.array(documents[groups_N] > most))
    frequent = np.lexsort((high[starts], low[starts], -documents))[: min(SHOWN, np.count_nonzero(documents > most))]
    figures = pa.concat_tables([made.take(pa.array(starts[frequent])), _classes(documents[documents > 1])])
    places = (over["address"].to_numpy() >> np.uint64(32)).astype(np.uint32)
    return pa.concat_tables([over, figures]), np.append(places, np.full(figures.num_rows, shards, np.uint32))


def _candidates(table: pa.Table) -> np.ndarray:
    """Return the rows whose passage may be in several documents: the lower half of the hash sorts out most others."""
    low, documents = table["low"].to_numpy(), table["documents"].to_numpy()
    order = np.argsort(low)  # which of equal ones comes first does not matter
    equal = low[order][1:] == low[order][:-1]
    many = documents > 1
    many[order[1:][equal]] = True
    many[order[:-1][equal]] = True
    return np.flatnonzero(many)


def _classes(documents: np.ndarray) -> pa.Table:
    """Return a row for every class that has passages: its upper end as `documents`, and how many passages."""
    counts = np.bincount(np.searchsorted(_CLASSES, documents), minlength=len(_CLASSES))
    there = np.flatnonzero(counts)
    none = np.zeros(len(there), np.int64)
    columns = [none, none, none, none, none, none, _CLASSES[there], counts[there]]
    return pa.table([c.astype(f.type.to_pandas_dtype()) for c, f in zip(columns, _VERDICTS, strict=True)], _VERDICTS)


def mask_batch(batch: pa.RecordBatch, rows: pa.Table | None, *, unit: Unit, params: PassageParams) -> pa.RecordBatch:
    """Return the decisions about a batch, given the passages of it that more than `most` documents have."""
    rows = _VERDICTS.empty_table() if rows is None else rows
    _check_home(batch, rows)
    kept_N, texts = placed(batch, ("text", "domain", "address"))
    found = units(texts["text"], texts["domain"], unit, params.scope)
    wanted_W2 = np.stack([rows["low"].to_numpy(), rows["high"].to_numpy()], axis=1)
    which_P = passages.find(found.hashes, found.sizes >= params.min_bytes, wanted_W2)
    drop_P = which_P >= 0
    if params.keep == "first" and drop_P.any():
        drop_P &= ~_is_best(found.firsts, texts["address"].to_numpy(), rows, which_P)
    left_N = found.sums(np.where(drop_P, 0, found.sizes))
    gone_N = (found.sums(drop_P) > 0) & (left_N < params.min_left_bytes)
    drop_P &= ~np.repeat(gone_N, np.diff(found.firsts))
    spans_S2, ends = passages.removed(found.begins, found.ends, found.firsts, found.offsets, drop_P)
    counts_N = np.zeros(batch.num_rows, np.int32)
    counts_N[kept_N] = found.sums(found.sizes > 0)
    columns = spans.columns(batch, kept_N, spans_S2, ends, gone_N, REASON) | {"passages": pa.array(counts_N)}
    return pa.record_batch([columns[name] for name in SCHEMA.names], schema=SCHEMA)


def _check_home(batch: pa.RecordBatch, rows: pa.Table) -> None:
    """See that the verdicts were asked for by this very batch.

    Raises:
        DataError: they were not: the two passes have cut a shard differently.
    """
    here, homes = batch["address"][0].as_py(), rows["address"].to_numpy()
    if (homes != here).any() or (rows["home_rows"].to_numpy() != batch.num_rows).any():
        raise DataError(
            f"{batch.num_rows:,} rows at {here:#x} were cut into other batches when their passages were counted. "
            "Delete the corpus of this step and build again."
        )


def _is_best(firsts: np.ndarray, addresses_N: np.ndarray, rows: pa.Table, which_P: np.ndarray) -> np.ndarray:
    """Return bool [P], whether a passage with a verdict is the occurrence that stays."""
    places_P = np.arange(firsts[-1]) - np.repeat(firsts[:-1], np.diff(firsts))
    addresses_P = np.repeat(addresses_N, np.diff(firsts))
    return (rows["best"].to_numpy()[which_P] == addresses_P) & (rows["place"].to_numpy()[which_P] == places_P)


def told(
    batch: pa.RecordBatch, result: pa.RecordBatch, *, unit: Unit, scope: Scope, shown: tuple[tuple[int, int, int], ...]
) -> Tally:
    """Return the books about a batch, and the texts of the passages to be shown that lie in it.

    `shown` are (address, place, documents) of the best occurrences.
    """
    first = batch["address"][0].as_py()
    tally = spans.shortened(batch, result) | {"examples": {}}
    for address, place, documents in shown:
        if first <= address < first + batch.num_rows:
            row = batch.slice(address - first, 1)
            found = units(row["text"], row["domain"], unit, scope)
            data, _ = schemas.text_buffers(row["text"])
            text = bytes(data[found.begins[place] : found.ends[place]]).decode()[:SHOWN_CHARACTERS]
            tally["examples"][f"{address} {place}"] = {text: documents}
    return tally


def text_bytes(batches: Iterator[pa.RecordBatch]) -> int:
    """Return the bytes of a shard's kept texts."""
    return sum(pc.sum(batch["bytes"].filter(batch["keep"])).as_py() or 0 for batch in batches)


def cut_passages(step: Step, params: PassageParams, *, unit: Unit) -> None:
    """Shuffle the distinct passages of every batch, count them, send the verdicts home."""
    size = step.fold(text_bytes, operator.add, columns={"documents": ("bytes",), "mask": ("keep",)}) or 0
    partitions, shards = step.partitions(size), len(step.inputs["documents"].manifest.shards)
    blocks = step.scatter(
        partial(gathered, unit=unit, params=params, partitions=partitions), columns=_COLUMNS, partitions=partitions
    )
    homes = step.regroup(blocks, partial(verdicts, most=params.most, shards=shards), partitions=shards + 1)
    figures = homes.read(shards)
    figures = _VERDICTS.empty_table() if figures is None else figures
    frequent = _most_frequent(figures.filter(pc.equal(figures["passages"], 0)))
    totals = step.map_shards(
        partial(mask_batch, unit=unit, params=params),
        columns=_COLUMNS,
        schema=SCHEMA,
        tally=partial(told, unit=unit, scope=params.scope, shown=frequent),
        addressed=homes,
    )
    texts = totals.pop("examples", {})
    examples = [{"documents": n, "text": next(iter(texts[f"{a} {p}"]))} for a, p, n in frequent]
    step.note(passages_by_documents=_by_class(figures), most_frequent=examples, **totals)


def _most_frequent(rows: pa.Table) -> tuple[tuple[int, int, int], ...]:
    """Return (address, place, documents) of the most frequent passages; equal counts by hash, never by place."""
    keys = [rows[name].to_numpy() for name in ("high", "low", "documents")]
    chosen = rows.take(pa.array(np.lexsort((keys[0], keys[1], -keys[2]))[:SHOWN]))
    return tuple((row["best"], row["place"], row["documents"]) for row in chosen.to_pylist())


def _by_class(figures: pa.Table) -> dict[str, int]:
    """Return how many distinct passages are in 2, 3 to 10, 11 to 100 ... documents."""
    rows = figures.filter(pc.greater(figures["passages"], 0)).to_pylist()
    counts: Tally = {}
    for row in sorted(rows, key=lambda row: row["documents"]):
        top = row["documents"]
        below = 2 if top == 10 else top // 10
        ledger.add(counts, {"2" if top == 2 else f"{below + 1:,} to {top:,}": row["passages"]})
    return counts


def cut_lines(step: Step, params: PassageParams) -> None:
    """Decide about lines."""
    cut_passages(step, params, unit="line")


def cut_paragraphs(step: Step, params: PassageParams) -> None:
    """Decide about paragraphs."""
    cut_passages(step, params, unit="paragraph")


LINES = Stage("dedup.lines", version=1, params=PassageParams, inputs=("documents",), run=cut_lines, optional=("mask",))
PARAGRAPHS = Stage(
    "dedup.paragraphs", version=1, params=PassageParams, inputs=("documents",), run=cut_paragraphs, optional=("mask",)
)
