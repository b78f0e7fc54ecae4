"""Bags of words, their projection, spherical k-means, merging and telling words against slow twins."""

from collections import Counter
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.kernels import bags, log_odds, projection, spherical, unicode_table
from pipeline.schemas import text_buffers
from tests.kernels import reference_clusters as twin

PLAIN = st.characters(codec="utf-8").filter(
    lambda c: not unicode_table.unassigned().match(c) and not int(unicode_table.table()[ord(c)]) & unicode_table.CONTEXT
)
TRICKY = st.sampled_from("aZ09_ .\n-éÉßẞΩ٣²あ漢字กำ한글𐐀𝒳")
TEXTS = st.lists(st.text(st.one_of(TRICKY, TRICKY, PLAIN), max_size=60), max_size=5)
EVERY = np.ones(bags.BUCKETS, np.bool_)


def buffers(texts):
    return text_buffers(pa.array(texts, pa.large_string()))


def bag(text):
    found = bags.bags(*buffers([text]))
    return Counter(dict(zip(found.buckets.tolist(), found.counts.tolist(), strict=True)))


def spelled(texts, wanted=EVERY):
    found = bags.spellings(*buffers(texts), wanted)
    text, ends = found.data.tobytes(), found.offsets.tolist()
    words = (text[a:b].decode() for a, b in pairwise(ends))
    counts = Counter()
    for word, count in zip(words, found.counts.tolist(), strict=True):
        counts[word] += count
    return counts


def cut(word, room=64):
    """The beginning of a word that fits into so many bytes."""
    while len(word.encode()) > room:
        word = word[:-1]
    return word


def points(count, dimensions=16, seed=0, kinds=4):
    """Directions around a few others."""
    rng = np.random.default_rng(seed)
    middles = rng.normal(size=(kinds, dimensions))
    return spherical.directions(middles[rng.integers(0, kinds, count)] + 0.3 * rng.normal(size=(count, dimensions)))


@given(TEXTS)
def test_words_are_those_of_python(texts):
    expected = Counter(cut(word) for text in texts for word in twin.words(text))
    assert spelled(texts) == expected


@given(TEXTS)
def test_a_bag_holds_the_words_of_its_own_text_only(texts):
    found = bags.bags(*buffers(texts))
    for row, text in enumerate(texts):
        expected = Counter()
        for word in twin.words(text):
            expected += bag(word)
        own = slice(found.offsets[row], found.offsets[row + 1])
        assert dict(zip(found.buckets[own].tolist(), found.counts[own].tolist(), strict=True)) == expected


def test_many_words_and_documents_outgrow_every_buffer():
    texts = [" ".join(f"w{number}" for number in range(start, start + 30_000)) for start in (0, 20_000)]
    found = bags.bags(*buffers(texts))
    assert [found.counts[a:b].sum() for a, b in pairwise(found.offsets)] == [30_000] * 2
    assert spelled(texts) == Counter(word for text in texts for word in text.split())


def test_only_words_of_wanted_buckets_are_spelled():
    wanted = np.zeros(bags.BUCKETS, np.bool_)
    wanted[list(bag("Horse"))] = True
    assert spelled(["a horse, a HORSE!", "no cow", "horse"], wanted) == {"horse": 3}


def test_slices_and_texts_without_words_are_honoured():
    array = pa.array(["one", "two words", "", "1 2 3!", "three"], pa.large_string()).slice(1, 3)
    assert np.diff(bags.bags(*text_buffers(array)).offsets).tolist() == [2, 0, 0]
    assert len(bags.bags(*text_buffers(array.slice(0, 0))).buckets) == 0


def test_bytes_that_end_inside_a_character_are_read_within_their_document():
    data, offsets = np.frombuffer("a漢".encode()[:-1] + b"\xff\xf7zzz", np.uint8), np.array([0, 3, 5, 8])
    assert np.diff(bags.bags(data, offsets).offsets).tolist()[2] == 1


