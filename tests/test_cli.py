"""The command line as a person uses it: help, exit codes, what is printed, and that Python can do the same."""

import json
import subprocess
import sys
from pathlib import Path

import click
import pytest

import pipeline
from pipeline import cli
from tests.corpora import raw_rows, road, write_raw, write_yaml

COMMANDS = {
    " ".join([verb, *more]): leaf
    for verb, command in sorted(cli.main.commands.items())
    for more, leaf in (
        [([name], leaf) for name, leaf in command.commands.items()]
        if isinstance(command, click.Group)
        else [([], command)]
    )
}
VERBS = [name for name in COMMANDS if " " not in name]
MINE = {"stage": "mine:long_enough", "version": 1, "inputs": {"documents": "documents"}}
BARE = {"dedup": None, "quality": None, "mixture": None, "tokens": None}


def corpusmill(*arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pipeline", *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=120)


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder with raw files, a recipe that only ingests and drops short documents, and a profile."""
    home = tmp_path_factory.mktemp("home")
    write_raw(home / "raw", raw_rows(20))
    (home / "mine.py").write_text(
        "import pyarrow as pa\n"
        "import pyarrow.compute as pc\n\n\n"
        "def long_enough(batch, least):\n"
        '    """Keep documents of at least `least` bytes."""\n'
        '    return pa.record_batch({"keep": pc.greater_equal(batch["bytes"], least)})\n'
    )
    (home / "typo.py").write_text("def f(:\n")
    steps = {
        "long": {
            "stage": "mine:long_enough",
            "version": 1,
            "inputs": {"documents": "documents"},
            "params": {"least": 500},
        }
    }
    write_yaml(home / "recipe.yaml", road(home / "raw", steps=steps, **BARE))
    write_yaml(home / "profile.yaml", {"root": str(home / "build"), "workers": 1})
    return home


@pytest.mark.parametrize("verb", COMMANDS)
def test_every_command_is_documented_with_an_example_and_speaks_json(verb):
    command = COMMANDS[verb]
    assert f"Example:  corpusmill {verb}" in command.help
    assert "--json" in {option for parameter in command.params for option in parameter.opts}


@pytest.mark.parametrize("verb", VERBS)
def test_every_command_is_a_python_function_too(verb):
    name = verb.replace("-", "_")
    assert callable(getattr(pipeline, name))
    assert name in dir(pipeline)


def test_a_build_of_ones_own_stage_prints_its_books_and_a_second_one_does_nothing(home):
    first = corpusmill("build", "recipe.yaml", "--on", "profile.yaml", cwd=home)
    assert first.returncode == 0, first.stderr
    assert "mine:long_enough" in first.stdout
    assert "dropped (long_enough" in first.stdout
    page = corpusmill("report", "build/builds/road", "--to", "raw", cwd=home)
    assert (page.returncode, "the page cannot be written" in page.stderr) == (2, True)
    again = corpusmill("build", "recipe.yaml", "--on", "profile.yaml", cwd=home)
    assert again.stdout.count("kept ") >= 2
    assert " s  " not in again.stdout
    plan = corpusmill("plan", "recipe.yaml", "--on", "profile.yaml", cwd=home)
    assert "nothing to do" in plan.stdout


def test_plan_says_why_and_changes_nothing(home, tmp_path):
    write_yaml(tmp_path / "profile.yaml", {"root": str(tmp_path / "fresh"), "workers": 1})
    found = corpusmill("plan", home / "recipe.yaml", "--on", tmp_path / "profile.yaml", "--json", cwd=home)
    steps = json.loads(found.stdout)["steps"]
    assert [(s["step"], s["state"], s["why"]) for s in steps] == [("documents", "run", "new"), ("long", "run", "new")]
    assert steps[0]["rows"] == 48
    assert not (tmp_path / "fresh").exists()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"nmae": "x"}, "nmae: no such key; did you mean 'name'?"),
        ({"dedup": {"treshold": 0.8}}, "dedup.treshold: no such key; did you mean 'threshold'?"),
        ({"sources": {"a": "no/such/folder"}}, "there is no file or folder no/such/folder"),
        ({"steps": {"x": {"stage": "dedup.sing"}}}, "did you mean 'dedup.sign'?"),
        ({"steps": {"x": {"stage": "mine:long_enuff", "version": 1}}}, "cannot import mine:long_enuff"),
        ({"steps": {"x": {"stage": "mine:long_enough"}}}, "needs a `version: 1`"),
        ({"steps": {"x": MINE | {"params": {"leest": 3}}}}, "params do not fit mine:long_enough: missing a required"),
        ({"steps": {"x": MINE | {"stage": "typo:f"}}}, "cannot import typo:f: SyntaxError"),
        ({"steps": {"x": MINE | {"stage": ":f"}}}, "cannot import :f: ValueError"),
        ({"steps": {"x": MINE | {"stage": "dedup.exact"}}}, "dedup.exact has its own version"),
    ],
)
def test_a_wrong_recipe_ends_with_2_and_one_sentence(home, change, said):
    recipe = road(home / "raw", **BARE) | change
    write_yaml(home / "wrong.yaml", recipe)
    done = corpusmill("build", "wrong.yaml", "--on", "profile.yaml", cwd=home)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) < 12


def test_a_column_of_ones_own_without_a_type_is_told_before_its_first_shard(home):
    (home / "untyped.py").write_text(
        "import pyarrow as pa\n\n\n"
        'def fn(batch):\n    return pa.record_batch({"sizes": pa.array([len(t) for t in batch["text"].to_pylist()])})\n'
    )
    steps = {"sizes": {"stage": "untyped:fn", "version": 1, "inputs": {"documents": "documents"}}}
    write_yaml(home / "untyped.yaml", road(home / "raw", name="untyped", steps=steps, **BARE))
    done = corpusmill("build", "untyped.yaml", "--on", "profile.yaml", cwd=home)
    assert done.returncode == 1
    assert "'sizes' then has none: give its array a type" in done.stderr


def test_a_failing_stage_ends_with_1_and_the_log_has_the_traceback(home):
    (home / "broken.py").write_text("def fn(batch):\n    return batch.slice(0, batch.num_rows // 2)\n")
    steps = {"bad": {"stage": "broken:fn", "version": 1, "inputs": {"documents": "documents"}}}
    write_yaml(home / "bad.yaml", road(home / "raw", name="bad", steps=steps, **BARE))
    done = corpusmill("build", "bad.yaml", "--on", "profile.yaml", "--json", cwd=home)
    assert done.returncode == 1
    assert "return one row for each" in json.loads(done.stdout.splitlines()[-1])["error"]
    assert "Traceback" not in done.stderr
    assert "Traceback" in (home / "build/builds/bad/log.txt").read_text()


def test_explain_names_the_field_that_differs(home):
    other = road(home / "raw", steps={"long": {"stage": "mine:long_enough", "version": 2}}, **BARE)
    other["steps"]["long"] |= {"inputs": {"documents": "documents"}, "params": {"least": 700}}
    other["name"] = "other"
    write_yaml(home / "other.yaml", other)
    for recipe in ("recipe.yaml", "other.yaml"):
        assert corpusmill("build", recipe, "--on", "profile.yaml", cwd=home).returncode == 0
    found = json.loads(corpusmill("explain", "build/builds/road", "build/builds/other", "--json", cwd=home).stdout)
    assert found == [
        {"step": "long", "field": "params.least", "left": 500, "right": 700},
        {"step": "long", "field": "version", "left": 1, "right": 2},
    ]


def test_init_writes_a_recipe_and_a_profile_that_are_read_and_never_overwrites(tmp_path):
    from pipeline.config import Profile, load
    from pipeline.recipe import Recipe

    recipe, profile = pipeline.init(tmp_path / "new")
    assert load(recipe, Recipe).tokens is not None
    assert load(profile, Profile).runner == "local"
    assert len(load(recipe, Recipe).sources) == 2
    done = corpusmill("init", tmp_path / "new", cwd=tmp_path)
    assert done.returncode == 2
    assert "exists already" in done.stderr
    done = corpusmill("init", tmp_path / "new/recipe.yaml", cwd=tmp_path)
    assert done.returncode == 2
    assert "cannot be written" in done.stderr


@pytest.mark.parametrize(
    ("section", "said"),
    [
        ({"tokens": {"tokenizer": "recipe.yaml"}}, "steps.tokens: recipe.yaml"),
        ({"quality": {"model": "recipe.yaml", "share": 0.5}}, "recipe.yaml cannot be read as a fastText model"),
        ({"quality": {"positive": ["prosa"], "negative": ["notes"], "share": 0.5}}, "did you mean 'prose'?"),
        ({"mixture": {"weights": {"nots": 1}}, "tokens": {}}, "no source is called 'nots'"),
        ({"mixture": {}}, "needs a `tokens:` section"),
    ],
)
def test_what_a_stage_would_stumble_over_is_refused_before_anything_runs(home, section, said):
    write_yaml(home / "wrong.yaml", road(home / "raw", name="wrong", **(BARE | section)))
    done = corpusmill("build", "wrong.yaml", "--on", "profile.yaml", cwd=home)
    assert done.returncode == 2
    assert said in done.stderr
    assert not (home / "build/builds/wrong").exists()
