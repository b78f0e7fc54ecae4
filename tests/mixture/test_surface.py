"""Surfaces: what texts tell of a mixture's loss before a run, and what it does for fits and draws."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import ConfigError, DataError
from pipeline.mixture import fit as fits
from pipeline.mixture import surfaces
from pipeline.mixture.mixmin import MixMin
from pipeline.mixture.recommend import RecommendParams, problem
from pipeline.mixture.regress import laws
from pipeline.mixture.regress.arrays import rank_correlation
from pipeline.mixture.sample import SampleParams, draw
from pipeline.mixture.surface import SURFACE, SurfaceParams, tuned
from tests.conftest import run_stage, write_documents
from tests.mixture.laws import DOMAINS, runs_of, world
from tests.mixture.proxies import rows

SMALL = {"order": 3, "domain_bytes": 30_000, "held_out_bytes": 3_000}


def bought(root, shards, **params):
    return run_stage(
        root / "surface", SURFACE, SurfaceParams(**SMALL | params), documents=write_documents(root, shards)
    )


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The surface of two languages of invented words."""
    return bought(tmp_path_factory.mktemp("made"), [rows()])


def path_of(corpus):
    return corpus.root / "data" / surfaces.FILE


def mixmin(seed: int, domains: int = 5, leaves: int = 40) -> MixMin:
    rng = np.random.default_rng(seed)
    shares = np.concatenate([rng.dirichlet(np.ones(leaves)) for _ in range(2)])
    return MixMin(rng.uniform(0.001, 1, (2 * leaves, domains)), shares, np.array([0, leaves, 2 * leaves]))


@given(st.integers(0, 10**6), st.booleans())
@settings(max_examples=20)
def test_the_best_mixture_meets_the_conditions_of_karush_kuhn_and_tucker(seed, tight):
    low, high = np.zeros(5), np.full(5, 0.3 if tight else 1.0)
    targets, given_ = np.array([0.3, 0.7]), mixmin(seed)
    best = given_.best(targets, low, high)
    gradient = given_.curve(targets)(best)[1]
    inside = (best > 1e-5) & (best < high - 1e-5)
    assert abs(best.sum() - 1) < 1e-9
    assert ((best >= 0) & (best <= high + 1e-9)).all()
    if inside.any():
        price = gradient[inside].mean()
        assert np.abs(gradient[inside] - price).max() < 1e-4
        assert (gradient[best <= 1e-5] >= price - 1e-4).all()
        assert (gradient[best >= high - 1e-5] <= price + 1e-4).all()


def test_the_curve_of_mixmin_is_its_losses():
    given_, targets, w = mixmin(3), np.array([0.4, 0.6]), np.array([0.1, 0.2, 0.3, 0.15, 0.25])
    value, gradient, hessian = given_.curve(targets)(w)
    assert value == pytest.approx(float((given_.losses(w[None]) @ targets)[0]))
    for j, step in enumerate(np.eye(5) * 1e-6):
        up, down = given_.curve(targets)(w + step), given_.curve(targets)(w - step)
        assert (up[0] - down[0]) / 2e-6 == pytest.approx(gradient[j], rel=1e-5)
        np.testing.assert_allclose((up[1] - down[1]) / 2e-6, hessian[j], rtol=1e-4, atol=1e-6)


def test_a_domain_costs_its_own_target_least_and_the_best_mixture_is_between(made):
    surface = surfaces.read(path_of(made), ("alpha", "beta"))
    for losses in surface.losses(np.array([[1.0, 0], [0.5, 0.5], [0, 1.0]])).values():
        assert losses[0, 0] < losses[1, 0] < losses[2, 0]
        assert losses[2, 1] < losses[1, 1] < losses[0, 1]
    told = json.loads((made.root / "data" / "weights.json").read_text())
    assert "no run was trained" in told["method"]
    assert 0.3 < told["weights"]["alpha"] < 0.7
    assert sum(told["weights"].values()) == pytest.approx(1, abs=1e-9)


def test_a_surface_depends_on_the_documents_and_not_on_their_shards(made, tmp_path):
    again = bought(tmp_path, [rows()[3::4], rows()[::4], [], rows()[1::4], rows()[2::4]])
    names = (surfaces.FILE, "weights.json", "targets.parquet")
    assert all((made.root / "data" / n).read_bytes() == (again.root / "data" / n).read_bytes() for n in names)


def test_what_is_held_out_is_not_counted(made):
    facts = made.manifest.facts
    total = sum(len(text.encode()) for text, _ in rows())
    held = sum(facts["target_bytes"].values())
    assert 0 < held < 8_000
    assert sum(facts["bytes_counted"].values()) <= min(total - held, 2 * 32_000)


def test_a_surface_read_in_another_order_says_the_same(made):
    mixtures = np.random.default_rng(0).dirichlet(np.ones(2), 20)
    one, other = (surfaces.read(path_of(made), domains) for domains in (("alpha", "beta"), ("beta", "alpha")))
    np.testing.assert_allclose(one.ngram(mixtures), other.ngram(mixtures[:, ::-1]), rtol=1e-12)
    laws_ = [surfaces.read_laws(path_of(made), d)["alpha"]["ngram"] for d in (("alpha", "beta"), ("beta", "alpha"))]
    np.testing.assert_allclose(laws_[0].raw(mixtures), laws_[1].raw(mixtures[:, ::-1]), rtol=1e-12)
    with pytest.raises(DataError, match="gamma are in one only"):
        surfaces.read(path_of(made), ("alpha", "gamma"))