@pytest.mark.parametrize("kernel", [bags.bags, lambda data, offsets: bags.spellings(data, offsets, EVERY)])
def test_bad_offsets_are_refused(kernel):
    with pytest.raises(ValueError, match="offsets must rise"):
        kernel(np.zeros(3, np.uint8), np.array([0, 4]))


@settings(max_examples=30)
@given(TEXTS, st.sampled_from([64, 1024]), st.integers(0, 2**64 - 1))
def test_a_projection_is_the_one_of_the_definition(texts, dimensions, seed):
    found = bags.bags(*buffers(texts))
    weights_V = (np.arange(bags.BUCKETS) % 7).astype(np.float64)
    made_ND = projection.project(found, weights_V, dimensions, seed)
    weights = dict(enumerate(weights_V.tolist()))
    for row, text in enumerate(texts):
        expected_D = twin.vector(bag(text), weights, dimensions, seed) * spherical.SCALE
        np.testing.assert_allclose(made_ND[row], expected_D, atol=1.01)


def test_cosines_of_projections_are_about_those_of_the_bags():
    rng = np.random.default_rng(0)
    texts = [" ".join(f"word{n}" for n in rng.choice(400, 150)) for _ in range(30)]
    found, weights_V = bags.bags(*buffers(texts)), np.ones(bags.BUCKETS)
    made_ND = projection.project(found, weights_V, 1024, 0) / spherical.SCALE
    whole_NV = np.zeros((30, bags.BUCKETS))
    for row in range(30):
        own = slice(found.offsets[row], found.offsets[row + 1])
        whole_NV[row, found.buckets[own]] = 1 + np.log(found.counts[own])
    whole_NV /= np.linalg.norm(whole_NV, axis=1, keepdims=True)
    errors = made_ND @ made_ND.T - whole_NV @ whole_NV.T
    assert np.sqrt((errors**2).mean()) < 1 / np.sqrt(1024)


def test_rarity_is_the_smoothed_idf_of_scikit_learn_but_for_words_of_one_document():
    text = pytest.importorskip("sklearn.feature_extraction.text")
    texts = ["cat dog", "cat cow", "cat dog pig"]
    found = bags.bags(*buffers(texts))
    weights_V = projection.rarity(projection.document_counts(found), 3)
    model = text.TfidfVectorizer().fit(texts)
    for word, place in model.vocabulary_.items():
        expected = model.idf_[place] if word in ("cat", "dog") else 0
        assert weights_V[next(iter(bag(word)))] == pytest.approx(expected)


def test_a_projection_of_odd_dimensions_is_refused():
    with pytest.raises(ValueError, match="100 dimensions"):
        projection.project(bags.bags(*buffers(["a"])), np.ones(bags.BUCKETS), 100, 0)


def test_the_nearest_centre_is_the_first_of_the_largest_product():
    points_ND, centres_KD = points(200), points(9, seed=1)
    centres_KD[4] = centres_KD[2]
    products_NK = points_ND.astype(np.int64) @ centres_KD.T.astype(np.int64)
    best_N, dots_N = spherical.nearest(points_ND, centres_KD)
    assert (best_N == products_NK.argmax(1)).all()
    assert (dots_N == products_NK.max(1)).all()
    assert (spherical.paired(points_ND, centres_KD, best_N) == dots_N).all()
    with pytest.raises(ValueError, match="do not go together"):
        spherical.nearest(points_ND, centres_KD[:0])


def test_products_of_the_longest_directions_do_not_overflow():
    ends_ND = spherical.directions(np.array([np.eye(1024)[0], np.ones(1024), -np.ones(1024)]))
    _, dots_N = spherical.nearest(ends_ND, ends_ND)
    assert (abs(dots_N - spherical.ONE) <= spherical.ONE / 500).all()


