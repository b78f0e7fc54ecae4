"""quality.losses with losses made elsewhere: what is taken over, what is left out and told, what is refused."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.errors import ConfigError, DataError, StageError
from pipeline.quality.losses import LOSSES, LossesParams, check
from pipeline.quality.losses_table import SCHEMA
from pipeline.schemas import DOC_ID, mask
from tests.conftest import read, run_stage, write_corpus, write_documents

SHARDS = [[("one text", "web"), ("another text", "web"), ("ein Text", "forum")], [("the last text", "web")]]


@pytest.fixture
def documents(tmp_path):
    return write_documents(tmp_path / "documents", SHARDS)


def ids_of(corpus):
    return read(corpus)["doc_id"].to_pylist()


def losses_of(ids, nats=None, **more):
    count = len(ids)
    columns = {"doc_id": pa.array(ids, DOC_ID), "nats": nats or [10.0 + i for i in range(count)], "bytes": [20] * count}
    return pa.table(columns | more)


def imported(tmp_path, documents, table, name="losses", **inputs):
    pq.write_table(table, tmp_path / f"{name}.parquet", row_group_size=2)
    inputs = {"documents": documents, "losses.small": tmp_path / f"{name}.parquet"} | inputs
    return run_stage(tmp_path / f"out-{name}", LOSSES, LossesParams(), **inputs)


def rows(corpus):
    return sorted(tuple(row.values()) for row in read(corpus).to_pylist())


def test_losses_of_documents_become_rows_of_the_table(tmp_path, documents):
    ids = ids_of(documents)
    made = imported(tmp_path, documents, losses_of(ids, tokens=[5, 6, 7, 8]))
    assert read(made).schema == SCHEMA
    assert rows(made) == sorted((id_, "small", 10.0 + i, 20, 5 + i) for i, id_ in enumerate(ids))
    told = made.manifest.facts["models"]["small"]
    assert (told["documents"], told["bytes"], told["tokens"]) == (4, 80, 26)
    assert told["bits_per_byte"] == pytest.approx(46 / 80 / 0.6931471805599453, abs=1e-6)
    assert set(told["bits_per_byte_by_domain"]) == {"web", "forum"}


def test_ids_may_be_hexadecimal_and_several_models_may_share_a_file(tmp_path, documents):
    ids = ids_of(documents)
    plain = imported(tmp_path, documents, losses_of(ids, model=["a", "a", "b", "b"]), "plain")
    written = losses_of(ids, model=["a", "a", "b", "b"]).set_column(0, "doc_id", [[id_.hex().upper() for id_ in ids]])
    assert rows(imported(tmp_path, documents, written, "written")) == rows(plain)
    assert list(plain.manifest.facts["models"]) == ["a", "b"]


def test_the_table_does_not_depend_on_the_order_of_the_file(tmp_path, documents):
    table = losses_of(ids_of(documents))
    one = imported(tmp_path, documents, table, "one")
    other = imported(tmp_path, documents, table.take([3, 1, 0, 2]), "other")
    assert [path.read_bytes() for path in one.paths()] == [path.read_bytes() for path in other.paths()]


def test_losses_of_strangers_and_of_dropped_documents_are_left_out_and_counted(tmp_path, documents):
    masks = [
        pa.table({"keep": [True, False, True], "reason": [None, "exact_duplicate", None]}, schema=mask()),
        pa.table({"keep": [True], "reason": pa.array([None], pa.string())}, schema=mask()),
    ]
    dropped = write_corpus(tmp_path / "mask", masks, "dedup.exact")
    ids = ids_of(documents)
    made = imported(tmp_path, documents, losses_of([*ids, b"?" * 16]), mask=dropped)
    assert [row[0] for row in rows(made)] == sorted(id_ for i, id_ in enumerate(ids) if i != 1)
    assert made.manifest.facts["of_no_kept_document"] == 2
    assert made.manifest.facts["notes"] == ["2 imported losses are of no kept document of this build and were left out"]


def test_a_row_that_comes_again_counts_once(tmp_path, documents):
    table = losses_of(ids_of(documents))
    made = imported(tmp_path, documents, pa.concat_tables([table, table.slice(1, 2)]))
    assert len(rows(made)) == 4
    assert made.manifest.facts["repeated"] == 2


def changed(table, name, value):
    at = table.schema.get_field_index(name)
    return table.set_column(at, name, [[*table[name].to_pylist()[:-1], value]])


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("nats", float("nan"), "has nats that are no finite number"),
        ("nats", float("inf"), "has nats that are no finite number"),
        ("nats", -1.0, "has negative nats"),
        ("nats", None, "has no nats"),
        ("bytes", 0, "has no positive number of bytes"),
        ("doc_id", b"short", "has a doc_id that is not 16 bytes"),
    ],
)
def test_a_value_that_makes_no_sense_is_refused_with_its_row(tmp_path, documents, name, value, said):
    with pytest.raises(StageError, match=rf"losses.parquet, row group 1: the row \{{.*\}} {said}"):
        imported(tmp_path, documents, changed(losses_of(ids_of(documents)), name, value))


def test_hexadecimal_that_is_none_is_refused(tmp_path, documents):
    table = losses_of(ids_of(documents)).set_column(0, "doc_id", [["no id"] * 4])
    with pytest.raises(StageError, match="has a doc_id that is not 32 hexadecimal digits"):
        imported(tmp_path, documents, table)


def test_two_losses_of_one_document_under_one_model_are_refused(tmp_path, documents):
    ids = ids_of(documents)
    with pytest.raises(StageError, match=f"{ids[0].hex()} 2 different losses under the model 'small'"):
        imported(tmp_path, documents, losses_of([*ids, ids[0]]))


def test_losses_of_other_documents_alone_are_refused(tmp_path, documents):
    with pytest.raises(DataError, match="none of the 2 imported losses of the model 'small' is of a kept document"):
        imported(tmp_path, documents, losses_of([b"?" * 16, b"!" * 16]))


def test_files_without_the_columns_are_refused_before_anything_runs(tmp_path):
    pq.write_table(pa.table({"doc_id": ["x"], "loss": [1.0]}), tmp_path / "losses.parquet")
    with pytest.raises(DataError, match="has no column 'nats'; it has doc_id, loss"):
        check(LossesParams(), {"losses.a": tmp_path / "losses.parquet"})
    (tmp_path / "text").write_text("no Parquet")
    with pytest.raises(DataError, match="cannot be read as Parquet"):
        check(LossesParams(), {"losses.a": tmp_path / "text"})


def test_folders_that_hold_no_model_and_names_that_clash_are_refused_before_anything_runs(tmp_path):
    with pytest.raises(ConfigError, match=r"has no config\.json, so it is no causal language model"):
        check(LossesParams(), {"model.a": tmp_path})
    hub = [{"name": "a", "id": "someone/something", "revision": "0" * 40}]
    with pytest.raises(ConfigError, match="the model 'a' is named twice"):
        check(LossesParams(hub=hub), {"model.a": tmp_path})
    with pytest.raises(DataError, match="the model 'a' are asked for twice: scored here and imported"):
        check(LossesParams(hub=hub), {"losses.a": tmp_path})
    with pytest.raises(DataError, match="cannot be called 'a/b'"):
        check(LossesParams(), {"model.a/b": tmp_path})


def test_a_step_without_any_model_is_refused(tmp_path, documents):
    with pytest.raises(DataError, match="no model is named"):
        run_stage(tmp_path / "out", LOSSES, LossesParams(), documents=documents)


def test_a_model_of_the_hub_is_named_by_a_commit():
    with pytest.raises(ValueError, match="revision"):
        LossesParams(hub=[{"name": "a", "id": "someone/something", "revision": "main"}])
