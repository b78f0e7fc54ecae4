"""What is recommended: within its bounds, at the optimum of a convex law, and natural where nothing is to be gained."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from pipeline.errors import ConfigError, DataError
from pipeline.mixture import fit as fits
from pipeline.mixture import recommend as recommending
from pipeline.mixture.optimum import least
from pipeline.mixture.recommend import RECOMMEND, RecommendParams, next_batch, problem
from pipeline.mixture.repetition import HALF_LIFE, Repetition
from pipeline.mixture.runs import Runs
from pipeline.mixture.simplex import project
from tests.conftest import run_stage
from tests.mixture.laws import DOMAINS, law, runs_of, world

AMOUNTS = {"books": 1e9, "code": 3e9, "math": 2e8, "news": 5e8, "web": 5e9}


@pytest.fixture(scope="module")
def fitted():
    return fits.fit_runs(runs_of(world(48), world(48, seed=0, noise=0.3), targets=("own", "noisy")))


def solved(fit, **params):
    params = RecommendParams(**params)
    given_ = problem(fit, params, AMOUNTS)
    return given_, recommending.recommend(given_, params)


@given(st.integers(0, 10**6), st.booleans())
@settings(max_examples=30)
def test_an_optimum_meets_its_bounds_and_the_conditions_of_karush_kuhn_and_tucker(seed, tight):
    truth, rng = law(seed), np.random.default_rng(seed)
    low, high = rng.uniform(0, 0.1, 5), rng.uniform(0.25, 0.5, 5) if tight else np.ones(5)
    found = least(truth.curve, low, high)
    assert abs(found.sum() - 1) <= 1e-9
    assert (found >= low - 1e-9).all()
    assert (found <= high + 1e-9).all()
    gradient = truth.curve(found)[1]
    inside = (found > low + 1e-5) & (found < high - 1e-5)
    if inside.any():  # one price for all domains that could have more or less; the others pay more or gain more
        price, size = gradient[inside].mean(), np.abs(gradient).max()
        assert np.abs(gradient[inside] - price).max() <= 1e-5 * size
        assert (gradient[found <= low + 1e-5] >= price - 1e-5 * size).all()
        assert (gradient[found >= high - 1e-5] <= price + 1e-5 * size).all()


def test_an_optimum_is_that_of_a_general_solver():
    truth = law(4)
    low, high = np.full(5, 0.01), np.full(5, 0.4)
    ours = least(truth.curve, low, high)
    theirs = minimize(
        lambda w: truth.curve(w)[0],
        np.full(5, 0.2),
        jac=lambda w: truth.curve(w)[1],
        bounds=list(zip(low, high, strict=True)),
        constraints={"type": "eq", "fun": lambda w: w.sum() - 1},
        method="SLSQP",
        options={"ftol": 1e-14},
    )
    assert truth.curve(ours)[0] <= theirs.fun + 1e-9


def test_fixed_domains_stay_where_they_are():
    low, high = np.array([0.3, 0, 0.2, 0, 0]), np.array([0.3, 0, 1, 1, 1])
    found = least(law(1).curve, low, high)
    assert found[0] == pytest.approx(0.3, abs=1e-12)
    assert found[1] == 0
    assert least(law(1).curve, np.full(5, 0.2), np.ones(5)) == pytest.approx(np.full(5, 0.2))


@given(st.floats(0.001, 1), st.floats(0.001, 0.3))
def test_tokens_that_come_again_are_worth_less_and_less(weight, once):
    repetition = Repetition(np.array([once]))
    worth = repetition.effective(np.array([[weight]]))[0, 0]
    again = max(weight / once - 1, 0)
    expected = once + once * HALF_LIFE * (1 - np.exp(-again / HALF_LIFE)) if again else weight
    assert worth == pytest.approx(expected)
    assert worth <= weight + 1e-12
    step = 1e-6 * weight
    up, down = (repetition.effective(np.array([[weight + s]]))[0, 0] for s in (step, -step))
    assert (up - down) / (2 * step) == pytest.approx(repetition.slopes(np.array([weight]))[0][0], rel=1e-4, abs=1e-4)


@pytest.mark.parametrize("runs", [48, pytest.param(140, marks=pytest.mark.slow)])
def test_a_recommendation_meets_caps_floors_and_ceilings(runs):
    fit = fits.fit_runs(runs_of(world(runs)), ("power",))
    asked = {"budget_tokens": 10**10, "max_epochs": 3, "floors": {"math": 0.05}, "ceilings": {"web": 0.3}}
    _, found = solved(fit, **asked)
    low, high = np.array([0, 0, 0.05, 0, 0]), np.array([0.3, 0.9, 0.06, 0.15, 0.3])
    assert abs(found.weights_D.sum() - 1) <= 1e-9
    for told in found.compared.values():
        weights = np.array(list(told["weights"].values()))
        assert (weights >= low - 1e-9).all()
        assert (weights <= high + 1e-9).all()
        assert told["interval"][0] < told["loss"] < told["interval"][1]


@pytest.mark.parametrize("runs", [48, 64, pytest.param(160, marks=pytest.mark.slow)])
def test_a_recommendation_is_better_than_the_natural_mixture_in_truth(runs):
    seen = world(runs, noise=0.05, seed=2)
    given_, found = solved(fits.fit_runs(runs_of(seen), ("power", "process", "mean")), targets={"own": 1})
    truth = seen.truth.predict(
        np.stack([found.weights_D, given_.natural_D, least(seen.truth.curve, np.zeros(5), np.ones(5))])
    )
    assert found.method != "natural"
    assert truth[0] < truth[1]
    assert truth[0] - truth[2] < 0.25 * (truth[1] - truth[2])


def test_a_gain_within_the_noise_is_none_and_the_natural_mixture_stays():
    seen = world(16)
    noise = np.random.default_rng(5).normal(3, 1, 16)
    fit = fits.fit_runs(Runs(tuple("abcdefghijklmnop"), DOMAINS, ("x",), (0,), seen.weights_ND, noise[None, :, None]))
    _, found = solved(fit)
    assert found.method == "natural"
    assert np.allclose(found.weights_D, np.array(list(AMOUNTS.values())) / 9.7e9)
    assert any("within the laws' error" in note for note in found.notes)
    assert found.compared["searched"]["weights"] != found.compared["recommended"]["weights"]


def test_targets_are_weighed(fitted):
    assert fitted.target_weights({}) == {"own": 0.5, "noisy": 0.5}
    assert fitted.target_weights({"own": 3, "noisy": 1}) == {"own": 0.75, "noisy": 0.25}
    with pytest.raises(ConfigError, match="no law was fitted to 'mine'"):
        fitted.target_weights({"mine": 1})


def test_repetition_is_discounted_unless_the_runs_have_seen_it(fitted):
    scarce = {"budget_tokens": 10**11, "max_epochs": 40}
    discounted, seen = (problem(fitted, RecommendParams(**scarce, repetition=r), AMOUNTS) for r in ("discount", "seen"))
    mixture = np.array([[0.1, 0.3, 0.05, 0.05, 0.5]])
    assert discounted.objective.predict(mixture) > seen.objective.predict(mixture)


def test_the_objectives_curve_is_its_own(fitted):
    objective = problem(fitted, RecommendParams(budget_tokens=10**10, max_epochs=20), AMOUNTS).objective
    w = np.array([0.3, 0.29, 0.1, 0.11, 0.2])
    _, gradient, hessian = objective.curve(w)
    for j, step in enumerate(np.eye(5) * 1e-6):
        up, down = objective.curve(w + step), objective.curve(w - step)
        assert (up[0] - down[0]) / 2e-6 == pytest.approx(gradient[j], rel=1e-4, abs=1e-7)
        assert np.allclose((up[1] - down[1]) / 2e-6, hessian[j], rtol=1e-3, atol=1e-5)
    assert np.linalg.eigvalsh(hessian).min() > -1e-9


def test_the_next_batch_is_new_distinct_and_within_bounds(fitted):
    given_ = problem(fitted, RecommendParams(ceilings={"web": 0.4}), AMOUNTS)
    batch = next_batch(given_, 8, seed=0)
    assert batch.shape == (8, 5)
    assert len(np.unique(batch, axis=0)) == 8
    assert np.allclose(batch.sum(1), 1, atol=1e-9)
    assert (batch[:, 4] <= 0.4 + 1e-9).all()
    assert np.array_equal(batch, next_batch(given_, 8, seed=0))
    random = project(np.random.default_rng(0).dirichlet(np.ones(5), 200), given_.bounds.low_D, given_.bounds.high_D)
    assert given_.objective.predict(batch).mean() < given_.objective.predict(random).mean()


@pytest.mark.parametrize(
    ("params", "amounts", "message"),
    [
        ({}, AMOUNTS | {"wiki": 1.0}, "wiki is in one only"),
        ({"budget_tokens": 10**12}, AMOUNTS, "the ceilings sum to .* There are not tokens enough"),
        (
            {"floors": {"math": 0.5}, "budget_tokens": 10**10},
            AMOUNTS,
            "math: at least 0.5 of the tokens and at most 0.08",
        ),
    ],
)
def test_what_cannot_be_met_is_refused(fitted, params, amounts, message):
    with pytest.raises(ConfigError, match=message):
        problem(fitted, RecommendParams(**params), amounts)


def test_the_stages_go_from_runs_to_weights(tmp_path):
    import pyarrow.parquet as pq

    pq.write_table(runs_of(world(40)).table(), tmp_path / "runs.parquet")
    fit = run_stage(tmp_path / "fit", fits.FIT, fits.FitParams(laws=("power", "mean")), runs=tmp_path / "runs.parquet")
    told = fit.manifest.facts["targets"]["own"]
    assert told["law"] in ("power", "mean")
    assert told["noise"] is None
    assert "twice" in told["more_runs"]
    plan = {"domains": {domain: {"available_tokens": int(tokens)} for domain, tokens in AMOUNTS.items()}}
    (tmp_path / "plan.json").write_text(json.dumps(plan))
    params = RecommendParams(budget_tokens=10**10, batch=3)
    made = [run_stage(tmp_path / name, RECOMMEND, params, fit=fit, plan=tmp_path / "plan.json") for name in "ab"]
    texts = [next(corpus.root.rglob("weights.json")).read_text() for corpus in made]
    assert texts[0] == texts[1]
    weights = json.loads(texts[0])["weights"]
    assert sum(weights.values()) == pytest.approx(1, abs=1e-9)
    assert len(pq.read_table(next(made[0].root.rglob("next.parquet")))) == 3


def test_a_fit_read_back_recommends_the_same(tmp_path, fitted):
    (tmp_path / "fit.json").write_text(fits.to_json(fitted, {}))
    again = fits.from_json(tmp_path / "fit.json")
    assert np.array_equal(solved(again)[1].weights_D, solved(fitted)[1].weights_D)
    (tmp_path / "fit.json").write_text("{}")
    with pytest.raises(DataError, match=r"is no fit.json of mixture.fit"):
        fits.from_json(tmp_path / "fit.json")


def test_too_few_mixtures_are_refused():
    with pytest.raises(DataError, match="7 different mixtures are too few"):
        fits.fit_runs(runs_of(world(7)))
