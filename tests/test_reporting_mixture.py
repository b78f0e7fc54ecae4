"""The sections on the mixture: how its weights were found, what they rest on, and the plan that is packed by."""

import re
from xml.etree import ElementTree

import pytest

from pipeline.description import Description, split
from pipeline.mixture import fit as fits
from pipeline.mixture import recommend as recommending
from pipeline.mixture.recommend import RecommendParams, problem
from pipeline.reporting import plots
from tests.mixture.laws import runs_of, world
from tests.reported import road, step
from tests.test_reporting import Checker, pictures, told

AMOUNTS = {"books": 1e9, "code": 3e9, "math": 2e8, "news": 5e8, "web": 5e9}
MODEL = {"setting": "smoke", "parameters": 100_000, "vocabulary": 512, "budget_tokens": 50_000}
POOL = {"available_tokens": 900, "pool_tokens": 100, "most_epochs": 2.5, "target_epochs": 2.4}
TRAINED = {"model": MODEL, "runs": 24, "tokens": 1_200_000, "domains": {"web": POOL}, "notes": ["a <smoke> test"]}


@pytest.fixture(scope="module")
def found():
    """The facts of a fit and of a recommendation, as their stages note them."""
    fit = fits.fit_runs(runs_of(world(24), world(24, seed=3), targets=("own", "other")), ("power", "mean"))
    given = problem(fit, RecommendParams(budget_tokens=10**10, max_epochs=2), AMOUNTS)
    recommended = recommending.to_json(given, recommending.recommend(given, RecommendParams()))
    return {
        "fit": fits.facts(fit, fits.story(fit)),
        "recommended": recommending.facts(given, recommended),
    }


def steps(found, **changed):
    facts = {name: found[name] | changed.get(name, {}) for name in found}
    plan = road(tuple(AMOUNTS))["plan"]
    return {
        "available": plan,
        "runs": step("mixture.train", facts=TRAINED),
        "fit": step("mixture.fit", facts=facts["fit"]),
        "recommended": step("mixture.recommend", facts=facts["recommended"]),
        "plan": plan,
    }


def section(html):
    return re.search(r'<section id="weights">.*?</section>', html, re.S)[0]


def test_the_way_to_the_weights_is_told_with_pictures_and_words(tmp_path, found):
    html = told(tmp_path, steps(found))
    assert Checker(html).open == []
    text = section(html)
    titles = re.findall(r"<h3>([^<]*)</h3>", text)
    assert titles == [
        "What is expected of each mixture",
        "What more of each domain does",
        "May the runs be believed?",
        "Would more runs help?",
        "Guesses of runs held out",
        "Laws, judged by runs held out",
        "What the proxies cost",
    ]
    assert [picture[0].text for picture in pictures(text)] == [
        "Recommended and natural shares, and the most that a domain may have",
        "Effect of each domain on each target",
        "The wanted mean of losses, guessed and found",
        "own, guessed and found",
        "other, guessed and found",
    ]
    said = ("24 runs of 24 mixtures", "so the noise is not known", "a &lt;smoke&gt; test", "7.2e+11", "twice the runs")
    for words in (*said, "best observed", "error of power"):
        assert words in text


def test_a_poor_gate_is_counted_and_told(tmp_path, found):
    poor = {"target": "own", "gate": "noise", "figure": 0.9, "verdict": "poor", "meaning": "runs differ <much>"}
    text = section(told(tmp_path, steps(found, fit={"gates": [poor]})))
    assert "1 of 1 gates are poor" in text
    assert "runs differ &lt;much&gt;" in text


def test_a_natural_mixture_that_stays_is_said_to_stay(tmp_path, found):
    text = section(told(tmp_path, steps(found, recommended={"method": "natural"})))
    assert "nothing else is surely better" in text
    other = section(told(tmp_path / "other", steps(found, recommended={"method": "mean of the best"})))
    assert "nothing else is surely better" not in other


def test_steps_that_noted_nothing_are_told_by_nothing(tmp_path):
    bare = {"fit": step("mixture.fit"), "recommended": step("mixture.recommend"), "runs": step("mixture.train")}
    html = told(tmp_path, bare)
    assert Checker(html).open == []
    assert "What the proxies cost" not in html
    assert '<section id="weights">' not in told(tmp_path / "none", {"plan": step("mixture.plan")})


def test_the_plan_told_of_is_the_one_that_is_packed_by(tmp_path):
    whole = road()
    other = whole["plan"].model_copy(update={"facts": whole["plan"].facts | {"notes": ["of what there is"]}})
    html = told(tmp_path, {"available": other} | whole)
    assert "of what there is" not in html


def test_what_show_prints_of_a_fit_and_a_recommendation_are_tables(found):
    for facts, titles in (("fit", ("targets", "laws", "gates")), ("recommended", ("shares", "expected", "effects"))):
        tables, details = split(found[facts])
        text = Description("corpus", "there", {}, tables, {"facts": details}).to_text(120)
        for title in titles:
            assert re.search(rf"^{title}$", text, re.M), text
        assert max(map(len, text.splitlines())) <= 200


def cells(picture):
    return {e[0].text: e.get("class") for e in ElementTree.fromstring(picture).iter() if e.tag.endswith("rect")}


def test_a_heat_map_is_blue_below_nought_and_stronger_the_farther_off():
    picture = plots.heat("t", {"web": {"wiki": -0.2, "math": 0.1}, "<b>": {"wiki": 0.04}})
    assert cells(picture) == {
        "web, wiki: −0.2": "less h5",
        "web, math: +0.1": "more h2",
        "<b>, wiki: +0.04": "more h1",
    }
    assert plots.heat("t", {}) == plots.heat("t", {"a": {}}) == ""
    assert "h1" in plots.heat("t", {"a": {"b": 0.0}})


def test_many_columns_of_a_heat_map_are_cut_and_not_written_over_each_other():
    picture = plots.heat("t", {"web": {f"a long name {i}": float(i) for i in range(20)}})
    texts = [e.text for e in ElementTree.fromstring(picture).iter() if e.tag.endswith("text")]
    assert all(len(text) <= 6 for text in texts)


def test_equal_guesses_lie_on_the_diagonal_of_a_scatter():
    picture = plots.scatter("t", [(3.0, 3.0, "a"), (4.0, 4.0, "b"), (4.0, 3.0, "c")], axes=("x", "y"))
    x1, y1, x2, y2 = map(
        float, re.search(r'<line x1="([^"]*)" y1="([^"]*)" x2="([^"]*)" y2="([^"]*)" class="even"/>', picture).groups()
    )
    dots = [tuple(map(float, at)) for at in re.findall(r'<circle cx="([^"]*)" cy="([^"]*)"', picture)]
    slope = (y2 - y1) / (x2 - x1)
    off = [y - y1 - slope * (x - x1) for x, y in dots]
    assert off[:2] == pytest.approx([0, 0], abs=0.02)
    assert off[2] > 5
    assert plots.scatter("t", [], axes=("x", "y")) == ""
    assert Checker(plots.scatter("t", [(1.0, 1.0, "one")], axes=("x", "y"))).open == []
