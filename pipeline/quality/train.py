"""Train a fastText classifier that tells positive from negative documents.

Reads documents and, where wired, the mask; writes model.bin, an ordinary fastText model with the labels `__label__1`
(positive) and `__label__0`. Newlines count as spaces, in training as in quality.score.

Each class is ordered by hash(seed, doc_id) and cut at `max_bytes` of text; then the larger class is cut to as many
documents as the smaller has. A part drawn the same way is held out and judges the model by AUC: the probability that a
positive document scores above a negative one. Nothing depends on shards or on the order of rows.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import Field, model_validator

from pipeline.errors import DataError
from pipeline.kernels import fasttext_train
from pipeline.kernels.fasttext import Scorer
from pipeline.kernels.fasttext_model import Model, serialise
from pipeline.kernels.hashing import draw
from pipeline.quality.histogram import Histogram
from pipeline.quality.model import MODEL_FILE
from pipeline.schemas import doc_ids, text_buffers
from pipeline.stage import Params, Stage, Step

SAMPLE, HELD_OUT, ORDER = 2001, 2002, 2100  # streams of draws; epoch e reads in the order of stream ORDER + e
BIN_BITS = 46  # of a draw's float64: leaves its exponent and 6 bits, so a bin spans at most 1/64 of its value
CLASSES = ("positive", "negative")
SHOWN = 30


class Labels(Params):
    """Documents of the named domains, and those whose `column` holds one of `values`."""

    domains: tuple[str, ...] = ()
    column: str | None = None
    values: tuple[str, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _from_domains(cls, value: Any) -> Any:
        return {"domains": value} if isinstance(value, list | tuple) else value

    @model_validator(mode="after")
    def _says_something(self) -> "Labels":
        if bool(self.column) != bool(self.values):
            raise ValueError("`column` and `values` come together: documents whose column holds one of the values")
        if not self.domains and not self.column:
            raise ValueError("name `domains`, or a `column` and its `values`")
        return self

    def __str__(self) -> str:
        by_column = [f"{self.column} in {list(self.values)}"] if self.column else []
        return " or ".join([*([f"domain in {list(self.domains)}"] if self.domains else []), *by_column])


class TrainParams(Params):
    """What is learned from, and how. `bucket` rows of n-grams make the model's size: 4 bytes each."""

    positive: Labels
    negative: Labels
    max_bytes: int = Field(32 << 20, gt=0)
    held_out: float = Field(0.1, gt=0, lt=1)
    word_ngrams: int = Field(2, ge=1, le=5)
    bucket: int = Field(1 << 19, gt=0, lt=1 << 31)
    min_count: int = Field(2, ge=1)
    epochs: int = Field(3, ge=1)
    learning_rate: float = Field(0.5, gt=0)
    seed: int = 0

    @model_validator(mode="after")
    def _classes_differ(self) -> "TrainParams":
        if both := sorted(set(self.positive.domains) & set(self.negative.domains)):
            raise ValueError(f"the domains {both} are both positive and negative; name each in one class")
        return self


@dataclass(frozen=True)
class Found:
    """What there is to learn from: by class the documents by draw, with their bytes; and those claimed by both."""

    classes: tuple[Histogram, Histogram]
    in_both: int

    def __add__(self, other: "Found") -> "Found":
        positive, negative = (a + b for a, b in zip(self.classes, other.classes, strict=True))
        return Found((positive, negative), self.in_both + other.in_both)


def classify(batch: pa.RecordBatch, params: TrainParams) -> tuple[np.ndarray, np.ndarray]:
    """Return which rows of `batch` are positive and which are negative, bool [N] each; a row may be both.

    A row that the mask drops is neither.
    """
    matches = []
    for labels in (params.positive, params.negative):
        found = pc.is_in(batch["domain"], value_set=pa.array(labels.domains, pa.string()))
        if labels.column:
            found = pc.or_(found, pc.is_in(batch[labels.column], value_set=pa.array(labels.values, pa.string())))
        matches.append(pc.and_(found, batch["keep"]).to_numpy(zero_copy_only=False))
    return matches[0], matches[1]


def survey(batches: Iterator[pa.RecordBatch], params: TrainParams) -> Found:
    """Return what a shard has of each class; a document of both classes is counted and left out of both."""
    total = Found((_histogram(), _histogram()), 0)
    for batch in batches:
        positive, negative = classify(batch, params)
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


