"""Spherical k-means in whole numbers: clusters of directions, the same bits on every machine.

A direction is a unit vector times 2^15, rounded: int16. Dot products of directions then are exact in int32 (they stay
below 2^30 and some, and by Cauchy and Schwarz so does every part of the sum), sums of directions in int64; so neither
the order of the points, nor how a machine adds, nor how the points were cut into files can show. Only the length of a
centre is a root, which IEEE 754 rounds one way.

`seeds` is k-means++ (Arthur and Vassilvitskii 2007) with 1 - cosine as the squared distance. `fit` is Lloyd's
iteration: it raises the sum of cosines to the nearest centre, which is the sum over clusters of the length of the sum
of their points (Dhillon and Modha 2001). `merged` then joins pairs of clusters, each time the pair whose joining lowers
that sum least: Ward's rule for directions.

Letters: N points, K clusters, D dimensions, G groups of clusters.
"""

import math
from typing import NamedTuple

import numpy as np
from numba import njit

from pipeline.kernels.hashing import mix64, read_only

SCALE = 1 << 15
ONE = SCALE * SCALE
"""The dot product of a direction with itself, but for rounding."""
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


class Fitted(NamedTuple):
    """Centres int16 [K, D], the nearest of each point int32 [N], and the sum of cosines before each iteration."""

    centres_KD: np.ndarray
    nearest_N: np.ndarray
    cosines: tuple[float, ...]


def directions(vectors_ND: np.ndarray) -> np.ndarray:
    """Return vectors of any number type as directions, int16 [N, D]; a vector of zeros stays one."""
    out_ND = np.empty(vectors_ND.shape, np.int16)
    _directions(read_only(np.ascontiguousarray(vectors_ND)), out_ND)
    return out_ND


def centred(points_ND: np.ndarray, sum_D: np.ndarray, count: int) -> np.ndarray:
    """Return the directions in which points lie from their mean, int16 [N, D]; a point of zeros stays one.

    sum_D int64 is the sum of the `count` points whose mean is meant.
    """
    out_ND = np.zeros(points_ND.shape, np.int16)
    _centred(read_only(points_ND), read_only(np.ascontiguousarray(sum_D, np.int64)), count, out_ND)
    return out_ND


