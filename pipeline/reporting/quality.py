"""The section on quality: the scores that documents got."""

from collections.abc import Mapping

from pipeline.reporting import markup
from pipeline.reporting.evidence import Evidence, mapping
from pipeline.reporting.plots import Mark, ridges

SCORE, SELECT = "quality.score", "quality.select"
SHOWN_LABELS = 12


def quality(evidence: Evidence) -> str:
    """Return the scores by domain; nothing where the build has none."""
    steps = list(evidence.of_stage(SCORE))
    if not steps:
        return ""
    return markup.section(
        "quality",
        "Quality",
        "A fastText classifier scores every document.",
        _scores(evidence),
    )


def _scores(evidence: Evidence) -> str:
    parts = []
    for step in evidence.of_stage(SCORE):
        models = mapping(step.facts, "documents_by_score")
        for name, counts in models.items():
            cut = _thresholds(evidence) if len(models) == 1 else (None, {})
            label = mapping(step.facts, "labels").get(name)
            parts.append(_ridges(evidence, counts, name, f"P({label})" if label else "P of the best label", *cut))
        parts += [_labels(evidence, n, c) for n, c in mapping(step.facts, "documents_by_label").items()]
    return "".join(parts)


def _ridges(
    evidence: Evidence,
    counts: Mapping[str, list[int]],
    name: str,
    what: str,
    overall: float | None,
    by_domain: Mapping[str, float],
) -> str:
    rows = {domain: (evidence.tone(domain), counts[domain]) for domain in evidence.ordered(counts)}
    bins = len(next(iter(counts.values()), ()))
    if not bins:
        return ""
    names = [f"{i / bins:g}" if i * 10 % bins == 0 else "" for i in range(bins + 1)]
    marks = [Mark(overall * bins, f"cut {overall:.3f}")] if overall is not None else []
    cuts = {domain: at * bins for domain, at in by_domain.items()}
    picture = ridges(f"Documents by {name} and domain", rows, names=names, axis=name, marks=marks, cuts=cuts)
    said = f"Documents by {name}, {what}; each domain has a height of its own."
    dropped = " What lies left of the dashed line was dropped, exempt domains apart." if marks or cuts else ""
    return markup.figure(picture, said + dropped)


def _labels(evidence: Evidence, name: str, counts: Mapping[str, Mapping[str, int]]) -> str:
    """A table of the most frequent labels by domain."""
    domains = evidence.ordered(counts)
    totals: dict[str, int] = {}
    for by_label in counts.values():
        for label, n in by_label.items():
            totals[label] = totals.get(label, 0) + n
    shown = sorted(totals, key=lambda label: (-totals[label], label))[:SHOWN_LABELS]
    rows: list[list[markup.Cell]] = [
        [label, totals[label], *(counts[domain].get(label, 0) for domain in domains)] for label in shown
    ]
    more = f", the {SHOWN_LABELS} most frequent of {len(totals)}" if len(totals) > SHOWN_LABELS else ""
    return markup.words(f"Documents by {name}{more}", "h3") + markup.table((name, "documents", *domains), rows)


def _thresholds(evidence: Evidence) -> tuple[float | None, dict[str, float]]:
    """Return the score of the overall cut, and those of domains that have a cut of their own; where scores are cut."""
    for step in evidence.of_stage(SELECT):
        if step.facts.get("ranked_by", "score") != "score":
            continue
        if step.params.get("threshold") is not None:
            return float(step.params["threshold"]), {}
        found = {n: cut.get("threshold") for n, cut in mapping(step.facts, "cuts").items() if isinstance(cut, Mapping)}
        known = {name: min(float(at), 1.0) for name, at in found.items() if at is not None}
        by_domain = step.params.get("scope") == "domain" or step.params.get("quotas")
        return (None, known) if by_domain else (known.get("overall"), {})
    return None, {}
