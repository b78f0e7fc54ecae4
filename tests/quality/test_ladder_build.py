"""A ladder in a build: models as folders, scores, strengths; a model more costs that model; a kill costs nothing."""

import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from pipeline import builds
from tests.corpora import raw_rows, tree, write_raw, write_yaml
from tests.quality import ladder

REPOSITORY = Path(__file__).parents[2]

pytestmark = [pytest.mark.torch, pytest.mark.slow]

LIMITS = {"saturated": 1.0, "coverage": 1.0}


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """Raw text in six shards' worth of domains, four models drawn at random, and scores that suit them."""
    root = tmp_path_factory.mktemp("ladder")
    write_raw(root / "raw", raw_rows(12))
    for seed, name in enumerate(("a", "b", "c", "d")):
        ladder.write_model(root / "models" / name, seed=seed, positions=128)
    return root


def recipe(inputs, folder, names, scores=None):
    steps = {
        "losses": {
            "stage": "quality.losses",
            "inputs": {"documents": "documents", "mask": "exact"}
            | {f"model.{name}": f"folder:{inputs / 'models' / name}" for name in names},
        }
    }
    if scores:
        roles = {"documents": "documents", "mask": "exact", "losses": "losses", "scores": f"file:{scores}"}
        steps["strength"] = {"stage": "quality.strength", "inputs": roles, "params": LIMITS}
    sources = {domain: {"paths": [str(inputs / "raw" / domain)], "id": "id"} for domain in ("notes", "prose")}
    sections = {"ingest": {"shard_mb": 1}, "dedup": {"near": False}, "steps": steps}
    return write_yaml(folder / "recipe.yaml", {"name": "ladder", "sources": sources} | sections)


def command(folder, recipe_path, root):
    profile = write_yaml(folder / f"{root}.yaml", {"root": str(folder / root), "workers": 2})
    return [sys.executable, "-m", "pipeline", "build", str(recipe_path), "--on", str(profile)]


def built(folder, recipe_path, root):
    done = subprocess.run(command(folder, recipe_path, root), cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return builds.open_build(folder / root / "builds" / "ladder")


def scores_that_suit(build, path):
    """Give the model of the lowest bits per byte the highest score."""
    told = build["losses"].manifest.facts["models"]
    ordered = sorted(told, key=lambda name: -told[name]["bits_per_byte"])
    path.write_text("model,score\n" + "".join(f"{name},{50 + at}\n" for at, name in enumerate(ordered)))
    return path


@pytest.fixture(scope="module")
def calm(inputs):
    """A build that nothing disturbs."""
    return built(inputs, recipe(inputs, inputs, "abcd"), "calm")


def test_a_model_more_is_scored_and_no_other_again(inputs, calm, tmp_path):
    first = built(tmp_path, recipe(inputs, tmp_path, "abc"), "root")
    scores = scores_that_suit(calm, tmp_path / "scores.csv")
    more = built(tmp_path, recipe(inputs, tmp_path, "abcd", scores), "root")
    inodes = [{path.name: path.stat().st_ino for path in build["losses"].paths()} for build in (first, more)]
    assert inodes[0].items() <= inodes[1].items(), "a shard that was scored before is taken over by a link"
    assert {name.partition("-")[0] for name in inodes[1].keys() - inodes[0].keys()} == {"d"}
    kept = sum(pq.read_table(path)["keep"].to_pylist().count(True) for path in more["exact"].paths())
    strengths = [value for path in more["strength"].paths() for value in pq.read_table(path)["strength"].to_pylist()]
    assert sum(value is not None for value in strengths) == kept
    assert len(set(strengths)) > 2


def test_a_build_killed_while_it_scores_ends_with_the_same_bytes(inputs, calm, tmp_path):
    path = recipe(inputs, tmp_path, "abcd")
    driver = subprocess.Popen(command(tmp_path, path, "killed"), cwd=REPOSITORY, stdout=subprocess.DEVNULL)
    patience = time.monotonic() + 120
    while not (done := list((tmp_path / "killed").glob("corpora/quality.losses-*/records/data/*.json"))):
        assert time.monotonic() < patience
        assert driver.poll() is None, "the build was over before it could be killed"
        time.sleep(0.01)
    driver.kill()
    driver.wait()
    kept = {file.name: file.stat().st_ino for file in done[0].parents[2].glob("data/*.parquet")}
    again = built(tmp_path, path, "killed")
    assert {p.name: p.stat().st_ino for p in again["losses"].paths()}.items() >= kept.items()
    assert tree(tmp_path / "killed" / "corpora") == tree(inputs / "calm" / "corpora")
    assert calm["losses"].manifest == again["losses"].manifest
