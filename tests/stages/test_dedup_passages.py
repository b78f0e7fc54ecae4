"""Lines and paragraphs that several documents have: which go, which stay, and what never changes that."""

import pytest

from pipeline.dedup.passages import LINES, PARAGRAPHS, PassageParams
from pipeline.errors import StageError
from pipeline.execution.local import LocalRunner
from tests.conftest import read, run_stage, write_documents
from tests.kernels import reference_passages as twin
from tests.stages.dedup import layouts, prose
from tests.stages.masks import masked
from tests.stages.reference_shortened import passages_left
from tests.stages.shortened import left, mixed, run

CHOICES = [
    PassageParams(),
    PassageParams(min_bytes=1),
    PassageParams(most=4, min_bytes=8),
    PassageParams(keep="none_above", most=3),
    PassageParams(keep="none_above", most=2, scope="domain", min_bytes=1),
    PassageParams(scope="domain", priority=("web",)),
    PassageParams(priority=("docs", "books")),
    PassageParams(min_left_bytes=120, keep="none_above"),
]


@pytest.mark.parametrize("params", CHOICES, ids=str)
@pytest.mark.parametrize("stage", [LINES, PARAGRAPHS], ids=lambda stage: stage.name)
def test_what_is_left_is_what_a_dict_of_strings_leaves(tmp_path, stage, params):
    unit, split = ("line", twin.lines) if stage is LINES else ("paragraph", twin.paragraphs)
    rows = mixed()
    documents, mask = run(tmp_path, stage, params, [rows[:7], rows[7:30], [], rows[30:]])
    found = left(documents, mask)
    changed = 0
    for row, (keep, kept) in zip(rows, passages_left(rows, unit, params), strict=True):
        assert found[row][:2] == (keep, None if keep else "boilerplate")
        assert not keep or split(found[row][2]) == kept
        changed += not keep or found[row][3] > 0
    assert changed > 3
    assert [row["passages"] for row in read(mask).to_pylist()] == [
        sum(bool(p.split()) for p in split(text)) for text, _ in rows
    ]


@pytest.mark.parametrize("layout", range(4))
@pytest.mark.parametrize("stage", [LINES, PARAGRAPHS], ids=lambda stage: stage.name)
def test_order_and_shards_change_no_decision(tmp_path, stage, layout):
    rows = mixed()
    expected = left(*run(tmp_path / "a", stage, PassageParams(), [rows]))
    documents, mask = run(tmp_path / "b", stage, PassageParams(), layouts(rows)[layout])
    assert left(documents, mask) == expected
    facts = run_stage(tmp_path / "c", stage, PassageParams(), documents=documents).manifest.facts
    assert facts == mask.manifest.facts


def test_documents_that_share_nothing_change_no_decision(tmp_path):
    rows = mixed()
    expected = left(*run(tmp_path / "a", LINES, PassageParams(), [rows]))
    others = [(prose(5000 + seed, 30), "other") for seed in range(20)]
    more = left(*run(tmp_path / "b", LINES, PassageParams(), [others[:9], rows, others[9:]]))
    assert {row: more[row] for row in rows} == expected


def test_workers_change_no_byte(tmp_path):
    rows = mixed()
    documents = write_documents(tmp_path / "documents", [rows[:9], rows[9:20], rows[20:]])
    alone = run_stage(tmp_path / "a", LINES, PassageParams(), documents=documents)
    with LocalRunner(2) as runner:
        pair = run_stage(tmp_path / "b", LINES, PassageParams(), runner=runner, documents=documents)
    assert [s.checksum for s in alone.manifest.shards] == [s.checksum for s in pair.manifest.shards]


def test_batches_of_a_shard_each_hear_of_their_own_passages(tmp_path, monkeypatch):
    rows = mixed()
    expected = left(*run(tmp_path / "a", LINES, PassageParams(), [rows]))
    monkeypatch.setattr("pipeline.parquet.BATCH_BYTES", 1000)
    assert left(*run(tmp_path / "b", LINES, PassageParams(), [rows])) == expected


