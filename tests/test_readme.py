"""What the README shows is true: its block runs, its recipe is one, its commands exist, the recipes stay short."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from pipeline import cli
from pipeline.config import Profile, load, validate
from pipeline.recipe import Recipe
from pipeline.road.expand import expand

REPOSITORY = Path(__file__).parents[1]
README = (REPOSITORY / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def test_every_command_it_names_exists():
    verbs = set(re.findall(r"corpusmill ([a-z-]+) ", "".join(blocks("bash")))) | {"plan", "explain", "init"}
    assert verbs <= set(cli.main.commands)
    assert set(cli.main.commands) <= set(re.findall(r"corpusmill ([a-z-]+)", README))


def test_its_recipe_and_its_steps_are_accepted_together():
    recipe, steps = (yaml.safe_load(block) for block in blocks("yaml"))
    assert "long" in expand(validate(recipe | steps, Recipe, "README"))


def test_the_recipes_of_the_guide_to_deduplication_are_accepted():
    guide = (REPOSITORY / "docs/deduplication.md").read_text(encoding="utf-8")
    given = re.findall(r"```yaml\n(.*?)```", guide, re.DOTALL)
    assert len(given) == 2
    for block in given:
        rest = {"name": "guide", "sources": {"web": {"paths": ["web"], "extra": ["crawled"]}}}
        assert "near" in expand(validate(rest | yaml.safe_load(block), Recipe, "guide"))
    keys = set(re.findall(r"`([a-z_]+): ?[^`]*`", guide)) - {"ngram", "most"}
    assert keys <= set(Recipe.model_fields["dedup"].annotation.__args__[0].model_fields), keys


@pytest.mark.parametrize("path", sorted((REPOSITORY / "configs/builds").glob("*.yaml")), ids=lambda p: p.name)
def test_a_recipe_has_at_most_forty_lines_and_ends_in_sequences(path):
    assert len(path.read_text().splitlines()) <= 40
    assert {"bands", "plan", "sequences"} <= expand(load(path, Recipe)).keys()


@pytest.mark.parametrize("path", sorted((REPOSITORY / "configs").glob("*.yaml")), ids=lambda p: p.name)
def test_every_profile_is_accepted(path):
    assert load(path, Profile).retries >= 3


def test_every_benchmark_it_names_is_there_and_every_one_there_is_named():
    named = set(re.findall(r"benchmarks/(\w+)\.py", README))
    there = {path.stem for path in (REPOSITORY / "benchmarks").glob("*.py")} - {"harness"}
    assert named == there


@pytest.mark.slow
def test_its_first_block_runs_as_it_stands(tmp_path):
    (tmp_path / "configs").symlink_to(REPOSITORY / "configs")
    lines = [line.split("#")[0].split() for line in blocks("bash")[0].splitlines()]
    commands = [line[1:] for line in lines if line and line[0] == "corpusmill"]
    assert [command[0] for command in commands] == ["sample", "build", "report", "show"]
    for command in commands:
        done = subprocess.run(
            [sys.executable, "-m", "pipeline", *command], cwd=tmp_path, capture_output=True, text=True, timeout=300
        )
        assert done.returncode == 0, done.stderr
    assert "tokens.pack" in done.stdout
    assert "doc_id" in done.stdout
    assert (tmp_path / "data/build/builds/demo/report.html").stat().st_size > 10_000
