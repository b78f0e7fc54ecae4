"""Roles that a folder plays: it counts by what lies in it, and only stages that say so take one."""

import pytest

from pipeline.config import Profile
from pipeline.errors import ConfigError
from pipeline.files import checksum
from pipeline.plans import plan
from pipeline.recipe import Recipe


def written(folder, **files):
    folder.mkdir()
    for name, text in files.items():
        path = folder / name.replace("__", "/")
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    return folder


def planned(tmp_path, reference, stage="quality.losses", role="model.small"):
    steps = {"losses": {"stage": stage, "inputs": {"documents": "documents", role: reference}}}
    recipe = Recipe(name="demo", sources={"web": "w"}, steps=steps)
    return {step.name: step for step in plan(recipe, Profile(root=tmp_path / "root"), {}, {"web": "1" * 32})}["losses"]


def test_a_folder_counts_by_the_names_and_bytes_of_its_files(tmp_path):
    one = checksum(written(tmp_path / "one", config="{}", weights__first="1"))
    assert one == checksum(written(tmp_path / "same", weights__first="1", config="{}"))
    assert one == checksum(written(tmp_path / "hidden", config="{}", weights__first="1", **{".cache__lock": "x"}))
    assert one != checksum(written(tmp_path / "other", config="{}", weights__first="2"))
    assert one != checksum(written(tmp_path / "renamed", config="{}", weights__second="1"))


def test_a_folder_is_the_identity_of_its_role_and_its_place_is_not(tmp_path):
    folders = [
        written(tmp_path / name, config="{}", tokenizer=text) for name, text in (("a", "1"), ("b", "1"), ("c", "2"))
    ]
    first, moved, other = (planned(tmp_path, f"folder:{folder}") for folder in folders)
    assert first.fingerprint == moved.fingerprint != other.fingerprint
    assert first.files == {"model.small": folders[0]}


def test_a_folder_that_is_not_there_or_not_wanted_is_refused(tmp_path):
    folder = written(tmp_path / "model", config="{}")
    with pytest.raises(ConfigError, match=r"steps.losses.inputs.model.small: there is no folder nowhere"):
        planned(tmp_path, "folder:nowhere")
    with pytest.raises(ConfigError, match=r"quality.score takes no folder as model; name a step or file:PATH"):
        planned(tmp_path, f"folder:{folder}", "quality.score", "model")
    with pytest.raises(ConfigError, match=r"quality.losses takes no folder as losses.a"):
        planned(tmp_path, f"folder:{folder}", role="losses.a")
    with pytest.raises(ConfigError, match="there is no file"):
        planned(tmp_path, f"file:{folder}")