def test_the_law_of_a_surface_ranks_mixtures_as_it_does(made):
    mixtures = np.random.default_rng(4).dirichlet(np.ones(2), 100)
    laws_ = surfaces.read_laws(path_of(made), ("alpha", "beta"))
    for name, losses in surfaces.read(path_of(made), ("alpha", "beta")).losses(mixtures).items():
        for place, target in enumerate(("alpha", "beta")):
            assert rank_correlation(laws_[target][name].raw(mixtures), losses[:, place]) > 0.98


def test_tuned_strengths_are_no_worse_than_those_next_to_them(made):
    tree = surfaces.read(path_of(made), ("alpha", "beta")).tree
    copies = np.array([[0.5, 0.5]])
    best = tuned(tree, copies, 3)
    least = surfaces.ngrams.losses(tree, best, copies).mean()
    for place in range(3):
        for factor in (0.5, 2):
            moved = best.copy()
            moved[place] *= factor
            assert surfaces.ngrams.losses(tree, moved, copies).mean() >= least - 1e-3


def test_a_surface_that_knows_the_truth_makes_few_runs_enough():
    seen = world(12, noise=0.02)
    unseen = np.random.default_rng(9).dirichlet(np.ones(5), 300)
    truth = seen.truth.predict(unseen)
    errors = []
    for known in (None, {"ngram": seen.truth}):
        fitted = laws.fit(seen.weights_ND, seen.losses_N, ("mean",), known)
        errors.append(float(((fitted.predict(unseen) - truth) ** 2).mean()))
    assert errors[1] < 0.2 * errors[0]


def test_a_control_variate_never_raises_the_held_out_error():
    seen, other = world(12, noise=0.1, seed=1), world(12, seed=51).truth
    plain = laws.fit(seen.weights_ND, seen.losses_N, ("mean", "linear"))
    tried = laws.fit(seen.weights_ND, seen.losses_N, ("mean", "linear"), {"ngram": other})
    assert tried.judged[tried.law].rmse <= plain.judged[plain.law].rmse


def test_a_fit_with_a_control_variate_is_convex_and_the_same_when_read_back(tmp_path):
    seen = world(12, noise=0.02)
    fit = fits.fit_runs(runs_of(seen), ("power", "mean"), {"own": {"mixmin": seen.truth}})
    assert fit.laws["own"].control is not None
    told = fits.story(fit)
    assert told["own"]["surface"] == "mixmin"
    (tmp_path / "fit.json").write_text(fits.to_json(fit, told))
    again, amounts = fits.from_json(tmp_path / "fit.json"), dict.fromkeys(DOMAINS, 1.0)
    objective, other = (problem(f, RecommendParams(), amounts).objective for f in (fit, again))
    np.testing.assert_allclose(objective.predict(seen.weights_ND), other.predict(seen.weights_ND), rtol=1e-12)
    w = np.array([0.3, 0.29, 0.1, 0.11, 0.2])
    _, gradient, hessian = objective.curve(w)
    assert np.linalg.eigvalsh(hessian).min() > -1e-9
    for j, step in enumerate(np.eye(5) * 1e-6):
        up, down = objective.curve(w + step)[0], objective.curve(w - step)[0]
        assert (up - down) / 2e-6 == pytest.approx(gradient[j], rel=1e-4, abs=1e-7)


def test_the_fit_takes_a_surface_by_its_role(made, tmp_path):
    rng = np.random.default_rng(2)
    weights = rng.dirichlet(np.ones(2), 9)
    losses = surfaces.read(path_of(made), ("alpha", "beta")).ngram(weights)[:, 0] + rng.normal(0, 1e-4, 9)
    columns = {"run": [str(n) for n in range(9)], "weight/beta": weights[:, 1], "weight/alpha": weights[:, 0]}
    pq.write_table(pa.table(columns | {"loss/alpha": losses}), tmp_path / "runs.parquet")
    params = fits.FitParams(laws=("linear",))
    wired = {"runs": tmp_path / "runs.parquet", "surface": path_of(made)}
    controlled, plain = (
        run_stage(tmp_path / name, fits.FIT, params, **roles)
        for name, roles in (("a", wired), ("b", {"runs": wired["runs"]}))
    )
    told = [corpus.manifest.facts["targets"]["alpha"] for corpus in (controlled, plain)]
    assert told[0]["surface"] in ("ngram", "mixmin")
    assert told[0]["error"] < told[1]["error"]
    assert "surface" not in told[1]


def test_screened_draws_cost_less_than_others(made):
    prior = {"alpha": 1.0, "beta": 3.0}
    surface = surfaces.read(path_of(made), ("alpha", "beta"))

    def mean_loss(screen, path):
        table = draw(SampleParams(mixtures=8, replicates=1, screen=screen), prior, path)
        weights = np.column_stack([table[f"weight/{d}"].to_numpy() for d in ("alpha", "beta")])[:8]
        assert len(np.unique(weights, axis=0)) == 8
        return surface.ngram(weights).mean()

    assert mean_loss(0.2, path_of(made)) < mean_loss(0.6, path_of(made)) < mean_loss(None, None)
    with pytest.raises(ConfigError, match="`screen` alone is given"):
        draw(SampleParams(screen=0.5), prior)
    with pytest.raises(ConfigError, match="the surface alone is given"):
        draw(SampleParams(), prior, path_of(made))


def test_what_is_no_surface_and_no_target_is_refused(tmp_path):
    pq.write_table(pa.table({"a": [1]}), tmp_path / "x.parquet")
    with pytest.raises(DataError, match=r"is no surface.parquet of mixture.surface"):
        surfaces.read_laws(tmp_path / "x.parquet", ("a",))
    with pytest.raises(ConfigError, match="there is no target 'gamma'"):
        bought(tmp_path, [rows()], targets={"gamma": 1})
