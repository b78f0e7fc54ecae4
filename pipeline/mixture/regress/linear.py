"""Two laws of few parameters: ordinary least squares, and the exponential law of data mixing.

Linear: loss = c + sum_j t_j w_j. Exponential: loss = c + k exp(sum_j t_j w_j) (Ye et al. 2024, "Data mixing laws",
equation 7); k is in the t_j, for the weights sum to 1.

N runs, D domains.
"""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from pipeline.mixture.regress import least_squares
from pipeline.mixture.regress.arrays import Array, Scale

_STRENGTH = 0.03
_STEEPEST = 30.0


@dataclass(frozen=True, slots=True)
class Linear:
    """A constant and a slope a domain, on the scale of the losses."""

    constant: float
    slope_D: Array
    scale: Scale

    @classmethod
    def fit(cls, weights_ND: Array, losses_N: Array) -> Self:
        """Return the least-squares fit of least norm: the weights sum to 1, so one slope is free."""
        scale, middle_D = Scale.of(losses_N), weights_ND.mean(0)
        y_N = scale.down(losses_N)
        slope_D = np.linalg.lstsq(weights_ND - middle_D, y_N - y_N.mean(), rcond=1e-9)[0]
        return cls(float(y_N.mean() - middle_D @ slope_D), slope_D, scale)

    def predict(self, weights_ND: Array) -> Array:
        """Return the loss of each mixture, [N]."""
        return self.scale.up(self.constant + weights_ND @ self.slope_D)

    def state(self) -> dict[str, Any]:
        """Return the law as JSON."""
        return _state(self.constant, self.slope_D, self.scale)

    @classmethod
    def restore(cls, state: dict[str, Any]) -> Self:
        """Return the law that `state` describes."""
        return cls(state["constant"], np.array(state["slope"], float), Scale(state["middle"], state["spread"]))


@dataclass(frozen=True, slots=True)
class Exponential:
    """A constant and an exponent a domain, on the scale of the losses."""

    constant: float
    slope_D: Array
    scale: Scale

    @classmethod
    def fit(cls, weights_ND: Array, losses_N: Array) -> Self:
        """Return the mode under a weak prior around c = -0.5 and no slopes."""
        scale, domains = Scale.of(losses_N), weights_ND.shape[1]
        y_N, mean_P = scale.down(losses_N), np.r_[-0.5, np.zeros(domains)]

        def residuals(p: Array) -> tuple[Array, Array]:
            power_N = np.exp(np.clip(weights_ND @ p[1:], -_STEEPEST, _STEEPEST))
            return p[0] + power_N - y_N, np.column_stack([np.ones(len(y_N)), power_N[:, None] * weights_ND])

        p, _ = least_squares.solve(residuals, mean_P, mean_P, _STRENGTH * np.r_[0.1, np.ones(domains)])
        return cls(float(p[0]), p[1:], scale)

    def predict(self, weights_ND: Array) -> Array:
        """Return the loss of each mixture, [N]."""
        return self.scale.up(self.constant + np.exp(np.clip(weights_ND @ self.slope_D, -_STEEPEST, _STEEPEST)))

    def state(self) -> dict[str, Any]:
        """Return the law as JSON."""
        return _state(self.constant, self.slope_D, self.scale)

    @classmethod
    def restore(cls, state: dict[str, Any]) -> Self:
        """Return the law that `state` describes."""
        return cls(state["constant"], np.array(state["slope"], float), Scale(state["middle"], state["spread"]))


def _state(constant: float, slope_D: Array, scale: Scale) -> dict[str, Any]:
    return {"constant": constant, "slope": slope_D.tolist(), "middle": scale.middle, "spread": scale.spread}
