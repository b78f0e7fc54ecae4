"""The verbs of a step: what map, shuffle and fold promise, on tiny corpora."""

from collections import Counter
from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from pydantic import ValidationError

from pipeline import schemas, store, tasks
from pipeline.custom import CustomParams
from pipeline.errors import DataError, StageError
from pipeline.execution.local import LocalRunner
from pipeline.schemas import ADDRESS
from pipeline.stage import Params, Stage, Step
from pipeline.store import Earlier
from pipeline.tasks import Foreman
from tests.conftest import read, run_stage, write_documents

SHARDS = [[(f"text {i} {j} " * (1 + j), "ab"[j % 2]) for j in range(7 + i)] for i in range(3)]
LENGTH = pa.schema([("doc_id", schemas.DOC_ID), ("length", pa.int64())])
SMALL = schemas.mask()


class NoParams(Params):
    """Nothing to set."""


def length_batch(batch):
    lengths = pc.cast(pc.binary_length(batch["text"]), pa.int64())
    return pa.RecordBatch.from_arrays([batch["doc_id"], lengths], schema=LENGTH)


def lengths(step, params):
    """Write the length of every document."""
    step.map_shards(length_batch, columns={"documents": ("doc_id", "text")}, schema=LENGTH)


def small_batch(batch, least=30):
    decided = schemas.decide(batch, pc.less(batch["bytes"], least), "small")
    return pa.RecordBatch.from_pydict(decided, schema=SMALL)


def drop_small(step, params):
    """Drop small documents."""
    step.map_shards(small_batch, columns={"documents": ("domain", "bytes"), "mask": schemas.MASK}, schema=SMALL)


def by_length(batch):
    lengths = pc.binary_length(batch["text"]).to_numpy().astype(np.uint32)
    rows = pa.RecordBatch.from_pydict({"length": lengths, ADDRESS: batch[ADDRESS]})
    return rows, lengths % 5


def count_equal(table):
    counts = Counter(table["length"].to_pylist())
    same = pa.array([counts[n] for n in table["length"].to_pylist()])
    return pa.table({ADDRESS: table[ADDRESS], "same": same})


def same_batch(batch, rows):
    assert rows is not None
    assert rows[ADDRESS].to_pylist() == batch[ADDRESS].to_pylist()
    return pa.RecordBatch.from_arrays([rows["same"].combine_chunks()], ["same"])


def equals(step, params):
    """Write, beside every document, how many have its length: a shuffle there and back."""
    columns = {"documents": ("text", ADDRESS)}
    blocks = step.scatter(by_length, columns=columns, partitions=5)
    home = step.to_shards(blocks, count_equal)
    schema = pa.schema([("same", pa.int64())])
    step.map_shards(same_batch, columns={"documents": (ADDRESS, "domain")}, schema=schema, addressed=home)


def stage_of(run, *inputs, optional=()):
    return Stage(run.__name__, 1, NoParams, inputs or ("documents",), run, optional)


@pytest.fixture
def documents(tmp_path):
    return write_documents(tmp_path / "documents", SHARDS)


def test_a_map_keeps_names_rows_and_order(documents, tmp_path):
    out = run_stage(tmp_path / "out", stage_of(lengths), NoParams(), documents=documents)
    assert [(s.name, s.rows) for s in out.manifest.shards] == [(s.name, s.rows) for s in documents.manifest.shards]
    assert read(out)["length"].to_pylist() == [len(text) for shard in SHARDS for text, _ in shard]


def test_a_mask_is_cumulative_and_its_books_balance(documents, tmp_path):
    stage = stage_of(drop_small, optional=("mask",))
    first = run_stage(tmp_path / "one", stage, NoParams(), documents=documents)
    again = run_stage(tmp_path / "two", stage, NoParams(), documents=documents, mask=first)
    assert read(first).equals(read(again))
    books = first.manifest.ledger["a"]
    sizes = [len(text) for shard in SHARDS for text, domain in shard if domain == "a"]
    assert books["rows_in"] == len(sizes)
    assert books["bytes_in"] == sum(sizes)
    assert books["dropped"] == {"small": sum(n < 30 for n in sizes)}
    assert "dropped" not in again.manifest.ledger["a"], "what was dropped before is not counted twice"


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_a_shuffle_there_and_back_finds_every_row(documents, tmp_path, workers):
    with LocalRunner(workers) as runner:
        out = run_stage(tmp_path / "out", stage_of(equals), NoParams(), runner=runner, documents=documents)
    lengths = [len(text) for shard in SHARDS for text, _ in shard]
    counts = Counter(lengths)
    assert read(out)["same"].to_pylist() == [counts[n] for n in lengths]


def lengths_in_pieces(part):
    """Yield a piece of the part for every block, and what it holds."""
    for batch in part.batches():
        counts = Counter(row["length"] for other in part.batches() for row in other.to_pylist())
        yield pa.table({ADDRESS: batch[ADDRESS], "same": pa.array([counts[n] for n in batch["length"].to_pylist()])})
        yield {"documents": batch.num_rows, "by length": {str(n): 1 for n in batch["length"].to_pylist()[:1]}}


