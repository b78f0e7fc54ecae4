"""What the guide to losses and strength shows is accepted."""

import re
from pathlib import Path

import yaml

from pipeline.config import validate
from pipeline.recipe import Recipe
from pipeline.road.expand import expand
from pipeline.stages import find

GUIDE = (Path(__file__).parents[2] / "docs/strength.md").read_text(encoding="utf-8")


def test_the_steps_of_the_guide_are_accepted_with_their_params():
    (block,) = re.findall(r"```yaml\n(.*?)```", GUIDE, re.DOTALL)
    rest = {"name": "guide", "sources": {"web": "web"}, "dedup": {}}
    steps = expand(validate(rest | yaml.safe_load(block), Recipe, "the guide"))
    for name in ("losses", "strength"):
        find(steps[name].stage, None, "the guide").params.model_validate(steps[name].params)


def test_the_guide_names_every_param():
    for name in ("quality.losses", "quality.strength"):
        for param in find(name, None, "the guide").params.model_fields:
            assert f"`{param}`" in GUIDE, f"{name}: {param}"
