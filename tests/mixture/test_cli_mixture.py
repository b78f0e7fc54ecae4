"""`corpusmill mixture`: from a plan to mixtures, from runs to weights, on plain files."""

import json

import numpy as np
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from pipeline.cli import Verbs
from pipeline.cli_mixture import mixture
from pipeline.mixture import runs
from tests.mixture.laws import DOMAINS, runs_of, world

MAIN = Verbs(commands={"mixture": mixture})


def corpusmill(*arguments, code=0):
    found = CliRunner().invoke(MAIN, ["mixture", *map(str, arguments)])
    assert found.exit_code == code, found.output
    return found.output


@pytest.fixture
def plan(tmp_path):
    tokens = dict(zip(DOMAINS, (10**9, 3 * 10**9, 2 * 10**8, 5 * 10**8, 5 * 10**9), strict=True))
    content = {"domains": {domain: {"available_tokens": count} for domain, count in tokens.items()}}
    (tmp_path / "plan.json").write_text(json.dumps(content))
    return tmp_path / "plan.json"


def test_mixtures_are_drawn_trained_on_fitted_and_one_is_recommended(tmp_path, plan):
    (tmp_path / "sample.yaml").write_text("mixtures: 40\nreplicates: 3\n")
    told = json.loads(
        corpusmill("sample", plan, "--to", tmp_path / "mixtures", "--params", tmp_path / "sample.yaml", "--json")
    )
    drawn = pq.read_table(told["paths"][0])
    weights = np.column_stack([drawn[f"weight/{domain}"].to_numpy() for domain in DOMAINS])
    truth = world(8).truth.predict(weights) + np.random.default_rng(0).normal(0, 0.002, len(weights))
    pq.write_table(drawn.append_column("loss/val", [truth]), tmp_path / "trained.parquet")
    corpusmill("import", tmp_path / "trained.parquet", "--to", tmp_path / "runs.parquet")
    printed = corpusmill("fit", tmp_path / "runs.parquet", "--to", tmp_path / "fit.json")
    assert "val" in printed
    assert "twice" in printed
    assert 0.0005 < json.loads((tmp_path / "fit.json").read_text())["targets"]["val"]["noise"] < 0.006
    (tmp_path / "want.yaml").write_text("budget_tokens: 10000000000\nbatch: 4\n")
    printed = corpusmill(
        *("recommend", tmp_path / "fit.json", "--plan", plan, "--to", tmp_path / "weights.json"),
        *("--next", tmp_path / "next", "--params", tmp_path / "want.yaml"),
    )
    assert "gain over natural" in printed
    found = json.loads((tmp_path / "weights.json").read_text())
    assert sum(found["weights"].values()) == pytest.approx(1, abs=1e-9)
    assert set(found["compared"]) == {
        "recommended",
        "searched",
        "natural",
        "uniform",
        "temperature",
        "best_observed",
    }
    assert len(pq.read_table(tmp_path / "next.parquet")) == 4


def test_both_published_layouts_are_imported(tmp_path):
    for name in ("mixtures", "ratios"):
        (tmp_path / f"{name}.csv").write_text("run_id,a,b\nx,0.5,0.5\ny,0.25,0.75\n")
    for name in ("losses", "metrics"):
        (tmp_path / f"{name}.csv").write_text("run_id,t\ny,2.0\nx,3.0\n")
    corpusmill("import", tmp_path / "mixtures.csv", tmp_path / "losses.csv", "--to", tmp_path / "one.parquet")
    corpusmill("import", tmp_path, "--to", tmp_path / "two.parquet")
    assert runs.read(tmp_path / "one.parquet").table() == runs.read(tmp_path / "two.parquet").table()


def test_what_is_wrong_is_said_with_an_exit_code(tmp_path, plan):
    assert "neither is given" in corpusmill("sample", "--to", tmp_path / "m", code=2)
    (tmp_path / "typo.yaml").write_text("mixtuers: 3\n")
    said = corpusmill("sample", plan, "--to", tmp_path / "m", "--params", tmp_path / "typo.yaml", code=2)
    assert "did you mean 'mixtures'" in said
    pq.write_table(runs_of(world(5)).table(), tmp_path / "few.parquet")
    assert "too few" in corpusmill("fit", tmp_path / "few.parquet", "--to", tmp_path / "fit.json", code=1)
    assert "is no fit.json" in corpusmill("recommend", plan, "--plan", plan, "--to", tmp_path / "w.json", code=1)
    assert "come together" in corpusmill("recommend", plan, "--to", tmp_path / "w", "--next", tmp_path / "n", code=2)
