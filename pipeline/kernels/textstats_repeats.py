"""Repetitions within a text: of words, n-grams, lines and paragraphs; the second half of `textstats`.

Letters: W words and L lines of one document, S slots. Words come as hashes: the hash of characters c1 c2 ... is the
polynomial (c1 + 1) * BASE**(n - 1) + (c2 + 1) * BASE**(n - 2) + ... modulo 2**64, so that the hash of any words written
together is a difference of two sums (Karp and Rabin 1987). A table of hashes has at most half of its slots taken.

An n-gram of words is known by the first places of its first and its last n - 1 words, two numbers of 32 bits: exact,
and only n-grams whose halves both came twice are looked up at all.
"""

from typing import NamedTuple

import numpy as np
from numba import njit

from pipeline.kernels.character_kinds import WHITE, character
from pipeline.kernels.hashing import _murmur

BASE = np.uint64(0x9E3779B97F4A7C55)
_SPREAD = np.uint64(0x9E3779B97F4A7C15)
_FREE, _ONE = np.uint64(0), np.uint64(1)
_POWERS = np.array([pow(int(BASE), n, 1 << 64) for n in range(512)], np.uint64)


class Room(NamedTuple):
    """Tables for one document; `firsts` lies beside `slots`."""

    slots: np.ndarray  # uint64 [S]
    firsts: np.ndarray  # int32 [S]
    ids: np.ndarray  # int32 [W]: the first place of the n-gram at each place
    often: np.ndarray  # int32 [W]: how often the n-gram with its first place here
    before: np.ndarray  # int32 [W]: the same of the (n - 1)-grams
    hashes: np.ndarray  # uint64 [L]


def room(words: int, lines: int) -> Room:
    """Return the tables for a document of so many words and lines."""
    slots = 1 << _bits(max(words, lines))
    return Room(
        np.empty(slots, np.uint64),
        np.empty(slots, np.int32),
        np.empty(words, np.int32),
        np.empty(words, np.int32),
        np.empty(words, np.int32),
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
def power(n):
    """Return BASE**n modulo 2**64."""
    if n < len(_POWERS):
        return _POWERS[n]
    result, factor = _ONE, BASE
    while n:
        if n & 1:
            result *= factor
        factor *= factor
        n >>= 1
    return result


@njit(cache=True, nogil=True)
def _find(slots, bits, key):
    """Return (slot, whether it holds the key); else it is the free one where the key would lie. No key is zero."""
    mask = (1 << bits) - 1
    slot = np.int64((key * _SPREAD) >> np.uint64(64 - bits))
    while slots[slot] != _FREE:
        if slots[slot] == key:
            return slot, True
        slot = (slot + 1) & mask
    return slot, False


@njit(cache=True, nogil=True)
def insert(slots, hash_):
    """Put a hash into a table whose length is a power of two and that has room for it."""
    bits = 0
    while (1 << bits) < len(slots):
        bits += 1
    key = hash_ | np.uint64(hash_ == _FREE)
    slots[_find(slots, bits, key)[0]] = key


@njit(cache=True, nogil=True)
def intern(words, count, stop_table, room):
    """Write where each word came first and how often it came; return how many of the stop words came."""
    bits, stop_bits, found = _bits(count), 0, 0
    while (1 << stop_bits) < len(stop_table):
        stop_bits += 1
    room.slots[: 1 << bits] = _FREE
    for t in range(count):
        key = words[t] | np.uint64(words[t] == _FREE)
        slot, known = _find(room.slots, bits, key)
        if not known:
            room.slots[slot], room.firsts[slot], room.often[t] = key, t, 0
            found += _find(stop_table, stop_bits, key)[1]
        first = room.firsts[slot]
        room.ids[t] = first
        room.often[first] += 1
    return found


@njit(cache=True, nogil=True)
def top_grams(ends, words, room, out):
    """Write the characters of the most frequent 2-, 3- and 4-gram times its frequency; `intern` comes before.

    ends int64 [W + 1]. In each round ids and often hold the n-grams, after it the (n + 1)-grams.
    """
    often, before = room.often, room.before
    bits = _bits(words)
    for n in range(2, 5):
        often, before = before, often
        if words < n:
            return
        room.slots[: 1 << bits] = _FREE
        best, place = np.int32(1), np.int32(0)
        for t in range(words - n + 1):
            a, b = room.ids[t], room.ids[t + 1]
            if before[a] < 2 or before[b] < 2:
                room.ids[t], often[t] = t, 1
                continue
            slot, known = _find(room.slots, bits, (np.uint64(a) << np.uint64(32) | np.uint64(b)) + _ONE)
            if not known:
                room.slots[slot] = (np.uint64(a) << np.uint64(32) | np.uint64(b)) + _ONE
                room.firsts[slot], often[t] = t, 0
            first = room.firsts[slot]
            room.ids[t] = first
            often[first] += 1
            if often[first] > best or (often[first] == best and first < place):
                best, place = often[first], first
        out[n - 2] = best * (ends[place + n] - ends[place] + n - 1)


@njit(cache=True, nogil=True)
def repeated_grams(sums, ends, words, room, out):
    """Write the characters in 5- to 10-grams that came before, each read from left to right without overlap."""
    bits = _bits(words)
    for n in range(5, 11):
        room.slots[: 1 << bits] = _FREE
        t, characters = 0, 0
        while t <= words - n:
            length = ends[t + n] - ends[t]
            key = sums[t + n] - sums[t] * power(length)
            key |= np.uint64(key == _FREE)
            slot, known = _find(room.slots, bits, key)
            if known:
                characters += length
                t += n
            else:
                room.slots[slot] = key
                t += 1
        out[n - 5] = characters


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
        slot, known = _find(room.slots, bits, room.hashes[line])
        if known:
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
            hash_ = (hash_ ^ part) * BASE
            hash_ ^= hash_ >> np.uint64(29)
        last = ends[line] >= end or line == count - 1
        if open_ and (last or ends[line + 1] == begins[line + 1]):
            out[0] += 1
            key = hash_ | _ONE
            slot, known = _find(room.slots, bits, key)
            if known:
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
