"""What is said of a classifier, against scikit-learn and by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss

from pipeline.quality import judge

rng = np.random.default_rng(2)
SCORES = rng.random(500)
POSITIVE = rng.random(500) < SCORES**2


def test_brier_and_the_curve_equal_the_public_ones():
    assert judge.brier(SCORES, POSITIVE) == pytest.approx(brier_score_loss(POSITIVE, SCORES))
    observed, meant = calibration_curve(POSITIVE, SCORES, n_bins=judge.BINS)
    found = judge.curve(SCORES, POSITIVE)
    np.testing.assert_allclose([b["score"] for b in found], meant)
    np.testing.assert_allclose([b["positive"] for b in found], observed)
    assert sum(b["documents"] for b in found) == 500


def test_the_calibration_error_is_the_mean_distance_from_the_diagonal():
    bins = [{"score": 0.2, "positive": 0.3, "documents": 10}, {"score": 0.9, "positive": 0.5, "documents": 30}]
    assert judge.calibration_error(bins) == pytest.approx((10 * 0.1 + 30 * 0.4) / 40)
    assert judge.calibration_error([]) is None


def test_a_score_of_one_belongs_to_the_last_tenth():
    assert judge.curve(np.array([1.0, 0.95]), np.array([True, False])) == [
        {"score": 0.975, "positive": 0.5, "documents": 2}
    ]


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=1, max_size=40), st.floats(0.01, 1))
def test_precision_is_the_mean_over_every_way_to_break_ties(rows, share):
    scores = np.array([score for score, _ in rows]) / 5
    positive = np.array([p for _, p in rows])
    kept = max(round(share * len(rows)), 1)
    trials = []
    for seed in range(3000 if len(set(scores.tolist())) < len(rows) and len(rows) < 6 else 1):
        ties = np.random.default_rng(seed).permutation(len(rows))
        trials.append(positive[np.lexsort((ties, -scores))[:kept]].mean())
    found = judge.precision(scores, positive, share)
    if len(trials) > 1:
        assert found == pytest.approx(np.mean(trials), abs=0.05)
    elif len(set(scores.tolist())) == len(rows):
        assert found == pytest.approx(trials[0])
    order = np.random.default_rng(1).permutation(len(rows))
    assert judge.precision(scores[order], positive[order], share) == found


def test_nothing_is_said_of_no_documents():
    none = np.empty(0), np.empty(0, bool)
    facts = judge.verdict(*none, np.empty(0, np.int64))
    assert facts["held_out_auc"] is None
    assert facts["held_out_precision"] == dict.fromkeys(("5%", "10%", "20%", "50%"))
    assert judge.judged(*none) == {"brier": None, "calibration_error": None, "curve": []}


def test_length_counts_whichever_way_it_points():
    sizes = np.where(POSITIVE, 10, 1000)
    facts = judge.verdict(SCORES, POSITIVE, sizes)
    assert facts["held_out_auc_of_length"] == 1.0
    assert "hardly better than the 1.000" in facts["warning"]
