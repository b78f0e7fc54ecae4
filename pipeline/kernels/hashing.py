"""Hashes of byte strings and of document ids: MurmurHash3 x64 128, the splitmix64 finaliser, seeded draws.

Letters: N values, B bytes in all of them. Value i is data[offsets[i]:offsets[i + 1]].

murmur128   the 128-bit variant for 64-bit machines of MurmurHash3 (Austin Appleby, public domain, smhasher).
            The reference takes a seed of 32 bits and starts with h1 = h2 = seed; we start the same way with a seed of
            64 bits, so results equal the reference (and the package mmh3) for every seed below 2**32.
            It is not cryptographic: who wants two texts with one id can make them.
mix64       x ^= x >> 30; x *= BF58476D1CE4E5B9; x ^= x >> 27; x *= 94D049BB133111EB; x ^= x >> 31 (Steele, Lea and
            Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014). A bijection with mix64(0) = 0.
draw        the one source of chance about documents in this house (see `draw`).
"""

import numpy as np
from numba import njit

# Numba turns uint64 + int into float64, so every constant below is an uint64.
_C1 = np.uint64(0x87C37B91114253D5)
_C2 = np.uint64(0x4CF5AD432745937F)
_FIVE = np.uint64(5)
_ADD1 = np.uint64(0x52DCE729)
_ADD2 = np.uint64(0x38495AB5)
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_U0, _U1, _U8, _U16 = np.uint64(0), np.uint64(1), np.uint64(8), np.uint64(16)
_U64 = np.uint64(64)
_M64 = (1 << 64) - 1


def murmur128(data: np.ndarray, offsets: np.ndarray, seeds: int | np.ndarray = 0) -> np.ndarray:
    """Return the MurmurHash3 x64 128 of each value as uint64 [N, 2] (h1, h2), in order.

    data uint8 [B], offsets int64 [N + 1], seeds one number in 0..2**64-1 for all or uint64 [N].
    The 16 bytes of a row in little-endian order are the digest of the reference. An empty value with seed 0 is (0, 0).

    Raises:
        ValueError: the offsets fall, leave the data, or the seeds are not one or N.
    """
    offsets = np.ascontiguousarray(offsets, np.int64)
    check_offsets(data, offsets)
    values = len(offsets) - 1
    seeds_N = np.full(values, seeds & _M64, np.uint64) if isinstance(seeds, int) else np.asarray(seeds, np.uint64)
    if seeds_N.ndim == 0:
        seeds_N = np.full(values, seeds_N, np.uint64)
    if seeds_N.shape != (values,):
        raise ValueError(f"seeds must be one number or {values:,}, one a value; got shape {seeds_N.shape}")
    hashes_N2 = np.empty((values, 2), np.uint64)
    _murmur_all(read_only(np.ascontiguousarray(data)), read_only(offsets), read_only(seeds_N), hashes_N2)
    return hashes_N2


def murmur128_bytes(value: bytes, seed: int = 0) -> int:
    """Return the 128-bit hash of one byte string as an integer, h1 in the lower half."""
    data = np.frombuffer(value, np.uint8)
    h1, h2 = murmur128(data, np.array([0, len(data)], np.int64), seed)[0]
    return int(h1) | int(h2) << 64


def draw(seed: int, doc_ids_N2: np.ndarray, stream: int) -> np.ndarray:
    """Return one uniform uint64 per document that depends on (seed, document id, stream) only.

    All sampling in the house (a random keeper, a training sample, a held-out part, an order of reading) compares or
    sorts by these draws instead of asking a generator row by row: a generator's n-th number belongs to a place, so
    renaming a file would change who is drawn. Two purposes of one build take two `stream` numbers, else "the sample
    that trains the tokenizer" and "the held-out part" would be the same documents. Equal ids draw equal numbers.

    doc_ids_N2 uint64 [N, 2]; seed and stream any integers (taken modulo 2**64).
    A fraction p is drawn by `draw(...) < p * 2**64`; `fractions` turns draws into floats in [0, 1).
    """
    ids = np.ascontiguousarray(doc_ids_N2, np.uint64)
    if ids.ndim != 2 or ids.shape[1] != 2:
        raise ValueError(f"document ids must be uint64 [N, 2]; got shape {ids.shape}")
    draws_N = np.empty(len(ids), np.uint64)
    _draw_all(np.uint64(seed & _M64), np.uint64(stream & _M64), read_only(ids), draws_N)
    return draws_N


def fractions(draws_N: np.ndarray) -> np.ndarray:
    """Return draws as float64 in [0, 1): the upper 53 bits, so that every value is exact and 1.0 never comes."""
    return (draws_N >> np.uint64(11)).astype(np.float64) * 2.0**-53


