"""A plan: every step of a recipe resolved and named by its fingerprint, before anything runs."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from pipeline import identity, stages, store
from pipeline.config import Profile, problems, suggestion
from pipeline.corpus import Corpus
from pipeline.errors import ConfigError, DataError
from pipeline.recipe import Recipe, StepConfig
from pipeline.records import BUILD, corpus_of
from pipeline.road.expand import expand
from pipeline.stage import Params, Stage

FILE = "file:"
FOLDER = "folder:"
OUTSIDE = "build:"
INGEST = "ingest"


@dataclass(frozen=True)
class Planned:
    """One step with everything resolved.

    `inputs` are role -> the step that plays it; `files` role -> the file or folder that does; `outside` role -> the
    corpus of an earlier build that does; `identities` what each of them is by content. They, the stage and the params
    make the fingerprint, which names the folder.
    """

    name: str
    stage: Stage
    params: Params
    root: Path
    inputs: Mapping[str, str]
    files: Mapping[str, Path]
    identities: Mapping[str, str]
    sources: Mapping[str, Any] = field(default_factory=dict)
    outside: Mapping[str, Corpus] = field(default_factory=dict)

    @cached_property
    def fingerprint(self) -> str:
        return identity.fingerprint(self.stage.name, self.stage.version, self.params, self.identities)

    @property
    def folder(self) -> Path:
        """Where the step's corpus lies."""
        name = self.stage.name.rpartition(":")[2]
        return self.root / "corpora" / f"{name}-{self.fingerprint[: identity.SHORT]}"

    def identity(self) -> dict[str, Any]:
        """Return all that the fingerprint is made of, and the fingerprint."""
        return {
            "stage": self.stage.name,
            "version": self.stage.version,
            "params": self.params.model_dump(mode="json"),
            "inputs": dict(self.identities),
            "fingerprint": self.fingerprint,
        }

    def finished(self) -> Corpus | None:
        """Return the step's corpus if it is there, whole and undamaged."""
        corpus = store.open_corpus(self.folder)
        return None if corpus is None or store.damage(corpus) else corpus

    def why(self, before: Mapping[str, Any] | None) -> str:
        """Say in a few words why the step has to run.

        Args:
            before: the step's identity in the last finished build of this name.
        """
        corpus = store.open_corpus(self.folder)
        if corpus is not None:
            damage = store.damage(corpus)
            return f"damaged: {damage[0]}" if damage else "finished"
        if (self.folder / "records").exists():
            done = len(store.recorded(self.folder, "data"))
            return f"begun, {done:,} shards finished" if done else "begun"
        if before is None:
            return "new"
        changed = identity.differences({k: before.get(k) for k in self.identity()}, self.identity())
        return ", ".join(_change(*c) for c in changed if c[0] != "fingerprint") or "its corpus is gone"


def _change(place: str, old: object, new: object) -> str:
    name = place.removeprefix("params.")
    if place.startswith("inputs."):
        return f"{place.removeprefix('inputs.')} changed"
    return f"{name} {_short(old)} -> {_short(new)}"


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 24 else f"{text[:21]}..."


def plan(recipe: Recipe, profile: Profile, sources: Mapping[str, Any], prints: Mapping[str, str]) -> list[Planned]:
    """Return the steps of `recipe` in the order they run; nothing is run or written.

    Args:
        sources: domain -> its files, for the ingest step.
        prints: domain -> the fingerprint of its files.

    Raises:
        ConfigError: an unknown stage, input, file or parameter.
    """
    steps = expand(recipe)
    done: dict[str, Planned] = {}
    for name, config in steps.items():
        done[name] = _planned(name, config, done, list(steps), profile.root, sources, prints)
    return list(done.values())


def _planned(
    name: str,
    config: StepConfig,
    done: Mapping[str, Planned],
    names: list[str],
    root: Path,
    sources: Mapping[str, Any],
    prints: Mapping[str, str],
) -> Planned:
    stage = stages.find(config.stage, config.version, f"steps.{name}.stage")
    inputs, files, outside = _wired(name, stage, config, done, names, root)
    identities = {role: done[step].fingerprint for role, step in inputs.items()}
    identities |= {role: corpus.manifest.fingerprint for role, corpus in outside.items()}
    identities |= {role: store.checksum(path) for role, path in files.items()}
    is_ingest = stage.name == INGEST
    return Planned(
        name=name,
        stage=stage,
        params=_params(name, stage, config.params),
        root=root,
        inputs=inputs,
        files=files,
        identities=identities | (dict(prints) if is_ingest else {}),
        sources=dict(sources) if is_ingest else {},
        outside=outside,
    )


def _wired(
    name: str, stage: Stage, config: StepConfig, done: Mapping[str, Planned], names: list[str], root: Path
) -> tuple[dict[str, str], dict[str, Path], dict[str, Corpus]]:
    roles = (*stage.inputs, *stage.optional)
    inputs, files, outside = {}, {}, {}
    for role, reference in config.inputs.items():
        where = f"steps.{name}.inputs.{role}"
        if role not in roles and f"{role.partition('.')[0]}.*" not in roles:
            raise ConfigError(f"{where}: {stage.name} has no such input{suggestion(role, list(roles))}")
        if reference.startswith(FILE):
            files[role] = _existing(Path(reference.removeprefix(FILE)), where)
        elif reference.startswith(FOLDER):
            files[role] = _existing_folder(Path(reference.removeprefix(FOLDER)), stage, role, where)
        elif reference.startswith(OUTSIDE):
            outside[role] = _of_build(reference.removeprefix(OUTSIDE), root, where)
        elif reference in done:
            inputs[role] = reference
        else:
            raise ConfigError(f"{where}: {reference!r} is not a step{suggestion(reference, names)}")
    if missing := [role for role in stage.inputs if role not in config.inputs]:
        raise ConfigError(f"steps.{name}.inputs: {stage.name} also needs {', '.join(missing)}")
    return inputs, files, outside


def _of_build(reference: str, root: Path, where: str) -> Corpus:
    """Return what `STAGE@BUILD` names, BUILD being the folder of a finished build or its name under the root."""
    stage, _, build = reference.partition("@")
    folder = next((path for path in (Path(build), root / "builds" / build) if (path / BUILD).exists()), None)
    if folder is None:
        raise ConfigError(f"{where}: there is no finished build {build} (looked in {Path.cwd()} and {root / 'builds'})")
    try:
        return corpus_of(folder, stage)
    except DataError as error:
        raise ConfigError(f"{where}: {error}") from None


def _existing(path: Path, where: str) -> Path:
    if not path.is_file():
        raise ConfigError(f"{where}: there is no file {path} (looked in {Path.cwd()})")
    return path


def _existing_folder(path: Path, stage: Stage, role: str, where: str) -> Path:
    if not {role, f"{role.partition('.')[0]}.*"} & set(stage.folders):
        raise ConfigError(f"{where}: {stage.name} takes no folder as {role}; name a step or file:PATH")
    if not path.is_dir():
        raise ConfigError(f"{where}: there is no folder {path} (looked in {Path.cwd()})")
    return path


def _params(name: str, stage: Stage, given: Mapping[str, Any]) -> Params:
    try:
        return stage.params.model_validate(dict(given))
    except ValidationError as error:
        lines = problems(
            error,
            lambda loc: f"{stage.name} has no such parameter{suggestion(loc[-1], list(stage.params.model_fields))}",
            ("steps", name, "params"),
        )
        raise ConfigError("\n".join(lines)) from None
