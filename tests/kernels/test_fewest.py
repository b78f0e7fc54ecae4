"""The fewest tokens, against all cuts there are."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.kernels import fewest
from tests.kernels import reference_fewest as twin

BYTES = [bytes([byte]) for byte in range(256)]
TEXTS = st.text(st.sampled_from("abc"), max_size=9).map(str.encode)


def flat(values):
    return np.frombuffer(b"".join(values) or b"\0", np.uint8), np.cumsum([0, *map(len, values)])


def cut(pieces, tokens):
    made = fewest.trie(*flat(tokens), np.arange(len(tokens)))
    ids, counts = fewest.cut(*flat(pieces), made)
    return [[tokens[i] for i in part] for part in np.split(ids, np.cumsum(counts)[:-1])] if pieces else []


@settings(max_examples=150)
@given(st.lists(TEXTS, max_size=4), st.lists(TEXTS, max_size=8, unique=True))
def test_cuts_are_the_shortest_and_begin_with_the_longest_token(pieces, more):
    tokens = [*BYTES, *(token for token in more if len(token) > 1)]
    assert cut(pieces, tokens) == [twin.cut(piece, tokens) for piece in pieces]


def test_of_equally_short_cuts_the_first_token_is_the_longest():
    assert cut([b"abc"], [*BYTES, b"ab", b"bc"]) == [[b"ab", b"c"]]
    assert cut([b"abcd"], [*BYTES, b"abc", b"ab", b"cd", b"bcd"]) == [[b"abc", b"d"]]


def test_a_greedy_cut_may_be_longer():
    assert cut([b"abcde"], [*BYTES, b"abc", b"ab", b"cde"]) == [[b"ab", b"cde"]]


def test_a_vocabulary_that_lacks_a_byte_is_refused():
    with pytest.raises(ValueError, match="byte 7 is no token"):
        fewest.trie(*flat(BYTES[:7] + BYTES[8:]), np.arange(255))
