"""Packing of documents into sequences: which pieces of documents share one.

Best-fit-decreasing (Ding et al., "Fewer Truncations Improve Language Modeling", 2024): the longest piece first, each
into the fullest bin that still has room. Lengths are at most L, so a counting sort orders them and a three-level
bitset over the remaining capacities finds the fullest fitting bin: O(N log_64 L).

Shortest-pack-first (SPFHP: Krell et al., "Efficient Sequence Packing without Cross-contamination", 2021, listing 1):
the longest piece first, each into the emptiest bin that has room and holds fewer than `depth` pieces; what fits into no
bin of longer pieces gets one of its own. It is the published reference.

Letters: N documents, P pieces (a document longer than L is cut into full pieces and a rest), B bins (= sequences),
L tokens a sequence.
"""

from typing import NamedTuple

import numpy as np
from numba import njit

_ONE = np.uint64(1)
_ALL = np.uint64(0xFFFFFFFFFFFFFFFF)
_DE_BRUIJN = np.uint64(0x03F79D71B4CB0A89)


def _de_bruijn_table() -> np.ndarray:
    table = np.zeros(64, np.int64)
    for bit in range(64):
        table[((1 << bit) * int(_DE_BRUIJN) & int(_ALL)) >> 58] = bit
    return table


_LOWEST_BIT = _de_bruijn_table()


class Pieces(NamedTuple):
    """Documents cut to at most L tokens. All [P], in the order of the documents, a document's pieces in theirs."""

    document: np.ndarray
    """int32, the document's index."""
    start: np.ndarray
    """int64, offset of the piece's first token in its document."""
    length: np.ndarray
    """int32, tokens, 1..L."""


class Bins(NamedTuple):
    """Which pieces share a sequence: bin b holds `piece[offsets[b]:offsets[b + 1]]`, in the order of the pieces."""

    offsets: np.ndarray
    """[B + 1] int64."""
    piece: np.ndarray
    """[P] int32."""


def split(lengths_N: np.ndarray, sequence_length: int) -> Pieces:
    """Return the pieces of documents: full ones of L tokens, then the rest. A document of length 0 has none."""
    return Pieces(*_split(np.ascontiguousarray(lengths_N, np.int64), sequence_length))


def best_fit(lengths_P: np.ndarray, sequence_length: int) -> np.ndarray:
    """Return [P] int32, the bin of each piece: best-fit-decreasing, bins numbered as they are opened.

    Among equal lengths the earlier piece goes first; among equally full bins the one filled last is taken.

    Raises:
        ValueError: a length is outside 1..L.
    """
    return _best_fit(_checked(lengths_P, sequence_length), sequence_length)


def _checked(lengths_P: np.ndarray, sequence_length: int) -> np.ndarray:
    if len(lengths_P) and not (lengths_P.min() >= 1 and lengths_P.max() <= sequence_length):
        raise ValueError(f"piece lengths span {lengths_P.min()}..{lengths_P.max()}, expected 1..{sequence_length}")
    return np.ascontiguousarray(lengths_P, np.int32)


def shortest_first(lengths_P: np.ndarray, sequence_length: int, depth: int) -> np.ndarray:
    """Return [P] int32, the bin of each piece: SPFHP with at most `depth` pieces a bin, bins numbered as opened.

    Raises:
        ValueError: a length is outside 1..L.
    """
    return _shortest_first(_checked(lengths_P, sequence_length), sequence_length, depth)


def concatenate(lengths_N: np.ndarray, sequence_length: int) -> tuple[Pieces, np.ndarray]:
    """Return the pieces of documents put end to end and cut every L tokens, and [P] int32, the bin of each."""
    *pieces, bins = _concatenate(np.ascontiguousarray(lengths_N, np.int64), sequence_length)
    return Pieces(*pieces), bins


def group(bin_P: np.ndarray) -> Bins:
    """Return the pieces grouped by bin."""
    return Bins(*_group(bin_P, int(bin_P.max()) + 1 if len(bin_P) else 0))


