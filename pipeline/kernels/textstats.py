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

from pipeline.kernels import textstats_repeats as repeats
from pipeline.kernels.character_kinds import (
    ALONE,
    BREAK,
    LETTER,
    PUNCT,
    TERMINAL,
    WHITE,
    character,
    character_before,
    kinds,
)
from pipeline.kernels.hashing import check_offsets, read_only

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
_HASH, _DOT, _DASH, _ELLIPSIS, _BULLET, _FEED, _RETURN = (ord(c) for c in "#.-…•\n\r")
_ENDS = WHITE | PUNCT | ALONE
_EXACT_BYTES = 1 << 20


class Scratch(NamedTuple):
    """Room for one document; J bytes of words written together, and a few for reading past their end."""

    joined: np.ndarray  # uint8 [J]
    at: np.ndarray  # int64 [W + 1]: where each word begins in joined, and the last one ends
    ends: np.ndarray  # int64 [W + 1]: the characters of all words before it
    line_begins: np.ndarray  # int64 [L]
    line_ends: np.ndarray  # int64 [L]
    line_characters: np.ndarray  # int64 [L]
    line_full: np.ndarray  # bool [L]


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
    table = kinds(stops)
    size = int(np.diff(offsets).max(initial=1))
    words, lines = _most(data, offsets, keep, table)
    counts_NC = np.zeros((len(keep), len(COUNTS)), np.int64)
    _count_all(
        data, offsets, keep, table, _stop_table(stop_words), short, repetitions,
        _scratch(size, words, lines), repeats.room(size, words, lines), counts_NC,
    )  # fmt: skip
    return counts_NC


def _scratch(size: int, words: int, lines: int) -> Scratch:
    return Scratch(
        np.empty(size + repeats.PREFIX, np.uint8),
        np.zeros(words + 1, np.int64),
        np.zeros(words + 1, np.int64),
        np.empty(lines, np.int64),
        np.empty(lines, np.int64),
        np.empty(lines, np.int64),
        np.empty(lines, np.bool_),
    )


def _stop_table(stop_words: Sequence[str]) -> np.ndarray:
    """Return the hashes of the words in a table of at most half load, zero where it is free."""
    slots = np.zeros(1 << max(4, (2 * len(stop_words)).bit_length()), np.uint64)
    for word in stop_words:
        text = word.encode()
        repeats.insert(slots, np.frombuffer(text + bytes(repeats.PREFIX), np.uint8), len(text))
    return slots


@njit(cache=True, nogil=True)
def _most(data, offsets, keep, kinds):
    """Return upper bounds of the words and of the lines of a document: close ones where it is large."""
    most_words, most_lines = np.int64(1), np.int64(2)
    for d in range(len(keep)):
        if not keep[d]:
            continue
        newlines = np.int64(0)
        for i in range(offsets[d], offsets[d + 1]):
            newlines += data[i] == _FEED
        words = offsets[d + 1] - offsets[d]
        if words > _EXACT_BYTES:
            words = np.int64(1)
            for i in range(offsets[d], offsets[d + 1]):
                byte = data[i]
                words += byte >= 0xC0 or (byte < 0x80 and kinds[byte] & (WHITE | PUNCT) != 0)
            words *= 2  # between two words that are no symbols is one of these, and a symbol is one itself
        most_words, most_lines = max(most_words, words), max(most_lines, newlines + 1)
    return most_words, most_lines


@njit(cache=True, nogil=True)
def _count_all(data, offsets, keep, kinds, stop_table, short, repetitions, scratch, room, counts):
    for d in range(len(keep)):
        if keep[d] and offsets[d + 1] > offsets[d]:
            row = counts[d]
            lines = _scan(data, offsets[d], offsets[d + 1], kinds, scratch, row)
            _judge_lines(data, kinds, short, scratch, lines, row)
            repeats.lines(data, scratch.line_begins, scratch.line_ends, scratch.line_characters, scratch.line_full,
                          lines, room, row[_RUNS:_RUNS + 3], row[_FULL + 3:_FULL + 4])  # fmt: skip
            repeats.paragraphs(data, offsets[d], offsets[d + 1], kinds, scratch.line_begins, scratch.line_ends,
                               lines, room, row[_PARAGRAPHS:_PARAGRAPHS + 3])  # fmt: skip
            words = row[_WORDS]
            if repetitions or stop_table.any():
                row[_STOP] = repeats.intern(scratch.joined, scratch.at, words, stop_table, room)
            if repetitions:
                repeats.top_grams(scratch.ends, words, room, row[_TOP : _TOP + 3])
                repeats.repeated_grams(scratch.joined, scratch.at, scratch.ends, words, room,
                                       row[_REPEATED : _REPEATED + 6])  # fmt: skip


