"""The section on what was selected: by which rule, where it was cut, what each domain kept, and its buckets."""

from collections.abc import Mapping
from typing import Any

from pipeline.reporting import markup, numerals
from pipeline.reporting.evidence import Evidence, Told, mapping
from pipeline.reporting.plots import Bar, Row, stacked

SELECT = "quality.select"
TONES = 8
"""Buckets that can be told apart by colour; more are in the table only."""


def selection(evidence: Evidence) -> str:
    """Return the rule, the cuts and what was kept of every selection; nothing where the build has none."""
    steps = list(evidence.of_stage(SELECT))
    if not steps:
        return ""
    parts = []
    for step in steps:
        parts.append(markup.words(step.name, "h3") if len(steps) > 1 else "")
        parts += [_rule(step), markup.tiles(_tiles(step)), _cuts(step), _kept(evidence, step)]
        parts += [_buckets(evidence, step), _points(step)]
    lead = "Documents are judged by their scores; what is kept is what a rule takes of them."
    return markup.section("selection", "Selection", lead, *parts)


def _rule(step: Told) -> str:
    params = step.params
    said = [_method(params), _judged_by(step), _drawn(step)]
    named = {name.replace("_", " "): ", ".join(params[name]) for name in ("exempt", "label_only") if params.get(name)}
    limits = {f"limit on {c['column']}": _limit(c) for c in params.get("criteria") or ()}
    return markup.words(" ".join(part for part in said if part)) + markup.pairs(named | limits)


def _method(params: Mapping[str, Any]) -> str:
    of = f"of the {params.get('by', 'bytes')}"
    if params.get("threshold") is not None:
        return f"All from a score of {params['threshold']:g} upwards."
    quotas = params.get("quotas") or {}
    others = f"{params['share']:.4g} {of}" if params.get("share") else ""
    if quotas:
        named = ", ".join(f"{domain} {_quota(quota)}" for domain, quota in quotas.items())
        return f"By quota: {named}{f'; every other domain {others}' if others else ''}."
    if others:
        return f"A share of {others}, {'in each domain' if params.get('scope') == 'domain' else 'over all domains'}."
    return "All that meet the criteria."


def _quota(quota: Mapping[str, Any]) -> str:
    unit, amount = next((unit, amount) for unit, amount in quota.items() if amount is not None)
    return f"a share of {amount:.4g}" if unit == "share" else f"{amount:,} {unit}"


def _judged_by(step: Told) -> str:
    by = step.facts.get("ranked_by", "score")
    if isinstance(by, str):
        return f"Ranked by {by}."
    buckets = mapping(step.params, "ensemble").get("buckets")
    return f"Ranked by the highest of {buckets} buckets over the scorers {', '.join(by)}."


def _drawn(step: Told) -> str:
    temperature, scale = step.params.get("temperature"), mapping(step.facts, "scale")
    if not temperature:
        return ""
    if temperature == "infinite":
        return "Drawn evenly, whatever the score."
    moments = f"mean {scale.get('mean', 0):.6g}, standard deviation {scale.get('deviation', 0):.6g}"
    return f"Drawn without replacement by exp(score / {temperature:g}), the scores standardised ({moments})."


def _limit(criterion: Mapping[str, Any]) -> str:
    bounds = [f"{word} {criterion[word]:g}" for word in ("min", "max") if criterion.get(word) is not None]
    return f"{', '.join(bounds)}; without a number: {criterion.get('missing', 'fail')}"


def _tiles(step: Told) -> dict[str, tuple[str, str]]:
    books = step.books
    return {
        "kept": (numerals.share(books["rows_kept"], books["rows_in"]), "of documents"),
        "kept text": (numerals.size(books["bytes_kept"]), f"of {numerals.size(books['bytes_in'])}"),
    }


