"""Components: by union-find and by star operations, against a search of the graph."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.kernels import unionfind
from tests.kernels import reference_dedup as twin

SCALE = (1 << 32) + 5  # addresses are wide
EDGES = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), max_size=60)


def columns(edges):
    return tuple(np.array([edge[side] * SCALE for edge in edges], np.uint64) for side in (0, 1))


def named(nodes, roots):
    return {n // SCALE: r // SCALE for n, r in zip(nodes.tolist(), roots.tolist(), strict=True)}


def by_stars(a, b, rounds=60):
    """Return the edges that large and small stars leave, and after how many rounds all were stars."""
    for done in range(rounds):
        nodes, neighbours = np.concatenate([a, b]), np.concatenate([b, a])
        a, b = unionfind.small_star(*unionfind.large_star(nodes, neighbours))
        if not unionfind.is_open(nodes, neighbours):
            return a, b, done
    raise AssertionError("the stars do not settle")


@settings(deadline=None)  # the first call compiles
@given(EDGES)
def test_components_are_named_by_their_smallest_node(edges):
    nodes, roots = unionfind.components(*columns(edges))
    assert named(nodes, roots) == twin.components(edges)
    assert nodes.tolist() == sorted(nodes.tolist())


def test_a_long_chain_is_one_component():
    nodes = np.arange(100_000, dtype=np.uint64)
    for a, b in ((nodes[:-1], nodes[1:]), (nodes[:0:-1], nodes[-2::-1])):
        assert (unionfind.components(a, b)[1] == 0).all()


@settings(deadline=None)
@given(EDGES.map(lambda edges: [(a, b) for a, b in edges if a != b]))
def test_stars_leave_an_edge_from_every_node_to_its_root(edges):
    a, b, _ = by_stars(*columns(edges))
    roots = {node: root for node, root in twin.components(edges).items() if node != root}
    assert named(a, b) == roots
    assert len(a) == len(roots)


@settings(deadline=None)
@given(EDGES.map(lambda edges: [(a, b) for a, b in edges if a != b]))
def test_each_star_operation_keeps_the_components(edges):
    a, b = columns(edges)
    large = unionfind.large_star(np.concatenate([a, b]), np.concatenate([b, a]))
    small = unionfind.small_star(*large)
    for star in (large, small):
        assert named(*unionfind.components(*star)) == twin.components(edges)
        assert (star[0] > star[1]).all(), "an edge goes from the larger to the smaller"
        assert len(set(zip(*(x.tolist() for x in star), strict=True))) == len(star[0]), "edges are distinct"


SHAPES = {
    "chain": [(i, i + 1) for i in range(3000)],
    "chain the other way": [(i + 1, i) for i in range(3000)],
    "chain of mixed names": [(i * 7919 % 3001, (i + 1) * 7919 % 3001) for i in range(3000)],
    "clique": [(i, j) for i in range(60) for j in range(i)],
    "star around the largest": [(3000, i) for i in range(3000)],
    "two cliques and a bridge": [(c * 40 + i, c * 40 + j) for c in (0, 1) for i in range(40) for j in range(i)]
    + [(3, 77)],
    "tree": [(i, i // 2) for i in range(1, 3000)],
    "nothing": [],
}


@pytest.mark.parametrize("shape", SHAPES)
def test_stars_settle_in_a_few_rounds_whatever_the_shape(shape):
    edges = SHAPES[shape]
    a, b, rounds = by_stars(*columns(edges))
    assert named(*unionfind.components(a, b)) == twin.components(edges)
    assert rounds <= 16, "the logarithm of the longest path, a little more"


@pytest.mark.parametrize(
    ("edges", "open_"),
    [([], False), ([(2, 1)], False), ([(2, 1), (3, 1)], False), ([(3, 1), (3, 2)], True), ([(3, 2), (2, 1)], True)],
)
def test_only_stars_around_the_smallest_node_are_closed(edges, open_):
    a, b = columns(edges)
    assert unionfind.is_open(np.concatenate([a, b]), np.concatenate([b, a])) == open_
