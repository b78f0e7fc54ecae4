"""Lines and paragraphs of texts, the first of equal ones, and what is to be cut out when some of them go.

Letters: N documents, B bytes in all of them, P passages, D distinct ones, W wanted ones. Document i is
data[offsets[i]:offsets[i + 1]], its passages are firsts[i] up to firsts[i + 1] of P.

A line is what lies between "\\n"; a document of n newlines has n + 1 lines, the last of which may be empty. A paragraph
is a run of lines that are not blank; blank is a line of white space alone (see `whitespace`). So a document of white
space has lines but no paragraph. Passage p is data[begins[p]:ends[p]] without the newline that ends it.

A passage is told by 128 bits of hash; their low bits are its slot in the tables here.
"""

import numpy as np
from numba import njit

from pipeline.kernels.hashing import check_offsets
from pipeline.kernels.whitespace import blank

_NEWLINE = np.uint8(10)


def lines(data: np.ndarray, offsets: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return (begins int64 [P], ends int64 [P], firsts int64 [N + 1]) of the lines of each document.

    data uint8 [B], offsets int64 [N + 1]. An empty document has one empty line.

    Raises:
        ValueError: the offsets fall or leave the data.
    """
    offsets = np.ascontiguousarray(offsets, np.int64)
    check_offsets(data, offsets)
    newlines = np.flatnonzero(data[offsets[0] : offsets[-1]] == _NEWLINE) + offsets[0]
    count = len(newlines) + len(offsets) - 1
    begins_P, ends_P, firsts = np.empty(count, np.int64), np.empty(count, np.int64), np.zeros(len(offsets), np.int64)
    _lines_all(newlines, offsets, begins_P, ends_P, firsts)
    return begins_P, ends_P, firsts


def paragraphs(data: np.ndarray, offsets: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return (begins int64 [P], ends int64 [P], firsts int64 [N + 1]) of the paragraphs of each document.

    data uint8 [B] is valid UTF-8, offsets int64 [N + 1]. A document of white space has none.

    Raises:
        ValueError: the offsets fall or leave the data.
    """
    begins_L, ends_L, firsts_L = lines(data, offsets)
    blank_L = blank(data, bounds(begins_L, offsets))
    count = _runs(blank_L, firsts_L)
    begins_P, ends_P, firsts = np.empty(count, np.int64), np.empty(count, np.int64), np.zeros(len(offsets), np.int64)
    _join_all(begins_L, ends_L, firsts_L, blank_L, begins_P, ends_P, firsts)
    return begins_P, ends_P, firsts


def bounds(begins_P: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Return int64 [P + 1], where each passage begins and the last document ends: offsets for kernels on values.

    A value then holds its passage and the white space behind it, which `collapse` takes away.
    """
    return np.append(begins_P, offsets[-1]).astype(np.int64)


def distinct(
    hashes_P2: np.ndarray, chosen_P: np.ndarray, firsts: np.ndarray, order_N: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return (places int64 [D], documents int64 [D]) of the distinct passages among the chosen ones.

    places[d] is the first passage of its kind when the documents are read in the order `order_N`, and documents[d] how
    many documents have one; the distinct ones come in the order in which they are met.

    hashes uint64 [P, 2], chosen bool [P], firsts int64 [N + 1], order int64 [N] a permutation.
    """
    places, documents = np.empty(len(hashes_P2), np.int64), np.zeros(len(hashes_P2), np.int64)
    slots = np.full(_slots(int(np.count_nonzero(chosen_P))), -1, np.int64)
    count = _distinct_all(hashes_P2, chosen_P, firsts, order_N, slots, places, documents)
    return places[:count].copy(), documents[:count].copy()


def find(hashes_P2: np.ndarray, chosen_P: np.ndarray, wanted_W2: np.ndarray) -> np.ndarray:
    """Return int64 [P], the place in `wanted` of each chosen passage; -1 if it is not there, or not chosen.

    hashes uint64 [P, 2], chosen bool [P], wanted uint64 [W, 2] without repeats.
    """
    found_P = np.full(len(hashes_P2), -1, np.int64)
    if len(wanted_W2):
        slots = np.full(_slots(len(wanted_W2)), -1, np.int64)
        _find_all(hashes_P2, chosen_P, np.ascontiguousarray(wanted_W2), slots, found_P)
    return found_P


def removed(
    begins_P: np.ndarray, ends_P: np.ndarray, firsts: np.ndarray, offsets: np.ndarray, drop_P: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return (spans int64 [S, 2], ends int64 [N + 1]): what goes of each document with the passages in `drop`.

    Spans are (start, end) from the document's first byte, sorted, disjoint, no two touching. A passage goes with what
    separates it from the next one; what goes at the end of a document takes what separates it from what stays.

    begins and ends int64 [P], firsts int64 [N + 1], offsets int64 [N + 1], drop bool [P].
    """
    spans_S2 = np.empty((int(np.count_nonzero(drop_P)), 2), np.int64)
    counts = np.zeros(len(offsets), np.int64)
    total = _removed_all(begins_P, ends_P, firsts, np.ascontiguousarray(offsets, np.int64), drop_P, spans_S2, counts)
    return spans_S2[:total].copy(), counts


def _slots(count: int) -> int:
    """Return the slots for `count` entries at a load of at most one half: a power of two."""
    return 1 << max(4, (2 * count - 1).bit_length())


@njit(cache=True, nogil=True)
def _lines_all(newlines, offsets, begins, ends, firsts):
    p, n = 0, 0
    for document in range(len(offsets) - 1):
        begins[p] = offsets[document]
        while n < len(newlines) and newlines[n] < offsets[document + 1]:
            ends[p] = newlines[n]
            begins[p + 1] = newlines[n] + 1
            p, n = p + 1, n + 1
        ends[p] = offsets[document + 1]
        p += 1
        firsts[document + 1] = p


@njit(cache=True, nogil=True)
def _runs(blank, firsts):
    """Return how many runs of lines that are not blank the documents have."""
    runs = 0
    for document in range(len(firsts) - 1):
        before = True
        for line in range(firsts[document], firsts[document + 1]):
            runs += before and not blank[line]
            before = blank[line]
    return runs


@njit(cache=True, nogil=True)
def _join_all(line_begins, line_ends, line_firsts, blank, begins, ends, firsts):
    p = 0
    for document in range(len(line_firsts) - 1):
        before = True
        for line in range(line_firsts[document], line_firsts[document + 1]):
            if not blank[line]:
                if before:
                    begins[p] = line_begins[line]
                    p += 1
                ends[p - 1] = line_ends[line]
            before = blank[line]
        firsts[document + 1] = p


@njit(cache=True, nogil=True)
def _slot_of(slots, hashes, low, high):
    """Return the slot that holds the passage, or the free one where it would lie."""
    mask = np.uint64(len(slots) - 1)
    slot = low & mask
    while slots[slot] >= 0 and (hashes[slots[slot], 0] != low or hashes[slots[slot], 1] != high):
        slot = (slot + np.uint64(1)) & mask
    return slot


@njit(cache=True, nogil=True)
def _distinct_all(hashes, chosen, firsts, order, slots, places, documents):
    count = 0
    numbers = np.empty(len(hashes), np.int64)
    last_seen = np.empty(len(hashes), np.int64)
    for document in order:
        for p in range(firsts[document], firsts[document + 1]):
            if not chosen[p]:
                continue
            slot = _slot_of(slots, hashes, hashes[p, 0], hashes[p, 1])
            first = slots[slot]
            if first < 0:
                slots[slot], first = p, p
                numbers[p], last_seen[p] = count, -1
                places[count] = p
                count += 1
            if last_seen[first] != document:
                last_seen[first] = document
                documents[numbers[first]] += 1
    return count


@njit(cache=True, nogil=True)
def _find_all(hashes, chosen, wanted, slots, found):
    for w in range(len(wanted)):
        slots[_slot_of(slots, wanted, wanted[w, 0], wanted[w, 1])] = w
    for p in range(len(hashes)):
        if chosen[p]:
            found[p] = slots[_slot_of(slots, wanted, hashes[p, 0], hashes[p, 1])]


@njit(cache=True, nogil=True)
def _removed_all(begins, ends, firsts, offsets, drop, spans, counts):
    s = 0
    for document in range(len(offsets) - 1):
        base, first, stop = offsets[document], firsts[document], firsts[document + 1]
        begun, p = s, first
        while p < stop:
            if not drop[p]:
                p += 1
                continue
            start, before = begins[p], p
            while p < stop and drop[p]:
                p += 1
            end = begins[p] if p < stop else offsets[document + 1]
            if p == stop and before > first:
                start = ends[before - 1]
            if s > begun and spans[s - 1, 1] == start - base:
                spans[s - 1, 1] = end - base
            elif end > start:
                spans[s, 0], spans[s, 1] = start - base, end - base
                s += 1
        counts[document + 1] = s
    return s
