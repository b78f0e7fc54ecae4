"""The inner loops of `shingles`, which says what they compute; addresses are whole numbers, an end is the byte behind.

Letters: N documents, D bytes in all of them, S shingles in all of them.
"""

from typing import NamedTuple

import numpy as np
from numba import njit

from pipeline.kernels import unicode_table
from pipeline.kernels.sha1 import first32_of_spans
from pipeline.kernels.simd import (
    address,
    fill_spaces,
    folded_product,
    load8,
    load64,
    lower_ascii,
    not_ascii,
    not_space,
    ones,
    store8,
    store64,
    trailing_zeros,
)

CHUNK_BYTES = 16 * 1024
CONTEXT_BYTES = 256
"""Least bytes of a part of a text that is brought into normal form in its context."""
SLACK = 256
"""Bytes a buffer of text is longer than the text: blocks of 64 are read and written whole."""
DOCUMENT, DONE, CARRIED, CUT, ASKED = range(5)
"""Where the work stands: document, bytes of it done, bytes carried over, whether a word was cut, scratch asked for."""

_SPACE = np.uint8(0x20)
_LENGTH_AT, _LENGTH = np.uint64(unicode_table.LENGTH_AT), np.uint64(7)
_CONTEXT = np.uint64(unicode_table.CONTEXT)
_ALL_ONES = np.uint64(0xFFFFFFFFFFFFFFFF)
_HIGH_BITS = np.uint64(0x8080808080808080)
_K0, _K1, _K2 = np.uint64(0xA0761D6478BD642F), np.uint64(0xE7037ED1A0B428DB), np.uint64(0x589965CC75374CC3)
_U0, _U1, _U4, _U8, _U64 = np.uint64(0), np.uint64(1), np.uint64(4), np.uint64(8), np.uint64(64)


class Scratch(NamedTuple):
    """Room for a chunk of half `len(text)` bytes: in normal form, words joined, their edges, their hashes."""

    text: np.ndarray
    joined: np.ndarray
    edges: np.ndarray
    words: np.ndarray


class Kind(NamedTuple):
    """What a shingle is: how many words, or bytes; hashed by SHA-1; whether documents in need of context are left."""

    ngram: int
    bytes_: bool
    sha1: bool
    strict: bool


