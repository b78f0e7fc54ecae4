"""What a task promises its step: rows for rows, declared schemas, keys used once, nothing taken over that differs."""

import numpy as np
import pyarrow as pa
import pytest

from pipeline import store
from pipeline.errors import DataError, StageError
from pipeline.execution.local import LocalRunner
from pipeline.stage import Step
from pipeline.store import Earlier
from pipeline.tasks import Foreman, LazySequence, Task
from tests.conftest import read, run_stage, write_documents
from tests.test_stage import LENGTH, NoParams, length_batch, lengths, stage_of

SHARDS = [[("one", "a"), ("three", "b")], [("seven", "a")]]


@pytest.fixture
def documents(tmp_path):
    return write_documents(tmp_path / "documents", SHARDS)


def step_on(root, documents, earlier=None, **identities):
    root.mkdir(exist_ok=True)
    return Step("s", root, {"documents": documents}, Foreman("s", root, LocalRunner(1), earlier), identities)


def first_only(batch):
    return length_batch(batch.slice(0, 1))


def test_a_map_that_loses_rows_is_refused(documents, tmp_path):
    step = step_on(tmp_path / "out", documents)
    with pytest.raises(StageError, match=r"part-00000: a map returned 1 rows for 2; it must return one for each"):
        step.map_shards(first_only, columns={"documents": ("doc_id", "text")}, schema=LENGTH)


def to_one(batch):
    return batch, np.zeros(batch.num_rows, np.uint32)


def as_it_is(table):
    return table


def test_a_reduction_with_other_columns_than_declared_is_refused(documents, tmp_path):
    step = step_on(tmp_path / "out", documents)
    blocks = step.scatter(to_one, columns={"documents": ("domain",)}, partitions=2)
    with pytest.raises(
        StageError, match=r"(?s)1 of 2 tasks.*part-00000: a stage returned.*domain.*but declared.*length"
    ):
        step.gather(blocks, as_it_is, schema=LENGTH)


def one_file(task, attempt):
    attempt.path(f"{task.key}.bin").write_bytes(task.payload)


def test_a_step_may_produce_twice_under_other_keys(documents, tmp_path):
    step = step_on(tmp_path / "out", documents)
    step.produce(one_file, [Task("a", payload=b"1")])
    step.produce(one_file, [Task("b", payload=b"2"), Task("c", payload=b"3")])
    assert list(step.keys) == ["a", "b", "c"]
    with pytest.raises(DataError, match="produced 'b' twice"):
        step.produce(one_file, [Task("b", payload=b"4")])


def test_a_finished_task_is_not_done_again_unless_its_file_is_gone(documents, tmp_path):
    root = tmp_path / "out"
    step_on(root, documents).produce(one_file, [Task("a", payload=b"old"), Task("b", payload=b"old")])
    (root / "data/b.bin").unlink()
    step_on(root, documents).produce(one_file, [Task("a", payload=b"new"), Task("b", payload=b"new")])
    assert [(root / "data" / name).read_bytes() for name in ("a.bin", "b.bin")] == [b"old", b"new"]


def test_an_earlier_shard_whose_bytes_have_changed_is_made_again(documents, tmp_path):
    first = run_stage(tmp_path / "first", stage_of(lengths), NoParams(), documents=documents)
    wanted = read(first)
    path = next(first.paths())
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    step = step_on(tmp_path / "out", documents, Earlier(first))
    lengths(step, NoParams())
    made = {name: store.checksum(tmp_path / "out/data" / name) for name in ("part-00000.parquet", "part-00001.parquet")}
    assert made == {shard.name: shard.checksum for shard in first.manifest.shards}
    assert wanted.num_rows == 3


def test_the_same_shards_in_other_roles_are_other_content(documents, tmp_path):
    step = step_on(tmp_path / "out", documents)
    step.inputs = {"documents": documents, "twin": documents}
    columns = [{"documents": ("text",), "twin": ("domain",)}, {"twin": ("text",), "documents": ("domain",)}]
    assert step._binding(length_batch, columns[0]) != step._binding(length_batch, columns[1])


def test_a_lazy_sequence_makes_only_what_is_asked_for():
    made = []
    lazy = LazySequence(10**9, lambda index: made.append(index) or index)
    assert (len(lazy), lazy[5], lazy[-1], lazy[10:20][3]) == (10**9, 5, 10**9 - 1, 13)
    assert made == [5, 10**9 - 1, 13]
    with pytest.raises(IndexError):
        lazy[10**9]


def test_an_empty_corpus_maps_shuffles_and_folds_to_nothing(tmp_path):
    (tmp_path / "empty").mkdir()
    empty = write_documents(tmp_path / "empty", [])
    step = step_on(tmp_path / "out", empty)
    blocks = step.scatter(to_one, columns={"documents": ("domain",)}, partitions=2)
    assert blocks.read(0) is None
    assert step.fold(len, max, columns={"documents": ("domain",)}) is None
    step.map_shards(length_batch, columns={"documents": ("doc_id", "text")}, schema=LENGTH)
    assert list(step.keys) == []


def no_rows(table):
    raise AssertionError("a partition without rows is not reduced")


def test_a_partition_without_rows_is_an_empty_shard(tmp_path):
    empty = write_documents(tmp_path / "empty", [[]])
    step = step_on(tmp_path / "out", empty)
    blocks = step.scatter(to_one, columns={"documents": ("domain",)}, partitions=2)
    step.gather(blocks, no_rows, schema=pa.schema([("x", pa.int64())]))
    assert store.recorded(tmp_path / "out", "data") == {"part-00000", "part-00001"}


def counted(part):
    table = part.table()
    if table is not None:
        yield {"rows seen": table.num_rows}
        yield table, np.zeros(table.num_rows, np.uint32)
        yield {"rows seen": 0, "domains": dict.fromkeys(table["domain"].to_pylist(), 1)}


def test_what_a_round_counted_is_summed_and_kept_over_a_restart(documents, tmp_path):
    tallies = []
    for _ in range(2):
        step = step_on(tmp_path / "out", documents)
        blocks = step.scatter(to_one, columns={"documents": ("domain",)}, partitions=3)
        tallies.append(step.regroup_parts(blocks, counted, partitions=1).tally)
    assert tallies[0] == tallies[1] == {"domains": {"a": 1, "b": 1}, "rows": 3, "rows seen": 3}


def test_a_tally_does_not_travel_to_the_workers(documents, tmp_path):
    step = step_on(tmp_path / "out", documents)
    blocks = step.scatter(to_one, columns={"documents": ("domain",)}, partitions=3)
    assert blocks.tally == {"rows": 3}
    seen = []
    step.foreman.run = lambda work, todo, round_name: seen.extend(b.tally for b in work.keywords["rounds"]) or {}
    step.regroup_parts(blocks, counted, partitions=1)
    assert seen == [{}]
