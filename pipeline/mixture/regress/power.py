"""The power law of effective data: loss = c + (e0 + sum_j a_j w_j^g_j)^-alpha, with 0 < g_j < 1 and a_j > 0.

The inner sum is concave in the mixture and the outer power falls and is convex, so the loss is convex in the mixture:
its optimum under linear constraints is the only one and can be found exactly. Every domain has its own worth a_j and
its own diminishing return g_j; with one domain it is the scaling law c + A n^-(alpha g) in that domain's tokens.

Fitted as the mode under a Gaussian prior over (c, log alpha, logit g, log e0, log a) on the scale of `Scale`, whose
strength is chosen by cross-validation. Predictions are held to half a standard deviation around the losses seen.

N runs, D domains, P = 3 + 2 D parameters: c, log alpha, logit g_j, log e0, log a_j.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.mixture.regress import least_squares
from pipeline.mixture.regress.arrays import Array, Places, Scale

STRENGTHS = (0.02, 0.05, 0.1, 0.2, 0.4, 0.8)
MARGIN = 0.5
_LEAST = 1e-12
_LOWEST = 1e-6  # of a weight; below it w^g is taken as 0


@dataclass(frozen=True, slots=True)
class PowerLaw:
    """A fitted law: its parameters on the scale of the losses, and the range that predictions are held to."""

    constant: float
    alpha: float
    rest: float
    worth_D: Array
    gain_D: Array
    scale: Scale
    low: float
    high: float
    strength: float

    def predict(self, weights_ND: Array) -> Array:
        """Return the loss of each mixture, [N]."""
        return self.scale.up(np.clip(self.raw(weights_ND), self.low, self.high))

    def raw(self, weights_ND: Array) -> Array:
        """Return the law itself on the common scale, [N]: convex, not held to any range."""
        inner = self.rest + (self.worth_D * np.maximum(weights_ND, 0) ** self.gain_D).sum(1)
        return self.constant + inner**-self.alpha

    def curve(self, weights_D: Array) -> tuple[float, Array, Array]:
        """Return loss, gradient [D] and Hessian [D, D] at one mixture; at 0 the slope has no end, so 1e-12 is least."""
        weights_D = np.maximum(weights_D, _LEAST)
        terms = self.worth_D * weights_D**self.gain_D
        inner = self.rest + float(terms.sum())
        first = self.gain_D * terms / weights_D
        second = (self.gain_D - 1) * first / weights_D
        slope = -self.alpha * inner ** (-self.alpha - 1)
        bend = self.alpha * (self.alpha + 1) * inner ** (-self.alpha - 2)
        value = self.scale.middle + self.scale.spread * (self.constant + inner**-self.alpha)
        hessian = bend * np.outer(first, first) + slope * np.diag(second)
        return value, self.scale.spread * slope * first, self.scale.spread * hessian

    def state(self) -> dict[str, Any]:
        """Return the law as JSON."""
        return {
            "constant": self.constant,
            "alpha": self.alpha,
            "rest": self.rest,
            "worth": self.worth_D.tolist(),
            "gain": self.gain_D.tolist(),
            "middle": self.scale.middle,
            "spread": self.scale.spread,
            "low": self.low,
            "high": self.high,
            "strength": self.strength,
        }

    @classmethod
    def restore(cls, state: dict[str, Any]) -> "PowerLaw":
        """Return the law that `state` describes."""
        fields: dict[str, Any] = {
            name: state[name] for name in ("constant", "alpha", "rest", "low", "high", "strength")
        }
        fields |= {"worth_D": np.array(state["worth"], float), "gain_D": np.array(state["gain"], float)}
        return cls(**fields, scale=Scale(state["middle"], state["spread"]))


def fit(weights_ND: Array, losses_N: Array, folds_N: Places | None = None) -> tuple[PowerLaw, Array]:
    """Return the law, and what laws fitted without each fold say of that fold's runs, [N].

    The strength of the prior is that whose held-out errors are least. Without folds it is the middle one, and the
    second result is empty.
    """
    if folds_N is None:
        return fit_at(weights_ND, losses_N, STRENGTHS[len(STRENGTHS) // 2]), np.empty(0)
    best, best_error, held_out = STRENGTHS[-1], np.inf, np.empty(0)
    for strength in STRENGTHS:
        guesses_N = np.empty(len(losses_N))
        for fold in range(int(folds_N.max()) + 1):
            out = folds_N == fold
            guesses_N[out] = fit_at(weights_ND[~out], losses_N[~out], strength).predict(weights_ND[out])
        error = float(((guesses_N - losses_N) ** 2).sum())
        if error < best_error:
            best, best_error, held_out = strength, error, guesses_N
    return fit_at(weights_ND, losses_N, best), held_out


def fit_at(weights_ND: Array, losses_N: Array, strength: float) -> PowerLaw:
    """Return the law under a prior of this strength."""
    scale = Scale.of(losses_N)
    y_N, domains = scale.down(losses_N), weights_ND.shape[1]
    mean_P, relative_P = _prior(domains)
    terms = _Terms(weights_ND)

    def residuals(p: Array) -> tuple[Array, Array]:
        values_N, jacobian = terms.evaluate(p)
        return values_N - y_N, jacobian

    p, _ = least_squares.solve(residuals, mean_P, mean_P, strength * relative_P)
    return PowerLaw(
        constant=float(p[0]),
        alpha=float(np.exp(_held(p[1], -4, 1))),
        rest=float(np.exp(_held(p[2 + domains], -8, 3))),
        worth_D=np.exp(_held(p[3 + domains :], -12, 8)),
        gain_D=1 / (1 + np.exp(-p[2 : 2 + domains])),
        scale=scale,
        low=float(y_N.min()) - MARGIN,
        high=float(y_N.max()) + MARGIN,
        strength=strength,
    )


def _prior(domains: int) -> tuple[Array, Array]:
    """Return the means of the parameters and how strongly each is held to its own."""
    mean = np.r_[-0.5, np.log(0.5), np.full(domains, 0.3), np.log(0.05), np.zeros(domains)]
    relative = np.r_[0.1, 2.0, np.ones(domains), 2.0, np.ones(domains)]
    return mean, relative


def _held(values: Any, low: float, high: float) -> Any:
    return np.clip(values, low, high)


class _Terms:
    """The law and its derivatives at the runs' mixtures."""

    def __init__(self, weights_ND: Array):
        self.logs_ND = np.log(np.maximum(weights_ND, _LOWEST))
        self.there_ND = weights_ND > _LOWEST

    def evaluate(self, p: Array) -> tuple[Array, Array]:
        domains = self.logs_ND.shape[1]
        alpha, rest = np.exp(_held(p[1], -4, 1)), np.exp(_held(p[2 + domains], -8, 3))
        gain_D = 1 / (1 + np.exp(-p[2 : 2 + domains]))
        worth_D = np.exp(_held(p[3 + domains :], -12, 8))
        terms_ND = np.exp(gain_D * self.logs_ND) * self.there_ND * worth_D
        inner_N = rest + terms_ND.sum(1)
        power_N = inner_N**-alpha
        slope_N1 = (-alpha * power_N / inner_N)[:, None]
        jacobian = np.empty((len(inner_N), len(p)))
        jacobian[:, 0] = 1
        jacobian[:, 1] = -alpha * power_N * np.log(inner_N)
        jacobian[:, 2 : 2 + domains] = slope_N1 * terms_ND * self.logs_ND * (gain_D * (1 - gain_D))
        jacobian[:, 2 + domains] = slope_N1[:, 0] * rest
        jacobian[:, 3 + domains :] = slope_N1 * terms_ND
        return p[0] + power_N, jacobian
