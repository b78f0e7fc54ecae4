"""What the rows of a fastText model stand for: how documents have them, and which words made an n-gram's bucket.

A bucket keeps no words; its name is the n-gram of the training text that fell into it most often, among equals the one
with the smallest hash.

Shapes: N documents, R rows of the model, W wanted rows, F finds. `data` is uint8, `offsets` int64 [N + 1].
"""

import numpy as np
from numba import njit

from pipeline.kernels.fasttext_features import frozen
from pipeline.kernels.fasttext_hash import BASIS, GRAM, SPACE, hash32, key_of, step
from pipeline.kernels.fasttext_model import Model
from pipeline.kernels.fasttext_train import EOS_WORD, Features

EOS_KEY = np.uint64(key_of(np.frombuffer(EOS_WORD, np.uint8), 0, len(EOS_WORD)))  # an int would make floats of keys


def occurrences(features: Features, positive: np.ndarray, rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Return in how many documents each row occurs, int64 [R], and how much larger its mean share of the features of
    positive documents is than that of the others, float64 [R].

    Documents without features have no share; a class without documents has shares of 0.
    """
    documents_R, shares_2R = np.zeros(rows, np.int64), np.zeros((2, rows))
    classes = np.bincount(positive.astype(np.int64), minlength=2)
    _occurrences(features.numbers, features.offsets, positive, documents_R, shares_2R)
    shares_2R /= np.maximum(classes, 1)[:, None]
    return documents_R, shares_2R[1] - shares_2R[0]


def names(model: Model, rows_W: np.ndarray, data: np.ndarray, offsets: np.ndarray) -> list[str]:
    """Return what each row of `model` stands for, words of an n-gram with one space between.

    Words are named by the dictionary, buckets by the texts; `(no text)` where none of them has such an n-gram.
    Bytes that are no UTF-8 are replaced.
    """
    wanted = np.full(len(model.inputs_RD), -1, np.int32)
    wanted[rows_W] = np.arange(len(rows_W))
    finds = _finds(frozen(data), frozen(offsets), model.word_ngrams, model.bucket, model.n_words, wanted)
    found: dict[int, bytes] = {}
    if len(finds):
        _, first, counts = np.unique(finds[:, :2], axis=0, return_index=True, return_counts=True)
        best = np.lexsort((finds[first, 1], -counts, finds[first, 0]))
        for place in first[best].tolist():
            which, _, start, end, ends_text = finds[place].tolist()
            found.setdefault(which, data[start:end].tobytes() + (b" " + EOS_WORD) * ends_text)
    words = [
        model.entry(row) if row < model.n_words else found.get(which, b"(no text)")
        for which, row in enumerate(rows_W.tolist())
    ]
    return [b" ".join(word.replace(b"\0", b" ").split()).decode("utf-8", "replace") for word in words]


@njit(cache=True, nogil=True, error_model="numpy")
def _occurrences(numbers, offsets, positive, documents, shares):
    last = np.full(len(documents), -1, np.int64)
    for d in range(len(offsets) - 1):
        start, end = offsets[d], offsets[d + 1]
        side = np.int64(positive[d])
        for t in range(start, end):
            shares[side, numbers[t]] += 1.0 / (end - start)
            if last[numbers[t]] != d:
                last[numbers[t]] = d
                documents[numbers[t]] += 1


@njit(cache=True, nogil=True)
def _finds(data, offsets, word_ngrams, bucket, n_words, wanted):
    """Every n-gram whose row is wanted, int64 [F, 5]: place in the wanted, hash, start, end, whether it ends in EOS."""
    out = np.empty((1024, 5), np.int64)
    n = 0
    grams = np.zeros(max(word_ngrams, 1), np.uint64)
    starts = np.zeros(max(word_ngrams, 1), np.int64)
    for d in range(len(offsets) - 1):
        at, end, open_grams, finished = offsets[d], offsets[d + 1], 0, word_ngrams < 2
        while not finished:
            while at < end and SPACE[data[at]]:
                at += 1
            start, key = at, BASIS
            while at < end and not SPACE[data[at]]:
                key = step(key, data[at])
                at += 1
            finished = start == at or key == EOS_KEY
            value = hash32(EOS_KEY if finished else key)
            stop = start if finished else at
            for m in range(min(open_grams, word_ngrams - 1), 0, -1):
                grams[m] = grams[m - 1] * GRAM + value
                starts[m] = starts[m - 1]
                which = wanted[n_words + np.int64(grams[m] % np.uint64(bucket))]
                if which >= 0:
                    if n == len(out):
                        more = np.empty((2 * n, 5), np.int64)
                        more[:n] = out
                        out = more
                    out[n, 0], out[n, 1], out[n, 2] = which, np.int64(grams[m]), starts[m]
                    out[n, 3], out[n, 4] = stop, np.int64(finished)
                    n += 1
            grams[0], starts[0] = value, start
            open_grams += 1
    return out[:n].copy()