def collect(batches: Iterator[pa.RecordBatch], params: TrainParams, last: tuple[int, int]) -> pa.Table:
    """Return the documents of a shard that may be in the sample: doc_id, text, positive."""
    parts = []
    for batch in batches:
        positive, negative = classify(batch, params)
        bins = _bins(_draws(batch, params.seed))
        wanted = (positive & ~negative & (bins <= last[0])) | (negative & ~positive & (bins <= last[1]))
        rows = pa.array(np.flatnonzero(wanted))
        parts.append(
            pa.table(
                {
                    "doc_id": batch["doc_id"].take(rows),
                    "text": batch["text"].take(rows),
                    "positive": pa.array(positive[wanted]),
                }
            )
        )
    return pa.concat_tables(parts) if parts else _no_documents()


def cut(candidates: pa.Table, params: TrainParams) -> pa.Table:
    """Return the sample in a canonical order: by class, the same number of each, by draw and doc_id within."""
    ids_N2 = doc_ids(candidates["doc_id"])
    positive = candidates["positive"].to_numpy()
    order = np.lexsort((ids_N2[:, 1], ids_N2[:, 0], draw(params.seed, ids_N2, SAMPLE), ~positive))
    sizes = pc.binary_length(candidates["text"]).to_numpy()[order]
    n_positive = int(positive.sum())
    halves = (order[:n_positive], sizes[:n_positive]), (order[n_positive:], sizes[n_positive:])
    reach = [max(int(np.searchsorted(np.cumsum(half), params.max_bytes, side="right")), 1) for _, half in halves]
    return candidates.take(np.concatenate([rows[: min(reach)] for rows, _ in halves])).combine_chunks()


def fit(sample: pa.Table, params: TrainParams) -> tuple[Model, dict[str, Any]]:
    """Return the model trained on the part of `sample` that is not held out, and what the held-out part says of it.

    Raises:
        DataError: nothing of a class is left to learn from.
    """
    ids_N2 = doc_ids(sample["doc_id"])
    held_out = draw(params.seed, ids_N2, HELD_OUT) < np.uint64(params.held_out * 2**64)
    positive = sample["positive"].to_numpy()
    if len(set(positive[~held_out].tolist())) < 2:
        raise DataError(
            f"quality.train: {len(sample) // 2:,} documents a class are too few: after {params.held_out:.0%} are held "
            "out, a class is empty. Label more documents, or raise max_bytes."
        )
    learned, judged = sample.filter(pa.array(~held_out)), sample.filter(pa.array(held_out))
    ids_N2 = ids_N2[~held_out]
    epochs = [draw(params.seed, ids_N2, ORDER + epoch) for epoch in range(params.epochs)]
    order_EN = np.stack([np.lexsort((ids_N2[:, 1], ids_N2[:, 0], draws)) for draws in epochs])
    data, offsets = text_buffers(learned["text"].combine_chunks())
    model, losses = fasttext_train.train(
        data,
        offsets,
        positive[~held_out],
        order_EN,
        word_ngrams=params.word_ngrams,
        bucket=params.bucket,
        min_count=params.min_count,
        learning_rate=params.learning_rate,
    )
    scores = Scorer(model).probabilities(*text_buffers(judged["text"].combine_chunks()))[:, 0]
    facts = {
        "held_out_documents": {name: int((positive[held_out] == (name == "positive")).sum()) for name in CLASSES},
        "held_out_auc": auc(np.nan_to_num(scores), positive[held_out]),
        "log_loss": [round(loss, 6) for loss in losses.tolist()],
        "words": model.n_words,
    }
    return model, facts


def auc(scores_N: np.ndarray, positive_N: np.ndarray) -> float | None:
    """Return the probability that a positive document scores above a negative one, ties counted half.

    None if one of the classes is empty.
    """
    n_positive = int(np.count_nonzero(positive_N))
    n_negative = len(positive_N) - n_positive
    if not n_positive or not n_negative:
        return None
    _, places, counts = np.unique(scores_N, return_inverse=True, return_counts=True)
    middle_ranks = np.cumsum(counts) - (counts - 1) / 2
    rank_sum = float(middle_ranks[places[positive_N]].sum())
    return (rank_sum - n_positive * (n_positive + 1) / 2) / (n_positive * n_negative)


