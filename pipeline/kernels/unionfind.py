"""Connected components of a graph given as edges: union-find in memory, and two steps of a method that needs none.

Letters: E edges, V distinct nodes. Nodes are any uint64; the smallest node of a component is its root.

`large_star` and `small_star` are the operations of Kiveris, Lattanzi, Mirrokni, Rastogi and Vassilvitskii, "Connected
Components in MapReduce and Beyond" (SoCC 2014): applied in turn to the edges, grouped by node, until nothing changes,
they leave an edge from every node to its root. Each keeps the components as they are. So a graph that is larger than
memory is worked off partition by partition.
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


def large_star(nodes_E: np.ndarray, neighbours_E: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return distinct edges (larger, smaller): of each node the larger neighbours, linked to its smallest or itself.

    Every edge must be there twice, from each of its ends; all edges of a node must be here.
    """
    least = np.minimum(_smallest_neighbour(nodes_E, neighbours_E), nodes_E)
    larger = neighbours_E > nodes_E
    return _distinct(neighbours_E[larger], least[larger])


def small_star(nodes_E: np.ndarray, neighbours_E: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return distinct edges (larger, smaller): of each node itself and its smaller neighbours, linked to the smallest.

    Every edge must be there from its larger end; all of a node's edges to smaller ones must be here.
    """
    smaller = neighbours_E < nodes_E
    nodes_E, neighbours_E = nodes_E[smaller], neighbours_E[smaller]
    least = _smallest_neighbour(nodes_E, neighbours_E)
    inner = neighbours_E != least
    return _distinct(np.concatenate([nodes_E, neighbours_E[inner]]), np.concatenate([least, least[inner]]))


def is_open(nodes_E: np.ndarray, neighbours_E: np.ndarray) -> bool:
    """Tell whether a node has several smaller neighbours, or both smaller and larger ones: then it is no star yet.

    Every edge must be there twice, from each of its ends.
    """
    if not len(nodes_E):
        return False
    order = np.argsort(nodes_E, kind="stable")
    nodes_E, smaller = nodes_E[order], (neighbours_E < nodes_E)[order]
    starts = np.flatnonzero(np.concatenate([[True], nodes_E[1:] != nodes_E[:-1]]))
    below = np.add.reduceat(smaller.astype(np.int64), starts)
    degrees = np.diff(starts, append=len(nodes_E))
    return bool(((below > 1) | ((below == 1) & (degrees > 1))).any())


def _smallest_neighbour(nodes_E: np.ndarray, neighbours_E: np.ndarray) -> np.ndarray:
    """Return for each edge the smallest neighbour of its node."""
    nodes, places = np.unique(nodes_E, return_inverse=True)
    least = np.full(len(nodes), np.iinfo(np.uint64).max, np.uint64)
    np.minimum.at(least, places.reshape(-1), neighbours_E)
    return least[places.reshape(-1)]


def _distinct(a_E: np.ndarray, b_E: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    order = np.lexsort((b_E, a_E))
    a_E, b_E = a_E[order], b_E[order]
    first = np.ones(len(a_E), bool)
    first[1:] = (a_E[1:] != a_E[:-1]) | (b_E[1:] != b_E[:-1])
    return a_E[first], b_E[first]


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
