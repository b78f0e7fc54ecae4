"""Bags of hashed words: which words a document has, and how often.

A word is a run of characters that match `\\w`, in lower case, by the frozen tables of `unicode_table`; in scripts
without spaces each character is a word. Words that begin with a digit are left out: dates and amounts tell no subject.
A word is known by its bucket, the upper `BITS` bits of its hash (Weinberger et al. 2009, "Feature hashing for large
scale multitask learning"); two words may share one.

Letters: N documents, B bytes in all of them, F different buckets of all documents, V buckets there are, W words wanted.
Document i is data[offsets[i]:offsets[i + 1]] and has the buckets bags.offsets[i] to bags.offsets[i + 1].
"""

from typing import NamedTuple

import numpy as np
from numba import njit

from pipeline.kernels import unicode_table
from pipeline.kernels.hashing import check_offsets, mix64, read_only

BITS = 18
BUCKETS = 1 << BITS

_SHIFT = np.uint64(64 - BITS)
_PRIME = np.uint64(0x9E3779B97F4A7C15)
_TEXT, _BYTE = np.uint64((1 << 48) - 1), np.uint64(0xFF)
_LENGTH_AT, _LENGTH = np.uint64(unicode_table.LENGTH_AT), np.uint64(7)
_SPACE, _U1, _U8 = np.uint64(0x20), np.uint64(1), np.uint64(8)
_ROOM = 64
"""Bytes of a word that are written out; a longer one is told by its beginning."""


class Bags(NamedTuple):
    """The different words of documents: bucket and count int32 [F], offsets int64 [N + 1]."""

    buckets: np.ndarray
    counts: np.ndarray
    offsets: np.ndarray


class Spellings(NamedTuple):
    """Words and how often each occurs: bucket int32 [W], count int64 [W], text uint8, its offsets int64 [W + 1]."""

    buckets: np.ndarray
    counts: np.ndarray
    data: np.ndarray
    offsets: np.ndarray


def bags(data: np.ndarray, offsets: np.ndarray) -> Bags:
    """Return the words of each document, in the order in which they first come; a text without words has none.

    data uint8 [B] is valid UTF-8, offsets int64 [N + 1].

    Raises:
        ValueError: the offsets fall or leave the data.
    """
    offsets = np.ascontiguousarray(offsets, np.int64)
    check_offsets(data, offsets)
    return Bags(*_bags(read_only(np.ascontiguousarray(data)), read_only(offsets), unicode_table.table()))


def spellings(data: np.ndarray, offsets: np.ndarray, wanted_V: np.ndarray) -> Spellings:
    """Return the words of all documents that lie in a wanted bucket, each once, in the order in which they first come.

    data uint8 [B] is valid UTF-8, offsets int64 [N + 1], wanted bool [V]. A word of more than 64 bytes is cut off.

    Raises:
        ValueError: the offsets fall or leave the data, or `wanted` has not a place for each bucket.
    """
    offsets = np.ascontiguousarray(offsets, np.int64)
    check_offsets(data, offsets)
    if wanted_V.shape != (BUCKETS,):
        raise ValueError(f"wanted must tell of {BUCKETS:,} buckets; got shape {wanted_V.shape}")
    data = read_only(np.ascontiguousarray(data))
    return Spellings(*_spellings(data, read_only(offsets), unicode_table.table(), wanted_V))


@njit(cache=True, nogil=True)
def _character(data, at, stop):
    """Return (code point, byte behind it) of the character at a byte; one that the text ends inside of ends there."""
    byte = np.int64(data[at])
    if byte < 0x80:
        return byte, at + 1
    width = 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4
    code = byte & (0x7F >> width)
    for k in range(1, width):
        code = code << 6 | (np.int64(data[at + k]) & 0x3F if at + k < stop else 0)
    return min(code, 0x10FFFF), min(at + width, stop)


@njit(cache=True, nogil=True)
def next_word(data, at, stop, table):
    """Return (hash, first byte, byte behind) of the next word that counts; both bytes are `stop` if there is none."""
    while at < stop:
        code, behind = _character(data, at, stop)
        entry = table[code]
        if entry & _BYTE != _SPACE:
            start, key = at, np.uint64(0)
            while entry & _BYTE != _SPACE:
                key = (key ^ (entry & _TEXT)) * _PRIME
                at = behind
                if at >= stop:
                    break
                code, behind = _character(data, at, stop)
                entry = table[code]
            if not 0x30 <= data[start] <= 0x39:
                return mix64(key), start, at
        elif (entry >> _LENGTH_AT) & _LENGTH > _U1:
            return mix64((entry & _TEXT) * _PRIME), at, behind
        else:
            at = behind
    return np.uint64(0), stop, stop


