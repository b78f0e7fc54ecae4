"""Probabilities of fastText's supervised softmax models, over Arrow's text buffers.

Softmax is linear in the averaged features up to its logits, so a model collapses to one float a feature and label
(`inputs @ outputs.T`), and with two labels to a single float, the difference. P(label) is softmax + 1e-5, as fastText
prints it. Which features a document has, and how newlines are read, is told in `fasttext_features`.

Words are compared by 64-bit keys, not by their bytes; in the collapsed kernel, which keeps the high half only, an
unknown word is taken for a known one with probability about 2**-32. Every result is the same on every machine: sums
have a fixed order, there is no fused arithmetic, `exp` is our own.

Shapes: N documents, L labels, R rows of the input matrix. `data` is uint8, `offsets` int64 [N + 1].
"""

import math

import numpy as np
from numba import njit, uint32, uint64

from pipeline.kernels.fasttext_features import EOS, fill, frozen, lookup_of
from pipeline.kernels.fasttext_hash import (
    BASIS,
    GRAM,
    SPACE,
    as_float,
    exp,
    hash32,
    key_of,
    modulo,
    prefetch,
    slot,
    step,
)
from pipeline.kernels.fasttext_model import Model

LABEL_START = np.uint64(int.from_bytes(b"__label_", "big"))
CHUNK_BYTES = 8192  # text is read in pieces of this size, so scratch space does not grow with a document
PRIOR = 1e-5  # fastText adds this to every probability before its logarithm


@njit(cache=True, nogil=True, error_model="numpy")
def _logits(data, offsets, rows, lookup, weights_FL, logits_NL):
    """Write the logits of the documents `rows`; a document without any feature is left as it was."""
    buffer = np.empty(4096, np.int64)
    grams = np.zeros(max(lookup.word_ngrams, 1), np.uint64)
    n_labels = weights_FL.shape[1]
    totals = np.empty(n_labels, np.float64)
    for d in rows:
        cursor = np.array([offsets[d], 0, 0])
        totals[:] = 0.0
        count = 0
        while not cursor[2]:
            buffer, n = fill(lookup, data, offsets[d + 1], cursor, grams, buffer)
            for t in range(n):
                prefetch(weights_FL, buffer[t] * n_labels)
            for t in range(n):
                for label in range(n_labels):
                    totals[label] += weights_FL[buffer[t], label]
            count += n
        if count:
            for label in range(n_labels):
                logits_NL[d, label] = totals[label] / count


@njit(cache=True, nogil=True)
def _packed_table(lookup, data, offsets, weights):
    """A table of (fingerprint << 32 | float32 bits of the weight), 0 for empty; and whether lookups in it are exact
    for every known word."""
    packed = np.zeros(len(lookup.keys), np.uint64)
    shift = uint64(lookup.shift)
    exact = True
    for e in range(lookup.n_words):
        key = key_of(data, offsets[e], offsets[e + 1])
        p = slot(key, shift)
        while packed[p] != 0:
            exact &= packed[p] >> uint64(32) != key >> uint64(32)
            p = (p + 1) & (len(packed) - 1)
        packed[p] = (key >> uint64(32) << uint64(32)) | uint64(weights[e])
    return packed, exact


