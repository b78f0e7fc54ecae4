"""MixedDataset: the mixture in every block, each source in an order of its own, and how reading goes on."""

import json
import pickle
from collections import Counter
from itertools import count

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import DataError
from pipeline.tokens.loader import PackedDataset
from pipeline.tokens.mixed import MixedDataset, block_counts
from tests.tokens import reference_mixed as twin
from tests.tokens.packed import write_packed

WEIGHTS = {"web": 0.5, "code": 0.3, "books": 0.2}


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    root = tmp_path_factory.mktemp("mixed")
    for number, (name, rows) in enumerate({"web": 9, "code": 5, "books": 2}.items()):
        write_packed(root / name, rows=rows, seed=number)
    return {name: root / name for name in WEIGHTS}


def mixed(paths, **options):
    return MixedDataset(paths, **{"weights": WEIGHTS, "block": 32, "seed": 4} | options)


def taken(dataset, steps, batch_size=1):
    """The rows of this rank's next steps, as (name, row of that source)."""
    given_out = dataset.steps(batch_size)
    rows = np.concatenate([next(given_out) for _ in range(steps)])
    number, within = dataset.located(rows)
    return [(dataset.names[s], row) for s, row in zip(number.tolist(), within.tolist(), strict=True)]


def test_the_stream_is_that_of_the_slow_twin(paths):
    dataset = mixed(paths)
    orders = {name: order_of(source) for name, source in zip(dataset.names, dataset.sources, strict=True)}
    assert taken(dataset, 32 * 6) == twin.stream(orders, WEIGHTS, 32, 4, blocks=6)


def order_of(source):
    return (int(source.rows_at(np.array([at]))[0]) for at in count())


def test_every_block_holds_the_exact_mixture_in_an_order_of_its_own(paths):
    dataset = mixed(paths)
    names = [name for name, _ in taken(dataset, 32 * 40)]
    blocks = [names[i : i + 32] for i in range(0, len(names), 32)]
    assert {tuple(sorted(Counter(block).items())) for block in blocks} == {(("books", 6), ("code", 10), ("web", 16))}
    assert len(set(map(tuple, blocks))) == 40


def test_each_pass_over_a_source_gives_its_every_row_once(paths):
    given_out = taken(mixed(paths), 32 * 30)
    for name, rows, share in (("web", 27, 16), ("code", 15, 10), ("books", 6, 6)):
        own = [row for source, row in given_out if source == name]
        reached = 30 * share // rows * rows
        counts = Counter(own)
        assert set(counts) == set(range(rows))
        # A pass may end within a block, where the order of the block decides: no row is more than a pass ahead.
        assert max(counts.values()) - min(counts.values()) <= 1
        assert len(own) - reached < rows


def test_a_far_position_is_found_without_those_before_it(paths):
    dataset, far = mixed(paths), 32 * 10**12
    rows = dataset.rows_at(np.arange(far, far + 32))
    number, _ = dataset.located(rows)
    assert np.bincount(number).tolist() == [6, 10, 16]
    assert dataset.rows_at(np.array([far + 7])).tolist() == [rows[7]]


