"""The section on duplicates: how many there were, of what kind, whose copies they were, and how sure they are found."""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from pipeline.dedup.sensitivity import chance
from pipeline.places import Place
from pipeline.reporting import markup, numerals
from pipeline.reporting.evidence import Evidence, Told, listed, mapping
from pipeline.reporting.excerpts import Excerpts, Quoted
from pipeline.reporting.plots import Bar, Mark, Row, curve, stacked

EXACT, SIGN, MATCH, VERIFY, KEEP = "dedup.exact", "dedup.sign", "dedup.match", "dedup.verify", "dedup.keep"
LEADS = {
    EXACT: "Exact copies go by a hash of their text, white space apart.",
    KEEP: "For near ones, shared bands only propose: a document goes if one that stays is so like it by the true "
    "similarity of their shingles.",
    "dedup.cut": "Repeated passages are cut out of documents that stay.",
}
CLASSES = {
    "keys": ("Keys by size", "Keys of bands by how many documents share them; only shared keys propose pairs."),
    "similarity": (
        "Similarity to the keeper",
        "Near duplicates by their true Jaccard similarity with the document kept, in classes named by their lower end. "
        "Those below the threshold went by containment.",
    ),
    "passages_by_documents": ("Copies of a passage", "Distinct passages by how many documents hold them."),
    "cluster_sizes": ("Sizes of clusters", "Clusters by the number of documents that verified pairs connect."),
}
"""Facts that are counts by class: title and caption of their picture."""

TOLD_ELSEWHERE = ("sources", "examples", "lost", "hot_keys", "most_frequent", "order_dependent")
ORDER = (
    "What this step kept depends on the order in which documents came: a filter that streams cannot look back. "
    "All other steps give the same result in any order."
)
SUPERSCRIPT = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")
SIMILARITIES = (0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)
HOT_KEYS, KEEPERS, DOMAINS = 8, 10, 40
EXAMPLES = {KEEP: 8, EXACT: 4}
"""Documents of each kind that are quoted beside their keepers."""


def duplicates(evidence: Evidence, excerpts: Excerpts) -> str:
    """Return what deduplication found and how sure it could be; nothing where the build has none."""
    steps = [step for step in evidence.steps if step.stage.startswith("dedup.")]
    if not steps:
        return ""
    there = {step.stage for step in steps}
    return markup.section(
        "duplicates",
        "Duplicates",
        " ".join(lead for stage, lead in LEADS.items() if stage in there),
        markup.tiles(_tiles(evidence, steps)),
        _found(evidence, steps),
        _sensitivity(evidence),
        *(_step(step, evidence, excerpts) for step in steps),
        _examples(evidence, excerpts),
    )


def quoted(evidence: Evidence) -> Iterator[Quoted]:
    """Yield the documents that the section quotes."""
    for step, example in _chosen(evidence):
        yield from (_quoted(step, example), _quoted(step, example, "keeper_"))
    for step in evidence.of_stage(MATCH):
        yield from (_quoted(step, key) for key in listed(step.facts, "hot_keys")[:HOT_KEYS])


def _quoted(step: Told, where: Mapping[str, Any], prefix: str = "") -> Quoted:
    shard, row = where.get(f"{prefix}shard"), where.get(f"{prefix}row")
    place = Place(shard, row) if isinstance(shard, str) and isinstance(row, int) else None
    return Quoted(step.manifest.inputs.get("documents", ""), place)


def _first(evidence: Evidence, stage: str, *needed: str) -> Told | None:
    """Return the first step of the stage that has all these params."""
    return next((step for step in evidence.of_stage(stage) if set(needed) <= set(step.params)), None)


def _tiles(evidence: Evidence, steps: Sequence[Told]) -> dict[str, tuple[str, str]]:
    tiles = {}
    names = {EXACT: "exact copies", KEEP: "near duplicates"}
    for step in steps:
        if step.manifest.ledger:
            gone, came = sum(step.books["dropped"].values()), step.books["rows_in"]
            tiles[names.get(step.stage, step.name)] = (
                numerals.count(gone),
                f"{numerals.share(gone, came)} of documents",
            )
    if verify := _first(evidence, VERIFY, "threshold"):
        shingles = f"{verify.params.get('unit', 'word')} {verify.params.get('ngram', '?')}-grams"
        inside = verify.params.get("containment")
        said = f"Jaccard of {shingles}" + (f"; or contained to {inside:g}" if inside else "")
        tiles["threshold"] = (f"{verify.params['threshold']:g}", said)
    if sign := _first(evidence, SIGN, "bands", "rows"):
        b, r = sign.params["bands"], sign.params["rows"]
        tiles["bands × rows"] = (f"{b} × {r}", f"{numerals.count(b * r)} hash values a document")
    return tiles


