"""What a document costs in a packed sequence: its tokens, the tokens around them, and what packing leaves out.

The mixture counts by it and packing takes by it, so that the plan is exact to the token. Letters: N documents.
"""

from typing import NamedTuple

import numpy as np


class Rule(NamedTuple):
    """How documents are counted: with an EOS each, and a BOS where asked.

    `sequence_length` is None unless something is left out by it: without `split` a document longer than a sequence, and
    otherwise the rest of one, behind its full pieces, that has fewer than `least_rest` tokens.
    """

    bos: bool = False
    sequence_length: int | None = None
    split: bool = True
    least_rest: int = 1


class Cost(NamedTuple):
    """Tokens of each document, all [N] int64; a document without tokens has zeros."""

    whole: np.ndarray
    """Tokens with BOS and EOS."""
    packed: np.ndarray
    """Those of them that are packed: the first ones; 0 of a document that is left out."""


def cost(plain_N: np.ndarray, rule: Rule) -> Cost:
    """Return what documents of `plain_N` tokens cost; an empty one has no BOS or EOS either."""
    plain = np.asarray(plain_N, np.int64)
    whole = np.where(plain > 0, plain + (2 if rule.bos else 1), 0)
    if rule.sequence_length is None:
        return Cost(whole, whole)
    longer = whole > rule.sequence_length
    if not rule.split:
        return Cost(whole, np.where(longer, 0, whole))
    rest = whole % rule.sequence_length
    return Cost(whole, np.where(longer & (rest < rule.least_rest), whole - rest, whole))
