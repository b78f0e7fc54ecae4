"""What the rules of `quality.heuristics` say of a batch of texts: pure functions on buffers.

Letters: N documents, S spans. The order of the groups is FineWeb's: Gopher's repetition and quality, C4, FineWeb.
FineWeb's rules are about the text that C4's leave, so they are not asked of a document that C4's drop.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from pipeline.kernels import c4_lines, identifiers, spans, textstats
from pipeline.kernels.span_union import Spans, union
from pipeline.quality import c4
from pipeline.quality.c4 import C4, C4_RULES
from pipeline.quality.fineweb import FINEWEB, FineWeb
from pipeline.quality.gopher import QUALITY, REPETITION, GopherQuality, GopherRepetition
from pipeline.quality.rules import Group, Rule, broken
from pipeline.stage import Params

DELETE, BREAK, MASKED = 0, 1, 2
"""Marks of spans: nothing, a line break, or from MASKED on the replacement of an identifier of that kind."""


class Rules(Params):
    """The groups of rules; null switches a group off."""

    gopher_repetition: GopherRepetition | None = GopherRepetition()
    gopher_quality: GopherQuality | None = GopherQuality()
    c4: C4 | None = None
    fineweb: FineWeb | None = FineWeb()

    def groups(self) -> Iterator[tuple[str, Group, tuple[Rule, ...]]]:
        """Yield the prefix, the limits and the rules of each group that is on."""
        if self.gopher_repetition:
            yield "gopher", self.gopher_repetition, REPETITION
        if self.gopher_quality:
            yield "gopher", self.gopher_quality, QUALITY
        if self.c4:
            yield "c4", self.c4, C4_RULES
        if self.fineweb:
            yield "fineweb", self.fineweb, FINEWEB


def reasons() -> list[str]:
    """Return the reasons of all rules there are, in the order in which they decide."""
    groups = (("gopher", REPETITION), ("gopher", QUALITY), ("c4", C4_RULES), ("fineweb", FINEWEB))
    names = [f"{prefix}_{rule.field}" for prefix, rules in groups for rule in rules]
    names.insert(len(REPETITION) + len(QUALITY), f"c4_{c4.EMPTY}")
    return names


@dataclass(frozen=True)
class Judged:
    """Reason -> bool [N], and what the rules about lines cut out."""

    broken: Mapping[str, np.ndarray]
    spans: Spans | None


def judge(
    data: np.ndarray, offsets: np.ndarray, keep: np.ndarray, rules: Rules, bad_words: Mapping[str, tuple[str, ...]]
) -> Judged:
    """Return which rules the documents to keep break; what it says of the others does not matter.

    data uint8, offsets int64 [N + 1], keep bool [N]; `bad_words` are the lists by name.
    """
    quality, fineweb = rules.gopher_quality, rules.fineweb
    found_NC = textstats.count(
        data,
        offsets,
        keep,
        stop_words=quality.words if quality else (),
        stops=fineweb.stops if fineweb else None,
        short=fineweb.short_line_length if fineweb else 0,
        repetitions=rules.gopher_repetition is not None,
    )
    counts, cut, made = _named(found_NC), None, {}
    left_N = np.ones(len(keep), bool)
    if rules.c4:
        cut, lines_NC = _lines(data, offsets, keep, rules.c4, bad_words)
        of_lines = c4.counts(lines_NC)
        made[f"c4_{c4.EMPTY}"] = of_lines["bytes_left"] == 0
        made |= {f"c4_{field}": drop for field, drop in broken(rules.c4, C4_RULES, of_lines)}
        left_N = ~np.any(list(made.values()), axis=0)
        if fineweb:
            found_NC = _after(data, offsets, found_NC, cut, left_N, fineweb)
    for prefix, group, its_rules in rules.groups():
        if prefix == "gopher":
            made |= {f"gopher_{field}": drop for field, drop in broken(group, its_rules, counts)}
    if fineweb:
        made |= {f"fineweb_{field}": drop & left_N for field, drop in broken(fineweb, FINEWEB, _named(found_NC))}
    return Judged(made, cut)


def _named(found_NC: np.ndarray) -> dict[str, np.ndarray]:
    return {name: found_NC[:, place] for place, name in enumerate(textstats.COUNTS)}


def _lines(
    data: np.ndarray, offsets: np.ndarray, keep: np.ndarray, params: C4, bad_words: Mapping[str, tuple[str, ...]]
) -> tuple[Spans, np.ndarray]:
    spans_S2, breaks_S, ends, counts_NC = c4_lines.judge(
        data,
        offsets,
        keep,
        rules=params.rules(),
        policy=params.policy,
        bad_words=bad_words[params.bad_words] if params.bad_words else (),
    )
    return (spans_S2, breaks_S.astype(np.int64), ends), counts_NC


def _after(
    data: np.ndarray, offsets: np.ndarray, found_NC: np.ndarray, cut: Spans, left_N: np.ndarray, fineweb: FineWeb
) -> np.ndarray:
    """Return the counts of the texts that are left, as the rules about lines leave them.

    Only those that change are counted again.
    """
    spans_S2, marks_S, ends = cut
    changed_N = (np.diff(ends) > 0) & left_N
    breaks = np.full(int(marks_S.sum()), 10, np.uint8), np.concatenate([[0], np.cumsum(marks_S)])
    again_NC = textstats.count(
        *spans.cut(data, offsets, spans_S2, ends, breaks),
        changed_N,
        stops=fineweb.stops,
        short=fineweb.short_line_length,
        repetitions=False,
    )
    counted: np.ndarray = np.where(changed_N[:, None], again_NC, found_NC)
    return counted


def masked(
    data: np.ndarray, offsets: np.ndarray, keep: np.ndarray, kinds: tuple[str, ...], cut: Spans | None
) -> Spans | None:
    """Return what is cut out of the documents to keep together with the identifiers that are replaced.

    An identifier that is partly cut out is left as it is.
    """
    if cut is not None:
        spans_S2, marks_S, ends = cut
        lengths = np.diff(ends)
        chosen = np.repeat(keep, lengths)
        ends = np.concatenate([[0], np.cumsum(np.where(keep, lengths, 0))])
        cut = spans_S2[chosen], marks_S[chosen], ends
    if not kinds:
        return cut
    spans_S2, kinds_S, ends = identifiers.find(data, offsets, keep, kinds)
    named = spans_S2, kinds_S.astype(np.int64) + MASKED, ends
    return named if cut is None else union(cut, named)
