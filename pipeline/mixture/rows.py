"""Which tokens a proxy reads, row by row: the domain of every row, and the pool's stream that it comes from.

Letters: R rows of a run, T tokens of a row (context and one more), D domains.

A mixture's rows are whole numbers a domain, by largest remainder over the whole run, and stand in an order that depends
on (seed, number of rows) only. The k-th row of a domain is tokens k (T - 1) to (k + 1) (T - 1) of the domain's stream:
its pool, read again and again, the documents of each epoch in an order of their own. So two mixtures with one seed read
the same beginning of every stream, and differ in how far they get.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

import numpy as np

from pipeline.kernels.permutation import key_of, permuted
from pipeline.mixture.allocation import shares

ORDER, EPOCHS = 1, 2
"""Parts of the keys of the two kinds of permutations."""


def allotted(weights: Mapping[str, float], rows: int) -> dict[str, int]:
    """Return how many rows each domain has; they add up to `rows`."""
    return shares(rows, {domain: Fraction(weight) for domain, weight in weights.items()})


def sequence(counts: Sequence[int], seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the domain of every row (int64 [R]) and which row of that domain it is (int64 [R]).

    Args:
        counts: rows of every domain, [D].
    """
    total = sum(counts)
    domain_R = np.repeat(np.arange(len(counts)), counts)[permuted(np.arange(total), total, key_of(seed, ORDER))]
    which_R = np.empty(total, np.int64)
    for domain, count in enumerate(counts):
        which_R[domain_R == domain] = np.arange(count)
    return domain_R, which_R


@dataclass(frozen=True, eq=False)
class Pool:
    """The tokens of a domain's pool, document after document (uint16), and where each begins and the last ends."""

    tokens: np.ndarray
    bounds: np.ndarray

    def __len__(self) -> int:
        return len(self.tokens)


class Stream:
    """A pool read again and again; the documents of each epoch in an order drawn from (seed, epoch)."""

    def __init__(self, pool: Pool, seed: int):
        self._pool, self._seed = pool, seed
        self._epoch = lru_cache(maxsize=4)(self._ordered)  # a batch lies in one or two

    def rows(self, which_B: np.ndarray, context: int) -> np.ndarray:
        """Return rows of the stream, uint16 [B, context + 1]; each begins with the last token of the one before."""
        places_BT = which_B[:, None] * context + np.arange(context + 1)
        epoch_BT, within_BT = np.divmod(places_BT, len(self._pool))
        found_BT = np.empty(places_BT.shape, np.uint16)
        for epoch in np.unique(epoch_BT).tolist():
            there = epoch_BT == epoch
            found_BT[there] = self._pool.tokens[self._places(epoch, within_BT[there])]
        return found_BT

    def _places(self, epoch: int, within_N: np.ndarray) -> np.ndarray:
        """Return where in the pool the tokens of an epoch lie."""
        begins_M, sources_M = self._epoch(epoch)
        document_N = np.searchsorted(begins_M, within_N, "right") - 1
        places_N: np.ndarray = sources_M[document_N] + within_N - begins_M[document_N]
        return places_N

    def _ordered(self, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        """Return, in the order of an epoch, where each document begins in it and where in the pool, int64 [M] each."""
        count = len(self._pool.bounds) - 1
        order_M = permuted(np.arange(count), count, key_of(self._seed, EPOCHS, epoch))
        lengths_M = np.diff(self._pool.bounds)[order_M]
        return np.cumsum(lengths_M) - lengths_M, self._pool.bounds[order_M]


class Reader:
    """The rows of one run."""

    def __init__(self, pools: Sequence[Pool], counts: Sequence[int], context: int, seed: int):
        self._streams = [Stream(pool, seed) if count else None for pool, count in zip(pools, counts, strict=True)]
        self._domain_R, self._which_R = sequence(counts, seed)
        self._context = context

    def rows(self, begin: int, end: int) -> np.ndarray:
        """Return rows begin..end-1 of the run, uint16 [end - begin, context + 1]."""
        domain_B, which_B = self._domain_R[begin:end], self._which_R[begin:end]
        found_BT = np.empty((end - begin, self._context + 1), np.uint16)
        for domain in np.unique(domain_B).tolist():
            stream = self._streams[domain]
            assert stream is not None  # a domain without rows has none here
            found_BT[domain_B == domain] = stream.rows(which_B[domain_B == domain], self._context)
        return found_BT
