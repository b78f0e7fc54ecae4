"""The section on packed sequences: how full they are, how many documents share one, what was cut and left out."""

from collections.abc import Mapping
from typing import Any

from pipeline.reporting import markup, numerals
from pipeline.reporting.evidence import Evidence, mapping
from pipeline.reporting.plots import Bar, Row, grouped, ridges, stacked

MODES = {
    "best_fit": "Documents are packed best-fit into sequences of one length; "
    "only what is longer than a sequence is cut.",
    "concat_chunk": "Documents are put end to end and cut wherever a sequence is full.",
    "pad": "Every sequence holds one document, or one piece of a longer one, and padding.",
    "spfhp": "Documents are packed shortest pack first into sequences of one length (SPFHP).",
}
SHOWN = (
    *("sequence_length", "dtype", "tokens", "domains", "sequences", "padding", "fill", "by_domain", "left_out"),
    *("pieces_by_sequence", "segments"),
)


def packing(evidence: Evidence) -> str:
    """Return how full the training sequences are; nothing where the build packs none."""
    pack = next(evidence.of_stage("tokens.pack"), None)
    if not pack or "sequence_length" not in pack.facts:
        return ""
    facts, rows, domains = pack.facts, pack.manifest.rows, mapping(pack.facts, "by_domain")
    length, number = facts["sequence_length"], facts.get("tokens", 0)
    places = rows * length
    tiles = {
        "sequences": (numerals.count(rows), f"of {numerals.count(length)} tokens"),
        "tokens": (numerals.short(number), f"{facts.get('dtype', '')}, {numerals.size(pack.manifest.bytes)}"),
        "fill": (f"{100 * number / places:.3f} %" if places else "–", "of places hold a token"),
        "padding": (numerals.count(places - number), "places"),
    }
    rest = {name.replace("_", " "): value for name, value in facts.items() if name not in SHOWN}
    return markup.section(
        "packing",
        "Packed sequences",
        MODES.get(facts.get("mode", "best_fit"), ""),
        markup.tiles(tiles),
        _places(evidence, domains, places - number),
        _pieces(facts.get("pieces_by_sequence")),
        _cuts(evidence, domains),
        _packed_table(evidence, domains),
        _left_out(evidence, mapping(facts, "left_out")),
        markup.pairs(rest),
    )


def _places(evidence: Evidence, domains: Mapping[str, Any], padding: int) -> str:
    """Return one bar of all places: the tokens of each domain, then the padding."""
    sizes = {d: domains[d].get("tokens", 0) for d in evidence.ordered(domains)}
    if not any(sizes.values()):
        return ""
    bars = [Bar(n, evidence.tone(domain), f"{domain} {numerals.count(n)}") for domain, n in sizes.items()]
    bars.append(Bar(padding, "want", f"padding {numerals.count(padding)}"))
    tones = {domain: evidence.tone(domain) for domain in sizes} | {"padding": "want"}
    picture = stacked("Places of all sequences by domain", [Row("places", tuple(bars))])
    return markup.figure(picture, "All places of all sequences: tokens by domain, then padding.", markup.key(tones))


def _pieces(counts: Any) -> str:
    """Return how many sequences hold how many pieces of documents."""
    if not isinstance(counts, list) or not any(counts):
        return ""
    names = [numerals.binary(1 << k) for k in range(len(counts) + 1)]
    rows = {"sequences": ("keep", counts)}
    picture = ridges("Sequences by the documents in them", rows, names=names, axis="documents, or pieces, a sequence")
    return markup.figure(picture, "Sequences by how many documents, or pieces of them, share one.")


def _cuts(evidence: Evidence, domains: Mapping[str, Any]) -> str:
    """Return the share of each domain's documents that are cut, where a build has counted them."""
    rows = []
    for domain in evidence.ordered(domains):
        uses, cut = (domains[domain].get(name, 0) for name in ("uses", "cut_into_pieces"))
        if uses:
            rows.append(Row(domain, (Bar(cut / uses, evidence.tone(domain), numerals.share(cut, uses)),)))
    if not rows or not any(bar.value for row in rows for bar in row.bars):
        return ""
    picture = grouped("Documents cut into pieces, by domain", rows)
    return markup.figure(picture, "Share of the uses of documents that are cut into pieces.")


def _left_out(evidence: Evidence, domains: Mapping[str, Any]) -> str:
    """Return what is never packed: documents and tokens by domain and reason."""
    rows = [
        [domain, reason.replace("_", " "), entry.get("documents", 0), entry.get("tokens", 0)]
        for domain in evidence.ordered(domains)
        for reason, entry in sorted(domains[domain].items())
    ]
    table = markup.table(("domain", "left out", "documents", "tokens"), rows)
    return markup.words("What is left out of every pass", "h3") + table if rows else ""


def _packed_table(evidence: Evidence, domains: Mapping[str, Any]) -> str:
    names = (
        "tokens",
        "uses",
        "longer_than_a_sequence",
        "cut_into_pieces",
        "cut_by_the_budget",
        "tokens_cut_by_the_budget",
    )
    known = {domain: entry for domain, entry in domains.items() if isinstance(entry, Mapping)}
    total = sum(entry.get("tokens", 0) for entry in known.values())
    rows = []
    for domain in evidence.ordered(known):
        first, *others = (known[domain].get(name, 0) for name in names)
        rows.append([domain, first, numerals.share(first, total), *others])
    sums = [sum(entry.get(name, 0) for entry in known.values()) for name in names[1:]]
    head = (
        "domain",
        "tokens",
        "share",
        "uses of documents",
        "longer than a sequence",
        "cut into pieces",
        "cut by the budget",
        "tokens so cut",
    )
    return markup.table(head, rows, foot=["all", total, "", *sums])
