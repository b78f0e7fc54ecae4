"""The stream through a Bloom filter: as good as a set while it is not too full, in the order of the shards."""

import pytest

from pipeline.dedup.bloom import BLOOM, BloomParams
from pipeline.errors import StageError
from pipeline.execution.local import LocalRunner
from tests.conftest import read, run_stage, write_documents
from tests.kernels import reference_passages as twin
from tests.stages.dedup import prose
from tests.stages.masks import masked
from tests.stages.shortened import left, mixed, run


def test_documents_met_before_go_and_the_first_stays(tmp_path):
    rows = [(prose(seed % 30, 10) + " " * (seed % 3), "web") for seed in range(90)]
    _, mask = run(tmp_path, BLOOM, BloomParams(expected=1000), [rows[:50], [], rows[50:]])
    assert read(mask)["keep"].to_pylist() == [True] * 30 + [False] * 60
    assert mask.manifest.ledger["web"]["dropped"] == {"bloom_duplicate": 60}
    assert [(s.name, s.rows) for s in mask.manifest.shards] == [
        ("part-00000.parquet", 50),
        ("part-00001.parquet", 0),
        ("part-00002.parquet", 40),
    ]


@pytest.mark.parametrize(("unit", "split"), [("line", twin.lines), ("paragraph", twin.paragraphs)])
def test_passages_of_earlier_documents_are_cut_out(tmp_path, unit, split):
    rows = mixed()
    documents, mask = run(tmp_path, BLOOM, BloomParams(expected=10_000, unit=unit), [rows[:9], rows[9:]])
    found, known = left(documents, mask), set()
    for row in rows:
        plain = [" ".join(passage.split()) for passage in split(row[0])]
        kept = [p for p, key in zip(split(row[0]), plain, strict=True) if not key or key not in known]
        gone = len(kept) < len(plain) and not any(p.split() for p in kept)
        known |= set(plain)
        assert found[row][:2] == (not gone, "bloom_duplicate" if gone else None)
        assert gone or split(found[row][2]) == kept


def test_the_order_decides_and_the_manifest_says_so(tmp_path):
    rows = [("the same", "web"), ("the same ", "docs")]
    for name, shards, kept in (("a", [rows], "web"), ("b", [rows[::-1]], "docs")):
        documents, mask = run(tmp_path / name, BLOOM, BloomParams(expected=100), shards)
        assert [domain for (_, domain), row in left(documents, mask).items() if row[0]] == [kept]
        assert mask.manifest.facts["order_dependent"] is True
        assert mask.manifest.facts["distinct"] == 1
        assert 0 < mask.manifest.facts["fill"] < 0.1


def test_domains_may_be_told_apart(tmp_path):
    rows = [("the same", "web"), ("the same", "docs"), ("the same", "web")]
    _, mask = run(tmp_path, BLOOM, BloomParams(expected=100, scope="domain"), [rows])
    assert read(mask)["keep"].to_pylist() == [True, True, False]


def test_a_filter_made_for_too_few_is_an_error_that_names_the_number(tmp_path):
    rows = [(prose(seed, 5), "web") for seed in range(2000)]
    with pytest.raises(StageError, match=r"made for 100\. .* Set `expected` to about"):
        run(tmp_path / "a", BLOOM, BloomParams(expected=100, false_positive=0.001), [rows[:1000], rows[1000:]])
    _, mask = run(tmp_path / "b", BLOOM, BloomParams(expected=2000, false_positive=0.001), [rows])
    assert mask.manifest.facts["estimated_false_positive"] < 0.002


def test_rows_dropped_earlier_are_not_met(tmp_path):
    documents = write_documents(tmp_path / "d", [[("same", "web"), ("same", "web")], [("same", "web")]])
    earlier = masked(tmp_path / "m", documents, [[False, True], [True]])
    table = read(run_stage(tmp_path / "a", BLOOM, BloomParams(expected=9), documents=documents, mask=earlier))
    assert table["keep"].to_pylist() == [False, True, False]
    assert table["reason"].to_pylist() == ["by hand", None, "bloom_duplicate"]


def test_another_process_writes_the_same_bytes(tmp_path):
    rows = mixed()
    documents = write_documents(tmp_path / "documents", [rows[:9], rows[9:]])
    params = BloomParams(expected=1000, unit="line")
    here = run_stage(tmp_path / "a", BLOOM, params, documents=documents)
    with LocalRunner(2) as runner:
        there = run_stage(tmp_path / "b", BLOOM, params, runner=runner, documents=documents)
    assert [s.checksum for s in here.manifest.shards] == [s.checksum for s in there.manifest.shards]


def test_no_documents_are_taken(tmp_path):
    for name, shards in (("none", []), ("empty", [[]])):
        _, mask = run(tmp_path / name, BLOOM, BloomParams(expected=10), shards)
        assert mask.manifest.rows == 0
