"""Platt scaling against its slow twin and scikit-learn's."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.calibration import _sigmoid_calibration

from pipeline.kernels.platt import platt
from tests.kernels import reference_platt as twin


def scored(seed, n, scale, shift):
    """Return logits, and classes that follow them as `scale` and `shift` say."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 1, n)
    positive = rng.random(n) < 1 / (1 + np.exp(-(scale * logits + shift)))
    positive[:2] = True, False
    return logits, positive


def test_it_finds_what_the_slow_twin_finds():
    logits, positive = scored(1, 40, 2.0, -0.5)
    np.testing.assert_allclose(
        platt(logits, positive), twin.platt(logits.tolist(), positive.tolist(), 20_000), atol=1e-5
    )


@given(st.integers(0, 1000), st.integers(10, 300), st.floats(-4, 4), st.floats(-3, 3), st.floats(1e-3, 1e3))
@settings(max_examples=60)
def test_it_finds_what_scikit_learn_finds(seed, n, scale, shift, unit):
    logits, positive = scored(seed, n, scale, shift)
    a, b = _sigmoid_calibration(logits, positive)
    found = platt(logits * unit, positive)
    points = np.linspace(logits.min(), logits.max(), 9)
    ours, theirs = (1 / (1 + np.exp(-z)) for z in (found[0] * unit * points + found[1], -(a * points + b)))
    np.testing.assert_allclose(ours, theirs, atol=2e-3)


def test_it_finds_the_line_that_made_the_classes():
    scale, shift = platt(*scored(3, 40_000, 3.0, -1.0))
    assert scale == pytest.approx(3.0, rel=0.05)
    assert shift == pytest.approx(-1.0, rel=0.08)


def test_classes_apart_from_each_other_give_a_steep_line_and_no_infinity():
    scale, _ = platt(np.array([-2.0, -1.0, 1.0, 2.0] * 20), np.array([False, False, True, True] * 20))
    assert 1 < scale < 100


def test_equal_logits_tell_nothing():
    scale, shift = platt(np.full(30, 0.7), np.arange(30) < 20)
    assert scale == pytest.approx(0, abs=1e-6)
    assert 1 / (1 + np.exp(-shift)) == pytest.approx(2 / 3, abs=0.03)


def test_one_class_alone_is_refused():
    with pytest.raises(ValueError, match="3 positive and 0 negative"):
        platt(np.zeros(3), np.ones(3, bool))
