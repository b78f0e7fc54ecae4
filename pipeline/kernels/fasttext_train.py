"""Training of two-label fastText classifiers: logistic regression in fastText's own feature space.

The features are fastText's (known words, word n-grams hashed into buckets, `</s>`), the model is one weight a feature,
fitted by AdaGrad (Duchi, Hazan and Singer 2011, diagonal form) and written as an ordinary softmax model of one
dimension with the output vectors +0.5 and -0.5: its two logits differ by the mean weight of a document's features, so
official fastText predicts the same probabilities.

Text is turned into features once (`untrained`, `features_of`); every epoch (`descend`) and every judgement (`logits`)
reads numbers. Nothing is drawn here: the order of documents is the caller's, so equal input gives equal bytes, on
every machine.

Shapes: N documents, T features of all of them, R rows of the model. `data` is uint8, `offsets` int64 [N + 1].
"""

import math
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numba import njit

from pipeline.kernels.fasttext_features import count_words, document_features, frozen, lookup_of
from pipeline.kernels.fasttext_hash import exp, prefetch
from pipeline.kernels.fasttext_model import Model

POSITIVE, NEGATIVE = b"__label__1", b"__label__0"
EOS_WORD = b"</s>"
AHEAD = 24  # features between asking for a weight and using it: some hundred cycles of arithmetic


class Features(NamedTuple):
    """Documents as rows of a model: document d has numbers[offsets[d]:offsets[d + 1]]."""

    numbers: np.ndarray  # int32 [T]
    offsets: np.ndarray  # int64 [N + 1]


def untrained(
    data: np.ndarray, offsets: np.ndarray, positive: np.ndarray, *, word_ngrams: int, bucket: int, min_count: int
) -> Model:
    """Return the model before its first step: the dictionary of the documents, most frequent words first.

    `positive` (bool [N]) says which documents are of `__label__1`; the others are of `__label__0`. Words that occur
    less than `min_count` times are left out. Without n-grams there are no buckets.
    """
    data, offsets = frozen(data), frozen(offsets)
    bucket = bucket if word_ngrams > 1 else 0
    keys, counts, starts, ends = count_words(data, offsets)
    known = np.flatnonzero(counts >= min_count)
    known = known[np.lexsort((keys[known], -counts[known]))]  # by key where equal: a matter of content, not of place
    lengths = [len(EOS_WORD), *(ends - starts)[known].tolist(), len(POSITIVE), len(NEGATIVE)]
    entry_offsets = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(lengths, out=entry_offsets[1:])
    words = _joined(data, starts[known], ends[known]).tobytes()
    n, n_positive = len(positive), int(np.count_nonzero(positive))
    return Model(
        loss="softmax",
        word_ngrams=word_ngrams,
        bucket=bucket,
        minn=0,
        maxn=0,
        epochs=0,
        min_count=min_count,
        n_tokens=int(counts.sum()) + n,
        n_words=1 + len(known),
        entry_bytes=np.frombuffer(EOS_WORD + words + POSITIVE + NEGATIVE, np.uint8),
        entry_offsets=entry_offsets,
        entry_counts=np.array([n, *counts[known].tolist(), n_positive, n - n_positive], np.int64),
        pruned_rows=None,
        inputs_RD=np.zeros((1 + len(known) + bucket, 1), np.float32),
        outputs_LD=np.array([[0.5], [-0.5]], np.float32),
    )


def features_of(model: Model, data: np.ndarray, offsets: np.ndarray) -> Features:
    """Return the features that `model` sees in documents. Memory is about 1.2 times the text."""
    return Features(*document_features(frozen(data), frozen(offsets), lookup_of(model)))


def blank(model: Model) -> np.ndarray:
    """Return the state before the first step, float32 [R, 2]: weights beside their sums of squared gradients."""
    return np.zeros((len(model.inputs_RD), 2), np.float32)


def descend(
    features: Features, positive: np.ndarray, order: np.ndarray, state_R2: np.ndarray, learning_rate: float
) -> float:
    """Do one epoch of logistic regression by AdaGrad; changes `state_R2`, and returns the mean log loss.

    `order` (int64) is the order in which documents are visited; one it leaves out teaches nothing. The logit is the
    mean of a document's weights; each feature's step is `learning_rate` over the root of its summed squared gradients.
    The loss of each document is taken before its step.
    """
    return float(_descend(features.numbers, features.offsets, positive, order, state_R2, learning_rate))


def logits(features: Features, weights_R: np.ndarray) -> np.ndarray:
    """Return the mean weight of each document's features, float64 [N]; 0 for a document without any."""
    return np.asarray(_logits(features.numbers, features.offsets, np.ascontiguousarray(weights_R)))


def trained(model: Model, weights_R: np.ndarray, epochs: int) -> Model:
    """Return `model` with these weights."""
    return replace(model, epochs=epochs, inputs_RD=np.ascontiguousarray(weights_R, np.float32).reshape(-1, 1))


def calibrated(model: Model, scale: float, shift: float) -> Model:
    """Return the model whose logits are `scale` times those of `model`, plus `shift`.

    A logit is a mean of weights, so scaling every weight and adding `shift` to it does that exactly, up to float32.
    """
    weights_RD = np.asarray(model.inputs_RD, np.float64) * scale + shift
    return replace(model, inputs_RD=weights_RD.astype(np.float32))


@njit(cache=True, nogil=True)
def _joined(data, starts, ends):
    """The bytes of all ranges, back to back."""
    out = np.empty((ends - starts).sum(), np.uint8)
    at = 0
    for w in range(len(starts)):
        for k in range(starts[w], ends[w]):
            out[at] = data[k]
            at += 1
    return out


@njit(cache=True, nogil=True, error_model="numpy")
def _descend(numbers, offsets, positive, order, state, learning_rate):
    rate, tiny = np.float32(learning_rate), np.float32(1e-12)
    loss = 0.0
    for d in order:
        start, end = offsets[d], offsets[d + 1]
        if start == end:
            continue
        for t in range(start, min(start + AHEAD, end)):
            prefetch(state, 2 * np.int64(numbers[t]))
        total = 0.0
        for t in range(start, end):
            if t + AHEAD < end:
                prefetch(state, 2 * np.int64(numbers[t + AHEAD]))
            total += state[numbers[t], 0]
        p = 1.0 / (1.0 + exp(-total / (end - start)))
        gradient = (p - positive[d]) / (end - start)
        square, step = np.float32(gradient * gradient), np.float32(rate * np.float32(gradient))
        for t in range(start, end):
            f = numbers[t]
            squares = state[f, 1] + square
            state[f, 1] = squares
            state[f, 0] -= step / np.float32(math.sqrt(squares + tiny))
        loss -= math.log(max(p if positive[d] else 1.0 - p, 1e-12))
    return loss / max(len(order), 1)


@njit(cache=True, nogil=True, error_model="numpy")
def _logits(numbers, offsets, weights):
    out = np.zeros(len(offsets) - 1)
    for d in range(len(out)):
        start, end = offsets[d], offsets[d + 1]
        total = 0.0
        for t in range(start, end):
            if t + AHEAD < end:
                prefetch(weights, np.int64(numbers[t + AHEAD]))
            total += weights[numbers[t]]
        if end > start:
            out[d] = total / (end - start)
    return out
