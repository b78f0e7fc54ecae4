"""Sections on what was thrown away on purpose: duplicates, and documents of low quality."""

from collections.abc import Mapping
from functools import partial
from typing import Any

from pipeline.reporting import markup, numerals
from pipeline.reporting.evidence import Evidence, Told, mapping
from pipeline.reporting.plots import Bar, Mark, Row, curve, ridges, stacked

EXACT, SIGN, KEEP = "dedup.exact", "dedup.sign", "dedup.keep"
PARTS = ("dedup.lines", "dedup.paragraphs", "dedup.substrings", "dedup.bloom", "dedup.cut")
EXAMPLES = "most_frequent"
TRAIN, SCORE, SELECT = "quality.train", "quality.score", "quality.select"
CLASSES = {
    "stars": (
        "Sizes of buckets",
        "Distinct stars of pairs by how many documents share a band's key; the last are hot keys.",
    ),
    "similarity": (
        "Similarity to the keeper",
        "Near duplicates by their true Jaccard similarity with the document kept, in classes named by their lower end.",
    ),
    "cluster_sizes": ("Sizes of clusters", "Clusters by the number of documents that candidate pairs connect."),
    "copies": ("Copies of a text", "Texts by how many documents hold them."),
    "passages_by_documents": ("Copies of a passage", "Distinct passages by how many documents hold them."),
}
"""Facts that are counts by class: title and caption of their picture."""

TRAINED_ON = ("documents_found", "bytes_found", "held_out_documents")
SUPERSCRIPT = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")
SIMILARITIES = (0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)


def chance(similarity: float, *, bands: int, rows: int) -> float:
    """Return the probability that two documents share a band: 1 - (1 - s^r)^b."""
    return 1 - (1 - similarity**rows) ** bands


def duplicates(evidence: Evidence) -> str:
    """Return what deduplication found and how sure it could be; nothing where the build has none."""
    steps = list(evidence.of_stage(EXACT, SIGN, "dedup.match", "dedup.cluster", KEEP, *PARTS))
    if not steps:
        return ""
    sign = next(evidence.of_stage(SIGN), None)
    keep = next(evidence.of_stage(KEEP), None)
    return markup.section(
        "duplicates",
        "Duplicates",
        "Exact copies go by a hash of their normalised text. For near ones, shared bands only propose: a document goes "
        "if its true Jaccard similarity with a kept one reaches the threshold.",
        markup.tiles(_counts(evidence, sign, keep)),
        _found(evidence),
        _sensitivity(sign, keep),
        *(_facts(step) for step in steps),
    )


def _counts(evidence: Evidence, sign: Told | None, keep: Told | None) -> dict[str, tuple[str, str]]:
    tiles = {}
    for name, stage in (("exact copies", EXACT), ("near duplicates", KEEP)):
        for step in evidence.of_stage(stage):
            gone = sum(step.books["dropped"].values())
            said = f"{numerals.share(gone, step.books['rows_in'])} of documents"
            tiles[name] = (numerals.count(gone), said)
    if keep and "threshold" in keep.params:
        tiles["threshold"] = (f"{keep.params['threshold']:g}", f"Jaccard of word {keep.params.get('ngram', '?')}-grams")
    if sign and {"bands", "rows"} <= set(sign.params):
        b, r = sign.params["bands"], sign.params["rows"]
        tiles["bands × rows"] = (f"{b} × {r}", f"{b * r} hash values a document")
    return tiles


def _found(evidence: Evidence) -> str:
    """Return exact and near duplicates by domain, as shares of what the domain had read."""
    tones = {"exact": "r0", "near": "r1"}
    counted: dict[str, dict[str, int]] = {}
    read: dict[str, int] = {}
    for kind, stage in zip(tones, (EXACT, KEEP), strict=True):
        for step in evidence.of_stage(stage):
            for domain, books in step.manifest.ledger.items():
                counted.setdefault(domain, {})[kind] = sum(books.get("dropped", {}).values())
                read.setdefault(domain, books["rows_in"])
    rows = [_found_row(domain, counted[domain], read[domain], tones) for domain in evidence.ordered(counted)]
    picture = stacked("Duplicates by domain, as a share of its documents", rows) if rows else ""
    caption = "Share of each domain's documents that were duplicates."
    return markup.figure(picture, caption, markup.key(tones))


def _found_row(domain: str, counts: Mapping[str, int], read: int, tones: Mapping[str, str]) -> Row:
    bars = tuple(
        Bar(rows / max(read, 1), tones[kind], f"{kind}: {numerals.count(rows)} of {numerals.count(read)} documents")
        for kind, rows in counts.items()
    )
    gone = sum(counts.values())
    return Row(domain, bars, f"{numerals.share(gone, read)}  ({numerals.count(gone)})")


def _sensitivity(sign: Told | None, keep: Told | None) -> str:
    if not sign or not {"bands", "rows"} <= set(sign.params):
        return ""
    b, r = sign.params["bands"], sign.params["rows"]
    threshold = keep.params.get("threshold") if keep else None
    function = partial(chance, bands=b, rows=r)
    mark = Mark(threshold, f"threshold {threshold:g}") if threshold else None
    picture = curve("Chance of being compared", function, axes=("true Jaccard similarity", "chance"), mark=mark)
    rows = [[f"{s:g}", f"{function(s):.5f}"] for s in sorted({*SIMILARITIES, *([threshold] if threshold else [])})]
    power, times = str(r).translate(SUPERSCRIPT), str(b).translate(SUPERSCRIPT)
    caption = f"Chance that two documents share a band and are compared: 1\u00a0−\u00a0(1\u00a0−\u00a0s{power}){times}."
    return (
        f"{markup.words('What the bands can find', 'h3')}"
        f'<div class="two">{markup.figure(picture, caption)}{markup.table(("similarity", "chance"), rows)}</div>'
    )


def _facts(step: Told) -> str:
    """Return what a step noted: counts by class as pictures, examples as a table, the rest as names and values."""
    parts, rest = [], {}
    for name, value in step.facts.items():
        if name in CLASSES and isinstance(value, Mapping):
            parts.append(_classes(value, *CLASSES[name]))
        elif name == EXAMPLES:
            rows = [[example["text"], example["documents"]] for example in value]
            parts.append(markup.table(("passage", "documents that had it"), rows) if rows else "")
        else:
            rest[name.replace("_", " ")] = value
    body = markup.pairs(rest) + "".join(parts)
    return markup.words(f"{step.name} ({step.stage})", "h3") + body if body else ""


def _classes(counts: Mapping[str, int], title: str, caption: str) -> str:
    rows = [Row(name, (Bar(n, "keep", numerals.count(n)),), numerals.count(n)) for name, n in counts.items()]
    return markup.figure(stacked(title, rows), caption)


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


def _training(step: Told) -> str:
    found, size, held = (mapping(step.facts, name) for name in TRAINED_ON)
    rows = [[name, found[name], numerals.size(size.get(name, 0)), held.get(name)] for name in found]
    head = ("class", "documents found", "text found", "documents held out")
    rest = {n.replace("_", " "): v for n, v in step.facts.items() if n not in (*TRAINED_ON, "held_out_auc")}
    return markup.words("The classifier", "h3") + markup.table(head, rows) + markup.pairs(rest)
