"""Blocks: what is sent to a partition arrives there, whole and in order, however often the writer spills."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline import schemas, shuffle
from pipeline.errors import DataError
from pipeline.shuffle import Blocks, BlockWriter, block_name, by_column

SCHEMA = pa.schema(
    [
        ("number", pa.uint64()),
        ("maybe", pa.int32()),
        ("text", pa.large_string()),
        ("doc_id", schemas.DOC_ID),
        ("list", pa.list_(pa.uint16())),
    ]
)


def rows_of(numbers):
    """Return rows of every kind of column, with nulls, that follow from one number each."""
    return pa.RecordBatch.from_pydict(
        {
            "number": numbers,
            "maybe": [None if n % 3 == 0 else n % 1000 for n in numbers],
            "text": [None if n % 5 == 0 else "é" * (n % 7) for n in numbers],
            "doc_id": [n.to_bytes(16, "little") for n in numbers],
            "list": [None if n % 4 == 0 else [n % 9] * (n % 3) for n in numbers],
        },
        schema=SCHEMA,
    )


Sent = st.lists(st.lists(st.tuples(st.integers(0, 2**64 - 1), st.integers(0, 6)), max_size=12), max_size=6)


@settings(max_examples=60, deadline=None)
@given(st.lists(Sent, min_size=1, max_size=3), st.sampled_from([1, 400, 1 << 30]))
def test_every_row_arrives_at_its_partition_in_order_of_task_and_row(tmp_path_factory, tasks, spill):
    folder = tmp_path_factory.mktemp("blocks")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shuffle, "SPILL_BYTES", spill)
        for source, batches in enumerate(tasks):
            with BlockWriter(folder / block_name(source), 7) as writer:
                for sent in batches:
                    writer.add(rows_of([n for n, _ in sent]), np.array([d for _, d in sent], np.uint32))
    for partition in range(7):
        wanted = [n for batches in tasks for sent in batches for n, d in sent if d == partition]
        found = Blocks(folder, len(tasks), 7).read(partition)
        if wanted:
            assert found.to_pylist() == rows_of(wanted).to_pylist()
            assert found.schema == SCHEMA
            part = Blocks(folder, len(tasks), 7).part(partition)
            assert [n for batch in part.batches() for n in batch["number"].to_pylist()] == wanted
        else:
            assert found is None
            part = Blocks(folder, len(tasks), 7).part(partition)
            assert (list(part.batches()), part.bytes()) == ([], 0)


def write(path, rows, destinations, partitions):
    with BlockWriter(path / block_name(0), partitions) as writer:
        writer.add(rows, np.asarray(destinations))
    return Blocks(path, 1, partitions)


def test_a_part_tells_its_bytes_and_is_read_block_by_block_as_it_was_spilled(tmp_path, monkeypatch):
    monkeypatch.setattr(shuffle, "SPILL_BYTES", 1)
    for source in range(2):
        with BlockWriter(tmp_path / block_name(source), 2) as writer:
            for start in (0, 100):
                numbers = list(range(start, start + 40))
                writer.add(rows_of(numbers), np.arange(40) % 2)
    part = Blocks(tmp_path, 2, 2).part(1)
    assert [batch.num_rows for batch in part.batches()] == [20] * 4
    assert part.table().num_rows == 80
    assert part.bytes() == sum(batch.serialize().size for batch in part.batches())
    assert part.bytes() == Blocks(tmp_path, 2, 2).part(1).bytes(), "asking changes nothing"


def test_slices_are_sent_as_what_they_show(tmp_path):
    rows = rows_of(list(range(10))).slice(3, 4)
    blocks = write(tmp_path, rows, [1, 0, 1, 0], 2)
    assert blocks.read(1).to_pylist() == rows_of([3, 5]).to_pylist()


def test_a_table_of_many_chunks_is_sent_whole(tmp_path):
    table = pa.Table.from_batches([rows_of([1, 2]), rows_of([]), rows_of([3])])
    assert write(tmp_path, table, [0, 1, 0], 2).read(0)["number"].to_pylist() == [1, 3]


def test_dictionary_columns_arrive_plain(tmp_path):
    rows = pa.RecordBatch.from_arrays([pa.array(["a", "b", None]).dictionary_encode()], ["domain"])
    found = write(tmp_path, rows, [0, 1, 1], 2).read(1)
    assert found["domain"].to_pylist() == ["b", None]
    assert found.schema.field("domain").type == pa.string()


def test_more_partitions_than_fit_16_bits_are_addressed(tmp_path):
    blocks = write(tmp_path, rows_of([1, 2]), [70_000, 5], 70_001)
    assert blocks.read(70_000)["number"].to_pylist() == [1]
    assert blocks.read(5)["number"].to_pylist() == [2]
    assert blocks.read(6) is None


def test_a_task_without_rows_leaves_a_readable_file(tmp_path):
    with BlockWriter(tmp_path / block_name(0), 3):
        pass
    assert Blocks(tmp_path, 1, 3).read(2) is None


@pytest.mark.parametrize("wrong", [3, -1])
def test_a_destination_that_is_no_partition_is_refused(tmp_path, wrong):
    with pytest.raises(DataError, match=rf"destination {wrong} of 3 partitions"):
        write(tmp_path, rows_of([1, 2]), [0, wrong], 3)


def test_rows_without_a_destination_are_refused(tmp_path):
    with pytest.raises(DataError, match="2 rows but 1 destinations"):
        write(tmp_path, rows_of([1, 2]), [0], 3)


def test_rows_of_other_columns_in_one_shuffle_are_refused(tmp_path):
    with BlockWriter(tmp_path / block_name(0), 1) as writer:
        writer.add(rows_of([1]), np.zeros(1, np.uint32))
        with pytest.raises(DataError, match="one shuffle was sent"):
            writer.add(rows_of([1]).select(["number"]), np.zeros(1, np.uint32))


@pytest.mark.parametrize("content", [b"", b"PAR1", b"x" * 100])
def test_a_file_of_something_else_is_named(tmp_path, content):
    (tmp_path / block_name(0)).write_bytes(content)
    for ask in (Blocks(tmp_path, 1, 3).read, lambda partition: Blocks(tmp_path, 1, 3).part(partition).bytes()):
        with pytest.raises(DataError, match=r"part-00000.blocks is not a file of shuffle blocks"):
            ask(0)


def test_a_file_cut_for_another_number_of_partitions_is_named(tmp_path):
    write(tmp_path, rows_of([1]), [0], 3)
    for ask in (Blocks(tmp_path, 1, 4).read, lambda partition: Blocks(tmp_path, 1, 4).part(partition).bytes()):
        with pytest.raises(DataError, match="holds 3 partitions, not 4"):
            ask(0)


def test_sorting_by_columns_puts_the_first_name_first():
    table = pa.table({"a": [2, 1, 2], "b": [1, 9, 0]})
    assert by_column(table, "a", "b").to_pylist() == [{"a": 1, "b": 9}, {"a": 2, "b": 0}, {"a": 2, "b": 1}]
