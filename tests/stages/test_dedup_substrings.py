"""Byte sequences that occur more than once: which go, what a group is, and what never changes a decision."""

import random

import pytest

from pipeline.dedup.substrings import SUBSTRINGS, SubstringParams, layout
from pipeline.execution.local import LocalRunner
from tests.conftest import read, run_stage, write_documents
from tests.stages.dedup import layouts, prose
from tests.stages.masks import masked
from tests.stages.reference_shortened import substrings_left
from tests.stages.shortened import left, mixed, run


def quoting() -> list[tuple[str, str]]:
    """Return documents that quote parts of each other from within words and characters."""
    generator = random.Random(11)
    sources = [prose(seed, 60) for seed in range(4)] + ["漢字かな交じり文のとても長い例です。" * 3 + prose(9, 20)]
    rows = []
    for number in range(30):
        source = generator.choice(sources)
        at = generator.randrange(len(source) - 40)
        quote = source[at : at + generator.randrange(10, 150)]
        rows.append((f"{prose(100 + number, 20)} {quote} {prose(200 + number, 10)}", ("web", "docs")[number % 2]))
    return [*rows, ("-" * 300, "web"), ("=" * 90 + "é" * 70, "docs"), (sources[0], "books"), (sources[0], "web")]


@pytest.mark.parametrize("keep", ["first", "none"])
@pytest.mark.parametrize("width", [16, 30, 61])
def test_what_is_left_is_what_a_dict_of_windows_leaves(tmp_path, keep, width):
    rows = list(dict.fromkeys(quoting() + mixed(12)))
    params = SubstringParams(min_bytes=width, keep=keep)
    found = left(*run(tmp_path, SUBSTRINGS, params, [rows[:5], [], rows[5:]]))
    dropped = 0
    for row, rest in zip(rows, substrings_left(rows, width, keep == "first"), strict=True):
        gone = rest != row[0] and not rest.split()
        assert found[row][:2] == (not gone, "repeated_text" if gone else None)
        assert gone or found[row][2] == rest
        dropped += gone
    assert dropped > 0


@pytest.mark.parametrize("number", range(4))
@pytest.mark.parametrize("params", [{}, {"scope": "domain"}, {"group_bytes": 2000}], ids=str)
def test_order_and_shards_change_no_decision(tmp_path, number, params):
    rows, params = quoting(), SubstringParams(min_bytes=30, **params)
    expected = left(*run(tmp_path / "a", SUBSTRINGS, params, [rows]))
    assert left(*run(tmp_path / "b", SUBSTRINGS, params, layouts(rows)[number])) == expected


def test_workers_change_no_byte(tmp_path):
    rows, params = quoting(), SubstringParams(min_bytes=30, group_bytes=2000)
    documents = write_documents(tmp_path / "documents", [rows[:9], rows[9:20], rows[20:]])
    alone = run_stage(tmp_path / "a", SUBSTRINGS, params, documents=documents)
    with LocalRunner(2) as runner:
        pair = run_stage(tmp_path / "b", SUBSTRINGS, params, runner=runner, documents=documents)
    assert [s.checksum for s in alone.manifest.shards] == [s.checksum for s in pair.manifest.shards]


def test_documents_that_share_nothing_change_no_decision_of_one_group(tmp_path):
    rows, params = quoting(), SubstringParams(min_bytes=30)
    expected = left(*run(tmp_path / "a", SUBSTRINGS, params, [rows]))
    more = left(*run(tmp_path / "b", SUBSTRINGS, params, [[(prose(7000), "other")], rows, [(prose(7001), "web")]]))
    assert {row: more[row] for row in rows} == expected


def test_the_number_of_groups_is_a_matter_of_bytes_and_copies_in_two_groups_both_stay(tmp_path):
    rows = [(f"{prose(1)} {i:02}", "web") for i in range(60)]
    size = sum(len(text) for text, _ in rows)
    _, whole = run(tmp_path / "a", SUBSTRINGS, SubstringParams(group_bytes=size), [rows])
    _, parted = run(tmp_path / "b", SUBSTRINGS, SubstringParams(group_bytes=-(-size // 4)), [rows])
    assert (whole.manifest.facts["groups"], parted.manifest.facts["groups"]) == (1, 4)
    assert "both stay" in parted.manifest.facts["sees"]
    untouched = [sum(value == 0 for value in read(mask)["removed_bytes"].to_pylist()) for mask in (whole, parted)]
    assert untouched == [1, 4]
    assert layout({"b": 10, "a": 25, "c": 0}, 10) == {"a": (0, 3), "b": (3, 1), "c": (4, 1)}


def test_domains_are_groups_of_their_own(tmp_path):
    text = prose(1)
    rows = [(text, "web"), (f"{text}.", "web"), (text, "docs")]
    _, mask = run(tmp_path, SUBSTRINGS, SubstringParams(scope="domain"), [rows])
    assert [value > 0 for value in read(mask)["removed_bytes"].to_pylist()].count(True) == 1
    assert not read(mask)["removed_bytes"].to_pylist()[2]
    assert mask.manifest.facts["groups"] == 2


def test_rows_dropped_earlier_neither_count_nor_are_decided(tmp_path):
    text = prose(1)
    documents = write_documents(tmp_path / "d", [[(text, "web"), (f"{text}!", "web")], [(f"{text}?", "web")]])
    earlier = masked(tmp_path / "m", documents, [[True, False], [False]])
    table = read(run_stage(tmp_path / "a", SUBSTRINGS, SubstringParams(), documents=documents, mask=earlier))
    assert table["reason"].to_pylist() == [None, "by hand", "by hand"]
    assert table["spans"].to_pylist() == [[], None, None]


def test_equal_documents_leave_one_and_the_books_say_so(tmp_path):
    rows = [(prose(1), "web")] * 3
    _, mask = run(tmp_path, SUBSTRINGS, SubstringParams(), [rows[:1], rows[1:]])
    assert read(mask)["keep"].to_pylist() == [True, False, False]
    assert mask.manifest.ledger["web"]["dropped"] == {"repeated_text": 2}


def test_no_documents_are_taken(tmp_path):
    for name, shards in (("none", []), ("empty", [[]])):
        _, mask = run(tmp_path / name, SUBSTRINGS, SubstringParams(), shards)
        assert mask.manifest.rows == 0
