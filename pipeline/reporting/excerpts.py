"""The beginnings of a few documents, which the page quotes: the only thing in it that no manifest holds.

They are read when the page is made, from the documents corpus, by the shard and row that the facts name. Where that
corpus has been deleted the page says so.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import pyarrow as pa

from pipeline import builds, places
from pipeline.corpus import Corpus
from pipeline.places import Place

CHARACTERS = 200
GONE = "(the documents corpus is no longer there, or cannot be read)"
ELSEWHERE = "(in an earlier build)"


class Quoted(NamedTuple):
    """A document that shall be quoted: its corpus by fingerprint, and its place, None if it is of an earlier build."""

    corpus: str
    place: Place | None


@dataclass(frozen=True)
class Excerpts:
    """Texts cut to their beginnings; asked for one that was not read, it says why."""

    texts: Mapping[Quoted, str] = field(default_factory=dict)

    @classmethod
    def of(cls, build: builds.Build, wanted: Iterable[Quoted]) -> "Excerpts":
        """Read the beginnings of these documents from the corpora of a build, as far as they are there."""
        corpora = {corpus.manifest.fingerprint: corpus for corpus in build.corpora.values()}
        asked: dict[str, list[Place]] = {}
        for quoted in wanted:
            if quoted.place is not None:
                asked.setdefault(quoted.corpus, []).append(quoted.place)
        texts: dict[Quoted, str] = {}
        for print_, found in asked.items():
            if print_ in corpora:
                texts |= {Quoted(print_, place): text for place, text in _beginnings(corpora[print_], found).items()}
        return cls(texts)

    def __getitem__(self, quoted: Quoted) -> str:
        return ELSEWHERE if quoted.place is None else self.texts.get(quoted, GONE)


def _beginnings(corpus: Corpus, wanted: Iterable[Place]) -> dict[Place, str]:
    found = {}
    for place in sorted(set(wanted)):
        try:
            texts = [values["text"] for _, values in places.values(corpus, [place], ("text",))]
        except (OSError, IndexError, pa.ArrowException):
            continue
        found[place] = _beginning(texts[0])
    return found


def _beginning(text: str) -> str:
    """Return the first characters, white space as single spaces, so that two texts can be looked at line by line."""
    words = " ".join(text[: 4 * CHARACTERS].split())
    return words if len(words) <= CHARACTERS and len(text) <= 4 * CHARACTERS else f"{words[:CHARACTERS]}…"
