"""The recipe's `tokens.packing`: the plan counts as the sequences are packed, and the vocabulary has the BOS."""

import pytest
from pydantic import ValidationError

from pipeline.mixture.plan import PlanParams
from pipeline.recipe import Recipe
from pipeline.road.expand import expand
from pipeline.tokens.pack import PackParams
from pipeline.tokens.train import TrainParams


def steps(**packing):
    tokens = {"sequence_length": 128, "packing": packing}
    return expand(Recipe(name="demo", sources={"web": "w"}, tokens=tokens))


@pytest.mark.parametrize(
    "packing",
    [
        {},
        {"split": True, "least_rest": 1},
        {"split": False},
        {"least_rest": 32, "one_domain": True},
        {"bos": "<s>", "mode": "concat_chunk"},
        {"bos": "<s>", "split": False, "mode": "pad", "window_tokens": 10**7},
    ],
    ids=str,
)
def test_the_plan_of_a_recipe_counts_documents_as_they_are_packed(packing):
    made = steps(**packing)
    told = PackParams(**made["sequences"].params)
    assert PlanParams(**made["plan"].params).packing.rule() == told.rule()
    assert {name: getattr(told, name) for name in packing} == packing


def test_a_vocabulary_that_is_trained_has_the_bos_behind_the_eos():
    assert TrainParams(**steps(bos="<s>")["tokenizer"].params).special_tokens == ("<|endoftext|>", "<s>")
    assert TrainParams(**steps(bos="<|endoftext|>")["tokenizer"].params).special_tokens == ("<|endoftext|>",)


def test_options_without_effect_are_refused_where_they_stand():
    with pytest.raises(ValidationError, match=r"tokens\.packing\n.*`depth` is of mode spfhp"):
        steps(depth=3)
