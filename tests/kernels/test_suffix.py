"""Suffix arrays and repeats against sorting and dicts of windows."""

import random
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipeline.kernels import suffix
from tests.kernels import reference_passages as twin

BINARY = st.lists(st.sampled_from(b"ab"), max_size=60).map(bytes)


@settings(deadline=None)  # the first call compiles
@given(st.one_of(BINARY, st.binary(max_size=60).map(lambda text: text.replace(b"\xff", b"\xfe"))))
@example(b"")
@example(b"a" * 50)
@example(b"ab" * 30)
@example(b"\x00\x00\xfe\x00")
def test_the_suffix_array_is_the_order_of_the_suffixes(text):
    found = suffix.suffix_array(np.frombuffer(text, np.uint8))
    assert found.tolist() == sorted(range(len(text)), key=lambda i: text[i:])


def goes(texts, width, first_stays):
    data = np.frombuffer(b"front" + b"".join(texts) + b"behind", np.uint8)
    offsets = np.cumsum([5, *map(len, texts)])
    found = suffix.repeats(data, offsets, width, first_stays=first_stays)
    assert not found[:5].any()
    assert not found[offsets[-1] :].any()
    return [found[a:b].tolist() for a, b in pairwise(offsets)]


@settings(deadline=None, max_examples=100)  # the first call compiles
@given(st.lists(BINARY, max_size=6), st.integers(2, 12), st.booleans())
def test_windows_go_that_have_an_equal_one_before_or_elsewhere(texts, width, first_stays):
    assert goes(texts, width, first_stays) == twin.repeats(texts, width, first_stays)


@pytest.mark.parametrize("first_stays", [True, False])
@pytest.mark.parametrize("seed", range(5))
def test_repeats_pass_the_sieve_in_text_that_is_mostly_unlike(seed, first_stays):
    generator = random.Random(seed)
    texts = [generator.randbytes(3000).replace(b"\xff", b"\x00") for _ in range(6)]
    for _ in range(8):
        source, target = generator.choice(texts), generator.randrange(6)
        length, at = generator.randrange(40, 200), generator.randrange(2500)
        texts[target] = texts[target][:at] + source[100 : 100 + length] + texts[target][at:]
    texts += [b"-" * 500, b"ab" * 150]
    assert goes(texts, 64, first_stays) == twin.repeats(texts, 64, first_stays)


def test_the_sieve_leaves_out_what_is_unlike():
    data = np.random.default_rng(0).integers(0, 255, 1 << 20).astype(np.uint8)
    data[700_000:700_300] = data[:300]
    left = suffix.candidates(data, np.array([0, len(data)]), 200)
    assert left[:300].all()
    assert left[700_000:700_300].all()
    assert left.sum() < 2000


def test_one_text_very_many_times_is_worked_off_in_linear_time():
    text = bytes(range(32, 232)) * 2
    found = goes([text] * 5000, 200, True)
    assert found[0] == [False] * 200 + [True] + [False] * 199
    assert found[1:] == [[True] * 201 + [False] * 199] * 4999
