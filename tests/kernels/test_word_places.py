"""Where words stand in a text, against the words themselves."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.kernels import shingles, word_places
from pipeline.schemas import text_buffers
from tests.kernels import reference_dedup as twin

PLAIN = st.text(st.sampled_from("aB_9é ,.-\n漢ไ한"), max_size=60)
CONTEXT = "e\u0301 Σ İ क़"


def spans_of(texts, documents, firsts, sizes):
    data, offsets = text_buffers(pa.array(["x", *texts], pa.large_string()).slice(1))
    found = word_places.locate(data, offsets, *(np.array(v, np.int64) for v in (documents, firsts, sizes)))
    return [bytes(data[offsets[d] + a : offsets[d] + b]).decode() for d, (a, b) in zip(documents, found, strict=True)]


def words_in(text):
    return shingles.hashes(*shingles.plain(*text_buffers(pa.array([text], pa.large_string()))), 1)[0]


@settings(max_examples=100)
@given(st.lists(PLAIN, max_size=4))
def test_each_word_is_where_it_stands(texts):
    asked = [(d, w) for d, text in enumerate(texts) for w in range(len(twin.words(text)))]
    found = spans_of(texts, [d for d, _ in asked], [w for _, w in asked], [1] * len(asked))
    assert [text.lower() for text in found] == [word for text in texts for word in twin.words(text)]


@settings(max_examples=100)
@given(
    st.lists(st.sampled_from(["word ", "e\u0301t ", "ΑΣ ", "x" * 300 + "\n", "漢", "ab, "]), min_size=1, max_size=60)
)
def test_a_run_of_words_lies_within_what_is_located(parts):
    """In parts that need their context the span may be wider, never beside the words."""
    text = "".join(parts)
    count = len(words_in(text))
    sizes = [min(3, count - first) for first in range(count)]
    for first, (size, span) in enumerate(zip(sizes, spans_of([text], [0] * count, range(count), sizes), strict=True)):
        wanted, there = words_in(text)[first : first + size].tolist(), words_in(span).tolist()
        assert any(there[i : i + size] == wanted for i in range(len(there) - size + 1))


def test_words_the_document_does_not_have_are_refused():
    with pytest.raises(ValueError, match="document 0 has 2 words; word 2 was asked for"):
        spans_of(["two words"], [0], [2], [1])
