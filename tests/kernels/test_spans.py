"""Windows to spans of whole characters, and texts without spans, against strings."""

from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.kernels import spans
from pipeline.schemas import text_buffers
from tests.kernels import reference_passages as twin

TEXTS = st.lists(st.text(st.sampled_from("abé漢😀"), max_size=20), max_size=6)


@settings(deadline=None)  # the first call compiles
@given(TEXTS, st.integers(1, 9), st.randoms())
def test_windows_take_whole_characters_only(texts, width, random):
    data, offsets = text_buffers(pa.array(["before", *texts], pa.large_string()).slice(1))
    marked = np.array([random.random() < 0.15 for _ in data], bool)
    found, ends = spans.windows(data, offsets, marked, width)
    left, out = spans.cut(data, offsets, found, ends)
    expected = [twin.windows(t, marked[a:b], width) for t, (a, b) in zip(texts, pairwise(offsets), strict=True)]
    assert [bytes(left[a:b]).decode() for a, b in pairwise(out)] == expected
    for a, b in pairwise(ends):
        assert all(end < start for (_, end), (start, _) in pairwise(found[a:b].tolist()))


@pytest.mark.parametrize("wrong", [[[0, 7]], [[2, 1]], [[1, 1]], [[0, 2], [1, 3]], [[-1, 1]], [[4, 5]], [[5, 6]]])
def test_spans_that_are_no_parts_of_the_text_are_refused(wrong):
    data, offsets = text_buffers(pa.array(["abcdé"]))
    with pytest.raises(ValueError, match="spans"):
        spans.cut(data, offsets, np.array(wrong), np.array([0, len(wrong)]))


@settings(deadline=None)
@given(st.lists(st.tuples(st.text("abé漢", max_size=6), st.text("xé", max_size=3)), max_size=8))
def test_marks_are_written_in_place_of_the_spans(parts):
    """Every second part is a span, and what stands beside it is its mark."""
    texts = [part for part, _ in parts]
    data, offsets = text_buffers(pa.array(["".join(texts)], pa.large_string()))
    sizes = np.cumsum([0, *(len(text.encode()) for text in texts)])
    chosen = [i for i in range(0, len(texts), 2) if texts[i]]
    found = np.array([(sizes[i], sizes[i + 1]) for i in chosen], np.int64).reshape(-1, 2)
    marks = text_buffers(pa.array([parts[i][1] for i in chosen], pa.large_string()))
    left, out = spans.cut(data, offsets, found, np.array([0, len(chosen)]), marks)
    expected = "".join(mark if i in chosen else text for i, (text, mark) in enumerate(parts))
    assert bytes(left[: out[1]]).decode() == expected


def test_marks_that_are_not_one_a_span_are_refused():
    data, offsets = text_buffers(pa.array(["abc"]))
    with pytest.raises(ValueError, match="1 spans and 2 marks"):
        spans.cut(data, offsets, np.array([[0, 1]]), np.array([0, 1]), text_buffers(pa.array(["x", "y"])))


def test_no_documents_and_no_spans_are_taken():
    left, out = spans.cut(
        np.zeros(1, np.uint8), np.zeros(1, np.int64), np.zeros((0, 2), np.int64), np.zeros(1, np.int64)
    )
    assert (len(left), out.tolist()) == (0, [0])