def _found(evidence: Evidence, steps: Sequence[Told]) -> str:
    """Return what each step dropped, by domain, as shares of what the first of them had read."""
    deciding = [step for step in steps if step.books["dropped"]]
    tones = {step.name: f"r{at % 8}" for at, step in enumerate(deciding)}
    counted: dict[str, dict[str, int]] = {}
    read: dict[str, int] = {}
    for step in deciding:
        for domain, books in step.manifest.ledger.items():
            counted.setdefault(domain, {})[step.name] = sum(books.get("dropped", {}).values())
            read.setdefault(domain, books["rows_in"])
    rows = [_found_row(domain, counted[domain], read[domain], tones) for domain in evidence.ordered(counted)]
    picture = stacked("Duplicates by domain, as a share of its documents", rows) if rows else ""
    return markup.figure(picture, "Share of each domain's documents that were duplicates.", markup.key(tones))


def _found_row(domain: str, counts: Mapping[str, int], read: int, tones: Mapping[str, str]) -> Row:
    bars = tuple(
        Bar(rows / max(read, 1), tones[kind], f"{kind}: {numerals.count(rows)} of {numerals.count(read)} documents")
        for kind, rows in counts.items()
    )
    gone = sum(counts.values())
    return Row(domain, bars, f"{numerals.share(gone, read)}  ({numerals.count(gone)})")


def _sensitivity(evidence: Evidence) -> str:
    """Return the chance of being compared, as a picture and a table, with what is to be expected at the threshold."""
    sign, verify = _first(evidence, SIGN, "bands", "rows"), _first(evidence, VERIFY, "threshold")
    if sign is None:
        return ""
    b, r = sign.params["bands"], sign.params["rows"]
    function = partial(chance, bands=b, rows=r)
    threshold = verify.params["threshold"] if verify else None
    mark = Mark(threshold, f"threshold {threshold:g}") if threshold else None
    picture = curve("Chance of being compared", function, axes=("true Jaccard similarity", "chance"), mark=mark)
    rows = [[f"{s:g}", f"{function(s):.5f}"] for s in sorted({*SIMILARITIES, *([threshold] if threshold else [])})]
    power, times = str(r).translate(SUPERSCRIPT), str(b).translate(SUPERSCRIPT)
    caption = f"Chance that two documents share a band and are compared: 1\u00a0−\u00a0(1\u00a0−\u00a0s{power}){times}."
    if threshold:
        caption += f" Expected recall of pairs exactly at the threshold: {function(threshold):.4f}; of more similar "
        caption += "ones it is higher."
    return (
        f"{markup.words('What the bands can find', 'h3')}"
        f'<div class="two">{markup.figure(picture, caption)}{markup.table(("similarity", "chance"), rows)}</div>'
    )


def _step(step: Told, evidence: Evidence, excerpts: Excerpts) -> str:
    """Return what a step noted: counts by class as pictures, whose copies they were, the rest as names and values."""
    parts, rest = [], {}
    for name, value in step.facts.items():
        if name in CLASSES and isinstance(value, Mapping):
            parts.append(_classes(value, *CLASSES[name]))
        elif name not in TOLD_ELSEWHERE:
            rest[name.replace("_", " ")] = value
    order = markup.words(ORDER, kind="note") if step.facts.get("order_dependent") else ""
    told = _passages(step) + _hot_keys(step, excerpts) + _sources(step, evidence)
    body = order + markup.pairs(rest) + "".join(parts) + told
    return markup.words(f"{step.name} ({step.stage})", "h3") + body if body else ""


def _classes(counts: Mapping[str, int], title: str, caption: str) -> str:
    ordered = sorted(counts.items(), key=lambda pair: _lower_end(pair[0]))
    rows = [Row(name, (Bar(n, "keep", numerals.count(n)),), numerals.count(n)) for name, n in ordered]
    return markup.figure(stacked(title, rows), caption) if any(counts.values()) else ""


def _lower_end(name: str) -> tuple[float, bool]:
    """Return where a class begins: `3 to 10` at 3, `over 1,000` behind 1,000."""
    number = re.search(r"[\d.,]+", name)
    return float(number[0].replace(",", "")) if number else math.inf, name.startswith("over")


def _passages(step: Told) -> str:
    """Return the passages that most documents had, which were cut out."""
    rows = [[passage["text"], passage["documents"]] for passage in listed(step.facts, "most_frequent")]
    return markup.table(("passage cut out", "documents that had it"), rows) if rows else ""


