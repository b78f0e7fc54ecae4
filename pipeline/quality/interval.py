"""Is the selection better than random subsets? An interval for the difference, from a handful of trainings.

Let the random runs have mean r, deviation s_r and number n, the runs on the selection mean s and deviation s_s over k
seeds. The gain r - s (bits per byte, so more is better) has the interval

    r - s  +-  t * sqrt(s_r**2 / n + max(s_r**2, s_s**2 / k)),   t the Student quantile of n - 1 degrees of freedom.

It is the prediction interval for one more random subset (Hahn and Meeker, Statistical Intervals, 1991, section 4.7):
the question is whether the selection could be one. Its own seeds are averages over training noise and know nothing of
how much a subset more or less matters, so the selection counts with the variance of a random run, or with that of its
own seeds where it is larger. A selection that is drawn at random is called better or worse in at most 5 % of cases.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import fmean, stdev
from typing import Any, Literal

Verdict = Literal["better", "worse", "no difference shown"]


@dataclass(frozen=True)
class Comparison:
    """Selected against random, in bits per byte: means, deviations of single runs, the gain and its interval."""

    selected_mean: float
    selected_deviation: float
    random_mean: float
    random_deviation: float
    gain: float
    low: float
    high: float
    verdict: Verdict

    def to_json(self, digits: int = 6) -> dict[str, Any]:
        """Return the fields with numbers rounded."""
        return {name: round(v, digits) if isinstance(v, float) else v for name, v in asdict(self).items()}


def compared(selected: Sequence[float], random: Sequence[float], confidence: float = 0.95) -> Comparison:
    """Return what two or more runs of each kind say."""
    means = fmean(selected), fmean(random)
    deviations = stdev(selected), stdev(random)
    variance = deviations[1] ** 2 / len(random) + max(deviations[1] ** 2, deviations[0] ** 2 / len(selected))
    reach = student_quantile(0.5 + confidence / 2, len(random) - 1) * math.sqrt(variance)
    gain = means[1] - means[0]
    verdict: Verdict = "better" if gain - reach > 0 else "worse" if gain + reach < 0 else "no difference shown"
    return Comparison(means[0], deviations[0], means[1], deviations[1], gain, gain - reach, gain + reach, verdict)


def student_quantile(probability: float, degrees: int) -> float:
    """Return the t below which a Student variable lies with a probability of 0.5 or more, by bisection."""
    low, high = 0.0, 1.0
    while student_probability(high, degrees) < probability:
        high *= 2
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if student_probability(middle, degrees) < probability else (low, middle)
    return high


def student_probability(t: float, degrees: int) -> float:
    """Return P(T <= t) for t >= 0 and whole degrees of freedom (Abramowitz and Stegun 1964, 26.7.3 and 26.7.4)."""
    angle = math.atan2(t, math.sqrt(degrees))
    odd = degrees % 2
    term = total = math.cos(angle) if odd else 1.0
    for k in range(2 + odd, degrees - 1, 2):
        term *= (k - 1) / k * math.cos(angle) ** 2
        total += term
    if odd:
        total = 2 / math.pi * (angle + (math.sin(angle) * total if degrees > 1 else 0.0))
    else:
        total *= math.sin(angle)
    return 0.5 + total / 2
