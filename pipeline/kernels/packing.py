"""Packing of documents into sequences: best-fit-decreasing, and the layout of the packed rows.

Best-fit-decreasing (Ding et al., "Fewer Truncations Improve Language Modeling", 2024): the longest piece first, each
into the fullest bin that still has room. Lengths are at most L, so a counting sort orders them and a three-level
bitset over the remaining capacities finds the fullest fitting bin: O(N log_64 L).

Letters: N documents, P pieces (a document longer than L is cut into full pieces and a rest), B bins (= sequences),
L tokens a sequence, S segments (pieces and paddings), T tokens.
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
    lengths = np.ascontiguousarray(lengths_P, np.int32)
    if len(lengths) and not (lengths.min() >= 1 and lengths.max() <= sequence_length):
        raise ValueError(f"piece lengths span {lengths.min()}..{lengths.max()}, expected 1..{sequence_length}")
    return _best_fit(lengths, sequence_length)


def group(bin_P: np.ndarray) -> Bins:
    """Return the pieces grouped by bin."""
    return Bins(*_group(bin_P, int(bin_P.max()) + 1 if len(bin_P) else 0))


def bins_in_order(bins: Bins, order_B: np.ndarray) -> Bins:
    """Return the same bins in another order: the i-th is the old `order_B[i]`-th."""
    return Bins(*_reorder(bins.offsets, bins.piece, order_B))


class Rows(NamedTuple):
    """Packed sequences: rows of tokens, and the segments of each row from left to right, padding last."""

    tokens: np.ndarray
    """[B, L], the dtype asked for."""
    offsets: np.ndarray
    """[B + 1] int64 into the segments."""
    end: np.ndarray
    """[S] uint32, end of the segment within its row."""
    piece: np.ndarray
    """[S] int64, the piece that fills the segment; -1 for padding."""


def lay_out(
    tokens_T: np.ndarray, first_N: np.ndarray, plain_N: np.ndarray, pieces: Pieces, bins: Bins, shape: "Shape"
) -> Rows:
    """Return the rows of the bins, copied from a flat array of tokens.

    Args:
        tokens_T: tokens of all documents, end of one to start of the next in any order.
        first_N: int64, where each document starts in `tokens_T`.
        plain_N: int64, tokens of each document in `tokens_T`; a piece that reaches further ends in EOS.
        pieces: pieces of these documents (their lengths count the EOS).
        bins: the rows, in the order wanted.
        shape: sequence length, dtype and the ids of EOS and padding.
    """
    rows = np.full((len(bins.offsets) - 1, shape.sequence_length), shape.pad_id, shape.dtype)
    parts = _lay_out(tokens_T, first_N, plain_N, *pieces, *bins, rows, shape.dtype.type(shape.eos_id))
    return Rows(rows, *parts)


class Shape(NamedTuple):
    """How packed rows look."""

    sequence_length: int
    dtype: np.dtype
    eos_id: int
    pad_id: int


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
    low = np.zeros((limit >> 6) + 2, np.uint64)
    mid = np.zeros((limit >> 12) + 2, np.uint64)
    top = np.zeros((limit >> 18) + 2, np.uint64)
    head = np.full(limit + 1, -1, np.int32)  # by remaining capacity: a stack of bins
    below = np.empty(len(lengths), np.int32)
    bins = np.empty(len(lengths), np.int32)
    opened = 0
    for i in _longest_first(lengths, limit):
        room = _find(low, mid, top, np.int64(lengths[i]))
        if room < 0:
            room, b = np.int64(limit), opened
            opened += 1
        else:
            b = head[room]
            head[room] = below[b]
            if head[room] < 0:
                _clear(low, mid, top, room)
        bins[i] = b
        left = room - lengths[i]
        if left > 0:
            if head[left] < 0:
                _set(low, mid, top, left)
            below[b] = head[left]
            head[left] = b
    return bins


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


@njit(cache=True, nogil=True)
def _lay_out(tokens, first, plain, document, start, length, bin_offsets, bin_pieces, rows, eos):
    count = len(rows)
    most = len(bin_pieces) + count  # a row has at most one padding
    offsets = np.zeros(count + 1, np.int64)
    end = np.empty(most, np.uint32)
    piece = np.empty(most, np.int64)
    s = 0
    for b in range(count):
        at = 0
        for k in range(bin_offsets[b], bin_offsets[b + 1]):
            p = bin_pieces[k]
            d = document[p]
            copied = min(np.int64(length[p]), plain[d] - start[p])
            source = first[d] + start[p]
            for i in range(copied):
                rows[b, at + i] = tokens[source + i]
            at += copied
            if copied < length[p]:
                rows[b, at] = eos
                at += 1
            end[s], piece[s] = at, p
            s += 1
        if at < rows.shape[1]:
            end[s], piece[s] = rows.shape[1], -1
            s += 1
        offsets[b + 1] = s
    return offsets, end[:s], piece[:s]
