"""The mixture plan: whole tokens that add up to the budget, under caps, or a word on why they cannot."""

from fractions import Fraction

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from pydantic import ValidationError

from pipeline.errors import DataError
from pipeline.mixture.allocation import allocate, largest_budget, natural, shares
from pipeline.mixture.plan import PlanParams, plan_of
from tests.conftest import read
from tests.stages.masks import masked
from tests.stages.road import Road, in_shards, some_documents

AVAILABLE = {"books": 1_000_000, "code": 300_000, "web": 50_000}


def counts(available=AVAILABLE):
    return {d: {"documents": 10, "empty": 0, "tokens": tokens, "left_out_tokens": 0} for d, tokens in available.items()}


def planned(available=AVAILABLE, **params):
    plan = plan_of(PlanParams(**params), counts(available))
    return plan, {domain: entry["tokens"] for domain, entry in plan["domains"].items()}


WEIGHTS = st.dictionaries(st.sampled_from("abcdef"), st.integers(0, 1000), min_size=1).filter(lambda w: any(w.values()))


@given(WEIGHTS, st.integers(1, 10**12))
def test_shares_add_up_and_are_within_a_token_of_exact(weights, budget):
    exact = {domain: Fraction(weight) for domain, weight in weights.items()}
    given_out = shares(budget, exact)
    assert sum(given_out.values()) == budget
    for domain, tokens in given_out.items():
        assert abs(tokens - budget * exact[domain] / sum(exact.values())) < 1


@given(WEIGHTS, st.integers(1, 10**6), st.data())
def test_an_allocation_meets_the_budget_within_its_caps_or_cannot(weights, budget, data):
    caps = {domain: data.draw(st.integers(0, 10**6)) for domain in weights}
    exact = {domain: Fraction(weight) for domain, weight in weights.items()}
    tokens = allocate(budget, exact, caps).tokens
    assert all(0 <= tokens[domain] <= caps[domain] for domain in weights)
    assert all(tokens[domain] == 0 for domain, weight in weights.items() if not weight)
    assert sum(tokens.values()) == min(budget, largest_budget(exact, caps))


@given(WEIGHTS, st.integers(1, 10**6), st.data())
def test_what_a_cap_frees_goes_to_the_others_in_proportion(weights, budget, data):
    caps = {domain: data.draw(st.integers(1, 10**6)) for domain in weights}
    exact = {domain: Fraction(weight) for domain, weight in weights.items()}
    assume(budget <= largest_budget(exact, caps))
    tokens = allocate(budget, exact, caps).tokens
    open_ = [domain for domain in weights if weights[domain] and tokens[domain] < caps[domain]]
    for a in open_:
        for b in open_:
            assert abs(tokens[a] / exact[a] - tokens[b] / exact[b]) <= 1 / exact[a] + 1 / exact[b]
    for full in (domain for domain in weights if weights[domain] and tokens[domain] == caps[domain]):
        for b in open_:  # no capped domain would be owed less than it gave; rounding alone may fill a cap
            assert (tokens[full] - 1) / exact[full] <= (tokens[b] + 1) / exact[b]


@given(WEIGHTS, st.data())
def test_the_largest_budget_that_keeps_the_weights_is_the_largest(weights, data):
    caps = {domain: data.draw(st.integers(1, 10**5)) for domain in weights}
    exact = {domain: Fraction(weight) for domain, weight in weights.items()}
    largest = largest_budget(exact, caps, redistribute=False)
    assume(largest)
    assert not allocate(largest, exact, caps, redistribute=False).capped()
    total = sum(exact.values())
    assert any(Fraction(largest + 1) * exact[d] / total > caps[d] for d in weights)


def test_natural_without_a_budget_takes_everything_once():
    plan, tokens = planned()
    assert tokens == AVAILABLE
    assert {entry["epochs"] for entry in plan["domains"].values()} == {1.0}
    assert plan["budget_tokens"] == plan["tokens"] == 1_350_000


def test_uniform_weights_are_equal_where_there_are_tokens():
    _, tokens = planned({"a": 900, "b": 900, "c": 0}, weights="uniform", budget_tokens=1000)
    assert tokens == {"a": 500, "b": 500, "c": 0}


def test_a_temperature_near_nothing_leaves_the_largest_domain():
    weights = natural(AVAILABLE, 1e-9)
    largest = max(AVAILABLE, key=AVAILABLE.get)
    assert weights == {domain: float(domain == largest) for domain in AVAILABLE}


