"""The mixtures drawn for proxies: sums, bounds, grid, seeds, and how the draws are chosen."""

import json

import numpy as np
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import ConfigError
from pipeline.mixture.sample import SAMPLE, SampleParams, draw
from pipeline.mixture.simplex import on_grid, project
from tests.conftest import run_stage

PRIOR = {"books": 10.0, "code": 30.0, "math": 2.0, "news": 0.5, "web": 57.5}


def weights_of(table):
    return np.column_stack([table[name].to_numpy() for name in table.column_names if name.startswith("weight/")])


def drawn(**params):
    table = draw(SampleParams(**params), PRIOR)
    return weights_of(table)[: params.get("mixtures", 64)]


def test_mixtures_are_distinct_sum_to_one_and_lie_on_the_grid():
    weights = drawn(mixtures=100)
    assert weights.shape == (100, 5)
    assert np.allclose(weights.sum(1), 1, atol=1e-12)
    assert np.allclose(weights * 5000, np.round(weights * 5000), atol=1e-9)
    assert len(np.unique(weights, axis=0)) == 100


def test_no_domain_comes_more_often_than_so_many_times_its_prior():
    weights = drawn(mixtures=100, most_of_prior=3)
    prior = np.array(list(PRIOR.values())) / 100
    assert (weights <= 3 * prior + 1e-12).all()
    assert (weights.max(0) > 1.5 * prior).any(), "and draws reach beyond the prior"
    assert (np.isclose(weights, 3 * prior).mean(0) < 0.3).all(), "such draws are refused, not moved to the bound"


def test_draws_scatter_around_the_flattened_prior_as_a_dirichlet_does():
    flat = drawn(mixtures=400, flatten=0, most_of_prior=1000).mean(0)
    natural = drawn(mixtures=400, flatten=1, most_of_prior=1000).mean(0)
    assert np.allclose(flat, 0.2, atol=0.06)
    assert natural[4] > 0.45


def test_the_seed_decides_and_nothing_else():
    assert draw(SampleParams(seed=3), PRIOR) == draw(SampleParams(seed=3), dict(reversed(PRIOR.items())))
    assert draw(SampleParams(seed=3), PRIOR) != draw(SampleParams(seed=4), PRIOR)


def test_replicates_are_the_prior_under_seeds_of_their_own():
    table = draw(SampleParams(mixtures=5, replicates=3), PRIOR)
    assert table["run"].to_pylist()[5:] == ["prior-1", "prior-2", "prior-3"]
    assert table["seed"].to_pylist() == [0] * 5 + [1, 2, 3]
    assert np.allclose(weights_of(table)[5:], np.array([0.1, 0.3, 0.02, 0.005, 0.575]))


def test_spread_mixtures_lie_farther_apart_than_random_ones():
    def nearest(weights):
        roots = np.sqrt(weights)
        distances = ((roots[:, None] - roots[None]) ** 2).sum(2) + 9 * np.eye(len(roots))
        return distances.min()

    assert nearest(drawn(mixtures=30, choice="spread")) > 3 * nearest(drawn(mixtures=30))


@given(st.integers(0, 10**6))
@settings(max_examples=15)
def test_floors_and_ceilings_hold_in_every_mixture(seed):
    floors, ceilings = {"math": 0.05, "news": 0.01}, {"web": 0.4, "code": 0.5}
    weights = drawn(mixtures=20, floors=floors, ceilings=ceilings, seed=seed)
    assert (weights[:, 2] >= 0.05 - 1e-12).all()
    assert (weights[:, 3] >= 0.01 - 1e-12).all()
    assert (weights[:, 4] <= 0.4 + 1e-12).all()
    assert (weights[:, 1] <= 0.5 + 1e-12).all()
    assert np.allclose(weights.sum(1), 1, atol=1e-12)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"floors": {"web": 0.7, "code": 0.4}}, "the floors sum to 1.1, more than 1"),
        ({"ceilings": {"web": 0.1, "code": 0.1, "books": 0.1}}, "the ceilings sum to .*, less than 1"),
        ({"floors": {"wbe": 0.1}}, "floors: there is no domain 'wbe'; did you mean 'web'"),
        ({"floors": {"web": 0.5}, "ceilings": {"web": 0.4}}, "web: at least 0.5 of the tokens and at most 0.4"),
        ({"ceilings": {"web": 1.4}}, "ceilings: web is 1.4; a share lies between 0 and 1"),
        ({"grid": 0.1, "mixtures": 500, "most_of_prior": 1.5}, "only .* different mixtures|make the grid finer"),
    ],
)
def test_bounds_without_a_mixture_are_refused(params, message):
    with pytest.raises(ConfigError, match=message):
        draw(SampleParams(**params), PRIOR)


SHARES = st.lists(st.floats(0, 1), min_size=4, max_size=4)


@given(SHARES.filter(lambda w: sum(w) > 0.01), SHARES, SHARES)
def test_a_projection_is_the_nearest_mixture_within_the_bounds(weights, lows, highs):
    start = np.array(weights) / sum(weights)
    low = np.array(lows) / 5
    high = np.minimum(1, low + np.array(highs) + 0.3)
    found = project(start[None], low, high)[0]
    assert abs(found.sum() - 1) <= 1e-12
    assert ((found >= low) & (found <= high)).all()
    if ((start >= low) & (start <= high)).all():
        assert np.allclose(found, start, atol=1e-12)
    # The condition of a nearest point: no mixture within the bounds lies on its far side.
    others = project(np.random.default_rng(0).dirichlet(np.ones(4), 50), low, high)
    assert ((others - found) @ (start - found)).max() <= 1e-9


@given(SHARES.filter(lambda w: sum(w) > 0.01))
def test_a_mixture_on_the_grid_is_less_than_a_step_away(weights):
    exact = np.array([weights]) / sum(weights)
    found = on_grid(exact, 0.01, np.zeros(4), np.ones(4))
    assert np.abs(found - exact).max() < 0.01 + 1e-9
    assert round(float(found.sum()) * 100) == 100
    assert (found[exact == 0] == 0).all()


def test_the_stage_reads_the_prior_from_a_plan(tmp_path):
    plan = {"domains": {domain: {"available_tokens": int(10 * tokens)} for domain, tokens in PRIOR.items()}}
    (tmp_path / "plan.json").write_text(json.dumps(plan))
    corpus = run_stage(tmp_path / "out", SAMPLE, SampleParams(mixtures=6), plan=tmp_path / "plan.json")
    parquet, text = (next(corpus.root.rglob(f"mixtures.{kind}")) for kind in ("parquet", "csv"))
    assert pq.read_table(parquet) == draw(SampleParams(mixtures=6), PRIOR)
    assert np.allclose(weights_of(pyarrow.csv.read_csv(text)), weights_of(pq.read_table(parquet)), atol=1e-12)


def test_the_prior_is_given_once(tmp_path):
    with pytest.raises(ConfigError, match="neither is given"):
        run_stage(tmp_path / "a", SAMPLE, SampleParams())
    run_stage(tmp_path / "b", SAMPLE, SampleParams(mixtures=6, prior=PRIOR))
