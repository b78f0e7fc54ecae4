"""What is left of texts around spans that are cut out with a margin: the pieces, and the spans that leave them.

Letters: N documents, B bytes in all of them, S spans. Document i is data[offsets[i]:offsets[i + 1]]; its spans are
spans[ends[i]:ends[i + 1]], each (start, end) from the document's first byte, between characters. Margins and pieces are
counted in characters.
"""

import numpy as np
from numba import njit

from pipeline.kernels.hashing import check_offsets, read_only


def around(
    data: np.ndarray, offsets: np.ndarray, spans_S2: np.ndarray, ends: np.ndarray, margin: int, least: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return (spans int64 [., 2], ends int64 [N + 1], pieces int64 [N]): what goes, and how many pieces stay.

    Every span is made longer by `margin` characters on both sides, within its document; spans that overlap or touch
    are one. A piece of fewer than `least` characters between two spans, or beside one, goes with them. pieces[i] is 1
    for a document without spans, 0 where nothing stays. The spans that come back are sorted and disjoint.

    data uint8 [B] is valid UTF-8, offsets int64 [N + 1], spans int64 [S, 2] sorted by their start in each document.

    Raises:
        ValueError: the offsets fall or leave the data.
    """
    offsets = np.ascontiguousarray(offsets, np.int64)
    check_offsets(data, offsets)
    data = read_only(np.ascontiguousarray(data))
    wide_S2, counts = np.empty_like(spans_S2), np.zeros(len(offsets), np.int64)
    pieces_N = np.ones(len(offsets) - 1, np.int64)
    total = _around_all(data, offsets, spans_S2, ends, margin, least, wide_S2, counts, pieces_N)
    return wide_S2[:total].copy(), counts, pieces_N


@njit(cache=True, nogil=True)
def _around_all(data, offsets, spans, ends, margin, least, wide, counts, pieces):
    s = 0
    for document in range(len(offsets) - 1):
        base, stop, first = offsets[document], offsets[document + 1], s
        if ends[document] < ends[document + 1]:
            left = base
            pieces[document] = 0
            for k in range(ends[document], ends[document + 1]):
                start = _back(data, base, base + spans[k, 0], margin)
                end = _on(data, stop, base + spans[k, 1], margin)
                if start <= left or _fewer(data, left, start, least):
                    if s == first:
                        wide[s, 0] = base
                        s += 1
                    wide[s - 1, 1] = left = max(left, end)
                else:
                    wide[s, 0], wide[s, 1] = start, end
                    left = end
                    pieces[document] += 1
                    s += 1
            if _fewer(data, left, stop, least):
                wide[s - 1, 1] = stop
            else:
                pieces[document] += 1
            for k in range(first, s):
                wide[k, 0] -= base
                wide[k, 1] -= base
        counts[document + 1] = s
    return s


@njit(cache=True, nogil=True)
def _back(data, base, at, count):
    """Return the byte at which the character begins that is `count` characters before."""
    while count > 0 and at > base:
        at -= 1
        count -= data[at] & 0xC0 != 0x80
    return at


@njit(cache=True, nogil=True)
def _on(data, stop, at, count):
    """Return the byte behind `count` more characters."""
    while at < stop and (count > 0 or data[at] & 0xC0 == 0x80):
        count -= data[at] & 0xC0 != 0x80
        at += 1
    return at


@njit(cache=True, nogil=True)
def _fewer(data, start, stop, least):
    """Tell whether a piece has fewer characters than `least`, or none."""
    return start == stop or _on(data, stop, start, least - 1) == stop
