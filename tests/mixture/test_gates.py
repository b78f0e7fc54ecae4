"""What is told of a fit and of a recommendation: gates in words, effects of the domains, tables that can be read."""

import numpy as np
import pytest

from pipeline.description import split
from pipeline.mixture import fit as fits
from pipeline.mixture import recommend as recommending
from pipeline.mixture.effects import effects, raised
from pipeline.mixture.gates import doubts, gates
from pipeline.mixture.recommend import RecommendParams, problem
from tests.mixture.laws import DOMAINS, runs_of, world

AMOUNTS = {"books": 1e9, "code": 3e9, "math": 0.0, "news": 5e8, "web": 5e9}


def told(noise=0.01, stability=0.97, rank=0.95):
    held_out = {"power": {"rmse": 0.02, "spearman": rank, "r2": 0.9}}
    story = {"law": "power", "held_out": held_out, "noise": noise, "spread": 0.1, "rank_stability": stability}
    return {"wiki": story}


@pytest.mark.parametrize(
    ("changed", "gate", "verdict", "said"),
    [
        ({}, "noise", "good", "differ by 10% of what all runs do"),
        ({"noise": 0.051}, "noise", "poor", "differ by 51% of what all runs do: train longer"),
        ({"noise": None}, "noise", "not known", "no mixture was trained twice"),
        ({}, "ranks", "good", "rank as at its end with 0.97"),
        ({"stability": 0.89}, "ranks", "poor", "0.89: train longer"),
        ({"stability": None}, "ranks", "not known", "the losses are of one step"),
        ({}, "law", "good", "not seen with 0.95"),
        ({"rank": 0.4}, "law", "poor", "with 0.40: train more mixtures"),
    ],
)
def test_a_gate_says_in_words_whether_the_runs_may_be_believed(changed, gate, verdict, said):
    found = gates(told(**changed))
    (row,) = [row for row in found if row["gate"] == gate]
    assert (row["target"], row["verdict"]) == ("wiki", verdict)
    assert said in row["meaning"]
    assert doubts(found) == ([f"wiki: {row['meaning']}"] if verdict == "poor" else [])


def test_losses_that_are_all_equal_have_no_noise_to_speak_of():
    story = told() | {"wiki": told()["wiki"] | {"spread": 0.0}}
    assert gates(story)[0]["meaning"] == "all losses are equal"


def test_a_domain_that_is_raised_takes_from_the_others_in_proportion():
    mixture = np.array([0.5, 0.3, 0.2, 0.0])
    assert raised(mixture, 0) == pytest.approx([0.6, 0.24, 0.16, 0.0])
    assert raised(mixture, 3) == pytest.approx([0.45, 0.27, 0.18, 0.1])
    assert raised(np.array([0.95, 0.05]), 0) == pytest.approx([1.0, 0.0])
    assert raised(np.array([1.0, 0.0]), 0) == pytest.approx([1.0, 0.0])


@pytest.fixture(scope="module")
def fit():
    return fits.fit_runs(runs_of(world(24), world(24, seed=3), targets=("own", "other")), ("power", "mean"))


def test_an_effect_is_what_the_law_expects_of_the_mixture_so_changed(fit):
    natural, there = np.array([0.1, 0.3, 0.0, 0.1, 0.5]), np.array([1.0, 3.0, 0.0, 1.0, 5.0])
    found = effects(fit.laws, lambda weights_MD: weights_MD, DOMAINS, natural, there)
    assert list(found) == ["books", "code", "news", "web"], "there is nothing of math that could be raised"
    for domain, by_target in found.items():
        changed = raised(natural, DOMAINS.index(domain))
        for name, change in by_target.items():
            before, after = fit.laws[name].predict(np.stack([natural, changed]))
            assert change == pytest.approx(after - before)


def test_the_facts_of_a_fit_are_tables_and_the_guesses_of_held_out_runs(fit):
    facts = fits.facts(fit, fits.story(fit))
    tables, _ = split(facts)
    assert {"targets", "laws", "gates", "error_by_runs"} <= tables.keys()
    assert {(row["name"], row["of"]) for row in tables["laws"]} == {(t, w) for t in fit.laws for w in ("power", "mean")}
    assert facts["mixtures"] == facts["runs"] == 24
    for name, guesses in facts["guessed"].items():
        assert guesses["found"] == pytest.approx(fit.runs.final(name).tolist(), abs=1e-6)
        errors = np.subtract(guesses["expected"], guesses["found"])
        assert np.sqrt((errors**2).mean()) == pytest.approx(facts["targets"][name]["error"], rel=1e-3)


def test_no_more_guesses_are_told_than_a_picture_can_show():
    for runs in (1, 256, 257, 1000):
        shown = fits.guessed(np.arange(runs, dtype=float), np.ones(runs))
        assert len(shown["found"]) == len(shown["expected"]) <= 256
        assert len(shown["found"]) >= min(runs, 128)


def test_the_facts_of_a_recommendation_are_tables_of_domains_mixtures_and_targets(fit):
    params = RecommendParams(budget_tokens=10**10, max_epochs=2, floors={"news": 0.05})
    given = problem(fit, params, AMOUNTS)
    told_ = recommending.to_json(given, recommending.recommend(given, params))
    tables, rest = split(recommending.facts(given, told_))
    shares = {row["name"]: row for row in tables["shares"]}
    assert (shares["news"]["floor"], shares["news"]["ceiling"]) == (0.05, pytest.approx(0.1))
    assert sum(row["recommended"] for row in shares.values()) == pytest.approx(1)
    expected = {row["name"]: row for row in tables["expected"]}
    assert expected["natural"]["from"] < expected["natural"]["loss"] < expected["natural"]["to"]
    assert expected["best_observed"]["run"] in fit.runs.names
    assert {row["name"] for row in tables["effects"]} == {"books", "code", "news", "web"}
    assert rest["gain_over_natural"] == told_["gain_over_natural"]
