"""quality.verify: what helps is called better, what is random is not, what is junk is worse; and it can be trusted."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from pipeline.errors import DataError, StageError
from pipeline.execution.local import LocalRunner
from pipeline.kernels import hashing
from pipeline.quality.verify import check
from pipeline.quality.verify_params import VerifyParams
from tests.conftest import read
from tests.corpora import tree
from tests.stages.verification import BUDGET, Pool

pytestmark = pytest.mark.torch
SHORT = {"budget_tokens": 5_120}


@pytest.fixture(scope="module")
def pool(tmp_path_factory):
    return Pool(tmp_path_factory.mktemp("pool"))


def of_alpha(text, domain):
    return domain == "alpha"


@pytest.fixture(scope="module")
def better(pool):
    return pool.verify("better", of_alpha)


def test_the_domain_of_the_targets_is_better(better):
    facts = better.manifest.facts
    assert facts["verdict"] == facts["by_target"]["alpha"]["verdict"] == "better"
    assert facts["overall"]["low"] > 0
    assert facts["notes"][0].startswith("better: the selection gains +")
    assert "small models are evidence for small models" in facts["notes"][1]


def test_a_random_selection_shows_no_difference(pool):
    facts = pool.verify("random", lambda text, domain: hashing.murmur128_bytes(text.encode()) % 3 == 0).manifest.facts
    assert facts["verdict"] == "no difference shown"
    assert facts["overall"]["low"] < 0 < facts["overall"]["high"]


def test_junk_is_worse(pool):
    assert pool.verify("junk", lambda text, domain: domain == "junk").manifest.facts["verdict"] == "worse"


def test_the_table_has_every_run_at_one_budget_and_one_size(better):
    rows = read(better).to_pylist()
    assert [row["run"] for row in rows] == ["selected-0", "selected-1", *(f"random-{i}" for i in range(5))]
    assert {row["tokens"] for row in rows} == {BUDGET}
    size = better.manifest.facts["selection"]["bytes"]
    longest = 600
    assert all(size <= row["bytes"] <= size + longest for row in rows), "a random subset has at least the same bytes"
    assert rows[0]["documents"] == better.manifest.facts["selection"]["documents"]
    assert len({row["bits_per_byte"] for row in rows}) == 7, "each run has a seed of its own"
    assert all(0.5 < row["bits_per_byte"] < 8 for row in rows)


def test_facts_are_of_the_table(better):
    rows = read(better).to_pylist()
    random = [row["bits_per_byte"] for row in rows if row["kind"] == "random"]
    assert better.manifest.facts["overall"]["random_mean"] == pytest.approx(sum(random) / 5, abs=2e-6)
    assert [run["epochs"] for run in better.manifest.facts["runs"]] == [row["epochs"] for row in rows]


def test_workers_and_an_earlier_kill_change_no_byte(pool, better):
    class Killed(LocalRunner):
        """Stops in the middle of the round of trainings."""

        def run(self, fn, tasks, *, warm=False):
            for done, result in enumerate(super().run(fn, tasks, warm=warm), 1):
                yield result
                if done == 3 and len(tasks) > 3:
                    raise KeyboardInterrupt

    mask = pool.masked("again-mask", of_alpha)
    with pytest.raises(KeyboardInterrupt):
        pool.verify("again", mask, Killed(1))
    finished = {p.name: p.stat().st_mtime_ns for p in (pool.root / "again/data").glob("*-?.parquet")}
    assert len(finished) == 3
    with LocalRunner(2) as runner:
        again = pool.verify("again", mask, runner)
    kept = {name: (pool.root / "again/data" / name).stat().st_mtime_ns for name in finished}
    assert kept == finished, "a finished run is not trained again"
    assert tree(again.root / "data") == tree(better.root / "data")
    assert again.manifest.facts == better.manifest.facts


def test_targets_that_could_be_chosen_are_left_out(pool, tmp_path):
    known = [text for text, domain in pool.shards[0] if domain == "alpha"][:3]
    held_out = "".join(text for text, domain in pool.shards[1] if domain == "junk")[:3000]
    target = tmp_path / "leak.parquet"
    pq.write_table(pa.table({"text": [*(f"  {text}\n" for text in known), held_out]}), target)
    facts = pool.verify("leak", of_alpha, targets=target, target_bytes=10_000, **SHORT).manifest.facts
    assert facts["targets"]["alpha"]["left_out"] == 3
    assert facts["targets"]["alpha"]["documents"] == 1
    assert any("3 of 4 texts are also documents" in note for note in facts["notes"])
    only = tmp_path / "only.txt"
    only.write_text(known[0])
    with pytest.raises(DataError, match="give texts that were held out"):
        pool.verify("only", of_alpha, targets=only)


def test_a_selection_read_often_is_warned_of(pool):
    few = {text for text, domain in pool.shards[0] if domain == "alpha"}
    chosen = sorted(few)[:8]
    facts = pool.verify("few", lambda text, domain: text in chosen, **SHORT).manifest.facts
    assert facts["runs"][0]["epochs"] > 4
    assert any("measures repetition as well" in note for note in facts["notes"])


@pytest.mark.parametrize("all_or_none", [True, False])
def test_a_selection_that_chose_nothing_is_refused(pool, all_or_none):
    with pytest.raises(DataError, match="verify a selection that keeps some and drops some"):
        pool.verify(f"degenerate-{all_or_none}", lambda text, domain: all_or_none)


def test_what_cannot_be_measured_is_refused_before_anything_runs(tmp_path):
    params = VerifyParams(setting="smoke")
    with pytest.raises(DataError, match=r"targets\.NAME: file:PATH"):
        check(params, {})
    (tmp_path / "a.jsonl").write_text('{"body": "x"}\n')
    with pytest.raises(DataError, match="line 1: no text under 'text'"):
        check(params, {"targets.a": tmp_path / "a.jsonl"})
    with pytest.raises(ValidationError, match="give at least 5,120"):
        VerifyParams(setting="smoke", budget_tokens=5000)
    with pytest.raises(ValidationError, match="greater than or equal to 5"):
        VerifyParams(random=4)


def test_a_training_that_fails_is_named_and_the_others_are_kept(pool, monkeypatch):
    from pipeline.quality import trials

    real = trials.trial

    def broken(run, *rest):
        if run.name == "random-2":
            raise ValueError("a broken disk")
        return real(run, *rest)

    monkeypatch.setattr(trials, "trial", broken)
    with pytest.raises(StageError, match="random-2: ValueError: a broken disk"):
        pool.verify("broken", of_alpha, **SHORT)
    assert len(list((pool.root / "broken/data").glob("*-?.parquet"))) == 6