def in_pieces(step, params):
    """Do as `equals`, but read the parts block by block, and note what was counted."""
    blocks = step.scatter(by_length, columns={"documents": ("text", ADDRESS)}, partitions=5)
    home = step.parts_to_shards(blocks, lengths_in_pieces)
    schema = pa.schema([("same", pa.int64())])
    step.map_shards(same_batch, columns={"documents": (ADDRESS, "domain")}, schema=schema, addressed=home)
    step.note(home=home.tally)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_part_read_in_pieces_sends_the_same_rows_and_adds_up_what_it_counts(documents, tmp_path, workers):
    whole = run_stage(tmp_path / "whole", stage_of(equals), NoParams(), documents=documents)
    with LocalRunner(workers) as runner:
        out = run_stage(tmp_path / "out", stage_of(in_pieces), NoParams(), runner=runner, documents=documents)
    assert [p.read_bytes() for p in out.paths()] == [p.read_bytes() for p in whole.paths()]
    facts, rows = out.manifest.facts["home"], documents.manifest.rows
    assert (facts["rows"], facts["documents"]) == (rows, rows)
    assert list(facts["by length"]) == sorted(facts["by length"]), "the sum does not tell who came first"


def on_documents(root, documents, **identities):
    root.mkdir(exist_ok=True)
    return Step("s", root, {"documents": documents}, Foreman("s", root, LocalRunner(1)), identities)


def received(batch, rows):
    """Return what was sent to each document, and that it came to the right batch."""
    texts = dict(zip(*(rows[name].to_pylist() for name in (ADDRESS, "from")), strict=True)) if rows is not None else {}
    assert set(texts) <= set(batch[ADDRESS].to_pylist())
    got = pa.record_batch({"text": batch["text"], "got": [texts.get(a) for a in batch[ADDRESS].to_pylist()]})
    return got, np.zeros(batch.num_rows, np.uint32)


@pytest.mark.parametrize("batch_rows", [1, 3, 1 << 15])
def test_rows_sent_to_addresses_are_there_when_the_shards_are_scattered_again(
    documents, tmp_path, monkeypatch, batch_rows
):
    monkeypatch.setattr("pipeline.parquet.BATCH_ROWS", batch_rows)
    step = on_documents(tmp_path / "out", documents)
    columns = {"documents": ("text", ADDRESS)}
    sent = step.scatter(to_itself, columns=columns, partitions=3)
    found = step.scatter(received, columns=columns, partitions=1, addressed=sent).read(0)
    texts = [[text for text, _ in shard] for shard in SHARDS]
    assert found["text"].to_pylist() == [text for shard in texts for text in shard]
    assert found["got"].to_pylist() == [text for shard in texts for text in shard], "each row came to its own address"


def to_itself(batch):
    """Send every row's text to its own address."""
    rows = pa.record_batch({ADDRESS: batch[ADDRESS], "from": batch["text"]})
    return rows, (rows[ADDRESS].to_numpy() >> np.uint64(32)).astype(np.uint32)


def test_several_rounds_may_be_sent_to_the_same_addresses(documents, tmp_path):
    step = on_documents(tmp_path / "out", documents)
    columns = {"documents": ("text", ADDRESS)}
    rounds = tuple(step.scatter(to_itself, columns=columns, partitions=3) for _ in range(2))
    schema = pa.schema([("times", pa.int64())])
    step.map_shards(times, columns={"documents": (ADDRESS, "domain")}, schema=schema, addressed=rounds)
    out = store.finish(
        tmp_path / "out",
        lambda shards, files: documents.manifest.model_copy(update={"shards": shards, "files": files}),
        step.keys,
    )
    assert read(out)["times"].to_pylist() == [2] * documents.manifest.rows


def times(batch, rows):
    """Return how often each address was written to."""
    counts = Counter(rows[ADDRESS].to_pylist())
    return pa.record_batch({"times": pa.array([counts[a] for a in batch[ADDRESS].to_pylist()], pa.int64())})


def shares(batch):
    """Return the texts a role offers under another name."""
    return pa.record_batch({"text": batch["text"], "domain": batch["domain"]}), np.zeros(batch.num_rows, np.uint32)


def test_two_roles_may_be_played_by_one_corpus(documents, tmp_path):
    step = on_documents(tmp_path / "out", documents)
    step.inputs = {"documents": documents, "twin": documents}
    found = step.scatter(shares, columns={"documents": ("text",), "twin": ("domain",)}, partitions=1).read(0)
    assert found.to_pylist() == [{"text": t, "domain": d} for shard in SHARDS for t, d in shard]


def test_the_number_of_partitions_follows_from_the_bytes_only(documents, tmp_path):
    step = on_documents(tmp_path / "out", documents)
    assert [step.partitions(size) for size in (0, 1, 64 << 20, (64 << 20) + 1, 1 << 50)] == [1, 1, 1, 2, 1024]


def fold_lengths(batches):
    return sum(pc.sum(batch["bytes"]).as_py() for batch in batches)


