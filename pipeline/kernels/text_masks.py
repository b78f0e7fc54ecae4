"""What kind each byte of a text is, as one bit a byte: what the rules about words, lines and sentences read.

Letters: B bytes of the data, n bytes of one text in it, Z words of 64 bits of a mask. Bit i of a mask (of its word
i // 64, the lowest bit first) is about byte i of the text; all bytes of a character are of its kind.

Behind the end of the text follow more than 64 bits, ones in `white` and zeros in the others, so that 57 bits and more
can be had from any place on by one load of eight bytes. ASCII is told by vector instructions, the rest by the table of
`character_kinds`.
"""

from typing import NamedTuple

import numpy as np
from numba import njit

from pipeline.kernels import simd
from pipeline.kernels.character_kinds import ALONE, BREAK, LETTER, PUNCT, TERMINAL, WHITE, character, character_before
from pipeline.kernels.simd import address, load64, ones, store64, trailing_zeros

_ZERO, _ONE, _ALL = np.uint64(0), np.uint64(1), np.uint64(0xFFFFFFFFFFFFFFFF)
_ELLIPSIS, _FEED, _RETURN = (ord(c) for c in "…\n\r")
_BLOCK = 64


class Masks(NamedTuple):
    """Where the masks of a text begin: addresses in the array of `room`, which must be held."""

    white: int
    breaks: int  # white, and str.splitlines() ends a line there
    feeds: int  # "\n"
    punct: int  # punctuation that is not white
    letters: int
    alone: int  # a word of its own
    stops: int  # ends a sentence, by the default table
    parts: int  # not the first byte of its character
    brackets: int  # "["
    curlies: int  # "{"


