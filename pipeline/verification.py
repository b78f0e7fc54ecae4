"""What `corpusmill verify-selection` does: it adds a step of quality.verify to the recipe of a finished build.

So it is planned, refused, locked, run, resumed, kept and reported as every other step. The step is called
`verification`; it reads what the selecting step read, and that step's mask.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.config import suggestion
from pipeline.corpus import Corpus
from pipeline.errors import ConfigError
from pipeline.plans import FILE, Planned
from pipeline.recipe import Recipe, StepConfig
from pipeline.road.expand import expand

SELECT, VERIFY, STEP = "quality.select", "quality.verify", "verification"


@dataclass(frozen=True)
class Verification:
    """A finished verification: where it lies and what it found (the facts of its manifest)."""

    build: str
    path: Path
    facts: Mapping[str, Any]

    @classmethod
    def of(cls, build: str, corpus: Corpus) -> "Verification":
        """Return what a corpus of quality.verify says."""
        return cls(build, corpus.root, corpus.manifest.facts)

    @property
    def verdict(self) -> str:
        """better, worse, or no difference shown."""
        return str(self.facts["verdict"])

    def to_json(self) -> dict[str, Any]:
        """Return all of it as plain JSON."""
        return {"build": self.build, "path": str(self.path)} | dict(self.facts)

    def runs(self) -> tuple[list[str], list[list[Any]]]:
        """Return the heads and the rows of a table of all runs."""
        names = list(self.facts["by_target"])
        head = ["run", "seed", "documents", "bytes", "tokens", "epochs", *names]
        rows = []
        for run in self.facts["runs"]:
            bits = [f"{run['bits_per_byte'][name]:.4f}" for name in names]
            rows.append([run["run"], *(run[key] for key in head[1:5]), f"{run['epochs']:.2f}", *bits])
        return head, rows

    def comparisons(self) -> tuple[list[str], list[list[Any]]]:
        """Return the heads and the rows of a table of what the runs say, target by target and over all."""
        head = ["bits per byte", "selected", "random", "gain", "interval", "verdict"]
        found = dict(self.facts["by_target"])
        if len(found) > 1:
            found["mean of targets"] = self.facts["overall"]
        rows = []
        for name, each in found.items():
            sides = [f"{each[f'{kind}_mean']:.4f} ± {each[f'{kind}_deviation']:.4f}" for kind in ("selected", "random")]
            interval = f"{each['low']:+.4f} to {each['high']:+.4f}"
            rows.append([name, *sides, f"{each['gain']:+.4f}", interval, each["verdict"]])
        return head, rows


def named(files: Sequence[str | Path]) -> dict[str, Path]:
    """Return the targets by name: `NAME=FILE`, or a file, which is called as it is without its endings.

    Raises:
        ConfigError: two are called alike, or there is none.
    """
    found: dict[str, Path] = {}
    for given in map(str, files):
        name, given_name, path = given.partition("=")
        name, path = (name, path) if given_name else (Path(given).name.partition(".")[0], given)
        if name in found:
            raise ConfigError(f"two targets are called {name!r}: {found[name]} and {path}; name them, NAME=FILE")
        found[name] = Path(path)
    if not found:
        raise ConfigError("a selection is verified on texts it is meant for: name files of them as targets")
    return found


def with_verification(
    recipe: Recipe, targets: Mapping[str, Path], step: str | None, params: Mapping[str, Any]
) -> Recipe:
    """Return the recipe with a step that verifies the selection made by `step`.

    Raises:
        ConfigError: there is no such step, or without its name not exactly one that selects.
    """
    steps = expand(recipe)
    taken = steps.get(STEP)
    if taken is not None and taken.stage != VERIFY:
        raise ConfigError(f"steps.{STEP}: {taken.stage} has the name of the verification; call that step otherwise")
    name = _selecting(steps, step)
    selecting = steps[name]
    inputs: dict[str, str] = {role: by for role, by in selecting.inputs.items() if role in ("documents", "mask")}
    if "documents" not in inputs:
        raise ConfigError(f"--step {name}: {selecting.stage} reads no documents; name the step that selects")
    inputs |= {"selected": name}
    inputs |= {f"targets.{name}": f"{FILE}{path}" for name, path in targets.items()}
    added = StepConfig(stage=VERIFY, inputs=inputs, params={"seed": recipe.seed} | dict(params))
    return recipe.model_copy(update={"steps": recipe.steps | {STEP: added}})


def _selecting(steps: Mapping[str, StepConfig], step: str | None) -> str:
    if step is not None:
        if step not in steps:
            raise ConfigError(f"--step {step}: there is no such step{suggestion(step, list(steps))}")
        return step
    found = [name for name, each in steps.items() if each.stage == SELECT]
    if len(found) != 1:
        which = f"the steps {', '.join(found)} do" if found else "no step does"
        raise ConfigError(f"which step selects? Of {SELECT}, {which}; name one: --step STEP")
    return found[0]


def refuse_unfinished(steps: Sequence[Planned]) -> None:
    """See that all but the verification is built.

    Raises:
        ConfigError: a step would have to run first; says why.
    """
    for step in steps:
        if step.name != STEP and step.finished() is None:
            raise ConfigError(
                f"the build is not finished: step {step.name} has to run ({step.why(None)}); "
                "`corpusmill build` it first, then verify its selection"
            )
