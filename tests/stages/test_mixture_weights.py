"""A recommendation handed to the packer: its weights are the plan's, and the plan's shares are what is packed."""

import json
from collections import Counter

import pytest

from pipeline.errors import ConfigError, DataError
from pipeline.mixture.plan import PLAN, PlanParams, check
from pipeline.tokens.pack import PACK, PackParams
from tests.conftest import run_stage
from tests.stages.road import Road, in_shards, some_documents
from tests.stages.test_tokens_pack import segments

WEIGHTS = {"books": 0.271828, "code": 0.618034, "web": 0.110138}
BUDGET = 20_011
LENGTH = 64


def write(path, weights=WEIGHTS, **more):
    path.write_text(json.dumps({"weights": weights} | more))
    return path


@pytest.fixture(scope="module")
def road(tmp_path_factory):
    made = Road(tmp_path_factory.mktemp("road"), in_shards(some_documents(), 3))
    made.encode()
    return made


def planned(road, root, weights, **params):
    return run_stage(root, PLAN, PlanParams(**params), tokens=road.tokens, weights=weights)


@pytest.mark.parametrize("shards", [1, 3, 7])
def test_packed_shares_are_the_recommended_ones_within_a_sequence_whatever_the_files(tmp_path, shards):
    road = Road(tmp_path, in_shards(some_documents(), shards, seed=shards))
    road.encode()
    limits = {"budget_tokens": BUDGET, "max_epochs": 20}
    road.plan_corpus = planned(road, tmp_path / "plan", write(tmp_path / "weights.json"), **limits)
    corpus = road.pack(sequence_length=LENGTH)
    taken = Counter()
    for _, _, _, piece, number in segments(corpus):
        taken[corpus.manifest.facts["domains"][number]] += len(piece)
    assert sum(taken.values()) == BUDGET
    for domain, weight in WEIGHTS.items():
        assert abs(taken[domain] - weight * BUDGET) < LENGTH
        assert taken[domain] == road.plan_corpus.manifest.facts["domains"][domain]["tokens"]


def test_a_recommendation_is_a_plan_with_these_weights(tmp_path, road):
    by_role = planned(road, tmp_path / "role", write(tmp_path / "w.json", gain_over_natural=0.1), budget_tokens=BUDGET)
    params = PlanParams(weights=WEIGHTS, budget_tokens=BUDGET)
    by_param = run_stage(tmp_path / "param", PLAN, params, tokens=road.tokens)
    plans = [(corpus.root / "data/plan.json").read_bytes() for corpus in (by_role, by_param)]
    assert plans[0] == plans[1]


@pytest.mark.parametrize(
    ("weights", "said"),
    [
        (WEIGHTS | {"wiki": 0.1, "books": 0.2}, "no document is of wiki, which have a weight"),
        ({"books": 0.5, "code": 0.5}, "web have documents and no weight"),
        ({"books": 0.5, "code": 0.5, "wbe": 0.0}, "no document is of wbe.*; web have documents and no weight"),
    ],
)
def test_weights_of_other_domains_are_refused_by_name(tmp_path, road, weights, said):
    with pytest.raises(DataError, match=said):
        planned(road, tmp_path / "plan", write(tmp_path / "w.json", weights))


@pytest.mark.parametrize(("params", "name"), [({"weights": WEIGHTS}, "weights"), ({"temperature": 2.0}, "temperature")])
def test_weights_told_twice_are_refused_before_anything_runs(tmp_path, road, params, name):
    path = write(tmp_path / "w.json")
    said = f"the role `weights` tells the weights, and so does the param `{name}`"
    with pytest.raises(ConfigError, match=said):
        check(PlanParams(**params), {"weights": path})
    with pytest.raises(ConfigError, match=said):
        run_stage(tmp_path / "plan", PLAN, PlanParams(**params), tokens=road.tokens, weights=path)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "is no weights.json of mixture.recommend"),
        ('{"weigths": {"a": 1}}', "KeyError: 'weights'"),
        ('{"weights": [1]}', "is no weights.json"),
        ('{"weights": {"a": "much"}}', "is no weights.json"),
        ('{"weights": {"a": -0.1, "b": 1.1}}', "the weight of 'a' is -0.1"),
        ('{"weights": {"a": NaN}}', "the weight of 'a' is nan"),
        ('{"weights": {"a": 0}}', "all weights are 0"),
    ],
)
def test_a_file_that_holds_no_weights_is_refused_before_anything_runs(tmp_path, content, said):
    path = tmp_path / "weights.json"
    path.write_text(content)
    with pytest.raises(DataError, match=said):
        check(PlanParams(), {"weights": path})


def test_a_plan_of_other_tokens_is_no_plan_to_pack_by(tmp_path, road):
    write(tmp_path / "w.json")
    plan = planned(road, tmp_path / "plan", tmp_path / "w.json")
    other = Road(tmp_path / "other", in_shards(some_documents(200, seed=1), 2))
    other.encode()
    with pytest.raises(DataError, match="The plan and the packing must read the same tokens"):
        run_stage(tmp_path / "sequences", PACK, PackParams(), tokens=other.tokens, plan=plan, tokenizer=other.tokenizer)
