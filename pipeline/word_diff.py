"""How two texts differ, word by word.

Texts are first compared in pieces, which mostly come once and are quickly aligned; only what was replaced is compared
in words. A piece ends with its line, its sentence, or after a word that its own checksum chooses: so a text without
lines and sentences has pieces too, and they are the same on both sides of a change. A word is a run of characters
between white space, or one character of a script that is written without spaces. White space counts for nothing.
"""

import re
import textwrap
import zlib
from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher
from itertools import pairwise
from typing import Literal, NamedTuple

Kind = Literal["same", "removed", "added"]

AROUND = 8
"""Words of what is the same that are shown on both sides of a change."""
SHOWN = 40
"""Words of one change that are shown."""
CHANGES = 60
"""Runs of words that are shown."""
_PAIRS = 4_000_000
"""Pairs of words up to which what was replaced is compared word by word."""
_UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\U00020000-\U0003ffff"
_WORD = re.compile(f"[{_UNSPACED}]|[^\\s{_UNSPACED}]+")
_PIECE_ENDS = ".!?。！？"
_ONE_IN = 32
"""Words, of which one ends a piece by its checksum."""
_MARKS = {"same": ("", ""), "removed": ("[-", "-]"), "added": ("{+", "+}")}


class Change(NamedTuple):
    """A run of words, the same in both texts or only in one; `words` counts them all, shown or not."""

    kind: Kind
    text: str
    words: int


class _Words(NamedTuple):
    """The words of a text, where each begins and ends in it, and the bounds [P + 1] of its pieces."""

    text: str
    words: list[str]
    spans: list[tuple[int, int]]
    bounds: list[int]

    def pieces(self) -> list[tuple[str, ...]]:
        return [tuple(self.words[a:b]) for a, b in pairwise(self.bounds)]

    def run(self, kind: Kind, first: int, end: int) -> Change:
        text = self.text[self.spans[first][0] : self.spans[end - 1][1]]
        return Change(kind, " ".join(text.split()), end - first)


def changes(old: str, new: str) -> list[Change]:
    """Return the runs of words that lead from `old` to `new`, in order, what was removed before what was added."""
    ours, theirs = _words(old), _words(new)
    runs: list[tuple[Kind, int, int]] = []
    for tag, a1, a2, b1, b2 in SequenceMatcher(None, ours.pieces(), theirs.pieces()).get_opcodes():
        block = ours.bounds[a1], ours.bounds[a2], theirs.bounds[b1], theirs.bounds[b2]
        runs += [("same", *block[:2])] if tag == "equal" else _replaced(ours.words, theirs.words, *block)
    return [(theirs if kind == "added" else ours).run(kind, first, end) for kind, first, end in _joined(runs)]


def _words(text: str) -> _Words:
    found = list(_WORD.finditer(text))
    bounds = [0]
    for place, (word, after) in enumerate(pairwise(found), 1):
        if _ends(word[0]) or "\n" in text[word.end() : after.start()]:
            bounds.append(place)
    bounds += [len(found)] if found else []
    return _Words(text, [word[0] for word in found], [word.span() for word in found], bounds)


def _ends(word: str) -> bool:
    return word[-1] in _PIECE_ENDS or zlib.crc32(word.encode("utf-8", "replace")) % _ONE_IN == 0


def _replaced(
    old: Sequence[str], new: Sequence[str], a1: int, a2: int, b1: int, b2: int
) -> Iterator[tuple[Kind, int, int]]:
    if (a2 - a1) * (b2 - b1) > _PAIRS:
        blocks = [("replace", 0, a2 - a1, 0, b2 - b1)]
    else:
        blocks = SequenceMatcher(None, old[a1:a2], new[b1:b2]).get_opcodes()  # type: ignore[assignment]
    for tag, i1, i2, j1, j2 in blocks:
        if tag == "equal":
            yield "same", a1 + i1, a1 + i2
        else:
            yield "removed", a1 + i1, a1 + i2
            yield "added", b1 + j1, b1 + j2


def _joined(runs: Sequence[tuple[Kind, int, int]]) -> list[tuple[Kind, int, int]]:
    """Return the runs without empty ones, between two equal ones at most one removed and then one added."""
    joined: list[tuple[Kind, int, int]] = []
    for kind, first, end in runs:
        if first == end:
            continue
        # Of what lies between two equal runs, the removed words are one stretch of the old text, the added of the new.
        back = next((i for i in (-1, -2) if len(joined) >= -i and joined[i][0] == kind), 0)
        if back and (back == -1 or "same" not in (joined[-1][0], kind)):
            joined[back] = (kind, joined[back][1], end)
        elif kind == "removed" and joined and joined[-1][0] == "added":
            joined.insert(-1, (kind, first, end))
        else:
            joined.append((kind, first, end))
    return joined


def shortened(runs: Sequence[Change]) -> list[Change]:
    """Return the first runs with their long texts cut; what is the same keeps its ends, beside the changes."""
    last = len(runs) - 1
    return [_cut(run, place == 0, place == last) for place, run in enumerate(runs[:CHANGES])]


def _cut(run: Change, first: bool, last: bool) -> Change:
    if run.kind != "same":
        return run if run.words <= SHOWN else run._replace(text=f"{_head(run.text, SHOWN)} …")
    head, tail = (0 if first else AROUND), (0 if last else AROUND)
    if run.words <= head + tail + AROUND:
        return run
    left_out = f"… {run.words - head - tail:,} words the same …"
    return run._replace(text=" ".join(filter(None, (_head(run.text, head), left_out, _tail(run.text, tail)))))


def _head(text: str, count: int) -> str:
    if not count:
        return ""
    ends = [word.end() for word, _ in zip(_WORD.finditer(text), range(count), strict=False)]
    return text[: ends[-1]]


def _tail(text: str, count: int) -> str:
    starts = [word.start() for word in _WORD.finditer(text)]
    return text[starts[-count] :] if count else ""


def rendered(runs: Sequence[Change], width: int, lines: int | None = None) -> str:
    """Return the runs as text of lines that wide: [-removed-] {+added+}; after `lines` of them the rest is left out."""
    text = " ".join(f"{_MARKS[run.kind][0]}{run.text}{_MARKS[run.kind][1]}" for run in runs)
    wrapped = textwrap.wrap(text, width, break_on_hyphens=False)
    return "\n".join(wrapped if lines is None or len(wrapped) <= lines else [*wrapped[: lines - 1], "…"])