def bins_in_order(bins: Bins, order_B: np.ndarray) -> Bins:
    """Return the same bins in another order: the i-th is the old `order_B[i]`-th."""
    return Bins(*_reorder(bins.offsets, bins.piece, order_B))


@njit(cache=True, nogil=True)
def _split(lengths, limit):
    total = 0
    for length in lengths:
        total += (length + limit - 1) // limit
    document = np.empty(total, np.int32)
    start = np.empty(total, np.int64)
    piece = np.empty(total, np.int32)
    k = 0
    for i in range(len(lengths)):
        at = 0
        while at < lengths[i]:
            document[k], start[k], piece[k] = i, at, min(lengths[i] - at, limit)
            at += limit
            k += 1
    return document, start, piece


@njit(cache=True, nogil=True, inline="always")
def _lowest(word):
    return _LOWEST_BIT[((word & (~word + _ONE)) * _DE_BRUIJN) >> np.uint64(58)]


@njit(cache=True, nogil=True)
def _find(low, mid, top, at):
    """Return the smallest set index >= at of a three-level bitset, or -1."""
    w = at >> 6
    word = low[w] & (_ALL << np.uint64(at & 63))
    if word:
        return (w << 6) + _lowest(word)
    w += 1
    u = w >> 6
    if u < len(mid):
        word = mid[u] & (_ALL << np.uint64(w & 63))
        if word:
            w = (u << 6) + _lowest(word)
            return (w << 6) + _lowest(low[w])
    u += 1
    for t in range(u >> 6, len(top)):
        word = top[t]
        if t == u >> 6:
            word &= _ALL << np.uint64(u & 63)
        if word:
            u = (t << 6) + _lowest(word)
            w = (u << 6) + _lowest(mid[u])
            return (w << 6) + _lowest(low[w])
    return np.int64(-1)


@njit(cache=True, nogil=True)
def _set(low, mid, top, at):
    low[at >> 6] |= _ONE << np.uint64(at & 63)
    mid[at >> 12] |= _ONE << np.uint64((at >> 6) & 63)
    top[at >> 18] |= _ONE << np.uint64((at >> 12) & 63)


@njit(cache=True, nogil=True)
def _clear(low, mid, top, at):
    low[at >> 6] &= ~(_ONE << np.uint64(at & 63))
    if low[at >> 6] == 0:
        mid[at >> 12] &= ~(_ONE << np.uint64((at >> 6) & 63))
        if mid[at >> 12] == 0:
            top[at >> 18] &= ~(_ONE << np.uint64((at >> 12) & 63))


@njit(cache=True, nogil=True)
def _longest_first(lengths, limit):
    """Return the pieces by decreasing length, equal ones in their order: a counting sort."""
    place = np.zeros(limit + 2, np.int64)
    for length in lengths:
        place[limit - length + 1] += 1
    for i in range(limit + 1):
        place[i + 1] += place[i]
    order = np.empty(len(lengths), np.int32)
    for i in range(len(lengths)):
        at = limit - lengths[i]
        order[place[at]] = i
        place[at] += 1
    return order


@njit(cache=True, nogil=True)
def _best_fit(lengths, limit):
    """Place runs of equal pieces: the bin that takes the first is the tightest for the next as long as it has room."""
    low = np.zeros((limit >> 6) + 2, np.uint64)
    mid = np.zeros((limit >> 12) + 2, np.uint64)
    top = np.zeros((limit >> 18) + 2, np.uint64)
    head = np.full(limit + 1, -1, np.int32)  # by remaining capacity: a stack of bins
    below = np.empty(len(lengths), np.int32)
    bins = np.empty(len(lengths), np.int32)
    order = _longest_first(lengths, limit)
    opened, i = 0, 0
    while i < len(order):
        length = np.int64(lengths[order[i]])
        room = _find(low, mid, top, length)
        while i < len(order) and lengths[order[i]] == length:
            if room >= 0 and head[room] < 0:
                _clear(low, mid, top, room)
                room = _find(low, mid, top, room)
            if room < 0:
                left, b = np.int64(limit), opened
                opened += 1
            else:
                left, b = room, head[room]
                head[room] = below[b]
            while left >= length and i < len(order) and lengths[order[i]] == length:
                bins[order[i]] = b
                left -= length
                i += 1
            if left > 0:
                if head[left] < 0:
                    _set(low, mid, top, left)
                below[b] = head[left]
                head[left] = b
        if room >= 0 and head[room] < 0:
            _clear(low, mid, top, room)
    return bins


