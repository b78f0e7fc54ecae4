"""The text statistics against their slow twin, on texts made to be hard and on real ones."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.kernels import character_kinds, textstats
from pipeline.kernels.textstats import COUNTS
from pipeline.schemas import text_buffers
from tests.kernels.reference_textstats import counts, words_of

STOP_WORDS = ("the", "be", "to", "of", "and", "that", "have", "with")
PIECES = [
    "the",
    "to",
    "a",
    "ab",
    "b",
    "straße",
    "文",
    "字",
    "の",
    "l'été",
    "x-y",
    "1",
    "#",
    "...",
    "…",
    ".",
    "..",
    "- ",
    "•",
]
PIECES += [
    " ",
    "  ",
    "\n",
    "\n\n",
    "\n \n",
    "\r\n",
    "\r",
    "\t",
    "\u2028",
    "\x85",
    "\x1c",
    "\x0b",
    "\u3000",
    "(",
    ")",
    "。",
    "!",
    '"',
]
TEXTS = st.lists(st.sampled_from(PIECES), max_size=60).map("".join) | st.text(st.characters(codec="utf-8"), max_size=40)


def counted(texts: list[str], **options: object) -> np.ndarray:
    return textstats.count(*text_buffers(pa.array(texts, pa.large_string())), **options)


def assert_equal(texts: list[str], found: np.ndarray, **options: object) -> None:
    for text, row in zip(texts, found, strict=True):
        expected = dict(zip(COUNTS, counts(text, **options), strict=True))
        assert dict(zip(COUNTS, row.tolist(), strict=True)) == expected, text[:400]


@settings(max_examples=150)
@given(st.lists(TEXTS, max_size=6), st.sampled_from([None, ".!?\"'", ""]), st.sampled_from([0, 3, 30]))
def test_all_counts_are_those_of_the_slow_twin(texts, stops, short):
    found = counted(texts, stop_words=STOP_WORDS, stops=stops, short=short)
    assert_equal(texts, found, stop_words=STOP_WORDS, stops=stops, short=short)


@settings(max_examples=100)
@given(st.lists(st.sampled_from(["a", "b", "ab", "1", "11", "."]), max_size=200), st.sampled_from([" ", "\n"]))
def test_n_grams_are_equal_by_their_characters_however_they_are_split(words, between):
    text = between.join(words)
    assert_equal([text], counted([text]))


def test_words_are_peeled_of_the_punctuation_at_their_ends_only():
    assert words_of('"it\'s (well-known)..." 中文x!') == [
        *'"',
        "it's",
        "(",
        "well-known",
        *')..."',
        "中",
        "文",
        "x",
        "!",
    ]


def test_a_document_left_out_has_zeros_and_changes_no_other():
    texts = ["to be or not to be", "a b\na b", "", "the end."]
    whole = counted(texts)
    keep = np.array([True, False, True, True])
    part = counted(texts, keep=keep)
    assert (part[keep] == whole[keep]).all()
    assert not part[1].any()
    assert not part[2].any()


def test_without_repetitions_all_but_the_n_grams_is_counted():
    text = "one two three four five six " * 9
    assert_equal([text], counted([text], repetitions=False), repetitions=False)


@pytest.mark.slow
def test_a_document_of_megabytes_is_counted_like_a_short_one():
    words = np.random.default_rng(0).choice(["alpha", "beta.", "(gamma)", "文字", "-", "x" * 700], 60_000)
    text = "\n".join(" ".join(words[i : i + 9]) for i in range(0, len(words), 9))
    assert len(text.encode()) > 2_000_000
    assert_equal([text], counted([text, "short"])[:1])


def test_slices_and_nulls_are_read_where_they_lie():
    texts = pa.array(["skipped", "to be", None, "of\nof"], pa.large_string()).slice(1)
    found = textstats.count(*text_buffers(texts))
    assert_equal(["to be", "", "of\nof"], found)


def test_the_frozen_kinds_are_those_of_the_python_they_were_made_with():
    lines = character_kinds.TABLE.read_text(encoding="ascii").splitlines()
    fresh = list(character_kinds.lines())
    if lines[0] == fresh[0]:
        assert lines == fresh


@pytest.mark.shared
def test_all_counts_of_real_documents_are_those_of_the_slow_twin(shared):
    files = sorted((shared / "data/small").rglob("*.parquet"))
    assert files
    for path in files:
        texts = [t for t in pq.read_table(path, columns=["text"])["text"].to_pylist()[::40] if t and len(t) < 50_000]
        assert_equal(texts, counted(texts, stop_words=STOP_WORDS), stop_words=STOP_WORDS)
