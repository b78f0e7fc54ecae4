"""Shards: what goes in comes out, in batches of bounded size, side by side with its partners, and damage is noticed."""

from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline import parquet
from pipeline.errors import DataError
from pipeline.parquet import ShardWriter, read_batches, read_zipped, write_table

NUMBERS = pa.schema([("n", pa.int64())])
TEXTS = pa.schema([("text", pa.large_string()), ("domain", pa.string())])


def numbers(values):
    return pa.RecordBatch.from_pydict({"n": values}, schema=NUMBERS)


def written(path, batches, schema=NUMBERS):
    with ShardWriter(path, schema) as writer:
        for batch in batches:
            writer.write(batch)
    return path


def groups(path):
    metadata = pq.read_metadata(path)
    return [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)]


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 9), max_size=12), st.integers(1, 7))
def test_rows_come_back_whatever_the_batches_and_groups(tmp_path_factory, sizes, group):
    path = tmp_path_factory.mktemp("shard") / "s.parquet"
    ends = np.cumsum([0, *sizes]).tolist()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parquet, "GROUP_ROWS", group)
        written(path, (numbers(list(range(a, b))) for a, b in pairwise(ends)))
    assert pq.read_table(path)["n"].to_pylist() == list(range(sum(sizes)))
    assert all(rows == group for rows in groups(path)[:-1])


def test_a_row_group_is_closed_by_its_bytes(tmp_path, monkeypatch):
    monkeypatch.setattr(parquet, "GROUP_BYTES", 800)
    assert groups(written(tmp_path / "s.parquet", [numbers(list(range(50)))] * 4)) == [100, 100]


def test_an_empty_shard_has_its_schema(tmp_path):
    path = written(tmp_path / "s.parquet", [])
    assert pq.read_schema(path) == NUMBERS
    assert list(read_batches(path, ["n"])) == []


def test_another_schema_than_declared_is_refused(tmp_path):
    with pytest.raises(DataError, match="a stage returned"):
        written(tmp_path / "s.parquet", [pa.RecordBatch.from_pydict({"n": ["text"]})])
    with pytest.raises(DataError, match="a stage returned"):
        write_table(tmp_path / "t.parquet", pa.table({"m": [1]}), NUMBERS)


def test_the_same_rows_make_the_same_bytes(tmp_path):
    paths = [written(tmp_path / f"{i}.parquet", [numbers([1, 2]), numbers([3])]) for i in range(2)]
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_texts_have_no_dictionary_and_no_statistics(tmp_path):
    table = pa.table({"text": ["a secret"] * 3, "domain": ["web"] * 3}, schema=TEXTS)
    write_table(tmp_path / "s.parquet", table)
    text, domain = (pq.read_metadata(tmp_path / "s.parquet").row_group(0).column(c) for c in (0, 1))
    assert text.statistics is None
    assert not any("DICTIONARY" in encoding for encoding in text.encodings)
    assert any("DICTIONARY" in encoding for encoding in domain.encodings)
    assert text.compression == "ZSTD"


@pytest.mark.parametrize("beside", [{}, {"tokens": [b"ids"]}])
def test_every_column_is_compressed_however_deep_it_lies_but_token_ids(tmp_path, beside):
    columns = {"n": [1], "list": [[1, 2]], "deep": [{"x": 1, "y": [{"z": "a"}]}], **beside}
    mapped = pa.array([[("k", 1)]], pa.map_(pa.string(), pa.int64()))
    write_table(tmp_path / "s.parquet", pa.table(columns).append_column("map", mapped))
    group = pq.read_metadata(tmp_path / "s.parquet").row_group(0)
    found = {group.column(i).path_in_schema: group.column(i).compression for i in range(group.num_columns)}
    assert len(found) == 6 + len(beside)
    assert {path for path, codec in found.items() if codec != "ZSTD"} == set(beside)


def test_flipped_bytes_are_noticed(tmp_path):
    rng = np.random.default_rng(0)
    path = written(tmp_path / "s.parquet", [numbers(rng.integers(0, 1 << 60, 5000).tolist())])
    content = bytearray(path.read_bytes())
    content[5000] ^= 1
    path.write_bytes(content)
    with pytest.raises(OSError, match=r"(?i)crc|corrupt"):
        list(read_batches(path, ["n"]))


def test_batches_are_bounded_by_bytes_and_by_rows(tmp_path, monkeypatch):
    monkeypatch.setattr(parquet, "BATCH_BYTES", 100_000)
    monkeypatch.setattr(parquet, "BATCH_ROWS", 700)
    texts = pa.table({"text": ["x" * 1000] * 3000, "domain": ["web"] * 3000}, schema=TEXTS)
    write_table(tmp_path / "s.parquet", texts)
    assert max(batch.num_rows for batch in read_batches(tmp_path / "s.parquet", ["text"])) <= 100
    assert max(batch.num_rows for batch in read_batches(tmp_path / "s.parquet", ["domain"])) == 700


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 40), st.integers(1, 9), st.integers(1, 9), st.integers(1, 9), st.integers(1, 9))
def test_shards_with_other_row_groups_and_batches_are_zipped_right(tmp_path_factory, rows, group, other, batch, wide):
    folder = tmp_path_factory.mktemp("zip")
    pq.write_table(pa.table({"a": list(range(rows))}), folder / "a.parquet", row_group_size=group)
    texts = [str(i) * (1 + i % 5) for i in range(rows)]
    pq.write_table(pa.table({"b": texts, "c": texts}), folder / "b.parquet", row_group_size=other)
    columns = {folder / "a.parquet": ["a"], folder / "b.parquet": ["b"]}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parquet, "BATCH_ROWS", batch)
        patch.setattr(parquet, "BATCH_BYTES", wide)
        found = list(read_zipped(columns, first_address=5 << 32))
    table = [row for part in found for row in part.to_pylist()]
    assert table == [{"a": i, "b": texts[i], "address": (5 << 32) + i} for i in range(rows)]
    assert all(part.schema.names == ["a", "b", "address"] for part in found)


@pytest.mark.parametrize(("left", "right", "short"), [(3, 5, "a"), (5, 3, "b"), (0, 1, "a"), (1, 0, "b")])
def test_a_partner_that_ends_early_is_named(tmp_path, left, right, short):
    pq.write_table(pa.table({"a": list(range(left))}, schema=pa.schema([("a", pa.int64())])), tmp_path / "a.parquet")
    pq.write_table(pa.table({"b": list(range(right))}, schema=pa.schema([("b", pa.int64())])), tmp_path / "b.parquet")
    with pytest.raises(DataError, match=rf"not co-partitioned: \S*/{short}.parquet ended before"):
        list(read_zipped({tmp_path / "a.parquet": ["a"], tmp_path / "b.parquet": ["b"]}))


def test_a_column_offered_twice_is_refused(tmp_path):
    columns = {tmp_path / "a.parquet": ["n"], tmp_path / "b.parquet": ["n"]}
    with pytest.raises(DataError, match=r"two inputs offer one column: \['n', 'n'\]"):
        list(read_zipped(columns))
