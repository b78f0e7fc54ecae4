"""What a report is told from: the manifest of every step of a build, in the order they ran, and its record."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from pipeline import builds, ledger, records
from pipeline.corpus import Manifest

PACK = "tokens.pack"

COLOURS = 10
"""Domains with a colour of their own; the others share one."""


@dataclass(frozen=True)
class Told:
    """One step: its name in the build, what played its roles, and its manifest."""

    name: str
    roles: Mapping[str, str]
    manifest: Manifest

    @property
    def stage(self) -> str:
        return self.manifest.stage

    @property
    def facts(self) -> Mapping[str, Any]:
        return self.manifest.facts

    @property
    def params(self) -> Mapping[str, Any]:
        return self.manifest.params

    @cached_property
    def books(self) -> dict[str, Any]:
        """The step's ledger summed over the domains."""
        return ledger.total(self.manifest.ledger)


@dataclass(frozen=True)
class Evidence:
    """All steps of a build, and the recipe that it was built from."""

    name: str
    recipe: Mapping[str, Any]
    steps: tuple[Told, ...]

    @classmethod
    def of(cls, build: builds.Build) -> "Evidence":
        """Return what the manifests and the record of a finished build tell.

        Raises:
            DataError: the record is not one of ours.
        """
        record = records.read_record(build.folder) or {"steps": {}}
        steps = tuple(
            Told(name, record["steps"].get(name, {}).get("roles", {}), corpus.manifest)
            for name, corpus in build.corpora.items()
        )
        return cls(build.name, record.get("recipe", {}), steps)

    def of_stage(self, *stages: str) -> Iterator[Told]:
        """Yield the steps of these stages."""
        return (step for step in self.steps if step.stage in stages)

    @cached_property
    def deciding(self) -> tuple[Told, ...]:
        """The steps that keep books of text: those that can drop a document from the road."""
        return tuple(step for step in self.steps if step.manifest.ledger and step.stage != PACK)

    @cached_property
    def packs(self) -> tuple[Told, ...]:
        """The steps that choose documents for sequences; the bytes in their books are bytes of tokens."""
        return tuple(step for step in self.of_stage(PACK) if step.manifest.ledger)

    @cached_property
    def domains(self) -> tuple[str, ...]:
        """All domains, the largest at the start first."""
        sizes: dict[str, float] = {}
        for step in self.deciding:
            for domain, books in step.manifest.ledger.items():
                sizes.setdefault(domain, books.get("bytes_in", 0))
        return tuple(sorted(sizes, key=lambda domain: (-sizes[domain], domain)))

    @cached_property
    def tones(self) -> dict[str, str]:
        """Domain -> the CSS class of its colour."""
        return {domain: f"d{at}" if at < COLOURS else "dx" for at, domain in enumerate(self.domains)}

    def tone(self, domain: str) -> str:
        """Return the colour of a domain, also of one that no ledger names; a bucket has that of its domain."""
        return self.tones.get(domain) or self.tones.get(domain.rpartition("/")[0], "dx")

    def ordered(self, by_domain: Mapping[str, Any]) -> list[str]:
        """Return the domains of a mapping in the page's order, strangers last."""
        known = [domain for domain in self.domains if domain in by_domain]
        return known + sorted(set(by_domain) - set(known))


def mapping(facts: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Return the fact of this name if it is there and a mapping, else an empty one."""
    value = facts.get(name)
    return value if isinstance(value, Mapping) else {}


def listed(facts: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    """Return the fact of this name if it is there and a list of objects, else an empty one."""
    value = facts.get(name)
    return [part for part in value if isinstance(part, Mapping)] if isinstance(value, Sequence) else []
