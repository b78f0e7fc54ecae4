"""The section on decontamination: benchmark items found, by task, what became of their documents, and a few of them."""

from collections.abc import Mapping
from typing import Any

from pipeline.reporting import markup, numerals
from pipeline.reporting.evidence import Evidence, Told, mapping

STAGE = "quality.decontaminate"
REASON = "contaminated"
DONE = {
    "drop": "Documents that hold a benchmark item are dropped.",
    "cut": "Benchmark items are cut out of the documents that hold one; what is left in too many pieces is dropped.",
    "report": "Documents that hold a benchmark item are named only; all of them stay.",
}


def decontamination(evidence: Evidence) -> str:
    """Return the items found and their documents; nothing where the build does not look for any."""
    steps = list(evidence.of_stage(STAGE))
    if not steps:
        return ""
    lead = DONE.get(str(steps[0].params.get("action")), "Documents that hold a benchmark item are found.")
    return markup.section("decontamination", "Benchmark items", lead, *(_step(step, evidence) for step in steps))


def _step(step: Told, evidence: Evidence) -> str:
    by_domain = mapping(step.facts, "found_by_domain")
    rows = [[domain, by_domain[domain]] for domain in evidence.ordered(by_domain)]
    head = markup.words(step.name, "h3") if len(list(evidence.of_stage(STAGE))) > 1 else ""
    return (
        head
        + markup.tiles(_tiles(step))
        + _tasks(step)
        + (markup.table(("domain", "documents with an item"), rows) if rows else "")
        + _most(step)
        + _examples(step)
    )


def _tiles(step: Told) -> dict[str, tuple[str, str]]:
    found = sum(mapping(step.facts, "found_by_domain").values())
    dropped = step.books["dropped"].get(REASON, 0)
    told = numerals.share(found, step.books["rows_in"]) if step.books["rows_in"] else "0 %"
    tiles = {"documents with an item": (numerals.count(found), f"{told} of documents; {dropped:,} dropped")}
    if step.params.get("action") == "cut":
        tiles["cut"] = (numerals.count(found - dropped), "documents that stay, shortened")
    if "items" in step.facts:
        without = step.facts.get("items_without_ngrams", 0)
        said = f"{numerals.short(step.facts.get('ngrams', 0))} n-grams; {without:,} are too short to be found"
        tiles["items looked for"] = (numerals.count(step.facts["items"]), said)
    return tiles


def _tasks(step: Told) -> str:
    tasks = {name: books for name, books in mapping(step.facts, "found_by_task").items() if isinstance(books, Mapping)}
    found = sorted((name for name in tasks if tasks[name].get("documents")), key=lambda n: -tasks[n]["documents"])
    rows = [[name, *(tasks[name].get(part) for part in ("items", "items_found", "documents"))] for name in found]
    clean = sorted(set(tasks) - set(found))
    table = markup.table(("task", "items", "items found", "documents"), rows) if rows else ""
    return table + (markup.words(f"Nothing was found of {', '.join(clean)}.") if clean else "")


def _listed(step: Told, name: str) -> list[Mapping[str, Any]]:
    listed = step.facts.get(name)
    return [entry for entry in listed if isinstance(entry, Mapping)] if isinstance(listed, list) else []


def _most(step: Told) -> str:
    rows: list[list[markup.Cell]] = [
        [str(row.get("benchmark")), row.get("documents")] for row in _listed(step, "most_found")
    ]
    table = markup.table(("item", "documents"), rows)
    return markup.folded("The items found in most documents", table) if rows else ""


def _examples(step: Told) -> str:
    told = "".join(_example(example) for example in _listed(step, "examples"))
    if not told:
        return ""
    said = "One of each task: the document from the first n-gram that it shares with the item, and the item from there."
    return markup.words("Side by side", "h3") + markup.words(said) + told


def _example(example: Mapping[str, Any]) -> str:
    share = example.get("overlap")
    has = f"{share:.0%} of its n-grams" if isinstance(share, float) else ""
    document = f"{example.get('domain')}: {has}\n{example.get('doc_id')}", str(example.get("text", ""))
    return markup.beside(document, (f"{example.get('benchmark')}", str(example.get("item", ""))))
