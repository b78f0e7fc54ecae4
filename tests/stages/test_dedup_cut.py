"""Shortened documents: what changes, what does not, and masks that do not fit."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import pipeline
from pipeline import schemas
from pipeline.api import Silent
from pipeline.config import Profile
from pipeline.dedup.cut import CUT, CutParams
from pipeline.dedup.passages import LINES, PassageParams
from pipeline.errors import DataError, StageError
from pipeline.ingest.judge import Judge
from pipeline.ingest.rows import Rows
from tests.conftest import read, run_stage, write_corpus, write_documents
from tests.stages.shortened import left, mixed


def shortened(root, shards, params=None, **extra):
    """Return documents, the mask of their lines, and the documents shortened."""
    (root / "documents").mkdir(parents=True)
    documents = write_documents(root / "documents", shards, **extra)
    mask = run_stage(root / "mask", LINES, params or PassageParams(), documents=documents)
    return documents, mask, run_stage(root / "cut", CUT, CutParams(), documents=documents, mask=mask)


def ingested(domain, texts):
    """Return the documents that ingest makes of texts."""
    array = pa.array(texts, pa.large_string())
    rows = Rows(array, {}, pa.array(range(len(texts))).to_numpy())
    return Judge(domain, ()).documents(rows, "file")


def test_texts_are_without_their_spans_and_all_else_is_as_ingest_makes_it(tmp_path):
    rows = mixed()
    documents, mask, cut = shortened(tmp_path, [rows[:9], [], rows[9:]])
    expected, changed = left(documents, mask), 0
    for before, after in zip(read(documents).to_pylist(), read(cut).to_pylist(), strict=True):
        keep, _, rest, removed = expected[before["text"], before["domain"]]
        assert after["text"] == (rest if keep else before["text"])
        made = ingested(after["domain"], [after["text"]])
        assert (after["doc_id"], after["bytes"]) == (made["doc_id"][0].as_py(), made["bytes"][0].as_py())
        assert keep is False or removed > 0 or after == before
        changed += after != before
    assert changed > 5
    assert sum(cut.manifest.facts["shortened_documents"].values()) == changed
    before, after = (sum(cut.manifest.facts[name].values()) for name in ("bytes_before", "bytes_after"))
    assert before - after == sum(read(mask)["removed_bytes"].to_pylist())


def test_shards_rows_order_schema_and_extra_columns_stay(tmp_path):
    line = "the line that both of these documents have in common"
    shards = [[(f"{line}\n1", "web")], [], [("x", "web"), (f"{line}\n2", "docs")]]
    documents, mask, cut = shortened(tmp_path, shards, lang=[["en"], [], [None, "de"]])
    assert [(s.name, s.rows) for s in cut.manifest.shards] == [(s.name, s.rows) for s in documents.manifest.shards]
    assert read(cut).schema == read(documents).schema
    assert read(cut)["lang"].to_pylist() == ["en", None, "de"]
    again = run_stage(tmp_path / "again", LINES, PassageParams(), documents=cut, mask=mask)
    assert read(again)["removed_bytes"].to_pylist() == [0, 0, 0]


def test_a_mask_made_from_other_documents_is_refused(tmp_path):
    _, mask, cut = shortened(tmp_path, [mixed()])
    with pytest.raises(DataError, match="the mask mask was not made from cut"):
        run_stage(tmp_path / "twice", CUT, CutParams(), documents=cut, mask=mask)


MARKED = schemas.mask(pa.field("spans", pa.list_(pa.int64())), pa.field("marks", pa.list_(pa.string())))


def cut_by_hand(root, texts, keep, spans, marks=None):
    """Return the documents that CUT makes of texts by a mask that says this."""
    (root / "documents").mkdir()
    documents = write_documents(root / "documents", [[(text, "web") for text in texts]])
    schema = MARKED if marks else pa.schema(list(MARKED)[:3])
    columns = [pa.array(c, f.type) for c, f in zip([keep, [None] * len(keep), spans, marks], schema, strict=False)]
    mask = write_corpus(root / "mask", [pa.Table.from_arrays(columns, schema=schema)], stage="mine")
    made = mask.manifest.model_copy(update={"inputs": {"documents": documents.manifest.fingerprint}})
    mask = mask.model_copy(update={"manifest": made})
    return run_stage(root / "cut", CUT, CutParams(), documents=documents, mask=mask)


@pytest.mark.parametrize("spans", [[0, 99], [1, 2], [2, 1], [0]])
def test_spans_that_do_not_fit_are_refused(tmp_path, spans):
    with pytest.raises(StageError, match="span"):
        cut_by_hand(tmp_path, ["éa"], [True], [spans])


def test_marks_stand_in_place_of_the_spans_and_null_deletes(tmp_path):
    texts = ["ab", "ask ann@b.cd or joe@b.cd", "dropped", "call 555 now", "stays"]
    spans = [[0, 1], [4, 12, 16, 24], [0, 1], [5, 8], []]
    marks = [None, ["<mail>", None], ["gone"], ["<nümber>"], []]
    made = cut_by_hand(tmp_path, texts, [True, True, False, True, True], spans, marks)
    left = ["b", "ask <mail> or ", "dropped", "call <nümber> now", "stays"]
    assert read(made)["text"].to_pylist() == left
    expected = ingested("web", left)
    for name in ("doc_id", "bytes"):
        assert read(made)[name].to_pylist() == expected[name].to_pylist()
    assert made.manifest.facts["shortened_documents"] == {"web": 3}


def test_a_mark_as_long_as_its_span_changes_the_document(tmp_path):
    made = cut_by_hand(tmp_path, ["abc"], [True], [[0, 1]], [["x"]])
    assert read(made)["doc_id"].to_pylist() == ingested("web", ["xbc"])["doc_id"].to_pylist()
    assert made.manifest.facts["shortened_documents"] == {"web": 1}


def test_marks_that_are_not_one_a_span_are_refused(tmp_path):
    with pytest.raises(StageError, match="2 spans and 1 marks"):
        cut_by_hand(tmp_path, ["abcd"], [True], [[0, 1, 2, 3]], [["x"]])


def test_a_mask_without_spans_is_refused(tmp_path):
    documents = write_documents(tmp_path / "documents", [[("a", "web")]])
    table = pa.Table.from_arrays([pa.array([True]), pa.nulls(1, pa.string())], schema=schemas.mask())
    mask = write_corpus(tmp_path / "mask", [table], stage="mine")
    made = mask.manifest.model_copy(update={"inputs": {"documents": documents.manifest.fingerprint}})
    with pytest.raises(DataError, match="no column 'spans'"):
        run_stage(
            tmp_path / "cut", CUT, CutParams(), documents=documents, mask=mask.model_copy(update={"manifest": made})
        )


def test_no_documents_are_taken(tmp_path):
    for name, shards in (("none", []), ("empty", [[]])):
        assert shortened(tmp_path / name, shards)[2].manifest.rows == 0


RECIPE = """
name: short
sources: {{web: {raw}}}
steps:
  lines: {{stage: dedup.lines, inputs: {{documents: documents}}, params: {{most: 2}}}}
  clean: {{stage: dedup.cut, inputs: {{documents: documents, mask: lines}}}}
  repeats: {{stage: dedup.substrings, inputs: {{documents: clean, mask: lines}}, params: {{min_bytes: 40}}}}
  short: {{stage: dedup.cut, inputs: {{documents: clean, mask: repeats}}}}
"""


def test_a_recipe_wires_them_as_steps(tmp_path):
    pq.write_table(pa.table({"text": [text for text, _ in mixed()]}), tmp_path / "raw.parquet")
    (tmp_path / "short.yaml").write_text(RECIPE.format(raw=tmp_path / "raw.parquet"))
    built = pipeline.build(tmp_path / "short.yaml", Profile(root=tmp_path / "data", workers=1), watcher=Silent())
    sizes = [sum(read(built[name])["bytes"].to_pylist()) for name in ("documents", "clean", "short")]
    assert sizes[0] > sizes[1] > sizes[2]
    assert sizes[1] - sizes[2] == sum(built["repeats"].manifest.facts["removed_bytes"].values())
