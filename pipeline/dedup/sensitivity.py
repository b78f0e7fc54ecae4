"""What bands can find, and which bands find what is asked for: the arithmetic of MinHash LSH, without a document.

    chance(s) = 1 - (1 - s**r)**b

is the probability that two documents of Jaccard similarity s share one of b bands of r rows, and so are compared
(Leskovec, Rajaraman, Ullman: Mining of Massive Datasets, section 3.4.2). `solved` turns it round: of all b and r with
chance(T) >= recall it takes those of least

    cost = b * r + COMPARED * (area under the curve from 0 to T)

counted in hash values of a document. The first term is the signing. The second are candidates in vain: if the
documents that one is like are spread evenly over the similarities, the area below the threshold T is the number of
them that are compared for nothing. (datasketch's `_optimal_param` weighs the same area against the one missed above the
threshold; here the miss is not weighed but bounded, by what the user asks for.)
"""

import math
from collections.abc import Iterator
from functools import lru_cache
from typing import Literal, NamedTuple

MOST_VALUES = 1024
"""Hash values a document, at most: what `solved` looks through."""

COMPARED = 3000
"""Weight of the area: some 6 neighbours a unit of similarity, and a comparison of two documents, whose shingles are
hashed anew and sorted, costs some 500 hash values."""

_STEPS = 256
"""Of the sum that stands for the area; the curve is smooth, and two choices never lie that near."""


class Bands(NamedTuple):
    """How a signature is cut: `bands` keys of `rows` hash values each."""

    bands: int
    rows: int


Preset = Literal["fineweb", "nemo"]

DEFAULT = Bands(20, 6)
PRESETS: dict[Preset, Bands] = {"fineweb": Bands(14, 8), "nemo": Bands(20, 13)}
"""Bands that others publish. FineWeb: 112 values over word 5-grams, as ours by default. NeMo Curator: 260 values, there
over 24-grams of characters; here its bands on our shingles."""


def chance(similarity: float, *, bands: int, rows: int) -> float:
    """Return the probability that two documents of this similarity are compared."""
    return 1 - (1 - similarity**rows) ** bands


def in_vain(threshold: float, *, bands: int, rows: int) -> float:
    """Return the area under the curve from 0 to the threshold, by the midpoint rule."""
    width = threshold / _STEPS
    return width * math.fsum(chance((i + 0.5) * width, bands=bands, rows=rows) for i in range(_STEPS))


def cost(threshold: float, shape: Bands) -> float:
    """Return what the bands cost a document, in hash values."""
    return shape.bands * shape.rows + COMPARED * in_vain(threshold, bands=shape.bands, rows=shape.rows)


@lru_cache
def solved(threshold: float, recall: float) -> Bands:
    """Return the bands of least cost that compare a pair at exactly `threshold` with probability `recall` or more.

    Args:
        threshold: 0 < T <= 1.
        recall: 0 < recall < 1.

    Raises:
        ValueError: none with at most MOST_VALUES hash values do; says what they reach and what to change.
    """
    shapes = list(_fewest(threshold, recall))
    if not shapes:
        most = chance(threshold, bands=MOST_VALUES, rows=1)
        raise ValueError(
            f"recall: {recall} at a threshold of {threshold} is out of reach: {MOST_VALUES:,} hash values a document, "
            f"the most there are, find {most:.4f} of the pairs; ask for less, or raise `threshold`"
        )
    return min(shapes, key=lambda shape: (cost(threshold, shape), shape))


def _fewest(threshold: float, recall: float) -> Iterator[Bands]:
    """Yield, for each number of rows, the least bands that reach the recall; more would only cost more."""
    for rows in range(1, MOST_VALUES + 1):
        missed = 1 - threshold**rows  # by one band
        if missed == 1:
            return
        bands = max(1, math.ceil(math.log1p(-recall) / math.log(missed))) if missed else 1
        if bands * rows > MOST_VALUES + rows:
            continue
        # The logarithms may be off by one unit in the last place, and that by one band.
        while bands > 1 and chance(threshold, bands=bands - 1, rows=rows) >= recall:
            bands -= 1
        while chance(threshold, bands=bands, rows=rows) < recall:
            bands += 1
        if bands * rows <= MOST_VALUES:
            yield Bands(bands, rows)


def told(shape: Bands, threshold: float, recall: float | None = None) -> str:
    """Return the sentence that a plan says about its bands."""
    found = chance(threshold, bands=shape.bands, rows=shape.rows)
    asked = "" if recall is None else f" (asked: {recall:g})"
    return (
        f"dedup: {shape.bands} bands x {shape.rows} rows: a pair at J = {threshold:g} is compared with probability "
        f"{_below_one(found)}{asked}"
    )


def _below_one(probability: float) -> str:
    """Return a probability with four digits, and never as 1 unless it is."""
    return f"{probability:.4f}" if probability == 1 or probability < 0.99995 else "over 0.9999"
