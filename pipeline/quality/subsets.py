"""Documents drawn for the runs of a verification: who may be drawn, how many, and sending them to where they are read.

A document's place in a draw is a hash of (seed, doc_id), so a subset is the documents whose draws lie under a cut; the
cut comes from a histogram of the draws, exact to 1/65,536 of the documents.
"""

import operator
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline import schemas
from pipeline.errors import DataError
from pipeline.histogram import Histogram
from pipeline.kernels.hashing import draw
from pipeline.proxy.targets import Drawn, Hash, among
from pipeline.shuffle import Blocks
from pipeline.stage import Step

SUBSET, SAMPLE = 0x5E1, 0x5E2
BIN_SHIFT = np.uint64(48)
NEVER_CHOSEN = "label_only"
"""The reason of documents that no selection could have kept."""
COLUMNS = {"documents": ("doc_id", "text", "bytes"), "mask": ("keep",), "selected": ("reason",)}
"""A mask's reason is null where it keeps; so the two masks do not offer the same column."""


Targets = Mapping[str, Sequence[Drawn]]


@dataclass(frozen=True)
class Draw:
    """One use of documents: the vocabulary, or a run of a kind (`selected`, `random`), and the text it can use."""

    kind: str
    number: int
    seed: int
    most_bytes: int

    @property
    def name(self) -> str:
        return f"{self.kind}-{self.number}"

    def bins(self, ids_N2: np.ndarray) -> np.ndarray:
        """Return where each document lies in this draw, 0..65535 as uint64 [N]."""
        return draw(self.seed, ids_N2, SAMPLE if self.kind == "vocabulary" else SUBSET) >> BIN_SHIFT


@dataclass(frozen=True)
class Amount:
    """Documents and their bytes of text."""

    documents: int = 0
    bytes: int = 0

    def __add__(self, other: "Amount") -> "Amount":
        return Amount(self.documents + other.documents, self.bytes + other.bytes)


@dataclass(frozen=True)
class Survey:
    """What could be selected, what was, every draw's histogram, and the targets that are among the documents."""

    pool: Amount
    selected: Amount
    histograms: tuple[Histogram, ...]
    known: frozenset[Hash]

    def __add__(self, other: "Survey") -> "Survey":
        histograms = tuple(map(operator.add, self.histograms, other.histograms))
        return Survey(self.pool + other.pool, self.selected + other.selected, histograms, self.known | other.known)

    def without_known(self, targets: Targets) -> Targets:
        """Return the targets' documents whose words are not those of a document that could be selected."""
        return {name: [d for d in documents if d.hash not in self.known] for name, documents in targets.items()}


@dataclass(frozen=True)
class Cut:
    """The documents of a subset, and the last bin that is sent to its run."""

    subset: Amount
    last_bin: int


@dataclass(frozen=True)
class Run:
    """One model to be trained: its draw, what its subset holds, and the partition in which its documents lie."""

    draw: Draw
    cut: Cut
    partition: int

    @property
    def name(self) -> str:
        return self.draw.name


def surveyed(step: Step, draws: Sequence[Draw], targets: Targets) -> Survey:
    """Return what all documents say.

    Raises:
        DataError: there is none.
    """
    wanted = frozenset(document.hash for documents in targets.values() for document in documents)
    work = partial(survey, draws=tuple(draws), wanted=wanted)
    found: Survey | None = step.fold(work, operator.add, columns=COLUMNS)
    if found is None:
        raise DataError(f"{step.name}: there are no documents")
    return found


def survey(batches: Iterator[pa.RecordBatch], draws: tuple[Draw, ...], wanted: frozenset[Hash]) -> Survey:
    """Return what one shard says."""
    empty = Histogram.of(np.empty(0, np.uint64), np.empty(0, np.int64))
    total = Survey(Amount(), Amount(), (empty,) * len(draws), frozenset())
    for batch in batches:
        pool_N, selected_N = members(batch)
        sizes_N, ids_N2 = batch["bytes"].to_numpy(), schemas.doc_ids(batch["doc_id"])
        histograms = []
        for each in draws:
            rows = selected_N if each.kind == "selected" else pool_N
            histograms.append(Histogram.of(each.bins(ids_N2)[rows], sizes_N[rows]))
        known = among(batch["text"].filter(pa.array(pool_N)), wanted)
        amounts = [Amount(int(rows.sum()), int(sizes_N[rows].sum())) for rows in (pool_N, selected_N)]
        total += Survey(amounts[0], amounts[1], tuple(histograms), known)
    return total


def members(batch: pa.RecordBatch) -> tuple[np.ndarray, np.ndarray]:
    """Return which rows the selection chose from, and which it kept, bool [N] each."""
    before = batch["keep"].to_numpy(zero_copy_only=False)
    reason = batch["reason"]
    kept = before & reason.is_null().to_numpy(zero_copy_only=False)
    never = pc.fill_null(pc.equal(reason, NEVER_CHOSEN), False).to_numpy(zero_copy_only=False)
    return before & ~never, kept


def cuts(survey: Survey, draws: Sequence[Draw]) -> tuple[Cut, ...]:
    """Return where each draw ends: a random subset has the bytes of the selection, up to a document; the rest, all."""
    found = []
    for each, histogram in zip(draws, survey.histograms, strict=True):
        size = survey.selected.bytes if each.kind == "random" else histogram.total_weight
        end = histogram.reaching_weight(size)
        subset = Amount(int(histogram.documents[: end + 1].sum()), int(histogram.weights[: end + 1].sum()))
        sent = min(end, histogram.reaching_weight(each.most_bytes))
        found.append(Cut(subset, int(histogram.bins[sent])))
    return tuple(found)


def sent(step: Step, draws: Sequence[Draw], cuts: Sequence[Cut]) -> Blocks:
    """Return the documents of every draw, each draw in a partition of its own, as `doc_id` and `text`."""
    work = partial(candidates, draws=tuple(draws), last=tuple(cut.last_bin for cut in cuts))
    columns = COLUMNS | {"documents": ("doc_id", "text")}
    return step.scatter(work, columns=columns, partitions=len(draws))


def candidates(
    batch: pa.RecordBatch, *, draws: tuple[Draw, ...], last: tuple[int, ...]
) -> tuple[pa.RecordBatch, np.ndarray]:
    """Return the rows of a batch that are in a draw, as often as they are in one, and the places of the draws."""
    pool_N, selected_N = members(batch)
    ids_N2 = schemas.doc_ids(batch["doc_id"])
    rows = [
        np.flatnonzero((selected_N if each.kind == "selected" else pool_N) & (each.bins(ids_N2) <= np.uint64(end)))
        for each, end in zip(draws, last, strict=True)
    ]
    places = np.repeat(np.arange(len(draws), dtype=np.uint32), [len(found) for found in rows])
    return batch.select(["doc_id", "text"]).take(pa.array(np.concatenate(rows))), places


def texts(blocks: Blocks, place: int, seed: int) -> list[str]:
    """Return the texts of a draw in an order that is drawn from the seed.

    Raises:
        DataError: there is none.
    """
    table = blocks.read(place)
    if table is None:
        raise DataError("quality.verify: no document was drawn for the vocabulary; there is no text to choose from")
    found: list[str] = table["text"].take(in_order(table, seed, SUBSET)).to_pylist()
    return found


def in_order(table: pa.Table, seed: int, stream: int) -> np.ndarray:
    """Return the places of the rows in the order of their draws, equal ones by doc_id."""
    ids_N2 = schemas.doc_ids(table["doc_id"])
    return np.lexsort((ids_N2[:, 1], ids_N2[:, 0], draw(seed, ids_N2, stream)))
