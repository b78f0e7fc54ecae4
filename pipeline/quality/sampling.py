"""Draw documents by score instead of cutting them off: the ranking key with a temperature.

Sampling without replacement with p proportional to exp(z / temperature), z the score less its mean, divided by its
standard deviation over all documents that are ranked (Wettig et al. 2024, QuRating: ratings as logits over documents).
By the Gumbel top-k trick (Vieira 2014; Kool et al. 2019) that is the head of the ranking by

    z / temperature + Gumbel(draw(seed, doc_id))

A temperature towards 0 cuts by score, towards infinity draws evenly. The moments are exact sums of the scores'
mantissas by exponent, so they are the same however the documents lie in shards.

Letters: N documents, X the 256 exponents of a float32.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from pipeline.kernels.gumbel import gumbel
from pipeline.kernels.hashing import draw
from pipeline.stage import Params

STREAM = 0x5E1EC7
_EXPONENTS = 256
_LOWEST = -149
"""A float32 is a whole number of at most 24 bits, times two to the power of this and its exponent field."""
_LOW_BITS = np.int64((1 << 24) - 1)


class Scale(Params):
    """Mean and standard deviation of the scores that are ranked."""

    mean: float = 0.0
    deviation: float = 0.0


@dataclass(frozen=True)
class Moments:
    """Exact sums of scores and of their squares, by exponent; a square's upper and lower 24 bits apart."""

    count: int
    sums: np.ndarray  # int64 [X]
    upper: np.ndarray  # int64 [X]
    lower: np.ndarray  # int64 [X]

    @classmethod
    def of(cls, scores_N: np.ndarray) -> "Moments":
        """Return the moments of finite scores."""
        bits = scores_N.astype(np.float32).view(np.uint32)
        field = ((bits >> np.uint32(23)) & np.uint32(0xFF)).astype(np.int64)
        mantissa = (bits & np.uint32(0x7FFFFF)).astype(np.int64) + ((field > 0).astype(np.int64) << 23)
        exponent = np.maximum(field, 1)
        signed = np.where(bits >> np.uint32(31), -mantissa, mantissa)
        square = mantissa * mantissa
        parts = (signed, square >> 24, square & _LOW_BITS)
        return cls(len(scores_N), *(_by_exponent(exponent, part) for part in parts))

    def __add__(self, other: "Moments") -> "Moments":
        pairs = ((self.sums, other.sums), (self.upper, other.upper), (self.lower, other.lower))
        return Moments(self.count + other.count, *(a + b for a, b in pairs))

    def scale(self) -> Scale:
        """Return mean and standard deviation, each rounded once; both 0 where there is no score."""
        if not self.count:
            return Scale()
        power = [Fraction(2) ** (exponent - 1 + _LOWEST) for exponent in range(_EXPONENTS)]
        mean = sum((int(s) * p for s, p in zip(self.sums, power, strict=True)), Fraction()) / self.count
        squares = [(int(u) << 24) + int(v) for u, v in zip(self.upper, self.lower, strict=True)]
        mean_square = sum((s * p * p for s, p in zip(squares, power, strict=True)), Fraction()) / self.count
        return Scale(mean=float(mean), deviation=math.sqrt(mean_square - mean * mean))


def total(parts: Iterable[Moments]) -> Moments:
    """Return the moments of all parts."""
    return sum(parts, Moments.of(np.zeros(0, np.float32)))


def perturbed(
    scores_N: np.ndarray, ids_N2: np.ndarray, temperature: float | str | None, seed: int, scale: Scale
) -> np.ndarray:
    """Return float32 [N] to rank by, the highest first.

    Args:
        scores_N: float32.
        ids_N2: uint64, of the documents: equal ones are drawn together.
        temperature: above 0, or "infinite".
    """
    noise = gumbel(draw(seed, ids_N2, STREAM))
    if temperature == "infinite" or not scale.deviation:
        return noise.astype(np.float32)
    z = (scores_N.astype(np.float64) - scale.mean) / (scale.deviation * float(temperature or 1))
    return (z + noise).astype(np.float32)


def _by_exponent(exponent_N: np.ndarray, values_N: np.ndarray) -> np.ndarray:
    # Exact: bincount adds in float64, which holds 2^29 numbers of 24 bits.
    return np.bincount(exponent_N, values_N, minlength=_EXPONENTS).astype(np.int64)
