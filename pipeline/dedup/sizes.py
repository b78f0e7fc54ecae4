"""Counts of groups by how many members they have, in the classes that people are shown."""

import numpy as np

from pipeline.ledger import Tally

CLASSES = {"2": 2, "3 to 10": 10, "11 to 100": 100, "101 to 1,000": 1000, "over 1,000": np.iinfo(np.int64).max}
"""Name of each class and the largest size in it."""


def counted(sizes: np.ndarray) -> Tally:
    """Return how many groups are of each class; classes without one are left out."""
    places = np.searchsorted(list(CLASSES.values()), sizes)
    counts = np.bincount(places, minlength=len(CLASSES)).tolist()
    return {name: count for name, count in zip(CLASSES, counts, strict=True) if count}


def ordered(tally: Tally) -> Tally:
    """Return the classes there are from small to large: a tally is sorted by name."""
    return {name: tally[name] for name in CLASSES if name in tally}
