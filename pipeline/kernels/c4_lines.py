"""The rules of C4 about lines: which stay, what is cut out of them, how many sentences that leaves.

Letters: N documents, B bytes in all of them, S spans, P phrases, C counts. Document i is
data[offsets[i]:offsets[i + 1]], valid UTF-8; its spans are spans[ends[i]:ends[i + 1]], each (start, end) from its first
byte, sorted and disjoint.

The rules are those of Raffel et al. 2020 (section 2.2 and the code that came with it) in the order and to the letter of
datatrove's C4QualityFilter, but for sentences. A line is one of str.splitlines(), without white space around it; its
words are those of str.split(). It goes if

    a word has more than `word_length` characters
    it does not end with one of . ? ! " ' or ends with "..."             (citations taken out before: [1] [] [edit]
    it has fewer than `line_words` words                                  [citation needed])
    `javascript` or a phrase on policy is in it, small or capital ASCII letters alike

Lines that stay are joined by one "\\n", and white space around the whole is cut. A sentence ends at a run of marks that
end sentences and of quotes and brackets behind them, if white space follows or one of the marks is not ASCII.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numba import njit

from pipeline.kernels import c4_phrases, text_masks
from pipeline.kernels.character_kinds import DIGIT, TERMINAL, WHITE, character, kinds
from pipeline.kernels.hashing import check_offsets, read_only
from pipeline.kernels.simd import address
from pipeline.kernels.text_masks import count_ones, last_zero, next_one, next_zero

COUNTS = ("sentences", "lorem_ipsum", "curly_bracket", "bad_words", "bytes_left", "kept_lines")
DROPPED = ("word_length", "terminal_punctuation", "line_words", "javascript", "policy")
"""Why a line goes; the counts of lines by these follow those in `COUNTS`."""
POLICY = ("terms of use", "privacy policy", "cookie policy", "uses cookies", "use of cookies", "use cookies")

_SENTENCES, _HAS_LOREM, _HAS_CURLY, _HAS_BAD, _LEFT, _KEPT_LINES = range(len(COUNTS))
_DROPPED_AT = len(COUNTS)
_KEPT = -1
_CLOSERS = "\"')]”’»"
_CITATIONS = (b"[edit]", b"[citation needed]")
_CLOSE, _FEED, _DOT = (ord(c) for c in "]\n.")
_ENDS_LINE = np.zeros(128, np.bool_)
_ENDS_LINE[[ord(c) for c in ".?!\"'"]] = True


class Rules(NamedTuple):
    """Which lines go; 0 and False switch a rule off."""

    terminal_punctuation: bool = True
    line_words: int = 3
    word_length: int = 1000
    citations: bool = True
    javascript: bool = True
    flanked: bool = True  # a bad word counts only between characters that are in no word


class _Scratch(NamedTuple):
    """Room for one document."""

    buffer: np.ndarray  # uint8: a line without its citations
    masks: np.ndarray  # uint64 [10, Z], see `text_masks`
    line_masks: np.ndarray  # uint64 [10, Z], of the buffer
    hits: np.ndarray  # uint64 [2, Z]: where phrases may begin, in the document and in the buffer
    block: np.ndarray  # uint8 [64]


def judge(
    data: np.ndarray,
    offsets: np.ndarray,
    keep: np.ndarray | None = None,
    *,
    rules: Rules = Rules(),  # noqa: B008, it is a constant
    policy: Sequence[str] = POLICY,
    bad_words: Sequence[str] = (),
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return (spans int64 [S, 2], breaks bool [S], ends int64 [N + 1], counts int64 [N, C]).

    In the place of a span with `breaks` comes a "\\n". Counts are `COUNTS`, then lines by `DROPPED`; of a document that
    `keep` leaves out they are zeros, and it has no spans.

    data uint8 [B], offsets int64 [N + 1], keep bool [N]. Phrases have two characters or more and no line breaks.

    Raises:
        ValueError: the offsets fall or leave the data; a phrase is too short.
    """
    offsets = np.ascontiguousarray(offsets, np.int64)
    check_offsets(data, offsets)
    data, offsets = read_only(np.ascontiguousarray(data)), read_only(offsets)
    keep = np.ones(len(offsets) - 1, np.bool_) if keep is None else np.ascontiguousarray(keep, np.bool_)
    phrases = c4_phrases.table(policy, bad_words)
    # A line makes a span in front of it, a citation one; both take two bytes or more of the text, but for the last.
    most = int(np.diff(offsets).max(initial=0))
    scratch = _Scratch(
        np.empty(most, np.uint8),
        text_masks.room(most),
        text_masks.room(most),
        np.empty((2, most // 64 + 3), np.uint64),
        np.empty(64, np.uint8),
    )
    room, counts_NC = np.empty((most + 4, 3), np.int64), np.zeros((len(keep), len(COUNTS) + len(DROPPED)), np.int64)
    spans, ends = _judge_all(data, offsets, keep, kinds(), _closers(), Rules(*rules), phrases, scratch, room, counts_NC)
    return spans[:, :2].copy(), spans[:, 2] == 1, ends, counts_NC


def _closers() -> np.ndarray:
    return np.array([ord(c) for c in _CLOSERS], np.int64)


@njit(cache=True, nogil=True)
def _judge_all(data, offsets, keep, kinds, closers, rules, phrases, scratch, room, counts):
    out, s = np.empty((1024, 3), np.int64), 0
    ends = np.zeros(len(offsets), np.int64)
    for d in range(len(keep)):
        if keep[d] and offsets[d + 1] > offsets[d]:
            count = _document(
                data, offsets[d], offsets[d + 1], kinds, closers, rules, phrases, scratch, room, counts[d]
            )
            first, count = _strip(data, offsets[d], offsets[d + 1], kinds, room, count)
            if s + count > len(out):
                larger = np.empty((2 * (s + count), 3), np.int64)
                larger[:s] = out[:s]
                out = larger
            left = offsets[d + 1] - offsets[d]
            for k in range(first, count):
                out[s, 0], out[s, 1], out[s, 2] = room[k, 0], room[k, 1], room[k, 2]
                left += room[k, 2] - (room[k, 1] - room[k, 0])
                s += 1
            counts[d, _LEFT] = left
        ends[d + 1] = s
    return out[:s], ends


@njit(cache=True, nogil=True)
def _document(data, begin, end, kinds, closers, rules, phrases, scratch, room, row):
    """Write (start, end, break) of what goes of one document, but for white space at its ends; return how many."""
    masks, of_line, size = text_masks.at(scratch.masks), text_masks.at(scratch.line_masks), end - begin
    hits, line_hits = address(scratch.hits[0]), address(scratch.hits[1])
    text_masks.fill(data, begin, end, kinds, masks, scratch.block)
    c4_phrases.mark(data, begin, end, phrases, scratch.block, hits)
    s, kept_to, any_kept, i = 0, np.int64(0), False, np.int64(0)
    while i < size:
        a, b, i = _line(data, begin, masks, i, size)
        before, few = s, not _has_words(masks, a, b, rules.line_words)
        s = _citations(data, begin, masks, a, b, kinds, room, s + 1) - 1 if rules.citations else s
        if rules.word_length and _has_long(masks, a, b, rules.word_length):
            verdict = 0
        elif s > before:
            n = _without(data, begin, a, b, room, before + 1, s + 1, scratch.buffer)
            text_masks.fill(scratch.buffer, 0, n, kinds, of_line, scratch.block)
            c4_phrases.mark(scratch.buffer, 0, n, phrases, scratch.block, line_hits)
            verdict = _judge_line(scratch.buffer, 0, of_line, line_hits, 0, n, few, kinds, closers, rules, phrases, row)
        else:
            verdict = _judge_line(data, begin, masks, hits, a, b, few, kinds, closers, rules, phrases, row)
        if verdict != _KEPT:
            row[_DROPPED_AT + verdict] += 1
            s = before
            continue
        row[_KEPT_LINES] += 1
        # The place before the citations was left free for what lies between this line and the one before.
        if a == kept_to or (any_kept and a - kept_to == 1 and data[begin + kept_to] == _FEED):
            for k in range(before, s):
                room[k] = room[k + 1]
        else:
            room[before, 0], room[before, 1], room[before, 2] = kept_to, a, any_kept
            s += 1
        kept_to, any_kept = b, True
    if kept_to < size:
        room[s, 0], room[s, 1], room[s, 2] = kept_to, size, 0
        s += 1
    return s


@njit(cache=True, nogil=True, inline="always")
def _line(data, begin, masks, i, size):
    """Return (begin, end, where the next line begins) of the line at i, white space around it left out."""
    stop = next_one(masks.breaks, i, size)
    a = next_zero(masks.white, i, stop)
    after = text_masks.behind_break(data, begin, masks, stop, size)
    return (a, last_zero(masks.white, a, stop), after) if a < stop else (i, i, after)


@njit(cache=True, nogil=True)
def _has_long(masks, a, b, most):
    """Tell whether a word of the line has more than `most` characters."""
    if b - a <= most:
        return False
    while a < b:
        stop = next_one(masks.white, a, b)
        if stop - a - count_ones(masks.parts, a, stop) > most:
            return True
        a = next_zero(masks.white, stop, b)
    return False


@njit(cache=True, nogil=True)
def _has_words(masks, a, b, least):
    """Tell whether the line has so many words."""
    while least > 0 and a < b:
        a = next_zero(masks.white, next_one(masks.white, a, b), b)
        least -= 1
    return least <= 0


@njit(cache=True, nogil=True, inline="always")
def _citations(data, begin, masks, a, b, kinds, room, s):
    """Write the citations in a:b of the document from place s on; return where the next would be written."""
    i = next_one(masks.brackets, a, b)
    while i < b:
        stop = _citation_end(data, begin + i, begin + b, kinds)
        if stop > 0:
            room[s, 0], room[s, 1], room[s, 2] = i, stop - begin, 0
            s += 1
        i = next_one(masks.brackets, max(stop - begin, i + 1), b)
    return s


@njit(cache=True, nogil=True)
def _citation_end(data, i, b, kinds):
    """Return where the citation at the bracket at i ends; 0 if it is none."""
    j = i + 1
    while j < b:
        code, width = character(data, j)
        if kinds[np.uint64(code)] & DIGIT == 0:
            break
        j += width
    if j < b and data[j] == _CLOSE:
        return j + 1
    for text in _CITATIONS:
        if i + len(text) <= b:
            same = True
            for k in range(len(text)):
                same &= data[i + k] == text[k]
            if same:
                return i + len(text)
    return 0


@njit(cache=True, nogil=True)
def _without(data, begin, a, b, room, first, stop, buffer):
    """Copy a:b of the document without the spans first to stop; return how many bytes that is."""
    n = 0
    for k in range(first, stop + 1):
        until = room[k, 0] if k < stop else b
        for i in range(begin + a, begin + until):
            buffer[n] = data[i]
            n += 1
        a = room[k, 1] if k < stop else b
    return n


@njit(cache=True, nogil=True, inline="always")
def _judge_line(data, begin, masks, hits, a, b, few, kinds, closers, rules, phrases, row):
    """Return the place in `DROPPED` of why the line a:b of a text goes, _KEPT if it stays; count what is in it."""
    if rules.terminal_punctuation:
        end = begin + b
        if a == b or data[end - 1] >= 0x80 or not _ENDS_LINE[data[end - 1]]:
            return 1
        if b - a >= 3 and data[end - 1] == _DOT and data[end - 2] == _DOT and data[end - 3] == _DOT:
            return 1
    if few:
        return 2
    found = c4_phrases.search(data, begin, hits, a, b, kinds, rules.flanked, phrases)
    row[_HAS_LOREM] |= found & c4_phrases.LOREM != 0
    if rules.javascript and found & c4_phrases.JAVASCRIPT:
        return 3
    row[_HAS_CURLY] |= next_one(masks.curlies, a, b) < b
    if found & c4_phrases.POLICY:
        return 4
    row[_HAS_BAD] |= found & c4_phrases.BAD != 0
    row[_SENTENCES] += _sentences(data, begin, masks, a, b, kinds, closers)
    return _KEPT


@njit(cache=True, nogil=True, inline="always")
def _sentences(data, begin, masks, a, b, kinds, closers):
    """Return the sentences of the line a:b of a text; a line of nothing is one."""
    count, i = 1, next_one(masks.stops, a, b)
    while i < b:
        code, width = character(data, begin + i)
        i, wide = i + width, code >= 0x80
        while i < b:
            code, width = character(data, begin + i)
            ends = kinds[np.uint64(code)] & TERMINAL != 0
            if not ends and not _closes(code, closers):
                break
            wide |= ends and code >= 0x80
            i += width
        count += i < b and (wide or kinds[np.uint64(code)] & WHITE != 0)
        i = next_one(masks.stops, i, b)
    return count


@njit(cache=True, nogil=True)
def _closes(code, closers):
    found = False
    for closer in closers:
        found |= code == closer
    return found


@njit(cache=True, nogil=True)
def _strip(data, begin, end, kinds, room, count):
    """Widen the first and the last span over the white space around what stays; return (first, end) of the spans."""
    at, first = 0, 0
    while at < end - begin:
        if first < count and room[first, 0] == at:
            at, first = room[first, 1], first + 1
            continue
        code, width = character(data, begin + at)
        if kinds[np.uint64(code)] & WHITE == 0:
            break
        at += width
    if at > 0:
        if first == 0:
            for k in range(count, 0, -1):
                room[k] = room[k - 1]
            first, count = 1, count + 1
        first -= 1
        room[first, 0], room[first, 1], room[first, 2] = 0, at, 0
    at, last = end - begin, count
    while at > 0:
        if last > first and room[last - 1, 1] == at:
            at, last = room[last - 1, 0], last - 1
            continue
        start = begin + at - 1
        while data[start] & 0xC0 == 0x80:
            start -= 1
        if kinds[np.uint64(character(data, start)[0])] & WHITE == 0:
            break
        at = start - begin
    if at < end - begin:
        room[last, 0], room[last, 1], room[last, 2] = at, end - begin, 0
        count = last + 1
    return first, count
