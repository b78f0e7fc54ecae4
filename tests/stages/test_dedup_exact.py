"""Exact duplicates: what is equal, which one stays, and what never changes that."""

import pyarrow.compute as pc
import pytest

from pipeline.dedup.exact import EXACT, ExactParams
from tests.conftest import read, run_stage, write_documents
from tests.stages.dedup import answers, layouts, prose

ROWS = [
    ("The same  text", "web"),
    ("The same text", "docs"),
    (" The same\ttext\n", "books"),
    ("the same text", "web"),
    ("the same text.", "web"),
    ("a+b", "code"),
    ("a-b", "code"),
    *((prose(seed % 7), f"domain{seed % 3}") for seed in range(20)),
]


def run(root, shards, params=None, **mask):
    documents = write_documents(root / "documents", shards)
    return documents, run_stage(root / "exact", EXACT, params or ExactParams(), documents=documents, **mask)


def test_only_white_space_may_differ(tmp_path):
    documents, mask = run(tmp_path, [ROWS[:7]])
    found = answers(documents, mask)
    assert [row["copies"] for row in found.values()] == [3, 3, 3, 1, 1, 1, 1]
    assert [row["keep"] for row in found.values()].count(False) == 2
    dropped = [row for row in found.values() if not row["keep"]]
    kept = next(text for (text, _), row in found.items() if row["keep"] and row["copies"] == 3)
    assert {row["keeper"] for row in dropped} == {kept}
    assert {row["reason"] for row in dropped} == {"exact_duplicate"}
    assert all(row["keeper"] is None and row["reason"] is None for row in found.values() if row["keep"])


@pytest.mark.parametrize("layout", range(4))
def test_order_shards_and_other_documents_change_no_decision(tmp_path, layout):
    rows = list(dict.fromkeys(ROWS))
    expected = answers(*run(tmp_path / "a", [rows]))
    assert answers(*run(tmp_path / "b", layouts(rows)[layout])) == expected
    more = answers(*run(tmp_path / "c", [[(prose(99), "web")], rows, [("another", "web")] * 3]))
    assert {key: more[key] for key in expected} == expected


def test_the_copy_of_the_preferred_domain_stays(tmp_path):
    for index, order in enumerate((("docs", "web"), ("books",), ("web", "books"))):
        documents, mask = run(tmp_path / str(index), [ROWS[:3]], ExactParams(keep="source_priority", priority=order))
        assert [key[1] for key, row in answers(documents, mask).items() if row["keep"]] == [order[0]]


def test_of_rows_of_one_document_one_stays(tmp_path):
    _, mask = run(tmp_path, [[("again", "web")] * 3, [("again", "web")]])
    table = read(mask)
    assert sum(table["keep"].to_pylist()) == 1
    assert table["copies"].to_pylist() == [4] * 4


def test_a_document_dropped_earlier_neither_stays_nor_counts(tmp_path):
    rows = [("a b", "docs"), ("a  b", "web"), ("c", "web"), (" a b", "code")]
    documents, earlier = run(tmp_path / "first", [rows], ExactParams(keep="source_priority", priority=("docs",)))
    again = run_stage(
        tmp_path / "second",
        EXACT,
        ExactParams(keep="source_priority", priority=("web",)),
        documents=documents,
        mask=earlier,
    )
    assert read(again)["keep"].to_pylist() == [True, False, True, False]
    assert read(again)["copies"].to_pylist() == [1, 0, 1, 0]
    assert read(again)["reason"].to_pylist() == [None, "exact_duplicate", None, "exact_duplicate"]


def test_the_books_balance_by_domain(tmp_path):
    _, mask = run(tmp_path, [ROWS])
    ledger = mask.manifest.ledger
    assert sum(part["rows_in"] for part in ledger.values()) == len(ROWS)
    dropped = sum(part.get("dropped", {}).get("exact_duplicate", 0) for part in ledger.values())
    assert dropped == pc.sum(pc.invert(read(mask)["keep"])).as_py()


def test_a_hundred_thousand_equal_documents_leave_one(tmp_path):
    _, mask = run(tmp_path, [[("cookie banner", "web")] * 100_000])
    assert sum(read(mask)["keep"].to_pylist()) == 1
