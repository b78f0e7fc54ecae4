"""What the laws share: the type of their arrays, losses on a common scale, and folds that follow the mixtures.

N runs, D domains.
"""

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[np.float64]]
Places = np.ndarray[Any, np.dtype[np.intp]]

FOLDS = 5


@dataclass(frozen=True, slots=True)
class Scale:
    """The middle and the spread of some losses; a law is fitted to (loss - middle) / spread."""

    middle: float
    spread: float

    @classmethod
    def of(cls, losses_N: Array) -> "Scale":
        """Return the median and the standard deviation; a spread of 1 where all losses are the same."""
        spread = float(np.std(losses_N))
        return cls(float(np.median(losses_N)), spread if spread > 1e-12 * max(1.0, abs(losses_N[0])) else 1.0)

    def down(self, losses: Array) -> Array:
        """Return losses on the common scale."""
        return (losses - self.middle) / self.spread

    def up(self, values: Array) -> Array:
        """Return values of the common scale as losses."""
        return self.middle + self.spread * values


def mixture_keys(weights_ND: Array) -> list[str]:
    """Return a hash of every mixture, by its weights to nine digits; runs of one mixture have one key."""
    rounded = np.round(weights_ND, 9) + 0.0  # no negative zero
    return [hashlib.sha256(row.tobytes()).hexdigest() for row in np.ascontiguousarray(rounded, "<f8")]


def folds(weights_ND: Array, count: int = FOLDS) -> Places:
    """Return the fold of every run, 0 to count - 1, by its mixture alone.

    Runs of one mixture share a fold: a replicate in the fitted part would give away the held-out one. Folds are as
    equal in mixtures as can be, and do not depend on the order of the runs.
    """
    keys = mixture_keys(weights_ND)
    place = {key: index for index, key in enumerate(sorted(set(keys)))}
    return np.array([place[key] % count for key in keys], np.intp)


def rank_correlation(a_N: Array, b_N: Array) -> float:
    """Return Spearman's correlation, ties by their mean rank; 0 where one side is constant."""
    a, b = _ranks(a_N), _ranks(b_N)
    a, b = a - a.mean(), b - b.mean()
    size = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / size if size else 0.0


def _ranks(values_N: Array) -> Array:
    _, places, counts = np.unique(values_N, return_inverse=True, return_counts=True)
    ranks: Array = (np.cumsum(counts) - (counts - 1) / 2)[places]
    return ranks
