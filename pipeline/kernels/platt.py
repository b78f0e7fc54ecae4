"""Platt scaling: the line through logits that makes the most likely probabilities of them.

P(positive) = 1 / (1 + exp(-(scale * logit + shift))), fitted by Newton's method to smoothed targets: (P + 1) / (P + 2)
for the P positive documents, 1 / (Q + 2) for the Q negative ones (Platt 1999, "Probabilistic outputs for support vector
machines", section 2.2). Steps are damped so that they converge from anywhere (Sun and Tran-Dinh 2019, "Generalized
self-concordant functions": ln(1 + b) / b of a Newton step that moves a logit by at most b; 2 / (2 + b) is a
little less). Sums have a fixed order and `exp` is our own, so the result is the same on every machine.

Shapes: N documents.
"""

import numpy as np
from numba import njit

from pipeline.kernels.fasttext_hash import exp

STEPS = 200
ENOUGH = 1e-10
RIDGE = 1e-9  # keeps the Hessian from being singular where all logits are equal


def platt(logits_N: np.ndarray, positive_N: np.ndarray) -> tuple[float, float]:
    """Return (scale, shift); scale is 0 where the logits are all equal, negative where they point the wrong way.

    Raises:
        ValueError: a class is empty.
    """
    n_positive = int(np.count_nonzero(positive_N))
    n_negative = len(positive_N) - n_positive
    if not n_positive or not n_negative:
        raise ValueError(f"there are {n_positive} positive and {n_negative} negative documents; both are needed")
    low, high = float(logits_N.min()), float(logits_N.max())
    middle, spread = (low + high) / 2, max((high - low) / 2, 1e-12)
    targets_N = np.where(positive_N, (n_positive + 1) / (n_positive + 2), 1 / (n_negative + 2))
    slope, level = _newton((logits_N - middle) / spread, targets_N)
    return slope / spread, level - slope / spread * middle


@njit(cache=True, nogil=True, error_model="numpy")
def _newton(points, targets):
    """Slope and level for points in [-1, 1]."""
    slope, level = 0.0, 0.0
    for _ in range(STEPS):
        g0, g1, h00, h01, h11 = 0.0, 0.0, RIDGE, 0.0, RIDGE
        for d in range(len(points)):
            x = points[d]
            p = 1.0 / (1.0 + exp(-(slope * x + level)))
            gap, curve = p - targets[d], p * (1.0 - p)
            g0 += gap * x
            g1 += gap
            h00 += curve * x * x
            h01 += curve * x
            h11 += curve
        determinant = h00 * h11 - h01 * h01
        d0, d1 = (h11 * g0 - h01 * g1) / determinant, (h00 * g1 - h01 * g0) / determinant
        furthest = abs(d0) + abs(d1)
        damping = 2.0 / (2.0 + furthest)
        slope -= damping * d0
        level -= damping * d1
        if furthest < ENOUGH:
            break
    return slope, level
