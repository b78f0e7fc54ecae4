"""The index of known passages and what is found by it, against tuples of words."""

from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.kernels import overlap, shingles
from pipeline.schemas import text_buffers
from tests.kernels import reference_overlap as twin

WORDS = st.lists(st.sampled_from("abcd"), max_size=14)


def hashed(texts):
    return shingles.hashes(*text_buffers(pa.array([" ".join(words) for words in texts], pa.large_string())), 1)


def indexed(passages, items, *numbers):
    return overlap.build(*hashed(passages), np.array(items, np.int64), *numbers)


def run_of(key, index):
    """Return what stands for a key: its hash and how many words it is."""
    return int(index.hashes[key]), int(index.sizes[key])


@settings(max_examples=100)
@given(st.lists(WORDS, min_size=1, max_size=6), st.lists(WORDS, max_size=5), st.data())
def test_hits_and_weights_are_those_of_tuples_of_words(passages, documents, data):
    ngram = data.draw(st.integers(1, 5))
    least, most = data.draw(st.integers(1, ngram)), data.draw(st.integers(1, 3))
    items = sorted(data.draw(st.lists(st.integers(0, 3), min_size=len(passages), max_size=len(passages))))
    index, expected = indexed(passages, items, ngram, least, most), twin.built(passages, items, ngram, least, most)
    assert len(index.hashes) == len(expected)
    assert index.totals.tolist() == [sum(p in own for own in expected.values()) for p in range(len(passages))]
    rows, places, keys = overlap.seek(*hashed(documents), index)
    found, passages_M, counts, runs = overlap.weigh(rows, places, keys, index)
    for number, document in enumerate(documents):
        hits = twin.sought(document, expected)
        mine = rows == number
        assert [(p, int(index.sizes[k])) for p, k in zip(places[mine], keys[mine], strict=True)] == [
            (at, len(run)) for at, run in hits
        ]
        weights = zip(passages_M.tolist(), counts.tolist(), runs.tolist(), found.tolist(), strict=True)
        assert {p: (c, r) for p, c, r, row in weights if row == number} == twin.weighed(hits, expected)


def test_equal_runs_have_one_key_and_others_another():
    index = indexed([list("abcab"), list("abx")], [0, 1], 2, 1, 9)
    owners = [index.passages[a:b].tolist() for a, b in pairwise(index.starts.tolist())]
    assert sorted(owners) == [[0], [0], [0, 1], [1]]
    assert len({run_of(k, index) for k in range(4)}) == 4


def test_a_key_of_too_many_items_is_a_matter_of_form_but_not_one_of_many_passages_of_an_item():
    passages = [list("abc"), list("abd"), list("abe")]
    assert indexed(passages, [0, 1, 2], 2, 1, 2).form == 1
    assert indexed(passages, [0, 0, 1], 2, 1, 2).form == 0


def test_a_short_passage_is_found_whole_only():
    index = indexed([list("abc")], [0], 8, 3, 9)
    rows, places, _ = overlap.seek(*hashed([list("xabcx"), list("abxc"), list("ab"), list("abc")]), index)
    assert (rows.tolist(), places.tolist()) == ([0, 3], [1, 0])


def test_hits_within_a_pair_are_those_of_its_passage_and_document():
    index = indexed([list("ab"), list("cd")], [0, 1], 2, 1, 9)
    rows, _, keys = overlap.seek(*hashed([list("abcd"), list("abcd")]), index)
    inside = overlap.within(rows, keys, np.array([0, 1]), np.array([1, 0]), index)
    assert [(r, p) for r, p in zip(rows[inside], index.passages[index.starts[keys[inside]]], strict=True)] == [
        (0, 1),
        (1, 0),
    ]


def test_more_hits_than_expected_are_all_returned():
    index = indexed([list("a")], [0], 1, 1, 9)
    rows, places, _ = overlap.seek(*hashed([["a"] * 5000, ["b"], ["a"] * 3]), index)
    assert places.tolist() == [*range(5000), 0, 1, 2]
    assert rows.tolist() == [0] * 5000 + [2] * 3


def test_least_above_ngram_is_refused():
    with pytest.raises(ValueError, match=r"least must be from 1 to ngram \(3\); got 4"):
        indexed([list("abc")], [0], 3, 4, 9)


def test_no_passages_and_no_documents_are_taken():
    index = indexed([], [], 8, 3, 9)
    assert [len(found) for found in overlap.seek(*hashed([list("abc")]), index)] == [0, 0, 0]
    assert [len(found) for found in overlap.seek(*hashed([]), index)] == [0, 0, 0]
    none = np.zeros(0, np.int64)
    assert [len(found) for found in overlap.weigh(none, none, none, index)] == [0, 0, 0, 0]
