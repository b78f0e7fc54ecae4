"""Training of two-label fastText classifiers: logistic regression in fastText's own feature space.

The features are fastText's (known words, word n-grams hashed into buckets, `</s>`), the model is one weight a feature,
fitted by AdaGrad and written as an ordinary softmax model of one dimension with the output vectors +0.5 and -0.5: its
two logits differ by the mean weight of a document's features, so official fastText predicts the same probabilities.

Nothing is drawn here: the order of documents is the caller's, so equal input gives equal bytes, on every machine.

Shapes: N documents, E epochs, F features. `data` is uint8, `offsets` int64 [N + 1].
"""

import math
from dataclasses import replace

import numpy as np
from numba import njit

from pipeline.kernels.fasttext_features import count_words, document_features, frozen, lookup_of
from pipeline.kernels.fasttext_hash import exp
from pipeline.kernels.fasttext_model import Model

POSITIVE, NEGATIVE = b"__label__1", b"__label__0"
EOS_WORD = b"</s>"


def train(
    data: np.ndarray,
    offsets: np.ndarray,
    positive: np.ndarray,
    order_EN: np.ndarray,
    *,
    word_ngrams: int = 2,
    bucket: int = 1 << 18,
    min_count: int = 1,
    learning_rate: float = 0.5,
) -> tuple[Model, np.ndarray]:
    """Return a model with the labels `__label__1` and `__label__0`, and the mean log loss of each epoch.

    `positive` (bool [N]) says which documents are of `__label__1`. Row e of `order_EN` (int64) is the order in which
    epoch e visits documents; a document it leaves out is in the dictionary but teaches nothing. Memory is about 1.4
    times the text, and 8 bytes a word and bucket.
    """
    data, offsets = frozen(data), frozen(offsets)
    untrained = _untrained(data, offsets, positive, word_ngrams, bucket if word_ngrams > 1 else 0, min_count)
    untrained = replace(untrained, epochs=len(order_EN))
    features, feature_offsets = document_features(data, offsets, lookup_of(untrained))
    weights_RD = np.zeros_like(untrained.inputs_RD)
    losses = descend(features, feature_offsets, positive, order_EN, weights_RD[:, 0], learning_rate)
    return replace(untrained, inputs_RD=weights_RD), losses


def _untrained(
    data: np.ndarray, offsets: np.ndarray, positive: np.ndarray, word_ngrams: int, bucket: int, min_count: int
) -> Model:
    """The model before its first step: the dictionary of the documents, most frequent words first."""
    keys, counts, starts, ends = count_words(data, offsets)
    known = np.flatnonzero(counts >= min_count)
    known = known[np.lexsort((keys[known], -counts[known]))]  # by key where equal: a matter of content, not of place
    words = [EOS_WORD, *(data[starts[w] : ends[w]].tobytes() for w in known)]
    entries = [*words, POSITIVE, NEGATIVE]
    entry_offsets = np.zeros(len(entries) + 1, np.int64)
    np.cumsum([len(entry) for entry in entries], out=entry_offsets[1:])
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
        n_words=len(words),
        entry_bytes=np.frombuffer(b"".join(entries), np.uint8),
        entry_offsets=entry_offsets,
        entry_counts=np.array([n, *counts[known].tolist(), n_positive, n - n_positive], np.int64),
        pruned_rows=None,
        inputs_RD=np.zeros((len(words) + bucket, 1), np.float32),
        outputs_LD=np.array([[0.5], [-0.5]], np.float32),
    )


@njit(cache=True, nogil=True, error_model="numpy")
def descend(features, offsets, positive, order_EN, weights, learning_rate):
    """Logistic regression by AdaGrad, one document at a time in the given order; changes `weights` (float32 [F]).

    The logit is the mean of a document's weights; each feature's step is `learning_rate` over the root of its summed
    squared gradients. Returns the mean log loss of each epoch, taken before each step.
    """
    squares = np.zeros(len(weights), np.float32)
    losses = np.zeros(len(order_EN))
    for epoch in range(len(order_EN)):
        for d in order_EN[epoch]:
            start, end = offsets[d], offsets[d + 1]
            total = 0.0
            for t in range(start, end):
                total += weights[features[t]]
            if start == end:
                continue
            p = 1.0 / (1.0 + exp(-total / (end - start)))
            gradient = (p - positive[d]) / (end - start)
            square = gradient * gradient
            for t in range(start, end):
                f = features[t]
                squares[f] += square
                weights[f] -= learning_rate * gradient / math.sqrt(squares[f] + 1e-12)
            losses[epoch] -= math.log(max(p if positive[d] else 1.0 - p, 1e-12))
        losses[epoch] /= max(len(order_EN[epoch]), 1)
    return losses
