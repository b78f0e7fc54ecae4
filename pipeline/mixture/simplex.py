"""Mixtures within bounds: the nearest one, and mixtures on a grid.

N mixtures, D domains.
"""

import numpy as np

from pipeline.errors import ConfigError
from pipeline.mixture.regress.arrays import Array

_BISECTIONS = 100


def check_bounds(domains: tuple[str, ...], low_D: Array, high_D: Array) -> None:
    """See that a mixture can lie within the bounds.

    Raises:
        ConfigError: a floor lies above its ceiling, or no weights within the bounds sum to 1.
    """
    for domain, low, high in zip(domains, low_D, high_D, strict=True):
        if low > high + 1e-12:
            raise ConfigError(f"{domain}: at least {low:g} of the tokens and at most {high:g} cannot both be")
    if low_D.sum() > 1 + 1e-9:
        raise ConfigError(f"the floors sum to {low_D.sum():g}, more than 1; lower them")
    if high_D.sum() < 1 - 1e-9:
        listed = ", ".join(f"{domain} {high:.4g}" for domain, high in zip(domains, high_D, strict=True) if high < 1)
        raise ConfigError(
            f"the ceilings sum to {high_D.sum():.4g}, less than 1: {listed}. There are not tokens enough; lower the "
            "budget, raise max_epochs or the ceilings"
        )


def project(weights_ND: Array, low_D: Array, high_D: Array) -> Array:
    """Return the nearest mixtures within the bounds, [N, D]; a mixture within them is its own.

    Every weight is moved by one amount a row and held to its bounds; the amount is found by bisection, and what the
    last rounding leaves is given to weights that have room, so that a row sums to 1 to the last bits.
    """
    lowest_N, highest_N = (low_D - weights_ND).min(1), (high_D - weights_ND).max(1)
    for _ in range(_BISECTIONS):
        middle_N = (lowest_N + highest_N) / 2
        over_N = np.clip(weights_ND + middle_N[:, None], low_D, high_D).sum(1) > 1
        highest_N, lowest_N = np.where(over_N, middle_N, highest_N), np.where(over_N, lowest_N, middle_N)
    moved_ND = np.clip(weights_ND + lowest_N[:, None], low_D, high_D)
    room_ND = high_D - moved_ND
    left_N = 1 - moved_ND.sum(1)
    held_ND: Array = moved_ND + left_N[:, None] * room_ND / np.maximum(room_ND.sum(1), 1e-300)[:, None]
    return np.clip(held_ND, low_D, high_D)


def on_grid(weights_ND: Array, grid: float, low_D: Array, high_D: Array) -> Array:
    """Return mixtures of whole multiples of `grid` (1 / grid is whole), by largest remainder within the bounds.

    A domain that a mixture leaves out stays out as long as another can take its unit.

    Raises:
        ConfigError: no mixture on the grid is within the bounds.
    """
    units = round(1 / grid)
    floor_D, ceiling_D = np.ceil(low_D * units - 1e-9), np.floor(high_D * units + 1e-9)
    if floor_D.sum() > units or ceiling_D.sum() < units or (floor_D > ceiling_D).any():
        raise ConfigError(f"no mixture in steps of {grid:g} is within the floors and ceilings; make the grid finer")
    exact_ND = weights_ND * units
    whole_ND = np.clip(np.floor(exact_ND + 1e-9), floor_D, ceiling_D)
    while (missing_N := units - whole_ND.sum(1)).any():
        sign_N1 = np.sign(missing_N)[:, None]
        room_ND = np.where(sign_N1 > 0, ceiling_D - whole_ND, whole_ND - floor_D) > 0
        wish_ND = np.where(room_ND, sign_N1 * (exact_ND - whole_ND) - units * (exact_ND == 0), -np.inf)
        place_ND = np.argsort(np.argsort(-wish_ND, axis=1, kind="stable"), axis=1)
        whole_ND += sign_N1 * (room_ND & (place_ND < np.abs(missing_N)[:, None]))
    return whole_ND / units
