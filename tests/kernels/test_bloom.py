"""The Bloom filter against a set: no copy is missed, strangers are taken for copies as often as promised."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.kernels import bloom


def met(documents, table, bits, probes):
    """Return what the filter says of documents that are lists of small numbers, hashed far apart."""
    keys = [key for document in documents for key in document]
    hashes = np.random.default_rng(5).integers(0, 2**64, (100, 2), np.uint64)[keys].reshape(-1, 2)
    firsts = np.cumsum([0, *map(len, documents)])
    return bloom.meet(table, bits, probes, hashes, np.ones(len(keys), bool), firsts)


@settings(deadline=None)  # the first call compiles
@given(st.lists(st.lists(st.integers(0, 30), max_size=5), max_size=20))
def test_seen_is_what_an_earlier_document_had(documents):
    bits, probes = bloom.shape(100, 1e-9)
    seen, added, _ = met(documents, bloom.empty(bits), bits, probes)
    known, expected = set(), []
    for document in documents:
        expected += [key in known for key in document]
        known |= set(document)
    assert seen.tolist() == expected
    assert added == len(known)


@pytest.mark.parametrize("rate", [0.1, 0.01, 1e-3])
def test_strangers_are_taken_for_members_as_often_as_promised(rate):
    number = 100_000
    bits, probes = bloom.shape(number, rate)
    table, one_each = bloom.empty(bits), np.arange(number + 1)
    generator = np.random.default_rng(1)
    members, strangers = (generator.integers(0, 2**64, (number, 2), np.uint64) for _ in range(2))
    everyone = np.ones(number, bool)
    _, _, set_bits = bloom.meet(table, bits, probes, members, everyone, one_each)
    assert set_bits == np.unpackbits(table).sum()
    assert bloom.rate(bits, probes, set_bits) == pytest.approx(rate, rel=0.15)
    assert bloom.meet(table.copy(), bits, probes, members, everyone, one_each)[0].all()
    # All strangers are one document: they are asked before any of them is added.
    wrong = bloom.meet(table, bits, probes, strangers, everyone, np.array([0, number]))[0].sum()
    assert wrong == pytest.approx(rate * number, abs=5 * math.sqrt(rate * number) + 0.15 * rate * number)


def test_the_shape_is_that_of_the_formulas():
    assert bloom.shape(1_000_000, 0.01) == (9_585_059, 7)
    assert bloom.shape(1, 0.5) == (64, 44)
