"""Who stays: the greedy rule against a loop over the documents, best first."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.kernels import settle
from tests.kernels import reference_dedup as twin


def ragged(lists):
    """Return (offsets, others, similarities) of each document's edges."""
    offsets = np.concatenate([[0], np.cumsum([len(edges) for edges in lists])]).astype(np.int64)
    flat = [edge for edges in lists for edge in edges]
    return offsets, np.array([o for o, _ in flat], np.int64), np.array([s for _, s in flat], np.float64)


@st.composite
def graphs(draw):
    """Return (order, edges): documents best first under names that tell nothing, edges to better ones, best first."""
    count = draw(st.integers(0, 25))
    order = draw(st.permutations(range(count)))
    like = {}
    for place, document in enumerate(order):
        better = draw(st.sets(st.integers(0, place - 1), max_size=6)) if place else set()
        like[document] = [(order[p], draw(st.sampled_from([0.8, 0.85, 0.9, 1.0]))) for p in sorted(better)]
    return order, like


@settings(deadline=None)  # the first call compiles
@given(graphs())
def test_keepers_are_those_of_the_greedy_rule(graph):
    order, like = graph
    offsets, others, similarity = ragged([like[i] for i in range(len(order))])
    edges = settle.keepers(offsets, others, similarity).tolist()
    expected = twin.greedy(order, like)
    assert [None if e < 0 else (others[e], similarity[e]) for e in edges] == [expected[i] for i in range(len(order))]
    assert all(e < 0 or first <= e < end for e, (first, end) in zip(edges, pairwise(offsets.tolist()), strict=True))


def test_of_equally_like_ones_the_better_is_named():
    offsets, others, similarity = ragged([[], [], [(1, 0.9), (0, 0.9)]])
    assert settle.keepers(offsets, others, similarity).tolist() == [-1, -1, 0]


@pytest.mark.parametrize(
    "edges", [[[(0, 1.0)]], [[(1, 0.9)], [(0, 0.9)]], [[], [(3, 0.9)], [(1, 0.9)], [(0, 0.8), (2, 0.8)]]]
)
def test_edges_that_run_in_a_circle_are_refused(edges):
    with pytest.raises(ValueError, match="run in a circle"):
        settle.keepers(*ragged(edges))


@pytest.mark.parametrize("step", [1, -1])
def test_a_chain_of_a_million_documents_is_settled_without_a_deep_stack(step):
    number = 1_000_000
    others = np.arange(number, dtype=np.int64)[::step]
    offsets = np.arange(number + 2, dtype=np.int64) - (step > 0)
    offsets[0], offsets[-1] = 0, number
    if step > 0:  # document i + 1 is like document i, document 0 is the best
        stays = settle.keepers(offsets, others, np.full(number, 0.9)) < 0
    else:  # document i is like document i + 1, the last one is the best
        stays = (settle.keepers(offsets, others[::-1] + 1, np.full(number, 0.9)) < 0)[::-1]
    assert (stays == (np.arange(number + 1) % 2 == 0)).all()


def test_one_document_with_very_many_edges_is_settled_in_linear_time():
    number = 500_000
    offsets = np.zeros(number + 1, np.int64)
    offsets[-1] = number - 1
    found = settle.keepers(offsets, np.arange(number - 1), np.linspace(0.8, 0.9, number - 1))
    assert found[-1] == number - 2
    assert (found[:-1] == -1).all()


def test_there_may_be_no_documents_and_no_edges():
    assert settle.keepers(*ragged([])).tolist() == []
    assert settle.keepers(*ragged([[], []])).tolist() == [-1, -1]
