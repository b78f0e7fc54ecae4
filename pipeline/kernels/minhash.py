"""MinHash signatures of shingle sets, their LSH bands, their lowest bits, and the similarity they estimate.

Letters: N documents, S shingles in all of them, P permutations, B bands of R = P / B values each, K pairs of documents.

    h      = fmix32(low half ^ high half of the 64-bit shingle)
    s[p]   = min over the shingles of  (a[p] * h + b[p]) mod 2**32,  a[p] odd: a permutation of the 32-bit numbers
    key[b] = k of R values taken two by two:  k = b + 1;  k = m(k ^ (s[i] | s[i + 1] << 32), K3) + k,  the last filled
             with 0;  m(k, K4);  m(u, v) is the upper half of the 128-bit product u v, exclusive or its lower half

For two sets of Jaccard similarity J, P(s[p] equal) = J and P(some key equal) = 1 - (1 - J**R)**B (Broder 1997;
Leskovec, Rajaraman and Ullman, "Mining of Massive Datasets", chapter 3). The permutations and the finaliser fmix32 (of
MurmurHash3) are the scheme "affine32" of datasketch 2: given the same 32-bit hashes, the signatures are equal bit for
bit. Of the b lowest bits of a value P(equal) = J + (1 - J) / 2**b for small sets in a large universe (Li and Koenig,
"b-Bit Minwise Hashing", WWW 2010, section 2).
"""

import numpy as np
from numba import njit

from pipeline.kernels.hashing import check_offsets, read_only
from pipeline.kernels.simd import LANE_COUNT, address, folded_product, lower8, lower16, lower24, lower32

EMPTY = np.uint32(0xFFFFFFFF)
"""Every value of the signature of a document without shingles."""

_TILE = 2048
_U32 = np.uint64(32)
_K3, _K4 = np.uint64(0x9FB21C651E98DF25), np.uint64(0xD6E8FEB86659FD93)
_PACKED_BITS = (1, 2, 4, 8, 16, 32)


def permutations(count: int, seed: int) -> np.ndarray:
    """Return multipliers and increments, uint32 [2, P], drawn as datasketch draws them; seed in 0..2**32-1."""
    generator = np.random.RandomState(seed)
    multipliers_P = generator.randint(0, 1 << 31, count, dtype=np.uint32) * np.uint32(2) + np.uint32(1)
    increments_P = generator.randint(0, 1 << 32, count, dtype=np.uint32)
    return np.stack([multipliers_P, increments_P])


