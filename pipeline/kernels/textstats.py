"""What the rules of quality count in a text: words, lines, paragraphs, marks and repetitions, in one pass.

Letters: N documents, B bytes in all of them, W words and L lines of one document, C counts. Document i is
data[offsets[i]:offsets[i + 1]], valid UTF-8. Characters are code points; what kind one is, `character_kinds` says.

A word is made in two steps: a character of a script without spaces is a word, and so is what lies between these and
white space; from the latter each punctuation mark at its beginning and end is taken off as a word of its own. So
`"it's (well-known)..."` is `" it's ( well-known ) . . . "`. Words of punctuation alone are symbols, the others are not.

The counts and how they are made, after the filters of datatrove (Gopher: Rae et al. 2021, appendix A1.1; FineWeb:
Penedo et al. 2024, section 3.6), with our words in the place of spaCy's:

    characters, words
    plain_words, plain_characters   words that are no symbols, and the characters in them
    alpha_words                     words with a letter
    stop_words                      how many different ones of a list are among the words
    hashes, ellipses                `#`; `...` (without overlap) and `…`
    lines, bullet_lines, ellipsis_lines
                                    lines as str.splitlines() has them; that begin with `-` or `•`, that end with `...`
                                    or `…`, white space aside
    newlines                        "\\n"
    paragraphs, repeated_paragraphs, repeated_paragraph_characters
                                    the text without white space around it, split at two or more "\\n"; those that came
                                    before
    runs, repeated_runs, repeated_run_characters
                                    the text split at one or more "\\n"
    top_2_gram ... top_4_gram       characters of the most frequent n-gram of words (the first of equals), spaces
                                    between words included, times its frequency
    repeated_5_grams ... _10_grams  characters in n-grams that came before, read from left to right without overlap;
                                    n-grams are equal by the characters of their words written together
    full_lines, ended_lines, short_lines, repeated_line_characters, line_characters
                                    the text split at "\\n", blank ones left out: how many, that end with a mark in
                                    `stops`, of at most `short` characters, the characters of those that came before;
                                    and all characters but "\\n"

Words and lines are told by 64 bits of hash: two different ones in a document are taken for equal with probability
2**-64 a pair. A document that `keep` leaves out has zeros.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numba import njit

from pipeline.kernels import simd, text_masks
from pipeline.kernels import textstats_repeats as repeats
from pipeline.kernels.character_kinds import ALONE, TERMINAL, character, character_before, kinds
from pipeline.kernels.hashing import check_offsets, read_only
from pipeline.kernels.simd import address, load8, load64, ones, store8, store32, store64
from pipeline.kernels.text_masks import count_ones, is_one, last_zero, next_one, next_zero

COUNTS = (
    *("characters", "words", "plain_words", "plain_characters", "alpha_words", "stop_words", "hashes", "ellipses"),
    *("lines", "bullet_lines", "ellipsis_lines", "newlines"),
    *("paragraphs", "repeated_paragraphs", "repeated_paragraph_characters"),
    *("runs", "repeated_runs", "repeated_run_characters"),
    *(f"top_{n}_gram" for n in (2, 3, 4)),
    *(f"repeated_{n}_grams" for n in range(5, 11)),
    *("full_lines", "ended_lines", "short_lines", "repeated_line_characters", "line_characters"),
)
"""The names of the columns, in their order."""

_CHARACTERS, _WORDS, _PLAIN, _PLAIN_CHARACTERS, _ALPHA, _STOP, _HASHES, _ELLIPSES = range(8)
_LINES, _BULLETS, _ELLIPSIS_LINES, _NEWLINES, _PARAGRAPHS, _RUNS, _TOP, _REPEATED, _FULL = (
    8,
    9,
    10,
    11,
    12,
    15,
    18,
    21,
    27,
)
_DOT, _DASH, _ELLIPSIS, _BULLET = (ord(c) for c in ".-…•")
_SPARE = 16


class Scratch(NamedTuple):
    """Room for one document; J bytes of words written together, and a few for reading past their end."""

    masks: np.ndarray  # uint64 [10, Z], see `text_masks`
    block: np.ndarray  # uint8 [64]
    joined: np.ndarray  # uint8 [J]
    at: np.ndarray  # int32 [W + 1]: where each word begins in joined, and the last one ends
    ends: np.ndarray  # int32 [W + 1]: the characters of all words before it
    line_begins: np.ndarray  # int64 [L]
    line_ends: np.ndarray  # int64 [L]
    line_characters: np.ndarray  # int64 [L]
    line_full: np.ndarray  # bool [L]


class _Written(NamedTuple):
    """Where the words go: addresses, since arrays are counted whenever they are handed on."""

    joined: int
    at: int
    ends: int


def count(
    data: np.ndarray,
    offsets: np.ndarray,
    keep: np.ndarray | None = None,
    *,
    stop_words: Sequence[str] = (),
    stops: str | None = None,
    short: int = 30,
    repetitions: bool = True,
) -> np.ndarray:
    """Return int64 [N, C], the counts of each document in the order of `COUNTS`.

    data uint8 [B], offsets int64 [N + 1], keep bool [N].

    Args:
        stop_words: words as they are counted, case and all.
        stops: the marks that may end a line; by default all that end a sentence in some script.
        short: a line of so many characters is short.
        repetitions: without, the counts of n-grams are zeros.

    Raises:
        ValueError: the offsets fall or leave the data.
    """
    offsets = np.ascontiguousarray(offsets, np.int64)
    check_offsets(data, offsets)
    data, offsets = read_only(np.ascontiguousarray(data)), read_only(offsets)
    keep = np.ones(len(offsets) - 1, np.bool_) if keep is None else np.ascontiguousarray(keep, np.bool_)
    size = int(np.diff(offsets).max(initial=1))
    words, lines = _most(data, offsets, keep, np.empty(64, np.uint8))
    counts_NC = np.zeros((len(keep), len(COUNTS)), np.int64)
    _count_all(
        data, offsets, keep, kinds(), kinds(stops), _stop_keys(stop_words), short, repetitions,
        _scratch(size, words, lines), repeats.room(size, words, lines), counts_NC,
    )  # fmt: skip
    return counts_NC


def _scratch(size: int, words: int, lines: int) -> Scratch:
    return Scratch(
        text_masks.room(size),
        np.empty(64, np.uint8),
        np.empty(size + _SPARE, np.uint8),
        np.zeros(words + 1, np.int32),
        np.zeros(words + 1, np.int32),
        np.empty(lines, np.int64),
        np.empty(lines, np.int64),
        np.empty(lines, np.int64),
        np.empty(lines, np.bool_),
    )


def _stop_keys(stop_words: Sequence[str]) -> np.ndarray:
    """Return the hashes of the words, each once: uint64."""
    padded = [(np.frombuffer(word.encode() + bytes(_SPARE), np.uint8), len(word.encode())) for word in stop_words if word]
    return np.unique(np.array([repeats.word_hash(read_only(word), 0, size) for word, size in padded], np.uint64))


@njit(cache=True, nogil=True)
def _most(data, offsets, keep, block):
    """Return upper bounds of the words and of the lines of a document."""
    most_words, most_lines = np.int64(1), np.int64(2)
    for d in range(len(keep)):
        if keep[d]:
            words, lines = np.int64(0), np.int64(1)
            for first in range(offsets[d], offsets[d + 1], 64):
                source, inside = text_masks.source(data, first, offsets[d + 1], block)
                within = simd.letters_ascii(source) | simd.digits_ascii(source) | simd.continuations(source)
                words += np.int64(ones(inside & ~within))
                lines += np.int64(ones(inside & simd.feeds(source)))
            # Between two words that are no symbols is white space or a symbol, and each of these has a byte of its own.
            most_words, most_lines = max(most_words, 2 * words + 1), max(most_lines, lines)
    return most_words, most_lines


@njit(cache=True, nogil=True)
def _count_all(data, offsets, keep, kinds, ends_line, stop_keys, short, repetitions, scratch, room, counts):
    masks = text_masks.at(scratch.masks)
    for d in range(len(keep)):
        if keep[d] and offsets[d + 1] > offsets[d]:
            row, begin, end = counts[d], offsets[d], offsets[d + 1]
            seen, row[_CHARACTERS], row[_HASHES], row[_ELLIPSES] = text_masks.fill(
                data, begin, end, kinds, masks, scratch.block
            )
            _words(data, begin, end, masks, seen, scratch, row)
            lines = _lines(data, begin, end, masks, ends_line, short, scratch, row)
            _judge_breaks(data, begin, end, masks, row)
            repeats.lines(data, scratch.line_begins, scratch.line_ends, scratch.line_characters, scratch.line_full,
                          lines, room, row[_RUNS:_RUNS + 3], row[_FULL + 3:_FULL + 4])  # fmt: skip
            repeats.paragraphs(data, begin, end, kinds, scratch.line_begins, scratch.line_ends,
                               lines, room, row[_PARAGRAPHS:_PARAGRAPHS + 3])  # fmt: skip
            words = row[_WORDS]
            if repetitions or len(stop_keys):
                row[_STOP] = repeats.intern(scratch.joined, scratch.at, words, stop_keys, room)
            if repetitions:
                repeats.top_grams(scratch.ends, words, room, row[_TOP : _TOP + 3])
                repeats.repeated_grams(scratch.joined, scratch.at, scratch.ends, words, room,
                                       row[_REPEATED : _REPEATED + 6])  # fmt: skip


@njit(cache=True, nogil=True)
def _words(data, begin, end, masks, seen, scratch, row):
    """Write the words of one document and count them and their letters."""
    size, out = end - begin, _Written(address(scratch.joined), address(scratch.at), address(scratch.ends))
    text, behind = address(data) + begin, address(data) + len(data)
    i, j = np.int64(0), np.int64(0)
    state = np.int64(0), np.int64(0), np.int64(0), np.int64(0)
    while True:
        i = next_zero(masks.white, i, size)
        if i >= size:
            break
        stop = next_one(masks.white, i, size)
        _copy(text + i, text + stop, behind, out.joined + j)
        if seen & ALONE:
            state = _split(masks, i, stop, j - i, out, state)
        else:
            state = _peel(masks, i, stop, j - i, out, state)
        i, j = stop, j + stop - i
    row[_WORDS], black, symbols, row[_ALPHA] = state
    row[_PLAIN], row[_PLAIN_CHARACTERS] = row[_WORDS] - symbols, black - symbols


@njit(cache=True, nogil=True)
def _copy(source, stop, behind, target):
    """Copy the bytes from one address up to another, and up to 15 more, but none from `behind` the data on."""
    if stop + 16 <= behind:
        while source < stop:
            store64(target, load64(source))
            store64(target + 8, load64(source + 8))
            source, target = source + 16, target + 16
    while source < stop:
        store8(target, load8(source))
        source, target = source + 1, target + 1


@njit(cache=True, nogil=True)
def _split(masks, i, stop, shift, out, state):
    """Write the words of a part without white space, in which characters may stand alone; see `_peel`."""
    while i < stop:
        alone = next_one(masks.alone, i, stop)
        if i < alone:
            state = _peel(masks, i, alone, shift, out, state)
        i = alone
        while i < stop and is_one(masks.alone, i):
            n, black, symbols, alpha = state
            alpha += is_one(masks.letters, i)
            i = next_zero(masks.parts, i + 1, stop)
            state = _end_word(out, n, i + shift, black + 1), black + 1, symbols, alpha
    return state


@njit(cache=True, nogil=True)
def _peel(masks, i, stop, shift, out, state):
    """Write the words of a part without white space: its symbols at both ends and what is between.

    Byte i of the text is byte i + shift of the words written together. `state` is (words, characters, words that are
    symbols, words with a letter) up to here; return it as it is then.
    """
    if is_one(masks.punct, i) or is_one(masks.punct, stop - 1):
        first = next_zero(masks.punct, i, stop)
        state = _symbols(masks, i, first, shift, out, state)
        if first == stop:
            return state
        last = last_zero(masks.punct, first, stop)
        state = _core(masks, first, last, shift, out, state)
        return _symbols(masks, last, stop, shift, out, state)
    return _core(masks, i, stop, shift, out, state)


@njit(cache=True, nogil=True)
def _core(masks, i, stop, shift, out, state):
    n, black, symbols, alpha = state
    black += stop - i - count_ones(masks.parts, i, stop)
    alpha += is_one(masks.letters, i) or next_one(masks.letters, i, stop) < stop
    return _end_word(out, n, stop + shift, black), black, symbols, alpha


@njit(cache=True, nogil=True)
def _symbols(masks, i, stop, shift, out, state):
    n, black, symbols, alpha = state
    while i < stop:
        alpha += is_one(masks.letters, i)
        i = next_zero(masks.parts, i + 1, stop)
        black, symbols = black + 1, symbols + 1
        n = _end_word(out, n, i + shift, black)
    return n, black, symbols, alpha


@njit(cache=True, nogil=True)
def _end_word(out, n, j, black):
    store32(out.at + 4 * (n + 1), np.int32(j))
    store32(out.ends + 4 * (n + 1), np.int32(black))
    return n + 1


@njit(cache=True, nogil=True)
def _lines(data, begin, end, masks, ends_line, short, scratch, row):
    """Write the lines between "\n" of one document and count what needs no memory; return how many."""
    size, line, first = end - begin, np.int64(0), np.int64(0)
    while True:
        stop = next_one(masks.feeds, first, size)
        characters = stop - first - count_ones(masks.parts, first, stop)
        full = next_zero(masks.white, first, stop) < stop
        scratch.line_begins[line], scratch.line_ends[line] = begin + first, begin + stop
        scratch.line_characters[line], scratch.line_full[line] = characters, full
        if full:
            row[_FULL] += 1
            row[_FULL + 1] += ends_line[character_before(data, begin + stop)] & TERMINAL != 0
            row[_FULL + 2] += characters <= short
        line += 1
        if stop >= size:
            break
        first = stop + 1
    row[_NEWLINES], row[_FULL + 4] = line - 1, row[_CHARACTERS] - line + 1
    return line


@njit(cache=True, nogil=True)
def _judge_breaks(data, begin, end, masks, row):
    """Count the lines of str.splitlines() in one document, and the kinds of them."""
    first, size = np.int64(0), end - begin
    while first < size:
        stop = next_one(masks.breaks, first, size)
        shown = next_zero(masks.white, first, stop)
        row[_LINES] += 1
        if shown < stop:
            code = character(data, begin + shown)[0]
            row[_BULLETS] += (code == _DASH) | (code == _BULLET)
            row[_ELLIPSIS_LINES] += _ends_in_ellipsis(data, begin + first, begin + last_zero(masks.white, shown, stop))
        first = text_masks.behind_break(data, begin, masks, stop, size)


@njit(cache=True, nogil=True)
def _ends_in_ellipsis(data, begin, end):
    dots = end - 3 >= begin and data[end - 1] == _DOT and data[end - 2] == _DOT and data[end - 3] == _DOT
    return dots or character_before(data, end) == _ELLIPSIS
