"""The line rules of C4 against their slow twin: the text that is left is the same to the byte."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.kernels import c4_lines, spans
from pipeline.kernels.c4_lines import COUNTS, DROPPED, Rules
from pipeline.schemas import text_buffers
from tests.kernels.reference_c4_lines import filtered

PIECES = [
    "the cat sat",
    "Terms of Use",
    "JavaScript",
    "lorem ipsum",
    "{",
    "[1]",
    "[]",
    "[٣]",
    "[edit]",
    "[citation needed]",
]
PIECES += [
    "[x]",
    ".",
    "!",
    "?",
    '"',
    "'",
    "...",
    "。",
    "é",
    "a",
    "bad",
    "bad_",
    "worse one",
    " ",
    "  ",
    "\t",
    "\n",
    "\n\n",
]
PIECES += ["\r\n", "\r", "\x85", "\u2028", "\x0c", "x" * 12, "「", "」", "use  cookies", "use cookies", ". A", "\u3000"]
TEXTS = st.lists(st.sampled_from(PIECES), max_size=40).map("".join)
RULES = st.builds(
    Rules,
    st.booleans(),
    st.sampled_from([0, 1, 3]),
    st.sampled_from([0, 10]),
    st.booleans(),
    st.booleans(),
    st.booleans(),
)


def judged(texts, **options):
    """What is left of each text, and its counts by name."""
    data, offsets = text_buffers(pa.array(texts, pa.large_string()))
    spans_S2, breaks_S, ends, counts_NC = c4_lines.judge(data, offsets, **options)
    left = []
    for text, first, last in zip(texts, ends, ends[1:], strict=False):
        rest, at = b"", 0
        for (start, end), break_ in zip(spans_S2[first:last], breaks_S[first:last], strict=True):
            assert at <= start < end <= len(text.encode())
            rest, at = rest + text.encode()[at:start] + b"\n" * int(break_), end
        left.append((rest + text.encode()[at:]).decode())
    return left, [dict(zip((*COUNTS, *DROPPED), row, strict=True)) for row in counts_NC.tolist()]


def assert_equal(texts, **options):
    left, counts = judged(texts, **options)
    for text, rest, count in zip(texts, left, counts, strict=True):
        expected = filtered(text, **options)
        if text:
            assert (rest, count) == expected, repr(text[:300])
        else:
            assert not any(count.values())


@settings(max_examples=150)
@given(st.lists(TEXTS, max_size=5), RULES, st.sampled_from([(), ("bad", "worse one", "é")]))
def test_what_is_left_and_all_counts_are_those_of_the_slow_twin(texts, rules, bad_words):
    assert_equal(texts, rules=rules, bad_words=bad_words)


@settings(max_examples=100)
@given(st.lists(TEXTS, max_size=3), st.booleans())
def test_a_long_list_of_phrases_is_found_like_a_short_one(texts, flanked):
    many = ("bad", "é", "worse one", *(a + b + "z" for a in "abcdefg" for b in "hijk"))
    assert_equal([*texts, "x" * 61 + ". bad", "aHz, GKZ and so."], rules=Rules(flanked=flanked), bad_words=many)


def test_a_page_keeps_its_sentences_and_loses_the_rest():
    page = "Menu\n\nThe cat sat on the mat.[1] It purred.\r\nWe use cookies here.\nHe said “so” twice!  \nHome | About"
    left, counts = judged([page])
    assert left == ["The cat sat on the mat. It purred.\nHe said “so” twice!"]
    assert (counts[0]["sentences"], counts[0]["policy"], counts[0]["terminal_punctuation"]) == (3, 1, 3)


def test_the_spans_are_such_as_can_be_cut():
    texts = ["  a b c.\r\nd e f.", "x", "[1] a b c.", "a b c.\n\n\n d e f. [2]"]
    data, offsets = text_buffers(pa.array(texts, pa.large_string()))
    found, _, ends, _ = c4_lines.judge(data, offsets)
    spans.cut(data, offsets, found, ends)


def test_a_phrase_of_one_character_is_refused():
    with pytest.raises(ValueError, match="the phrase 'x' has fewer than two"):
        judged(["text"], bad_words=("x",))


@pytest.mark.shared
@pytest.mark.slow
def test_real_documents_are_left_as_the_slow_twin_leaves_them(shared):
    for path in sorted((shared / "data/small").rglob("*.parquet")):
        texts = [t for t in pq.read_table(path, columns=["text"])["text"].to_pylist()[::40] if t and len(t) < 30_000]
        assert_equal(texts, rules=Rules(terminal_punctuation=False))
        assert_equal(texts)
