"""What a domain's tokens are worth that come again.

D tokens of a domain that has U are worth D' = U + U R* (1 - exp(-R / R*)) with R = D / U - 1 repetitions and R* =
15.387756 (Muennighoff et al. 2023, "Scaling data-constrained language models", equation 5 and its fit); up to one epoch
D' = D. The curve is concave, so a law that is convex in effective shares is convex in shares.

M mixtures, D domains.
"""

from dataclasses import dataclass

import numpy as np

from pipeline.mixture.regress.arrays import Array

HALF_LIFE = 15.387756


@dataclass(frozen=True)
class Repetition:
    """`once_D` is the share of the budget that one epoch of each domain makes; infinite where there is no budget."""

    once_D: Array

    def effective(self, weights_MD: Array) -> Array:
        """Return what the shares are worth, as shares, [M, D]."""
        again_MD = self._again(weights_MD)
        worth_MD = self._finite() * (1 + HALF_LIFE * -np.expm1(-again_MD / HALF_LIFE))
        return np.where(again_MD > 0, worth_MD, weights_MD)

    def slopes(self, weights_D: Array) -> tuple[Array, Array]:
        """Return the first and the second derivative of each share's worth, [D]."""
        again_D = self._again(weights_D)
        slope_D = np.exp(-again_D / HALF_LIFE)
        bend_D = np.where(again_D > 0, -slope_D / (HALF_LIFE * self._finite()), 0.0)
        return slope_D, bend_D

    def _again(self, weights: Array) -> Array:
        """Return how often tokens come again."""
        finite = np.isfinite(self.once_D) & (self.once_D > 0)
        return np.where(finite, np.maximum(weights / self._finite() - 1, 0), 0.0)

    def _finite(self) -> Array:
        return np.where(np.isfinite(self.once_D) & (self.once_D > 0), self.once_D, 1.0)
