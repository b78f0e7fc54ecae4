"""Merges beyond words, against counting all neighbours anew; and against the trainer of `tokenizers` inside words."""

import json
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from pipeline.kernels import merges
from tests.kernels import reference_merges as twin

ALPHABET = [b"a", b"b", b" ", b":", b"\n", b"ab", b" a"]
PIECES = st.lists(st.lists(st.integers(0, len(ALPHABET) - 1), max_size=24), max_size=5)


def flat(values, dtype):
    return np.array([v for part in values for v in part], dtype), np.cumsum([0, *map(len, values)])


def learned(pieces, vocabulary, banned, wanted, most_words, least=2):
    tokens, ends = flat(pieces, np.int32)
    data, offsets = flat(vocabulary, np.uint8)
    no = np.array([text in banned for text in vocabulary], bool)
    made, data, offsets = merges.learn(tokens, ends, data, offsets, no, wanted, most_words, least)
    strings = [bytes(data[a:b]) for a, b in pairwise(offsets)]
    return [tuple(row) for row in made.tolist()], strings


@settings(max_examples=150)
@given(PIECES, st.integers(0, 12), st.integers(1, 4), st.integers(1, 3))
@example([[0] * 24], 12, 4, 1)
@example([[2, 0, 2, 0, 1, 5, 6, 1] * 3], 12, 2, 2)
def test_merges_are_those_of_counting_everything_anew(pieces, wanted, most_words, least):
    banned = [b"ab", b" a"]
    found = learned(pieces, ALPHABET, banned, wanted, most_words, least)
    assert found == twin.learn(pieces, ALPHABET, banned, wanted, most_words, least)
    assert found == learned(pieces, ALPHABET, banned, wanted, most_words, least)


@settings(max_examples=50)
@given(PIECES, st.integers(0, 12))
def test_a_pair_whose_bytes_are_a_token_makes_that_token(pieces, wanted):
    found, strings = learned(pieces, ALPHABET, [], wanted, 9)
    assert len(set(strings)) == len(strings)
    assert (found, strings) == twin.learn(pieces, ALPHABET, [], wanted, 9)


def test_from_bytes_it_is_the_byte_pair_encoding_of_tokenizers():
    chance = np.random.default_rng(0)
    words = ["".join(chance.choice(list("abcd"), chance.integers(1, 9))) for _ in range(200)]
    theirs = Tokenizer(models.BPE())
    theirs.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    theirs.train_from_iterator(words, trainers.BpeTrainer(vocab_size=60, show_progress=False, min_frequency=2))
    model = json.loads(theirs.to_str())["model"]
    names = sorted(model["vocab"], key=model["vocab"].get)
    letters = [name.encode() for name in names if len(name) == 1]
    pieces = [[letters.index(c.encode()) for c in word] for word in words]
    found, strings = learned(pieces, letters, [], 60 - len(letters), 1)
    assert [text.decode() for text in strings] == names
    assert [[strings[a].decode(), strings[b].decode()] for a, b, _ in found] == model["merges"]


def test_ids_beyond_the_vocabulary_are_refused():
    with pytest.raises(ValueError, match=r"0\.\.6"):
        learned([[7]], ALPHABET, [], 1, 1)
