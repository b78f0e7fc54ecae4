"""Weighted quantiles of any number of score columns in two passes, exact, by merged histograms and without a sort.

The edge of part k of n is the least score above c_k, the lowest score at which the scores up to it weigh k/n of all. So
equal scores are in one part, the lower one where a cut goes through them: a scorer that says the same of all documents
lifts none of them.

The first pass adds up the weights by the upper 16 bits of the score, the second by all 32 for the bins that hold a cut.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import pyarrow as pa

from pipeline.histogram import Histogram, merged
from pipeline.quality.scores import from_bits, rising

Name = tuple[str, str]
"""A column and a scope."""
View = Callable[[pa.RecordBatch], Iterator[tuple[Name, np.ndarray, np.ndarray]]]
"""Of a batch, by name: float32 scores and int64 weights of the documents that count."""


@dataclass(frozen=True)
class Coarse:
    """Where the cuts of one name lie after the first pass: their upper bits, and what is still to be reached there."""

    upper: tuple[int, ...]
    missing: tuple[int, ...]


def histograms(
    batches: Iterable[pa.RecordBatch], *, view: View, known: Mapping[Name, tuple[int, ...]] | None
) -> dict[Name, Histogram]:
    """Return by name the weights by the scores' upper 16 bits; or, of the `known` upper bits, by all 32."""
    total: dict[Name, Histogram] = {}
    for batch in batches:
        for name, scores, weights in view(batch):
            keys = rising(scores)
            if known is None:
                part = Histogram.of(keys >> np.uint32(16), weights)
            else:
                chosen = np.isin(keys >> np.uint32(16), np.array(known.get(name, ()), np.uint32))
                part = Histogram.of(keys[chosen], weights[chosen])
            total = merged(total, {name: part})
    return total


def coarse(histogram: Histogram, shares: Iterable[Fraction]) -> Coarse:
    """Return where the scores reach these shares of the weight, to the upper 16 bits."""
    upper, missing = [], []
    for share in shares:
        goal = math.ceil(share * histogram.total_weight)
        place = histogram.reaching_weight(goal)
        upper.append(int(histogram.bins[place]))
        missing.append(goal - int(histogram.weights[:place].sum()))
    return Coarse(tuple(upper), tuple(missing))


def edges(found: Coarse, histogram: Histogram) -> tuple[float, ...]:
    """Return the least score above each cut, from the weights by all 32 bits of the bins that hold the cuts."""
    result = []
    for upper, missing in zip(found.upper, found.missing, strict=True):
        bin_ = histogram.where(histogram.bins >> np.uint64(16) == upper)
        cut = from_bits(int(bin_.bins[bin_.reaching_weight(missing)]))
        result.append(float(np.nextafter(cut, np.float32(np.inf))))
    return tuple(result)


def parts(count: int) -> list[Fraction]:
    """Return the shares at which `count` equal parts are divided."""
    return [Fraction(k, count) for k in range(1, count)]


def solve(
    fold: Callable[[Mapping[Name, tuple[int, ...]] | None], dict[Name, Histogram] | None], count: int
) -> dict[Name, tuple[float, ...]]:
    """Return by name the edges of `count` parts of equal weight.

    Args:
        fold: runs `histograms` over everything, for the upper bits given.
    """
    first = {name: coarse(histogram, parts(count)) for name, histogram in (fold(None) or {}).items()}
    if not first:
        return {}
    second = fold({name: tuple(sorted(set(found.upper))) for name, found in first.items()}) or {}
    return {name: edges(found, second[name]) for name, found in first.items()}
