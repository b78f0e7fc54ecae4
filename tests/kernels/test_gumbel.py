"""Gumbel noise: equal to the twin of sixty digits, the same bits everywhere, and distributed as Gumbel's law says."""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pipeline.kernels.gumbel import gumbel
from pipeline.kernels.hashing import draw
from tests.kernels import reference_gumbel as twin

DRAWS = st.integers(0, 2**64 - 1)
PINNED = [
    "-0x1.cd48a14a68f37p+1",
    "-0x1.b5745584bc9ffp+1",
    "-0x1.0f2786957f08dp+1",
    "-0x1.4e7936217083bp-2",
    "0x1.774f29bdd6ba3p-2",
    "0x1.25e4f7b2737fap+5",
]


@given(DRAWS)
@example(0)
@example(2**64 - 1)
@example(1 << 63)
@example(int(2**64 * 0.36787944117144233))  # u = 1/e, where the noise is 0
def test_a_number_is_that_of_the_twin(value):
    found = gumbel(np.array([value], np.uint64))[0]
    assert found == pytest.approx(twin.gumbel(value), rel=4e-15, abs=4e-16)


def test_the_bits_are_pinned():
    draws = np.array([0, 1 << 20, 1 << 52, 1 << 62, 1 << 63, 2**64 - 1], np.uint64)
    assert [value.hex() for value in gumbel(draws)] == PINNED


def test_equal_draws_are_equal_and_larger_draws_larger():
    draws = np.sort(draw(1, np.arange(2000, dtype=np.uint64).reshape(-1, 2), 0))
    assert np.all(np.diff(gumbel(np.repeat(draws, 2)).reshape(-1, 2), axis=1) == 0)
    assert np.all(np.diff(gumbel(draws)) > 0)


def test_the_noise_has_the_mean_and_variance_of_gumbels_law():
    ids = np.arange(400_000, dtype=np.uint64).reshape(-1, 2)
    noise = gumbel(draw(7, ids, 3))
    assert noise.mean() == pytest.approx(0.5772156649, abs=0.012)
    assert noise.var() == pytest.approx(np.pi**2 / 6, abs=0.035)


def test_the_largest_of_perturbed_logits_is_drawn_by_their_softmax():
    logits = np.array([0.0, 1.0, 2.5])
    ids = np.arange(240_000, dtype=np.uint64).reshape(-1, 2)
    noise = gumbel(draw(5, ids, 9)).reshape(-1, 3)
    shares = np.bincount((noise + logits).argmax(axis=1), minlength=3) / len(noise)
    assert shares == pytest.approx(np.exp(logits) / np.exp(logits).sum(), abs=0.008)


def test_no_draws_give_no_noise():
    assert gumbel(np.zeros(0, np.uint64)).shape == (0,)
