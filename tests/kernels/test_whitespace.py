"""White space against Python's str.split."""

from itertools import pairwise

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.kernels import whitespace
from pipeline.schemas import text_buffers

SPACES = "".join(chr(c) for c in range(0x10000) if chr(c).isspace())


def collapsed(texts: list[str]) -> list[str]:
    data, offsets = whitespace.collapse(*text_buffers(pa.array(texts, pa.large_string())))
    return [bytes(data[a:b]).decode() for a, b in pairwise(offsets)]


@settings(deadline=None)  # the first call compiles
@given(st.lists(st.text(st.one_of(st.sampled_from(SPACES + "aé\u200b\u2060\ufeff漢"), st.characters(codec="utf-8")))))
def test_runs_of_white_space_become_one_space(texts):
    assert collapsed(texts) == [" ".join(text.split()) for text in texts]


def test_every_character_is_taken_for_white_space_where_python_does_so():
    characters = [chr(c) for c in range(0x110000) if not 0xD800 <= c < 0xE000]
    assert [len(c) for c in collapsed([f"a{c}b" for c in characters])] == [3] * len(characters)
    assert "".join(collapsed(characters)) == "".join(c for c in characters if not c.isspace())


@settings(deadline=None)  # the first call compiles
@given(st.lists(st.text(st.one_of(st.sampled_from(SPACES), st.sampled_from("aé\u200b漢")), max_size=4)))
def test_blank_is_what_has_no_words(texts):
    data, offsets = text_buffers(pa.array(["x", *texts], pa.large_string()).slice(1))
    assert whitespace.blank(data, offsets).tolist() == [not text.split() for text in texts]