@pytest.mark.parametrize("world_size", [2, 5])
def test_ranks_together_read_the_stream_of_one(paths, world_size):
    alone = taken(mixed(paths), 100)
    ranks = [taken(mixed(paths, rank=r, world_size=world_size), 100 // world_size) for r in range(world_size)]
    assert [row for step in zip(*ranks, strict=True) for row in step] == alone


def test_reading_goes_on_where_it_stopped_even_with_another_world_size(paths):
    alone = taken(mixed(paths), 100)
    before = [mixed(paths, rank=r, world_size=2) for r in range(2)]
    for dataset in before:
        taken(dataset, 5, batch_size=4)
    state = json.loads(json.dumps(before[0].state_dict()))
    assert state == before[1].state_dict()
    after = [mixed(paths, rank=r, world_size=3) for r in range(3)]
    for dataset in after:
        dataset.load_state_dict(state)
    assert [row for step in zip(*(taken(d, 20) for d in after), strict=True) for row in step] == alone[40:]


def test_the_order_of_a_source_depends_on_its_name_and_not_on_its_neighbours(paths):
    two = mixed({name: paths[name] for name in ("web", "code")}, weights={"code": 5, "web": 8})
    three = mixed(dict(reversed(paths.items())))
    here, there = (d.sources[d.names.index("web")] for d in (two, three))
    assert here.rows_at(np.arange(100)).tolist() == there.rows_at(np.arange(100)).tolist()
    assert taken(three, 64) == taken(mixed(paths), 64)
    twice = mixed({"a": paths["web"], "b": paths["web"]}, weights={"a": 1, "b": 1})
    assert twice.sources[0].rows_at(np.arange(27)).tolist() != twice.sources[1].rows_at(np.arange(27)).tolist()


def test_items_and_batches_are_those_of_the_sources(paths):
    dataset = mixed(paths)
    rows = np.array([0, 5, 6, 20, 21, 47, 6])
    alone = [PackedDataset(paths[name])[row] for name, row in located(dataset, rows)]
    batch = dataset.batch(rows)
    for name in ("tokens", "targets", "loss_mask", "position_ids", "document_ids"):
        assert np.array_equal(batch[name], np.stack([item[name] for item in alone]))
    assert dataset[21]["cu_seqlens"].tolist() == alone[4]["cu_seqlens"].tolist()
    assert len(dataset) == 48


def located(dataset, rows):
    number, within = dataset.located(rows)
    return [(dataset.names[s], row) for s, row in zip(number.tolist(), within.tolist(), strict=True)]


def test_weights_of_tokens_come_from_each_source(tmp_path):
    for number, name in enumerate("ab"):
        write_packed(tmp_path / name, weighted=True, seed=number)
    dataset = mixed({name: tmp_path / name for name in "ab"}, weights={"a": 1, "b": 1})
    item, alone = dataset[30], PackedDataset(tmp_path / "b")[9]
    assert item["loss_weights"].tolist() == alone["loss_weights"].tolist()


def test_passes_tell_how_often_each_source_was_read(paths):
    dataset = mixed(paths)
    taken(dataset, 64)
    assert dataset.passes == {"books": 12 / 6, "code": 20 / 15, "web": 32 / 27}


def test_a_mixture_goes_to_another_process_with_its_state(paths):
    dataset = mixed(paths)
    taken(dataset, 5)
    assert taken(pickle.loads(pickle.dumps(dataset)), 10) == taken(dataset, 10)


@given(st.dictionaries(st.sampled_from("abcdefgh"), st.integers(1, 1000), min_size=1), st.integers(1, 5000))
@settings(deadline=None)
def test_counts_are_those_of_the_slow_twin(weights, block):
    expected = twin.block_counts(weights, block)
    names = tuple(sorted(weights))
    if min(expected.values()):
        assert dict(zip(names, block_counts(names, weights, block), strict=True)) == expected
    else:
        with pytest.raises(ValueError, match=f"a block of {block} rows has none of"):
            block_counts(names, weights, block)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"web": 1, "code": 1}, r"weights are given for \['code', 'web'\], sources are \['books', 'code', 'web'\]"),
        (WEIGHTS | {"books": 0}, "must be a number above 0"),
        (WEIGHTS | {"books": float("nan")}, "must be a number above 0"),
        (WEIGHTS | {"books": 1e-4}, "a block of 32 rows has none of 'books'"),
    ],
)
def test_weights_that_cannot_be_met_are_refused(paths, weights, message):
    with pytest.raises(ValueError, match=message):
        mixed(paths, weights=weights)


@pytest.mark.parametrize("block", [0, -5])
def test_a_block_without_rows_is_refused(paths, block):
    with pytest.raises(ValueError, match=f"a block of {block} rows has none of 'books'"):
        mixed(paths, block=block)


@pytest.mark.parametrize(
    ("options", "fact"),
    [
        ({"length": 8}, "sequence_length"),
        ({"vocab_size": 900}, "vocab_size"),
        ({"vocab_size": 70_000}, "dtype"),
        ({"weighted": True}, "token_weights"),
    ],
)
def test_sources_that_were_packed_otherwise_are_refused(paths, tmp_path, options, fact):
    write_packed(tmp_path / "other", **options)
    with pytest.raises(DataError, match=f"source 'web' was packed with {fact}"):
        mixed(paths | {"web": tmp_path / "other"})


def test_sources_of_two_tokenizers_of_one_size_are_refused_and_one_that_tells_none_is_not(tmp_path):
    made = {"a": b"one", "b": None, "c": b"one", "d": b"other"}
    for number, (name, tokenizer) in enumerate(made.items()):
        write_packed(tmp_path / name, seed=number, tokenizer=tokenizer)
    MixedDataset({name: tmp_path / name for name in "abc"}, weights=dict.fromkeys("abc", 1))
    with pytest.raises(
        DataError, match=r"'c' was packed with tokenizer [0-9a-f]{12}, source 'd' with [0-9a-f]{12}: one"
    ):
        MixedDataset({name: tmp_path / name for name in "bcd"}, weights=dict.fromkeys("bcd", 1))


def test_an_empty_source_is_refused(paths, tmp_path):
    write_packed(tmp_path / "none", rows=0)
    with pytest.raises(DataError, match=r"source 'web'.*has no rows"):
        mixed(paths | {"web": tmp_path / "none"})


@pytest.mark.parametrize("options", [{"seed": 5}, {"block": 64}, {"weights": {"web": 1, "code": 1, "books": 1}}])
def test_a_state_of_another_mixture_is_refused(paths, options):
    with pytest.raises(DataError, match="this state was saved with"):
        mixed(paths).load_state_dict(mixed(paths, **options).state_dict())
