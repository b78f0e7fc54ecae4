"""Pools of tokens: nested, repeated as the target will, the same however the documents lie in shards."""

import json
from pathlib import Path

import numpy as np
import pytest

from pipeline.errors import DataError
from pipeline.execution.local import LocalRunner
from pipeline.mixture import pools
from pipeline.mixture.held_out import held_out
from pipeline.mixture.pools import Budgets, budgets
from pipeline.mixture.train_params import TrainParams
from pipeline.stage import Step
from pipeline.tasks import Foreman
from tests.conftest import write_documents
from tests.mixture.proxies import SMALLEST, rows


@pytest.fixture(scope="module")
def documents(tmp_path_factory):
    made = rows()
    return write_documents(tmp_path_factory.mktemp("documents"), [made[:100], made[100:]])


def made(root: Path, documents, target=None, **params):
    given = TrainParams(**SMALLEST | params)
    step = Step("mixture.train", root, {"documents": documents}, Foreman("mixture.train", root, LocalRunner(1)))
    eligible = held_out(step, given).open
    return pools.made(step, given, eligible, target or Budgets())


def tokens(made):
    return {domain: pools.opened(made.folder, place).tokens for place, domain in enumerate(made.domains)}


def test_a_pool_repeats_its_domain_as_often_as_the_target_will(tmp_path, documents):
    target = Budgets(target=51_200, available={"alpha": 4_000, "beta": 30_000})
    found = made(tmp_path, documents, target)
    assert {domain: amount.pool_tokens for domain, amount in found.amounts.items()} == {"alpha": 400, "beta": 3_000}
    run, share = 5_120, 0.25
    for domain, amount in found.amounts.items():
        assert share * run / amount.pool_tokens == share * target.target / target.available[domain]


def test_without_a_plan_a_pool_has_the_budgets_share_of_the_domain(tmp_path, documents):
    found = made(tmp_path, documents, Budgets(target=10_240))
    for amount in found.amounts.values():
        assert amount.pool_tokens == pytest.approx(amount.available_tokens / 2, rel=0.001, abs=1) or (
            amount.pool_tokens == 5_120
        )


def test_without_a_target_a_small_domain_is_read_whole(tmp_path, documents):
    found = made(tmp_path, documents, budget_tokens=51_200)
    for amount in found.amounts.values():
        assert amount.whole
        assert amount.pool_tokens == pytest.approx(amount.available_tokens, rel=0.05), "the sample's estimate is near"
        assert not amount.short


def test_a_smaller_pool_lies_within_a_larger_one(tmp_path, documents):
    large = tokens(made(tmp_path / "large", documents, Budgets(10_240, {"alpha": 9_000, "beta": 9_000})))
    small = tokens(made(tmp_path / "small", documents, Budgets(10_240, {"alpha": 1_000, "beta": 5_000})))
    for domain, ids in small.items():
        np.testing.assert_array_equal(ids, large[domain][: len(ids)])


def test_shards_change_no_token(tmp_path, documents):
    other = write_documents(tmp_path / "other", [[row] for row in reversed(rows()[:20])] + [rows()[20:]])
    first, second = made(tmp_path / "a", documents), made(tmp_path / "b", other)
    for domain, ids in tokens(first).items():
        np.testing.assert_array_equal(ids, tokens(second)[domain])
    assert (tmp_path / "a/data/tokenizer.json").read_bytes() == (tmp_path / "b/data/tokenizer.json").read_bytes()


def test_what_is_held_out_is_in_no_pool(tmp_path, documents):
    step = Step("mixture.train", tmp_path, {"documents": documents}, Foreman("mixture.train", tmp_path, LocalRunner(1)))
    given = TrainParams(**SMALLEST | {"budget_tokens": 51_200})
    judged = held_out(step, given)
    found = pools.made(step, given, judged.open, Budgets())
    from tokenizers import Tokenizer

    words = Tokenizer.from_file(str(tmp_path / "data/tokenizer.json"))
    for place, domain in enumerate(found.domains):
        pool = pools.opened(found.folder, place)
        read = {pool.tokens[a + 1 : b].tobytes() for a, b in zip(pool.bounds, pool.bounds[1:], strict=False)}
        held = {np.array(words.encode(text).ids, np.uint16).tobytes() for text in judged.texts[domain][:-1]}
        assert held
        assert not held & read


def test_a_plan_tells_the_budget_and_what_there_is(tmp_path):
    plan = tmp_path / "plan.json"
    plan.write_text(json.dumps({"tokens": 10**9, "domains": {"a": {"available_tokens": 7}}}))
    params = TrainParams(**SMALLEST)
    assert budgets(params, plan) == Budgets(10**9, {"a": 7})
    assert budgets(TrainParams(**SMALLEST, target_tokens=5), plan) == Budgets(5, {"a": 7})
    assert budgets(params, None) == Budgets()
    plan.write_text("{}")
    with pytest.raises(DataError, match="is no plan"):
        budgets(params, plan)


def test_a_plan_of_other_documents_is_refused(tmp_path, documents):
    with pytest.raises(DataError, match="the plan knows no domain 'beta'"):
        made(tmp_path, documents, Budgets(10_240, {"alpha": 9_000}))
