"""Which documents stay when every other must be unlike those that stay: greedy, best first, over verified pairs.

Letters: N documents, E edges. The edges of document i go to documents better than it:
others[offsets[i]:offsets[i + 1]], the best of them first.

A document goes if one of them stays, else it stays: the lexicographically first maximal independent set of the pairs.
The answer follows from the edges alone; in which order the documents are given changes nothing.
"""

import numpy as np
from numba import njit

from pipeline.kernels.hashing import check_offsets

_OPEN, _WAITING, _STAYS, _GOES = 0, 1, 2, 3


def keepers(offsets: np.ndarray, others_E: np.ndarray, similarity_E: np.ndarray) -> np.ndarray:
    """Return int64 [N]: of a document that goes, the edge to the one most like it that stays; -1 if it stays.

    Of equally like ones the better is named. offsets int64 [N + 1], others int64 [E], similarity float64 [E]. Time and
    memory are linear.

    Raises:
        ValueError: the edges run in a circle, so "better" was no order.
    """
    offsets = np.ascontiguousarray(offsets, np.int64)
    check_offsets(others_E, offsets)
    edges_N = np.full(len(offsets) - 1, -1, np.int64)
    if not _settle(
        offsets, others_E.astype(np.int64, copy=False), similarity_E.astype(np.float64, copy=False), edges_N
    ):
        raise ValueError("the edges between like documents run in a circle")
    return edges_N


@njit(cache=True, nogil=True)
def _settle(offsets, others, similarity, edges):
    count = len(edges)
    state = np.zeros(count, np.uint8)
    following = offsets[:-1].copy()
    stack = np.empty(count, np.int64)
    for root in range(count):
        if state[root] != _OPEN:
            continue
        depth, stack[0], state[root] = 1, root, _WAITING
        while depth:
            document = stack[depth - 1]
            waits = False
            while following[document] < offsets[document + 1] and not waits:
                other = others[following[document]]
                if state[other] == _WAITING:
                    return False
                waits = state[other] == _OPEN
                if waits:
                    stack[depth] = other
                    state[other] = _WAITING
                    depth += 1
                else:
                    following[document] += 1
            if not waits:
                edges[document] = _likest(offsets, others, similarity, state, document)
                state[document] = _STAYS if edges[document] < 0 else _GOES
                depth -= 1
    return True


@njit(cache=True, nogil=True)
def _likest(offsets, others, similarity, state, document):
    best = np.int64(-1)
    for edge in range(offsets[document], offsets[document + 1]):
        if state[others[edge]] == _STAYS and (best < 0 or similarity[edge] > similarity[best]):
            best = np.int64(edge)
    return best
