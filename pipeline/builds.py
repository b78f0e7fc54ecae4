"""A build: the steps of a plan run one after the other under the root's lock; what is finished is kept.

`{root}/corpora/<stage>-<fingerprint>/` holds the corpora, `{root}/builds/<recipe>/` the record of the last finished
build (`build.json`, written last), its log and its report.
"""

import json
import shutil
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

from pipeline import ledger, store
from pipeline.config import Profile
from pipeline.corpus import Corpus, Manifest, Shards
from pipeline.errors import ConfigError, DataError, PipelineError, StageError
from pipeline.execution import runner_for
from pipeline.execution.base import Retries, Runner, Settings
from pipeline.plans import Planned
from pipeline.recipe import Recipe
from pipeline.records import BUILD, read_record
from pipeline.stage import Step
from pipeline.store import Earlier, Record
from pipeline.tasks import Foreman


class Watcher(Protocol):
    """What wants to hear how a build goes."""

    def start(self, steps: Sequence[Planned], notes: Sequence[str]) -> None:
        """The build begins: its steps, and what a person should know of the sources."""

    def begin(self, step: Planned, index: int, total: int) -> None:
        """A step starts."""

    def shard(self, done: int, total: int, record: Record | None) -> None:
        """A task of the step's current round is finished; without a record, a round starts with `done` kept."""

    def end(self, step: Planned, corpus: Corpus, *, kept: bool, seconds: float) -> None:
        """A step is finished, or was found finished."""


@dataclass(frozen=True)
class Build:
    """A finished build: its record's folder and the corpus of every step."""

    name: str
    folder: Path
    corpora: Mapping[str, Corpus]

    def __getitem__(self, step: str) -> Corpus:
        return self.corpora[step]


def folder_of(recipe: Recipe, profile: Profile) -> Path:
    """Return the folder of the build's record."""
    return profile.root / "builds" / recipe.name


def open_build(folder: Path) -> Build:
    """Return the finished build recorded in `folder`.

    Raises:
        DataError: there is no record, or a corpus it names is gone.
    """
    record = read_record(folder)
    if record is None:
        raise DataError(f"{folder} holds no finished build; `corpusmill build` makes one")
    corpora = {}
    for name, step in record["steps"].items():
        root = folder.parent.parent / "corpora" / step["folder"]
        corpus = store.open_corpus(root)
        if corpus is None:
            raise DataError(f"the corpus of step {name!r} is gone from {root}; build again")
        corpora[name] = corpus
    return Build(record["name"], folder, corpora)


def run(recipe: Recipe, profile: Profile, steps: list[Planned], watcher: Watcher) -> Build:
    """Run what is not finished, record the build and return it.

    Raises:
        LockedError: another build holds the root.
        PipelineError: a step failed; finished steps and shards are kept.
    """
    folder = folder_of(recipe, profile)
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / "log.txt"
    with ExitStack() as stack:
        stack.enter_context(store.lock(profile.root, f"build {recipe.name!r}", wait_s=profile.wait_for_lock_s))
        _log(log, f"build {recipe.name}: {len(steps)} steps on {profile.runner}, root {profile.root}")
        runner = _lazy(lambda: stack.enter_context(runner_for(_settings(profile, log))))
        corpora: dict[str, Corpus] = {}
        for index, step in enumerate(steps):
            watcher.begin(step, index, len(steps))
            started = time.monotonic()
            found = step.finished()
            if found is not None:
                store.tidy(found)
            corpora[step.name] = found or _execute(step, corpora, profile, runner, watcher, log)
            if step.stage.gate is not None:
                step.stage.gate(step.params, corpora[step.name])
            seconds = time.monotonic() - started
            watcher.end(step, corpora[step.name], kept=found is not None, seconds=seconds)
            verb = "kept" if found else f"built in {seconds:.1f} s"
            _log(log, f"{step.name}: {step.folder.name} {verb}, {corpora[step.name].manifest.rows:,} rows")
        _record(folder, recipe, steps)
    return Build(recipe.name, folder, corpora)


