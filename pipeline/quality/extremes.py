"""The documents of highest or lowest predictive strength, exact to one document, without a sort.

A document's key is its strength (falling for `top`) and behind it a draw, so ties at the cut are broken by the draw.
Each pass over the narrow columns counts the documents by the next 16 bits of the key, below the bits that are known
already, and finds those at which the wanted number is reached: a radix select over merged histograms.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from pipeline.histogram import Histogram
from pipeline.kernels.hashing import draw

TIES = 2003  # stream of draws
# The 16-bit digits of a key, first to last: (word, shift); word 0 is the strength, word 1 the draw.
DIGITS = ((0, 16), (0, 0), (1, 48), (1, 32), (1, 16), (1, 0))
DIGIT = 0xFFFF
TOP = np.uint64(0xFFFFFFFF)


class Cut(NamedTuple):
    """The last key that is taken."""

    strength: int
    draw: int

    def takes(self, keys_2N: np.ndarray) -> np.ndarray:
        """Return which keys are taken, bool [N]."""
        found: np.ndarray = (keys_2N[0] < self.strength) | ((keys_2N[0] == self.strength) & (keys_2N[1] <= self.draw))
        return found


def keys(strengths_N: np.ndarray, ids_N2: np.ndarray, seed: int, *, falling: bool) -> np.ndarray:
    """Return the key of each document, uint64 [2, N]; the strongest have the smallest if `falling`, else the largest.

    `strengths_N` is float32 in [0, 1]; what the key of an unknown one (NaN) is does not matter.
    """
    rising = (strengths_N + np.float32(0)).astype(np.float32).view(np.uint32).astype(np.uint64)  # -0.0 is 0.0
    draws = draw(seed, ids_N2, TIES)
    return np.stack([TOP - rising, ~draws] if falling else [rising, draws])  # so two halves have nothing in common


def by_digit(keys_2N: np.ndarray, known: tuple[int, ...]) -> Histogram:
    """Return the documents by the next digit of their keys, of those whose keys begin with the known digits."""
    chosen = np.ones(keys_2N.shape[1], bool)
    for place, digit in enumerate(known):
        chosen &= _digit(keys_2N, place) == digit
    digits = _digit(keys_2N[:, chosen], len(known))
    return Histogram.of(digits, np.ones(len(digits), np.int64))


def first(wanted: Callable[[int], int], count: Callable[[tuple[int, ...]], Histogram]) -> Cut:
    """Return the cut below which lie the first `wanted(total)` documents, or all if there are not that many.

    `count(known)` is the histogram of all shards together, as `by_digit` makes it.
    """
    digits: tuple[int, ...] = ()
    missing = None
    while len(digits) < len(DIGITS):
        histogram = count(digits)
        if missing is None:
            missing = wanted(histogram.total_documents)
            if missing >= histogram.total_documents:
                break
        place = histogram.reaching_documents(missing)
        missing -= int(histogram.documents[:place].sum())
        digits += (int(histogram.bins[place]),)
        if missing == histogram.documents[place]:
            break
    words = [0, 0]
    for place, (word, shift) in enumerate(DIGITS):
        words[word] |= (digits[place] if place < len(digits) else DIGIT) << shift
    return Cut(words[0], words[1])


def _digit(keys_2N: np.ndarray, place: int) -> np.ndarray:
    word, shift = DIGITS[place]
    found: np.ndarray = (keys_2N[word] >> np.uint64(shift)) & np.uint64(DIGIT)
    return found
