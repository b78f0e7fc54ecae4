"""Training a tokenizer: the same file from the same documents, wherever they lie; and text that comes back whole."""

import pytest
from pydantic import ValidationError
from tokenizers import Tokenizer

from pipeline.errors import DataError
from pipeline.tokens.train import TRAIN, TrainParams
from tests.conftest import run_stage, write_documents
from tests.stages.masks import masked
from tests.stages.road import in_shards, some_documents

TEXTS = ["don't  stop\r\n\r\n\tdéjà vu 1234567 <|endoftext|></s>", "数据, ответ; 👩‍👩‍👧 — end ", "\u200b\x00\x7f x"]


def trained(root, shards, mask=None, **params):
    documents = write_documents(root / "documents", shards)
    roles = {"documents": documents} | ({"mask": masked(root / "mask", documents, mask)} if mask else {})
    return run_stage(root / "tokenizer", TRAIN, TrainParams(**params), **roles)


def content(corpus):
    return (corpus.root / "data/tokenizer.json").read_bytes()


@pytest.mark.parametrize("max_bytes", [10_000_000, 30_000])
def test_the_file_depends_on_the_documents_and_not_on_their_places(tmp_path, max_bytes):
    rows = some_documents(400)
    settings = {"vocab_size": 500, "max_bytes": max_bytes}
    one = trained(tmp_path / "1", in_shards(rows, 1), **settings)
    assert content(trained(tmp_path / "2", in_shards(rows, 1), **settings)) == content(one)
    assert content(trained(tmp_path / "3", in_shards(rows, 7, seed=5), **settings)) == content(one)


def test_another_seed_draws_another_sample(tmp_path):
    shards = in_shards(some_documents(400), 2)
    samples = [content(trained(tmp_path / str(s), shards, vocab_size=350, max_bytes=20_000, seed=s)) for s in (0, 1)]
    assert samples[0] != samples[1]


def test_the_sample_has_about_the_size_asked_and_every_domain_its_share(tmp_path):
    rows = some_documents(3000)
    facts = trained(tmp_path, in_shards(rows, 3), vocab_size=300, max_bytes=200_000).manifest.facts
    by_domain = facts["sample_bytes_by_domain"]
    assert sum(by_domain.values()) == pytest.approx(200_000, rel=0.15)
    whole = {domain: sum(len(t.encode()) for t, d in rows if d == domain) for domain in by_domain}
    for domain, size in by_domain.items():
        assert size / sum(by_domain.values()) == pytest.approx(whole[domain] / sum(whole.values()), abs=0.05)


def test_any_text_comes_back_from_its_tokens(tmp_path):
    tokenizer = Tokenizer.from_str(content(trained(tmp_path, in_shards(some_documents(), 1), vocab_size=340)).decode())
    tokenizer.encode_special_tokens = True
    for text in TEXTS:
        assert tokenizer.decode(tokenizer.encode(text).ids, skip_special_tokens=False) == text


def test_words_keep_the_space_before_them_and_digits_go_by_threes(tmp_path):
    tokenizer = Tokenizer.from_str(content(trained(tmp_path, in_shards(some_documents(), 1), vocab_size=300)).decode())
    pieces = [piece for piece, _ in tokenizer.pre_tokenizer.pre_tokenize_str("I'll say 12345!\n\nYes")]
    assert pieces == ["I", "'ll", "Ġsay", "Ġ", "123", "45", "!ĊĊ", "Yes"]


def test_special_tokens_have_the_first_ids_and_the_vocabulary_its_size(tmp_path):
    shards = in_shards(some_documents(400, longest=300), 1)
    corpus = trained(tmp_path, shards, vocab_size=320, special_tokens=("<|endoftext|>", "<|pad|>"))
    tokenizer = Tokenizer.from_str(content(corpus).decode())
    assert tokenizer.get_vocab_size() == corpus.manifest.facts["vocab_size"] == 320
    assert [tokenizer.token_to_id(name) for name in ("<|endoftext|>", "<|pad|>")] == [0, 1]


def test_a_sample_too_small_for_the_vocabulary_is_noted(tmp_path):
    small = trained(tmp_path / "small", [[("some words", "web")]], vocab_size=5000).manifest.facts
    assert small["vocab_size"] < 5000
    assert small["notes"] == [f"the sample has pairs for a vocabulary of {small['vocab_size']}; vocab_size is 5,000"]


def test_documents_that_the_mask_drops_are_not_seen(tmp_path):
    rows = some_documents(200)
    noise = [("ZQX " * 50, "web")] * 200
    kept = trained(tmp_path / "a", [rows + noise], mask=[[True] * 200 + [False] * 200], vocab_size=330)
    assert content(kept) == content(trained(tmp_path / "b", [rows], vocab_size=330))


@pytest.mark.parametrize(("text", "keep"), [("one", False), ("", True)])
def test_nothing_to_train_on_is_an_error(tmp_path, text, keep):
    with pytest.raises(DataError, match="no document is kept that has text"):
        trained(tmp_path, [[(text, "web")]], mask=[[keep]])


def test_a_domain_of_empty_documents_has_no_share(tmp_path):
    shards = [[*some_documents(30), ("", "empty"), ("", "empty")]]
    corpus = trained(tmp_path / "a", shards, vocab_size=270, weights="uniform", max_bytes=3_000)
    assert sorted(corpus.manifest.facts["sample_bytes_by_domain"]) == ["books", "code", "web"]
    with pytest.raises(DataError, match="'empty' of which no document with text is kept"):
        trained(tmp_path / "b", shards, weights={"empty": 1})


def test_special_tokens_given_twice_are_refused():
    with pytest.raises(ValidationError, match="must be distinct"):
        TrainParams(special_tokens=("<s>", "<s>"))


def test_a_vocabulary_beyond_what_the_trainer_can_hold_is_refused():
    with pytest.raises(ValidationError, match="less than or equal to 1048576"):
        TrainParams(vocab_size=10**10)
