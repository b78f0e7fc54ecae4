"""The interval of a verification: right quantiles, no false alarms, no blindness."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.quality.interval import compared, student_probability, student_quantile

stats = pytest.importorskip("scipy.stats")  # scikit-learn brings it


@given(st.integers(1, 60), st.floats(0.51, 0.9995))
def test_quantiles_are_those_of_scipy(degrees, probability):
    expected = stats.t.ppf(probability, degrees)
    assert student_quantile(probability, degrees) == pytest.approx(expected, rel=1e-7)
    assert student_probability(expected, degrees) == pytest.approx(probability, rel=1e-9)


@pytest.mark.parametrize("training_noise", [0, 0.3, 1, 3, 100])
def test_a_random_selection_is_called_different_in_at_most_one_case_of_twenty(training_noise):
    rng = np.random.default_rng(7)
    trials, alarms = 3000, 0
    for _ in range(trials):
        subsets, noise = rng.normal(size=6), training_noise * rng.normal(size=7)
        random, selected = subsets[:5] + noise[:5], subsets[5] + noise[5:]
        alarms += compared(list(selected), list(random)).verdict != "no difference shown"
    assert alarms / trials < 0.05 + 3 * (0.05 * 0.95 / trials) ** 0.5


def test_seeds_that_disagree_widen_the_interval():
    random = [1.0, 1.01, 0.99, 1.0, 1.0]
    calm, wild = compared([0.9, 0.9], random), compared([0.7, 1.1], random)
    assert calm.gain == pytest.approx(wild.gain)
    assert (calm.verdict, wild.verdict) == ("better", "no difference shown")


def test_fewer_bits_are_better_and_the_interval_is_around_the_gain():
    found = compared([1.2, 1.2], [1.0, 1.02, 0.98, 1.0, 1.0])
    assert found.verdict == "worse"
    assert found.gain == pytest.approx(-0.2)
    assert found.low < found.gain < found.high < 0


def test_more_confidence_is_a_wider_interval():
    runs = [0.9, 0.91], [1.0, 1.01, 0.99, 1.0, 1.0]
    assert compared(*runs, confidence=0.99).low < compared(*runs).low < compared(*runs, confidence=0.8).low
