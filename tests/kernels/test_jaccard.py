"""Similarities, keepers, buckets and components against sets and loops."""

from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.kernels import jaccard, lsh, shingles, unionfind
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
    found = jaccard.similarities(*jaccard.distinct(*ragged(documents)), a, b)
    assert found.tolist() == [twin.jaccard(set(documents[i]), set(documents[j])) for i, j in pairs]


@settings(deadline=None)  # the first call compiles
@given(SETS, st.sampled_from([0.2, 0.5, 0.8, 1.0]), st.integers(1, 4), st.integers(0, 99))
def test_keepers_are_those_of_the_greedy_rule(documents, threshold, bands, seed):
    keys = np.random.default_rng(seed).integers(0, 3, (len(documents), bands), np.uint64)
    buckets, _ = lsh.buckets(keys)
    keeper, similarity = jaccard.choose(*jaccard.distinct(*ragged(documents)), buckets, threshold)
    expected = twin.choose([set(d) for d in documents], keys.tolist(), threshold)
    assert list(zip(keeper.tolist(), similarity.tolist(), strict=True)) == expected


def test_a_full_bucket_offers_the_last_kept_only():
    documents = [[i] for i in range(6)] + [[0], [5]]
    buckets = np.zeros((8, 1), np.int32)
    keeper, _ = jaccard.choose(*jaccard.distinct(*ragged(documents)), buckets, 0.8, candidates=6)
    assert keeper.tolist() == [-1] * 6 + [0, 5]
    keeper, _ = jaccard.choose(*jaccard.distinct(*ragged(documents)), buckets, 0.8, candidates=2)
    assert keeper.tolist() == [-1] * 6 + [-1, 5]


def test_one_bucket_of_very_many_documents_is_worked_off_in_linear_time():
    number = 50_000
    offsets, buckets = np.arange(number + 1), np.zeros((number, 2), np.int32)
    same = jaccard.choose(np.full(number, 7, np.uint64), offsets, buckets, 0.8)
    assert (same[0][1:] == 0).all()
    unlike = jaccard.choose(
        np.arange(number, dtype=np.uint64), np.arange(number + 1), np.zeros((number, 2), np.int32), 0.8
    )
    assert (unlike[0] == -1).all()


def test_documents_without_shingles_are_kept_and_keep_nothing():
    keeper, similarity = jaccard.choose(np.zeros(0, np.uint64), np.zeros(4, np.int64), np.zeros((3, 2), np.int32), 0.8)
    assert keeper.tolist() == [-1, -1, -1]
    assert similarity.tolist() == [0, 0, 0]
    assert jaccard.choose(np.zeros(0, np.uint64), np.zeros(1, np.int64), np.zeros((0, 2), np.int32), 0.8)[0].shape == (
        0,
    )


@settings(deadline=None)  # the first call compiles
@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 9)), max_size=40), st.randoms())
def test_stars_connect_what_shares_a_key_and_no_more(rows, random):
    shuffled = random.sample(rows, len(rows))
    keys, documents = (np.array([row[side] for row in shuffled], np.uint64) for side in (0, 1))
    a, b = lsh.star_edges(keys, documents)
    centre = {key: min(d for k, d in rows if k == key) for key, _ in rows}
    assert list(zip(a.tolist(), b.tolist(), strict=True)) == sorted({(centre[k], d) for k, d in rows if d != centre[k]})


@settings(deadline=None)  # the first call compiles
@given(st.lists(st.lists(st.integers(0, 4), min_size=3, max_size=3), max_size=15))
def test_buckets_are_equal_where_keys_of_a_band_are_and_alone_is_minus_one(keys):
    keys_NB = np.array(keys, np.uint64).reshape(-1, 3)
    found, number = lsh.buckets(keys_NB)
    for band in range(3):
        column = keys_NB[:, band].tolist()
        for i, key in enumerate(column):
            assert (found[i, band] >= 0) == (column.count(key) > 1)
            same = [j for j, other in enumerate(column) if other == key]
            assert found[i, band] < 0 or np.flatnonzero(found[:, band] == found[i, band]).tolist() == same
    used = [set(found[:, band].tolist()) - {-1} for band in range(3)]
    assert sorted(x for band in used for x in band) == list(range(number))


@settings(deadline=None)  # the first call compiles
@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), max_size=60))
def test_components_are_named_by_their_smallest_node(edges):
    scale = (1 << 32) + 5  # addresses are wide
    a, b = (np.array([edge[side] * scale for edge in edges], np.uint64) for side in (0, 1))
    nodes, roots = unionfind.components(a, b)
    found = {n // scale: r // scale for n, r in zip(nodes.tolist(), roots.tolist(), strict=True)}
    assert found == twin.components(edges)
    assert nodes.tolist() == sorted(nodes.tolist())


def test_a_long_chain_is_one_component():
    nodes = np.arange(100_000, dtype=np.uint64)
    for a, b in ((nodes[:-1], nodes[1:]), (nodes[:0:-1], nodes[-2::-1])):
        assert (unionfind.components(a, b)[1] == 0).all()


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
    assert (jaccard.similarities(*sets, a, b) == pairs["jaccard"].to_numpy()).all()