def _hot_keys(step: Told, excerpts: Excerpts) -> str:
    """Return the keys that most documents share, each with the beginning of the best of them."""
    hottest = listed(step.facts, "hot_keys")[:HOT_KEYS]
    if not hottest:
        return ""
    said = (
        "Keys that many documents share, mostly by boilerplate. Their documents are compared with the best ones only. "
        "Each with the beginning of its best document."
    )
    rows = [(f"{numerals.count(key['documents'])} documents", excerpts[_quoted(step, key)]) for key in hottest]
    return markup.words("Hot keys", "h4") + markup.words(said) + markup.quotes(rows)


def _sources(step: Told, evidence: Evidence) -> str:
    """Return the table of losses: rows are domains that lost documents, columns the domains of those that stayed."""
    sources = mapping(step.facts, "sources")
    losers = [domain for domain in evidence.ordered(sources) if sources[domain]]
    if not losers:
        return ""
    totals: dict[str, int] = {}
    for keepers in sources.values():
        for keeper, counts in keepers.items():
            totals[keeper] = totals.get(keeper, 0) + counts["documents"]
    most = sorted(totals, key=lambda keeper: (-totals[keeper], keeper))[:KEEPERS]
    columns = [domain for domain in evidence.ordered(totals) if domain in most]
    others = len(columns) < len(totals)
    rows = [_loser(step, domain, sources[domain], columns, others) for domain in losers[:DOMAINS]]
    said = (
        "Which domain lost documents (rows) as copies of which domain's (columns): documents, and their share of the "
        "losing domain's text."
    )
    head = ("lost by", "all", *columns, *(["others"] if others else []))
    rest = f"{len(losers) - DOMAINS:,} more domains lost documents." if len(losers) > DOMAINS else ""
    return (
        markup.words("From which domain to which", "h4")
        + markup.words(said)
        + markup.table(head, rows)
        + (markup.words(rest) if rest else "")
    )


def _loser(
    step: Told, domain: str, keepers: Mapping[str, Any], columns: Sequence[str], others: bool
) -> list[markup.Cell]:
    size = step.manifest.ledger.get(domain, {}).get("bytes_in", 0)
    named = [keepers.get(column) for column in columns]
    unnamed = [counts for keeper, counts in keepers.items() if keeper not in columns]
    every = [_sum(list(keepers.values())), *named, *([_sum(unnamed)] if others else [])]
    return [domain, *(_loss(counts, size) for counts in every)]


def _sum(counts: Sequence[Mapping[str, int]]) -> dict[str, int]:
    return {name: sum(part[name] for part in counts) for name in ("documents", "bytes")}


def _loss(counts: Mapping[str, int] | None, size: float) -> str:
    if not counts or not counts["documents"]:
        return "–"
    return f"{numerals.count(counts['documents'])} · {numerals.share(counts['bytes'], size)}"


def _chosen(evidence: Evidence) -> list[tuple[Told, Mapping[str, Any]]]:
    """Return the examples that are quoted, of each kind those of the pairs of domains that lost most documents.

    Half of them, if there are so many, are of two domains: copies within one surprise nobody.
    """
    chosen = []
    for stage, most in EXAMPLES.items():
        for step in evidence.of_stage(stage):
            examples = sorted(listed(step.facts, "examples"), key=partial(_by_loss, mapping(step.facts, "sources")))
            across = [example for example in examples if example["domain"] != example["keeper_domain"]][: most // 2]
            within = [example for example in examples if example["domain"] == example["keeper_domain"]]
            chosen += [(step, example) for example in [*across, *within][:most]]
    return chosen


def _by_loss(sources: Mapping[str, Any], example: Mapping[str, Any]) -> tuple[int, str]:
    counts = sources.get(example["domain"], {}).get(example["keeper_domain"], {})
    return -counts.get("documents", 0), example["doc_id"]


def _examples(evidence: Evidence, excerpts: Excerpts) -> str:
    """Return dropped documents beside their keepers."""
    told = [_example(step, example, excerpts) for step, example in _chosen(evidence)]
    if not told:
        return ""
    said = (
        "One of each of the pairs of domains that lost most. The beginning of the dropped document stands on the left, "
        "that of its keeper on the right; corpusmill duplicates BUILD DOC_ID shows how the whole texts differ."
    )
    return markup.words("Side by side", "h3") + markup.words(said) + "".join(told)


def _example(step: Told, example: Mapping[str, Any], excerpts: Excerpts) -> str:
    how = "exact copy" if step.stage == EXACT else f"similarity {example['similarity']:.3f}"
    dropped = f"{example['domain']}: dropped, {how}\n{example['doc_id']}"
    kept = f"{example['keeper_domain']}: its keeper\n{example['keeper']}"
    texts = excerpts[_quoted(step, example)], excerpts[_quoted(step, example, "keeper_")]
    return markup.beside((dropped, texts[0]), (kept, texts[1]))