def _cuts(step: Told) -> str:
    by = str(step.params.get("by", "bytes"))
    cuts = {name: cut for name, cut in mapping(step.facts, "cuts").items() if isinstance(cut, Mapping)}
    drawn = any("lowest_key" in cut for cut in cuts.values())
    lowest = "lowest key drawn" if drawn else "lowest score kept"
    head = ("ranking", lowest, "documents ranked", *([f"{by} ranked"] if by != "documents" else []))
    return markup.table(head, [[name, *_cut(cut, by)] for name, cut in cuts.items()])


def _cut(cut: Mapping[str, Any], by: str) -> list[markup.Cell]:
    lowest = cut.get("lowest_key", cut.get("threshold"))
    ranked = [] if by == "documents" else [numerals.size(cut[by]) if by == "bytes" and by in cut else cut.get(by)]
    return ["all" if lowest is None else f"{lowest:.6f}", cut.get("documents"), *ranked]


def _kept(evidence: Evidence, step: Told) -> str:
    books, rows = step.manifest.ledger, []
    for domain in evidence.ordered(books):
        rows_in, rows_kept, bytes_in, bytes_kept = (
            books[domain].get(name, 0) for name in ("rows_in", "rows_kept", "bytes_in", "bytes_kept")
        )
        shares = numerals.share(rows_kept, rows_in), numerals.share(bytes_kept, bytes_in)
        rows.append(
            [domain, rows_in, rows_kept, shares[0], numerals.size(bytes_in), numerals.size(bytes_kept), shares[1]]
        )
    head = ("domain", "documents judged", "kept", "share", "text judged", "kept", "share")
    return markup.words("Kept by domain", "h3") + markup.table(head, rows) if rows else ""


def _buckets(evidence: Evidence, step: Told) -> str:
    found = mapping(step.facts, "buckets")
    names = [name for name in _names(step) if any(name in counts for counts in found.values())]
    if not names:
        return ""
    rows, bars = [], []
    for domain in evidence.ordered(found):
        sizes = [found[domain].get(name, {}).get("bytes", 0) for name in names]
        documents = [found[domain].get(name, {}).get("documents", 0) for name in names]
        rows += [
            [f"{domain}/{name}", count, numerals.size(size), numerals.share(size, sum(sizes))]
            for name, count, size in zip(names, documents, sizes, strict=True)
        ]
        whole = max(sum(sizes), 1)
        bars.append(
            Row(
                domain,
                tuple(
                    Bar(s / whole, f"r{i}", f"{n} {numerals.size(s)}")
                    for i, (n, s) in enumerate(zip(names, sizes, strict=True))
                ),
            )
        )
    few = len(names) <= TONES
    picture = stacked("Share of the kept text in each bucket, by domain", bars) if few else ""
    key = markup.key({name: f"r{i}" for i, name in enumerate(names)}) if few else ""
    told = markup.figure(picture, "Share of the kept text in each bucket of scores, the lowest at the left.", key)
    edges = {name: ", ".join(f"{edge:.6g}" for edge in at) for name, at in mapping(step.facts, "bucket_edges").items()}
    table = markup.table(("bucket", "documents", "text", "of the domain"), rows)
    return (
        markup.words("Buckets", "h3")
        + told
        + table
        + markup.pairs({f"next bucket from ({n})": e for n, e in edges.items()})
    )


def _names(step: Told) -> list[str]:
    """The buckets from the lowest to the highest: as they are named, or by their numbers."""
    found = {name for counts in mapping(step.facts, "buckets").values() for name in counts}
    given = mapping(step.params, "buckets").get("names") or sorted(found)
    return [str(name) for name in given]


def _points(step: Told) -> str:
    tables = []
    for column, by_scope in mapping(step.facts, "points").items():
        most = max((len(edges) for edges in by_scope.values()), default=0)
        rows = [
            [str(k + 1), *(f"{edges[k]:.6g}" if k < len(edges) else "" for edges in by_scope.values())]
            for k in range(most)
        ]
        tables.append(markup.folded(f"Where the buckets of {column} begin", markup.table(("bucket", *by_scope), rows)))
    return "".join(tables)
