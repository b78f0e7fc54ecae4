"""PackedDataset: what an item holds, in which order items come, and how reading goes on after a stop."""

import json
import pickle
import re
import subprocess
import sys
from itertools import pairwise

import numpy as np
import pytest

from pipeline.errors import DataError
from pipeline.kernels.row_arrays import IGNORE
from pipeline.tokens.format import PADDING
from pipeline.tokens.loader import PackedDataset
from tests.tokens.packed import PAD, write_packed


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("packed") / "sequences"
    return root, write_packed(root)


def stream(dataset, steps=None):
    """The rows given out, recognised by their tokens."""
    items = iter(dataset)
    return (
        [tuple(next(items)["tokens"].tolist()) for _ in range(steps)]
        if steps
        else [tuple(item["tokens"].tolist()) for item in items]
    )


def test_an_item_says_what_a_trainer_needs_of_every_position(folder):
    root, written = folder
    dataset = PackedDataset(root)
    assert len(dataset) == len(written) == 21
    for i, (row, segments) in enumerate(written):
        item = dataset[i]
        bounds = [0, *segments["end"].tolist()]
        assert item["tokens"].tolist() == row
        assert item["cu_seqlens"].tolist() == bounds
        for k, (begin, end) in enumerate(pairwise(bounds)):
            padding = segments["domain"][k] == PADDING
            assert item["position_ids"][begin:end].tolist() == list(range(end - begin))
            assert item["document_ids"][begin:end].tolist() == [-1 if padding else k] * (end - begin)
            following = [IGNORE] * (end - begin) if padding else [*row[begin + 1 : end], IGNORE]
            assert item["targets"][begin:end].tolist() == following
            assert item["loss_mask"][begin:end].tolist() == [t != IGNORE for t in following]
        assert item["max_seqlen"] == max(end - begin for begin, end in pairwise(bounds))


def test_an_item_has_the_dtypes_and_shapes_it_promises(folder):
    item = PackedDataset(folder[0])[-1]
    kinds = {name: (array.dtype.name, array.shape) for name, array in item.items()}
    assert kinds.pop("cu_seqlens")[0] == "int32"
    assert kinds == {
        "tokens": ("int64", (16,)),
        "targets": ("int64", (16,)),
        "loss_mask": ("bool", (16,)),
        "position_ids": ("int64", (16,)),
        "document_ids": ("int32", (16,)),
        "max_seqlen": ("int32", ()),
    }


def test_a_batch_is_its_rows_side_by_side(folder):
    dataset = PackedDataset(folder[0])
    rows = np.array([20, 3, 3, 8])
    batch, items = dataset.batch(rows), [dataset[int(row)] for row in rows]
    for name in ("tokens", "targets", "loss_mask", "position_ids", "document_ids"):
        assert np.array_equal(batch[name], np.stack([item[name] for item in items]))
    bounds = [0, *(16 * i + end for i, item in enumerate(items) for end in item["cu_seqlens"][1:].tolist())]
    assert batch["cu_seqlens"].tolist() == bounds
    assert batch["max_seqlen"] == max(item["max_seqlen"] for item in items)


def test_a_batch_of_no_rows_has_no_positions(folder, tmp_path):
    write_packed(tmp_path / "weighted", weighted=True)
    for root in (folder[0], tmp_path / "weighted"):
        dataset = PackedDataset(root)
        empty, one = dataset.batch(np.zeros(0, np.int64)), dataset.batch(np.zeros(1, np.int64))
        assert {name: array.dtype for name, array in empty.items()} == {name: a.dtype for name, a in one.items()}
        assert empty.pop("cu_seqlens").tolist() == [0]
        assert empty.pop("max_seqlen") == 0
        assert {array.shape for array in empty.values()} == {(0, 16)}


def test_the_arrays_of_a_batch_may_be_written(folder):
    """They are the trainer's own: neither the files nor the next batch."""
    dataset = PackedDataset(folder[0])
    first, rows = dataset.batch(np.array([2, 3])), np.array([4, 5])
    expected = {name: array.tolist() for name, array in dataset.batch(rows).items()}
    for array in first.values():
        array[...] = 1
    assert {name: array.tolist() for name, array in dataset.batch(rows).items()} == expected
    second = dataset.batch(rows)
    assert all((array == 1).all() for array in first.values())
    assert not any(np.shares_memory(a, b) for a in first.values() for b in second.values())


