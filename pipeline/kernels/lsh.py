"""Buckets of equal band keys: which documents are to be compared.

Letters: M rows of (key, document), already in the order "best document of each key first", K keys that more than one
row has, E pairs.

A bucket of at most `run` documents gives all its pairs. A larger one (boilerplate that a million pages share) gives a
star: each document with the `HUBS` best ones only, so the pairs grow linearly with the rows, whatever the bucket.
"""

from collections.abc import Iterator

import numpy as np
from numba import njit

HUBS = 4
"""Centres of a star. One could be unlike all the others; of four, one is like those that are worth finding."""

AT_ONCE = 1 << 22
"""About how many pairs are held before they are handed over; pairs are distinct within such a portion."""


def shared(keys_M: np.ndarray) -> np.ndarray:
    """Return bool [M]: does another row have the same key? The order of the rows changes nothing."""
    if len(keys_M) < 2:
        return np.zeros(len(keys_M), bool)
    order = np.argsort(keys_M)
    same = keys_M[order[1:]] == keys_M[order[:-1]]
    found = np.zeros(len(keys_M), bool)
    found[order[1:][same]] = True
    found[order[:-1][same]] = True
    return found


def buckets(keys_M: np.ndarray) -> np.ndarray:
    """Return int64 [K + 1], where each run of equal keys begins in sorted keys, and the end."""
    if not len(keys_M):
        return np.zeros(1, np.int64)
    return np.flatnonzero(np.concatenate([[True], keys_M[1:] != keys_M[:-1], [True]]))


def pairs(starts_K: np.ndarray, documents_M: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield portions (better int64 [E], worse int64 [E]) of rows: all pairs of every bucket, a pair of documents once.

    starts_K is what `buckets` returns, or the bounds of some of its runs; documents uint64 [M].
    """
    sizes_K = np.diff(starts_K)
    ends_K = np.cumsum(sizes_K * (sizes_K - 1) // 2)
    first = 0
    while first < len(sizes_K):
        done = ends_K[first - 1] if first else 0
        last = max(int(np.searchsorted(ends_K, done + AT_ONCE, side="right")), first + 1)
        most = int(ends_K[last - 1] - done)
        better, worse = np.empty(most, np.int64), np.empty(most, np.int64)
        table = np.full(_slots(most), -1, np.int64)
        found = _all_pairs(starts_K[first : last + 1], documents_M, table, better, worse)
        yield better[:found], worse[:found]
        first = last


def _slots(count: int) -> int:
    return 1 << max(4, (2 * count).bit_length())


@njit(cache=True, nogil=True)
def _all_pairs(starts, documents, table, better, worse):
    """Write the pairs that no earlier bucket of these had; a table of their places tells which those are."""
    found = 0
    mask = np.uint64(len(table) - 1)
    for k in range(len(starts) - 1):
        for y in range(starts[k] + 1, starts[k + 1]):
            for x in range(starts[k], y):
                a, b = documents[x], documents[y]
                if a == b:
                    continue
                h = (a * np.uint64(0x9E3779B97F4A7C15)) ^ (b * np.uint64(0xC2B2AE3D27D4EB4F))
                slot = (h ^ (h >> np.uint64(29))) & mask
                while table[slot] >= 0:
                    e = table[slot]
                    if documents[better[e]] == a and documents[worse[e]] == b:
                        break
                    slot = (slot + np.uint64(1)) & mask
                if table[slot] < 0:
                    table[slot] = found
                    better[found], worse[found] = x, y
                    found += 1
    return found


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