@njit(cache=True, nogil=True, error_model="numpy")
def _collapsed_logits(data, offsets, keep, packed, shift, bucket_weights, eos_weight, has_eos, bigrams, logits):
    """Write the logits of the kept documents; returns those it left because a label or a literal `</s>` may be in.

    In pieces of about `CHUNK_BYTES`: hash all tokens without a branch, compute and prefetch all table slots, add up.
    """
    mask = len(packed) - 1
    bucket = uint64(len(bucket_weights))
    inverse = uint64(0xFFFFFFFFFFFFFFFF) // max(bucket, uint64(1))
    eos = key_of(EOS, 0, len(EOS))
    keys = np.empty(CHUNK_BYTES // 2 + 2, np.uint64)
    slots = np.empty(len(keys), np.int64)
    buckets = np.empty(len(keys), np.int64)
    left = np.empty(len(keep), np.int64)
    n_left = 0
    for d in range(len(keep)):
        if not keep[d]:
            continue
        at, end = offsets[d], offsets[d + 1]
        total, count, previous, tokens, odd = 0.0, 0, uint64(0), 0, False
        while at < end and not odd:
            stop = min(at + CHUNK_BYTES, end)
            while stop < end and not SPACE[data[stop]]:
                stop += 1
            n, odd = _tokens(data, at, stop, keys)
            at = stop
            for t in range(n):
                key = keys[t]
                slots[t] = slot(key, shift)
                prefetch(packed, slots[t])
                odd |= key == eos
                if bigrams:
                    value = hash32(key)
                    buckets[t] = np.int64(modulo(previous * GRAM + value, bucket, inverse))
                    prefetch(bucket_weights, buckets[t])
                    previous = value
            for t in range(n):
                fingerprint = keys[t] >> uint64(32)
                p = slots[t]
                entry = packed[p]
                while entry >> uint64(32) != fingerprint and entry != 0:
                    p = (p + 1) & mask
                    entry = packed[p]
                total += as_float(uint32(entry))
                count += entry != 0
            if bigrams:
                first = 1 if tokens == 0 else 0
                for t in range(first, n):
                    total += bucket_weights[buckets[t]]
                count += max(n - first, 0)
            tokens += n
        if odd:
            left[n_left] = d
            n_left += 1
            continue
        if has_eos:
            total += eos_weight
            count += 1
        if bigrams and tokens:
            total += bucket_weights[np.int64((previous * GRAM + hash32(eos)) % bucket)]
            count += 1
        if count:
            logits[d] = total / count
    return left[:n_left].copy()


@njit(cache=True, nogil=True)
def _tokens(data, start, end, keys):
    """Write the keys of all tokens of data[start:end], without a branch; returns their number and whether the text
    has `__label_` in it."""
    key, n, before, window, odd = BASIS, 0, uint64(1), uint64(0), False
    for i in range(start, end):
        byte = data[i]
        space = uint64(SPACE[byte])
        keys[n] = key
        n += np.int64(space & (before ^ uint64(1)))
        longer = step(key, byte)
        key = BASIS if space else longer
        before = space
        window = (window << uint64(8)) | uint64(byte)
        odd |= window == LABEL_START
    keys[n] = key
    return n + np.int64(before ^ uint64(1)), odd


@njit(cache=True, nogil=True)
def _softmax(logits_NL):
    """Softmax of each row plus fastText's 1e-5; one column holds the difference of two logits. NaN stays NaN."""
    n, width = logits_NL.shape
    out = np.full((n, max(width, 2)), np.nan)
    for d in range(n):
        if math.isnan(logits_NL[d, 0]):
            continue
        if width == 1:
            out[d, 0] = 1.0 / (1.0 + exp(logits_NL[d, 0])) + PRIOR
            out[d, 1] = 1.0 / (1.0 + exp(-logits_NL[d, 0])) + PRIOR
            continue
        top = logits_NL[d].max()
        total = 0.0
        for label in range(width):
            out[d, label] = exp(logits_NL[d, label] - top)
            total += out[d, label]
        out[d] = out[d] / total + PRIOR
    return out


@njit(cache=True, nogil=True)
def _products(inputs_RD, vectors_LD, out_RL):
    for r in range(len(inputs_RD)):
        for label in range(len(vectors_LD)):
            total = 0.0
            for k in range(inputs_RD.shape[1]):
                total += np.float64(inputs_RD[r, k]) * vectors_LD[label, k]
            out_RL[r, label] = total


def _collapse(model: Model) -> np.ndarray:
    """float32 [R, L]: what each feature adds to each logit; with two labels [R, 1], the second's minus the first's."""
    vectors_LD = model.outputs_LD.astype(np.float64)
    if len(vectors_LD) == 2:
        vectors_LD = vectors_LD[1:] - vectors_LD[:1]
    weights_RL = np.empty((len(model.inputs_RD), len(vectors_LD)), np.float32)
    for start in range(0, len(weights_RL), 65536):  # a copy of each piece, since a file's matrix may not be aligned
        piece = np.array(model.inputs_RD[start : start + 65536], np.float32)
        _products(piece, vectors_LD, weights_RL[start : start + 65536])
    return weights_RL


class Scorer:
    """A softmax model made ready for scoring; it holds no reference to the model's matrices.

    Raises:
        ValueError: the model's loss is not softmax, or its dictionary is damaged.
    """

    def __init__(self, model: Model) -> None:
        if model.loss != "softmax":
            raise ValueError(f"its loss is {model.loss}; only softmax models can be scored")
        self.labels = model.labels
        self._lookup = lookup_of(model)
        self._weights_RL = _collapse(model)
        self._packed: np.ndarray | None = None
        plain = model.maxn == 0 and model.word_ngrams <= 2 and model.pruned_rows is None
        if plain and len(self.labels) == 2 and all(label.startswith("__label__") for label in self.labels):
            self._pack(model)

    def _pack(self, model: Model) -> None:
        """Set up the collapsed kernel; a weight of 0.0 becomes -0.0, since an empty slot is all zero bits."""
        weights = self._weights_RL[: model.n_words, 0].copy()
        weights[weights == 0] = -0.0
        packed, exact = _packed_table(self._lookup, model.entry_bytes, model.entry_offsets, weights.view(np.uint32))
        self._packed = packed if exact else None
        end_of_text = [e for e in range(model.n_words) if model.entry(e) == b"</s>"]
        self._eos_weight = float(weights[end_of_text[0]]) if end_of_text else 0.0
        self._has_eos = bool(end_of_text)

    def probabilities(self, data: np.ndarray, offsets: np.ndarray, keep: np.ndarray | None = None) -> np.ndarray:
        """P of every label, float64 [N, L] in the order of `labels`, as fastText would print it (softmax + 1e-5).

        NaN where `keep` (bool [N]) is False, and for documents without a single feature, for which fastText
        predicts nothing.
        """
        data, offsets = frozen(data), frozen(offsets)
        n = len(offsets) - 1
        keep = np.ones(n, np.bool_) if keep is None else keep
        logits_NL = np.full((n, self._weights_RL.shape[1]), np.nan)
        if self._packed is None:
            rows = np.flatnonzero(keep)
        else:
            lookup = self._lookup
            bigrams = lookup.word_ngrams > 1
            buckets = self._weights_RL[lookup.n_words :, 0] if bigrams else self._weights_RL[:0, 0]
            rows = _collapsed_logits(
                data,
                offsets,
                keep,
                self._packed,
                np.uint64(lookup.shift),
                buckets,
                self._eos_weight,
                self._has_eos,
                bigrams,
                logits_NL[:, 0],
            )
        _logits(data, offsets, rows, self._lookup, self._weights_RL, logits_NL)
        return _softmax(logits_NL)[:, : len(self.labels)]
