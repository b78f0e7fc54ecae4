"""The section on rules of thumb: what each rule dropped, what it would drop alone, and what the languages lost."""

from pipeline.reporting import markup, numerals
from pipeline.reporting.evidence import Evidence, Told, mapping
from pipeline.reporting.plots import Bar, Row, grouped

STAGE = "quality.heuristics"
SHOWN_LANGUAGES = 25
SHOWN_DOMAINS = 7


def heuristics(evidence: Evidence) -> str:
    """Return what the rules dropped; nothing where the build has none."""
    steps = list(evidence.of_stage(STAGE))
    if not steps:
        return ""
    return markup.section(
        "heuristics",
        "Rules of thumb",
        "A document is dropped for the first rule it breaks. All rules are asked, so it is known what each would drop.",
        *(part for step in steps for part in (_picture(step), _rules(evidence, step), _languages(step), _cut(step))),
    )


def _dropped(step: Told) -> dict[str, int]:
    """Return how many documents went for each reason that is one of the step's rules."""
    rules = set(step.facts.get("rules", ()))
    return {reason: rows for reason, rows in step.books["dropped"].items() if reason in rules}


def _ordered(step: Told) -> list[str]:
    """Return the rules that somebody breaks, in the order in which they decide."""
    broken = mapping(step.facts, "would_drop")
    return [rule for rule in step.facts.get("rules", ()) if rule in broken]


def _picture(step: Told) -> str:
    broken, dropped, rows = mapping(step.facts, "would_drop"), _dropped(step), []
    for rule in _ordered(step):
        would, did = broken[rule], dropped.get(rule, 0)
        bars = (
            Bar(would, "want", f"{numerals.count(would)} break it"),
            Bar(did, "keep", f"{numerals.count(did)} dropped"),
        )
        rows.append(Row(rule.replace("_", " "), bars))
    caption = "Documents that break a rule, and those dropped for it: the others went for a rule before it."
    return markup.figure(grouped("Documents by rule", rows), caption) if rows else ""


def _rules(evidence: Evidence, step: Told) -> str:
    broken, by_domain = mapping(step.facts, "would_drop"), mapping(step.facts, "would_drop_by_domain")
    only, dropped, read = mapping(step.facts, "only_this_rule"), _dropped(step), step.books["rows_in"]
    domains = evidence.ordered({name: 1 for found in by_domain.values() for name in found})[:SHOWN_DOMAINS]
    head = ("rule", "dropped", "break it", "of all", "break no other", *domains)
    rows: list[list[markup.Cell]] = [
        [
            rule.replace("_", " "),
            dropped.get(rule, 0),
            broken[rule],
            numerals.share(broken[rule], read),
            only.get(rule, 0),
            *(by_domain.get(rule, {}).get(domain, 0) for domain in domains),
        ]
        for rule in _ordered(step)
    ]
    return markup.table(head, rows)


def _languages(step: Told) -> str:
    found = mapping(step.facts, "languages")
    largest = sorted(found, key=lambda name: (-found[name]["read"], name))[:SHOWN_LANGUAGES]
    reasons = mapping(step.facts, "dropped_by_language")
    rows: list[list[markup.Cell]] = []
    for name in largest:
        lost = sorted(reasons.get(name, {}).items(), key=lambda pair: (-pair[1], pair[0]))
        most = ", ".join(f"{reason.replace('_', ' ')} {numerals.count(count)}" for reason, count in lost[:3])
        books = found[name]
        rows.append([name, most, books["read"], books["kept"], numerals.share(books["kept"], books["read"])])
    return markup.table(("language", "most dropped for", "documents", "kept", "share"), rows, left=2)


def _cut(step: Told) -> str:
    found = mapping(step.facts, "shortened")
    rows = [[domain, found[domain]["documents"], numerals.size(found[domain]["bytes"])] for domain in sorted(found)]
    return markup.table(("domain", "documents with spans", "text in them"), rows)
