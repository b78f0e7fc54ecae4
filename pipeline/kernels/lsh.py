"""Buckets of equal band keys: which documents are to be compared.

Letters: M rows of (key, document), already in the order "best document of each key first", K keys that more than one
row has, E pairs.

A bucket of at most `run` documents gives all its pairs. A larger one (boilerplate that a million pages share) gives a
star: each document with the `HUBS` best ones only, so the pairs grow linearly with the rows, whatever the bucket.
"""

from collections.abc import Iterator

import numpy as np
from numba import njit

from pipeline.kernels.hashing import read_only

HUBS = 4
"""Centres of a star. One could be unlike all the others; of four, one is like those that are worth finding."""

AT_ONCE = 1 << 22
"""About how many pairs are held before they are handed over; pairs are distinct within such a portion."""


def shared(keys_M: np.ndarray) -> np.ndarray:
    """Return bool [M]: does another row have the same key? The order of the rows changes nothing."""
    # Most keys are alone. A table that tells for each slot whether it was hit once or twice leaves few rows to sort;
    # two bits a slot keep it in the processor's cache.
    maybe = np.zeros(len(keys_M), np.bool_)
    _hit_twice(read_only(keys_M), np.zeros(_slots(len(keys_M)), np.uint8), maybe)
    places = np.flatnonzero(maybe)
    keys, found = keys_M[places], np.zeros(len(keys_M), bool)
    order = np.argsort(keys)
    same = keys[order[1:]] == keys[order[:-1]]
    found[places[order[1:][same]]] = True
    found[places[order[:-1][same]]] = True
    return found


def buckets(keys_M: np.ndarray) -> np.ndarray:
    """Return int64 [K + 1], where each run of equal keys begins in sorted keys, and the end."""
    if not len(keys_M):
        return np.zeros(1, np.int64)
    return np.flatnonzero(np.concatenate([[True], keys_M[1:] != keys_M[:-1], [True]]))


def pairs(starts_K: np.ndarray, documents_M: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield portions (better int64 [E], worse int64 [E]) of rows: all pairs of every bucket, a pair of documents once.

    starts_K is what `buckets` returns; documents uint64 [M].
    """
    sizes_K = np.diff(starts_K)
    # Like documents share many buckets; side by side in one portion these give their pairs once.
    order = np.argsort(documents_M[starts_K[:-1]], kind="stable")
    firsts_K, lasts_K = starts_K[:-1][order], starts_K[1:][order]
    ends_K = np.cumsum((sizes_K * (sizes_K - 1) // 2)[order])
    first = 0
    while first < len(order):
        done = ends_K[first - 1] if first else 0
        last = max(int(np.searchsorted(ends_K, done + AT_ONCE, side="right")), first + 1)
        better, worse = (
            np.empty(int(ends_K[last - 1] - done), np.int64),
            np.empty(int(ends_K[last - 1] - done), np.int64),
        )
        _all_pairs(firsts_K[first:last], lasts_K[first:last], better, worse)
        new = distinct(documents_M[better], documents_M[worse]) & (documents_M[better] != documents_M[worse])
        yield better[new], worse[new]
        first = last


def distinct(a_E: np.ndarray, b_E: np.ndarray) -> np.ndarray:
    """Return bool [E]: is (a[i], b[i]) the first of its kind? Both uint64 [E]."""
    first_E = np.zeros(len(a_E), np.bool_)
    _first_of_each(a_E, b_E, np.full(_slots(len(a_E)), -1, np.int64), first_E)
    return first_E


def _slots(count: int) -> int:
    return 1 << max(4, (2 * count).bit_length())


@njit(cache=True, nogil=True)
def _hit_twice(keys, table, maybe):
    mask = np.uint64(4 * len(table) - 1)  # the keys of a partition agree in their upper bits
    for i in range(len(keys)):
        slot = keys[i] & mask
        shift = np.uint8(2 * (slot & np.uint64(3)))
        byte = table[slot >> np.uint64(2)]
        once = (byte >> shift) & np.uint8(1)
        table[slot >> np.uint64(2)] = byte | (np.uint8(1) << shift) | (once << (shift + np.uint8(1)))
    for i in range(len(keys)):
        slot = keys[i] & mask
        maybe[i] = (table[slot >> np.uint64(2)] >> np.uint8(2 * (slot & np.uint64(3)) + np.uint64(1))) & np.uint8(1)


@njit(cache=True, nogil=True)
def _all_pairs(firsts, lasts, better, worse):
    found = 0
    for k in range(len(firsts)):
        for y in range(firsts[k] + 1, lasts[k]):
            for x in range(firsts[k], y):
                better[found], worse[found] = x, y
                found += 1


@njit(cache=True, nogil=True)
def _first_of_each(a, b, table, first):
    """Enter the places of new pairs into an open table."""
    mask = np.uint64(len(table) - 1)
    for i in range(len(a)):
        h = (a[i] * np.uint64(0x9E3779B97F4A7C15)) ^ (b[i] * np.uint64(0xC2B2AE3D27D4EB4F))
        slot = (h ^ (h >> np.uint64(29))) & mask
        while table[slot] >= 0 and (a[table[slot]] != a[i] or b[table[slot]] != b[i]):
            slot = (slot + np.uint64(1)) & mask
        if table[slot] < 0:
            table[slot] = i
            first[i] = True


def spread(addresses_N: np.ndarray, partitions: int) -> np.ndarray:
    """Return a partition (uint32) for each address, by a hash: neighbours must not meet because they are neighbours."""
    mixed_N = addresses_N * np.uint64(0x9E3779B97F4A7C15)
    return ((mixed_N >> np.uint64(32)) % np.uint64(partitions)).astype(np.uint32)


def pieces(addresses_N: np.ndarray, count: int) -> np.ndarray:
    """Return a piece (int64 [N]) for each address, by another hash than `spread`: what shares a partition is cut too.

    The hash is the finaliser of MurmurHash3 x64.
    """
    mixed_N = addresses_N ^ (addresses_N >> np.uint64(33))
    for factor in (0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53):
        mixed_N = mixed_N * np.uint64(factor)
        mixed_N ^= mixed_N >> np.uint64(33)
    return (mixed_N % np.uint64(count)).astype(np.int64)
