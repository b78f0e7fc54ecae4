"""The section on language models as judges: what documents cost them, and how well that ranks the models."""

from collections.abc import Mapping
from typing import Any

from pipeline.reporting import markup, numerals
from pipeline.reporting.evidence import Evidence, Told, mapping
from pipeline.reporting.plots import ridges

LOSSES, STRENGTH = "quality.losses", "quality.strength"


def strength(evidence: Evidence) -> str:
    """Return the losses of the models and the strengths of the documents; nothing where the build has none."""
    losses, strengths = list(evidence.of_stage(LOSSES)), list(evidence.of_stage(STRENGTH))
    if not losses and not strengths:
        return ""
    return markup.section(
        "strength",
        "Predictive strength",
        "What documents cost language models in bits per byte, and how well these costs rank the models as their "
        "benchmark scores do: 1 where every better model has the lower cost.",
        *(markup.tiles(_tiles(step)) + _ladder(step) + _histograms(evidence, step) for step in strengths),
        *(_costs(evidence, step) for step in losses),
    )


def _tiles(step: Told) -> dict[str, tuple[str, str]]:
    facts = step.facts
    known, some, at_the_top = (facts.get(name, 0) for name in ("scored_by_all", "scored_by_some", "saturated"))
    tiles = {"of known strength": (numerals.count(known), f"of {numerals.count(some)} documents with a loss")}
    if known:
        tiles["strength 1"] = (numerals.share(at_the_top, known), "of them: every better model has the lower loss")
    if (correlation := facts.get("rank_correlation")) is not None:
        tiles["ladder"] = (f"{correlation:+.2f}", "rank correlation of the models' scores and mean losses")
    return tiles


def _ladder(step: Told) -> str:
    rows = [row for row in step.facts.get("models", ()) if isinstance(row, Mapping)]
    names = ("score", "bits_per_byte", "documents")
    cells = [[str(row.get("model")), *(row.get(name) for name in names)] for row in rows]
    return markup.table(("model, by score", "score", "bits per byte, mean", "documents scored"), cells)


def _histograms(evidence: Evidence, step: Told) -> str:
    counts = mapping(step.facts, "documents_by_strength")
    rows = {domain: (evidence.tone(domain), counts[domain]) for domain in evidence.ordered(counts)}
    bins = len(next(iter(counts.values()), ()))
    if not bins:
        return ""
    names = ["0", *[""] * (bins - 1), "1"]
    picture = ridges("Documents by strength and domain", rows, names=names, axis="strength")
    unknown = sum(mapping(step.facts, "unknown").values())
    said = f"{numerals.count(unknown)} kept documents are of unknown strength." if unknown else ""
    return markup.figure(picture, f"Each domain has a height of its own. {said}".strip())


def _costs(evidence: Evidence, step: Told) -> str:
    """Return a table of bits per byte, a row for each model and a column for each domain."""
    models = {name: told for name, told in mapping(step.facts, "models").items() if isinstance(told, Mapping)}
    everywhere: dict[str, Any] = {}
    for told in models.values():
        everywhere |= mapping(told, "bits_per_byte_by_domain")
    domains = evidence.ordered(everywhere)[:8]  # what a page is wide; the manifest has them all
    rows = [
        [
            name,
            told.get("documents"),
            told.get("tokens"),
            told.get("bits_per_byte"),
            *(mapping(told, "bits_per_byte_by_domain").get(domain) for domain in domains),
        ]
        for name, told in models.items()
    ]
    return markup.table((step.name, "documents", "tokens", "bits per byte", *domains), rows)
