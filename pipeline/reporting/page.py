"""The report: one HTML file with everything in it, made from the manifests of a build.

Of the documents it quotes the beginnings of a few, no more: duplicates, and the ends of a classifier's scores. No
script, no font, no picture from elsewhere, no date: the same build gives the same bytes.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from pipeline import builds, store
from pipeline.reporting import (
    classifier,
    clusters,
    decontamination,
    duplication,
    heuristics,
    markup,
    mixture,
    numerals,
    packing,
    provenance,
    quality,
    road,
    selection,
    strength,
    training,
    verification,
)
from pipeline.reporting.evidence import Evidence
from pipeline.reporting.excerpts import Excerpts
from pipeline.reporting.plain import escaped
from pipeline.reporting.style import STYLE

REPORT = "report.html"

_HEADING = re.compile(r'<section id="([^"]+)"><h2>([^<]*)</h2>')


def write_report(build: builds.Build, path: Path | None = None) -> Path:
    """Write the report of a finished build and return its path; by default `report.html` in the build's folder.

    Raises:
        DataError: the build's record is not one of ours.
    """
    path = path or build.folder / REPORT
    evidence = Evidence.of(build)
    excerpts = Excerpts.of(build, (*duplication.quoted(evidence), *classifier.quoted(evidence)))
    store.write_atomic(path, page(evidence, excerpts))
    return path


def _sections(evidence: Evidence, excerpts: Excerpts) -> Iterator[str]:
    """Yield the sections in the order of the page; one whose steps are not in the build is empty."""
    yield road.at_a_glance(evidence)
    yield road.dropped(evidence)
    yield heuristics.heuristics(evidence)
    yield duplication.duplicates(evidence, excerpts)
    yield decontamination.decontamination(evidence)
    yield strength.strength(evidence)
    yield classifier.classifier(evidence, excerpts)
    yield quality.quality(evidence)
    yield selection.selection(evidence)
    yield verification.verification(evidence)
    yield clusters.clusters(evidence)
    yield training.lengths(evidence)
    yield training.tokens(evidence)
    yield mixture.weights(evidence)
    yield mixture.mixture(evidence)
    yield packing.packing(evidence)
    yield provenance.others(evidence)
    yield provenance.identity(evidence)
    yield provenance.rebuild(evidence)


def page(evidence: Evidence, excerpts: Excerpts) -> str:
    """Return the HTML of a report; a section is there if its steps are in the build."""
    sections = "".join(_sections(evidence, excerpts))
    links = "".join(f'<a href="#{anchor}">{title}</a>' for anchor, title in _HEADING.findall(sections))
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{escaped(evidence.name)} – corpusmill</title><style>{STYLE}</style></head>\n<body><main>"
        f"<header>{markup.words(evidence.name, 'h1')}{markup.words(_summary(evidence), kind='sub')}"
        f'{markup.tiles(_headline(evidence))}<nav aria-label="Sections">{links}</nav></header>\n'
        f"{sections}\n<footer>Made by corpusmill from the manifests of this build.</footer></main></body></html>\n"
    )


def _summary(evidence: Evidence) -> str:
    domains = f"{len(evidence.domains)} domain{'s' * (len(evidence.domains) != 1)}"
    return f"A build of {len(evidence.steps)} steps over {domains}."


def _headline(evidence: Evidence) -> dict[str, tuple[str, str]]:
    tiles: dict[str, tuple[str, str]] = {}
    if evidence.deciding:
        first, last = evidence.deciding[0].books, evidence.deciding[-1].books
        tiles["documents read"] = (numerals.count(first["rows_in"]), numerals.size(first["bytes_in"]))
        kept = (
            f"{numerals.size(last['bytes_kept'])}, {numerals.share(last['bytes_kept'], first['bytes_in'])} of the text"
        )
        tiles["documents kept"] = (numerals.count(last["rows_kept"]), kept)
    for step in evidence.of_stage("tokens.pack"):
        length = step.facts.get("sequence_length", 0)
        if "tokens" in step.facts:
            tiles["tokens"] = (numerals.short(step.facts["tokens"]), f"{numerals.count(step.facts['tokens'])} exactly")
        tiles["sequences"] = (numerals.count(step.manifest.rows), f"of {numerals.count(length)} tokens")
    return tiles
