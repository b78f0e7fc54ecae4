"""Softmax models collapsed: what each feature adds to each logit, worked out once.

Softmax is linear in the averaged features up to its logits, so a model collapses to one float a feature and label
(`inputs @ outputs.T`), and with two labels to a single float, the difference. Two labels with at most bigrams have a
kernel of their own: one table holds a word's fingerprint beside its weight, and nothing branches on a byte.

Words are compared by 64-bit keys, not by their bytes; in that table, which keeps the high half only, an unknown word is
taken for a known one with probability about 2**-32.

Shapes: N documents, L labels, R rows of the input matrix. `data` is uint8, `offsets` int64 [N + 1].
"""

import numpy as np
from numba import njit, uint32, uint64

from pipeline.kernels.fasttext_features import EOS
from pipeline.kernels.fasttext_hash import BASIS, GRAM, SPACE, as_float, hash32, key_of, modulo, prefetch, slot, step
from pipeline.kernels.fasttext_model import Model

LABEL_START = np.uint64(int.from_bytes(b"__label_", "big"))
CHUNK_BYTES = 8192  # text is read in pieces of this size, so scratch space does not grow with a document
PIECE = 1 << 16  # rows of a matrix that are expanded and multiplied at a time


@njit(cache=True, nogil=True)
def _products(inputs_RD, vectors_DL, out_RL):
    """Write inputs @ vectors, summed in double over D in its order; L is innermost, where sums do not wait."""
    totals_L = np.empty(vectors_DL.shape[1])
    for r in range(len(inputs_RD)):
        totals_L[:] = 0.0
        for k in range(len(vectors_DL)):
            value = np.float64(inputs_RD[r, k])
            for label in range(len(totals_L)):
                totals_L[label] += value * vectors_DL[k, label]
        for label in range(len(totals_L)):
            out_RL[r, label] = totals_L[label]


def collapse(model: Model) -> np.ndarray:
    """float32 [R, L]: what each feature adds to each logit; with two labels [R, 1], the second's minus the first's."""
    vectors_LD = model.outputs_LD[:].astype(np.float64)
    if len(vectors_LD) == 2:
        vectors_LD = vectors_LD[1:] - vectors_LD[:1]
    vectors_DL = np.ascontiguousarray(vectors_LD.T)
    weights_RL = np.empty((len(model.inputs_RD), len(vectors_LD)), np.float32)
    for start in range(0, len(weights_RL), PIECE):  # a copy of each piece, since a file's matrix may not be aligned
        piece = np.array(model.inputs_RD[start : start + PIECE], np.float32, order="C")
        _products(piece, vectors_DL, weights_RL[start : start + PIECE])
    return weights_RL


@njit(cache=True, nogil=True)
def packed_table(lookup, data, offsets, weights):
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
def collapsed_logits(data, offsets, keep, packed, shift, bucket_weights, eos_weight, has_eos, bigrams, logits):
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