def _execute(
    planned: Planned,
    corpora: Mapping[str, Corpus],
    profile: Profile,
    runner: Callable[[], Runner],
    watcher: Watcher,
    log: Path,
) -> Corpus:
    root = planned.folder
    if (root / store.MANIFEST).exists():  # finished once, damaged since: nothing in it can be trusted
        shutil.rmtree(root)
    store.begin(root, planned.identity())
    foreman = Foreman(planned.stage.name, root, runner(), _earlier(planned), watcher.shard)
    inputs = {role: corpora[name] for role, name in planned.inputs.items()} | dict(planned.outside)
    step = Step(
        planned.stage.name,
        root,
        inputs,
        foreman,
        planned.identities,
        planned.files,
        planned.sources,
        memory_bytes=profile.memory_mb << 20,
    )
    try:
        planned.stage.run(step, planned.params)
        ledger.check(step.ledger, planned.stage.name)
        return store.finish(root, partial(_manifest, planned, step), step.keys)
    except PipelineError as error:
        details = error.details if isinstance(error, StageError) else ""
        _log(log, f"{planned.name} failed: {error}\n{details}")
        if isinstance(error, ConfigError):  # which promises that nothing has run
            raise StageError(str(error)) from error
        raise
    except Exception as error:
        _log(log, f"{planned.name} failed:\n{traceback.format_exc()}")
        message = f"{planned.stage.name} failed: {type(error).__name__}: {error}\nthe whole story is in {log}"
        raise StageError(message, traceback.format_exc()) from error


def _manifest(planned: Planned, step: Step, shards: Shards, files: Shards) -> Manifest:
    return Manifest(**planned.identity(), ledger=step.ledger, facts=step.facts, shards=shards, files=files)


def _earlier(planned: Planned) -> Earlier | None:
    """Return the newest other corpus of the same stage, version and params, whose shards may be taken over.

    Params that only say which tasks there are may differ.
    """
    found: list[tuple[float, Corpus]] = []
    for root in planned.folder.parent.glob(f"{planned.folder.name.rpartition('-')[0]}-*"):
        if root == planned.folder or not (root / store.RECORDS).exists():
            continue
        corpus = store.open_corpus(root)
        if corpus is None:
            continue
        theirs, ours = corpus.manifest, planned.identity()
        params = [
            {name: value for name, value in each.items() if name not in planned.stage.extent}
            for each in (theirs.params, ours["params"])
        ]
        if (theirs.stage, theirs.version, params[0]) == (ours["stage"], ours["version"], params[1]):
            found.append(((root / store.MANIFEST).stat().st_mtime, corpus))
    return Earlier(max(found, key=lambda pair: pair[0])[1]) if found else None


def _record(folder: Path, recipe: Recipe, steps: list[Planned]) -> None:
    record = {
        "name": recipe.name,
        # What was said, without defaults: a section may refuse one that says nothing beside what else was said.
        "recipe": recipe.model_dump(mode="json", exclude_none=True, exclude_unset=True),
        "steps": {
            step.name: step.identity() | {"folder": step.folder.name, "roles": dict(step.inputs)} for step in steps
        },
    }
    store.write_atomic(folder / BUILD, json.dumps(record, indent=1, ensure_ascii=False) + "\n")


def _settings(profile: Profile, log: Path) -> Settings:
    retries = Retries(memory=profile.retries, io=profile.retries, crash=max(profile.retries, 0) + 5)
    return Settings(
        runner=profile.runner,
        workers=profile.workers,
        address=profile.address,
        retries=retries,
        log=log,
        object_store_mb=profile.object_store_mb,
        gpus_per_warm_worker=profile.gpus_per_model,
    )


def _lazy(make: Callable[[], Runner]) -> Callable[[], Runner]:
    """Return a function that makes the runner when the first step needs it; a build that is finished starts none."""
    made: list[Runner] = []

    def get() -> Runner:
        if not made:
            made.append(make())
        return made[0]

    return get


def _log(path: Path, line: str) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {line}\n")
