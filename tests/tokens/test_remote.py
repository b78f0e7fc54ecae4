"""Packed sequences behind a URL: the same stream as from local files, fetched ahead and by range."""

import json
import pickle

import fsspec
import numpy as np
import pytest

from pipeline.errors import DataError
from pipeline.tokens import remote
from pipeline.tokens.loader import PackedDataset
from pipeline.tokens.mixed import MixedDataset
from tests.tokens.packed import write_packed

URL = "memory://bucket/sequences"


@pytest.fixture
def folder(tmp_path):
    """Local sequences, and the same behind URL."""
    write_packed(tmp_path / "p", weighted=True)
    upload(tmp_path / "p", URL)
    return tmp_path / "p"


def upload(folder, url):
    system, root = fsspec.core.url_to_fs(url)
    if system.exists(root):
        system.rm(root, recursive=True)
    for path in folder.rglob("*.*"):
        system.pipe(f"{root}/{path.relative_to(folder).as_posix()}", path.read_bytes())


def batches(dataset, size=4):
    return [{name: array.tolist() for name, array in batch.items()} for batch in dataset.batches(size)]


@pytest.fixture
def fetched(monkeypatch):
    """What is fetched, range by range."""
    ranges, fetch = [], remote.Ranges._fetched

    def counted(self, *one):
        ranges.append(one)
        return fetch(self, *one)

    monkeypatch.setattr(remote.Ranges, "_fetched", counted)
    return ranges


def test_the_stream_behind_a_url_is_that_of_local_files(folder):
    options = {"seed": 3, "rank": 1, "world_size": 2, "epochs": 2}
    assert batches(PackedDataset(URL, **options)) == batches(PackedDataset(folder, **options))
    assert PackedDataset(URL).state_dict() == PackedDataset(folder).state_dict()
    assert {n: a.tolist() for n, a in PackedDataset(URL)[20].items()} == {
        n: a.tolist() for n, a in PackedDataset(folder)[20].items()
    }


def test_a_mixture_of_urls_and_folders_is_one_stream(folder):
    def mixed(a):
        return MixedDataset({"a": a, "b": folder}, weights={"a": 1, "b": 2}, block=12)

    here, there = mixed(folder).batches(3), mixed(URL).batches(3)
    for _ in range(20):
        assert next(here)["tokens"].tolist() == next(there)["tokens"].tolist()


def test_only_what_the_steps_read_is_fetched_and_once(folder, fetched, monkeypatch):
    monkeypatch.setattr("pipeline.tokens.loader.ROWS_AHEAD", 4)
    dataset = PackedDataset(URL, seed=1)
    assert fetched == []
    steps = dataset.steps(2)
    dataset.batch(next(steps))
    asked = dataset.packed.parts[0].ranges._asked
    assert len([one for one in asked if ".rows." in one[0]]) == 4  # the next two steps are under way
    for step in steps:
        dataset.batch(step)
    assert len(fetched) == len(set(fetched)) == 3 * 20 + 3  # tokens, segments, weights of rows; offsets of parts


@pytest.mark.parametrize(("weighted", "rows"), [(False, 5), (True, 2)])
def test_long_rows_are_fetched_fewer_ahead(tmp_path, monkeypatch, weighted, rows):
    write_packed(tmp_path / "p", weighted=weighted)
    upload(tmp_path / "p", URL)
    monkeypatch.setattr("pipeline.tokens.loader.BYTES_AHEAD", 16 * 11)  # a row has 16 tokens of two bytes, and weights
    assert PackedDataset(URL).rows_ahead == rows
    assert PackedDataset(tmp_path / "p").rows_ahead == 0
    monkeypatch.setattr("pipeline.tokens.loader.BYTES_AHEAD", 1)
    assert PackedDataset(URL).rows_ahead == 1


def test_items_fetch_what_their_pass_holds_and_once(folder, fetched):
    assert sum(1 for _ in PackedDataset(URL, seed=1, rank=1, world_size=2)) == 10
    rows = [one for one in fetched if ".rows." in one[0]]
    assert len(rows) == len(set(rows)) == 10


def test_workers_fetch_their_own_steps_alone(folder, fetched):
    for worker in range(3):
        dataset = PackedDataset(URL, seed=1)
        for rows in dataset.steps(1, worker, 3):
            dataset.batch(rows)
        assert dataset.consumed == 21
    rows = [one for one in fetched if ".rows." in one[0]]
    assert len(rows) == len(set(rows)) == 21


def test_what_is_kept_is_bounded(folder, monkeypatch):
    monkeypatch.setattr(remote, "KEPT_BYTES", 500)
    dataset = PackedDataset(URL, seed=1, epochs=3)
    assert batches(dataset) == batches(PackedDataset(folder, seed=1, epochs=3))
    ranges = dataset.packed.parts[0].ranges
    assert not ranges._asked
    assert ranges._kept_bytes == sum(map(len, ranges._kept.values())) <= 500


def test_what_is_expected_no_longer_is_forgotten(folder):
    dataset = PackedDataset(URL)
    dataset.expect(np.arange(10))
    dataset.expect(np.arange(9, 12))
    asked = dataset.packed.parts[0].ranges._asked
    assert len([one for one in asked if ".rows." in one[0]]) == 3


def test_a_dataset_goes_to_another_process_with_its_url(folder):
    dataset = PackedDataset(URL, epochs=None)
    next(iter(dataset))
    twin = pickle.loads(pickle.dumps(dataset))
    assert next(iter(twin))["tokens"].tolist() == next(iter(dataset))["tokens"].tolist()


def test_what_is_not_there_or_truncated_is_named(folder):
    system, root = fsspec.core.url_to_fs(URL)
    with pytest.raises(DataError, match=r"memory://bucket/none is not a finished corpus: there is no manifest\.json"):
        PackedDataset("memory://bucket/none")
    with pytest.raises(DataError, match="no file system reads it"):
        PackedDataset("nosuchscheme://bucket")
    name = "part-00001.rows.npy"
    whole = system.cat_file(f"{root}/data/{name}")
    system.pipe(f"{root}/data/{name}", whole[:-1])
    with pytest.raises(DataError, match=rf"{name} has {len(whole) - 1} bytes; the manifest says {len(whole)}"):
        PackedDataset(URL)
    system.rm(f"{root}/data/{name}")
    with pytest.raises(DataError, match=rf"{name} is missing"):
        PackedDataset(URL)
    system.pipe(f"{root}/manifest.json", json.dumps({"stage": "ingest"}).encode())
    with pytest.raises(DataError, match="stage 'ingest', not packed sequences"):
        PackedDataset(URL)


def test_a_file_cut_while_it_is_read_is_an_error_and_not_a_row(folder):
    dataset = PackedDataset(URL)
    system, root = fsspec.core.url_to_fs(URL)
    for name in ("part-00000.rows.npy", "part-00000.weights.npy"):
        system.pipe(f"{root}/data/{name}", b"short")
    with pytest.raises(DataError, match="has it been replaced while it was read"):
        dataset[0]


def test_sequences_on_s3_are_read(folder, bucket):
    for path in folder.rglob("*.*"):
        bucket.put(path, f"a/{path.relative_to(folder).as_posix()}")
    assert batches(PackedDataset(bucket.url("a"), seed=2)) == batches(PackedDataset(folder, seed=2))


def test_rows_of_local_files_are_not_fetched(folder, fetched):
    dataset = PackedDataset(folder)
    dataset.expect(np.arange(21))
    batches(dataset)
    assert fetched == []
