"""Repetitions within a text: of words, n-grams, lines and paragraphs; the second half of `textstats`.

Letters: W words and L lines of one document, J bytes of its words written together, S slots. Word t is
joined[at[t]:at[t + 1]], and ends[t] the characters of all words before it; a few bytes behind the last word may be
read. A table of hashes has at most half of its slots taken.

An n-gram of words is known by the first places of its first and its last n - 1 words, two numbers of 32 bits: exact,
and only n-grams whose halves both came twice are looked up at all.
"""

from typing import NamedTuple

import numpy as np
from numba import njit

from pipeline.kernels.character_kinds import WHITE, character
from pipeline.kernels.hashing import _load64, _murmur
from pipeline.kernels.simd import folded_product

_BASE = np.uint64(0x9E3779B97F4A7C55)
_SPREAD = np.uint64(0x9E3779B97F4A7C15)
PREFIX = 14
_FEW = 512
_POWERS = np.array([pow(int(_BASE), n, 1 << 64) for n in range(_FEW)], np.uint64)
_FREE, _ONE, _EIGHT, _LONG = (np.uint64(n) for n in (0, 1, 8, 16))


class Room(NamedTuple):
    """Tables for one document; `firsts` lies beside `slots`."""

    slots: np.ndarray  # uint64 [S]
    firsts: np.ndarray  # int32 [S]
    seen: np.ndarray  # uint8 [2 * S]
    places: np.ndarray  # int32 [W]: where the n-grams are that are looked at
    ids: np.ndarray  # int32 [W]: the first place of each of them
    often: np.ndarray  # int32 [W]: how often the n-gram came whose first place is here
    keys: np.ndarray  # uint64 [W]
    sums: np.ndarray  # uint64 [J + 1]
    hashes: np.ndarray  # uint64 [L]


def room(size: int, words: int, lines: int) -> Room:
    """Return the tables for a document of so many bytes, words and lines."""
    slots = 1 << _bits(max(words, lines))
    return Room(
        np.empty(slots, np.uint64),
        np.empty(slots, np.int32),
        np.empty(2 * slots, np.uint8),
        np.empty(words, np.int32),
        np.empty(words, np.int32),
        np.empty(words, np.int32),
        np.empty(words, np.uint64),
        np.empty(size + 1, np.uint64),
        np.empty(lines, np.uint64),
    )


@njit(cache=True, nogil=True)
def _bits(entries):
    """Return the bits of a slot's number, so that half of the slots hold the entries."""
    bits = 4
    while (1 << bits) < 2 * entries:
        bits += 1
    return bits


@njit(cache=True, nogil=True)
def word_hash(joined, begin, end):
    """Return a hash of joined[begin:end] that is never zero: of the bytes themselves if they are eight or less.

    16 bytes from `begin` on are read. Without a branch up to there: how long the next word is cannot be predicted.
    """
    size = np.uint64(end - begin)
    if size > _LONG:
        return _murmur(joined, begin, end - begin, np.uint64(0))[0] | _ONE
    low, high = _load64(joined, np.uint64(begin)), _load64(joined, np.uint64(begin) + _EIGHT)
    low <<= _EIGHT * (_EIGHT - min(size, _EIGHT))
    high = high << _EIGHT * (_LONG - size) if size > _EIGHT else _FREE
    key = (low ^ low >> np.uint64(32)) * _BASE + folded_product(high, _SPREAD) + size
    return key | np.uint64(key == _FREE)


@njit(cache=True, nogil=True)
def _find(slots, bits, key):
    """Return the slot that holds the key; else the free one where it would lie. No key is zero."""
    mask = np.uint64((1 << bits) - 1)
    slot = (key * _SPREAD) >> np.uint64(64 - bits)
    while slots[slot] != key and slots[slot] != _FREE:
        slot = (slot + _ONE) & mask
    return slot


@njit(cache=True, nogil=True)
def intern(joined, at, count, stop_keys, room):
    """Write where each word came first and how often it came; return how many of the stop words came."""
    bits = _bits(count)
    slots, ids, places = room.slots, room.ids, room.places
    slots[: 1 << bits] = _FREE
    for t in range(count):
        key = word_hash(joined, at[t], at[t + 1])
        ids[t], places[t] = _first(room, _find(slots, bits, key), key, t), t
    found = np.int64(0)
    for key in stop_keys:
        found += slots[_find(slots, bits, key)] == key
    return found