def nearest(points_ND: np.ndarray, centres_KD: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return for each point the centre of the largest dot product, int32 [N], and that product, int32 [N].

    Of equals the first centre is taken. A point of zeros is nearest to the first one, with a product of 0.

    Raises:
        ValueError: there is no centre, or the dimensions differ.
    """
    if not len(centres_KD) or points_ND.shape[1] != centres_KD.shape[1]:
        raise ValueError(f"points {points_ND.shape} and centres {centres_KD.shape} do not go together")
    best_N, dots_N = np.empty(len(points_ND), np.int32), np.empty(len(points_ND), np.int32)
    _nearest(read_only(points_ND), read_only(centres_KD), best_N, dots_N)
    return best_N, dots_N


def sums(points_ND: np.ndarray, clusters_N: np.ndarray, clusters: int) -> np.ndarray:
    """Return the sum of the points of each cluster, int64 [K, D]."""
    out_KD = np.zeros((clusters, points_ND.shape[1]), np.int64)
    _add_all(read_only(points_ND), read_only(np.ascontiguousarray(clusters_N, np.int32)), out_KD)
    return out_KD


def paired(points_ND: np.ndarray, centres_KD: np.ndarray, clusters_N: np.ndarray) -> np.ndarray:
    """Return the dot product of each point with the centre of its cluster, int64 [N]."""
    dots_N = np.empty(len(points_ND), np.int64)
    _paired(read_only(points_ND), read_only(centres_KD), read_only(np.ascontiguousarray(clusters_N, np.int32)), dots_N)
    return dots_N


def seeds(points_ND: np.ndarray, clusters: int, seed: int) -> np.ndarray:
    """Return the places of points to begin with, int64 [at most K]: different directions, far from each other.

    Each is drawn with a probability that grows with the distance to the nearest one drawn before; there are fewer than
    `clusters` where there are fewer different directions. Points of zeros are never drawn.
    """
    return _seeds(read_only(points_ND), clusters, np.uint64(seed & 0xFFFFFFFFFFFFFFFF))


def fit(points_ND: np.ndarray, clusters: int, iterations: int, seed: int) -> Fitted:
    """Return at most `clusters` clusters of the points: each has a point that is nearest to it.

    It ends before `iterations` where the sum of cosines rises no more.

    Raises:
        ValueError: every point is zeros.
    """
    chosen = seeds(points_ND, clusters, seed)
    if not len(chosen):
        raise ValueError(f"none of {len(points_ND):,} points has a direction")
    centres_KD = points_ND[chosen]
    best_N, dots_N = nearest(points_ND, centres_KD)
    totals = [int(dots_N.sum(dtype=np.int64))]
    for _ in range(iterations):
        sums_KD = sums(points_ND, best_N, len(centres_KD))
        moved_KD = np.where(np.any(sums_KD, axis=1, keepdims=True), directions(sums_KD), centres_KD)
        moved_N, dots_N = nearest(points_ND, moved_KD)
        total = int(dots_N.sum(dtype=np.int64))
        if total <= totals[-1]:
            break
        centres_KD, best_N = moved_KD, moved_N
        totals.append(total)
    present, best_N = np.unique(best_N, return_inverse=True)
    return Fitted(centres_KD[present], best_N.astype(np.int32), tuple(total / ONE for total in totals))


def merged(sums_KD: np.ndarray, weights_K: np.ndarray, groups: int, least: float) -> np.ndarray:
    """Return the group of each cluster, int32 [K], at most `groups` of them; they are numbered by their first cluster.

    Pairs are joined, least loss first, until there are no more than `groups`; then each group of less than `least`
    weight, lightest first, is joined to the one whose sum of cosines loses least by it, while there are two.

    Args:
        sums_KD: of the directions in each cluster, int64.
        weights_K: what `least` is compared with, a sum over the group.
    """
    groups_K = _merged(_gram(read_only(sums_KD)), np.asarray(weights_K, np.float64).copy(), groups, float(least))
    _, groups_K = np.unique(groups_K, return_inverse=True)
    return groups_K.astype(np.int32)


@njit(cache=True, nogil=True)
def direction(vector, out):
    """Write the direction of one vector; callable from other kernels."""
    square = 0.0
    for d in range(len(vector)):
        square += np.float64(vector[d]) * np.float64(vector[d])
    scale = SCALE / math.sqrt(square) if square > 0.0 else 0.0
    for d in range(len(vector)):
        out[d] = np.int16(min(max(math.floor(vector[d] * scale + 0.5), -SCALE + 1.0), SCALE - 1.0))


@njit(cache=True, nogil=True)
def _directions(vectors, out):
    for n in range(len(vectors)):
        direction(vectors[n], out[n])


@njit(cache=True, nogil=True)
def _centred(points, sum_D, count, out):
    turned = np.empty(points.shape[1], np.int64)
    for n in range(len(points)):
        if np.any(points[n]):
            for d in range(points.shape[1]):
                turned[d] = points[n, d] * count - sum_D[d]
            direction(turned, out[n])


@njit(cache=True, nogil=True)
def _dot(a, b):
    total = np.int32(0)
    for d in range(len(a)):
        total += np.int32(a[d]) * np.int32(b[d])
    return total


@njit(cache=True, nogil=True)
def _nearest(points, centres, best_N, dots_N):
    for n in range(len(points)):
        point = points[n]
        best, most = 0, _dot(point, centres[0])
        for k in range(1, len(centres)):
            dot = _dot(point, centres[k])
            if dot > most:
                best, most = k, dot
        best_N[n], dots_N[n] = best, most


@njit(cache=True, nogil=True)
def _paired(points, centres, clusters, dots_N):
    for n in range(len(points)):
        dots_N[n] = _dot(points[n], centres[clusters[n]])


@njit(cache=True, nogil=True)
def _add_all(points, clusters, out):
    for n in range(len(points)):
        row = out[clusters[n]]
        for d in range(points.shape[1]):
            row[d] += points[n, d]


@njit(cache=True, nogil=True)
def _seeds(points, clusters, seed):
    chosen = np.empty(clusters, np.int64)
    far_N = np.empty(len(points), np.int64)
    for n in range(len(points)):
        far_N[n] = ONE if np.any(points[n]) else 0
    for k in range(clusters):
        total = far_N.sum()
        if total <= 0:
            return chosen[:k].copy()
        rest = np.int64(mix64(seed + np.uint64(k + 1) * _GOLDEN) % np.uint64(total))
        place = 0
        while rest >= far_N[place]:
            rest -= far_N[place]
            place += 1
        chosen[k] = place
        for n in range(len(points)):
            if far_N[n] > 0:
                far_N[n] = max(min(far_N[n], ONE - np.int64(_dot(points[n], points[place]))), 0)
        far_N[place] = 0
    return chosen


@njit(cache=True, nogil=True)
def _gram(sums):
    """Return the products of all pairs of sums, float64 [K, K], each added up in the order of the dimensions."""
    out = np.empty((len(sums), len(sums)))
    for a in range(len(sums)):
        for b in range(a, len(sums)):
            total = 0.0
            for d in range(sums.shape[1]):
                total += np.float64(sums[a, d]) * np.float64(sums[b, d])
            out[a, b] = total
            out[b, a] = total
    return out


@njit(cache=True, nogil=True)
def _loss(gram, lengths, a, b):
    together = gram[a, a] + gram[b, b] + 2.0 * gram[a, b]
    return lengths[a] + lengths[b] - math.sqrt(max(together, 0.0))


@njit(cache=True, nogil=True)
def _join(gram, lengths, weights, groups, a, b):
    """Make one cluster of a < b; b is gone."""
    gram[a] += gram[b]
    gram[:, a] += gram[:, b]
    lengths[a] = math.sqrt(max(gram[a, a], 0.0))
    weights[a] += weights[b]
    for k in range(len(groups)):
        if groups[k] == b:
            groups[k] = a


@njit(cache=True, nogil=True)
def _merged(gram, weights, count, least):
    groups = np.arange(len(gram))
    lengths = np.sqrt(np.diag(gram))
    alive = np.ones(len(gram), np.bool_)
    left = len(gram)
    while left > 1:
        first, others = -1, left <= count
        if others:  # the lightest one, if it is too light
            for k in range(len(gram)):
                if alive[k] and weights[k] < least and (first < 0 or weights[k] < weights[first]):
                    first = k
            if first < 0:
                break
        best_a, best_b, fewest = -1, -1, np.inf
        for a in range(len(gram)):
            if not alive[a] or (others and a != first):
                continue
            for b in range(0 if others else a + 1, len(gram)):
                if alive[b] and b != a:
                    loss = _loss(gram, lengths, a, b)
                    if loss < fewest:
                        best_a, best_b, fewest = a, b, loss
        low, high = min(best_a, best_b), max(best_a, best_b)
        _join(gram, lengths, weights, groups, low, high)
        alive[high] = False
        left -= 1
    return groups
