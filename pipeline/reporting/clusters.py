"""The section on clusters as domains: how large each is, which words tell it, and how the clusters fit the sources."""

from collections.abc import Mapping
from typing import Any

from pipeline.reporting import markup, numerals
from pipeline.reporting.evidence import Evidence, Told, mapping
from pipeline.reporting.plots import Bar, Row, stacked

CLUSTER = "mixture.cluster"
SHOWN = 30
"""Clusters in the picture; the table has them all."""


def clusters(evidence: Evidence) -> str:
    """Return size, words and neighbour of every cluster; nothing where the build has none."""
    steps = list(evidence.of_stage(CLUSTER))
    if not steps:
        return ""
    parts = []
    for step in steps:
        found = _by_size(step)
        parts.append(markup.words(step.name, "h3") if len(steps) > 1 else "")
        parts += [markup.tiles(_tiles(step, found)), _picture(evidence, found), _table(found)]
    lead = "Documents that use the same words are put together; a cluster is called by the words that tell it best."
    return markup.section("clusters", "Clusters as domains", lead, *parts)


def _by_size(step: Told) -> dict[str, Mapping[str, Any]]:
    found = {name: told for name, told in mapping(step.facts, "clusters").items() if isinstance(told, Mapping)}
    return dict(sorted(found.items(), key=lambda item: (-item[1].get("bytes", 0), item[0])))


def _tiles(step: Told, found: Mapping[str, Mapping[str, Any]]) -> dict[str, tuple[str, str]]:
    fits = mapping(step.facts, "agreement_with_domains")
    tiles = {
        "clusters": (numerals.count(len(found)), f"of {numerals.count(step.facts.get('wanted', 0))} wanted"),
        "learned from": (numerals.count(step.facts.get("sample_documents", 0)), "documents"),
    }
    if fits:
        said = "of documents are of their cluster's main source"
        tiles["purity"] = (f"{fits.get('purity', 0):.1%}", said)
        tiles["agreement"] = (f"{fits.get('nmi', 0):.2f}", "mutual information of clusters and sources, 0 to 1")
    return tiles


def _picture(evidence: Evidence, found: Mapping[str, Mapping[str, Any]]) -> str:
    rows = []
    for name, told in list(found.items())[:SHOWN]:
        size, main = told.get("bytes", 0), str(told.get("main_domain"))
        title = f"{numerals.size(size)}, most of it documents of {main}"
        rows.append(Row(name, (Bar(size, evidence.tone(main), title),), numerals.size(size)))
    if not rows:
        return ""
    said = "Text in each cluster, in the colour of the source that most of its documents are of."
    return markup.figure(stacked("Text by cluster", rows), said)


def _table(found: Mapping[str, Mapping[str, Any]]) -> str:
    rows: list[list[markup.Cell]] = []
    for name, told in found.items():
        near = mapping(told, "nearest")
        source = f"{told.get('main_domain')} {told.get('main_domain_share', 0):.0%}"
        sizes = [told.get("documents"), numerals.size(told.get("bytes", 0)), f"{told.get('cohesion', 0):.2f}"]
        nearest = f"{near['name']} {near.get('similarity', 0):+.2f}" if "name" in near else ""
        rows.append([name, *sizes, source, nearest, " ".join(told.get("words") or ())])
    head = ("cluster", "documents", "text", "mean cosine", "main source", "nearest cluster", "telling words")
    return markup.table(head, rows)
