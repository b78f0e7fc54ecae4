"""`verify-selection`: what it adds to a recipe, what it refuses, and what a person sees of it."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

import pipeline
from pipeline import cli
from pipeline.config import Profile
from pipeline.errors import ConfigError
from pipeline.recipe import Recipe
from pipeline.reporting.evidence import Evidence, Told
from pipeline.reporting.verification import verification
from pipeline.verification import STEP, Verification, named, with_verification
from tests.corpora import raw_rows, road, write_raw, write_yaml
from tests.reported import step

COMPARISON = {
    "selected_mean": 1.25,
    "selected_deviation": 0.004,
    "random_mean": 1.35,
    "random_deviation": 0.01,
    "gain": 0.1,
    "low": 0.07,
    "high": 0.13,
    "verdict": "better",
}
FACTS = {
    "verdict": "better",
    "confidence": 0.95,
    "overall": COMPARISON,
    "by_target": {"news": COMPARISON, "<books>": COMPARISON | {"gain": -0.02, "verdict": "no difference shown"}},
    "pool": {"documents": 1000, "bytes": 2_000_000},
    "selection": {"documents": 200, "bytes": 500_000},
    "targets": {"news": {"documents": 10, "bytes": 9000, "left_out": 0}},
    "model": {"setting": "tiny", "parameters": 1_041_536, "vocabulary": 2048, "context": 128, "budget_tokens": 999_424},
    "runs": [
        {"run": f"{kind}-0", "kind": kind, "seed": 0, "documents": 200, "bytes": 500_000, "tokens": 999_424}
        | {"epochs": 6.25, "mean": 1.3, "bits_per_byte": {"news": 1.25, "<books>": 1.5}}
        for kind in ("selected", "random")
    ],
    "notes": ["better: the selection gains +0.1000", "a subset was read 6.2 times"],
}


def recipe_of(folder, **sections):
    write_raw(folder / "raw", raw_rows(60))
    rest = {"mixture": None, "tokens": None} | sections
    return road(folder / "raw", name="chosen", **rest)


def held_out(folder):
    texts = [text for rows in raw_rows(4, seed=9).values() for _, text in rows]
    path = folder / "held_out.jsonl"
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    return path


def test_targets_are_called_as_their_files_unless_named():
    assert {name: str(path) for name, path in named(["a/news.jsonl.gz", "wiki=b/c.parquet"]).items()} == {
        "news": "a/news.jsonl.gz",
        "wiki": "b/c.parquet",
    }
    with pytest.raises(ConfigError, match="two targets are called 'news'"):
        named(["a/news.txt", "b/news.parquet"])


def test_the_step_reads_what_the_selecting_step_read(tmp_path):
    recipe = Recipe.model_validate(recipe_of(tmp_path))
    added = with_verification(recipe, named(["t.parquet"]), None, {"random": 7}).steps[STEP]
    assert added.stage == "quality.verify"
    assert added.inputs == {
        "documents": "documents",
        "mask": "near",
        "selected": "select",
        "targets.t": "file:t.parquet",
    }
    assert added.params == {"seed": 3, "random": 7}


def test_the_step_that_selects_must_be_plain(tmp_path):
    recipe = Recipe.model_validate(recipe_of(tmp_path, quality=None))
    with pytest.raises(ConfigError, match="no step does; name one"):
        with_verification(recipe, named(["t.parquet"]), None, {})
    with pytest.raises(ConfigError, match="did you mean 'near'"):
        with_verification(recipe, named(["t.parquet"]), "naer", {})
    assert with_verification(recipe, named(["t.parquet"]), "exact", {}).steps[STEP].inputs["selected"] == "exact"


@pytest.mark.torch
def test_a_build_that_is_not_finished_is_not_verified(tmp_path):
    recipe, where = Recipe.model_validate(recipe_of(tmp_path)), Profile(root=tmp_path / "root", workers=1)
    with pytest.raises(ConfigError, match=r"step documents has to run \(new\)"):
        pipeline.verify_selection(recipe, [held_out(tmp_path)], where)
    assert not (tmp_path / "root").exists() or not any((tmp_path / "root").glob("corpora/*"))


@pytest.mark.torch
def test_a_person_sees_runs_verdict_and_a_report_and_a_second_call_trains_nothing(tmp_path):
    recipe = write_yaml(tmp_path / "recipe.yaml", recipe_of(tmp_path))
    profile = write_yaml(tmp_path / "profile.yaml", {"root": str(tmp_path / "root"), "workers": 1})
    pipeline.build(recipe, profile)
    words = ["verify-selection", str(recipe), "--on", str(profile), "--targets", f"fresh={held_out(tmp_path)}"]
    words += ["--setting", "smoke", "--budget-tokens", "5120", "--target-bytes", "3000"]
    first = CliRunner().invoke(cli.main, words)
    assert first.exit_code == 0, first.output
    assert "random-4" in first.output
    assert "small models are evidence for small models" in first.output
    again = CliRunner().invoke(cli.main, [*words, "--json", "--require", "better"])
    found = json.loads(again.stdout)
    assert f"verdict: {found['verdict']}" in first.output
    assert again.exit_code == (found["verdict"] != "better")
    assert len(found["runs"]) == 7
    more = CliRunner().invoke(cli.main, [*words, "--json", "--random", "6"])
    files = [sorted((Path(each["path"]) / "data").glob("*-?.parquet")) for each in (found, json.loads(more.stdout))]
    assert [len(each) for each in files] == [7, 8]
    ours = {path.name: path.stat().st_ino for path in files[1]}
    assert all(ours[path.name] == path.stat().st_ino for path in files[0]), "a run that was trained is taken over"
    page = pipeline.report(recipe, on=profile).read_text()
    assert "Does the selection help?" in page
    assert found["notes"][0].split(":")[0] in page
    refused = CliRunner().invoke(cli.main, [*words, "--random", "3"])
    assert refused.exit_code == 2
    assert "params.random: Input should be greater than or equal to 5" in refused.output


def test_the_report_tells_the_verdict_and_escapes_names():
    told = Told("verification", {"selected": "select"}, step("quality.verify", facts=FACTS))
    page = verification(Evidence("b", {}, (told,)))
    assert "+0.1000" in page
    assert "−0.0200" in page
    assert "&lt;books&gt;" in page
    assert "<books>" not in page
    assert "mean of targets" in page
    assert "6.25" in page
    assert verification(Evidence("b", {}, ())) == ""


def test_the_tables_for_the_screen_have_every_run_and_target():
    found = Verification("b", None, FACTS)
    head, rows = found.runs()
    assert head[-2:] == ["news", "<books>"]
    assert [row[0] for row in rows] == ["selected-0", "random-0"]
    head, rows = found.comparisons()
    assert [row[0] for row in rows] == ["news", "<books>", "mean of targets"]
    assert {len(row) for row in rows} == {len(head)}
    assert rows[0][1:4] == ["1.2500 ± 0.0040", "1.3500 ± 0.0100", "+0.1000"]
