"""Slow and obvious twins of the kernels behind clusters: Python's own Unicode, loops and whole numbers."""

import math
import re
from collections import Counter

import numpy as np

from tests.kernels.reference_dedup import ALONE, MASK

GOLDEN = 0x9E3779B97F4A7C15


def words(text: str) -> list[str]:
    found = re.findall(r"\w+", ALONE.sub(lambda match: f" {match[0]} ", text))
    return ["".join(character.lower() for character in word) for word in found if word[0] not in "0123456789"]


def mix64(x: int) -> int:
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9 & MASK
    x = (x ^ (x >> 27)) * 0x94D049BB133111EB & MASK
    return x ^ (x >> 31)


def vector(bag: Counter, weights: dict[int, float], dimensions: int, seed: int) -> np.ndarray:
    """Return the projection of bucket -> count, of length 1."""
    out, width, key = np.zeros(dimensions), dimensions // 8, mix64(seed + GOLDEN & MASK)
    for bucket, count in bag.items():
        draws = mix64(bucket ^ key)
        for block in range(8):
            place = block * width + (draws >> 1) % width
            out[place] += (1 if draws & 1 else -1) * (1 + math.log(count)) * weights.get(bucket, 0.0)
            draws //= 2 * width
    length = np.sqrt((out**2).sum())
    return out / length if length else out


def z_scores(inside: np.ndarray, everywhere: np.ndarray, strength: float) -> list[float]:
    own, total = inside.sum(), everywhere.sum()
    out = []
    for y, both in zip(inside.tolist(), everywhere.tolist(), strict=True):
        prior = strength * both / total
        a, b = y + prior, both - y + prior
        odds = math.log(a / (own + strength - a)) - math.log(b / (total - own + strength - b))
        out.append(odds / math.sqrt(1 / a + 1 / b))
    return out


def merged(sums: np.ndarray, weights: list[float], groups: int, least: float) -> set[frozenset[int]]:
    """Return the groups as sets of clusters."""
    parts = [frozenset([k]) for k in range(len(sums))]

    def length(part):
        return np.linalg.norm(sums[sorted(part)].astype(float).sum(0))

    def weight(part):
        return sum(weights[k] for k in part)

    def join(a, b):
        parts.remove(a)
        parts.remove(b)
        parts.append(a | b)

    while len(parts) > groups:
        pairs = [(a, b) for i, a in enumerate(parts) for b in parts[i + 1 :]]
        join(*min(pairs, key=lambda pair: length(pair[0]) + length(pair[1]) - length(pair[0] | pair[1])))
    while len(parts) > 1 and weight(lightest := min(parts, key=weight)) < least:
        others = [part for part in parts if part != lightest]
        join(lightest, min(others, key=lambda part: length(part) - length(part | lightest)))
    return set(parts)
