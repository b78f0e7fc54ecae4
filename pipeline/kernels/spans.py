"""Byte spans of texts: from marked windows to spans between characters, and texts without them or with marks instead.

Letters: N documents, B bytes in all of them, S spans. Document i is data[offsets[i]:offsets[i + 1]]; its spans are
spans[ends[i]:ends[i + 1]], each (start, end) from the document's first byte, sorted and disjoint.

A character begins at every byte that is not 10xxxxxx (RFC 3629), so a boundary is seen without reading from the start.
"""

import numpy as np
from numba import njit

from pipeline.kernels.hashing import check_offsets, read_only


def windows(data: np.ndarray, offsets: np.ndarray, marked_B: np.ndarray, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Return (spans int64 [S, 2], ends int64 [N + 1]): the union of the windows that begin at marked bytes.

    A span that begins or ends within a character is made smaller, so that the character stays whole; one of which
    nothing is left is none. Spans that overlap or touch are one.

    data uint8 [B] is valid UTF-8, offsets int64 [N + 1], marked bool [B]. A window is `width` bytes and is cut at the
    end of its document.
    """
    offsets = np.ascontiguousarray(offsets, np.int64)
    check_offsets(data, offsets)
    data = read_only(np.ascontiguousarray(data))
    # Spans are at least `width` bytes and one byte apart, but those at the ends of documents.
    most = int(offsets[-1] - offsets[0]) // (width + 1) + len(offsets)
    spans_S2, counts = np.empty((most, 2), np.int64), np.zeros(len(offsets), np.int64)
    total = _windows_all(data, read_only(offsets), marked_B, width, spans_S2, counts)
    return spans_S2[:total].copy(), counts


def cut(
    data: np.ndarray,
    offsets: np.ndarray,
    spans_S2: np.ndarray,
    ends: np.ndarray,
    marks: tuple[np.ndarray, np.ndarray] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Return (data uint8, offsets int64 [N + 1]) of the documents with a mark in place of each span, or without them.

    data uint8 [B], offsets int64 [N + 1], spans int64 [S, 2], ends int64 [N + 1]. A document without spans is copied.
    The mark of span s is marks[0][marks[1][s]:marks[1][s + 1]], valid UTF-8; an empty one deletes. No marks delete all.

    Raises:
        ValueError: spans overlap, are not sorted, leave their document or cut a character; says of which document. Or
            there is not a mark for each.
    """
    offsets = np.ascontiguousarray(offsets, np.int64)
    check_offsets(data, offsets)
    data, spans_S2 = read_only(np.ascontiguousarray(data)), np.ascontiguousarray(spans_S2, np.int64)
    wrong = _first_wrong(data, offsets, spans_S2, ends)
    if wrong >= 0:
        found = spans_S2[ends[wrong] : ends[wrong + 1]].tolist()
        raise ValueError(
            f"the spans {found[:4]} of document {wrong} are not sorted, disjoint parts of its "
            f"{offsets[wrong + 1] - offsets[wrong]:,} bytes that begin and end between characters"
        )
    mark_data, mark_offsets = marks or (np.zeros(1, np.uint8), np.zeros(len(spans_S2) + 1, np.int64))
    mark_offsets = np.ascontiguousarray(mark_offsets, np.int64)
    check_offsets(mark_data, mark_offsets)
    if len(mark_offsets) != len(spans_S2) + 1:
        raise ValueError(f"there are {len(spans_S2):,} spans and {len(mark_offsets) - 1:,} marks for them")
    gone = int((spans_S2[:, 1] - spans_S2[:, 0]).sum()) - int(mark_offsets[-1] - mark_offsets[0])
    out = np.empty(int(offsets[-1] - offsets[0]) - gone + 1, np.uint8)
    out_offsets = np.zeros(len(offsets), np.int64)
    _cut_all(data, offsets, spans_S2, ends, read_only(mark_data), mark_offsets, out, out_offsets)
    return out[: out_offsets[-1]], out_offsets


@njit(cache=True, nogil=True)
def _inside(data, i, stop):
    """Tell whether byte i, which may be the end of the document, lies within a character."""
    return i < stop and (data[i] & 0xC0) == 0x80


@njit(cache=True, nogil=True)
def _windows_all(data, offsets, marked, width, spans, counts):
    s = 0
    for document in range(len(offsets) - 1):
        base, stop = offsets[document], offsets[document + 1]
        start, end = base, base
        for i in range(base, stop):
            if marked[i]:
                if i > end:
                    s = _add(data, base, start, end, stop, spans, s)
                    start = i
                end = min(i + width, stop)
        s = _add(data, base, start, end, stop, spans, s)
        counts[document + 1] = s
    return s


@njit(cache=True, nogil=True)
def _add(data, base, start, end, stop, spans, s):
    """Add a span of whole characters, unless there is none; return how many spans there are then."""
    while start < end and _inside(data, start, stop):
        start += 1
    while start < end and _inside(data, end, stop):
        end -= 1
    if start < end:
        spans[s, 0], spans[s, 1] = start - base, end - base
        s += 1
    return s


@njit(cache=True, nogil=True)
def _first_wrong(data, offsets, spans, ends):
    """Return the first document whose spans are not what they should be; -1 if all are."""
    for document in range(len(offsets) - 1):
        base, stop = offsets[document], offsets[document + 1]
        before = base
        for s in range(ends[document], ends[document + 1]):
            start, end = base + spans[s, 0], base + spans[s, 1]
            if start < before or end <= start or end > stop:
                return document
            if _inside(data, start, stop) or _inside(data, end, stop):
                return document
            before = end
    return -1


@njit(cache=True, nogil=True)
def _cut_all(data, offsets, spans, ends, mark_data, mark_offsets, out, out_offsets):
    o = 0
    for document in range(len(offsets) - 1):
        base = offsets[document]
        start = base
        for s in range(ends[document], ends[document + 1]):
            o = _copy(data, start, base + spans[s, 0], out, o)
            o = _copy(mark_data, mark_offsets[s], mark_offsets[s + 1], out, o)
            start = base + spans[s, 1]
        o = _copy(data, start, offsets[document + 1], out, o)
        out_offsets[document + 1] = o


@njit(cache=True, nogil=True)
def _copy(data, start, stop, out, o):
    for i in range(start, stop):
        out[o] = data[i]
        o += 1
    return o