def room(size: int) -> np.ndarray:
    """Return room for the masks of a text of so many bytes: uint64 [10, Z]."""
    return np.empty((len(Masks._fields), size // _BLOCK + 3), np.uint64)


@njit(cache=True, nogil=True)
def at(room):
    """Return where in `room` the masks begin."""
    first, step = address(room), np.int64(8 * room.shape[1])
    return Masks(
        first,
        first + step,
        first + 2 * step,
        first + 3 * step,
        first + 4 * step,
        first + 5 * step,
        first + 6 * step,
        first + 7 * step,
        first + 8 * step,
        first + 9 * step,
    )


@njit(cache=True, nogil=True)
def fill(data, begin, end, kinds, masks, block):
    """Write the masks of data[begin:end], valid UTF-8; return (kinds of its characters beyond ASCII, characters,
    number of `#`, of ellipses), which are `...`, without overlap, and `…`.

    Args:
        block: room of 64 bytes.
    """
    seen, characters, hashes, ellipses, run = np.uint8(0), end - begin, np.int64(0), np.int64(0), np.int64(0)
    for first in range(begin, end, _BLOCK):
        source_, inside = source(data, first, end, block)
        word = (first - begin) >> 3
        others, parts = simd.not_ascii(source_) & inside, simd.continuations(source_) & inside
        white, letters = simd.white_ascii(source_) & inside, simd.letters_ascii(source_) & inside
        punct = inside & ~(others | white | letters | simd.digits_ascii(source_))
        breaks, stops, alone = simd.breaks_ascii(source_) & inside, simd.stops_ascii(source_) & inside, _ZERO
        more, run = _triples(simd.dots(source_) & inside, run)
        hashes, ellipses = hashes + np.int64(ones(simd.hashes(source_) & inside)), ellipses + more
        store64(masks.feeds + word, simd.feeds(source_) & inside)
        store64(masks.brackets + word, simd.brackets(source_) & inside)
        store64(masks.curlies + word, simd.curlies(source_) & inside)
        if others:
            characters -= np.int64(ones(parts))
            found, its_kinds, more = _beyond_ascii(data, first, others & ~parts, parts, kinds)
            seen, ellipses = seen | its_kinds, ellipses + more
            white, breaks, punct = white | found[0], breaks | found[1], punct | found[2]
            letters, alone, stops = letters | found[3], found[4], stops | found[5]
        store64(masks.white + word, white | ~inside)
        store64(masks.breaks + word, breaks)
        store64(masks.punct + word, punct)
        store64(masks.letters + word, letters)
        store64(masks.alone + word, alone)
        store64(masks.stops + word, stops)
        store64(masks.parts + word, parts)
    _close(masks, (end - begin + _BLOCK - 1) // _BLOCK * 8)
    return seen, characters, hashes, ellipses


@njit(cache=True, nogil=True)
def source(data, first, end, block):
    """Return (the address of 64 bytes that begin with data[first:end], a one for each byte of these)."""
    inside = _ALL if end - first >= _BLOCK else (_ONE << np.uint64(end - first)) - _ONE
    if first + _BLOCK <= len(data):
        return address(data) + first, inside
    for i in range(first, end):
        block[i - first] = data[i]
    return address(block), inside


@njit(cache=True, nogil=True)
def _close(masks, word):
    """Write what follows behind the last word."""
    for mask in masks:
        for k in range(2):
            store64(mask + word + 8 * k, _ZERO)
    for k in range(2):
        store64(masks.white + word + 8 * k, _ALL)


@njit(cache=True, nogil=True)
def _triples(dots, run):
    """Return how many third dots of a run there are, and how long the run at the end is; `run` is the one before."""
    if dots & (dots >> _ONE) == _ZERO and (run == 0 or dots & _ONE == _ZERO):
        return np.int64(0), np.int64(dots >> np.uint64(63))
    count = np.int64(0)
    for k in range(_BLOCK):
        run = run + 1 if dots >> np.uint64(k) & _ONE else np.int64(0)
        count += run > 0 and run % 3 == 0
    return count, run


@njit(cache=True, nogil=True)
def _beyond_ascii(data, first, starts, parts, kinds):
    """Return the masks of white, breaks, punct, letters, alone and stops of the characters that begin at the starts in
    a block, and of the rest of one that begins before; the kinds there are; and the number of `…`.
    """
    found, seen, ellipses = (_ZERO, _ZERO, _ZERO, _ZERO, _ZERO, _ZERO), np.uint8(0), np.int64(0)
    rest = np.int64(trailing_zeros(~parts))
    if rest:
        kind = kinds[np.uint64(character_before(data, first + rest))]
        found, seen = _marked(found, kind, (_ONE << np.uint64(rest)) - _ONE), kind
    while starts:
        place = trailing_zeros(starts)
        code, width = character(data, first + np.int64(place))
        kind = kinds[np.uint64(code)]
        found, seen = _marked(found, kind, ((_ONE << np.uint64(width)) - _ONE) << place), seen | kind
        ellipses += code == _ELLIPSIS
        starts &= starts - _ONE
    return found, seen, ellipses


@njit(cache=True, nogil=True)
def _marked(found, kind, bits):
    white, breaks, punct, letters, alone, stops = found
    return (
        white | _only(bits, kind & WHITE),
        breaks | _only(bits, kind & BREAK),
        punct | _only(bits, kind & (PUNCT | WHITE) == PUNCT),
        letters | _only(bits, kind & LETTER),
        alone | _only(bits, kind & ALONE),
        stops | _only(bits, kind & TERMINAL),
    )


@njit(cache=True, nogil=True)
def _only(bits, true):
    return bits if true else _ZERO


@njit(cache=True, nogil=True)
def bits(mask, i):
    """Return 57 bits and more of a mask from place i on."""
    return load64(mask + (i >> 3)) >> np.uint64(i & 7)


@njit(cache=True, nogil=True)
def is_one(mask, i):
    """Tell whether the bit at place i is one."""
    return load64(mask + (i >> 6 << 3)) >> np.uint64(i & 63) & _ONE != _ZERO


@njit(cache=True, nogil=True)
def next_one(mask, i, end):
    """Return the place of the first one from i on, at most `end`."""
    while i < end:
        found = bits(mask, i)
        if found:
            return min(i + np.int64(trailing_zeros(found)), end)
        i += 64 - (i & 7)
    return end


@njit(cache=True, nogil=True)
def next_zero(mask, i, end):
    """Return the place of the first zero from i on, at most `end`."""
    while i < end:
        found = ~load64(mask + (i >> 3)) >> np.uint64(i & 7)
        if found:
            return min(i + np.int64(trailing_zeros(found)), end)
        i += 64 - (i & 7)
    return end


@njit(cache=True, nogil=True)
def last_zero(mask, begin, i):
    """Return the place behind the last zero before i, at least `begin`."""
    while i > begin and is_one(mask, i - 1):
        i -= 1
    return i


@njit(cache=True, nogil=True)
def count_ones(mask, i, end):
    """Return how many ones there are from i up to `end`."""
    found = np.int64(0)
    while end - i > 56:
        found += np.int64(ones(bits(mask, i) << np.uint64(8) >> np.uint64(8)))
        i += 56
    if i < end:
        found += np.int64(ones(bits(mask, i) << np.uint64(64 - (end - i))))
    return found


@njit(cache=True, nogil=True)
def behind_break(data, begin, masks, i, end):
    """Return the place behind the line break at place i, "\r\n" being one; the text begins at data[begin]."""
    if i < end and data[begin + i] == _RETURN and i + 1 < end and data[begin + i + 1] == _FEED:
        return i + 2
    return next_zero(masks.parts, i + 1, end)
