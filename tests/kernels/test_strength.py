"""Predictive strength: the formula of the paper, and SciPy's rank correlations."""

import math
import warnings

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from pipeline.kernels import strength
from tests.kernels import reference_strength

LEVELS = st.integers(-3, 3).map(lambda level: level / 4)


@st.composite
def ladders(draw):
    models = draw(st.integers(2, 7))
    rows = st.lists(LEVELS, min_size=models, max_size=models)
    return np.array(draw(st.lists(rows, min_size=1, max_size=6))), np.array(draw(rows))


@given(ladders())
def test_agreement_is_the_share_of_pairs_of_the_formula(ladder):
    losses, scores = ladder
    assert strength.agreement(losses, scores).tolist() == [reference_strength.agreement(row, scores) for row in losses]


@given(ladders())
def test_agreement_without_ties_is_kendall_s_tau(ladder):
    losses, scores = ladder
    rng = np.random.default_rng(0)
    losses, scores = (values + rng.uniform(0, 0.1, values.shape) for values in (losses, scores))
    expected = [(1 - scipy.stats.kendalltau(row, scores).statistic) / 2 for row in losses]
    np.testing.assert_allclose(strength.agreement(losses, scores), expected, atol=1e-12)


@given(ladders())
def test_rank_agreement_is_spearman_s_rho(ladder):
    losses, scores = ladder
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", scipy.stats.ConstantInputWarning)
        expected = [(1 - scipy.stats.spearmanr(row, scores).statistic) / 2 for row in losses]
    np.testing.assert_allclose(strength.rank_agreement(losses, scores), expected, atol=1e-12)


@pytest.mark.parametrize("statistic", [strength.agreement, strength.rank_agreement])
def test_both_are_one_for_a_ladder_that_agrees_and_nought_for_its_reverse(statistic):
    scores = np.array([75.38, 76.30, 77.27, 79.46, 80.47, 81.19])
    losses = np.array([[6.0, 5, 4, 3, 2, 1], [1, 2, 3, 4, 5, 6]])
    assert statistic(losses, scores).tolist() == [1.0, 0.0]


@pytest.mark.parametrize("statistic", [strength.agreement, strength.rank_agreement])
def test_a_missing_loss_makes_the_document_unknown_and_no_other(statistic):
    losses = np.array([[3.0, 2, 1], [3, math.nan, 1], [math.nan] * 3, [3, 2, 1]])
    assert np.isnan(statistic(losses, np.array([1.0, 2, 3]))).tolist() == [False, True, True, False]


@pytest.mark.parametrize("statistic", [strength.agreement, strength.rank_agreement])
def test_fewer_than_two_models_are_refused(statistic):
    with pytest.raises(ValueError, match="1 models have no pairs"):
        statistic(np.array([[1.0]]), np.array([1.0]))
