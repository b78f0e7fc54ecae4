"""Where in a text its words stand: from the number of a word, as `shingles` counts them, back to bytes.

Letters: N documents, B bytes in all of them, H runs of words, V words of a text. Document i is
data[offsets[i]:offsets[i + 1]]; a place is a byte from the document's first one.

`shingles.plain` puts the parts of a text that need their context into normal form, which may join or part words, so in
such a part (some 256 bytes, up to a space or a line feed) a word cannot be told from the others: it stands where the
part stands.
"""

import numpy as np
from numba import njit

from pipeline.kernels import shingle_kernel, shingles, unicode_table
from pipeline.kernels.hashing import check_offsets, read_only

_SPACE = np.uint64(0x20)
_LENGTH_AT, _LENGTH, _U1, _BYTE = np.uint64(unicode_table.LENGTH_AT), np.uint64(7), np.uint64(1), np.uint64(0xFF)


def locate(
    data: np.ndarray, offsets: np.ndarray, documents_H: np.ndarray, firsts_H: np.ndarray, sizes_H: np.ndarray
) -> np.ndarray:
    """Return int64 [H, 2], the first byte of each run of words and the one behind it, in the text as it is.

    data uint8 [B] is valid UTF-8, offsets int64 [N + 1]; documents int64 [H] ascending, firsts and sizes int64 [H]: the
    run is words first to first + size - 1 of its document.

    Raises:
        ValueError: the offsets fall or leave the data, or a document has not so many words.
    """
    offsets = np.ascontiguousarray(offsets, np.int64)
    check_offsets(data, offsets)
    data, table = read_only(np.ascontiguousarray(data)), unicode_table.table()
    spans_H2, left = np.empty((len(documents_H), 2), np.int64), np.zeros(len(documents_H), np.bool_)
    counts_H2 = np.stack([np.asarray(firsts_H, np.int64), np.asarray(firsts_H + sizes_H - 1, np.int64)], axis=1)
    _locate_all(data, offsets, np.asarray(documents_H, np.int64), counts_H2, table, spans_H2, left)
    for document in np.unique(documents_H[left]).tolist():
        runs = slice(*np.searchsorted(documents_H, [document, document + 1]))
        words_V2 = _words(data, int(offsets[document]), int(offsets[document + 1]), table)
        _check(document, len(words_V2), int(counts_H2[runs, 1].max()))
        spans_H2[runs, 0] = words_V2[counts_H2[runs, 0], 0]
        spans_H2[runs, 1] = words_V2[counts_H2[runs, 1], 1]
    short = np.flatnonzero(spans_H2[:, 1] < 0)
    if len(short):
        document = int(documents_H[short[0]])
        _check(document, int(~spans_H2[short[0], 1]), int(counts_H2[documents_H == document, 1].max()))
    return spans_H2


def _check(document: int, there: int, last: int) -> None:
    if last >= there:
        raise ValueError(f"document {document} has {there:,} words; word {last:,} was asked for")


@njit(cache=True, nogil=True)
def _locate_all(data, offsets, documents, counts, table, spans, left):
    """Write the spans of the runs in documents of which no part needs its context, and which runs are left.

    Where a document has too few words, the end is the complement of how many it has.
    """
    most, stop = np.int64(0), np.int64(0)
    for document in documents:
        most = max(most, offsets[document + 1] - offsets[document])
    words, context = np.empty((most, 2), np.int64), np.empty(2 * (most // shingle_kernel.CONTEXT_BYTES + 1), np.int64)
    while stop < len(documents):
        start, document = stop, documents[stop]
        begin, end = offsets[document], offsets[document + 1]
        while stop < len(documents) and documents[stop] == document:
            stop += 1
        if shingle_kernel.context_spans(data, begin, end, table, context) > 0:
            left[start:stop] = True
            continue
        there = _words_all(data, begin, end, begin, table, words)
        for h in range(start, stop):
            fits = counts[h, 1] < there
            spans[h, 0] = words[counts[h, 0], 0] if fits else -1
            spans[h, 1] = words[counts[h, 1], 1] if fits else ~there


def _words(data: np.ndarray, start: int, stop: int, table: np.ndarray) -> np.ndarray:
    """Return int64 [V, 2], where each word of one document begins and ends."""
    context = np.empty(2 * ((stop - start) // shingle_kernel.CONTEXT_BYTES + 1), np.int64)
    count = shingle_kernel.context_spans(data, start, stop, table, context)
    at, found = start, []
    for first, end in context[: 2 * count].reshape(-1, 2).tolist():
        found += [_plain_words(data, at, first, start, table), _whole(data, first, end, start)]
        at = end
    return np.concatenate([*found, _plain_words(data, at, stop, start, table)])


def _whole(data: np.ndarray, first: int, end: int, base: int) -> np.ndarray:
    """Return the part's own bounds for each of its words."""
    part = shingles.plain(data, np.array([first, end]))
    words, _ = shingles.hashes(*part, 1)
    return np.tile(np.array([first - base, end - base]), (len(words), 1))


def _plain_words(data: np.ndarray, start: int, stop: int, base: int, table: np.ndarray) -> np.ndarray:
    words_V2 = np.empty((stop - start, 2), np.int64)
    return words_V2[: _words_all(data, start, stop, base, table, words_V2)]


@njit(cache=True, nogil=True)
def _words_all(data, start, stop, base, table, words):
    count, at, inside = 0, start, False
    while at < stop:
        code, width = _character(data, at)
        entry = table[code]
        spaced = entry & _BYTE == _SPACE
        alone = spaced and (entry >> _LENGTH_AT) & _LENGTH > _U1
        if inside and not spaced:
            words[count - 1, 1] = at + width - base
        elif not spaced or alone:
            words[count, 0], words[count, 1] = at - base, at + width - base
            count += 1
        inside = not spaced
        at += width
    return count


@njit(cache=True, nogil=True)
def _character(data, at):
    """Return (code point, bytes) of the character at a byte of valid UTF-8."""
    byte = np.int64(data[at])
    if byte < 0x80:
        return byte, 1
    width = 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4
    code = byte & (0x7F >> width)
    for k in range(1, width):
        code = code << 6 | np.int64(data[at + k]) & 0x3F
    return code, width
