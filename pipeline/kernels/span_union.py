"""Two sets of spans of the same texts as one, without overlaps.

Letters: N documents, S and T spans. The spans of document i are spans[ends[i]:ends[i + 1]], each (start, end) from its
first byte, sorted and disjoint; each has a number, its mark.
"""

import numpy as np
from numba import njit

Spans = tuple[np.ndarray, np.ndarray, np.ndarray]
"""(spans int64 [S, 2], marks int64 [S], ends int64 [N + 1])"""


def union(first: Spans, second: Spans) -> Spans:
    """Return the spans of both, in order; one of the second that overlaps one of the first is left out.

    Spans that only touch do not overlap.
    """
    spans, marks, ends = (np.ascontiguousarray(part, np.int64) for part in first)
    others, other_marks, other_ends = (np.ascontiguousarray(part, np.int64) for part in second)
    out_S2 = np.empty((len(spans) + len(others), 2), np.int64)
    marks_S, out_ends = np.empty(len(out_S2), np.int64), np.zeros(len(ends), np.int64)
    total = _union_all(spans, marks, ends, others, other_marks, other_ends, out_S2, marks_S, out_ends)
    return out_S2[:total].copy(), marks_S[:total].copy(), out_ends


@njit(cache=True, nogil=True)
def _union_all(spans, marks, ends, others, other_marks, other_ends, out, out_marks, out_ends):
    s = 0
    for d in range(len(ends) - 1):
        a, b = ends[d], other_ends[d]
        while a < ends[d + 1] or b < other_ends[d + 1]:
            if b == other_ends[d + 1] or (a < ends[d + 1] and spans[a, 0] < others[b, 1]):
                # The next of the second set either overlaps this one or lies behind it.
                out[s, 0], out[s, 1], out_marks[s] = spans[a, 0], spans[a, 1], marks[a]
                while b < other_ends[d + 1] and others[b, 0] < spans[a, 1]:
                    b += 1
                a += 1
            else:
                out[s, 0], out[s, 1], out_marks[s] = others[b, 0], others[b, 1], other_marks[b]
                b += 1
            s += 1
        out_ends[d + 1] = s
    return s
