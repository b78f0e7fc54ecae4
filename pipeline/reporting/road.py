"""Sections told from the ledgers: the road at a glance, and what was dropped where, why and in which domain."""

from collections.abc import Mapping
from typing import Any

from pipeline.ledger import add
from pipeline.reporting import markup, numerals
from pipeline.reporting.evidence import PACK, Evidence, Told, mapping
from pipeline.reporting.flow import State, flow
from pipeline.reporting.plots import Bar, Row, stacked

REASONS = 8
WIDE = 7
"""Domains that get a column of their own in a table."""


def at_a_glance(evidence: Evidence) -> str:
    """Return how many documents and bytes are left after each deciding step, as a picture and a table."""
    steps = evidence.deciding
    if not steps:
        return ""
    states = [_before(evidence, steps[0]), *(_after(evidence, step) for step in steps)]
    picture = flow("What is kept and dropped at each step, in bytes of text", states, evidence.tones)
    caption = "Height is bytes of text. What flows down is dropped by the step above it; hover a band for its number."
    first = steps[0].books
    rows = [["read", first["rows_in"], "", first["bytes_in"] and numerals.size(first["bytes_in"]), ""]]
    for step in steps:
        books = step.books
        kept = books["rows_kept"], books["bytes_kept"]
        whole = first["rows_in"], first["bytes_in"]
        shares = [numerals.share(*pair) for pair in zip(kept, whole, strict=True)]
        rows.append([step.name, kept[0], shares[0], numerals.size(kept[1]), shares[1]])
    for step in evidence.packs:
        used = step.books["rows_kept"]
        rows.append([f"{step.name} (used)", used, numerals.share(used, first["rows_in"]), "", ""])
    head = ("after", "documents", "of all", "text", "of all")
    shown = markup.key({domain: evidence.tones[domain] for domain in evidence.domains[:COLOUR_KEYS]})
    return markup.section(
        "road",
        "The road at a glance",
        "Every step that may drop a document keeps books: what came in, what it kept, what it dropped and why.",
        markup.figure(picture, caption, shown),
        markup.table(head, rows),
        _by_domain(evidence),
    )


COLOUR_KEYS = 24


def _before(evidence: Evidence, step: Told) -> State:
    books = step.manifest.ledger
    return State("read", {d: books[d]["bytes_in"] for d in evidence.ordered(books)}, {})


def _after(evidence: Evidence, step: Told) -> State:
    books = step.manifest.ledger
    order = evidence.ordered(books)
    dropped = {d: books[d]["bytes_in"] - books[d]["bytes_kept"] for d in order}
    return State(step.name, {d: books[d]["bytes_kept"] for d in order}, dropped)


def _by_domain(evidence: Evidence) -> str:
    first, last = evidence.deciding[0].manifest.ledger, evidence.deciding[-1].manifest.ledger
    rows, total = [], [0, 0, 0, 0]
    files: dict[str, int] = {}
    for step in evidence.of_stage("ingest"):
        files |= mapping(step.facts, "files")
    for domain in evidence.domains:
        before, after = first.get(domain, {}), last.get(domain, {})
        numbers = [
            before.get("rows_in", 0),
            before.get("bytes_in", 0),
            after.get("rows_kept", 0),
            after.get("bytes_kept", 0),
        ]
        rows.append([domain, files.get(domain), *_in_and_out(numbers)])
        total = [a + b for a, b in zip(total, numbers, strict=True)]
    head = ("domain", "files", "documents read", "kept", "share", "text read", "kept", "share")
    return markup.words("By domain", "h3") + markup.table(
        head, rows, foot=["all", sum(files.values()) or None, *_in_and_out(total)]
    )


def _in_and_out(numbers: list[int]) -> list[markup.Cell]:
    rows, size, rows_kept, size_kept = numbers
    texts = numerals.size(size), numerals.size(size_kept)
    return [rows, rows_kept, numerals.share(rows_kept, rows), *texts, numerals.share(size_kept, size)]


def dropped(evidence: Evidence) -> str:
    """Return what was dropped, by step, reason and domain; nothing if nothing was."""
    reasons = _reasons(evidence)
    if not reasons:
        return ""
    read = dict.fromkeys(evidence.domains, 0)
    for domain, books in evidence.deciding[0].manifest.ledger.items():
        read[domain] = books["rows_in"]
    tones = {key: f"r{min(at, REASONS - 1)}" for at, key in enumerate(reasons)}
    bars = [
        _dropped_bar(
            domain, read[domain], {key: by_domain.get(domain, {}) for key, by_domain in reasons.items()}, tones
        )
        for domain in evidence.domains
    ]
    picture = stacked("Share of the documents read that were dropped, by domain and reason", bars)
    caption = "Share of the documents read in each domain that were dropped, by reason."
    return markup.section(
        "dropped",
        "What was dropped, and why",
        "",
        markup.figure(picture, caption, markup.key({_name(key): tone for key, tone in tones.items()})),
        _dropped_table(evidence, reasons),
    )


Reason = tuple[str, str]


def _reasons(evidence: Evidence) -> dict[Reason, dict[str, Any]]:
    """Return (step, reason) -> domain -> {rows, bytes}, in the order of the road."""
    found: dict[Reason, dict[str, Any]] = {}
    for step in (*evidence.deciding, *evidence.packs):
        for domain, books in step.manifest.ledger.items():
            for reason, rows in sorted(books.get("dropped", {}).items()):
                size = books.get("dropped_bytes", {}).get(reason, 0) if step.stage != PACK else 0
                add(found.setdefault((step.name, reason), {}), {domain: {"rows": rows, "bytes": size}})
    order = [step.name for step in (*evidence.deciding, *evidence.packs)]
    return dict(sorted(found.items(), key=lambda item: (order.index(item[0][0]), item[0][1])))


def _name(key: Reason) -> str:
    return f"{key[1].replace('_', ' ')} ({key[0]})"


def _dropped_bar(domain: str, read: int, reasons: Mapping[Reason, Any], tones: Mapping[Reason, str]) -> Row:
    bars, rows = [], 0
    for key, counts in reasons.items():
        if number := counts.get("rows", 0):
            rows += number
            said = f"{_name(key)}: {numerals.count(number)} documents, {numerals.share(number, read)}"
            bars.append(Bar(number / max(read, 1), tones[key], said))
    return Row(domain, tuple(bars), f"{numerals.share(rows, read)} of {numerals.count(read)}")


def _dropped_table(evidence: Evidence, reasons: Mapping[Reason, Any]) -> str:
    shown = evidence.domains if len(evidence.domains) <= WIDE else ()
    rows: list[list[markup.Cell]] = []
    for (step, reason), by_domain in reasons.items():
        total = sum(part["rows"] for part in by_domain.values())
        size = sum(part["bytes"] for part in by_domain.values())
        columns = [by_domain.get(domain, {}).get("rows", 0) for domain in shown]
        rows.append([step, reason.replace("_", " "), total, numerals.size(size) if size else "", *columns])
    sums = [sum(by_domain.get(d, {}).get("rows", 0) for by_domain in reasons.values()) for d in shown]
    whole = sum(row[2] for row in rows if isinstance(row[2], int))
    size = sum(part["bytes"] for by_domain in reasons.values() for part in by_domain.values())
    head = ("step", "reason", "documents", "text", *shown)
    return markup.table(head, rows, left=2, foot=["all", "", whole, numerals.size(size), *sums])
