"""Words and shingles against Python's re and unicodedata."""

import unicodedata
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.kernels import shingles, unicode_table
from pipeline.schemas import text_buffers
from tests.kernels import reference_dedup as twin

KNOWN = st.characters(codec="utf-8").filter(lambda character: not unicode_table.unassigned().match(character))
LATIN_AND_GREEK = "aZ09_ .\n-éÉßẞΣσςİIıſK\u0301\u0327\u0345\ufb01ÅΩ\u200d٣Ⅷ²\u0130\u00aa𐐀𝒳"
EAST = "\u3099ｶﾞガあ漢字𠀀กำ่ຂខ한글ᄒ\u1161\u11a8"
TRICKY = st.sampled_from(LATIN_AND_GREEK + EAST)
TEXTS = st.text(st.one_of(TRICKY, TRICKY, KNOWN), max_size=80)


KINDS = [("word", "native"), ("byte", "native"), ("word", "datasketch"), ("byte", "datasketch")]


def hashes_of(texts: list[str], ngram: int, unit="word", hashing="native") -> list[list[int]]:
    data, offsets = shingles.plain(*text_buffers(pa.array(texts, pa.large_string())))
    found, ends = shingles.hashes(data, offsets, ngram, unit, hashing)
    return [found[a:b].tolist() for a, b in pairwise(ends)]


def expected(texts: list[str], ngram: int, unit="word", hashing="native") -> list[list[int]]:
    found = twin.shingles if unit == "word" else twin.byte_shingles
    hashed = twin.shingle_hash if hashing == "native" else twin.sha1_hash
    return [[hashed(s) for s in found(text, ngram)] for text in texts]


@pytest.mark.parametrize(("unit", "hashing"), KINDS)
@settings(deadline=None)  # the first call compiles
@given(st.lists(TEXTS, max_size=8), st.integers(1, 40))
def test_shingles_are_those_of_the_definition(unit, hashing, texts, ngram):
    ngram = ngram if unit == "byte" else 1 + ngram % 7
    assert hashes_of(texts, ngram, unit, hashing) == expected(texts, ngram, unit, hashing)


@pytest.mark.parametrize("length", [*range(1, 36), 63, 64, 65, 200])
def test_words_and_runs_of_bytes_of_every_length_are_hashed_whole(length):
    word = "".join(chr(97 + (7 * i) % 26) for i in range(length))
    for unit, hashing in KINDS:
        assert hashes_of([word, f"a {word}"], length, unit, hashing) == expected(
            [word, f"a {word}"], length, unit, hashing
        )


def test_sums_of_many_words_turn_each_word_another_way():
    text = " ".join(f"w{i % 9}" for i in range(150))
    assert hashes_of([text], 64) == expected([text], 64)


def test_every_character_alone_and_between_letters_is_read_as_python_reads_it():
    known = (chr(c) for c in range(0x110000) if not 0xD800 <= c < 0xE000)
    characters = [c for c in known if not unicode_table.unassigned().match(c)]
    step = 977  # one document of many characters each, so that the twin stays quick
    texts = [" a".join(characters[i : i + step]) for i in range(0, len(characters), step)]
    for text, found in zip(texts, hashes_of(texts, 1), strict=True):
        assert found == [twin.shingle_hash([word]) for word in twin.words(text)]


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("", 0),
        (" .,-\n", 0),
        ("one", 1),
        ("one two three four", 1),
        ("1 2 3 4 5", 1),
        ("1 2 3 4 5 6", 2),
        ("漢字仮名交じり", 3),
    ],
)
def test_a_text_of_fewer_words_than_n_is_one_shingle_and_of_none_is_none(text, number):
    assert len(hashes_of([text], 5)[0]) == number


def test_case_and_punctuation_do_not_count_and_underscores_do():
    one, same, other = hashes_of(
        ["The quick, brown fox (jumps)", "the QUICK brown fox jumps", "the_quick brown fox jumps"], 5
    )
    assert one == same
    assert one != other


FILLERS = [
    "ab cd. ",
    "漢",
    "한",
    "x",
    "é ",
    "Σas ",
    "é",
    "ก",
    "\U0001f600",
    "e\u0301 ",
    "a" + " " * 9000,
    "x" * 20000 + ", ",
]


