"""SHA-1 side by side against hashlib."""

import hashlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.kernels import sha1
from tests.kernels.test_hashing import packed


def expected(values: list[bytes]) -> list[int]:
    return [int.from_bytes(hashlib.sha1(value).digest()[:4], "little") for value in values]


@settings(deadline=None)  # the first call compiles
@given(st.lists(st.binary(max_size=200), max_size=20))
def test_the_first_bytes_are_those_of_hashlib(values):
    assert sha1.first32(*packed(values)).tolist() == expected(values)


def test_lanes_of_very_different_lengths_do_not_disturb_each_other():
    generator = np.random.default_rng(2)
    values = [generator.bytes(int(n)) for n in [*range(140), 5000, 0, 64, 55, 56, 119, 120, 1]]
    generator.shuffle(values)
    assert sha1.first32(*packed(values)).tolist() == expected(values)


def test_offsets_outside_the_data_are_refused():
    with pytest.raises(ValueError, match="offsets"):
        sha1.first32(np.zeros(3, np.uint8), np.array([0, 4]))