@njit(cache=True, nogil=True)
def _first(room, slot, key, t):
    """Count what the key stands for, which is at place t; return its first place. Known or new, without a branch."""
    slots, firsts, often = room.slots, room.firsts, room.often
    first = np.int64(firsts[slot]) if slots[slot] == key else t
    often[np.uint64(t)] = 0
    slots[slot], firsts[slot] = key, first
    often[np.uint64(first)] += 1
    return first


@njit(cache=True, nogil=True)
def top_grams(ends, words, room, out):
    """Write the characters of the most frequent 2-, 3- and 4-gram times its frequency; `intern` comes before.

    ends int64 [W + 1]. Each round looks at the places where the (n - 1)-gram and the one after it both came twice; all
    other n-grams came once.
    """
    slots, ids, often, places = room.slots, room.ids, room.often, room.places
    count = words
    for n in range(2, 5):
        if words < n:
            return
        count = _pairs(ids, often, places, count, room.keys)
        bits = _bits(count)
        slots[: 1 << bits] = _FREE
        best, place = np.int32(1), np.int32(0)
        for j in range(count):
            key = room.keys[j]
            first = _first(room, _find(slots, bits, key), key, np.int64(places[j]))
            ids[j] = first
            if often[first] > best or (often[first] == best and first < place):
                best, place = often[first], first
        out[n - 2] = best * (ends[place + n] - ends[place] + n - 1)


@njit(cache=True, nogil=True)
def _pairs(ids, often, places, count, keys):
    """Write the places at which two n-grams that came twice follow each other, and both ids as a key; return how many.

    Without a branch: which places these are cannot be predicted.
    """
    kept = np.int64(0)
    for j in range(count - 1):
        a, b = ids[j], ids[j + 1]
        key = (np.uint64(a) << np.uint64(32) | np.uint64(b)) + _ONE
        follows = (places[j + 1] == places[j] + 1) & (often[a] > 1) & (often[b] > 1)
        keys[kept], places[kept] = key, places[j]
        kept += np.int64(follows)
    return kept


@njit(cache=True, nogil=True)
def repeated_grams(joined, at, ends, words, room, out):
    """Write the characters in 5- to 10-grams that came before, each read from left to right without overlap.

    joined holds the words written together, word t from at[t]. An n-gram can have come before only where its
    first PREFIX bytes did, if it has so many; few have, and only those are looked up.
    """
    if words < 5:
        return
    count = _candidates(joined, at, words, room)
    places, slots = room.places, room.slots
    bits, sums = _bits(count), _sums(joined, at[words], room.sums)
    for n in range(5, 11):
        slots[: 1 << bits] = _FREE
        after, characters = 0, 0
        for j in range(count):
            t = places[j]
            if t < after or t > words - n:
                continue
            begin, end = at[t], at[t + n]
            key = sums[end] - sums[begin] * _power(end - begin)
            key |= np.uint64(key == _FREE)
            slot = _find(slots, bits, key)
            if slots[slot] == key:
                characters += ends[t + n] - ends[t]
                after = t + n
            slots[slot] = key
        out[n - 5] = characters


@njit(cache=True, nogil=True)
def _sums(joined, end, sums):
    """Write the polynomial hash of joined[:j] for every j; that of joined[i:j] is sums[j] - sums[i] * BASE**(j - i)."""
    hash_ = _FREE
    sums[0] = hash_
    for j in range(end):
        hash_ = hash_ * _BASE + np.uint64(joined[j]) + _ONE
        sums[j + 1] = hash_
    return sums


@njit(cache=True, nogil=True)
def _power(n):
    """Return BASE**n modulo 2**64."""
    if n < _FEW:
        return _POWERS[np.uint64(n)]
    result, factor = _ONE, _BASE
    while n:
        if n & 1:
            result *= factor
        factor *= factor
        n >>= 1
    return result


