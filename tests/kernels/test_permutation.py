"""The unwritten permutation: a bijection, equal to its twin, and shuffled well enough for training."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.kernels.permutation import key_of, keys_of, permuted
from tests.kernels import reference_permutation as twin

KEYS = st.integers(0, 2**64 - 1)


@given(st.integers(1, 3000), KEYS)
@settings(deadline=None)
def test_every_value_is_met_exactly_once(n, key):
    assert np.array_equal(np.sort(permuted(np.arange(n), n, key)), np.arange(n))


@given(st.integers(1, 2**40), KEYS, st.data())
@settings(deadline=None)
def test_a_position_goes_where_the_slow_twin_sends_it(n, key, data):
    position = data.draw(st.integers(0, n - 1))
    assert permuted(np.array([position]), n, key).tolist() == [twin.permuted(position, n, key)]


@given(st.integers(1, 5000), st.lists(st.tuples(st.integers(0, 4999), KEYS), max_size=20))
@settings(deadline=None)
def test_keys_of_their_own_send_each_position_where_its_key_alone_would(n, pairs):
    positions = np.array([position % n for position, _ in pairs], np.int64)
    keys = np.array([key for _, key in pairs], np.uint64)
    expected = [twin.permuted(position % n, n, key) for position, key in pairs]
    assert permuted(positions, n, keys).tolist() == expected


def test_many_keys_are_those_made_one_by_one():
    last = np.array([0, 1, 2**40, 7], np.int64)
    assert keys_of(-3, 2**70, last=last).tolist() == [key_of(-3, 2**70, number) for number in last.tolist()]


def test_neighbours_part_and_keys_differ():
    n = 100_000
    one, other = (permuted(np.arange(n), n, key_of(seed, 0)) for seed in (1, 2))
    assert abs(np.corrcoef(np.arange(n), one)[0, 1]) < 0.02
    assert abs(np.corrcoef(one[:-1], one[1:])[0, 1]) < 0.02
    assert np.count_nonzero(one == other) < 20  # one is expected of two random orders


def test_each_tenth_of_the_order_draws_evenly_from_each_tenth_of_the_rows():
    n = 100_000
    table = np.histogram2d(np.arange(n), permuted(np.arange(n), n, key_of(7, 3)), bins=10)[0]
    chi_square = ((table - n / 100) ** 2 / (n / 100)).sum()
    assert chi_square < 150  # 81 degrees of freedom: beyond 150 once in 200,000 random orders


def test_a_key_depends_on_all_its_parts_and_their_order():
    assert len({key_of(0, 0), key_of(0, 1), key_of(1, 0), key_of(0), key_of(1, 1), key_of(-1, 0)}) == 6


def test_positions_outside_are_refused():
    with pytest.raises(ValueError, match=r"positions 0\.\.5 of a permutation of 0\.\.4"):
        permuted(np.array([0, 5]), 5, 0)
