"""Lines, paragraphs, the first of equal ones and what is cut out, against strings and loops."""

from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.kernels import passages, spans
from pipeline.schemas import text_buffers
from tests.kernels import reference_passages as twin

TEXT = st.text(st.sampled_from("\n\n\nab \t\u3000\u00a0é漢"), max_size=30)
TEXTS = st.lists(TEXT, max_size=8)


def buffers(texts):
    """Return data and offsets of a slice, so that the first text does not begin at 0."""
    return text_buffers(pa.array(["in front\n", *texts], pa.large_string()).slice(1))


def found(cut, texts):
    """Return the passages of each text as strings."""
    data, offsets = buffers(texts)
    begins, ends, firsts = cut(data, offsets)
    strings = [bytes(data[b:e]).decode() for b, e in zip(begins, ends, strict=True)]
    return [strings[a:b] for a, b in pairwise(firsts)]


@settings(deadline=None)  # the first call compiles
@given(TEXTS)
def test_lines_are_what_newlines_part(texts):
    assert found(passages.lines, texts) == [twin.lines(text) for text in texts]


@settings(deadline=None)  # the first call compiles
@given(TEXTS)
def test_paragraphs_are_runs_of_lines_that_are_not_blank(texts):
    assert found(passages.paragraphs, texts) == [twin.paragraphs(text) for text in texts]


@settings(deadline=None)  # the first call compiles
@given(TEXTS, st.randoms())
def test_what_is_left_of_lines_are_the_other_lines(texts, random):
    data, offsets = buffers(texts)
    begins, ends, firsts = passages.lines(data, offsets)
    drop = np.array([random.random() < 0.4 for _ in begins], bool)
    removed, counts = passages.removed(begins, ends, firsts, offsets, drop)
    left, out = spans.cut(data, offsets, removed, counts)
    expected = [twin.lines_left(text, drop[a:b]) for text, (a, b) in zip(texts, pairwise(firsts), strict=True)]
    assert [bytes(left[a:b]).decode() for a, b in pairwise(out)] == expected


@settings(deadline=None)  # the first call compiles
@given(TEXTS, st.randoms())
def test_what_is_left_of_paragraphs_are_the_other_paragraphs(texts, random):
    data, offsets = buffers(texts)
    begins, ends, firsts = passages.paragraphs(data, offsets)
    drop = np.array([random.random() < 0.4 for _ in begins], bool)
    removed, counts = passages.removed(begins, ends, firsts, offsets, drop)
    left, out = spans.cut(data, offsets, removed, counts)
    for text, (a, b), (c, d) in zip(texts, pairwise(firsts), pairwise(out), strict=True):
        kept = [p for p, gone in zip(twin.paragraphs(text), drop[a:b], strict=True) if not gone]
        assert twin.paragraphs(bytes(left[c:d]).decode()) == kept


def test_the_last_line_takes_the_newline_before_it_and_no_span_touches_another():
    data, offsets = buffers(["a\nb", "a\nb\n", "a\nb\nc\n", "x"])
    begins, ends, firsts = passages.lines(data, offsets)
    drop = np.array([0, 1, 0, 1, 0, 1, 1, 0, 0, 1], bool)
    removed, counts = passages.removed(begins, ends, firsts, offsets, drop)
    assert removed.tolist() == [[1, 3], [2, 4], [0, 4], [0, 1]]
    assert counts.tolist() == [0, 1, 2, 3, 4]


KEYS = st.lists(st.lists(st.integers(0, 5), max_size=6), max_size=8)


def hashes_of(documents):
    """Return hashes of which the lower halves clash, and firsts."""
    keys = np.array([key for document in documents for key in document], np.uint64).reshape(-1)
    return np.stack([keys % np.uint64(2), keys], axis=1), np.cumsum([0, *map(len, documents)])


@settings(deadline=None)  # the first call compiles
@given(KEYS, st.randoms())
def test_distinct_passages_are_the_first_in_the_order_and_count_documents(documents, random):
    hashes, firsts = hashes_of(documents)
    order = random.sample(range(len(documents)), len(documents))
    chosen = hashes[:, 1] != 5
    places, counts = passages.distinct(hashes, chosen, firsts, np.array(order, np.int64))
    expected = {}
    for document in order:
        for p in range(firsts[document], firsts[document + 1]):
            if chosen[p]:
                expected.setdefault(int(hashes[p, 1]), []).append((p, document))
    assert places.tolist() == [rows[0][0] for rows in expected.values()]
    assert counts.tolist() == [len({document for _, document in rows}) for rows in expected.values()]


@settings(deadline=None)  # the first call compiles
@given(KEYS, st.lists(st.integers(0, 5), unique=True))
def test_wanted_passages_are_found(documents, wanted):
    hashes, _ = hashes_of(documents)
    asked = np.array([(key % 2, key) for key in wanted], np.uint64).reshape(-1, 2)
    found = passages.find(hashes, hashes[:, 1] != 5, asked)
    expected = [wanted.index(key) if key in wanted and key != 5 else -1 for key in hashes[:, 1].tolist()]
    assert found.tolist() == expected


def test_offsets_that_leave_the_data_are_refused():
    with pytest.raises(ValueError, match="offsets must rise"):
        passages.lines(np.zeros(3, np.uint8), np.array([0, 4]))