def read_only(array: np.ndarray) -> np.ndarray:
    """Return a view that cannot be written: Arrow's buffers are such, and numba compiles once for one kind only."""
    view = array.view()
    view.flags.writeable = False
    return view


def check_offsets(data: np.ndarray, offsets: np.ndarray) -> None:
    """Raise ValueError unless int64 offsets [N + 1] rise within data: the kernels read without bounds checks."""
    if offsets.ndim != 1 or len(offsets) == 0:
        raise ValueError(f"offsets must be one row of N + 1 numbers; got shape {offsets.shape}")
    if offsets[0] < 0 or offsets[-1] > len(data) or bool((offsets[1:] < offsets[:-1]).any()):
        raise ValueError(f"offsets must rise from 0 to at most the {len(data):,} bytes of data")


@njit(cache=True, nogil=True)
def mix64(x):
    """Return the splitmix64 finaliser of one uint64; callable from other kernels."""
    z = np.uint64(x)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


@njit(cache=True, nogil=True)
def _draw_all(seed, stream, ids_N2, out_N):
    # The key is mixed twice so that (seed, stream) pairs a step apart share nothing; both halves of the id are used,
    # each after a mix, because ids made elsewhere need not be as uniform as ours.
    key = mix64(mix64(seed + _GOLDEN) + (stream + _U1) * _GOLDEN)
    for i in range(len(out_N)):
        out_N[i] = mix64(mix64(ids_N2[i, 0] ^ key) + ids_N2[i, 1] + _GOLDEN)


@njit(cache=True, nogil=True)
def _rotl(x, r):
    return (x << np.uint64(r)) | (x >> (_U64 - np.uint64(r)))


@njit(cache=True, nogil=True)
def _fmix(k):
    k = (k ^ (k >> np.uint64(33))) * np.uint64(0xFF51AFD7ED558CCD)
    k = (k ^ (k >> np.uint64(33))) * np.uint64(0xC4CEB9FE1A85EC53)
    return k ^ (k >> np.uint64(33))


@njit(cache=True, nogil=True)
def _load64(data, at):
    # Eight shifted bytes at unsigned indices: LLVM makes one unaligned load of it.
    return (
        np.uint64(data[at])
        | (np.uint64(data[at + _U1]) << np.uint64(8))
        | (np.uint64(data[at + np.uint64(2)]) << np.uint64(16))
        | (np.uint64(data[at + np.uint64(3)]) << np.uint64(24))
        | (np.uint64(data[at + np.uint64(4)]) << np.uint64(32))
        | (np.uint64(data[at + np.uint64(5)]) << np.uint64(40))
        | (np.uint64(data[at + np.uint64(6)]) << np.uint64(48))
        | (np.uint64(data[at + np.uint64(7)]) << np.uint64(56))
    )


@njit(cache=True, nogil=True)
def _tail64(data, at, length):
    word = _U0
    for j in range(length):
        word |= np.uint64(data[at + np.uint64(j)]) << (_U8 * np.uint64(j))
    return word


@njit(cache=True, nogil=True)
def _scramble1(k1):
    return _rotl(k1 * _C1, 31) * _C2


@njit(cache=True, nogil=True)
def _scramble2(k2):
    return _rotl(k2 * _C2, 33) * _C1


@njit(cache=True, nogil=True)
def _murmur(data, start, length, seed):
    h1, h2 = seed, seed
    at = np.uint64(start)
    for _ in range(length // 16):
        h1 ^= _scramble1(_load64(data, at))
        h1 = (_rotl(h1, 27) + h2) * _FIVE + _ADD1
        h2 ^= _scramble2(_load64(data, at + _U8))
        h2 = (_rotl(h2, 31) + h1) * _FIVE + _ADD2
        at += _U16
    rest = length % 16
    if rest > 8:
        h2 ^= _scramble2(_tail64(data, at + _U8, rest - 8))
    if rest > 0:
        h1 ^= _scramble1(_tail64(data, at, min(rest, 8)))
    h1 ^= np.uint64(length)
    h2 ^= np.uint64(length)
    h1 += h2
    h2 += h1
    h1, h2 = _fmix(h1), _fmix(h2)
    h1 += h2
    return h1, h2 + h1


@njit(cache=True, nogil=True)
def _murmur_all(data, offsets, seeds_N, out_N2):
    for i in range(len(seeds_N)):
        out_N2[i, 0], out_N2[i, 1] = _murmur(data, offsets[i], offsets[i + 1] - offsets[i], seeds_N[i])
