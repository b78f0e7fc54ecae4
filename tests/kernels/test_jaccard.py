"""Similarity and containment against Python's sets."""

from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.kernels import jaccard, shingles
from pipeline.schemas import text_buffers
from tests.kernels import reference_dedup as twin
from tests.kernels.test_minhash import ragged

SETS = st.lists(st.lists(st.integers(0, 12), max_size=15), max_size=12)


@settings(deadline=None)  # the first call compiles
@given(SETS)
def test_distinct_keeps_each_shingle_once_in_the_order_of_first_occurrence(documents):
    found, ends = jaccard.distinct(*ragged(documents))
    assert [found[a:b].tolist() for a, b in pairwise(ends)] == [list(dict.fromkeys(d)) for d in documents]


@settings(deadline=None)  # the first call compiles
@given(SETS.filter(bool), st.data())
def test_similarities_are_those_of_the_sets(documents, data):
    number = st.integers(0, len(documents) - 1)
    pairs = data.draw(st.lists(st.tuples(number, number)))
    a, b = (np.array([pair[side] for pair in pairs], np.int64) for side in (0, 1))
    found, contained = jaccard.similarities(*jaccard.distinct(*ragged(documents)), a, b)
    sets = [(set(documents[i]), set(documents[j])) for i, j in pairs]
    assert found.tolist() == [twin.jaccard(mine, theirs) for mine, theirs in sets]
    assert contained.tolist() == [len(mine & theirs) / len(mine) if mine else 0.0 for mine, theirs in sets]


@settings(deadline=None)  # the first call compiles
@given(SETS.filter(bool), st.data(), st.sampled_from([0.2, 0.5, 0.8, 1.0]), st.sampled_from([None, 0.3, 0.75, 1.0]))
def test_a_pair_may_be_left_early_only_if_it_is_unlike_by_either_measure(documents, data, threshold, containment):
    number = st.integers(0, len(documents) - 1)
    pairs = data.draw(st.lists(st.tuples(number, number)))
    a, b = (np.array([pair[side] for pair in pairs], np.int64) for side in (0, 1))
    found = jaccard.similarities(*jaccard.distinct(*ragged(documents)), a, b, threshold, containment)
    for (i, j), similarity, contained in zip(pairs, *(x.tolist() for x in found), strict=True):
        mine, theirs = set(documents[i]), set(documents[j])
        true = twin.jaccard(mine, theirs), len(mine & theirs) / len(mine) if mine else 0.0
        like = true[0] >= threshold or (containment is not None and true[1] >= containment)
        assert (similarity, contained) == true or (not like and (similarity, contained) == (-1, -1))


def test_a_pair_exactly_at_the_threshold_is_never_left_early():
    for union in range(1, 80):
        sets = ragged([list(range(1, n + 1)) for n in range(union + 1)])
        for common in range(1, union + 1):
            pair = np.array([common]), np.array([union])
            found, _ = jaccard.similarities(*sets, *pair, common / union)
            assert found[0] == common / union


def test_the_order_of_pairs_changes_no_similarity():
    random = np.random.default_rng(5)
    sets = [random.integers(0, 40, random.integers(0, 60)).tolist() for _ in range(20)]
    given_ = jaccard.distinct(*ragged(sets))
    a, b = random.integers(0, 20, (2, 300))
    order = np.argsort(a, kind="stable")
    mixed, grouped = jaccard.similarities(*given_, a, b), jaccard.similarities(*given_, a[order], b[order])
    assert all((x[order] == y).all() for x, y in zip(mixed, grouped, strict=True))


def test_there_may_be_no_pairs_and_no_documents():
    for sets in ([], [[]], [[1, 2]]):
        found = jaccard.similarities(*ragged(sets), np.zeros(0, np.int64), np.zeros(0, np.int64))
        assert [len(column) for column in found] == [0, 0]


@pytest.mark.shared
def test_the_labelled_pairs_have_their_published_similarity(shared):
    folder = shared / "data/dups"
    tables = [pq.read_table(path, columns=["id", "text"]) for path in sorted(folder.glob("docs-*.parquet"))]
    table = pa.concat_tables(tables).combine_chunks()
    texts = table["text"].chunk(0).cast(pa.large_string())
    sets = jaccard.distinct(*shingles.hashes(*shingles.plain(*text_buffers(texts)), 5))
    places = {name: i for i, name in enumerate(table["id"].to_pylist())}
    pairs = pq.read_table(folder / "pairs.parquet")
    a, b = (np.array([places[name] for name in pairs[side].to_pylist()]) for side in ("id_a", "id_b"))
    assert (jaccard.similarities(*sets, a, b)[0] == pairs["jaccard"].to_numpy()).all()
