"""The section on quality: the classifier, the scores it gave, and what was cut away."""

from collections.abc import Mapping
from typing import Any

from pipeline.reporting import markup, numerals
from pipeline.reporting.evidence import Evidence, Told, mapping
from pipeline.reporting.plots import Mark, ridges

TRAIN, SCORE, SELECT = "quality.train", "quality.score", "quality.select"
TRAINED_ON = ("documents_found", "bytes_found", "held_out_documents")
SHOWN_LABELS = 12


def quality(evidence: Evidence) -> str:
    """Return the classifier, the scores by domain and the cut; nothing where the build has none."""
    steps = list(evidence.of_stage(TRAIN, SCORE, SELECT))
    if not steps:
        return ""
    return markup.section(
        "quality",
        "Quality",
        "A fastText classifier scores every document; what is kept is cut from the ranking by score.",
        markup.tiles(_quality_tiles(evidence)),
        _scores(evidence),
        _cuts(evidence),
        *(_training(step) for step in evidence.of_stage(TRAIN)),
    )


def _quality_tiles(evidence: Evidence) -> dict[str, tuple[str, str]]:
    tiles = {}
    for step in evidence.of_stage(TRAIN):
        area, judged = step.facts.get("held_out_auc"), mapping(step.facts, "held_out_documents")
        if isinstance(area, float):
            tiles["held-out AUC"] = (f"{area:.4f}", f"on {numerals.count(sum(judged.values()))} documents")
    for step in evidence.of_stage(SELECT):
        books = step.books
        share, threshold = step.params.get("share"), step.params.get("threshold")
        asked = f"{share:.0%} of {step.params.get('by')} asked" if share else f"all from a score of {threshold}"
        tiles["kept"] = (numerals.share(books["rows_kept"], books["rows_in"]), f"of documents; {asked}")
        tiles["kept text"] = (numerals.size(books["bytes_kept"]), f"of {numerals.size(books['bytes_in'])}")
    return tiles


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


def _training(step: Told) -> str:
    found, size, held = (mapping(step.facts, name) for name in TRAINED_ON)
    rows = [[name, found[name], numerals.size(size.get(name, 0)), held.get(name)] for name in found]
    head = ("class", "documents found", "text found", "documents held out")
    rest = {n.replace("_", " "): v for n, v in step.facts.items() if n not in (*TRAINED_ON, "held_out_auc")}
    return markup.words("The classifier", "h3") + markup.table(head, rows) + markup.pairs(rest)
