"""The least value of a smooth convex function over mixtures within bounds, by Newton's method behind a barrier.

Minimises f(w) - m sum_j (log(w_j - low_j) + log(high_j - w_j)) with sum_j w_j = 1 for m that falls to 1e-13 of the
function's size (Boyd and Vandenberghe 2004, "Convex optimization", 11.3); the value found is above the least by at most
2 D m. Domains whose bounds are equal are fixed.

D domains, F of them free.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from pipeline.mixture.regress.arrays import Array
from pipeline.mixture.simplex import project

Curve = Callable[[Array], tuple[float, Array, Array]]
Flags = np.ndarray[Any, np.dtype[np.bool_]]

_FIXED = 1e-12
_BARRIERS = np.geomspace(1e-1, 1e-13, 13)
_NEWTON_STEPS = 60


def least(curve: Curve, low_D: Array, high_D: Array) -> Array:
    """Return the mixture of least value, [D].

    Args:
        curve: a mixture -> value, gradient [D], Hessian [D, D]; convex and twice differentiable within the bounds.
    """
    room = float((high_D - low_D).sum())
    lift = (1 - float(low_D.sum())) / room if room > _FIXED else 0.0
    w_D = low_D + lift * (high_D - low_D)
    free = (high_D - low_D > _FIXED) & (0 < lift < 1)
    if free.sum() < 2:
        return project(w_D[None], low_D, high_D)[0]
    size = max(float(np.ptp(curve(w_D)[1][free])), 1e-12)
    for barrier in _BARRIERS * size:
        w_D = _centred(curve, w_D, low_D, high_D, free, barrier)
    return project(w_D[None], low_D, high_D)[0]


def _centred(curve: Curve, w_D: Array, low_D: Array, high_D: Array, free: Flags, barrier: float) -> Array:
    """Return the least point of the function with the barrier, from a point within it."""
    value = _barred(curve, w_D, low_D, high_D, free, barrier)
    for _ in range(_NEWTON_STEPS):
        below_F, above_F = (w_D - low_D)[free], (high_D - w_D)[free]
        _, gradient_D, hessian_DD = curve(w_D)
        gradient_F = gradient_D[free] - barrier * (1 / below_F - 1 / above_F)
        hessian_FF = hessian_DD[np.ix_(free, free)] + np.diag(barrier * (below_F**-2 + above_F**-2))
        step_F = _newton(hessian_FF, gradient_F)
        decrease = -float(gradient_F @ step_F)
        if not decrease > 1e-3 * barrier * 1e-6:
            break
        # As far as 99 % of the way to the nearest bound, then back until the value falls.
        limits_F = np.where(step_F > 0, above_F, below_F) / np.maximum(np.abs(step_F), 1e-300)
        length = min(1.0, 0.99 * float(limits_F.min()))
        while length > 1e-14:
            moved_D = w_D.copy()
            moved_D[free] += length * step_F
            moved = _barred(curve, moved_D, low_D, high_D, free, barrier)
            if moved <= value - 0.1 * length * decrease:
                break
            length /= 2
        else:
            break
        w_D, value = moved_D, moved
    return w_D


def _newton(hessian_FF: Array, gradient_F: Array) -> Array:
    """Return the Newton step whose entries sum to 0, scaled so that weights of very different sizes do no harm."""
    scale_F = 1 / np.sqrt(np.diag(hessian_FF))
    scaled_FF = hessian_FF * np.outer(scale_F, scale_F)
    both = np.linalg.solve(scaled_FF, np.column_stack([-gradient_F * scale_F, scale_F]))
    free_F, sum_F = both[:, 0] * scale_F, both[:, 1] * scale_F
    step_F: Array = free_F - sum_F * (free_F.sum() / sum_F.sum())
    return step_F


def _barred(curve: Curve, w_D: Array, low_D: Array, high_D: Array, free: Flags, barrier: float) -> float:
    below_F, above_F = (w_D - low_D)[free], (high_D - w_D)[free]
    if below_F.min() <= 0 or above_F.min() <= 0:
        return np.inf
    return curve(w_D)[0] - barrier * float(np.log(below_F).sum() + np.log(above_F).sum())
