"""The fast engine beside `tokenizers`, on what `tokens.train` makes: equal ids and pieces for each kind and policy."""

import random
from itertools import pairwise

import numpy as np
import pytest

from pipeline.tokens import engine, minimum, pieces, superwords
from pipeline.tokens.bytelevel import to_bytes
from pipeline.tokens.fuzz import fuzz
from pipeline.tokens.split import pre_tokenizer as cut_by
from pipeline.tokens.train import TrainParams, train_parity, train_tokenizer

EOS = "<|endoftext|>"
PHRASES = [
    "on the other hand",
    "as a matter of fact",
    "it is said that",
    "in 1984 and 20177",
    "see: it",
    "don't  STOP",
    "a <p>b<|endoftext|>",
]
SPECIAL = (EOS, "<p>")
SPLITS = ["llama3", "qwen2", "gpt2", "o200k"]
POLICIES = [(None, "runs"), ("threes", "single"), ("single", "runs"), ("whole", "single")]


def prose(count=120, seed=0):
    chance = random.Random(seed)
    ends = [".", "\n\n", "\t!\r\n", "  ", "?! ", "\n    "]
    return ["".join(chance.choice(PHRASES) + chance.choice([" ", *ends]) for _ in range(8)) for _ in range(count)]


def trained(kind, **policies):
    texts, given = [*prose(), *fuzz(60, seed=7)], {"vocab_size": 420, "special_tokens": SPECIAL} | policies
    if kind == "parity":
        languages = {"en": texts[::2], "de": texts[1::2]}
        return train_parity(languages, TrainParams(kind=kind, ratio={"en": 1, "de": 2}, **given), None)
    return train_tokenizer(texts, TrainParams(kind=kind, **given))


def differing(a, b, texts):
    """Return the texts whose ids differ."""
    (ids, bounds), (others, other_bounds) = a.encode(texts), b.encode(texts)
    pairs = zip(texts, pairwise(bounds), pairwise(other_bounds), strict=True)
    return [text for text, x, y in pairs if not np.array_equal(ids[slice(*x)], others[slice(*y)])]


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("kind", ["bpe", "superbpe", "parity"])
def test_both_engines_give_the_same_ids_whatever_the_kind_the_split_and_the_policies(tmp_path, kind, split):
    texts = [*prose(30, seed=1), *fuzz(150, seed=2)]
    path = tmp_path / "tokenizer.json"
    for digits, whitespace in POLICIES:
        trained(kind, split=split, digits=digits, whitespace=whitespace).save(str(path))
        fast, slow = (engine.encoder(path, EOS, using) for using in (engine.FAST, engine.REFERENCE))
        assert differing(fast, slow, texts) == [], (digits, whitespace)


@pytest.mark.parametrize("kind", ["superbpe", "parity"])
def test_the_fast_engine_is_chosen_for_every_kind(tmp_path, kind):
    trained(kind).save(str(tmp_path / "tokenizer.json"))
    assert engine.choose(tmp_path / "tokenizer.json", EOS, prose(50, seed=3)) == (engine.FAST, "")


@pytest.mark.parametrize("split", SPLITS)
def test_pieces_are_those_of_the_tokenizer(split):
    texts = ["", *prose(30, seed=4), "", *fuzz(150, seed=5), ""]
    for digits, whitespace in POLICIES:
        specification = trained("bpe", split=split, digits=digits, whitespace=whitespace).to_str()
        fast, slow = (cut(specification)(texts) for cut in (pieces.by_engine, pieces.by_reference))
        for found, expected in zip(fast, slow, strict=True):
            np.testing.assert_array_equal(found, expected, (digits, whitespace))


@pytest.mark.parametrize("split", SPLITS)
def test_the_text_of_the_second_stage_of_superbpe_has_the_same_tokens_and_pieces_by_both_engines(split):
    texts = ["", *prose(30, seed=8), *fuzz(150, seed=9), ""]
    for digits, whitespace in POLICIES:
        policies = {"split": split, "digits": digits, "whitespace": whitespace}
        first = trained("bpe", **policies)
        first.pre_tokenizer = cut_by(TrainParams(**policies).wide())
        first.encode_special_tokens = True
        strings = [to_bytes(name) or b"" for name in sorted(first.get_vocab(), key=first.get_vocab().get)]
        fast, slow = superwords.by_engine(first, strings)(texts), superwords.by_reference(first)(texts)
        np.testing.assert_array_equal(fast[0], slow[0])
        np.testing.assert_array_equal(fast[1], slow[1])
        assert len(slow[1]) > 200


def test_superbpe_is_the_same_where_the_slow_engine_cuts(monkeypatch):
    fast = trained("superbpe").to_str()
    monkeypatch.setattr(superwords, "by_engine", broken)
    assert trained("superbpe").to_str() == fast


def wrong(specification):
    """Return a splitter that forgets where the second piece begins."""
    right = pieces.by_reference(specification)
    return lambda texts: right(texts)._replace(ends=np.delete(right(texts).ends, 1))


def broken(*_):
    raise ValueError("unsupported pre-tokenizer")


@pytest.mark.parametrize(("fast", "why"), [(wrong, "does not cut"), (broken, "ValueError: unsupported")])
def test_where_the_fast_engine_cuts_otherwise_the_slow_one_cuts_and_it_is_said(monkeypatch, fast, why):
    specification, texts = trained("bpe").to_str(), prose(20, seed=6)
    expected = minimum.MinimumEncoder(specification)
    assert expected.note == ""
    monkeypatch.setattr(pieces, "by_engine", fast)
    found = minimum.MinimumEncoder(specification)
    assert why in found.note
    assert differing(found, expected, texts) == []


@pytest.mark.parametrize("texts", [[], [""], ["abc", "", "d", "efgh", "ij"], ["abcdefgh"]])
def test_groups_hold_every_text_in_its_order_and_end_as_soon_as_they_are_large(texts):
    found = list(engine.groups(iter(texts), 3))
    assert [text for some in found for text in some] == texts
    assert all(sum(map(len, some[:-1])) < 3 for some in found)
    assert all(sum(map(len, some)) >= 3 for some in found[:-1])


def test_the_reference_encodes_alike_in_however_many_groups(monkeypatch):
    reference, texts = engine.ReferenceEncoder(trained("bpe").to_str()), ["", *prose(20, seed=6), ""]
    ids, offsets = reference.encode(texts)
    monkeypatch.setattr(engine, "AT_ONCE", 50)
    again, bounds = reference.encode(texts)
    assert ids.tolist() == again.tolist()
    assert offsets.tolist() == bounds.tolist()
