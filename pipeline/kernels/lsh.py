"""Buckets of equal band keys: edges between the documents that share one, and numbers for the buckets.

Letters: N documents, B bands, M rows of (key, document), E edges.

A bucket of m documents gives m - 1 edges, a star around one of them: that connects the same documents as all
m (m - 1) / 2 pairs would, and a bucket of a million boilerplate pages costs a million edges.
"""

import numpy as np


def star_edges(keys_M: np.ndarray, documents_M: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return (a uint64 [E], b uint64 [E]): for every key, edges a < b from its smallest document to each other one.

    Distinct edges, sorted by (a, b); the order of the rows changes nothing.
    """
    order = np.argsort(keys_M)
    keys_M, documents_M = keys_M[order], documents_M[order]
    starts = np.flatnonzero(np.concatenate([[True], keys_M[1:] != keys_M[:-1]])) if len(keys_M) else np.zeros(0, int)
    if not len(starts):
        return np.zeros(0, np.uint64), np.zeros(0, np.uint64)
    centres_M = np.repeat(np.minimum.reduceat(documents_M, starts), np.diff(starts, append=len(keys_M)))
    edges = centres_M != documents_M
    a, b = centres_M[edges], documents_M[edges]
    order = np.lexsort((b, a))
    a, b = a[order], b[order]
    first = np.ones(len(a), bool)
    first[1:] = (a[1:] != a[:-1]) | (b[1:] != b[:-1])
    return a[first], b[first]


def spread(addresses_N: np.ndarray, partitions: int) -> np.ndarray:
    """Return a partition (uint32) for each address, by a hash: neighbours must not meet because they are neighbours."""
    mixed_N = addresses_N * np.uint64(0x9E3779B97F4A7C15)
    return ((mixed_N >> np.uint64(32)) % np.uint64(partitions)).astype(np.uint32)


def buckets(keys_NB: np.ndarray) -> tuple[np.ndarray, int]:
    """Return (bucket int32 [N, B], number of buckets): the bucket of each document in each band, -1 where it is alone.

    Two documents have equal numbers in a band where their keys are equal, and numbers do not repeat between bands.
    """
    out_NB = np.full(keys_NB.shape, -1, np.int32)
    number = 0
    for band in range(keys_NB.shape[1]):
        _, inverse_N, counts = np.unique(keys_NB[:, band], return_inverse=True, return_counts=True)
        shared = counts > 1
        numbers = np.where(shared, number + np.cumsum(shared) - 1, -1)
        out_NB[:, band] = numbers[inverse_N.reshape(-1)]
        number += int(shared.sum())
    return out_NB, number
