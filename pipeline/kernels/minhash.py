"""MinHash signatures of shingle sets and their LSH bands.

Letters: N documents, S shingles in all of them, P permutations, B bands of R = P / B values each.

    h      = fmix32(low half ^ high half of the 64-bit shingle)
    s[p]   = min over the shingles of  (a[p] * h + b[p]) mod 2**32,  a[p] odd: a permutation of the 32-bit numbers
    key[b] = hash of (b, s[b * R : (b + 1) * R])

For two sets of Jaccard similarity J, P(s[p] equal) = J and P(some key equal) = 1 - (1 - J**R)**B (Broder 1997;
Leskovec, Rajaraman and Ullman, "Mining of Massive Datasets", chapter 3). The permutations and the finaliser fmix32 (of
MurmurHash3) are the scheme "affine32" of datasketch 2: given the same 32-bit hashes, the signatures are equal bit for
bit.
"""

import numpy as np
from numba import njit

from pipeline.kernels.hashing import check_offsets, read_only

EMPTY = np.uint32(0xFFFFFFFF)
"""Every value of the signature of a document without shingles."""

_TILE = 2048
_FEW = 48


def permutations(count: int, seed: int) -> np.ndarray:
    """Return multipliers and increments, uint32 [2, P], drawn as datasketch draws them; seed in 0..2**32-1."""
    generator = np.random.RandomState(seed)
    multipliers_P = generator.randint(0, 1 << 31, count, dtype=np.uint32) * np.uint32(2) + np.uint32(1)
    increments_P = generator.randint(0, 1 << 32, count, dtype=np.uint32)
    return np.stack([multipliers_P, increments_P])


def signatures(shingles_S: np.ndarray, offsets: np.ndarray, permutations_2P: np.ndarray) -> np.ndarray:
    """Return uint32 [N, P], a signature a document; without shingles it is `EMPTY` throughout.

    shingles uint64 [S], offsets int64 [N + 1]: those of document i are shingles[offsets[i]:offsets[i + 1]], repeats
    change nothing.
    """
    offsets = np.ascontiguousarray(offsets, np.int64)
    check_offsets(shingles_S, offsets)
    multipliers_P, increments_P = np.ascontiguousarray(permutations_2P, np.uint32)
    out_NP = np.full((len(offsets) - 1, len(multipliers_P)), EMPTY, np.uint32)
    _sign_all(read_only(shingles_S), read_only(offsets), multipliers_P, increments_P, out_NP)
    return out_NP


def band_keys(signatures_NP: np.ndarray, bands: int) -> np.ndarray:
    """Return uint64 [N, B], a key a band; equal keys mean, but for chance of 2**-64, the same band with equal values.

    Raises:
        ValueError: the signature does not split into `bands` bands.
    """
    documents, values = signatures_NP.shape
    if bands < 1 or values % bands:
        raise ValueError(f"{values} values do not make {bands} bands of equal length")
    out_NB = np.empty((documents, bands), np.uint64)
    _band_all(np.ascontiguousarray(signatures_NP, np.uint32), values // bands, out_NB)
    return out_NB


@njit(cache=True, nogil=True)
def _fold(shingles, out):
    for i in range(len(shingles)):
        h = np.uint32(shingles[i] ^ (shingles[i] >> np.uint64(32)))
        h = np.uint32(h ^ (h >> np.uint32(16)))
        h = np.uint32(h * np.uint32(0x85EBCA6B))
        h = np.uint32(h ^ (h >> np.uint32(13)))
        h = np.uint32(h * np.uint32(0xC2B2AE35))
        out[i] = np.uint32(h ^ (h >> np.uint32(16)))


@njit(cache=True, nogil=True)
def _sign_all(shingles, offsets, multipliers, increments, out):
    tile = np.empty(_TILE, np.uint32)
    for document in range(len(offsets) - 1):
        row = out[document]
        for start in range(offsets[document], offsets[document + 1], _TILE):
            hashes = tile[: min(_TILE, offsets[document + 1] - start)]
            _fold(shingles[start : start + len(hashes)], hashes)
            if len(hashes) < _FEW:
                _lower_few(hashes, multipliers, increments, row)
            else:
                _lower_many(hashes, multipliers, increments, row)


@njit(cache=True, nogil=True)
def _lower_many(hashes, multipliers, increments, row):
    """Lower the signature by the hashes of a tile: the inner loop is over hashes, a minimum in vector registers."""
    for p in range(len(row)):
        a, b, least = multipliers[p], increments[p], row[p]
        for i in range(len(hashes)):
            least = min(least, np.uint32(a * hashes[i] + b))
        row[p] = least


@njit(cache=True, nogil=True)
def _lower_few(hashes, multipliers, increments, row):
    """The same for a few hashes: the inner loop is over the permutations, of which there are more."""
    for i in range(len(hashes)):
        h = hashes[i]
        for p in range(len(row)):
            row[p] = min(row[p], np.uint32(multipliers[p] * h + increments[p]))


@njit(cache=True, nogil=True)
def _mix(x):
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


@njit(cache=True, nogil=True)
def _band_all(signatures, rows, out):
    for document in range(out.shape[0]):
        for band in range(out.shape[1]):
            key = np.uint64(band + 1)
            for value in signatures[document, band * rows : (band + 1) * rows]:
                key = _mix(key ^ np.uint64(value)) + np.uint64(0x9E3779B97F4A7C15)
            out[document, band] = _mix(key)
