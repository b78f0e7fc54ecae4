"""Bags of hashed words as directions: weighted words, projected by random signs.

A word that a document has c times weighs (1 + ln c) times the weight of its bucket, and is added with a random sign to
one place in each of `BLOCKS` equal blocks of the dimensions: the sparse projection of Kane and Nelson 2014 ("Sparser
Johnson-Lindenstrauss transforms", the block construction), whose places and signs are a hash of the bucket, so that
there is no matrix. Cosines of bags become cosines of directions, give or take 1 / sqrt(D).

Letters: N documents, F different buckets of all documents, V buckets there are, D dimensions.
"""

import numpy as np
from numba import njit

from pipeline.kernels.bags import BUCKETS, Bags
from pipeline.kernels.fasttext_hash import log
from pipeline.kernels.hashing import mix64, read_only
from pipeline.kernels.spherical import direction

BLOCKS = 8
_U1 = np.uint64(1)
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def document_counts(bags: Bags) -> np.ndarray:
    """Return in how many of the documents each bucket is, int64 [V]."""
    return np.bincount(bags.buckets, minlength=BUCKETS)


def rarity(documents_V: np.ndarray, documents: int) -> np.ndarray:
    """Return the weight of each bucket, float64 [V]: 1 + ln((1 + documents) / (1 + those that have it)), 0 below two.

    That is scikit-learn's smoothed idf, but that a word of a single document, which says nothing of its likeness to
    others, is left out. A word of every document weighs 1: how much a text has of them tells kinds of texts apart.
    """
    return _rarity(np.ascontiguousarray(documents_V, np.int64), documents)


def project(bags: Bags, weights_V: np.ndarray, dimensions: int, seed: int) -> np.ndarray:
    """Return the direction of each document, int16 [N, D]; zeros where no word has a weight.

    Raises:
        ValueError: `dimensions` is no power of two from `BLOCKS` to 1024, or there is not a weight for each bucket.
    """
    if dimensions.bit_count() != 1 or not BLOCKS <= dimensions <= 1024 or weights_V.shape != (BUCKETS,):
        raise ValueError(f"{dimensions} dimensions, {weights_V.shape} weights for {BUCKETS:,} buckets")
    out_ND = np.empty((len(bags.offsets) - 1, dimensions), np.int16)
    key = np.uint64(seed & 0xFFFFFFFFFFFFFFFF)
    _project(*(read_only(array) for array in (*bags, weights_V)), key, out_ND)
    return out_ND


@njit(cache=True, nogil=True)
def _rarity(documents_V, documents):
    out = np.zeros(len(documents_V))
    for v in range(len(out)):
        if documents_V[v] > 1:
            out[v] = 1.0 + log((1.0 + documents) / (1.0 + documents_V[v]))
    return out


@njit(cache=True, nogil=True)
def _project(buckets, counts, offsets, weights_V, seed, out_ND):
    width = out_ND.shape[1] // BLOCKS
    bits = np.uint64(0)
    while (1 << np.int64(bits)) < width:
        bits += _U1
    mask = np.uint64(width - 1)
    logs = np.array([1.0 + log(max(c, 1)) for c in range(256)])
    key = mix64(seed + _GOLDEN)
    row = np.empty(out_ND.shape[1])
    for d in range(len(out_ND)):
        row[:] = 0.0
        for f in range(offsets[d], offsets[d + 1]):
            weight = weights_V[buckets[f]]
            if weight == 0.0:
                continue
            count = counts[f]
            weight *= logs[count] if count < len(logs) else 1.0 + log(np.float64(count))
            draws = mix64(np.uint64(buckets[f]) ^ key)
            for block in range(BLOCKS):
                sign = 1.0 if draws & _U1 else -1.0
                row[block * width + np.int64((draws >> _U1) & mask)] += sign * weight
                draws >>= bits + _U1
        direction(row, out_ND[d])
