"""From text to a mixture that proxies chose, to the packed tokens, as one build: with runs made elsewhere, and here."""

import json

import numpy as np
import pyarrow.parquet as pq
import pytest

import pipeline
from pipeline.config import Profile
from pipeline.errors import ConfigError
from pipeline.mixture.runs import Runs
from pipeline.recipe import Recipe
from pipeline.reporting.page import write_report
from tests.corpora import raw_rows, road, write_raw

BUDGET, LENGTH = 20_000, 128


def build(root, mixture, files=1):
    write_raw(root / "raw", raw_rows(), files)
    asked = road(
        root / "raw", dedup=None, quality=None, mixture={"budget_tokens": BUDGET, "max_epochs": 8, "regress": mixture}
    )
    return pipeline.build(Recipe(**asked), Profile(root=root / "root", workers=1))


def runs_file(path):
    """Write runs of the two domains: notes are what the target wants."""
    share_N = np.linspace(0.05, 0.95, 16)
    losses_N = 3 - share_N**0.5 + np.random.default_rng(0).normal(0, 0.003, 16)
    weights_ND = np.column_stack([share_N, 1 - share_N])
    runs = Runs(tuple(map(str, range(16))), ("notes", "prose"), ("own",), (0,), weights_ND, losses_N[None, :, None])
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(runs.table(), path)
    return str(path)


def packed_as_recommended(made):
    weights = json.loads((made["recommended"].root / "data/weights.json").read_text())["weights"]
    taken = {d: entry["tokens"] for d, entry in made["sequences"].manifest.facts["by_domain"].items()}
    assert taken.keys() == weights.keys()
    assert sum(taken.values()) == BUDGET
    assert all(abs(taken[domain] - weights[domain] * BUDGET) < LENGTH for domain in weights)
    return weights


@pytest.mark.slow
def test_runs_made_elsewhere_decide_what_is_packed_whatever_the_files(tmp_path):
    wanted = {"runs": runs_file(tmp_path / "runs.parquet"), "laws": ["power"], "ceilings": {"notes": 0.8}}
    one, more = (build(tmp_path / name, wanted, files) for name, files in (("one", 1), ("more", 4)))
    weights = packed_as_recommended(one)
    assert 0.6 < weights["notes"] <= 0.8
    assert packed_as_recommended(more) == weights
    html = write_report(one).read_text(encoding="utf-8")
    for words in ("How the mixture was found", "What more of each domain does", "May the runs be believed?"):
        assert words in html


def test_a_table_of_runs_that_is_not_there_is_refused_before_anything_runs(tmp_path):
    with pytest.raises(ConfigError, match=r"steps.fit.*runs"):
        build(tmp_path, {"runs": str(tmp_path / "none.parquet")})
    assert not (tmp_path / "root/corpora").exists()


@pytest.mark.slow
@pytest.mark.torch
def test_proxies_trained_in_the_build_decide_what_is_packed(tmp_path):
    keys = {"mixtures": 8, "replicates": 2, "model": "smoke", "tokens": 6_000, "laws": ["power"], "recommend": {}}
    made = build(tmp_path, keys | {"train": {"evaluations": 2, "vocabulary": 300}, "held_out_bytes": 5_000})
    packed_as_recommended(made)
    facts = made["fit"].manifest.facts
    assert (facts["runs"], facts["mixtures"]) == (10, 9)
    assert facts["targets"].keys() == {"notes", "prose"}
    assert {row["gate"] for row in facts["gates"] if row["verdict"] != "not known"} == {"noise", "ranks", "law"}
    assert "What the proxies cost" in write_report(made).read_text(encoding="utf-8")
