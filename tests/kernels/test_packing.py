"""Packing against its slow twins, its own promises, and the figures published for BERT's Wikipedia."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.kernels import packed_rows, packing
from tests.conftest import SHARED
from tests.kernels import reference_packing as twin

LIMITS = st.sampled_from([1, 2, 7, 63, 64, 65, 300, 5000])


@st.composite
def lengths_and_limit(draw, least=0, most=None):
    limit = draw(LIMITS)
    return draw(st.lists(st.integers(least, most or 3 * limit), max_size=120)), limit


@given(lengths_and_limit())
@settings(deadline=None)
def test_a_document_is_cut_into_full_pieces_and_a_rest(case):
    lengths, limit = case
    pieces = packing.split(np.array(lengths, np.int64), limit)
    assert list(zip(*(part.tolist() for part in pieces), strict=True)) == twin.split(lengths, limit)


@given(st.data())
@settings(max_examples=200, deadline=None)
def test_best_fit_gives_the_bins_of_the_slow_twin(data):
    limit = data.draw(LIMITS)
    lengths = data.draw(st.lists(st.integers(1, limit), max_size=150))
    assert packing.best_fit(np.array(lengths, np.int32), limit).tolist() == twin.best_fit(lengths, limit)


@pytest.mark.parametrize("limit", [2048, 300_000])
def test_every_piece_is_in_one_bin_and_no_bin_overflows(limit):
    rng = np.random.default_rng(limit)
    lengths = np.clip(rng.lognormal(6, 1.5, 20_000).astype(np.int32), 1, limit)
    bins = packing.group(packing.best_fit(lengths, limit))
    assert np.array_equal(np.sort(bins.piece), np.arange(len(lengths)))
    filled = np.add.reduceat(lengths[bins.piece], bins.offsets[:-1])
    assert filled.max() <= limit
    assert len(filled) == -(-int(lengths.sum()) // limit)  # the lower bound is reached


def test_a_bin_can_be_found_at_every_level_of_the_bitset():
    limit = 600_000
    for room in (1, 64, 4095, 4096, 4097, 262_143, 262_144, 262_145, 599_999):
        lengths = np.array([limit - room, room], np.int32)
        assert len(set(packing.best_fit(lengths, limit).tolist())) == 1


@given(st.data())
@settings(max_examples=100)
def test_shortest_pack_first_gives_as_many_bins_as_the_published_algorithm_on_histograms(data):
    limit = data.draw(LIMITS)
    lengths, depth = data.draw(st.lists(st.integers(1, limit), max_size=150)), data.draw(st.integers(1, 5))
    bins = packing.group(packing.shortest_first(np.array(lengths, np.int32), limit, depth))
    held = [sorted(lengths[p] for p in bins.piece[a:b]) for a, b in pairwise(bins.offsets.tolist())]
    assert sorted(held) == sorted(sorted(pack) for pack in twin.shortest_first(lengths, limit, depth))


@given(lengths_and_limit())
def test_documents_end_to_end_are_cut_where_a_bin_is_full(case):
    lengths, limit = case
    pieces, bins = packing.concatenate(np.array(lengths, np.int64), limit)
    found = zip(*(part.tolist() for part in pieces), bins.tolist(), strict=True)
    assert list(found) == twin.concatenate(lengths, limit)


@pytest.mark.parametrize("length", [0, 9, 2**32 + 5])
def test_a_length_that_fits_no_bin_is_refused(length):
    lengths = np.array([3, length])
    with pytest.raises(ValueError, match=rf"span {lengths.min()}\.\.{lengths.max()}, expected 1\.\.8"):
        packing.best_fit(lengths, 8)
    with pytest.raises(ValueError, match="expected"):
        packing.shortest_first(lengths, 8, 2)


@settings(deadline=None)
@given(
    st.lists(st.lists(st.integers(1, 500), max_size=30), max_size=25),
    st.integers(1, 20),
    st.sampled_from([None, 503]),
    st.integers(0, 3),
    st.randoms(),
)
def test_rows_and_segments_equal_the_slow_twins(documents, limit, bos, cut, random):
    eos, pad = 501, 502
    lengths = np.array([max(0, len(d) + (1 if bos is None else 2) - cut) for d in documents], np.int64)
    pieces, placed = (
        packing.concatenate(lengths, limit) if random.random() < 0.5 else (packing.split(lengths, limit), None)
    )
    bins = packing.group(packing.best_fit(pieces.length, limit) if placed is None else placed)
    order = random.sample(range(len(bins.offsets) - 1), len(bins.offsets) - 1)
    shuffled = packing.bins_in_order(bins, np.array(order, np.int64))
    plain = np.array([len(d) for d in documents], np.int64)
    rows = packed_rows.lay_out(
        np.array([t for d in documents for t in d] + [0], np.uint16),
        np.cumsum(plain) - plain,
        plain,
        pieces,
        shuffled,
        packed_rows.Shape(limit, np.dtype(np.uint16), eos, pad, bos),
    )
    listed = [bins.piece[bins.offsets[b] : bins.offsets[b + 1]].tolist() for b in order]
    whole = list(zip(*(part.tolist() for part in pieces), strict=True))
    expected, segments = twin.rows(
        [([] if bos is None else [bos]) + d for d in documents], whole, listed, limit, eos, pad
    )
    assert rows.tokens.tolist() == expected
    assert np.diff(rows.offsets).tolist() == [len(row) for row in segments]
    assert list(zip(rows.end.tolist(), rows.piece.tolist(), strict=True)) == [s for row in segments for s in row]


def test_no_documents_make_no_rows():
    pieces = packing.split(np.array([], np.int64), 8)
    bins = packing.group(packing.best_fit(pieces.length, 8))
    assert bins.offsets.tolist() == [0]
    assert len(bins.piece) == 0


@pytest.fixture(scope="module")
def wikipedia():
    path = SHARED / "data/evals/packing/bert_wikipedia_length_histogram.csv"
    histogram = np.loadtxt(path, delimiter=",", skiprows=1, dtype=np.int64)
    lengths = np.repeat(histogram[:, 0], histogram[:, 1]).astype(np.int32)
    assert len(lengths) == 16_279_552
    np.random.default_rng(0).shuffle(lengths)
    return lengths


def efficiency(lengths, bins):
    return round(100 * int(lengths.sum(dtype=np.int64)) / ((int(bins.max()) + 1) * 512), 4)


@pytest.mark.shared
def test_bert_wikipedia_packs_as_tightly_as_published(wikipedia):
    """Krell et al., "Efficient Sequence Packing without Cross-contamination": 99.9494 % at unlimited depth."""
    bins = packing.best_fit(wikipedia, 512)
    assert int(bins.max()) + 1 == 8_138_483
    assert efficiency(wikipedia, bins) == 99.9494


@pytest.mark.slow
@pytest.mark.shared
@pytest.mark.parametrize(
    ("depth", "published"), [(1, 49.9668), (2, 80.5249), (3, 89.4408), (4, 93.9412), (8, 98.902), (12, 99.604)]
)
def test_shortest_pack_first_packs_bert_wikipedia_as_published(wikipedia, depth, published):
    """Krell et al., the same paper, SPFHP at its depths."""
    assert efficiency(wikipedia, packing.shortest_first(wikipedia, 512, depth)) == published