@njit(cache=True, nogil=True)
def _longer(array):
    more = np.empty(2 * len(array), array.dtype)
    more[: len(array)] = array
    return more


@njit(cache=True, nogil=True)
def _bags(data, offsets, table):
    buckets, counts = np.empty(1 << 14, np.int32), np.empty(1 << 14, np.int32)
    out_offsets = np.zeros(len(offsets), np.int64)
    places_V = np.full(BUCKETS, -1, np.int64)  # where a bucket was written last; before this document, it is new here
    n = 0
    for d in range(len(offsets) - 1):
        first, at, stop = n, offsets[d], offsets[d + 1]
        while True:
            key, start, at = next_word(data, at, stop, table)
            if start == at:
                break
            bucket = np.int64(key >> _SHIFT)
            place = places_V[bucket]
            if place >= first:
                counts[place] += 1
                continue
            if n == len(buckets):
                buckets, counts = _longer(buckets), _longer(counts)
            buckets[n], counts[n], places_V[bucket] = bucket, 1, n
            n += 1
        out_offsets[d + 1] = n
    return buckets[:n].copy(), counts[:n].copy(), out_offsets


@njit(cache=True, nogil=True)
def _spell(data, at, stop, table, out, n):
    """Write a word in lower case behind `n` bytes of `out`; return the bytes there are then."""
    end = n + _ROOM
    while at < stop:
        code, at = _character(data, at, stop)
        entry = table[code]
        length = np.int64((entry >> _LENGTH_AT) & _LENGTH)
        text, first = entry & _TEXT, np.int64(0)
        if text & _BYTE == _SPACE:  # a character alone stands between spaces
            text, length = text >> _U8, length - 2
        if n + length > end:
            break
        for _ in range(first, length):
            out[n] = np.uint8(text & _BYTE)
            text >>= _U8
            n += 1
    return n


@njit(cache=True, nogil=True)
def _slot(keys, taken, key):
    place = np.int64(key & np.uint64(len(keys) - 1))
    while taken[place] >= 0 and keys[place] != key:
        place = (place + 1) & (len(keys) - 1)
    return place


@njit(cache=True, nogil=True)
def _rehashed(keys, taken):
    """Return the table of `_spellings` with twice the room."""
    more_keys, more_taken = np.zeros(2 * len(keys), np.uint64), np.full(2 * len(keys), -1, np.int64)
    for i in range(len(keys)):
        if taken[i] >= 0:
            place = _slot(more_keys, more_taken, keys[i])
            more_keys[place], more_taken[place] = keys[i], taken[i]
    return more_keys, more_taken


@njit(cache=True, nogil=True)
def _spellings(data, offsets, table, wanted_V):
    keys, taken = np.zeros(1 << 12, np.uint64), np.full(1 << 12, -1, np.int64)
    buckets, counts = np.empty(1 << 11, np.int32), np.empty(1 << 11, np.int64)
    ends, text = np.zeros(1 + (1 << 11), np.int64), np.empty(_ROOM << 11, np.uint8)
    n = 0
    for d in range(len(offsets) - 1):
        at, stop = offsets[d], offsets[d + 1]
        while True:
            key, start, at = next_word(data, at, stop, table)
            if start == at:
                break
            if not wanted_V[np.int64(key >> _SHIFT)]:
                continue
            place = _slot(keys, taken, key)
            if taken[place] >= 0:
                counts[taken[place]] += 1
                continue
            keys[place], taken[place] = key, n
            buckets[n], counts[n] = np.int64(key >> _SHIFT), 1
            ends[n + 1] = _spell(data, start, at, table, text, ends[n])
            n += 1
            if n == len(buckets):
                buckets, counts, ends, text = _longer(buckets), _longer(counts), _longer(ends), _longer(text)
                keys, taken = _rehashed(keys, taken)
    return buckets[:n].copy(), counts[:n].copy(), text[: ends[n]].copy(), ends[: n + 1].copy()