@pytest.mark.parametrize(("unit", "hashing"), KINDS)
@pytest.mark.parametrize("filler", FILLERS)
def test_chunks_of_a_long_document_do_not_show(filler, unit, hashing):
    text = "begin " + filler * (4 * shingles.CHUNK_BYTES // len(filler.encode())) + " end of it"
    for ngram in (1, 3):
        assert hashes_of([text, "a b"], ngram, unit, hashing) == expected([text, "a b"], ngram, unit, hashing)


@pytest.mark.parametrize("unit", ["word", "byte"])
def test_the_parts_work_comes_in_do_not_show(unit):
    generator = np.random.default_rng(1)
    words = [f"{word:x}" for word in generator.integers(0, 5000, 120_000)]
    texts = [" ".join(words[:90_000]), "", " ".join(words[90_000:90_010]), " ".join(words[90_010:])]
    data, offsets = text_buffers(pa.array(texts, pa.large_string()))
    whole, ends = shingles.hashes(data, offsets, 5, unit)
    for room in (1, 50_000, 77_777):
        work, parts = shingles.Work(data, offsets, 5, unit, room=room), []
        while work.document < len(texts):
            parts.append(work.go_on().copy())
        assert len(parts) > 1
        assert np.array_equal(np.concatenate(parts), whole)
        assert np.array_equal(np.cumsum(work.counts_N), ends[1:])


@pytest.mark.parametrize("filler", ["some words of a text, ", "漢字", " ", "a  .  "])
@pytest.mark.parametrize(("unit", "hashing"), [KINDS[0], KINDS[3]])
def test_scratch_does_not_grow_with_a_document(filler, unit, hashing):
    text = filler * (1_000_000 // len(filler.encode()))
    data, offsets = text_buffers(pa.array([text], pa.large_string()))
    work = shingles.Work(data, offsets, 5, unit, hashing)
    before = work.scratch_bytes
    while work.document < 1:
        work.go_on()
    assert work.scratch_bytes == before


def test_a_document_of_one_word_of_twenty_megabytes():
    word = "Xyzw" * 5_000_000
    assert hashes_of([word, "a"], 5) == [[twin.bytes_hash(word.lower().encode())], [twin.shingle_hash(["a"])]]
    data, offsets = text_buffers(pa.array([word], pa.large_string()))
    work, total = shingles.Work(data, offsets, 12, "byte"), 0
    before = work.scratch_bytes
    while work.document < 1:
        found = work.go_on()
        total += len(found)
        assert set(np.unique(found).tolist()) == {twin.bytes_hash(("xyzw" * 4)[i : i + 12].encode()) for i in range(4)}
    assert total == len(word) - 11
    assert work.scratch_bytes == before


def test_slices_are_honoured_and_rows_do_not_depend_on_each_other():
    array = pa.array(["one two", "Éa ΑΣ", "", "x y z"], pa.large_string())
    found, ends = shingles.hashes(*shingles.plain(*text_buffers(array.slice(1, 2))), 2)
    assert [found[a:b].tolist() for a, b in pairwise(ends)] == expected(["Éa ΑΣ", ""], 2)


@settings(deadline=None)  # the first call compiles
@given(
    st.lists(TEXTS, min_size=2, max_size=6),
    st.integers(0, 300),
    st.sampled_from([" ", "\n", "é", "Σ", " \u0327\u0301"]),
)
def test_the_parts_that_are_read_in_their_context_do_not_show(parts, length, glue):
    text = (glue + "ab " * (length // 3) + "x" * (length % 7)).join(parts)
    assert hashes_of([text, "Σ", text], 2) == expected([text, "Σ", text], 2)


def test_only_what_needs_its_context_is_changed():
    lines = ["Nothing here. " * 60, "ΟΔΟΣ", "Still Nothing. " * 60, "İ e\u0301"]
    data, offsets = shingles.plain(*text_buffers(pa.array(["\n".join(lines)], pa.large_string())))
    found = bytes(data[offsets[0] : offsets[1]]).decode()
    assert "οδος" in found
    assert found.endswith("i\u0307 é")
    assert found.startswith("Nothing here. ")


def test_texts_that_need_no_context_are_not_copied():
    data, offsets = text_buffers(pa.array(["Plain text", "schön 漢字 ไทย", "σ"], pa.large_string()))
    assert shingles.plain(data, offsets)[0] is data


@settings(deadline=None)  # the first call compiles
@given(st.lists(TEXTS, max_size=4))
def test_a_python_with_another_unicode_comes_to_the_same(texts):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(unicode_table, "UNICODE", "another")
        assert hashes_of(texts, 2) == expected(texts, 2)


def test_an_unknown_character_separates_words():
    hole = "\U000e0fff"
    assert hashes_of([f"a{hole}Σ"], 1) == [[twin.shingle_hash(["a"]), twin.shingle_hash(["σ"])]]


def test_the_table_is_the_one_python_had_when_it_was_made():
    if unicodedata.unidata_version != unicode_table.UNICODE:
        pytest.skip("this Python has another Unicode")
    assert unicode_table.TABLE.read_text().splitlines() == list(unicode_table.lines())


def test_the_hash_of_a_shingle_does_not_move():
    texts = ["The quick brown fox jumps", "漢字"]
    assert hashes_of(texts, 5) == [[0x745132B64EE8CA0D], [0xEFD080CD995DBC19]]
    assert [row[0] for row in hashes_of(texts, 5, "byte")] == [0x16C52B4F7CA71247, 0x29D15695E466225E]
    assert hashes_of(texts, 5, "word", "datasketch") == [[0x4804FA51], [0x79948ED6]]


@settings(deadline=None)  # the first call compiles
@given(st.lists(st.integers(0, 50), max_size=30), st.integers(1, 60))
def test_runs_cover_every_document_once_and_hold_at_most_their_bytes(lengths, size):
    offsets = np.concatenate([[7], 7 + np.cumsum(lengths)]).astype(np.int64)
    runs = shingles.runs(offsets, size)
    assert [i for a, b in runs for i in range(a, b)] == list(range(len(lengths)))
    assert all(b == a + 1 or offsets[b] - offsets[a] <= size for a, b in runs)


def test_bad_arguments_are_refused():
    data, offsets = text_buffers(pa.array(["a"]))
    with pytest.raises(ValueError, match="ngram"):
        shingles.hashes(data, offsets, 0)
    with pytest.raises(ValueError, match="offsets"):
        shingles.hashes(data, np.array([0, 99]), 5)
    with pytest.raises(ValueError, match="unit must be one of word, byte; got 'line'"):
        shingles.hashes(data, offsets, 5, "line")
    with pytest.raises(ValueError, match="hashing must be one of native, datasketch; got 'md5'"):
        shingles.hashes(data, offsets, 5, "word", "md5")


def test_bytes_that_are_not_utf8_are_read_within_their_document():
    generator = np.random.default_rng(5)
    for size in range(1, 200):
        data = generator.integers(128, 256, size, np.uint8)
        offsets = np.sort(np.concatenate([[0, size], generator.integers(0, size + 1, 3)]))
        found, ends = shingles.hashes(data, offsets, 2)
        for i, (a, b) in enumerate(pairwise(offsets)):
            alone, _ = shingles.hashes(data[a:b].copy() if b > a else np.zeros(1, np.uint8), np.array([0, b - a]), 2)
            assert np.array_equal(found[ends[i] : ends[i + 1]], alone)


@pytest.mark.shared
def test_real_text_of_every_domain_is_read_as_python_reads_it(shared):
    for path in sorted((shared / "data/small").glob("*.parquet")):
        texts = pq.read_table(path, columns=["text"])["text"].to_pylist()[::23]
        assert hashes_of(texts, 5) == expected(texts, 5), path


@pytest.mark.shared
def test_the_labelled_corpus_has_the_published_number_of_shingles(shared):
    folder = shared / "data/dups"
    wanted = dict(
        zip(*(pq.read_table(folder / "docs_meta.parquet")[c].to_pylist() for c in ("id", "n_shingles")), strict=True)
    )
    for path in sorted(folder.glob("docs-*.parquet")):
        table = pq.read_table(path, columns=["id", "text"])
        found = hashes_of(table["text"].to_pylist(), 5)
        assert {i: len(set(f)) for i, f in zip(table["id"].to_pylist(), found, strict=True)}.items() <= wanted.items()