def test_a_temperature_flattens_the_natural_weights():
    weights = {t: natural(AVAILABLE, t) for t in (1.0, 2.0, 1e9)}
    assert weights[1.0]["books"] == pytest.approx(1_000_000 / 1_350_000)
    assert weights[2.0]["books"] / weights[2.0]["web"] == pytest.approx(20**0.5)
    assert weights[1e9]["books"] == pytest.approx(1 / 3)
    plan, _ = planned(temperature=2.0, budget_tokens=100_000)
    assert plan["tokens"] == 100_000


def test_a_capped_domain_says_what_it_could_not_give():
    plan, tokens = planned(weights={"books": 0.4, "code": 0.1, "web": 0.5}, budget_tokens=1_000_000, max_epochs=4)
    assert tokens == {"books": 640_000, "code": 160_000, "web": 200_000}
    web = plan["domains"]["web"]
    assert (web["asked_tokens"], web["capped"], web["lost_to_cap"], web["epochs"]) == (500_000, True, 300_000, 4.0)
    assert plan["notes"] == ["300,000 tokens that capped domains could not give are taken from the others"]


def test_shrinking_keeps_the_weights():
    plan, tokens = planned(weights={"books": 0.5, "web": 0.5}, budget_tokens=1_000_000, on_cap="shrink")
    assert tokens == {"books": 200_000, "code": 0, "web": 200_000}
    assert "the budget of 1,000,000 tokens was lowered to 400,000, so that the weights hold" in plan["notes"]
    assert plan["domains"]["web"]["lost_to_cap"] == 300_000


def test_failing_names_the_domain_and_the_largest_budget():
    with pytest.raises(DataError, match=r"web 200,000 tokens are all there is.* is 400,000 tokens with these weights"):
        planned(weights={"books": 0.5, "web": 0.5}, budget_tokens=1_000_000, on_cap="fail")


def test_a_budget_beyond_all_caps_names_the_largest_possible():
    with pytest.raises(DataError, match="The largest budget possible is 5,400,000 tokens; lower budget_tokens"):
        planned(budget_tokens=6_000_000)
    _, tokens = planned(budget_tokens=5_400_000)
    assert tokens == {domain: 4 * n for domain, n in AVAILABLE.items()}


def test_weights_that_do_not_sum_to_one_are_divided_and_said_so():
    plan, tokens = planned(weights={"books": 3, "code": 1}, budget_tokens=400)
    assert tokens == {"books": 300, "code": 100, "web": 0}
    assert plan["notes"] == ["the weights sum to 4 and were divided by it", "no weight, so nothing is taken: web"]


def test_a_domain_that_does_not_exist_is_refused_with_the_nearest():
    with pytest.raises(
        DataError, match=r"no domain 'bokos'\. Did you mean 'books'\? The documents have books, code, web"
    ):
        planned(weights={"bokos": 1.0})


def test_nothing_to_plan_is_an_error():
    with pytest.raises(DataError, match="no document is kept that has tokens"):
        planned({"web": 0})
    with pytest.raises(DataError, match=r"no domain with a weight has tokens left \(books 5, web 0\)"):
        planned({"web": 0, "books": 5}, weights={"web": 1.0})


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"weights": {"a": -1.0}}, "the weight of 'a' is -1.0"),
        ({"weights": {"a": float("nan")}}, "finite number"),
        ({"weights": {"a": 0.0}}, "all weights are 0"),
        ({"weights": "uniform", "temperature": 2.0}, "temperature flattens the natural weights"),
        ({"max_epochs": 0}, "greater than 0"),
    ],
)
def test_weights_that_mean_nothing_are_refused(params, message):
    with pytest.raises(ValidationError, match=message):
        PlanParams(**params)


def test_the_stage_counts_what_the_mask_keeps_with_one_eos_a_document(tmp_path):
    rows = some_documents(60)
    road = Road(tmp_path, in_shards(rows, 3))
    keep = [[(i + s) % 3 > 0 for i in range(20)] for s in range(3)]
    tokens = read(road.encode()).to_pylist()
    road.mask = {"mask": masked(tmp_path / "mask", road.documents, keep)}
    plan = road.plan()
    kept = [row for row, k in zip(tokens, [k for part in keep for k in part], strict=True) if k]
    for domain, entry in plan["domains"].items():
        mine = [row["length"] + 1 for row in kept if row["domain"] == domain]
        assert (entry["documents"], entry["available_tokens"]) == (len(mine), sum(mine))
    assert road.plan_corpus.manifest.facts["tokens"] == plan["tokens"]
