"""Rules on counts: a limit, the count it is about, and what that is divided by.

A group of rules is frozen params with a field a rule and a tuple of `Rule`; the field holds the limit, None (or False)
switches the rule off. A share of nothing is 0.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from pipeline.stage import Params

Counts = Mapping[str, np.ndarray]


@dataclass(frozen=True, slots=True)
class Rule:
    """`field` is the limit's; a document breaks it with a value below it ("least") or above it ("most")."""

    field: str
    sense: Literal["least", "most"]
    count: str
    per: str | None = None


class Group(Params):
    """Base of a group's params."""

    def limit(self, rule: Rule) -> float | None:
        """Return the limit of a rule that is on. A rule that is on or off, without a number, allows none."""
        value = getattr(self, rule.field)
        return 0.0 if value is True else None if value is None or value is False else float(value)


def values(rule: Rule, counts: Counts) -> np.ndarray:
    """Return float64 [N], what the rule compares with its limit."""
    found = counts[rule.count].astype(np.float64)
    if rule.per is None:
        return found
    whole = counts[rule.per]
    return np.divide(found, whole, out=np.zeros_like(found), where=whole > 0)


def broken(group: Group, rules: Sequence[Rule], counts: Counts) -> Iterator[tuple[str, np.ndarray]]:
    """Yield (field, bool [N]) of the rules that are on: which documents break it."""
    for rule in rules:
        limit = group.limit(rule)
        if limit is not None:
            found = values(rule, counts)
            yield rule.field, found < limit if rule.sense == "least" else found > limit