def test_centred_directions_point_from_the_mean():
    points_ND = points(50)
    points_ND[7] = 0
    sum_D = points_ND.sum(0, dtype=np.int64)
    turned_ND = spherical.centred(points_ND, sum_D, 50)
    apart_ND = points_ND - sum_D / 50
    expected_ND = apart_ND / np.linalg.norm(apart_ND, axis=1, keepdims=True) * spherical.SCALE
    expected_ND[7] = 0
    np.testing.assert_allclose(turned_ND, expected_ND, atol=1.01)


@settings(max_examples=25)
@given(st.integers(1, 60), st.integers(1, 12), st.integers(0, 1000))
def test_lloyd_raises_the_cosines_and_every_cluster_has_a_point(count, clusters, seed):
    points_ND = points(count, seed=seed)
    fitted = spherical.fit(points_ND, clusters, 30, seed)
    assert all(after > before for before, after in pairwise(fitted.cosines))
    best_N, dots_N = spherical.nearest(points_ND, fitted.centres_KD)
    assert (best_N == fitted.nearest_N).all()
    assert dots_N.sum(dtype=np.int64) / spherical.ONE == fitted.cosines[-1]
    assert sorted(set(fitted.nearest_N.tolist())) == list(range(len(fitted.centres_KD)))
    assert len(fitted.centres_KD) <= min(count, clusters)


def test_clusters_that_lie_apart_are_found():
    rng = np.random.default_rng(0)
    kinds_N = rng.integers(0, 3, 300)
    points_ND = spherical.directions(3 * np.eye(3, 16)[kinds_N] + 0.3 * rng.normal(size=(300, 16)))
    fitted = spherical.fit(points_ND, 24, 20, 0)
    sums_KD = spherical.sums(points_ND, fitted.nearest_N, len(fitted.centres_KD))
    groups_N = spherical.merged(sums_KD, np.ones(len(sums_KD)), 3, 0)[fitted.nearest_N]
    assert ((groups_N[:, None] == groups_N) == (kinds_N[:, None] == kinds_N)).all()


def test_seeds_are_different_directions_and_never_zeros():
    points_ND = np.repeat(points(3, kinds=3), 5, axis=0)
    points_ND[4] = 0
    chosen = spherical.seeds(points_ND, 10, 0)
    assert len(np.unique(points_ND[chosen], axis=0)) == 3
    assert 4 not in chosen
    with pytest.raises(ValueError, match="none of 2 points"):
        spherical.fit(np.zeros((2, 16), np.int16), 2, 5, 0)


@settings(max_examples=40)
@given(st.integers(1, 9), st.integers(1, 9), st.sampled_from([0.0, 2.5, 100.0]), st.integers(0, 1000))
def test_merging_takes_the_pair_that_loses_least(clusters, groups, least, seed):
    sums_KD = points(clusters, seed=seed, kinds=9).astype(np.int64) * np.arange(1, clusters + 1)[:, None]
    weights = [1 + k % 3 + k / 100 for k in range(clusters)]
    groups_K = spherical.merged(sums_KD, np.array(weights), groups, least)
    found = {frozenset(np.flatnonzero(groups_K == group).tolist()) for group in set(groups_K.tolist())}
    assert found == twin.merged(sums_KD, weights, groups, least)
    assert [groups_K.tolist().index(group) for group in range(len(found))] == sorted(map(min, found))


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(1, 50)), min_size=3, max_size=20))
def test_z_scores_are_those_of_the_definition(counts):
    inside_V = np.array([a for a, _ in counts])
    everywhere_V = inside_V + [b for _, b in counts]
    expected = twin.z_scores(inside_V, everywhere_V, log_odds.PRIOR) if inside_V.any() else [0.0] * len(counts)
    np.testing.assert_allclose(log_odds.z_scores(inside_V, everywhere_V), expected, rtol=1e-9, atol=1e-9)


def test_a_word_that_only_the_group_has_tells_it_best_and_a_common_one_does_not():
    z_V = log_odds.z_scores(np.array([40, 50, 0, 0]), np.array([40, 100, 60, 0]))
    assert z_V[0] > 2 > abs(z_V[1])
    assert z_V[2] < -2
    assert z_V[3] == 0