def train(step: Step, params: TrainParams) -> None:
    """Survey the classes, read the sample that `max_bytes` allows, fit, and write the model with its credentials."""
    columns = _label_columns(step, params)
    narrow = {"documents": ("doc_id", "bytes", *columns), "mask": ("keep",)}
    found = step.fold(partial(survey, params=params), Found.__add__, columns=narrow)
    if found is None or not all(h.total_documents for h in found.classes):
        raise _empty_class(step, found, columns, params)
    last = last_bins(found, params.max_bytes)
    wide = {"documents": ("doc_id", "text", *columns), "mask": ("keep",)}
    candidates = step.fold(partial(collect, params=params, last=last), _concatenated, columns=wide)
    sample = cut(candidates, params)
    model, facts = fit(sample, params)
    step.write_file(MODEL_FILE, serialise(model))
    step.note(
        documents_found={name: h.total_documents for name, h in zip(CLASSES, found.classes, strict=True)},
        bytes_found={name: h.total_weight for name, h in zip(CLASSES, found.classes, strict=True)},
        documents_in_both_classes=found.in_both,
        documents_sampled_per_class=len(sample) // 2,
        bytes_sampled=int(pc.sum(pc.binary_length(sample["text"])).as_py()),
        newlines="spaces",
        **facts,
    )


def _concatenated(first: pa.Table, second: pa.Table) -> pa.Table:
    return pa.concat_tables([first, second])


def _no_documents() -> pa.Table:
    return pa.schema([("doc_id", pa.binary(16)), ("text", pa.large_string()), ("positive", pa.bool_())]).empty_table()


def _histogram() -> Histogram:
    return Histogram.of(np.empty(0, np.uint64), np.empty(0, np.int64))


def _draws(batch: pa.RecordBatch, seed: int) -> np.ndarray:
    return draw(seed, doc_ids(batch["doc_id"]), SAMPLE)


def _bins(draws_N: np.ndarray) -> np.ndarray:
    """Bins of draws, fine where draws are small: a small sample of a huge class needs its smallest draws only."""
    return draws_N.astype(np.float64).view(np.uint64) >> np.uint64(BIN_BITS)


def _label_columns(step: Step, params: TrainParams) -> tuple[str, ...]:
    """The columns that the classes are told by.

    Raises:
        DataError: the documents have no such column.
    """
    columns = [labels.column for labels in (params.positive, params.negative) if labels.column]
    wanted = dict.fromkeys(["domain", *columns])
    first = next(iter(step.inputs["documents"].paths()), None)
    present = pq.read_schema(first).names if first else list(wanted)
    if missing := [column for column in wanted if column not in present]:
        raise DataError(
            f"quality.train: the documents have no column {missing[0]!r}; they have {', '.join(present)}. "
            "Name it as `extra` of its source, so that it is carried along."
        )
    return tuple(wanted)


def _empty_class(step: Step, found: Found | None, columns: tuple[str, ...], params: TrainParams) -> DataError:
    """Say which class has no documents, and what values there are."""
    present = step.fold(
        partial(_values, columns=columns),
        lambda a, b: {column: a[column] | b[column] for column in columns},
        columns={"documents": columns, "mask": ("keep",)},
    )
    counts = [h.total_documents for h in found.classes] if found else [0, 0]
    name = CLASSES[counts.index(0)]
    seen = {column: sorted(values)[:SHOWN] for column, values in (present or {}).items()}
    lines = [f"{column}: {', '.join(values) or '(none)'}" for column, values in seen.items()]
    if found and found.in_both:
        lines.append(f"{found.in_both:,} documents are in both classes and count for neither")
    return DataError(
        f"quality.train: no kept document is {name} ({getattr(params, name)}). There are\n  " + "\n  ".join(lines)
    )


def _values(batches: Iterator[pa.RecordBatch], columns: tuple[str, ...]) -> dict[str, set[str]]:
    """Some values of each column among the kept documents of a shard, at most `SHOWN` of each."""
    seen: dict[str, set[str]] = {column: set() for column in columns}
    for batch in batches:
        kept = batch.filter(batch["keep"])
        for column, values in seen.items():
            values.update(value for value in pc.unique(kept[column]).to_pylist() if value is not None)
    return {column: set(sorted(values)[:SHOWN]) for column, values in seen.items()}


TRAIN = Stage(
    name="quality.train",
    version=1,
    params=TrainParams,
    inputs=("documents",),
    optional=("mask",),
    run=train,
)