@pytest.mark.parametrize("found", ["[15]", "[]"])
def test_a_row_that_its_segments_do_not_fill_is_refused(tmp_path, found):
    write_packed(tmp_path / "p", rows=1, parts=2)
    stem = tmp_path / "p/data/part-00001"
    segments, offsets = (np.load(f"{stem}.{kind}.npy") for kind in ("segments", "offsets"))
    ends = json.loads(found)
    offsets[1] = len(ends)
    segments["end"][: len(ends)] = ends
    np.save(f"{stem}.segments.npy", segments)
    np.save(f"{stem}.offsets.npy", offsets)
    dataset = PackedDataset(tmp_path / "p")
    assert dataset[0]["cu_seqlens"][-1] == 16
    with pytest.raises(DataError, match=rf"row 1 of .* has segments that end at {re.escape(found)}; the last must end"):
        dataset.batch(np.array([0, 1]))


def test_positions_restart_with_every_segment_or_continue_through_the_row(folder):
    continuing = PackedDataset(folder[0], positions="continue").batch(np.array([0, 5, 9]))
    assert continuing.pop("position_ids").tolist() == [list(range(16))] * 3
    restarting = PackedDataset(folder[0]).batch(np.array([0, 5, 9]))
    assert restarting.pop("position_ids").tolist() != [list(range(16))] * 3
    assert {name: a.tolist() for name, a in continuing.items()} == {name: a.tolist() for name, a in restarting.items()}
    with pytest.raises(ValueError, match="positions is 'go on'"):
        PackedDataset(folder[0], positions="go on")


def test_the_loss_of_a_position_weighs_what_the_token_after_it_weighs(tmp_path):
    write_packed(tmp_path / "p", weighted=True)
    dataset = PackedDataset(tmp_path / "p")
    item, weights = dataset[4], dataset.token_weights(np.array([4]))[0]
    assert item["loss_weights"].dtype == np.float32
    for place, learned in enumerate(item["loss_mask"].tolist()):
        assert item["loss_weights"][place] == (weights[place + 1] if learned else 0)
    assert np.count_nonzero(item["loss_weights"]) > 3
    batch = dataset.batch(np.array([4, 7]))
    assert batch["loss_weights"].tolist() == [item["loss_weights"].tolist(), dataset[7]["loss_weights"].tolist()]


def test_sequences_without_weights_say_so(folder):
    assert "loss_weights" not in PackedDataset(folder[0])[0]
    with pytest.raises(DataError, match="has no weights of tokens"):
        PackedDataset(folder[0]).token_weights(np.array([0]))


def test_a_pass_gives_every_row_once_in_an_order_of_its_own(folder):
    root, written = folder
    rows = sorted(tuple(row) for row, _ in written)
    dataset = PackedDataset(root, seed=3)
    first, second = stream(dataset), stream(dataset)
    assert sorted(first) == sorted(second) == rows
    assert first != second
    assert dataset.epoch == 2
    assert stream(PackedDataset(root, seed=3, epochs=2)) == first + second
    assert stream(PackedDataset(root, seed=4)) != first
    assert stream(PackedDataset(root, shuffle=False)) == [tuple(row) for row, _ in written]


