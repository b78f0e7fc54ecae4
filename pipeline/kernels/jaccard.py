"""Exact Jaccard similarity and containment of shingle sets.

Letters: N documents, S shingles in all of them, E pairs. Shingles are hashes that are already mixed, so a table takes
their low bits. Two different shingles are taken for one with probability 2**-64.

    J(A, B) = |A and B| / |A or B|          containment of B in A = |A and B| / |B|
"""

import numpy as np
from numba import njit

from pipeline.kernels.hashing import check_offsets, read_only

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


def similarities(
    sets_S: np.ndarray,
    offsets: np.ndarray,
    documents_E: np.ndarray,
    others_E: np.ndarray,
    threshold: float = 0.0,
    containment: float | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Return (J, containment of the document in the other), float64 [E]; of two empty sets both are 0.

    A pair with J below `threshold`, and containment below the one given, may come back as -1: it is left as soon as it
    cannot be reached. Pairs of one document should follow each other; its set is looked up in a table made once.

    sets and offsets are what `distinct` returns; documents and others are int64 numbers of documents.
    """
    offsets = np.ascontiguousarray(offsets, np.int64)
    check_offsets(sets_S, offsets)
    jaccard_E, contained_E = np.zeros(len(documents_E), np.float64), np.zeros(len(documents_E), np.float64)
    pairs = documents_E.astype(np.int64, copy=False), others_E.astype(np.int64, copy=False)
    least = float(threshold), 2.0 if containment is None else float(containment)
    _similarity_all(read_only(sets_S), read_only(offsets), *pairs, *least, jaccard_E, contained_E)
    return jaccard_E, contained_E


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
def _least_common(mine, theirs, threshold, containment):
    """Return how many shingles two sets must share at least to matter; one less is asked for, against rounding."""
    # J >= t means |A and B| >= t / (1 + t) (|A| + |B|).
    least = threshold / (1.0 + threshold) * (mine + theirs)
    return np.int64(min(least, containment * mine)) - 1


@njit(cache=True, nogil=True)
def _common(part, others, least):
    """Return how many of the others are in the set; -1 once `least` cannot be reached."""
    misses = len(others) - least
    common = 0
    for i in range(len(others)):
        if _has(part, others[i]):
            common += 1
        else:
            misses -= 1
            if misses < 0:
                return -1
    return common


@njit(cache=True, nogil=True)
def _similarity_all(sets, offsets, documents, others, threshold, containment, jaccard, contained):
    table = _table_for(_largest(offsets))
    part, filled = table, np.int64(-1)
    for i in range(len(documents)):
        mine = sets[offsets[documents[i]] : offsets[documents[i] + 1]]
        theirs = sets[offsets[others[i]] : offsets[others[i] + 1]]
        if len(mine) + len(theirs) == 0:
            continue
        least = _least_common(len(mine), len(theirs), threshold, containment)
        jaccard[i] = contained[i] = -1.0
        if min(len(mine), len(theirs)) < least:
            continue
        if filled != documents[i]:
            part, filled = _fill(table, mine), documents[i]
        common = _common(part, theirs, least)
        if common >= 0:
            jaccard[i] = common / (len(mine) + len(theirs) - common)
            contained[i] = common / len(mine) if len(mine) else 0.0