@njit(cache=True, nogil=True)
def _shortest_first(lengths, limit, depth):
    # The bitset is over what is filled, not over what is left: its smallest member is the emptiest bin.
    low = np.zeros((limit >> 6) + 2, np.uint64)
    mid = np.zeros((limit >> 12) + 2, np.uint64)
    top = np.zeros((limit >> 18) + 2, np.uint64)
    head = np.full(limit + 1, -1, np.int32)  # by tokens filled: a stack of bins that may take more
    below = np.empty(len(lengths), np.int32)
    pieces = np.zeros(len(lengths), np.int32)
    bins = np.empty(len(lengths), np.int32)
    order = _longest_first(lengths, limit)
    opened, i = 0, 0
    while i < len(order):
        length, run = np.int64(lengths[order[i]]), opened
        while i < len(order) and lengths[order[i]] == length:
            filled = _find(low, mid, top, np.int64(0))
            if filled < 0 or filled + length > limit:
                # What is left of this length is opened at once: none of it goes on top of another.
                bins[order[i]] = opened
                opened += 1
            else:
                b = head[filled]
                head[filled] = below[b]
                if head[filled] < 0:
                    _clear(low, mid, top, filled)
                bins[order[i]] = b
                _stack(low, mid, top, head, below, pieces, b, filled + length, limit, depth)
            i += 1
        for b in range(run, opened):
            _stack(low, mid, top, head, below, pieces, b, length, limit, depth)
    return bins


@njit(cache=True, nogil=True)
def _stack(low, mid, top, head, below, pieces, b, filled, limit, depth):
    """Count one more piece of bin b; if it may take another, put it on the stack of what is filled alike."""
    pieces[b] += 1
    if pieces[b] < depth and filled < limit:
        if head[filled] < 0:
            _set(low, mid, top, filled)
        below[b] = head[filled]
        head[filled] = b


@njit(cache=True, nogil=True)
def _concatenate(lengths, limit):
    total = 0
    at = np.int64(0)
    for length in lengths:
        if length:
            total += (at % limit + length + limit - 1) // limit
        at += length
    document = np.empty(total, np.int32)
    start = np.empty(total, np.int64)
    piece = np.empty(total, np.int32)
    bins = np.empty(total, np.int32)
    k, at = 0, np.int64(0)
    for i in range(len(lengths)):
        inside = 0
        while inside < lengths[i]:
            size = min(lengths[i] - inside, limit - at % limit)
            document[k], start[k], piece[k], bins[k] = i, inside, size, at // limit
            inside += size
            at += size
            k += 1
    return document, start, piece, bins


@njit(cache=True, nogil=True)
def _group(bins, count):
    offsets = np.zeros(count + 1, np.int64)
    for b in bins:
        offsets[b + 1] += 1
    for b in range(count):
        offsets[b + 1] += offsets[b]
    place = offsets[:-1].copy()
    pieces = np.empty(len(bins), np.int32)
    for i in range(len(bins)):
        pieces[place[bins[i]]] = i
        place[bins[i]] += 1
    return offsets, pieces


@njit(cache=True, nogil=True)
def _reorder(offsets, pieces, order):
    out_offsets = np.zeros(len(order) + 1, np.int64)
    out = np.empty(len(pieces), np.int32)
    at = 0
    for i in range(len(order)):
        for k in range(offsets[order[i]], offsets[order[i] + 1]):
            out[at] = pieces[k]
            at += 1
        out_offsets[i + 1] = at
    return out_offsets, out
