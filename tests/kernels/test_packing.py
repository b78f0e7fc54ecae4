"""Packing against its slow twin, its own promises, and the figures published for BERT's Wikipedia."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.kernels import packing
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


def test_a_length_that_fits_no_bin_is_refused():
    with pytest.raises(ValueError, match=r"span 3\.\.9, expected 1\.\.8"):
        packing.best_fit(np.array([3, 9], np.int32), 8)


@settings(deadline=None)
@given(st.lists(st.lists(st.integers(1, 500), max_size=30), max_size=25), st.integers(1, 20), st.randoms())
def test_rows_and_segments_equal_the_slow_twins(documents, limit, random):
    eos, pad = 501, 502
    pieces = packing.split(np.array([len(d) + 1 for d in documents], np.int64), limit)
    bins = packing.group(packing.best_fit(pieces.length, limit))
    order = random.sample(range(len(bins.offsets) - 1), len(bins.offsets) - 1)
    shuffled = packing.bins_in_order(bins, np.array(order, np.int64))
    plain = np.array([len(d) for d in documents], np.int64)
    rows = packing.lay_out(
        np.array([t for d in documents for t in d] + [0], np.uint16),
        np.cumsum(plain) - plain,
        plain,
        pieces,
        shuffled,
        packing.Shape(limit, np.dtype(np.uint16), eos, pad),
    )
    listed = [bins.piece[bins.offsets[b] : bins.offsets[b + 1]].tolist() for b in order]
    whole = list(zip(*(part.tolist() for part in pieces), strict=True))
    expected, segments = twin.rows(documents, whole, listed, limit, eos, pad)
    assert rows.tokens.tolist() == expected
    assert np.diff(rows.offsets).tolist() == [len(row) for row in segments]
    assert list(zip(rows.end.tolist(), rows.piece.tolist(), strict=True)) == [s for row in segments for s in row]


def test_no_documents_make_no_rows():
    pieces = packing.split(np.array([], np.int64), 8)
    bins = packing.group(packing.best_fit(pieces.length, 8))
    assert bins.offsets.tolist() == [0]
    assert len(bins.piece) == 0


@pytest.mark.shared
def test_bert_wikipedia_packs_as_tightly_as_published(shared):
    """Krell et al., "Efficient Sequence Packing without Cross-contamination": 99.9494 % at unlimited depth."""
    histogram = np.loadtxt(
        shared / "data/evals/packing/bert_wikipedia_length_histogram.csv", delimiter=",", skiprows=1, dtype=np.int64
    )
    lengths = np.repeat(histogram[:, 0], histogram[:, 1]).astype(np.int32)
    assert len(lengths) == 16_279_552
    np.random.default_rng(0).shuffle(lengths)
    packs = int(packing.best_fit(lengths, 512).max()) + 1
    assert packs == 8_138_483
    assert round(100 * int(lengths.sum()) / (packs * 512), 4) == 99.9494
