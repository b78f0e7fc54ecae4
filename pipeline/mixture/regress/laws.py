"""One target's laws side by side: fitted, judged by runs they have not seen, and one of them chosen.

Every law is fitted without each fold of the runs and guesses that fold; the law with the least mean square of these
errors is chosen. `mean` is the mean of the power law and the process; it gives way only to a law whose squares are less
by two standard errors of their difference, for among few runs some law is the best by luck.

An interval around a prediction is conformal: its half-width is q s(w), s the process' deviation at the mixture and q
such that so many of the held-out runs lie within theirs (Lei et al. 2018, "Distribution-free predictive inference for
regression", 5.2). The held-out runs were guessed from fewer runs than there are, so it errs to the wide side.

With surfaces (see `regress.control`) all this is also done to what each of them leaves of the losses, and that is taken
whose held-out errors are least; without one, if none makes them less.

N runs, M mixtures asked about, D domains.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.mixture.regress import power, process
from pipeline.mixture.regress.arrays import Array, Places, folds, rank_correlation
from pipeline.mixture.regress.control import Control, controls
from pipeline.mixture.regress.linear import Exponential, Linear
from pipeline.mixture.regress.power import PowerLaw
from pipeline.mixture.regress.process import Process
from pipeline.mixture.regress.trees import Trees

OTHERS: dict[str, Any] = {"linear": Linear, "exponential": Exponential, "trees": Trees}
LAWS = (*OTHERS, "power", "process", "mean")
USUAL = ("linear", "exponential", "power", "process", "mean")
COVERAGE = 0.9


@dataclass(frozen=True)
class Judged:
    """What the held-out runs say of a law: root mean square error, Spearman's correlation, share of variance."""

    rmse: float
    spearman: float
    r2: float

    @classmethod
    def of(cls, guesses_N: Array, losses_N: Array) -> "Judged":
        """Return the figures; the share of variance is 0 where the losses have none."""
        error, variance = float(((guesses_N - losses_N) ** 2).mean()), float(losses_N.var())
        return cls(math.sqrt(error), rank_correlation(guesses_N, losses_N), 1 - error / variance if variance else 0.0)


@dataclass(frozen=True)
class Fitted:
    """A target's power law and process, the chosen law, and how wide its intervals are.

    `errors_N` are the chosen law's held-out errors (guess - loss) and `spreads_N` the process' deviations that went
    with them, in the order of the runs. The laws are of what `control` leaves of the losses.
    """

    law: str
    power: PowerLaw
    process: Process
    other: Any
    width: float
    judged: dict[str, Judged]
    errors_N: Array
    spreads_N: Array
    control: Control | None = None

    def predict(self, weights_MD: Array) -> Array:
        """Return the loss that the chosen law expects of each mixture, [M]."""
        rest_M = self._rest(weights_MD)
        return rest_M if self.control is None else rest_M + self.control.predict(weights_MD)

    def curve(self, weights_D: Array) -> tuple[float, Array, Array]:
        """Return value, gradient [D] and Hessian [D, D] of the power law, control variate and all: convex."""
        value, gradient_D, hessian_DD = self.power.curve(weights_D)
        if self.control is None:
            return value, gradient_D, hessian_DD
        more, slope_D, bend_DD = self.control.curve(weights_D)
        return value + more, gradient_D + slope_D, hessian_DD + bend_DD

    def _rest(self, weights_MD: Array) -> Array:
        if self.law == "power":
            return self.power.predict(weights_MD)
        if self.law == "process":
            return self.process.predict(weights_MD)
        if self.law == "mean":
            return (self.power.predict(weights_MD) + self.process.predict(weights_MD)) / 2
        guesses_M: Array = self.other.predict(weights_MD)
        return guesses_M

    def half_width(self, weights_MD: Array) -> Array:
        """Return how far from its prediction a run of each mixture lies at most, with a probability of 90 %, [M]."""
        return self.width * self.process.with_spread(weights_MD)[1]

    def state(self) -> dict[str, Any]:
        """Return all that is needed, beside the runs, to have the law again."""
        controlled = {"control": self.control.state()} if self.control else {}
        return controlled | {
            "law": self.law,
            "width": self.width,
            "power": self.power.state(),
            "process": self.process.state(),
            "other": self.other.state() if self.other else None,
            "judged": {name: vars(figures) for name, figures in self.judged.items()},
            "errors": self.errors_N.tolist(),
            "spreads": self.spreads_N.tolist(),
        }


def fit(
    weights_ND: Array, losses_N: Array, laws: Sequence[str] = USUAL, surfaces: Mapping[str, PowerLaw] | None = None
) -> Fitted:
    """Return the laws fitted to one target, one of `laws` chosen.

    Args:
        surfaces: by name the laws of surfaces of this target, tried as control variates.
    """
    best = _fit(weights_ND, losses_N, laws, None)
    for control in controls(surfaces or {}, weights_ND, losses_N):
        tried = _fit(weights_ND, losses_N, laws, control)
        if tried.judged[tried.law].rmse < best.judged[best.law].rmse:
            best = tried
    return best