@njit(cache=True, nogil=True)
def _candidates(joined, at, words, room):
    """Write the places whose first bytes came twice or whose 5-gram has fewer; return how many.

    A byte map of hashes says how often: too often for some, never too seldom.
    """
    bits = _bits(words) + 1
    seen, places, spread = room.seen, room.places, np.uint64(64 - bits)
    seen[: 1 << bits] = 0
    for t in range(words):
        key = (_prefix(joined, at[t]) * _SPREAD) >> spread
        room.keys[t] = key
        seen[key] = seen[key] << np.uint8(1) | np.uint8(1)
    count = 0
    for t in range(words - 4):
        places[count] = t
        count += np.int64((seen[room.keys[t]] > 1) | (at[t + 5] - at[t] < PREFIX))
    return count


@njit(cache=True, nogil=True)
def _prefix(joined, at):
    """Return a hash of joined[at : at + PREFIX]."""
    at = np.uint64(at)
    low, high = _load64(joined, at), _load64(joined, at + np.uint64(PREFIX - 8))
    return (low ^ (low >> np.uint64(29))) * _BASE + high


@njit(cache=True, nogil=True)
def _line_hash(data, begin, end):
    return _murmur(data, begin, end - begin, np.uint64(0))[0] | _ONE


@njit(cache=True, nogil=True)
def lines(data, begins, ends, characters, full, count, room, runs, full_repeated):
    """Write runs of "\\n" split: (parts, those that came before, their characters); and of these, what is not blank."""
    bits = _bits(count)
    room.slots[: 1 << bits] = _FREE
    parts = 0
    for line in range(count):
        room.hashes[line] = _line_hash(data, begins[line], ends[line])
        if ends[line] == begins[line]:
            continue
        parts += 1
        slot = _find(room.slots, bits, room.hashes[line])
        if room.slots[slot] == room.hashes[line]:
            runs[1] += 1
            runs[2] += characters[line]
            full_repeated[0] += characters[line] * full[line]
        else:
            room.slots[slot] = room.hashes[line]
    # A newline at the beginning or the end of the text has an empty part beside it.
    empty = 0
    if count > 1:
        empty = (ends[0] == begins[0]) + (ends[count - 1] == begins[count - 1])
        if parts == 0:
            empty = 2
    runs[0] = parts + empty
    runs[1] += empty == 2


@njit(cache=True, nogil=True)
def paragraphs(data, begin, end, kinds, begins, ends, count, room, out):
    """Write (paragraphs, those that came before, their characters) of a text, the white space around it left out."""
    begin, end = _stripped(data, begin, end, kinds)
    bits = _bits(count)
    room.slots[: 1 << bits] = _FREE
    line = 0
    while line < count - 1 and ends[line] < begin:
        line += 1
    hash_, start, open_ = _FREE, begin, False
    while True:
        a, b = max(begins[line], begin), min(ends[line], end)
        if a < b:
            if not open_:
                hash_, start, open_ = _FREE, a, True
            whole = a == begins[line] and b == ends[line]
            part = room.hashes[line] if whole else _line_hash(data, a, b)
            hash_ = (hash_ ^ part) * _BASE
            hash_ ^= hash_ >> np.uint64(29)
        last = ends[line] >= end or line == count - 1
        if open_ and (last or ends[line + 1] == begins[line + 1]):
            out[0] += 1
            key = hash_ | _ONE
            slot = _find(room.slots, bits, key)
            if room.slots[slot] == key:
                out[1] += 1
                out[2] += _length(data, start, b)
            else:
                room.slots[slot] = key
            open_ = False
        if last:
            break
        line += 1
    out[0] = max(out[0], 1)


@njit(cache=True, nogil=True)
def _stripped(data, begin, end, kinds):
    while begin < end:
        code, width = character(data, begin)
        if kinds[code] & WHITE == 0:
            break
        begin += width
    while end > begin:
        start = end - 1
        while data[start] & 0xC0 == 0x80:
            start -= 1
        if kinds[character(data, start)[0]] & WHITE == 0:
            break
        end = start
    return begin, end


@njit(cache=True, nogil=True)
def _length(data, begin, end):
    """Return the characters of data[begin:end]."""
    length = 0
    for i in range(begin, end):
        length += data[i] & 0xC0 != 0x80
    return length
