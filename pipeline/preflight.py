"""Everything that can be refused before the first task: files, footers, graph, params, models, room on the disk."""

import json
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from pipeline import plans, store
from pipeline.config import Profile
from pipeline.errors import ConfigError, PipelineError
from pipeline.ingest.checksums import with_checksums
from pipeline.ingest.inspect import SourceReport, inspect_sources
from pipeline.ingest.sources import Cache, SourceFiles, SourceSpec
from pipeline.plans import Planned
from pipeline.recipe import FLAT_IDS, Recipe
from pipeline.screen import human

DISK_SHARE = 0.6
"""Compressed documents and tokens need about this much of the text's bytes; less free is refused."""


@dataclass(frozen=True)
class SourceTotals:
    """What the footers of all sources tell: rows (JSON Lines are counted when they are read) and bytes of text.

    `notes` are sentences a person should read: columns that some files lack, files that are left out and why.
    """

    rows: int
    bytes: int
    notes: tuple[str, ...] = ()


def check(recipe: Recipe, profile: Profile) -> tuple[list[Planned], SourceTotals, Callable[[], None]]:
    """Return the plan, the sources' totals, and a function that remembers the files' checksums for the next plan.

    Raises:
        ConfigError: whatever would have failed later; the message says what to do.
    """
    specs = {
        name: SourceSpec(**source.model_dump(mode="json"))  # the same fields: a source is a spec with defaults
        for name, source in recipe.sources.items()
    }
    known = _remembered(profile.root)
    report = inspect_sources(specs, recipe.ingest.unreadable_files)
    sources: dict[str, SourceFiles] = with_checksums(report.sources, known)
    prints = {name: files.fingerprint for name, files in sources.items()}
    steps = plans.plan(recipe, profile, sources, prints)
    by_name = {step.name: step for step in steps}
    for step in steps:
        _ask(step, by_name)
    _refuse_wide_exports(recipe)
    rows, size = sum(s.rows for s in sources.values()), sum(s.text_bytes for s in sources.values())
    totals = SourceTotals(rows, size, (*report.notes, *_left_out(report)))
    _room(profile.root, steps, totals)
    return steps, totals, lambda: _remember(profile.root, known)


def _left_out(report: SourceReport) -> list[str]:
    return [
        f"sources.{domain}: {sum(why == reason for _, why in ignored):,} files left out ({reason}), "
        f"such as {next(path for path, why in ignored if why == reason)}"
        for domain, ignored in report.ignored.items()
        for reason in sorted({why for _, why in ignored})
    ]


def _ask(step: Planned, steps: Mapping[str, Planned]) -> None:
    """Let a stage look at its params, files and corpora of earlier builds before anything runs."""
    try:
        if step.stage.check is not None:
            step.stage.check(step.params, step.files)
        if step.stage.agree is not None:
            wired = {role: steps[name] for role, name in step.inputs.items()}
            inputs = {role: (s.stage.version, s.params.model_dump(mode="json")) for role, s in wired.items()}
            step.stage.agree(step.params, inputs, step.outside)
    except PipelineError as error:
        raise ConfigError(f"steps.{step.name}: {error}") from None


def _refuse_wide_exports(recipe: Recipe) -> None:
    """Refuse the export `flat` of a vocabulary brought along that has more ids than it holds."""
    tokens = recipe.tokens
    if tokens is None or tokens.tokenizer is None or "flat" not in tokens.export:
        return
    from pipeline.tokens import engine

    size = max(engine.ids(Path(tokens.tokenizer)).values()) + 1
    if size > FLAT_IDS:
        raise ConfigError(
            f"tokens.export: {tokens.tokenizer} has {size:,} tokens, and the export `flat` has 16 bits a token, for "
            f"{FLAT_IDS:,}: ask for another export"
        )


def writable(root: Path) -> None:
    """Make the root and see that it can be written.

    Raises:
        ConfigError: it cannot; says why.
    """
    try:
        root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"root: {root} cannot be made: {error}; name another `root` in the profile") from None
    if not os.access(root, os.W_OK):
        raise ConfigError(f"root: {root} is not writable for this user; name another `root` in the profile")


def _room(root: Path, steps: list[Planned], totals: SourceTotals) -> None:
    if all(step.finished() for step in steps if step.sources):
        return
    there = next(path for path in (root.absolute(), *root.absolute().parents) if path.exists())
    free, needed = shutil.disk_usage(there).free, int(totals.bytes * DISK_SHARE)
    if free < needed:
        raise ConfigError(
            f"root: {there} has {human(free)} free; {human(totals.bytes)} of text need about {human(needed)}: "
            "make room or name another `root` in the profile"
        )


def _cache_path(root: Path) -> Path:
    return root / "checksums.json"


def _remember(root: Path, known: Cache) -> None:
    """Keep the checksums of the files that are still there."""
    there = {url: stamp for url, stamp in known.items() if "://" in url or os.path.exists(url)}
    store.write_atomic(_cache_path(root), json.dumps(there))


def _remembered(root: Path) -> Cache:
    """Return the checksums of files seen before; a damaged cache is no cache."""
    try:
        cache: Cache = json.loads(_cache_path(root).read_text(encoding="utf-8"))
        return cache
    except (OSError, ValueError):
        return {}
