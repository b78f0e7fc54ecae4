"""The weighted mean of some targets' losses, as fitted laws expect it of a mixture, and how sure they are.

Laws look at effective shares (see `mixture.repetition`). The deviation of the mean is the weighted mean of the targets'
deviations, as if they erred together; its conformal factor is found on the mean's own held-out errors.

N runs, M mixtures asked about, D domains, T targets.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from pipeline.mixture.regress.arrays import Array
from pipeline.mixture.regress.laws import Fitted, quantile
from pipeline.mixture.repetition import Repetition

_USUAL = 0.68  # of the held-out errors, as many as lie within one deviation of a normal distribution


@dataclass(frozen=True)
class Objective:
    """Targets' laws and their weights, which sum to 1."""

    laws: Mapping[str, Fitted]
    weights: Mapping[str, float]
    repetition: Repetition

    def predict(self, weights_MD: Array) -> Array:
        """Return the mean loss expected of each mixture, [M]."""
        return self._mean({name: self.laws[name].predict(self._seen(weights_MD)) for name in self.weights})

    def half_width(self, weights_MD: Array) -> Array:
        """Return how far from its prediction the mean loss of a run of each mixture lies at most, in 9 of 10, [M]."""
        seen_MD = self._seen(weights_MD)
        return self.width() * self._mean({n: self.laws[n].process.with_spread(seen_MD)[1] for n in self.weights})

    def gain(self, from_D: Array, to_D: Array) -> tuple[float, float]:
        """Return by how much the mean loss is expected to fall, and the laws' usual error: two of three are smaller."""
        expected_2 = self.predict(np.stack([from_D, to_D]))
        return float(expected_2[0] - expected_2[1]), quantile(np.abs(self.errors()), _USUAL)

    def errors(self) -> Array:
        """Return the held-out errors of the mean, [N]."""
        return self._mean({name: self.laws[name].errors_N for name in self.weights})

    def width(self) -> float:
        """Return the conformal factor of the mean's deviation."""
        spreads_N = self._mean({name: self.laws[name].spreads_N for name in self.weights})
        return quantile(np.abs(self.errors()) / spreads_N)

    def curve(self, weights_D: Array) -> tuple[float, Array, Array]:
        """Return value, gradient and Hessian of the mean of the power laws, which is convex."""
        size = len(weights_D)
        value, gradient_D, hessian_DD = 0.0, np.zeros(size), np.zeros((size, size))
        seen_D = self.repetition.effective(weights_D)
        for name, weight in self.weights.items():
            v, g, h = self.laws[name].curve(seen_D)
            value, gradient_D, hessian_DD = value + weight * v, gradient_D + weight * g, hessian_DD + weight * h
        slope_D, bend_D = self.repetition.slopes(weights_D)
        return value, gradient_D * slope_D, hessian_DD * np.outer(slope_D, slope_D) + np.diag(gradient_D * bend_D)

    def _seen(self, weights_MD: Array) -> Array:
        return self.repetition.effective(weights_MD)

    def _mean(self, values: Mapping[str, Array]) -> Array:
        mean: Array = np.asarray(sum(self.weights[name] * values[name] for name in self.weights), float)
        return mean
