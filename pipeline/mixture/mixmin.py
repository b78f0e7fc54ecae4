"""MixMin: what a mixture of the domains' own models says, which is convex in the mixture, and its exact minimum.

With p_d(x) what the model of domain d says of byte x, a target costs

    loss(w) = - mean_x log2 sum_d w_d p_d(x)

bits per byte (Thudi et al. 2025, "MixMin: finding data mixtures via convex minimization", equation 2): the best model
of a mixture is the mixture of the best models. One model a domain tells all mixtures.

L leaves (bytes of the targets that all models take for the same), D domains, T targets, M mixtures.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.mixture import optimum
from pipeline.mixture.optimum import Curve
from pipeline.mixture.regress.arrays import Array

_CHUNK = 64


@dataclass(frozen=True)
class MixMin:
    """Probabilities of the leaves by domain, and how often each comes, as a share of its target's bytes.

    Leaves firsts[t] to firsts[t + 1] are those of target t.
    """

    likely_LD: Array
    shares_L: Array
    firsts: Any

    def losses(self, weights_MD: Array) -> Array:
        """Return bits per byte of every target under every mixture, [M, T]."""
        parts = [self._bits(weights_MD[at : at + _CHUNK]) for at in range(0, len(weights_MD), _CHUNK)]
        return np.concatenate([np.empty((0, len(self.firsts) - 1)), *parts])

    def curve(self, targets_T: Array) -> Curve:
        """Return the weighted sum of the targets' losses as a function: mixture -> value, gradient, Hessian."""
        weighed_L = np.repeat(targets_T, np.diff(self.firsts)) * self.shares_L / np.log(2)

        def at(weights_D: Array) -> tuple[float, Array, Array]:
            mixed_L = self.likely_LD @ weights_D
            scaled_LD = self.likely_LD / mixed_L[:, None]
            value = -float(weighed_L @ np.log(mixed_L))
            return value, -(weighed_L @ scaled_LD), scaled_LD.T @ (scaled_LD * weighed_L[:, None])

        return at

    def best(self, targets_T: Array, low_D: Array, high_D: Array) -> Array:
        """Return the mixture within bounds that costs the weighted targets least, [D]."""
        return optimum.least(self.curve(targets_T), low_D, high_D)

    def _bits(self, weights_MD: Array) -> Array:
        bits_LM = -np.log2(self.likely_LD @ weights_MD.T) * self.shares_L[:, None]
        return np.stack([bits_LM[a:b].sum(0) for a, b in zip(self.firsts, self.firsts[1:], strict=False)], axis=1)