@njit(cache=True, nogil=True)
def fill(data, offsets, table, kind, state, scratch, counts, needed, out):
    """Go on where the state stands until all is done, out is full or more scratch is asked for; return the shingles."""
    base, text = address(data), address(scratch.text)
    block = np.empty(64, np.uint8)
    total, state[ASKED] = 0, 0
    while state[DOCUMENT] < len(counts):
        document = state[DOCUMENT]
        start, end = offsets[document] + state[DONE], offsets[document + 1]
        if start < end:
            stop = _chunk_end(data, start, end, table, kind.bytes_)
            carried = 0 if kind.bytes_ else state[CARRIED]
            # A byte becomes two at most: a character of three bytes gets two spaces.
            if state[CARRIED] + 2 * (stop - start) + SLACK > len(scratch.text):
                state[ASKED] = state[CARRIED] + 2 * (stop - start) + SLACK
                break
            if len(out) - total < (2 * (stop - start) if kind.bytes_ else (stop - start) // 2) + 2:
                break
            length, seen = _normalise(base + start, base + stop, base + len(data), text + carried, table, block)
            if kind.strict and seen & _CONTEXT:
                needed[document], stop = True, end
            else:
                found = _shingle(kind, carried + length, stop == end, state, scratch, counts[document], out[total:])
                counts[document] += found
                total += found
            state[DONE] = stop - offsets[document]
        if offsets[document] + state[DONE] == end:
            state[DOCUMENT] += 1
            state[DONE], state[CARRIED], state[CUT] = 0, 0, 0
    return total


@njit(cache=True, nogil=True)
def _shingle(kind, length, last, state, scratch, before, out):
    """Write the shingles that end in the text of this length, in normal form; return their number."""
    text, joined, edges = address(scratch.text), address(scratch.joined), scratch.edges
    count = _word_edges(text, length, edges)
    units = _append(text, length, edges, count, joined, state, before > 0) if kind.bytes_ else count
    n = units if last and before == 0 and 0 < units < kind.ngram else kind.ngram
    number = max(units - n + 1, 0)
    if kind.bytes_:
        _hash_bytes(kind, joined, edges, number, n, out[:number])
        state[CARRIED] = min(units, kind.ngram - 1)
        _move(joined + units - state[CARRIED], state[CARRIED], joined)
        return number
    source = text
    if kind.sha1:
        _join(text, edges, count, np.int64(0), joined)
        first32_of_spans(joined, edges, 2 * n - 1, out[:number])
        source = joined
    else:
        _hash_words(text, count, edges, scratch.words)
        _hash_shingles(scratch.words, n, out[:number])
    state[CARRIED] = _carry(source, edges, count, min(count, kind.ngram - 1), text)
    return number


@njit(cache=True, nogil=True)
def _chunk_end(data, start, end, table, anywhere):
    """Return where the chunk that begins at start ends: anywhere, or behind a separator or a character alone."""
    limit = start + CHUNK_BYTES
    if end <= limit:
        return end
    while limit > start + 1 and data[limit] & 0xC0 == 0x80:
        limit -= 1
    if anywhere:
        return limit
    base, i = address(data), limit
    while i > start:
        before = i - 1
        while before > start and data[before] & 0xC0 == 0x80:
            before -= 1
        if table[_decode(base + before, base + i)[0]] & np.uint64(0xFF) == np.uint64(_SPACE):
            return i
        i = before
    while limit < end:
        code, at = _decode(base + limit, base + end)
        limit = at - base
        if table[code] & np.uint64(0xFF) == np.uint64(_SPACE):
            return limit
    return end


@njit(cache=True, nogil=True)
def _normalise(at, stop, data_end, out, table, block):
    """Write words in lower case and spaces for all between them; return (bytes written, entries seen or-ed).

    Behind the text stand at least 64 spaces.
    """
    o, seen = out, _U0
    while at < stop:
        if at + 64 <= data_end:
            high = lower_ascii(at, o)
        else:
            for k in range(data_end - at):
                block[k] = load8(at + k)
            high = lower_ascii(address(block), o)
        here = min(np.int64(trailing_zeros(high)), stop - at)
        at += here
        o += here
        if here == 64:
            continue
        while at < stop:
            if load8(at) < 0x80 and at + 8 <= stop and load64(at) & _HIGH_BITS == _U0:
                break
            code, at = _decode(at, stop)
            entry = table[code]
            store64(o, entry)
            o += np.int64((entry >> _LENGTH_AT) & _LENGTH)
            seen |= entry
    fill_spaces(o)
    fill_spaces(o + 64)
    return o - out, seen


@njit(cache=True, nogil=True)
def _decode(at, stop):
    """Return (code point, address of the next) of the character at an address; a cut one is U+FFFD."""
    byte = np.int64(load8(at))
    if byte < 0x80:
        return byte, at + 1
    if byte < 0xE0 and at + 2 <= stop:
        return (byte & 0x1F) << 6 | np.int64(load8(at + 1)) & 0x3F, at + 2
    if 0xE0 <= byte < 0xF0 and at + 3 <= stop:
        return (byte & 0xF) << 12 | (np.int64(load8(at + 1)) & 0x3F) << 6 | np.int64(load8(at + 2)) & 0x3F, at + 3
    if byte < 0xF0 or at + 4 > stop:
        return np.int64(0xFFFD), stop
    code = (byte & 0x7) << 18 | (np.int64(load8(at + 1)) & 0x3F) << 12
    code |= (np.int64(load8(at + 2)) & 0x3F) << 6 | np.int64(load8(at + 3)) & 0x3F
    return min(code, np.int64(0x10FFFF)), at + 4


@njit(cache=True, nogil=True)
def _word_edges(text, length, edges):
    """Write where each word begins and ends, in turn; return the number of words. Spaces follow the text."""
    count, carry = 0, _U0
    for at in range(0, length + 1, 64):
        words = not_space(text + at)
        turns = words ^ (words << _U1 | carry)
        carry = words >> np.uint64(63)
        number = np.int64(ones(turns))
        # Eight at a time without asking; what is too many is overwritten by the next block.
        for first in range(0, number, 8):
            for k in range(8):
                edges[count + first + k] = at + np.int64(trailing_zeros(turns))
                turns &= turns - _U1
        count += number
    return count >> 1


@njit(cache=True, nogil=True)
def _hash(at, length):
    """Return the native hash of the bytes at an address; up to 16 bytes from there are read, none of them counts."""
    if length <= 16:
        first = np.uint64(min(length, 8))
        x = load64(at) & (_ALL_ONES >> (_U64 - _U8 * first))
        half = _U4 * (np.uint64(length) - first)
        y = load64(at + 8) & ~(_ALL_ONES << half << half)
        return folded_product(x ^ _K0, (y + np.uint64(length)) ^ _K1)
    h, end = np.uint64(length) ^ _K1, at + length
    while at + 8 < end:
        h = folded_product(h ^ load64(at), _K2)
        at += 8
    return folded_product(load64(end - 8) ^ _K0, h)


@njit(cache=True, nogil=True)
def _hash_words(text, count, edges, words):
    for w in range(count):
        start = np.int64(edges[2 * w])
        words[w] = _hash(text + start, np.int64(edges[2 * w + 1]) - start)


@njit(cache=True, nogil=True)
def _hash_shingles(words, ngram, out):
    for k in range(len(out)):
        out[k] = words[k]
    for j in range(1, ngram):
        left = np.uint64(11 * j % 64)
        right = np.uint64((64 - 11 * j % 64) % 64)
        for k in range(len(out)):
            word = words[k + j]
            out[k] += (word << left) | (word >> right)


@njit(cache=True, nogil=True)
def _hash_bytes(kind, joined, edges, number, n, out):
    if kind.sha1:
        for i in range(number):
            edges[2 * i], edges[2 * i + 1] = i, i + n
        first32_of_spans(joined, edges, np.int64(1), out)
    else:
        for i in range(number):
            out[i] = _hash(joined + i, n)


@njit(cache=True, nogil=True)
def _join(text, edges, count, o, joined):
    """Write the words with a space behind each to joined + o; the edges become theirs; return the end of the last."""
    for w in range(count):
        start = np.int64(edges[2 * w])
        length = np.int64(edges[2 * w + 1]) - start
        _move(text + start, length, joined + o)
        store8(joined + o + length, _SPACE)
        edges[2 * w], edges[2 * w + 1] = o, o + length
        o += length + 1
    return o - 1


@njit(cache=True, nogil=True)
def _append(text, length, edges, count, joined, state, begun):
    """Write the words behind the bytes carried over, a space between any two; return the bytes in all."""
    o = state[CARRIED]
    if count == 0:
        state[CUT] = 0
        return o
    goes_on = state[CUT] != 0 and edges[0] == 0
    state[CUT] = np.int64(edges[2 * count - 1]) == length
    if (o > 0 or begun) and not goes_on:
        store8(joined + o, _SPACE)
        o += 1
    return _join(text, edges, count, o, joined)


@njit(cache=True, nogil=True)
def _carry(source, edges, count, held, text):
    """Write the last `held` words to the front of the text, a space behind each; return the bytes of it."""
    o = 0
    for w in range(count - held, count):
        start = np.int64(edges[2 * w])
        length = np.int64(edges[2 * w + 1]) - start
        for k in range(length):
            store8(text + o + k, load8(source + start + k))
        store8(text + o + length, _SPACE)
        o += length + 1
    return o


@njit(cache=True, nogil=True)
def _move(source, length, target):
    """Copy bytes to a lower address or elsewhere, eight at a time: up to seven bytes too many are written."""
    for k in range(0, length, 8):
        store64(target + k, load64(source + k))


@njit(cache=True, nogil=True)
def need_context(data, offsets, table, needed):
    base = address(data)
    for document in range(len(offsets) - 1):
        start, end = base + offsets[document], base + offsets[document + 1]
        needed[document] = _has_context(start, end, base + len(data), table)


@njit(cache=True, nogil=True)
def context_spans(data, start, end, table, spans):
    """Write where the parts that need their context begin and end, in turn; return their number.

    A part ends before a space or a line feed: neither composes, has case or is passed over in search of a cased letter.
    """
    base, count = address(data), 0
    while start < end:
        stop = min(start + CONTEXT_BYTES, end)
        while stop < end and data[stop] != 0x20 and data[stop] != 0x0A:
            stop += 1
        if _has_context(base + start, base + stop, base + len(data), table):
            if count == 0 or spans[2 * count - 1] != start:
                spans[2 * count] = start
                count += 1
            spans[2 * count - 1] = stop
        start = stop
    return count


@njit(cache=True, nogil=True)
def _has_context(at, stop, data_end, table):
    while at < stop:
        if at + 64 <= data_end:
            here = np.int64(trailing_zeros(not_ascii(at)))
            at += here
            if here == 64:
                continue
        seen = _U0
        while at < stop and not (load8(at) < 0x80 and at + 8 <= stop and load64(at) & _HIGH_BITS == _U0):
            code, at = _decode(at, stop)
            seen |= table[code]
        if seen & _CONTEXT:
            return True
        if at + 64 > data_end:
            at += 8
    return False
