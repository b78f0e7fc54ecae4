"""The laws: what they say of mixtures they have not seen, on truths that are known and on published runs."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import ConfigError
from pipeline.mixture import runs
from pipeline.mixture.regress import laws, power, process
from pipeline.mixture.regress.arrays import Scale, folds, rank_correlation
from pipeline.mixture.regress.extra import library
from pipeline.mixture.regress.linear import Exponential, Linear
from tests.mixture.laws import law, mixtures, world


def error(fitted, seen, unseen):
    """Return the share of the variance of the truth that a fit leaves unexplained."""
    truth = seen.truth.predict(unseen)
    return float(((fitted.predict(unseen) - truth) ** 2).mean() / truth.var())


@pytest.mark.parametrize("seed", range(3))
def test_a_power_law_is_found_again_from_its_runs(seed):
    seen = world(64, noise=0.05, seed=seed)
    fitted, held_out = power.fit(seen.weights_ND, seen.losses_N, folds(seen.weights_ND))
    assert error(fitted, seen, mixtures(200, seed=50)) < 0.01
    assert rank_correlation(held_out, seen.losses_N) > 0.98


def test_a_process_finds_a_power_law_and_knows_the_noise_of_its_runs():
    seen = world(96, noise=0.2)
    fitted, _ = process.fit(seen.weights_ND, seen.losses_N, folds(seen.weights_ND))
    assert error(fitted, seen, mixtures(200, seed=50)) < 0.05
    assert 0.1 < fitted.noise() / seen.losses_N.std() < 0.4


def test_a_process_is_surer_where_it_has_seen_runs():
    seen = world(64)
    fitted, _ = process.fit(seen.weights_ND, seen.losses_N, folds(seen.weights_ND))
    near, far = fitted.with_spread(seen.weights_ND)[1].mean(), fitted.with_spread(np.eye(5))[1].mean()
    assert near < far


def test_the_gradients_are_the_differences():
    seen = world(24)
    inputs, y = np.sqrt(seen.weights_ND), Scale.of(seen.losses_N).down(seen.losses_N)
    p = process._start(5) + np.linspace(-0.3, 0.3, 8)
    steps = np.eye(8) * 1e-5
    differences = [
        (process._loss(p + s, inputs, y, p)[0] - process._loss(p - s, inputs, y, p)[0]) / 2e-5 for s in steps
    ]
    assert np.allclose(process._loss(p, inputs, y, p)[1], differences, atol=1e-5)
    terms, q = power._Terms(seen.weights_ND), np.linspace(-1, 1, 13)
    slopes = [(terms.evaluate(q + s)[0] - terms.evaluate(q - s)[0]) / 2e-5 for s in np.eye(13) * 1e-5]
    assert np.allclose(terms.evaluate(q)[1].T, slopes, atol=1e-5)


@given(st.integers(0, 1000))
@settings(max_examples=20)
def test_a_power_law_is_convex_and_its_curve_is_its_own(seed):
    truth = law(seed)
    a, b = mixtures(2, seed)
    middle = truth.raw(np.array([(a + b) / 2]))[0]
    assert middle <= truth.raw(np.array([a, b])).mean() + 1e-12
    value, gradient, hessian = truth.curve(a)
    assert value == pytest.approx(truth.raw(np.array([a]))[0])
    step = 1e-6 * np.minimum(a, 0.1)
    for j, move in enumerate(np.diag(step)):
        up, down = truth.curve(a + move), truth.curve(a - move)
        assert (up[0] - down[0]) / (2 * step[j]) == pytest.approx(gradient[j], rel=1e-3, abs=1e-6)
        assert np.allclose((up[1] - down[1]) / (2 * step[j]), hessian[j], rtol=1e-3, atol=1e-4 * abs(hessian).max())
    assert np.linalg.eigvalsh(hessian).min() >= -1e-9 * abs(hessian).max()


def test_predictions_never_leave_the_neighbourhood_of_the_losses_seen():
    for count in (8, 12, 32):
        seen = world(count, noise=0.1, seed=count)
        corners = np.vstack([np.eye(5), mixtures(500, seed=9)])
        fitted = laws.fit(seen.weights_ND, seen.losses_N)
        guesses, spread = fitted.power.predict(corners), np.ptp(seen.losses_N)
        assert guesses.min() > seen.losses_N.min() - spread
        assert guesses.max() < seen.losses_N.max() + spread
        assert np.ptp(fitted.predict(mixtures(500, seed=9))) > 0.1 * spread, "a constant tells no mixtures apart"


def test_the_simple_laws_find_their_own_kind():
    weights = mixtures(60)
    slope = np.array([1.0, -2.0, 0.5, 0.0, 3.0])
    line, power_ = 3 + weights @ slope, 1 + np.exp(weights @ slope)
    assert np.allclose(Linear.fit(weights, line).predict(mixtures(50, 7)), 3 + mixtures(50, 7) @ slope)
    found = Exponential.fit(weights, power_).predict(mixtures(50, 7))
    assert rank_correlation(found, 1 + np.exp(mixtures(50, 7) @ slope)) > 0.999


def test_the_law_is_chosen_that_fits_runs_it_has_not_seen():
    weights = mixtures(40)
    fitted = laws.fit(weights, 3 + weights @ np.array([1.0, -2.0, 0.5, 0.0, 3.0]))
    assert fitted.law == "linear"
    curved = world(64, noise=0.02)
    fitted = laws.fit(curved.weights_ND, curved.losses_N)
    assert fitted.law in ("power", "mean")
    assert fitted.judged[fitted.law].rmse <= 1.2 * min(figures.rmse for figures in fitted.judged.values())


def test_among_few_runs_no_law_is_chosen_for_its_luck():
    chosen = [laws.fit(seen.weights_ND, seen.losses_N).law for seen in (world(10, 0.3, seed) for seed in range(4))]
    assert chosen.count("mean") >= 3


def test_trees_are_not_a_constant_even_of_few_runs():
    pytest.importorskip("lightgbm")
    seen = world(24)
    fitted = laws.fit(seen.weights_ND, seen.losses_N, ("trees",))
    assert np.ptp(fitted.predict(mixtures(200, seed=9))) > 0
    again = laws.restore(seen.weights_ND, seen.losses_N, fitted.state())
    assert np.array_equal(again.predict(mixtures(20, 3)), fitted.predict(mixtures(20, 3)))


def test_a_library_that_is_not_there_is_named_with_the_way_to_get_it():
    with pytest.raises(
        ConfigError, match=r"need lightgbmm, which is not installed: pip install 'corpusmill\[mixture\]'"
    ):
        library("lightgbmm")


def test_a_fit_written_down_predicts_the_same():
    seen = world(40)
    for chosen in ("linear", "exponential", "power", "process", "mean"):
        fitted = laws.fit(seen.weights_ND, seen.losses_N, (chosen,))
        again = laws.restore(seen.weights_ND, seen.losses_N, fitted.state())
        unseen = mixtures(20, 3)
        assert np.array_equal(again.predict(unseen), fitted.predict(unseen))
        assert np.array_equal(again.half_width(unseen), fitted.half_width(unseen))


@pytest.mark.slow
def test_intervals_hold_nine_of_ten_runs():
    inside = []
    for seed in range(4):
        seen, more = world(64, 0.2, seed), world(400, 0.2, seed)
        fitted = laws.fit(seen.weights_ND, seen.losses_N)
        late = slice(200, None)  # the first mixtures of a world are the same, however many there are
        off = np.abs(fitted.predict(more.weights_ND[late]) - more.losses_N[late])
        inside.append(np.mean(off <= fitted.half_width(more.weights_ND[late])))
    assert 0.85 <= np.mean(inside) <= 0.97


def test_replicates_share_a_fold_and_folds_follow_the_mixture_alone():
    weights = mixtures(30)
    doubled = np.vstack([weights, weights[:10]])
    found = folds(doubled)
    assert np.array_equal(found[30:], found[:10])
    order = np.random.default_rng(0).permutation(40)
    assert np.array_equal(folds(doubled[order]), found[order])
    assert np.bincount(folds(weights)).tolist() == [6] * 5


def test_rank_correlation_is_spearmans():
    scipy_stats = pytest.importorskip("scipy.stats")
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 9, 50).astype(float), rng.normal(size=50)
    assert rank_correlation(a, b) == pytest.approx(scipy_stats.spearmanr(a, b)[0])
    assert rank_correlation(np.ones(5), b[:5]) == 0.0


def test_more_runs_lower_the_curve():
    seen = world(128, noise=0.1)
    points = laws.curve(seen.weights_ND, seen.losses_N, laws.fit(seen.weights_ND, seen.losses_N))
    assert [point.runs for point in points] == [16, 32, 64, 102]
    assert points[0].rmse > points[-1].rmse


def test_losses_that_are_all_the_same_are_predicted_as_such():
    weights = mixtures(12)
    fitted = laws.fit(weights, np.full(12, 3.5))
    assert np.allclose(fitted.predict(mixtures(5, 3)), 3.5, atol=0.6)


@pytest.mark.shared
@pytest.mark.slow
def test_published_runs_are_ranked_as_well_as_by_the_best_known(shared):
    folder = shared / "data/evals/regmix"
    train = runs.pair(folder / "train_mixture_1m.csv", folder / "train_pile_loss_1m.csv")
    test = runs.pair(folder / "test_mixture_1m.csv", folder / "test_pile_loss_1m.csv")
    target = "the_pile_pile_cc"
    chosen = np.arange(0, 512, 8)
    fitted = laws.fit(train.weights_ND[chosen], train.final(target)[chosen])
    assert 100 * rank_correlation(fitted.predict(test.weights_ND), test.final(target)) > 97