class Numbering:
    """Numbers the documents it has met; forgets one of a batch if told to."""

    def __init__(self, lost=0):
        self.met, self.lost = 0, lost

    def batch(self, batch):
        numbers = np.arange(self.met, self.met + batch.num_rows)
        self.met += batch.num_rows
        return pa.record_batch({"number": numbers[self.lost :]}, schema=pa.schema({"number": pa.int64()}))

    def tally(self):
        return {"met": self.met}


def number(step, params, start=Numbering):
    """Number the documents, one after the other."""
    step.note(**step.stream(start, columns={"documents": ("domain",)}, schema=pa.schema({"number": pa.int64()})))


def test_a_stream_meets_the_shards_in_order_and_keeps_names_and_rows(documents, tmp_path):
    corpus = run_stage(tmp_path / "out", stage_of(number), NoParams(), documents=documents)
    rows = documents.manifest.rows
    assert read(corpus)["number"].to_pylist() == list(range(rows))
    assert [(s.name, s.rows) for s in corpus.manifest.shards] == [(s.name, s.rows) for s in documents.manifest.shards]
    assert corpus.manifest.facts == {"met": rows}


def test_a_stream_that_loses_a_row_is_stopped(documents, tmp_path):
    losing = Stage("losing", 1, NoParams, ("documents",), partial(number, start=partial(Numbering, lost=1)))
    with pytest.raises(StageError, match="must return one for each"):
        run_stage(tmp_path / "out", losing, NoParams(), documents=documents)


def test_a_fold_combines_in_shard_order(documents, tmp_path):
    foreman = Foreman("t", tmp_path / "out", LocalRunner(1))
    step = Step("t", tmp_path / "out", {"documents": documents}, foreman)
    total = step.fold(fold_lengths, lambda a, b: a + b, columns={"documents": ("bytes",)})
    assert total == sum(len(text) for shard in SHARDS for text, _ in shard)


def fail_on_second(batch):
    if batch["domain"][0].as_py() == "a" and batch.num_rows == 8:
        raise ValueError("no such luck")
    return pa.RecordBatch.from_arrays([batch["domain"]], ["domain"])


def failing(step, params):
    """Fail on the shard of eight rows."""
    step.map_shards(fail_on_second, columns={"documents": ("domain",)}, schema=pa.schema([("domain", pa.string())]))


def test_a_failed_shard_is_named_and_the_others_are_kept(documents, tmp_path):
    with pytest.raises(StageError, match=r"(?s)failing failed on 1 of 3.*part-00001.*ValueError: no such luck.*kept"):
        run_stage(tmp_path / "out", stage_of(failing), NoParams(), documents=documents)
    assert store.recorded(tmp_path / "out", "data") == {"part-00000", "part-00002"}
    assert store.open_corpus(tmp_path / "out") is None


def test_corpora_of_other_documents_are_refused_as_partners(documents, tmp_path):
    other = write_documents(tmp_path / "other", SHARDS[:2])
    stage = stage_of(drop_small, optional=("mask",))
    mask = run_stage(tmp_path / "mask", stage, NoParams(), documents=other)
    with pytest.raises(DataError, match="not co-partitioned"):
        run_stage(tmp_path / "out", stage, NoParams(), documents=documents, mask=mask)


def test_a_shard_made_from_the_same_content_is_taken_over(documents, tmp_path):
    first = run_stage(tmp_path / "first", stage_of(lengths), NoParams(), documents=documents)
    moved = write_documents(tmp_path / "moved", [[("new", "a")], *SHARDS[1:]])
    foreman = Foreman("lengths", tmp_path / "out", LocalRunner(1), Earlier(first))
    step = Step("lengths", tmp_path / "out", {"documents": moved}, foreman)
    lengths(step, NoParams())
    same = [
        (tmp_path / "out/data" / s.name).stat().st_ino == first.path(s).stat().st_ino for s in first.manifest.shards
    ]
    assert same == [False, True, True]


def test_a_function_bound_to_arrays_is_never_taken_over():
    assert tasks.binding(partial(small_batch, least=3), {}, {}, {}) != tasks.binding(
        partial(small_batch, least=4), {}, {}, {}
    )
    assert tasks.binding(partial(small_batch, least=np.arange(3)), {}, {}, {}) is None


def test_a_bound_path_stands_for_what_lies_there():
    here, there = (tasks.binding(partial(fold_lengths, at=f"/{r}/x"), {}, {}, {f"/{r}": "print"}) for r in ("a", "b"))
    assert here == there


def test_a_corpus_of_another_kind_is_refused_with_what_it_holds(documents, tmp_path):
    stage = stage_of(drop_small, optional=("mask",))
    with pytest.raises(DataError, match=r"its input 'mask' is .* has no column 'keep'; it has doc_id, text, domain"):
        run_stage(tmp_path / "out", stage, NoParams(), documents=documents, mask=documents)


@pytest.mark.parametrize("number", [float("inf"), float("nan")])
def test_a_number_that_json_cannot_say_is_no_parameter(number):
    class Share(Params):
        share: float

    for params in (Share, CustomParams):
        with pytest.raises(ValidationError, match=r"finite|infinite"):
            params(share=number)
