"""Buckets of equal keys and the pairs they give, against loops."""

from itertools import groupby, pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.kernels import lsh
from tests.kernels import reference_dedup as twin

KEYS = st.lists(st.integers(0, 8), max_size=40)


def keyed(buckets):
    """Return (keys, documents) of buckets that name documents best first."""
    rows = [(key, document) for key, bucket in enumerate(buckets) for document in bucket]
    return tuple(np.array([row[side] for row in rows], np.uint64) for side in (0, 1))


def all_pairs(keys, documents):
    """Return the portions of pairs, as documents."""
    portions = lsh.pairs(lsh.buckets(keys), documents)
    return [list(zip(documents[a].tolist(), documents[b].tolist(), strict=True)) for a, b in portions]


@given(KEYS)
def test_a_key_is_shared_when_another_row_has_it_too(keys):
    assert lsh.shared(np.array(keys, np.uint64)).tolist() == [keys.count(key) > 1 for key in keys]


@given(KEYS.map(sorted))
def test_a_bucket_is_a_run_of_equal_keys(keys):
    starts = lsh.buckets(np.array(keys, np.uint64)).tolist()
    assert [keys[a:b] for a, b in pairwise(starts)] == [list(run) for _, run in groupby(keys)]


@settings(deadline=None)  # the first call compiles
@given(st.lists(st.sets(st.integers(0, 20), min_size=1, max_size=8).map(sorted), max_size=12))
def test_every_pair_of_a_bucket_is_given_once_the_better_first(buckets):
    portions = all_pairs(*keyed(buckets))
    assert len(portions) <= 1
    found = [pair for portion in portions for pair in portion]
    assert sorted(found) == sorted(twin.pairs(buckets, run=99))


@pytest.mark.parametrize("at_once", [1, 5, 17, 200])
def test_portions_are_of_a_bounded_size_and_leave_no_pair_out(monkeypatch, at_once):
    monkeypatch.setattr(lsh, "AT_ONCE", at_once)
    random = np.random.default_rng(at_once)
    buckets = [sorted(random.choice(60, random.integers(1, 9), replace=False).tolist()) for _ in range(50)]
    portions = all_pairs(*keyed(buckets))
    assert {pair for portion in portions for pair in portion} == twin.pairs(buckets, run=99)
    assert all(len(set(portion)) == len(portion) for portion in portions), "a pair comes once in a portion"
    assert all(len(portion) <= max(at_once, 28) for portion in portions), "one bucket of 8 documents has 28 pairs"


def test_addresses_that_differ_in_the_shard_only_do_not_collide():
    shards = (np.arange(200, dtype=np.uint64) << np.uint64(32)) | np.uint64(7)
    (found,) = all_pairs(np.zeros(200, np.uint64), shards)
    assert len(set(found)) == 200 * 199 // 2


def test_rows_of_one_document_under_one_key_are_no_pair():
    assert all_pairs(*keyed([[3, 3, 4]])) == [[(3, 4)]]


def test_neighbours_are_spread_evenly():
    for addresses in (np.arange(30_000, dtype=np.uint64), np.arange(30_000, dtype=np.uint64) << np.uint64(32)):
        for partitions in (1, 2, 3, 64, 1024):
            counts = np.bincount(lsh.spread(addresses, partitions), minlength=partitions)
            assert len(counts) == partitions
            assert counts.max() < 2 * 30_000 / partitions


@pytest.mark.parametrize("partitions", [1, 2, 64, 1024])
@pytest.mark.parametrize("count", [2, 3, 8, 64])
def test_what_shares_a_partition_is_still_cut_evenly_into_pieces(partitions, count):
    for addresses in (np.arange(600_000, dtype=np.uint64), np.arange(600_000, dtype=np.uint64) << np.uint64(32)):
        mine = addresses[lsh.spread(addresses, partitions) == partitions - 1][:4096]
        counts = np.bincount(lsh.pieces(mine, count), minlength=count)
        assert len(counts) == count
        assert counts.max() < 2.5 * max(len(mine) / count, 8)