@njit(cache=True, nogil=True)
def _scan(data, begin, end, kinds, scratch, row):
    """Write the words and the lines of one document and count what needs no memory; return how many lines."""
    joined, at, ends = scratch.joined, scratch.at, scratch.ends
    i, j, n, black, white, line = begin, np.int64(0), np.int64(0), np.int64(0), np.int64(0), np.int64(0)
    shown, shown_feed, black_end = np.int64(-1), np.int64(-1), begin  # a line's first letter, the last one's end
    break_begin, first_of_line = begin, np.int64(0)
    scratch.line_begins[0] = begin
    while i < end:
        code, width = character(data, i)
        kind = kinds[np.uint64(code)]
        if kind & WHITE == 0:
            shown = i if shown < 0 else shown
            shown_feed = i if shown_feed < 0 else shown_feed
            i, j, n, black = _chunk(data, i, end, kinds, joined, at, ends, j, n, black, row)
            black_end = i
            continue
        if kind & BREAK:
            if code == _FEED:
                _end_line(scratch, line, i, black + white - first_of_line, shown_feed >= 0)
                line += 1
                scratch.line_begins[line] = i + 1
                first_of_line, shown_feed = black + white + 1, np.int64(-1)
            if not (code == _RETURN and i + 1 < end and data[i + 1] == _FEED):
                _judge_break(data, break_begin, shown, black_end, row)
                break_begin, shown = i + width, np.int64(-1)
        white += 1
        i += width
    _end_line(scratch, line, end, black + white - first_of_line, shown_feed >= 0)
    if break_begin < end:
        _judge_break(data, break_begin, shown, black_end, row)
    row[_CHARACTERS], row[_WORDS], row[_NEWLINES] = black + white, n, line
    return line + 1


@njit(cache=True, nogil=True)
def _end_line(scratch, line, end, characters, full):
    scratch.line_ends[line] = end
    scratch.line_characters[line] = characters
    scratch.line_full[line] = full


@njit(cache=True, nogil=True)
def _judge_break(data, begin, shown, black_end, row):
    """Count a line of str.splitlines() that begins at `begin`, whose letters are shown:black_end if there are any."""
    row[_LINES] += 1
    if shown < 0:
        return
    first = character(data, shown)[0]
    row[_BULLETS] += (first == _DASH) | (first == _BULLET)
    dots = black_end - 3 >= begin and data[black_end - 1] == _DOT and data[black_end - 2] == _DOT
    dots = dots and data[black_end - 3] == _DOT
    row[_ELLIPSIS_LINES] += dots or character_before(data, black_end) == _ELLIPSIS


@njit(cache=True, nogil=True)
def _chunk(data, i, end, kinds, joined, at, ends, j, n, black, row):
    """Write the n-th word and the others up to white space or the end; return where that is in data and in joined, and
    the words and the characters up to there.
    """
    core, letters, dots = False, np.uint8(0), np.int64(0)  # core: within a word that is no symbol
    core_at, core_black = j, black
    while i < end:
        code, width = character(data, i)
        kind = kinds[np.uint64(code)]
        if kind & _ENDS == 0:
            core, letters, dots = True, letters | kind, np.int64(0)
            j = _copy(data, i, width, joined, j)
            start = i + width
            i, letters = _ascii_run(data, start, end, kinds, joined, j, letters)
            j, black = j + i - start, black + 1 + i - start
            core_at, core_black = j, black
            continue
        if core and kind & (WHITE | ALONE):
            n, core = _end_core(joined, at, ends, n, core_at, core_black, j, letters, row), False
        if kind & WHITE:
            break
        j = _copy(data, i, width, joined, j)
        i, black = i + width, black + 1
        if kind & ALONE:
            n, letters, dots = _end_core(joined, at, ends, n, j, black, j, kind, row), np.uint8(0), np.int64(0)
            continue
        dots = dots + 1 if code == _DOT else np.int64(0)
        row[_HASHES] += code == _HASH
        row[_ELLIPSES] += code == _ELLIPSIS or (dots and dots % 3 == 0)
        if not core:
            n, letters = _end_word(at, ends, n, j, black), np.uint8(0)
            row[_ALPHA] += kind & LETTER != 0
    if core:
        n = _end_core(joined, at, ends, n, core_at, core_black, j, letters, row)
    return i, j, n, black


@njit(cache=True, nogil=True)
def _ascii_run(data, i, end, kinds, joined, j, letters):
    """Go on with a word while it is ASCII without punctuation; return where that ends, and the kinds up to there."""
    while i < end:
        byte = data[np.uint64(i)]
        kind = kinds[np.uint64(byte)]
        if byte >= 0x80 or kind & _ENDS:
            break
        joined[np.uint64(j)] = byte
        letters |= kind
        i, j = i + 1, j + 1
    return i, letters


@njit(cache=True, nogil=True)
def _copy(data, i, width, joined, j):
    for k in range(width):
        joined[np.uint64(j + k)] = data[np.uint64(i + k)]
    return j + width


@njit(cache=True, nogil=True)
def _end_word(at, ends, n, j, black):
    at[np.uint64(n + 1)], ends[np.uint64(n + 1)] = j, black
    return n + 1


@njit(cache=True, nogil=True)
def _end_core(joined, at, ends, n, core_at, core_black, j, letters, row):
    """End a word that is no symbol at core_at, and each mark between that and j as a word; return the words then."""
    row[_PLAIN] += 1
    row[_PLAIN_CHARACTERS] += core_black - ends[np.uint64(n)]
    row[_ALPHA] += letters & LETTER != 0
    n = _end_word(at, ends, n, core_at, core_black)
    while core_at < j:
        core_at += character(joined, core_at)[1]
        core_black += 1
        n = _end_word(at, ends, n, core_at, core_black)
    return n


@njit(cache=True, nogil=True)
def _judge_lines(data, kinds, short, scratch, lines, row):
    row[_FULL + 4] = row[_CHARACTERS] - row[_NEWLINES]
    for line in range(lines):
        if scratch.line_full[line]:
            row[_FULL] += 1
            row[_FULL + 1] += kinds[character_before(data, scratch.line_ends[line])] & TERMINAL != 0
            row[_FULL + 2] += scratch.line_characters[line] <= short
