"""Further merges of a byte-pair encoding whose tokens may span words: the second stage of SuperBPE.

Letters: T tokens of all pieces, P pieces, V tokens of the vocabulary, W of the grown one, B bytes of its tokens, M
merges. Piece p is tokens[ends[p]:ends[p + 1]]; token v is data[offsets[v]:offsets[v + 1]].

The rule (Liu et al. 2025, "SuperBPE: Space Travel for Language Models", section 2 and appendix A.1): the pair of
neighbours in a piece that comes most often becomes a token, again and again; of pairs that come equally often it is
the one with the smaller ids. A pair is left alone if its token would have more than so many words (parts between ASCII
white space) or a colon with a space behind it. Neighbours are counted where they overlap as well: three equal tokens in
a row are two pairs, and are merged from the left.

Memory: 72 bytes a token of the text.
"""

import heapq

import numpy as np
from numba import njit, types
from numba.typed import Dict

from pipeline.kernels.hashing import check_offsets

_COLON, _SPACE = 58, 32


def learn(
    tokens_T: np.ndarray,
    ends: np.ndarray,
    data: np.ndarray,
    offsets: np.ndarray,
    banned_V: np.ndarray,
    wanted: int,
    most_words: int,
    least: int = 2,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return (merges int64 [M, 3], data uint8, offsets int64 [W + 1]): left, right and made id; the vocabulary grown.

    It ends when `wanted` tokens are new, or no pair that comes `least` times may be merged. A pair whose bytes are a
    token already makes that one, so M may be more than W - V. A pair that would make a banned token is left alone.

    tokens int32 [T], ids below V; ends int64 [P + 1]; data uint8 [B]; offsets int64 [V + 1]; banned bool [V].

    Raises:
        ValueError: ends or offsets fall or leave their data, or an id is not of the vocabulary.
    """
    ends, offsets = np.ascontiguousarray(ends, np.int64), np.ascontiguousarray(offsets, np.int64)
    check_offsets(tokens_T, ends)
    check_offsets(data, offsets)
    if len(tokens_T) and not 0 <= tokens_T.min() <= tokens_T.max() < len(offsets) - 1:
        raise ValueError(f"token ids must lie in 0..{len(offsets) - 2}")
    tokens, bounds = np.array(tokens_T, np.int64), np.zeros(len(offsets) + wanted, np.int64)
    bounds[: len(offsets)] = offsets
    limits = (wanted, most_words, least)
    merges, grown, size = _learn(tokens, ends, np.array(data), bounds, np.array(banned_V, bool), *limits)
    return np.array(merges, np.int64).reshape(-1, 3), grown[: bounds[size]].copy(), bounds[: size + 1].copy()


@njit(cache=True, nogil=True)
def _learn(tokens, ends, data, bounds, banned, wanted, most_words, least):
    after, before = _links(len(tokens), ends)
    pairs = Dict.empty(types.int64, types.int64)
    counts, first, last, stamp = [np.int64(0)], [np.int64(0)], [np.int64(0)], [np.int64(0)]
    where, later = np.empty(3 * len(tokens) + 1, np.int64), np.empty(3 * len(tokens) + 1, np.int64)
    used = np.int64(0)
    for at in range(len(tokens)):
        if after[at] >= 0:
            key = _key(tokens[at], tokens[after[at]])
            used = _note(pairs, counts, first, last, stamp, where, later, used, key, at)
    heap = [(-counts[slot], key) for key, slot in pairs.items() if counts[slot] >= least]
    heapq.heapify(heap)
    known, size, turn = _index(data, bounds, len(banned)), np.int64(len(banned)), 0
    merges, goal = [(np.int64(0), np.int64(0), np.int64(0)) for _ in range(0)], size + wanted
    while size < goal and len(heap):
        negative, key = heapq.heappop(heap)
        slot = pairs[key]
        if counts[slot] != -negative:  # an entry grown old: its pair has come or gone since
            if least <= counts[slot] < -negative:
                heapq.heappush(heap, (-counts[slot], key))
            continue
        left, right = key >> 32, key & 0xFFFFFFFF
        joined = _joined(data, bounds, left, right)
        if _words(joined) > most_words or _asks(data, bounds, left, right):
            continue
        made, hashed = _find(known, data, bounds, joined)
        if made >= 0 and made < len(banned) and banned[made]:
            continue
        if made < 0:
            made = size
            data = _grown(data, bounds[size], joined)
            known[hashed] = made
            size += 1
            bounds[size] = bounds[size - 1] + len(joined)
        merges.append((left, right, made))
        turn += 1
        fresh = [np.int64(0) for _ in range(0)]
        for at in _places(first[slot], where, later, left == right):
            behind = after[at]
            if tokens[at] != left or behind < 0 or tokens[behind] != right:
                continue
            prior, beyond = before[at], after[behind]
            counts[slot] -= 1
            tokens[at], tokens[behind], after[at] = made, -1, beyond
            if prior >= 0:
                counts[pairs[_key(tokens[prior], left)]] -= 1
                new = _key(tokens[prior], made)
                used = _note(pairs, counts, first, last, stamp, where, later, used, new, prior)
                _freshen(pairs[new], stamp, turn, fresh, new)
            if beyond >= 0:
                before[beyond] = at
                counts[pairs[_key(right, tokens[beyond])]] -= 1
                new = _key(made, tokens[beyond])
                used = _note(pairs, counts, first, last, stamp, where, later, used, new, at)
                _freshen(pairs[new], stamp, turn, fresh, new)
        for new in fresh:
            if counts[pairs[new]] >= least:
                heapq.heappush(heap, (-counts[pairs[new]], new))
    return merges, data, size


@njit(cache=True, nogil=True)
def _key(left, right):
    return np.int64(left) << 32 | np.int64(right)


@njit(cache=True, nogil=True)
def _links(size, ends):
    """Return the place behind and the place before every token in its piece; -1 where there is none."""
    after, before = np.full(size, -1, np.int64), np.full(size, -1, np.int64)
    for piece in range(len(ends) - 1):
        for at in range(ends[piece] + 1, ends[piece + 1]):
            after[at - 1], before[at] = at, at - 1
    return after, before


@njit(cache=True, nogil=True)
def _note(pairs, counts, first, last, stamp, where, later, used, key, at):
    """Add the place `at` to a pair's list; return how many places all lists hold."""
    where[used], later[used] = at, -1
    if key in pairs:
        slot = pairs[key]
        later[last[slot]] = used
        counts[slot] += 1
        last[slot] = used
    else:
        pairs[key] = len(counts)
        counts.append(1)
        first.append(used)
        last.append(used)
        stamp.append(0)
    return used + 1


@njit(cache=True, nogil=True)
def _freshen(slot, stamp, turn, fresh, key):
    """Put a pair among those that came up in this turn, once."""
    if stamp[slot] != turn:
        stamp[slot] = turn
        fresh.append(key)


@njit(cache=True, nogil=True)
def _places(node, where, later, same):
    """Return the places of a pair's list; in the order of the text where it is of two equal tokens."""
    places = [where[node]]
    while later[node] >= 0:
        node = later[node]
        places.append(where[node])
        at = len(places) - 1
        while same and at > 0 and places[at - 1] > places[at]:  # rare: only a token made twice is out of order
            places[at - 1], places[at] = places[at], places[at - 1]
            at -= 1
    return places


@njit(cache=True, nogil=True)
def _joined(data, bounds, left, right):
    """Return the bytes of two tokens."""
    joined = np.empty(bounds[left + 1] - bounds[left] + bounds[right + 1] - bounds[right], np.uint8)
    size = 0
    for token in (left, right):
        for at in range(bounds[token], bounds[token + 1]):
            joined[size] = data[at]
            size += 1
    return joined


@njit(cache=True, nogil=True)
def _words(text):
    """Return the number of parts between ASCII white space."""
    words, inside = 0, False
    for byte in text:
        blank = byte == _SPACE or 9 <= byte <= 13
        words += not blank and not inside
        inside = not blank
    return words


@njit(cache=True, nogil=True)
def _asks(data, bounds, left, right):
    """Tell whether a colon would get a space behind it."""
    return data[bounds[left + 1] - 1] == _COLON and data[bounds[right]] == _SPACE


@njit(cache=True, nogil=True)
def _index(data, bounds, size):
    """Return the id of every token by the hash of its bytes; a hash that is taken moves on by one."""
    known = Dict.empty(types.int64, types.int64)
    for token in range(size):
        made, hashed = _find(known, data, bounds, data[bounds[token] : bounds[token + 1]])
        if made < 0:
            known[hashed] = token
    return known


@njit(cache=True, nogil=True)
def _find(known, data, bounds, text):
    """Return (the id of a text's token, its hash); -1 and the hash to put it under where there is none."""
    hashed = np.int64(-3750763034362895579)  # FNV-1a, its numbers read as signed ones
    for byte in text:
        hashed = (hashed ^ np.int64(byte)) * np.int64(0x100000001B3)
    while hashed in known:
        token = known[hashed]
        if _equal(data, bounds[token], bounds[token + 1], text):
            return token, hashed
        hashed += 1
    return np.int64(-1), hashed


@njit(cache=True, nogil=True)
def _equal(data, start, stop, text):
    if stop - start != len(text):
        return False
    same = True
    for at in range(len(text)):
        same &= data[start + at] == text[at]
    return same


@njit(cache=True, nogil=True)
def _grown(data, end, text):
    """Return `data` with `text` at `end`; twice as long where it has no room."""
    if end + len(text) > len(data):
        longer = np.zeros(2 * (end + len(text)), np.uint8)
        for at in range(end):
            longer[at] = data[at]
        data = longer
    for at in range(len(text)):
        data[end + at] = text[at]
    return data