class Signer:
    """Signatures (`bands` = 0) or band keys of N documents whose shingles come in parts, in `signed_N`.

    signed_N is uint32 [N, P], a signature a document, or uint64 [N, B], a key a band. It stands for the documents
    before the one the last part ended in.
    """

    def __init__(self, documents: int, permutations_2P: np.ndarray, bands: int = 0):
        count = permutations_2P.shape[1]
        if bands < 0 or (bands and count % bands):
            raise ValueError(f"{count} values do not make {bands} bands of equal length")
        padded = -(-count // LANE_COUNT) * LANE_COUNT
        self._multipliers_P, self._increments_P = np.zeros(padded, np.uint32), np.full(padded, EMPTY)
        self._multipliers_P[:count], self._increments_P[:count] = permutations_2P
        self._minima_P, self._tile = np.full(padded, EMPTY), np.empty(_TILE, np.uint32)
        self._signatures_NP = np.empty((0 if bands else documents, count), np.uint32)
        self._keys_NB = np.empty((documents if bands else 0, bands or 1), np.uint64)
        self.signed_N = self._keys_NB if bands else self._signatures_NP

    def take(self, shingles_S: np.ndarray, counts_N: np.ndarray, first: int, before: int, end: int) -> None:
        """Take the next part: the shingles of document `first` without the `before` taken earlier, of those behind it.

        counts int64 [N] tells how many shingles each document has up to here; the part ends within, or at the
        beginning of, document `end`, which is N at the last.
        """
        _sign(
            read_only(shingles_S),
            counts_N,
            first,
            before,
            end,
            self._multipliers_P,
            self._increments_P,
            self._minima_P,
            self._tile,
            self._signatures_NP,
            self._keys_NB,
        )


def signatures(shingles_S: np.ndarray, offsets: np.ndarray, permutations_2P: np.ndarray) -> np.ndarray:
    """Return uint32 [N, P], a signature a document; without shingles it is `EMPTY` throughout.

    shingles uint64 [S], offsets int64 [N + 1]: those of document i are shingles[offsets[i]:offsets[i + 1]], repeats
    change nothing.
    """
    offsets = np.ascontiguousarray(offsets, np.int64)
    check_offsets(shingles_S, offsets)
    signer = Signer(len(offsets) - 1, permutations_2P)
    signer.take(shingles_S[offsets[0] :], np.diff(offsets), 0, 0, len(offsets) - 1)
    return signer.signed_N


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


def b_bit(signatures_NP: np.ndarray, bits: int) -> np.ndarray:
    """Return the lowest `bits` bits of each value, packed: uint8 [N, ceil(P * bits / 8)].

    Value p is bits p * bits and following of the row, the lowest bit of a byte first, as the value's own; what the last
    byte has too many is 0. The bits of a value are those of datasketch's `bBitMinHash`.

    Raises:
        ValueError: bits is not 1, 2, 4, 8, 16 or 32.
    """
    _check_bits(bits)
    bytes_NP = np.ascontiguousarray(signatures_NP, "<u4").view(np.uint8).reshape(*signatures_NP.shape, 4)
    if bits >= 8:
        return bytes_NP[:, :, : bits // 8].reshape(len(signatures_NP), -1)
    bits_NP = np.unpackbits(bytes_NP[:, :, :1], axis=2, count=bits, bitorder="little")
    return np.packbits(bits_NP.reshape(len(signatures_NP), -1), axis=1, bitorder="little")


def similarity(a_KP: np.ndarray, b_KP: np.ndarray) -> np.ndarray:
    """Return float64 [K]: the share of equal values of two signatures a row, an unbiased estimate of J.

    Its standard deviation is sqrt(J (1 - J) / P). Two documents without shingles come out as 1.
    """
    return np.mean(a_KP == b_KP, axis=1)


def b_bit_similarity(a_K: np.ndarray, b_K: np.ndarray, values: int, bits: int) -> np.ndarray:
    """Return float64 [K]: J estimated from two packed rows of `b_bit` with P = `values`; it can be negative.

    E is the share of equal values and C = 2**-bits the share equal by chance: J = (E - C) / (1 - C), unbiased; the
    limit for sets much smaller than their universe, as `bBitMinHash` has it with r = 0.

    Raises:
        ValueError: bits is not 1, 2, 4, 8, 16 or 32, or the rows are not of that many values.
    """
    _check_bits(bits)
    width = -(-values * bits // 8)
    if a_K.shape != b_K.shape or a_K.shape[1] != width:
        raise ValueError(f"{values} values of {bits} bits are {width} bytes; got rows {a_K.shape} and {b_K.shape}")
    other = np.unpackbits(a_K ^ b_K, axis=1, count=values * bits, bitorder="little").reshape(len(a_K), values, bits)
    chance = 2.0**-bits
    return (1 - other.any(axis=2).mean(axis=1) - chance) / (1 - chance)


def _check_bits(bits: int) -> None:
    if bits not in _PACKED_BITS:
        raise ValueError(f"bits must be one of {', '.join(map(str, _PACKED_BITS))}; got {bits}")


@njit(cache=True, nogil=True)
def _sign(shingles, counts, first, before, end, multipliers, increments, minima, tile, signatures, keys):
    at = 0
    for document in range(first, min(end + 1, len(counts))):
        number = counts[document]
        if document == first:
            number -= before
        if document > first or before == 0:
            minima[:] = EMPTY
        for start in range(at, at + number, _TILE):
            count = min(_TILE, at + number - start)
            _fold(shingles[start : start + count], tile)
            _lower(address(tile), count, multipliers, increments, minima)
        at += number
        if document < end and len(signatures):
            for p in range(signatures.shape[1]):
                signatures[document, p] = minima[p]
        if document < end and len(keys):
            _band(minima, signatures.shape[1] // keys.shape[1], keys[document])


@njit(cache=True, nogil=True)
def _fold(shingles, out):
    for i in range(len(shingles)):
        h = np.uint32(shingles[i] ^ (shingles[i] >> _U32))
        h = np.uint32(h ^ (h >> np.uint32(16)))
        h = np.uint32(h * np.uint32(0x85EBCA6B))
        h = np.uint32(h ^ (h >> np.uint32(13)))
        h = np.uint32(h * np.uint32(0xC2B2AE35))
        out[i] = np.uint32(h ^ (h >> np.uint32(16)))


@njit(cache=True, nogil=True)
def _lower(hashes, count, multipliers, increments, minima):
    """Lower the minima by a tile of hashes, as many permutations at a time as registers hold."""
    a, b, out = address(multipliers), address(increments), address(minima)
    for p in range(0, len(minima), 32):
        left, at = len(minima) - p, 4 * p
        if left >= 32:
            lower32(hashes, count, a + at, b + at, out + at)
        elif left == 24:
            lower24(hashes, count, a + at, b + at, out + at)
        elif left == 16:
            lower16(hashes, count, a + at, b + at, out + at)
        else:
            lower8(hashes, count, a + at, b + at, out + at)


@njit(cache=True, nogil=True)
def _band_all(signatures, rows, out):
    for document in range(len(out)):
        _band(signatures[document], rows, out[document])


@njit(cache=True, nogil=True)
def _band(values, rows, out):
    for band in range(len(out)):
        key = np.uint64(band + 1)
        for i in range(band * rows, (band + 1) * rows, 2):
            pair = np.uint64(values[i])
            if i + 1 < (band + 1) * rows:
                pair |= np.uint64(values[i + 1]) << _U32
            key += folded_product(key ^ pair, _K3)
        out[band] = folded_product(key, _K4)
