"""The union of two sets of spans against sets of bytes."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pipeline.kernels.span_union import union

CUTS = st.lists(st.integers(0, 30), unique=True, max_size=10).map(sorted)
DOCUMENTS = st.lists(st.tuples(CUTS, CUTS), max_size=4)


def spans_of(cuts, mark):
    lists = [list(zip(c[::2], c[1::2], strict=False)) for c in cuts]
    spans = np.array([span for spans in lists for span in spans], np.int64).reshape(-1, 2)
    return spans, np.full(len(spans), mark), np.cumsum([0, *map(len, lists)])


@given(DOCUMENTS)
def test_the_first_set_is_whole_and_of_the_second_comes_what_overlaps_none_of_it(documents):
    first, second = spans_of([a for a, _ in documents], 1), spans_of([b for _, b in documents], 2)
    spans, marks, ends = union(first, second)
    for d in range(len(documents)):
        ours = [tuple(span) for span in first[0][first[2][d] : first[2][d + 1]].tolist()]
        theirs = [tuple(span) for span in second[0][second[2][d] : second[2][d + 1]].tolist()]
        free = [(a, b) for a, b in theirs if not any(a < y and x < b for x, y in ours)]
        expected = sorted([(*span, 1) for span in ours] + [(*span, 2) for span in free])
        found = zip(spans[ends[d] : ends[d + 1]].tolist(), marks[ends[d] : ends[d + 1]].tolist(), strict=True)
        assert [(*span, mark) for span, mark in found] == expected
