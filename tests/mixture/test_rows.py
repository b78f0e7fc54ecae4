"""What a proxy reads: exact shares of every domain, streams read on, and the same beginning for all mixtures."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.kernels.permutation import key_of, permuted
from pipeline.mixture.rows import EPOCHS, Pool, Reader, Stream, allotted, sequence

weights = st.dictionaries(st.sampled_from("abcdef"), st.floats(0.001, 1), min_size=1)


@given(weights, st.integers(1, 500))
def test_a_domain_has_its_share_of_the_rows_to_less_than_one(given, rows):
    counts = allotted(given, rows)
    assert sum(counts.values()) == rows
    total = sum(given.values())
    assert all(abs(counts[domain] - rows * weight / total) < 1 for domain, weight in given.items())


@given(st.lists(st.integers(0, 30), min_size=1, max_size=5).filter(any), st.integers(0, 3))
def test_every_row_of_every_domain_comes_once_and_in_its_order(counts, seed):
    domain_R, which_R = sequence(counts, seed)
    for domain, count in enumerate(counts):
        assert which_R[domain_R == domain].tolist() == list(range(count))


def test_the_order_of_domains_depends_on_the_seed_and_the_number_of_rows_only():
    first, other = (np.array([sequence(counts, 5)[0] == 0 for counts in ([c, 100 - c],)])[0] for c in (30, 60))
    assert not (first & ~other).any(), "where a mixture reads a domain, one with more of it reads it too"
    assert not np.array_equal(sequence([30, 70], 5)[0], sequence([30, 70], 6)[0])


def pool(lengths, first=0):
    bounds = np.cumsum([0, *lengths])
    return Pool(np.arange(first, first + bounds[-1], dtype=np.uint16), bounds)


def plain_stream(pool, seed, length):
    """Return the stream by reading documents one after the other."""
    count, found, epoch = len(pool.bounds) - 1, [], 0
    while len(found) < length:
        for document in permuted(np.arange(count), count, key_of(seed, EPOCHS, epoch)).tolist():
            found += pool.tokens[pool.bounds[document] : pool.bounds[document + 1]].tolist()
        epoch += 1
    return found[:length]


@given(st.lists(st.integers(1, 9), min_size=1, max_size=6), st.integers(1, 7), st.integers(0, 2))
def test_rows_are_those_of_a_stream_read_document_by_document(lengths, context, seed):
    made = pool(lengths)
    which_B = np.array([3, 0, 9])
    expected = plain_stream(made, seed, 10 * context + 1)
    rows_BT = Stream(made, seed).rows(which_B, context)
    assert rows_BT.tolist() == [expected[k * context : (k + 1) * context + 1] for k in which_B.tolist()]


@given(st.lists(st.integers(1, 9), min_size=2, max_size=6))
def test_an_epoch_reads_every_token_once(lengths):
    made = pool(lengths)
    for epoch in range(3):
        found = Stream(made, 4).rows(np.arange(epoch * len(made), (epoch + 1) * len(made)), 1)[:, 0]
        assert sorted(found.tolist()) == made.tokens.tolist()


def test_two_mixtures_of_one_seed_read_the_same_beginning_of_every_domain():
    pools = [pool([50] * 4), pool([70] * 3, first=1000)]

    def read(counts):
        rows_BT = Reader(pools, counts, 8, seed=3).rows(0, sum(counts))
        return [[row for row in rows_BT.tolist() if (row[0] >= 1000) == domain] for domain in (False, True)]

    little, much = read([3, 9]), read([8, 4])
    assert little[0] == much[0][:3]
    assert much[1] == little[1][:4]


def test_a_run_reads_the_same_rows_whatever_the_steps_it_is_cut_into():
    pools = [pool([5, 9, 2]), pool([4, 4], first=100)]
    whole = Reader(pools, [6, 10], 4, seed=0).rows(0, 16)
    again = Reader(pools, [6, 10], 4, seed=0)
    np.testing.assert_array_equal(whole, np.concatenate([again.rows(at, at + 4) for at in range(0, 16, 4)]))


def test_a_domain_without_rows_needs_no_pool():
    assert Reader([pool([9]), pool([])], [4, 0], 4, seed=0).rows(0, 4).max() < 9
    with pytest.raises(ValueError, match="zip"):
        Reader([pool([9])], [4, 0], 4, seed=0)
