"""The road while it is laid: the steps so far, and which of them the next one reads."""

from dataclasses import dataclass, field
from typing import Any

from pipeline.recipe import Recipe, StepConfig

Steps = dict[str, StepConfig]


@dataclass
class Road:
    """The road so far: its steps, which of them plays `documents` for the next one, and which `mask`."""

    recipe: Recipe
    steps: Steps
    documents: dict[str, str] = field(default_factory=lambda: {"documents": "documents"})
    mask: dict[str, str] = field(default_factory=dict)

    def lay(self, name: str, stage: str, inputs: dict[str, str], **params: Any) -> None:
        """Add a step."""
        self.steps[name] = step(stage, inputs, **params)

    def decide(self, name: str, stage: str, inputs: dict[str, str], **params: Any) -> None:
        """Add a step that reads documents and mask, and whose mask is the next one's."""
        self.lay(name, stage, self.documents | self.mask | inputs, **params)
        self.mask = {"mask": name}

    def shorten(self, name: str, params: dict[str, Any]) -> None:
        """Add a step that finds what to cut out of documents, and the one that cuts."""
        self.decide(name, f"dedup.{name}", {}, **params)
        self.cut(f"without_{name}")

    def cut(self, name: str) -> None:
        """Add the step that cuts out of documents what the last mask says; all later steps read what it writes."""
        self.lay(name, "dedup.cut", self.documents | self.mask)
        self.documents = {"documents": name}


def step(stage: str, inputs: dict[str, str] | None = None, **params: Any) -> StepConfig:
    return StepConfig(stage=stage, inputs=inputs or {}, params=params)
