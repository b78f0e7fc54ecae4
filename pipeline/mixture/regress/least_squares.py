"""Nonlinear least squares under a Gaussian prior, by Levenberg and Marquardt's method.

Minimises ||r(p)||^2 + ||s (p - m)||^2 with residuals r, prior means m and strengths s. A step solves
(J'J + s^2 + u D) d = -gradient with D the diagonal of J'J + s^2; the damping u falls after a step that goes down and
rises after one that does not (Madsen, Nielsen and Tingleff 2004, "Methods for non-linear least squares problems", 3.2).

N runs, P parameters.
"""

from collections.abc import Callable

import numpy as np

from pipeline.mixture.regress.arrays import Array

Residuals = Callable[[Array], tuple[Array, Array]]

_MAX_STEPS = 200
_SMALL = 1e-9  # of a step that lowers the sum by less than this share of it, nothing more is to be had


def solve(residuals: Residuals, start_P: Array, mean_P: Array, strength_P: Array) -> tuple[Array, float]:
    """Return the parameters at a minimum, and the minimum.

    Args:
        residuals: parameters -> residuals [N] and their derivatives [N, P].
    """
    p, damping, growth = start_P.copy(), 1e-2, 2.0
    r, jacobian = residuals(p)
    cost = _cost(r, p, mean_P, strength_P)
    for _ in range(_MAX_STEPS):
        curvature = jacobian.T @ jacobian
        curvature[np.diag_indices(len(p))] += strength_P**2
        gradient = jacobian.T @ r + strength_P**2 * (p - mean_P)
        scale = np.diag(curvature)
        step = np.linalg.solve(curvature + np.diag(damping * scale), -gradient)
        expected = float(step @ (damping * scale * step - gradient))
        r_next, jacobian_next = residuals(p + step)
        cost_next = _cost(r_next, p + step, mean_P, strength_P)
        if not cost_next < cost:
            damping *= growth
            growth *= 2
            if damping > 1e12:
                break
            continue
        gain = (cost - cost_next) / max(expected, 1e-300)
        damping, growth = damping * max(1 / 3, 1 - (2 * gain - 1) ** 3), 2.0
        done = cost - cost_next <= _SMALL * cost
        p, r, jacobian, cost = p + step, r_next, jacobian_next, cost_next
        if done:
            break
    return p, cost


def _cost(r: Array, p: Array, mean_P: Array, strength_P: Array) -> float:
    deviation = strength_P * (p - mean_P)
    return float(r @ r + deviation @ deviation)
