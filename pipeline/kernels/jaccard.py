"""Exact Jaccard similarity of shingle sets, and which documents stay when every other must be unlike those that stay.

Letters: N documents, S shingles in all of them, B bands. Shingles are hashes that are already mixed, so a table takes
their low bits. Two different shingles are taken for one with probability 2**-64.

    J(A, B) = |A and B| / |A or B|

`choose` goes through the documents best first and keeps a document unless a kept one in one of its buckets has
J >= threshold. So, whatever the buckets proposed: every removed document has a kept one as like as that. (Connected
components of pairs do not promise it: a chain of small changes ends in documents that share nothing.)
"""

import numpy as np
from numba import njit

from pipeline.kernels.hashing import check_offsets, read_only

CANDIDATES = 128
"""How many kept documents of one bucket a document looks at. Buckets hold kept ones only, so few reach it."""

_EMPTY = np.uint64(0)


def distinct(shingles_S: np.ndarray, offsets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return (shingles, offsets int64 [N + 1]) without the repeats within a document, in the order of first occurrence.

    shingles uint64 [S], offsets int64 [N + 1].
    """
    offsets = np.ascontiguousarray(offsets, np.int64)
    check_offsets(shingles_S, offsets)
    out_S, out_offsets = np.empty(len(shingles_S), np.uint64), np.zeros(len(offsets), np.int64)
    _distinct_all(read_only(shingles_S), read_only(offsets), out_S, out_offsets)
    return out_S[: out_offsets[-1]].copy(), out_offsets


def similarities(sets_S: np.ndarray, offsets: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return float64, the Jaccard similarity of documents a[i] and b[i]; of two empty sets it is 0.

    sets and offsets are what `distinct` returns; a and b are int64 numbers of documents.
    """
    offsets = np.ascontiguousarray(offsets, np.int64)
    check_offsets(sets_S, offsets)
    out = np.zeros(len(a), np.float64)
    _similarity_all(read_only(sets_S), read_only(offsets), a.astype(np.int64), b.astype(np.int64), out)
    return out


def choose(
    sets_S: np.ndarray,
    offsets: np.ndarray,
    buckets_NB: np.ndarray,
    threshold: float,
    candidates: int = CANDIDATES,
) -> tuple[np.ndarray, np.ndarray]:
    """Return (keeper int64 [N], similarity float64 [N]): of a removed document the kept one most like it, else -1, 0.

    The documents come best first. Of keepers equally like it the better is named. A document without shingles is kept.
    If more than `candidates` kept documents share one bucket, the last kept are looked at: kept longest first, those
    are the nearest in length, and unequal lengths cannot be alike.

    sets and offsets are what `distinct` returns; buckets int32 [N, B] what `lsh.buckets` does. Time and memory are
    linear in N and S for any buckets.
    """
    offsets = np.ascontiguousarray(offsets, np.int64)
    check_offsets(sets_S, offsets)
    documents = len(offsets) - 1
    keeper_N, similarity_N = np.full(documents, -1, np.int64), np.zeros(documents, np.float64)
    newest = np.full(int(buckets_NB.max(initial=-1)) + 1, -1, np.int32)
    arguments = (read_only(sets_S), read_only(offsets), np.ascontiguousarray(buckets_NB, np.int32), newest)
    _choose_all(*arguments, float(threshold), candidates, keeper_N, similarity_N)
    return keeper_N, similarity_N


@njit(cache=True, nogil=True)
def _size_for(count):
    """Return the slots for `count` entries at a load of at most one half: a power of two."""
    size = 16
    while size < 2 * count:
        size *= 2
    return size


@njit(cache=True, nogil=True)
def _table_for(count):
    # The last place tells whether the shingle 0 is in, which cannot lie in a slot.
    return np.zeros(_size_for(count) + 1, np.uint64)


@njit(cache=True, nogil=True)
def _largest(offsets):
    largest = 0
    for i in range(len(offsets) - 1):
        largest = max(largest, offsets[i + 1] - offsets[i])
    return largest


@njit(cache=True, nogil=True)
def _part_for(table, count):
    """Return a cleared part of the table, large enough for `count` entries."""
    part = table[: _size_for(count) + 1]
    part[:] = _EMPTY
    return part


@njit(cache=True, nogil=True)
def _add(table, shingle):
    """Add a shingle; return whether it is new."""
    mask = np.uint64(len(table) - 2)
    slot = shingle & mask if shingle != _EMPTY else mask + np.uint64(1)
    while table[slot] != _EMPTY:
        if table[slot] == shingle or shingle == _EMPTY:
            return False
        slot = (slot + np.uint64(1)) & mask
    table[slot] = shingle if shingle != _EMPTY else np.uint64(1)
    return True


@njit(cache=True, nogil=True)
def _has(table, shingle):
    mask = np.uint64(len(table) - 2)
    slot = shingle & mask if shingle != _EMPTY else mask + np.uint64(1)
    while table[slot] != _EMPTY:
        if table[slot] == shingle or shingle == _EMPTY:
            return True
        slot = (slot + np.uint64(1)) & mask
    return False


@njit(cache=True, nogil=True)
def _distinct_all(shingles, offsets, out, out_offsets):
    table = _table_for(_largest(offsets))
    total = 0
    for document in range(len(offsets) - 1):
        part = _part_for(table, offsets[document + 1] - offsets[document])
        for i in range(offsets[document], offsets[document + 1]):
            if _add(part, shingles[i]):
                out[total] = shingles[i]
                total += 1
        out_offsets[document + 1] = total


@njit(cache=True, nogil=True)
def _fill(table, shingles):
    part = _part_for(table, len(shingles))
    for shingle in shingles:
        _add(part, shingle)
    return part


@njit(cache=True, nogil=True)
def _similarity(part, count, others, least):
    """Return J of the set in `part` (of `count`) and `others`; something below `least` once it cannot be reached."""
    both = count + len(others)
    # J >= t means |A and B| >= t / (1 + t) (|A| + |B|); one less is asked for, so that rounding cannot matter.
    misses = len(others) - (np.int64(least / (1.0 + least) * both) - 1)
    common = 0
    for i in range(len(others)):
        if _has(part, others[i]):
            common += 1
        else:
            misses -= 1
            if misses < 0:
                return -1.0
    return common / (both - common) if both else 0.0


@njit(cache=True, nogil=True)
def _similarity_all(sets, offsets, a, b, out):
    table = _table_for(_largest(offsets))
    for i in range(len(a)):
        mine = sets[offsets[a[i]] : offsets[a[i] + 1]]
        part = _fill(table, mine)
        out[i] = _similarity(part, len(mine), sets[offsets[b[i]] : offsets[b[i] + 1]], 0.0)


@njit(cache=True, nogil=True)
def _choose_all(sets, offsets, buckets, newest, threshold, candidates, keeper, similarity):
    bands = buckets.shape[1]
    older = np.full(buckets.shape, -1, np.int32)
    seen_by = np.full(len(keeper), -1, np.int64)
    table = _table_for(_largest(offsets))
    part = table
    for document in range(len(keeper)):
        mine = sets[offsets[document] : offsets[document + 1]]
        if len(mine) == 0:
            continue
        filled = False
        for band in range(bands):
            bucket = buckets[document, band]
            other = newest[bucket] if bucket >= 0 else np.int32(-1)
            for _ in range(candidates):
                if other < 0:
                    break
                count = offsets[other + 1] - offsets[other]
                least = max(threshold, similarity[document])
                # J is at most the smaller count over the larger.
                if seen_by[other] != document and min(count, len(mine)) >= least * max(count, len(mine)) * (1 - 1e-12):
                    seen_by[other] = document
                    if not filled:
                        part, filled = _fill(table, mine), True
                    found = _similarity(part, len(mine), sets[offsets[other] : offsets[other + 1]], least)
                    better = found > similarity[document] or (
                        found == similarity[document] and other < keeper[document]
                    )
                    if found >= threshold and better:
                        keeper[document], similarity[document] = other, found
                other = older[other, band]
        if keeper[document] < 0:
            for band in range(bands):
                bucket = buckets[document, band]
                if bucket >= 0:
                    older[document, band] = newest[bucket]
                    newest[bucket] = document
