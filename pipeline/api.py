"""The verbs of the command line as Python functions: `pipeline.build("recipe.yaml", on="profile.yaml")`.

A recipe or a profile is the path of a YAML file or the model itself. All raise `pipeline.errors.PipelineError`.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline import builds, explanation, preflight, records, starter
from pipeline.builds import Build, Watcher
from pipeline.config import Profile, load
from pipeline.dedup import sensitivity
from pipeline.dedup.sensitivity import Bands
from pipeline.errors import ConfigError
from pipeline.plans import Planned
from pipeline.recipe import Recipe

if TYPE_CHECKING:
    from pipeline.describe import Description
    from pipeline.describe_duplicates import Duplicates
    from pipeline.samples.corpus import SampleSummary
    from pipeline.verification import Verification

RecipeLike = str | Path | Recipe
ProfileLike = str | Path | Profile | None


@dataclass(frozen=True)
class PlannedBuild:
    """What `build` would do: the steps in order, which of them are finished, and why the others have to run."""

    recipe: Recipe
    profile: Profile
    steps: list[Planned]
    totals: preflight.SourceTotals

    @property
    def notes(self) -> tuple[str, ...]:
        """What a person should know: of the sources, and how sure near duplicates are found."""
        return (*self.totals.notes, *self._sensitivity())

    def _sensitivity(self) -> Iterator[str]:
        # Of the steps, not of the section, since the recipe's `steps` may have changed them.
        params = {step.stage.name: step.params.model_dump() for step in self.steps}
        if params.keys() >= {"dedup.sign", "dedup.verify"}:
            shape = Bands(params["dedup.sign"]["bands"], params["dedup.sign"]["rows"])
            asked = self.recipe.dedup.recall if self.recipe.dedup else None
            yield sensitivity.told(shape, params["dedup.verify"]["threshold"], asked)

    def table(self) -> list[dict[str, Any]]:
        """Return a row per step: name, stage, folder, state (kept or run), why, rows and bytes where they are known."""
        record = records.read_record(builds.folder_of(self.recipe, self.profile)) or {"steps": {}}
        return [self._row(step, record["steps"].get(step.name)) for step in self.steps]

    def _row(self, step: Planned, before: dict[str, Any] | None) -> dict[str, Any]:
        corpus = step.finished()
        row = {"step": step.name, "stage": step.stage.name, "folder": step.folder.name}
        if corpus is not None:
            size = corpus.manifest.bytes + corpus.manifest.files.bytes
            return row | {"state": "kept", "why": "", "rows": corpus.manifest.rows, "bytes": size}
        known = (
            {"rows": self.totals.rows, "bytes": self.totals.bytes} if step.sources else {"rows": None, "bytes": None}
        )
        return row | {"state": "run", "why": step.why(before), **known}


def plan(recipe: RecipeLike, on: ProfileLike = None) -> PlannedBuild:
    """Return what a build would run, what it would keep and why; nothing is changed.

    Raises:
        ConfigError: anything that can be refused before the first task.
    """
    recipe, profile = _recipe(recipe), _profile(on)
    steps, totals, _ = preflight.check(recipe, profile)
    return PlannedBuild(recipe, profile, steps, totals)


def build(recipe: RecipeLike, on: ProfileLike = None, *, watcher: Watcher | None = None) -> Build:
    """Check everything, run what is not finished, return the build.

    Raises:
        ConfigError: nothing has run.
        PipelineError: a step failed; what is finished is kept, the same call goes on from there.
    """
    recipe, profile = _recipe(recipe), _profile(on)
    steps, totals, remember = preflight.check(recipe, profile)
    preflight.writable(profile.root)
    remember()
    watcher = watcher or Silent()
    watcher.start(steps, totals.notes)
    return builds.run(recipe, profile, steps, watcher)


def verify_selection(
    recipe: RecipeLike,
    targets: Sequence[str | Path],
    on: ProfileLike = None,
    *,
    step: str | None = None,
    watcher: Watcher | None = None,
    **params: Any,
) -> "Verification":
    """Train small models on what a finished build selected and on random subsets; return how they do on target texts.

    Args:
        targets: files of texts (see `pipeline.proxy.targets`), each as a path or `NAME=PATH`.
        step: the step that selected; may be left out where one step of quality.select is in the recipe.
        params: of the stage quality.verify, such as `setting`, `budget_tokens`, `random` and `seeds`.

    Raises:
        ConfigError: the build is not finished, or what is asked for cannot be done; nothing has run.
        PipelineError: a run failed; finished ones are kept, the same call goes on from there.
    """
    from pipeline import verification as verifying

    recipe, profile = _recipe(recipe), _profile(on)
    extended = verifying.with_verification(recipe, verifying.named(targets), step, params)
    steps, _, remember = preflight.check(extended, profile)
    verifying.refuse_unfinished(steps)
    remember()
    built = builds.run(extended, profile, steps, watcher or Silent())
    return verifying.Verification.of(built.name, built[verifying.STEP])


def show(path: str | Path, *, row: int | None = None, verify: bool = False) -> "Description":
    """Return a description of a corpus, a build, packed sequences or plain Parquet."""
    from pipeline import describe

    return describe.show(Path(path), row=row, verify=verify)


def report(folder: str | Path, to: str | Path | None = None, on: ProfileLike = None) -> Path:
    """Write the HTML page of a finished build from its manifests and return its path.

    Args:
        folder: the build's folder, or its name or recipe, which are looked for under the root of the profile `on`.
    """
    from pipeline.reporting.page import write_report

    build = builds.open_build(_find_build(folder, _profile(on)))
    try:
        return write_report(build, None if to is None else Path(to))
    except OSError as error:
        raise ConfigError(f"the page cannot be written: {error}; name another file with `--to`") from None


def explain(left: str | Path, right: str | Path) -> "list[explanation.Difference]":
    """Return why two corpora, or the steps of two builds, have different fingerprints, field by field."""
    return explanation.explain(Path(left), Path(right))


def duplicates(
    build: str | Path, doc_id: str, on: ProfileLike = None, *, source_id: bool = False, full: bool = False
) -> "Duplicates":
    """Return why a document of a finished build stayed or went, its duplicates, and how it differs from its keeper.

    Args:
        build: as in `report`.
        doc_id: in hex, or its first 8 digits or more; the id in its source if `source_id`.
        full: tell all differences of the two texts, not a screenful.

    Raises:
        ConfigError: no document or more than one is called so, or the build removes no duplicates.
    """
    from pipeline import describe_duplicates

    found = builds.open_build(_find_build(build, _profile(on)))
    return describe_duplicates.duplicates(found, doc_id, source_id=source_id, full=full)


def sample(directory: str | Path, tell: Callable[[str], None] = print) -> "SampleSummary":
    """Make the real multi-domain sample corpus in `directory`; a second call finds it there."""
    from pipeline.samples import corpus

    return corpus.sample(Path(directory), tell)


def init(directory: str | Path) -> list[Path]:
    """Write a starter recipe and profile with comments; never overwrites."""
    return starter.init(Path(directory))


def _find_build(given: str | Path, profile: Profile) -> Path:
    """Return the folder of a build given as that folder, as a name under the profile's root, or as its recipe file."""
    path = Path(given)
    if path.suffix in (".yaml", ".yml"):
        return builds.folder_of(load(path, Recipe), profile)
    return path if path.exists() or len(path.parts) > 1 else profile.root / "builds" / str(given)


class Silent:
    """A watcher that says nothing."""

    def start(self, steps: Sequence[Planned], notes: Sequence[str]) -> None:
        """Say nothing."""

    def begin(self, step: Planned, index: int, total: int) -> None:
        """Say nothing."""

    def shard(self, done: int, total: int, record: Any) -> None:
        """Say nothing."""

    def end(self, step: Planned, corpus: Any, *, kept: bool, seconds: float) -> None:
        """Say nothing."""


def _recipe(recipe: RecipeLike) -> Recipe:
    return recipe if isinstance(recipe, Recipe) else load(recipe, Recipe)


def _profile(profile: ProfileLike) -> Profile:
    if profile is None:
        return Profile()
    return profile if isinstance(profile, Profile) else load(profile, Profile)
