"""The section on quality: the scores that documents got, and what was cut away."""

from collections.abc import Mapping
from typing import Any

from pipeline.reporting import markup, numerals
from pipeline.reporting.evidence import Evidence, mapping
from pipeline.reporting.plots import Mark, ridges

SCORE, SELECT = "quality.score", "quality.select"


def quality(evidence: Evidence) -> str:
    """Return the scores by domain and the cut; nothing where the build has none."""
    steps = list(evidence.of_stage(SCORE, SELECT))
    if not steps:
        return ""
    return markup.section(
        "quality",
        "Quality",
        "A fastText classifier scores every document; what is kept is cut from the ranking by score.",
        markup.tiles(_quality_tiles(evidence)),
        _scores(evidence),
        _cuts(evidence),
    )


def _quality_tiles(evidence: Evidence) -> dict[str, tuple[str, str]]:
    tiles = {}
    for step in evidence.of_stage(SELECT):
        books = step.books
        share, threshold = step.params.get("share"), step.params.get("threshold")
        asked = f"{share:.0%} of {step.params.get('by')} asked" if share else f"all from a score of {threshold}"
        tiles["kept"] = (numerals.share(books["rows_kept"], books["rows_in"]), f"of documents; {asked}")
        tiles["kept text"] = (numerals.size(books["bytes_kept"]), f"of {numerals.size(books['bytes_in'])}")
    return tiles


def _scores(evidence: Evidence) -> str:
    pictures = []
    for step in evidence.of_stage(SCORE):
        counts = mapping(step.facts, "documents_by_score")
        rows = {domain: (evidence.tone(domain), counts[domain]) for domain in evidence.ordered(counts)}
        bins = len(next(iter(counts.values()), ()))
        if not bins:
            continue
        names = [f"{i / bins:g}" if i * 10 % bins == 0 else "" for i in range(bins + 1)]
        overall, by_domain = _thresholds(evidence)
        marks = [Mark(overall * bins, f"cut {overall:.3f}")] if overall is not None else []
        cuts = {domain: at * bins for domain, at in by_domain.items()}
        title = "Documents by score and domain"
        picture = ridges(title, rows, names=names, axis="score", marks=marks, cuts=cuts)
        said = f"Documents by P({step.facts.get('label', 'positive')}); each domain has a height of its own."
        pictures.append(
            markup.figure(picture, f"{said} What lies left of the dashed line was dropped, exempt domains apart.")
        )
    return "".join(pictures)


def _thresholds(evidence: Evidence) -> tuple[float | None, dict[str, float]]:
    """Return the score of the overall cut, and those of domains that have a cut of their own."""
    for step in evidence.of_stage(SELECT):
        if step.params.get("threshold") is not None:
            return float(step.params["threshold"]), {}
        found = {n: cut.get("threshold") for n, cut in mapping(step.facts, "cuts").items() if isinstance(cut, Mapping)}
        known = {name: min(float(at), 1.0) for name, at in found.items() if at is not None}
        return (known.get("overall"), {}) if step.params.get("scope") != "domain" else (None, known)
    return None, {}


def _cuts(evidence: Evidence) -> str:
    tables = []
    for step in evidence.of_stage(SELECT):
        by = str(step.params.get("by", "bytes"))
        cuts = {name: cut for name, cut in mapping(step.facts, "cuts").items() if isinstance(cut, Mapping)}
        head = ("ranking", "lowest score kept", "documents ranked", *([f"{by} ranked"] if by != "documents" else []))
        rows = [[name, *_cut(cut, by)] for name, cut in cuts.items()]
        named = {n.replace("_", " "): ", ".join(step.params[n]) for n in ("exempt", "label_only") if step.params.get(n)}
        tables += [markup.table(head, rows), markup.pairs(named)]
    return "".join(tables)


def _cut(cut: Mapping[str, Any], by: str) -> list[markup.Cell]:
    lowest = cut.get("threshold")
    ranked = [] if by == "documents" else [numerals.size(cut[by]) if by == "bytes" and by in cut else cut.get(by)]
    return ["all" if lowest is None else f"{lowest:.6f}", cut.get("documents"), *ranked]
