"""Find what there is to learn from, and draw the sample: as much of each class as `max_bytes` allows, then balance.

Each class is ordered by hash(seed, doc_id) and cut at `max_bytes` of text; then the larger class is cut to as many
documents as the smaller has. Nothing depends on shards or on the order of rows.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.histogram import Histogram
from pipeline.kernels.hashing import draw
from pipeline.quality import extremes
from pipeline.quality.extremes import Cut
from pipeline.quality.labels import Strength
from pipeline.quality.matching import matching, strengths
from pipeline.quality.train_params import TrainParams
from pipeline.schemas import ADDRESS, doc_ids
from pipeline.stage import Step

SAMPLE = 2001  # stream of draws
BIN_BITS = 46  # of a draw's float64: leaves its exponent and 6 bits, so a bin spans at most 1/64 of its value

Cuts = tuple[Cut | None, Cut | None]
Columns = dict[str, tuple[str, ...]]

SAMPLED = pa.schema(
    [
        pa.field("doc_id", pa.binary(16)),
        pa.field("text", pa.large_string()),
        pa.field("domain", pa.string()),
        pa.field("address", pa.uint64()),
        pa.field("positive", pa.bool_()),
    ]
)


@dataclass(frozen=True)
class Found:
    """What there is to learn from: by class the documents by draw, with their bytes; and those claimed by both."""

    classes: tuple[Histogram, Histogram]
    in_both: int

    def __add__(self, other: "Found") -> "Found":
        positive, negative = (a + b for a, b in zip(self.classes, other.classes, strict=True))
        return Found((positive, negative), self.in_both + other.in_both)


def cuts(step: Step, params: TrainParams, columns: Columns) -> Cuts:
    """Return where the classes that are told by their place in the ranking of strengths end; None for the others."""
    found: list[Cut | None] = []
    for side, labels in enumerate(params.classes):
        if labels.strength is None or not labels.strength.ranked:
            found.append(None)
            continue
        positives = 0
        if labels.strength.lowest:
            one_class = partial(count_class, params=params, side=0, cut=found[0])
            positives = step.fold(one_class, int.__add__, columns=columns) or 0
        found.append(_cut(step, params, columns, side, partial(_wanted, strength=labels.strength, positives=positives)))
    return found[0], found[1]


def _cut(step: Step, params: TrainParams, columns: Columns, side: int, wanted: "partial[int]") -> Cut:
    def count(known: tuple[int, ...]) -> Histogram:
        work = partial(count_digits, params=params, side=side, known=known)
        return step.fold(work, Histogram.__add__, columns=columns) or _histogram()

    return extremes.first(wanted, count)


def _wanted(total: int, *, strength: Strength, positives: int) -> int:
    """How many of `total` documents are of the class."""
    if strength.lowest:
        return positives
    return math.ceil((strength.top or strength.bottom or 0) * total - 1e-9)


def count_digits(
    batches: Iterator[pa.RecordBatch], params: TrainParams, side: int, known: tuple[int, ...]
) -> Histogram:
    """Return the documents of a shard that may be of a class, by the next digit of their keys."""
    total = _histogram()
    for batch in batches:
        rows = matching(batch, params.classes[side])
        total += extremes.by_digit(_keys(batch, params, side)[:, rows], known)
    return total


def count_class(batches: Iterator[pa.RecordBatch], params: TrainParams, side: int, cut: Cut | None) -> int:
    """Return how many documents of a shard are of a class."""
    return sum(int(np.count_nonzero(_members(batch, params, side, cut))) for batch in batches)


def classify(batch: pa.RecordBatch, params: TrainParams, ends: Cuts) -> tuple[np.ndarray, np.ndarray]:
    """Return which rows of `batch` are positive and which are negative, bool [N] each; a row may be both.

    A row that the mask drops is neither.
    """
    return _members(batch, params, 0, ends[0]), _members(batch, params, 1, ends[1])


def _members(batch: pa.RecordBatch, params: TrainParams, side: int, cut: Cut | None) -> np.ndarray:
    rows = matching(batch, params.classes[side])
    return rows if cut is None else rows & cut.takes(_keys(batch, params, side))


def _keys(batch: pa.RecordBatch, params: TrainParams, side: int) -> np.ndarray:
    strength = params.classes[side].strength
    falling = strength is not None and strength.top is not None
    return extremes.keys(strengths(batch), doc_ids(batch["doc_id"]), params.seed, falling=falling)


def survey(batches: Iterator[pa.RecordBatch], params: TrainParams, ends: Cuts) -> Found:
    """Return what a shard has of each class; a document of both classes is counted and left out of both."""
    total = Found((_histogram(), _histogram()), 0)
    for batch in batches:
        positive, negative = classify(batch, params, ends)
        bins, sizes = _bins(_draws(batch, params.seed)), batch["bytes"].to_numpy()
        both = positive & negative
        parts = [Histogram.of(bins[rows & ~both], sizes[rows & ~both]) for rows in (positive, negative)]
        total += Found((parts[0], parts[1]), int(np.count_nonzero(both)))
    return total


def last_bins(found: Found, max_bytes: int) -> tuple[int, int]:
    """Return by class the last bin of draws that the sample can reach into; the exact cut is made when it is read."""
    reached = [h.reaching_weight(max_bytes) for h in found.classes]
    documents = min(int(h.documents[: place + 1].sum()) for h, place in zip(found.classes, reached, strict=True))
    positive, negative = (int(h.bins[h.reaching_documents(documents)]) for h in found.classes)
    return positive, negative


def collect(batches: Iterator[pa.RecordBatch], params: TrainParams, ends: Cuts, last: tuple[int, int]) -> pa.Table:
    """Return the documents of a shard that may be in the sample, in the columns of `SAMPLED`."""
    parts = []
    for batch in batches:
        positive, negative = classify(batch, params, ends)
        bins = _bins(_draws(batch, params.seed))
        wanted = (positive & ~negative & (bins <= last[0])) | (negative & ~positive & (bins <= last[1]))
        rows = pa.array(np.flatnonzero(wanted))
        columns = {name: batch[name].take(rows) for name in ("doc_id", "text", "domain", ADDRESS)}
        parts.append(pa.table({**columns, "positive": pa.array(positive[wanted])}).cast(SAMPLED))
    return pa.concat_tables(parts) if parts else SAMPLED.empty_table()


def drawn(candidates: pa.Table, params: TrainParams) -> pa.Table:
    """Return the sample in a canonical order: by class, the same number of each, by draw and doc_id within."""
    ids_N2 = doc_ids(candidates["doc_id"])
    positive = candidates["positive"].to_numpy()
    order = np.lexsort((ids_N2[:, 1], ids_N2[:, 0], draw(params.seed, ids_N2, SAMPLE), ~positive))
    sizes = pc.binary_length(candidates["text"]).to_numpy()[order]
    n_positive = int(positive.sum())
    halves = (order[:n_positive], sizes[:n_positive]), (order[n_positive:], sizes[n_positive:])
    reach = [max(int(np.searchsorted(np.cumsum(half), params.max_bytes, side="right")), 1) for _, half in halves]
    return candidates.take(np.concatenate([rows[: min(reach)] for rows, _ in halves])).combine_chunks()


def _histogram() -> Histogram:
    return Histogram.of(np.empty(0, np.uint64), np.empty(0, np.int64))


def _draws(batch: pa.RecordBatch, seed: int) -> np.ndarray:
    return draw(seed, doc_ids(batch["doc_id"]), SAMPLE)


def _bins(draws_N: np.ndarray) -> np.ndarray:
    """Bins of draws, fine where draws are small: a small sample of a huge class needs its smallest draws only."""
    return draws_N.astype(np.float64).view(np.uint64) >> np.uint64(BIN_BITS)