@pytest.mark.parametrize("world_size", [2, 3, 8])
def test_ranks_together_read_the_stream_of_one(folder, world_size):
    alone = stream(PackedDataset(folder[0], seed=1, epochs=None), 48)
    ranks = [
        stream(PackedDataset(folder[0], seed=1, rank=rank, world_size=world_size, epochs=None), 48 // world_size)
        for rank in range(world_size)
    ]
    assert [row for step in zip(*ranks, strict=True) for row in step] == alone


def test_every_rank_makes_the_same_number_of_steps(folder):
    lengths = {len(stream(PackedDataset(folder[0], rank=rank, world_size=4))) for rank in range(4)}
    assert lengths == {5}  # 21 rows


def test_reading_goes_on_where_it_stopped_even_with_another_world_size(folder):
    alone = stream(PackedDataset(folder[0], seed=5, epochs=None), 60)
    before = [PackedDataset(folder[0], seed=5, rank=r, world_size=2, epochs=None) for r in range(2)]
    for dataset in before:
        stream(dataset, 13)
    states = [dataset.state_dict() for dataset in before]
    assert states[0] == states[1]
    assert json.loads(json.dumps(states[0])) == states[0]
    after = [PackedDataset(folder[0], seed=5, rank=r, world_size=3, epochs=None) for r in range(3)]
    for dataset in after:
        dataset.load_state_dict(states[0])
    rest = [row for step in zip(*(stream(dataset, 11) for dataset in after), strict=True) for row in step]
    assert rest == alone[26 : 26 + 33]


def test_a_state_loaded_while_iterating_takes_hold_at_once(folder):
    dataset = PackedDataset(folder[0], epochs=None)
    items = iter(dataset)
    state = dataset.state_dict()
    first = next(items)["tokens"].tolist()
    next(items)
    dataset.load_state_dict(state)
    assert next(items)["tokens"].tolist() == first


def test_a_state_of_a_later_pass_loaded_while_iterating_is_not_lost(folder):
    dataset = PackedDataset(folder[0], seed=5)
    items = iter(dataset)
    next(items)
    dataset.load_state_dict(dataset.state_dict() | {"consumed": 30})
    assert list(items) == []
    assert stream(dataset) == stream(PackedDataset(folder[0], seed=5, epochs=2))[30:]


@pytest.mark.parametrize("together", [1, 4, 1000])
def test_items_made_together_are_those_of_their_rows(folder, monkeypatch, together):
    monkeypatch.setattr("pipeline.tokens.stream.ITEM_TOKENS", 16 * together)
    dataset = PackedDataset(folder[0], seed=6, rank=1, world_size=2, epochs=3)
    rows = [int(row) for (row,) in PackedDataset(folder[0], seed=6, rank=1, world_size=2, epochs=3).steps(1)]
    assert len(rows) == 31  # 63, two a step
    for row, item in zip(rows, dataset, strict=True):
        alone = dataset[row]
        assert {n: (a.dtype, a.tolist()) for n, a in item.items()} == {
            n: (a.dtype, a.tolist()) for n, a in alone.items()
        }


def test_a_state_loaded_amid_items_made_together_goes_on_there(folder, monkeypatch):
    monkeypatch.setattr("pipeline.tokens.stream.ITEM_TOKENS", 16 * 5)
    alone = stream(PackedDataset(folder[0], seed=5, epochs=None), 80)
    dataset = PackedDataset(folder[0], seed=5, rank=1, world_size=2, epochs=None)
    items = iter(dataset)
    for start in (6, 0, 1, 57, 55, 20, 20, 24):
        dataset.load_state_dict(dataset.state_dict() | {"consumed": start})
        assert [tuple(next(items)["tokens"].tolist()) for _ in range(3)] == alone[start + 1 : start + 7 : 2]


def test_a_batch_of_a_rank_is_its_next_items(folder):
    one, many = (PackedDataset(folder[0], rank=1, world_size=2, epochs=2) for _ in range(2))
    batches = [batch["tokens"].tolist() for batch in many.batches(4)]
    assert len(batches) == 5  # 42 rows, 8 a step
    items = [item["tokens"].tolist() for item in one]
    assert [row for batch in batches for row in batch] == items[:20]


def test_a_state_of_other_sequences_or_another_order_is_refused(folder, tmp_path):
    write_packed(tmp_path / "other", seed=9)
    state = PackedDataset(tmp_path / "other").state_dict()
    with pytest.raises(DataError, match="saved with fingerprint"):
        PackedDataset(folder[0]).load_state_dict(state)
    with pytest.raises(DataError, match="saved with seed 2"):
        PackedDataset(folder[0]).load_state_dict(PackedDataset(folder[0], seed=2).state_dict())


def test_wide_tokens_are_read(tmp_path):
    written = write_packed(tmp_path / "wide", vocab_size=100_000)
    dataset = PackedDataset(tmp_path / "wide")
    assert dataset.packed.dtype == np.uint32
    assert [dataset[i]["tokens"].tolist() for i in range(len(dataset))] == [row for row, _ in written]


def test_a_row_without_any_document_has_nothing_to_learn(tmp_path):
    written = write_packed(tmp_path / "p", rows=60, length=4)
    empty = next(i for i, (row, _) in enumerate(written) if set(row) == {PAD})
    item = PackedDataset(tmp_path / "p")[empty]
    assert not item["loss_mask"].any()
    assert item["cu_seqlens"].tolist() == [0, 4]


def test_sequences_without_rows_are_an_empty_dataset(tmp_path):
    write_packed(tmp_path / "none", rows=0)
    dataset = PackedDataset(tmp_path / "none", epochs=None)
    assert len(dataset) == 0
    assert list(dataset) == []
    with pytest.raises(IndexError):
        dataset[0]


def test_more_parts_than_may_be_open_are_read_all_the_same(tmp_path, monkeypatch):
    monkeypatch.setattr("pipeline.tokens.loader.OPEN_PARTS", 2)
    written = write_packed(tmp_path / "p", parts=9, rows=2)
    dataset = PackedDataset(tmp_path / "p")
    assert sorted(stream(dataset)) == sorted(tuple(row) for row, _ in written)
    assert len(dataset._open) == 2


def test_a_dataset_goes_to_another_process_with_its_state(folder):
    dataset = PackedDataset(folder[0], epochs=None)
    stream(dataset, 5)
    twin = pickle.loads(pickle.dumps(dataset))
    assert stream(twin, 10) == stream(dataset, 10)


def test_the_folder_of_a_build_is_refused_with_the_folder_of_its_sequences(tmp_path):
    for number in ("0123", "4567"):
        write_packed(tmp_path / f"corpora/tokens.pack-{number}")
    (tmp_path / "builds/demo").mkdir(parents=True)
    steps = {"documents": {"folder": "ingest-89ab"}, "sequences": {"folder": "tokens.pack-4567"}}
    (tmp_path / "builds/demo/build.json").write_text(json.dumps({"steps": steps}))
    with pytest.raises(DataError, match=r"Did you mean .*corpora/tokens\.pack-4567\?"):
        PackedDataset(tmp_path / "builds/demo")


def test_a_damaged_file_of_the_right_size_is_told(tmp_path):
    root = tmp_path / "tokens.pack-0123"
    write_packed(root)
    path = root / "data/part-00000.rows.npy"
    path.write_bytes(b"\0" * path.stat().st_size)
    with pytest.raises(DataError, match=r"part-00000\.rows\.npy is damaged"):
        PackedDataset(root)[0]


@pytest.mark.parametrize("consumed", [-1, "3", None, 2.5])
def test_a_state_that_tells_no_place_is_refused(folder, consumed):
    dataset = PackedDataset(folder[0])
    with pytest.raises(DataError, match=r"this state has consumed .*; it must be a whole number from 0"):
        dataset.load_state_dict(dataset.state_dict() | {"consumed": consumed})


def test_a_batch_of_no_rows_is_refused(folder):
    with pytest.raises(ValueError, match="a batch of 0 rows: give 1 or more"):
        next(PackedDataset(folder[0]).batches(0))


def test_what_is_no_folder_of_sequences_is_refused_with_what_to_do(folder, tmp_path):
    with pytest.raises(DataError, match=r"no manifest\.json in it"):
        PackedDataset(tmp_path)
    write_packed(tmp_path / "corpora/tokens.pack-0123")
    with pytest.raises(DataError, match=r"Did you mean .*tokens\.pack-0123"):
        PackedDataset(tmp_path)
    with pytest.raises(DataError, match=r"Did you mean .*tokens\.pack-0123\?"):
        PackedDataset(tmp_path / "corpora/tokens.pack-0123/data")
    (tmp_path / "build.json").write_text('{"scripts": []}')
    with pytest.raises(DataError, match=r"Did you mean .*tokens\.pack-0123"):
        PackedDataset(tmp_path)
    (tmp_path / "manifest.json").write_text('{"stage": "ingest", "facts": {}}')
    with pytest.raises(DataError, match=r"stage 'ingest', not packed sequences"):
        PackedDataset(tmp_path)
    (tmp_path / "manifest.json").write_text("{")
    with pytest.raises(DataError, match="is not JSON"):
        PackedDataset(tmp_path)


@pytest.mark.parametrize("kind", ["rows", "offsets", "segments"])
def test_a_truncated_or_missing_file_is_named(tmp_path, kind):
    write_packed(tmp_path / "p")
    path = tmp_path / f"p/data/part-00001.{kind}.npy"
    size = path.stat().st_size
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DataError, match=rf"part-00001\.{kind}\.npy has {size - 1:,} bytes; the manifest says {size:,}"):
        PackedDataset(tmp_path / "p")
    path.unlink()
    with pytest.raises(DataError, match=rf"part-00001\.{kind}\.npy is missing"):
        PackedDataset(tmp_path / "p")


def test_ranks_and_epochs_out_of_range_are_refused(folder):
    with pytest.raises(ValueError, match="rank 2 of 2"):
        PackedDataset(folder[0], rank=2, world_size=2)
    with pytest.raises(ValueError, match="epochs is 0"):
        PackedDataset(folder[0], epochs=0)


def test_the_trainer_imports_no_more_than_numpy():
    code = (
        "import sys, pipeline.tokens.loader, pipeline.tokens.mixed; "
        "print([m for m in ('pyarrow', 'numba', 'pydantic', 'ray', 'torch', 'fsspec') if m in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_a_step_that_no_pass_could_fill_is_refused(folder):
    with pytest.raises(ValueError, match="21 rows, 1 times, make no step of 22"):
        next(PackedDataset(folder[0], world_size=2).steps(11))
    assert len(list(PackedDataset(folder[0], epochs=2, world_size=2).steps(11))) == 1
    assert len(list(PackedDataset(folder[0]).steps(21))) == 1