def test_passes_that_cut_a_shard_differently_are_noticed(tmp_path, monkeypatch):
    from pipeline.parquet import read_batches as ordinary

    calls = []

    def uneven(path, columns):
        calls.append(path)
        for batch in ordinary(path, columns):
            yield from [batch] if len(calls) < 3 else [batch.slice(0, 5), batch.slice(5)]

    monkeypatch.setattr("pipeline.parquet.read_batches", uneven)
    with pytest.raises(StageError, match="cut into other batches"):
        run(tmp_path, LINES, PassageParams(), [mixed()])


def test_a_line_repeated_within_one_document_stays(tmp_path):
    refrain = "and the refrain goes as it always went before\n"
    documents, mask = run(
        tmp_path, LINES, PassageParams(), [[(refrain * 3, "web"), ("something else entirely", "web")]]
    )
    assert all(row[0] and not row[3] for row in left(documents, mask).values())


def test_of_rows_of_one_document_one_keeps_its_lines(tmp_path):
    row = (prose(1) + "\n" + prose(2), "web")
    _, mask = run(tmp_path, LINES, PassageParams(), [[row], [row, row]])
    assert read(mask)["keep"].to_pylist() == [True, False, False]


def test_rows_dropped_earlier_neither_count_nor_are_decided(tmp_path):
    line = "the line that all of these documents have in common"
    documents = write_documents(tmp_path / "d", [[(f"{line}\n{i}", "web") for i in range(2)], [(f"{line}\n9", "web")]])
    earlier = masked(tmp_path / "m", documents, [[True, False], [False]])
    table = read(run_stage(tmp_path / "a", LINES, PassageParams(), documents=documents, mask=earlier))
    assert table["removed_bytes"].to_pylist() == [0, 0, 0]
    assert table["reason"].to_pylist() == [None, "by hand", "by hand"]
    assert table["passages"].to_pylist() == [2, 0, 0]
    assert table["spans"].to_pylist() == [[], None, None]
    earlier = masked(tmp_path / "n", documents, [[True, False], [True]])
    table = read(run_stage(tmp_path / "b", LINES, PassageParams(), documents=documents, mask=earlier))
    assert sorted(table["removed_bytes"].to_pylist()) == [0, 0, len(line) + 1]


def test_a_line_in_a_hundred_thousand_documents_goes_from_all_but_one(tmp_path):
    line = "we use cookies to make this site a better place for you"
    shards = [[(f"{line}\n{i}", "web") for i in range(part, part + 25_000)] for part in range(0, 100_000, 25_000)]
    _, mask = run(tmp_path, LINES, PassageParams(), shards)
    assert sum(value == 0 for value in read(mask)["removed_bytes"].to_pylist()) == 1
    facts = mask.manifest.facts
    assert facts["most_frequent"] == [{"documents": 100_000, "text": line}]
    assert facts["passages_by_documents"] == {"10,001 to 100,000": 1}
    assert facts["shortened_documents"] == {"web": 99_999}


def test_the_facts_name_the_most_frequent_passages_and_count_classes(tmp_path):
    lines = [f"line number {number} is held by some of the documents" for number in range(30)]
    rows = [("\n".join([*lines[number:], prose(number)]), "web") for number in range(30)]
    _, mask = run(tmp_path, LINES, PassageParams(most=2), [rows[:11], rows[11:]])
    facts = mask.manifest.facts
    assert [example["documents"] for example in facts["most_frequent"]] == list(range(30, 10, -1))
    assert [example["text"] for example in facts["most_frequent"]] == lines[:9:-1]
    assert facts["passages_by_documents"] == {"2": 1, "3 to 10": 8, "11 to 100": 20}
    assert facts["removed_bytes"]["web"] == sum(read(mask)["removed_bytes"].to_pylist())


def test_no_documents_are_taken(tmp_path):
    for name, shards in (("none", []), ("empty", [[]])):
        for stage in (LINES, PARAGRAPHS):
            _, mask = run(tmp_path / name / stage.name, stage, PassageParams(), shards)
            assert mask.manifest.rows == 0
            assert mask.manifest.facts["most_frequent"] == []
