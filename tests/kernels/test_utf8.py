"""States of text against Python's strict decoder, over all code points and over hostile bytes."""

import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.kernels.utf8 import BLANK, INVALID, READABLE, text_states
from tests.kernels import reference_utf8 as slow

# Bytes next to every border of table 3-7, so that short random strings hit the rules and not only the ASCII road.
BORDERS = [0x00, 0x20, 0x41, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0, 0xC1, 0xC2, 0xDF, 0xE0, 0xE1, 0xE2, 0xEC]
BORDERS += [0xED, 0xEE, 0xEF, 0xF0, 0xF1, 0xF3, 0xF4, 0xF5, 0xFF]
HOSTILE = st.lists(st.sampled_from(BORDERS), max_size=24).map(bytes)


def states(values: list[bytes]) -> list[int]:
    offsets = np.concatenate([[0], np.cumsum([len(value) for value in values])]).astype(np.int64)
    return text_states(np.frombuffer(b"".join(values), np.uint8), offsets).tolist()


@settings(deadline=None)  # the first call compiles
@given(st.lists(st.one_of(HOSTILE, st.binary(max_size=40), st.text(max_size=20).map(str.encode)), max_size=10))
def test_states_equal_the_slow_twin(values):
    assert states(values) == [slow.state(value) for value in values]


@settings(deadline=None)  # the first call compiles
@given(st.text(min_size=1, max_size=30), st.data())
def test_text_cut_inside_a_character_is_invalid(text, data):
    encoded = text.encode()
    at = data.draw(st.integers(0, len(encoded)))
    assert states([encoded[:at], encoded[at:]]) == [slow.state(encoded[:at]), slow.state(encoded[at:])]


def test_every_code_point_is_judged_as_python_judges_it():
    codes = [code for code in range(sys.maxunicode + 1) if not 0xD800 <= code <= 0xDFFF]
    values = [chr(code).encode() for code in codes]
    expected = [BLANK if chr(code) in slow.BLANKS else READABLE for code in codes]
    assert states(values) == expected


def test_every_surrogate_is_invalid():
    assert set(states([chr(code).encode("utf-8", "surrogatepass") for code in range(0xD800, 0xE000)])) == {INVALID}


def test_every_pair_of_bytes_is_judged_as_python_judges_it():
    pairs = [bytes([a, b]) for a in range(256) for b in range(256)]
    assert states(pairs) == [slow.state(pair) for pair in pairs]


@pytest.mark.parametrize("place", range(20))
def test_one_bad_byte_is_found_wherever_it_lies_in_a_run_of_ascii(place):
    value = bytearray(b"a" * 20)
    value[place] = 0xFF
    assert states([b"before", bytes(value), b"after"]) == [READABLE, INVALID, READABLE]


def test_a_value_is_not_completed_by_its_neighbour():
    assert states([b"a\xc3", b"\xa9 b"]) == [INVALID, INVALID]


@pytest.mark.parametrize(
    "text", ["", " \n\t\r", "\u00a0\u2003\u3000", "\u200b\u200c\u200d\ufeff", "\x00" * 9, "\x85\x1f"]
)
def test_nothing_to_read_is_blank(text):
    assert states([text.encode()]) == [BLANK]


@pytest.mark.parametrize("text", [".", " a", "\x00a", "\u200b\u1794", "\u00ad", "\U000e0041", "\u2800"])
def test_anything_else_is_readable(text):
    assert states([text.encode()]) == [READABLE]


def test_offsets_that_leave_the_data_are_refused():
    with pytest.raises(ValueError, match="offsets must"):
        text_states(np.zeros(4, np.uint8), np.array([0, 5]))
