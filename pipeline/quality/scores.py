"""Scores as whole numbers in their order, so that they can be counted by their bits."""

import numpy as np


def rising(scores_N: np.ndarray) -> np.ndarray:
    """Return uint32 [N] that rise as scores rise; 0.0 and -0.0 are equal. No score may be NaN."""
    bits = (scores_N.astype(np.float32) + np.float32(0)).view(np.uint32)
    return np.where(bits >> np.uint32(31), ~bits, bits | np.uint32(1 << 31))


def from_bits(key: int) -> np.float32:
    """Return the score that `rising` made `key` of."""
    bits = np.uint32(key) & np.uint32(0x7FFFFFFF) if key >> 31 else ~np.uint32(key)
    return np.array([bits], np.uint32).view(np.float32)[0]