def _fit(weights_ND: Array, losses_N: Array, laws: Sequence[str], control: Control | None) -> Fitted:
    whole_N, losses_N = losses_N, _without(control, weights_ND, losses_N)
    folds_N = folds(weights_ND)
    a_power, power_N = power.fit(weights_ND, losses_N, folds_N)
    a_process, held_out = process.fit(weights_ND, losses_N, folds_N)
    known = {"power": power_N, "process": held_out.mean_N, "mean": (power_N + held_out.mean_N) / 2}
    guesses = {name: known[name] if name in known else _guesses(name, weights_ND, losses_N, folds_N) for name in laws}
    judged = {name: Judged.of(guesses_N + (whole_N - losses_N), whole_N) for name, guesses_N in guesses.items()}
    best = _chosen(guesses, losses_N)
    errors_N = guesses[best] - losses_N
    other = OTHERS[best].fit(weights_ND, losses_N) if best in OTHERS else None
    width = quantile(np.abs(errors_N) / held_out.spread_N)
    return Fitted(best, a_power, a_process, other, width, judged, errors_N, held_out.spread_N, control)


def restore(weights_ND: Array, losses_N: Array, state: dict[str, Any]) -> Fitted:
    """Return what `state` describes of the runs that it was fitted to."""
    law = state["law"]
    control = Control.restore(state["control"]) if "control" in state else None
    losses_N = _without(control, weights_ND, losses_N)
    return Fitted(
        law=law,
        power=PowerLaw.restore(state["power"]),
        process=process.restore(weights_ND, losses_N, np.array(state["process"]["parameters"], float)),
        other=OTHERS[law].restore(state["other"]) if law in OTHERS else None,
        width=state["width"],
        judged={name: Judged(**figures) for name, figures in state["judged"].items()},
        errors_N=np.array(state["errors"], float),
        spreads_N=np.array(state["spreads"], float),
        control=control,
    )


def _without(control: Control | None, weights_ND: Array, losses_N: Array) -> Array:
    """Return what the control variate leaves of the losses."""
    return losses_N if control is None else losses_N - control.predict(weights_ND)


def quantile(sizes_N: Array, coverage: float = COVERAGE) -> float:
    """Return the conformal quantile: the ceil((N + 1) coverage)-th of the sorted sizes, or else the last."""
    place = min(math.ceil((len(sizes_N) + 1) * coverage), len(sizes_N))
    return float(np.sort(sizes_N)[place - 1])


def _chosen(guesses: dict[str, Array], losses_N: Array) -> str:
    """Return the law of least error, the first of equal ones; `mean` where that is better by luck only."""
    squares = {name: (guesses_N - losses_N) ** 2 for name, guesses_N in guesses.items()}
    best = min(squares, key=lambda name: float(squares[name].mean()))
    if "mean" not in squares:
        return best
    better_N = squares["mean"] - squares[best]
    return best if better_N.mean() > 2 * better_N.std() / math.sqrt(len(losses_N)) else "mean"


def _guesses(name: str, weights_ND: Array, losses_N: Array, folds_N: Places) -> Array:
    guesses_N = np.empty(len(losses_N))
    for fold in range(int(folds_N.max()) + 1):
        out = folds_N == fold
        guesses_N[out] = OTHERS[name].fit(weights_ND[~out], losses_N[~out]).predict(weights_ND[out])
    return guesses_N


@dataclass(frozen=True)
class Point:
    """What the power law's error is with so many runs."""

    runs: int
    rmse: float


def curve(weights_ND: Array, losses_N: Array, fitted: Fitted) -> list[Point]:
    """Return the held-out error of the power law with an eighth, a quarter, a half and all of the runs.

    A part is every 8th run and so on, three parts of each size; sizes below 8 runs are left out. The last point is the
    five-fold error, so of four fifths of the runs.
    """
    losses_N = _without(fitted.control, weights_ND, losses_N)
    points, count = [], len(losses_N)
    for share in (8, 4, 2):
        if count // share < 8:
            continue
        errors = []
        for first in range(min(share, 3)):
            chosen = np.arange(count) % share == first
            law = power.fit_at(weights_ND[chosen], losses_N[chosen], fitted.power.strength)
            errors.append(float(((law.predict(weights_ND[~chosen]) - losses_N[~chosen]) ** 2).mean()))
        points.append(Point(count // share, math.sqrt(sum(errors) / len(errors))))
    if "power" in fitted.judged:
        points.append(Point(count * 4 // 5, fitted.judged["power"].rmse))
    return points
