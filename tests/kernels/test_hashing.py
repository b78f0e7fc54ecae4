"""Hashes against a twin in plain integers and against the public package mmh3."""

import mmh3
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.kernels import hashing
from tests.kernels import reference_hashing as slow

U64 = st.integers(0, 2**64 - 1)
VALUES = st.lists(st.binary(max_size=70), max_size=12)


def packed(values: list[bytes]) -> tuple[np.ndarray, np.ndarray]:
    offsets = np.concatenate([[0], np.cumsum([len(value) for value in values])]).astype(np.int64)
    return np.frombuffer(b"".join(values), np.uint8), offsets


@settings(deadline=None)  # the first call compiles
@given(VALUES, st.integers(0, 2**32 - 1))
def test_murmur128_equals_mmh3_for_every_seed_it_takes(values, seed):
    expected = [mmh3.hash64(value, seed, True, signed=False) for value in values]
    assert list(map(tuple, hashing.murmur128(*packed(values), seed).tolist())) == expected


@pytest.mark.parametrize("length", range(0, 67))
def test_murmur128_equals_mmh3_at_every_length_of_tail(length):
    value = bytes(range(200, 200 + length % 50)) * 2 + b"\xff" * length
    assert hashing.murmur128_bytes(value, 7) == mmh3.hash128(value, 7, True)


@settings(deadline=None)  # the first call compiles
@given(st.lists(st.tuples(st.binary(max_size=70), U64), max_size=12))
def test_murmur128_with_a_seed_of_64_bits_a_value_equals_the_slow_twin(pairs):
    values, seeds = [value for value, _ in pairs], np.array([seed for _, seed in pairs], np.uint64)
    expected = [slow.murmur128(value, seed) for value, seed in pairs]
    assert list(map(tuple, hashing.murmur128(*packed(values), seeds).tolist())) == expected


def test_a_hash_depends_on_its_own_bytes_only_and_not_on_where_they_lie():
    data, offsets = packed([b"left", b"the one value", b"right"])
    alone = hashing.murmur128(*packed([b"the one value"]), 3)
    assert (hashing.murmur128(data, offsets, 3)[1] == alone[0]).all()
    assert (hashing.murmur128(data[4:], offsets[1:3] - 4, 3)[0] == alone[0]).all()


def test_no_values_have_no_hashes():
    assert hashing.murmur128(np.empty(0, np.uint8), np.zeros(1, np.int64)).shape == (0, 2)


@pytest.mark.parametrize("offsets", [[0, 5], [0, 3, 2], [-1, 2], []])
def test_offsets_that_leave_the_data_are_refused(offsets):
    with pytest.raises(ValueError, match="offsets must"):
        hashing.murmur128(np.zeros(4, np.uint8), np.array(offsets, np.int64))


def test_seeds_that_are_neither_one_nor_as_many_as_values_are_refused():
    with pytest.raises(ValueError, match=r"seeds must be one number or 1, one a value; got shape \(2,\)"):
        hashing.murmur128(*packed([b"x"]), np.zeros(2, np.uint64))


@settings(deadline=None)  # the first call compiles
@given(U64)
def test_mix64_equals_the_slow_twin(x):
    assert int(hashing.mix64(np.uint64(x))) == slow.mix64(x)


def test_mix64_is_the_published_splitmix64_when_fed_its_counter():
    state, out = 1234567, []
    for _ in range(3):
        state = (state + 0x9E3779B97F4A7C15) % 2**64
        out.append(int(hashing.mix64(np.uint64(state))))
    assert out == [6457827717110365317, 3203168211198807973, 9817491932198370423]


@settings(deadline=None)  # the first call compiles
@given(st.lists(st.tuples(U64, U64), max_size=8), U64, st.integers(0, 100))
def test_draws_equal_the_slow_twin(ids, seed, stream):
    ids_N2 = np.array(ids, np.uint64).reshape(-1, 2)
    assert hashing.draw(seed, ids_N2, stream).tolist() == [slow.draw(seed, pair, stream) for pair in ids]


def test_draws_follow_their_document_and_not_its_place():
    ids_N2 = np.random.default_rng(1).integers(0, 2**64, (100, 2), np.uint64)
    order = np.random.default_rng(2).permutation(100)
    assert (hashing.draw(5, ids_N2[order], 1) == hashing.draw(5, ids_N2, 1)[order]).all()


def test_draws_of_consecutive_ids_seeds_and_streams_are_uniform_and_unrelated():
    ids_N2 = np.stack([np.arange(100_000), np.zeros(100_000)], axis=1).astype(np.uint64)
    drawn = {pair: hashing.fractions(hashing.draw(pair[0], ids_N2, pair[1])) for pair in ((0, 0), (0, 1), (1, 0))}
    for numbers in drawn.values():
        counts = np.histogram(numbers, bins=100, range=(0, 1))[0]
        assert ((counts - 1000) ** 2 / 1000).sum() < 160  # chi-squared with 99 degrees: p = 1e-4
    assert abs(np.corrcoef(list(drawn.values())) - np.eye(3)).max() < 0.015


def test_fractions_stay_below_one():
    assert hashing.fractions(np.array([0, 2**64 - 1], np.uint64)).tolist() == [0.0, 1 - 2**-53]


def test_ids_of_another_shape_are_refused():
    with pytest.raises(ValueError, match=r"uint64 \[N, 2\]"):
        hashing.draw(1, np.zeros(4, np.uint64), 0)
