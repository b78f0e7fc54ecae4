"""Which bands are chosen for a wanted recall: the solver against all there is, its promise, and how a recipe asks."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.config import validate
from pipeline.dedup import sensitivity
from pipeline.dedup.sensitivity import Bands, chance, cost, in_vain, solved, told
from pipeline.errors import ConfigError
from pipeline.recipe import Dedup, Recipe
from pipeline.road.expand import expand

THRESHOLDS = st.floats(0.3, 1, exclude_max=True)
RECALLS = st.floats(0.01, 0.9999)
LEAST = {"name": "demo", "sources": {"web": "raw"}}


def cheapest(threshold, recall):
    """Return the least cost of all shapes with few values, found by looking at each."""
    every = (Bands(b, r) for r in range(1, 41) for b in range(1, 400 // r + 1))
    enough = [s for s in every if chance(threshold, bands=s.bands, rows=s.rows) >= recall]
    return min((cost(threshold, s), s) for s in enough)


@pytest.mark.parametrize("threshold", [0.5, 0.7, 0.8, 0.95])
@pytest.mark.parametrize("recall", [0.3, 0.9, 0.99, 0.999])
def test_no_other_bands_that_reach_the_recall_cost_less(threshold, recall):
    assert cheapest(threshold, recall) == (cost(threshold, solved(threshold, recall)), solved(threshold, recall))


@given(THRESHOLDS, RECALLS)
@settings(deadline=None, max_examples=50)
def test_a_pair_at_the_threshold_is_found_with_the_chance_asked_for_and_one_band_less_would_not_do(threshold, recall):
    bands, rows = solved(threshold, recall)
    assert chance(threshold, bands=bands, rows=rows) >= recall
    assert bands == 1 or chance(threshold, bands=bands - 1, rows=rows) < recall
    assert bands * rows <= sensitivity.MOST_VALUES


@given(THRESHOLDS, RECALLS, RECALLS)
@settings(deadline=None, max_examples=30)
def test_more_recall_never_costs_less(threshold, one, other):
    low, high = sorted((one, other))
    assert cost(threshold, solved(threshold, low)) <= cost(threshold, solved(threshold, high))


@given(st.floats(0, 1), st.floats(0, 1), st.integers(1, 200), st.integers(1, 30))
def test_a_more_similar_pair_is_never_found_less_often(one, other, bands, rows):
    low, high = sorted((one, other))
    assert 0 <= chance(low, bands=bands, rows=rows) <= chance(high, bands=bands, rows=rows) <= 1


@pytest.mark.parametrize("shape", [Bands(1, 1), Bands(1, 7)])
def test_the_area_is_that_of_the_integral_where_it_is_known(shape):
    exact = 0.8 ** (shape.rows + 1) / (shape.rows + 1)
    assert in_vain(0.8, bands=1, rows=shape.rows) == pytest.approx(exact, rel=1e-3)


def test_a_threshold_of_one_needs_one_band():
    assert solved(1.0, 0.999).bands == 1


def test_a_recall_out_of_reach_is_refused_with_what_can_be_had():
    with pytest.raises(
        ValueError, match=r"0.99 at a threshold of 0.001 is out of reach: .* find 0.64\d\d of the pairs"
    ):
        solved(0.001, 0.99)


def bands_of(**dedup):
    params = expand(Recipe.model_validate(LEAST | {"dedup": dedup}))["bands"].params
    return params["bands"], params["rows"]


@pytest.mark.parametrize(
    ("dedup", "expected"),
    [
        ({}, (20, 6)),
        ({"preset": "fineweb"}, (14, 8)),
        ({"preset": "nemo"}, (20, 13)),
        ({"bands": 9, "rows": 13}, (9, 13)),
        ({"recall": 0.99}, (20, 7)),
        ({"recall": 0.99, "threshold": 0.5}, tuple(solved(0.5, 0.99))),
    ],
)
def test_what_a_recipe_asks_for_becomes_bands_and_rows(dedup, expected):
    assert bands_of(**dedup) == expected


def test_bands_and_comparison_read_the_same_shingles():
    steps = expand(Recipe.model_validate(LEAST | {"dedup": {"unit": "byte", "ngram": 24, "hashing": "datasketch"}}))
    assert [steps[name].params["unit"] for name in ("bands", "similar")] == ["byte", "byte"]
    assert [steps[name].params["ngram"] for name in ("bands", "similar")] == [24, 24]
    assert steps["bands"].params["hashing"] == "datasketch"


def test_a_recall_and_the_bands_it_becomes_are_one_identity():
    asked, said = (Dedup(recall=0.99), Dedup(bands=20, rows=7))
    first, second = (
        expand(Recipe.model_validate(LEAST | {"dedup": dedup.model_dump(exclude_none=True)})) for dedup in (asked, said)
    )
    assert first == second


@pytest.mark.parametrize(
    ("dedup", "words"),
    [
        ({"preset": "fineweb", "recall": 0.9}, "given are preset, recall"),
        ({"preset": "nemo", "bands": 9, "rows": 3}, "given are preset, bands, rows"),
        ({"recall": 0.9, "rows": 3}, "given are recall, rows"),
        ({"bands": 9}, "`bands` and `rows` go together; bands is given alone"),
        ({"rows": 9}, "`bands` and `rows` go together; rows is given alone"),
        ({"recall": 1}, "dedup.recall: Input should be less than 1"),
        ({"recall": 0.9999, "threshold": 0.001}, "dedup: recall: 0.9999 at a threshold of 0.001 is out of reach"),
        ({"preset": "finweb"}, "dedup.preset: Input should be 'fineweb' or 'nemo'"),
    ],
)
def test_bands_are_asked_for_in_one_way(dedup, words):
    with pytest.raises(ConfigError) as error:
        validate(LEAST | {"dedup": dedup}, Recipe, "r.yaml")
    assert words in str(error.value)


def test_a_column_that_decides_must_be_carried_by_a_source():
    with pytest.raises(ConfigError, match=r"dedup\.column: no source carries a column 'date'; name it in a source's"):
        validate(LEAST | {"dedup": {"keep": "newest", "column": "date"}}, Recipe, "r.yaml")


def test_a_plan_tells_how_sure_a_pair_is_found():
    assert told(Bands(18, 6), 0.8, 0.99) == (
        "dedup: 18 bands x 6 rows: a pair at J = 0.8 is compared with probability 0.9958 (asked: 0.99)"
    )
    assert told(Bands(20, 6), 0.95).endswith("probability over 0.9999")
    assert told(Bands(1, 1), 1.0).endswith("probability 1.0000")
