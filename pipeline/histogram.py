"""Sparse histograms with exact integer sums: what a shard tells about a ranking without sending its rows."""

from collections.abc import Hashable
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

Name = TypeVar("Name", bound=Hashable)


@dataclass(frozen=True)
class Histogram:
    """Documents and their weight by bin; only bins with documents are there, in ascending order."""

    bins: np.ndarray  # uint64 [B]
    documents: np.ndarray  # int64 [B]
    weights: np.ndarray  # int64 [B]

    @classmethod
    def of(cls, bins_N: np.ndarray, weights_N: np.ndarray) -> "Histogram":
        """Return the histogram of N documents."""
        return _summed(bins_N.astype(np.uint64), np.ones(len(bins_N), np.int64), weights_N.astype(np.int64))

    def __add__(self, other: "Histogram") -> "Histogram":
        return _summed(
            np.concatenate([self.bins, other.bins]),
            np.concatenate([self.documents, other.documents]),
            np.concatenate([self.weights, other.weights]),
        )

    def where(self, chosen_B: np.ndarray) -> "Histogram":
        """Return the histogram of some of the bins (bool)."""
        return Histogram(self.bins[chosen_B], self.documents[chosen_B], self.weights[chosen_B])

    @property
    def total_documents(self) -> int:
        return int(self.documents.sum())

    @property
    def total_weight(self) -> int:
        return int(self.weights.sum())

    def reaching_weight(self, weight: int) -> int:
        """Return the place of the first bin with which the sum of weights is `weight` or more; the last if none is."""
        return _reaching(self.weights, weight)

    def reaching_documents(self, documents: int) -> int:
        """Return the place of the first bin with which there are `documents` or more; the last if there never are."""
        return _reaching(self.documents, documents)


def merged(first: dict[Name, Histogram], second: dict[Name, Histogram]) -> dict[Name, Histogram]:
    """Return the sums of two results, name by name."""
    return first | {name: first[name] + h if name in first else h for name, h in second.items()}


def _summed(bins: np.ndarray, documents: np.ndarray, weights: np.ndarray) -> Histogram:
    order = np.argsort(bins, kind="stable")
    bins = bins[order]
    starts = np.flatnonzero(np.r_[True, bins[1:] != bins[:-1]]) if len(bins) else np.empty(0, np.int64)
    if not len(starts):
        return Histogram(bins, documents, weights)
    return Histogram(bins[starts], np.add.reduceat(documents[order], starts), np.add.reduceat(weights[order], starts))


def _reaching(sums: np.ndarray, least: int) -> int:
    return min(int(np.searchsorted(np.cumsum(sums), least)), len(sums) - 1)
