"""Grouping by destination: that of a stable sort, for every kind of number."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.kernels import grouping


@given(st.lists(st.integers(0, 5)), st.sampled_from([np.uint8, np.int16, np.uint32, np.int64, np.float32, np.float64]))
def test_values_come_in_the_order_of_a_stable_sort(destinations, kind):
    destinations = np.array(destinations, np.uint16)
    values = np.arange(len(destinations)).astype(kind) * kind(-1 if np.issubdtype(kind, np.floating) else 1)
    found = grouping.grouped(values, destinations, np.bincount(destinations, minlength=6))
    assert found.dtype == kind
    assert np.array_equal(found, values[np.argsort(destinations, kind="stable")])


def test_counts_that_are_not_those_of_the_destinations_are_refused():
    with pytest.raises(ValueError, match="3 values, 3 destinations, 2 counted"):
        grouping.grouped(np.zeros(3), np.zeros(3, np.uint16), np.array([2]))
