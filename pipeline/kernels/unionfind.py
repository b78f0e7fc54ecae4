"""Connected components of a graph given as edges, by union-find with the smallest node as the root.

Letters: E edges, V distinct nodes. Nodes are any uint64.
"""

import numpy as np
from numba import njit


def components(a_E: np.ndarray, b_E: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return (nodes uint64 [V], roots uint64 [V]): each node that has an edge, ascending, and its component's smallest.

    The order of the edges and of their ends changes nothing. A node's edge to itself makes it a component.
    """
    nodes_V, places = np.unique(np.concatenate([a_E, b_E]).astype(np.uint64, copy=False), return_inverse=True)
    parents_V = np.arange(len(nodes_V))
    places = places.astype(np.int64, copy=False).reshape(-1)
    _unite(parents_V, places[: len(a_E)], places[len(a_E) :])
    return nodes_V, nodes_V[parents_V]


@njit(cache=True, nogil=True)
def _unite(parents, a, b):
    """Join by the smaller root and halve the paths on the way; at the end every parent is a root."""
    for i in range(len(a)):
        x, y = a[i], b[i]
        while parents[x] != x:
            parents[x] = parents[parents[x]]
            x = parents[x]
        while parents[y] != y:
            parents[y] = parents[parents[y]]
            y = parents[y]
        if x < y:
            parents[y] = x
        else:
            parents[x] = y
    for i in range(len(parents)):
        # A parent is never larger than its child, so one pass in ascending order reaches the roots.
        parents[i] = parents[parents[i]]
