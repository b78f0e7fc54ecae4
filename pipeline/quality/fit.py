"""Fit a classifier: split the sample, train every setting, let the validation part choose and calibrate.

Three parts are drawn by hash(seed, doc_id): what is learned from, the validation part, which chooses among settings
and calibrates, and the held-out part, which nothing is chosen by. Copies of a document have one doc_id and so one part.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.errors import DataError
from pipeline.kernels import fasttext_train
from pipeline.kernels.fasttext import Scorer
from pipeline.kernels.fasttext_model import Model
from pipeline.kernels.hashing import draw, fractions
from pipeline.kernels.platt import platt
from pipeline.quality import official
from pipeline.quality.judge import auc
from pipeline.quality.train_params import CLASSES, Setting, TrainParams
from pipeline.schemas import doc_ids, text_buffers

HELD_OUT, ORDER = 2002, 2100  # streams of draws; epoch e reads in the order of stream ORDER + e
POSITIVE = fasttext_train.POSITIVE.decode()


@dataclass(frozen=True)
class Documents:
    """A part of the sample; its texts as the text policy leaves them."""

    table: pa.Table
    texts: pa.Array
    positive: np.ndarray

    @cached_property
    def buffers(self) -> tuple[np.ndarray, np.ndarray]:
        return text_buffers(self.texts)

    def counts(self) -> dict[str, int]:
        """Return how many documents there are of each class."""
        n_positive = int(self.positive.sum())
        return dict(zip(CLASSES, (n_positive, len(self.positive) - n_positive), strict=True))


class Parts(NamedTuple):
    """What is learned from, what chooses and calibrates, and what judges."""

    learned: Documents
    validation: Documents
    held_out: Documents


class Candidate(NamedTuple):
    """A trained model, how it scores the validation part (any rising function of P), and its log loss by epoch."""

    setting: Setting
    model: Model
    scores_N: np.ndarray
    losses: tuple[float, ...]


class Calibration(NamedTuple):
    """What the logits of the trained model were multiplied by, and what was added."""

    scale: float
    shift: float


def split(sample: pa.Table, params: TrainParams) -> Parts:
    """Return the three parts of a sample.

    Raises:
        DataError: nothing of a class is left to learn from, or to choose and calibrate by where that is asked for.
    """
    chance = fractions(draw(params.seed, doc_ids(sample["doc_id"]), HELD_OUT))
    held_out, validation = chance < params.held_out, chance < params.held_out + params.validation
    rows = (~validation, validation & ~held_out, held_out)
    parts = Parts(*(_documents(sample.filter(pa.array(chosen)), params) for chosen in rows))
    chosen = params.calibrate or len(list(params.settings())) > 1
    for name, part, needed in (
        ("learn from", parts.learned, True),
        ("choose and calibrate by", parts.validation, chosen),
    ):
        if needed and not all(part.counts().values()):
            raise DataError(
                f"quality.train: {len(sample) // 2:,} documents a class are too few: with {params.validation:.0%} for "
                f"validation and {params.held_out:.0%} held out, a class has none to {name}. Label more documents, or "
                "raise max_bytes."
            )
    return parts


def _documents(table: pa.Table, params: TrainParams) -> Documents:
    table = table.combine_chunks()
    texts = table["text"].combine_chunks()
    if params.newlines == "drop":
        texts = pc.replace_substring(texts, "\n", "")
    return Documents(table, texts, table["positive"].to_numpy())


def fit(parts: Parts, params: TrainParams) -> tuple[Candidate, list[tuple[Setting, float | None]]]:
    """Return the candidate of the highest AUC on the validation part, the first of equals, and the AUC of every one."""
    trainer = _ours if params.backend == "ours" else _official
    best, best_area, areas = None, -1.0, []
    for candidate in trainer(parts, params):
        area = auc(candidate.scores_N, parts.validation.positive)
        areas.append((candidate.setting, area))
        if best is None or (area is not None and area > best_area):
            best, best_area = candidate, -1.0 if area is None else area
    assert best is not None, "params name at least one setting"
    return best, areas


def calibrated(candidate: Candidate, validation: Documents) -> tuple[Model, Calibration | None]:
    """Return the model with logits on the line that fits the validation part; None if they do not rise with it."""
    scale, shift = platt(candidate.scores_N, validation.positive)
    if scale <= 0:
        return candidate.model, None
    return fasttext_train.calibrated(candidate.model, scale, shift), Calibration(scale, shift)


def probabilities(model: Model, documents: Documents) -> np.ndarray:
    """Return P(positive) of each document, float64 [N] in [0, 1]; 0 for one without a known feature."""
    scorer = Scorer(model)
    place = scorer.labels.index(POSITIVE)
    found: np.ndarray = np.clip(np.nan_to_num(scorer.probabilities(*documents.buffers)[:, place]), 0, 1)
    return found


def reading_orders(documents: Documents, epochs: int, seed: int) -> Iterator[np.ndarray]:
    """Yield for each epoch the order in which documents are read."""
    ids_N2 = doc_ids(documents.table["doc_id"])
    for epoch in range(epochs):
        yield np.lexsort((ids_N2[:, 1], ids_N2[:, 0], draw(seed, ids_N2, ORDER + epoch)))


def _ours(parts: Parts, params: TrainParams) -> Iterator[Candidate]:
    """Train every setting; those that differ in epochs only share one run, looked at after each of them."""
    learned, last = parts.learned, max(params.epochs)
    orders = list(reading_orders(learned, last, params.seed))
    for word_ngrams in sorted(set(params.word_ngrams)):
        model = fasttext_train.untrained(
            *learned.buffers,
            learned.positive,
            word_ngrams=word_ngrams,
            bucket=params.bucket,
            min_count=params.min_count,
        )
        features = fasttext_train.features_of(model, *learned.buffers)
        checked = fasttext_train.features_of(model, *parts.validation.buffers)
        for rate in sorted(set(params.learning_rate)):
            state_R2, losses = fasttext_train.blank(model), []
            for epoch, order in enumerate(orders, start=1):
                losses.append(fasttext_train.descend(features, learned.positive, order, state_R2, rate))
                if epoch in params.epochs:
                    weights_R = state_R2[:, 0].copy()
                    made = fasttext_train.trained(model, weights_R, epoch)
                    logits_N = fasttext_train.logits(checked, weights_R)
                    yield Candidate(Setting(word_ngrams, rate, epoch), made, logits_N, tuple(losses))


def _official(parts: Parts, params: TrainParams) -> Iterator[Candidate]:
    order = next(reading_orders(parts.learned, 1, params.seed))
    for setting in params.settings():
        model = official.train(parts.learned.texts, parts.learned.positive, order, params, setting)
        yield Candidate(setting, model, probabilities(model, parts.validation), ())
