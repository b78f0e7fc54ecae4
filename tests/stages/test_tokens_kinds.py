"""Kinds of vocabulary, policies and the weighted sample: each keeps its promise on small seeded text."""

import json
import random
from collections import Counter

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from tokenizers import Tokenizer, models

from pipeline.errors import ConfigError, DataError
from pipeline.tokens import pieces, split
from pipeline.tokens.bytelevel import to_bytes
from pipeline.tokens.encode import ENCODE, EncodeParams
from pipeline.tokens.train import TRAIN, TrainParams, check, train_parity, train_tokenizer
from tests.conftest import read, run_stage, write_documents
from tests.stages import reference_parity
from tests.stages.road import Road, in_shards, some_documents, token_lists

PHRASES = ["on the other hand", "as a matter of fact", "it is said that", "by the way", "at the end of 1984", "see: it"]


def prose(count=400, seed=0):
    chance = random.Random(seed)
    return [(" ".join(chance.choices(PHRASES, k=8)) + ".", chance.choice(["books", "web"])) for _ in range(count)]


def trained(root, shards, documents=None, parallel=None, **params):
    documents = documents or write_documents(root / "documents", shards)
    roles = {"documents": documents} | ({"parallel": parallel} if parallel else {})
    return run_stage(root / "tokenizer", TRAIN, TrainParams(**params), **roles)


def content(corpus):
    return (corpus.root / "data/tokenizer.json").read_bytes()


def tokens_of(tokenizer, texts):
    return sum(len(tokenizer.encode(text).ids) for text in texts)


def strings(tokenizer):
    return [to_bytes(name).decode(errors="replace") for name in tokenizer.get_vocab() if to_bytes(name) is not None]


@pytest.fixture(scope="module")
def super_tokenizer():
    return train_tokenizer([text for text, _ in prose()], TrainParams(kind="superbpe", vocab_size=330, transition=0.5))


def test_superwords_take_fewer_tokens_than_words(super_tokenizer):
    unseen = [text for text, _ in prose(40, seed=9)]
    plain = train_tokenizer([text for text, _ in prose()], TrainParams(vocab_size=330))
    assert tokens_of(super_tokenizer, unseen) < 0.6 * tokens_of(plain, unseen)
    assert super_tokenizer.get_vocab_size() == 330


def test_superwords_have_four_words_at_most_no_digit_and_no_colon_before_a_space(super_tokenizer):
    found = [text for text in strings(super_tokenizer) if len(text.split()) > 1]
    assert max(len(text.split()) for text in found) == 4
    assert not [text for text in found if ": " in text or any(c.isdigit() for c in text)]


def test_a_superword_is_never_a_special_token():
    texts = ["a <p> b <p> c"] * 50
    params = TrainParams(kind="superbpe", vocab_size=300, transition=0.3, special_tokens=("<p>",))
    tokenizer = train_tokenizer(texts, params)
    tokenizer.encode_special_tokens = True
    assert 0 not in tokenizer.encode(texts[0]).ids
    assert tokenizer.decode(tokenizer.encode(texts[0]).ids, skip_special_tokens=False) == texts[0]


def test_superbpe_depends_on_the_documents_and_not_on_their_places(tmp_path):
    settings = {"kind": "superbpe", "vocab_size": 400}
    one = trained(tmp_path / "1", in_shards(prose(), 1), **settings)
    assert content(trained(tmp_path / "2", in_shards(prose(), 3, seed=5), **settings)) == content(one)
    assert one.manifest.facts["superwords"] > 5


@pytest.mark.parametrize("kind", ["bpe", "superbpe"])
@settings(max_examples=60)
@given(text=st.text(max_size=40) | st.text(st.sampled_from("a the1 :\n.'<|>é漢"), max_size=40))
def test_any_text_comes_back_from_its_tokens(super_tokenizer, kind, text):
    tokenizer = super_tokenizer
    if kind == "bpe":
        tokenizer = Tokenizer.from_str(train_tokenizer(["the other"], TrainParams(vocab_size=262)).to_str())
    tokenizer.encode_special_tokens = True
    assert tokenizer.decode(tokenizer.encode(text).ids, skip_special_tokens=False) == text


EN, RU = (
    text.split(" ")
    for text in (
        "the river and the mountain are old and the value of the water is great",
        "река и гора стары и цена воды велика там где нет дорог и домов",
    )
)


def two_languages(seed=0):
    chance = random.Random(seed)
    rows = [(" ".join(chance.choices(EN, k=20)), "en") for _ in range(300)]
    return rows + [(" ".join(chance.choices(RU, k=20)), "ru") for _ in range(20)]


def sentences(tmp_path):
    chance = random.Random(1)
    columns = {"en": [" ".join(chance.choices(EN, k=12)) for _ in range(30)]}
    columns["ru"] = [" ".join(chance.choices(RU, k=12)) for _ in range(30)]
    pq.write_table(pa.table(columns), tmp_path / "parallel.parquet")
    return tmp_path / "parallel.parquet", columns


def test_parity_narrows_what_languages_pay_for_the_same_sentences(tmp_path):
    path, columns = sentences(tmp_path)
    kinds = {"bpe": {}, "parity": {"kind": "parity", "parallel": path}}
    spread = {}
    for kind, more in kinds.items():
        corpus = trained(tmp_path / kind, in_shards(two_languages(), 2), vocab_size=300, **more)
        tokenizer = Tokenizer.from_str(content(corpus).decode())
        costs = [tokens_of(tokenizer, texts) for texts in columns.values()]
        spread[kind] = max(costs) / min(costs)
    assert spread["parity"] < 0.8 * spread["bpe"]


@pytest.mark.parametrize(("seed", "global_merges"), [(0, 0.0), (1, 0.0), (2, 0.5)])
def test_parity_merges_are_those_of_counting_every_pair_anew(seed, global_merges):
    chance = random.Random(seed)
    invented = ["".join(chance.choices("abcde", k=chance.randint(1, 6))) for _ in range(15)]
    spoken = {"ru": RU, "xx": invented, "en": EN}
    texts = {name: [" ".join(chance.choices(of, k=12)) for _ in range(20)] for name, of in spoken.items()}
    sentences = {name: [" ".join(chance.choices(of, k=12)) for _ in range(6)] for name, of in spoken.items()}
    params = TrainParams(kind="parity", vocab_size=317, global_merges=global_merges)
    tokenizer = train_parity(texts, params, sentences)

    def words(side):
        cut = tokenizer.pre_tokenizer.pre_tokenize_str
        return [Counter(piece for text in side[name] for piece, _ in cut(text)) for name in sorted(side)]

    expected = reference_parity.learn(words(texts), words(sentences), 60, round(60 * global_merges))
    assert [tuple(merge) for merge in json.loads(tokenizer.to_str())["model"]["merges"]] == expected


def test_parity_depends_on_the_documents_and_not_on_their_places(tmp_path):
    path, _ = sentences(tmp_path)
    settings = {"kind": "parity", "vocab_size": 320, "parallel": path}
    one = trained(tmp_path / "1", in_shards(two_languages(), 1), **settings)
    assert content(trained(tmp_path / "2", in_shards(two_languages(), 5, seed=4), **settings)) == content(one)
    assert set(one.manifest.facts["sample_bytes_by_language"]) == {"en", "ru"}


def test_languages_may_be_a_column_and_documents_without_one_are_left_out(tmp_path):
    rows = [(text, "web") for text, _ in two_languages()]
    column = [language if i % 7 else None for i, (_, language) in enumerate(two_languages())]
    documents = write_documents(tmp_path / "documents", [rows], lang=[column])
    params = {"kind": "parity", "vocab_size": 300, "languages": "lang", "ratio": {"en": 1.0, "ru": 1.8}}
    corpus = trained(tmp_path / "a", [], documents=documents, **params)
    assert set(corpus.manifest.facts["sample_bytes_by_language"]) == {"", "en", "ru"}
    languages = {"en": [t for (t, _), c in zip(rows, column, strict=True) if c == "en"]}
    languages["ru"] = [t for (t, _), c in zip(rows, column, strict=True) if c == "ru"]
    for texts in languages.values():
        texts.sort()
    by_hand = train_parity(languages, TrainParams(**params), None)
    assert Tokenizer.from_str(content(corpus).decode()).get_vocab() == by_hand.get_vocab()


def test_parity_that_nothing_or_not_everything_measures_is_refused(tmp_path):
    path, _ = sentences(tmp_path)
    shards = in_shards([*two_languages(), ("guten tag", "de")], 1)
    with pytest.raises(ConfigError, match=r"`tokens.parallel: FILE`.* given are neither"):
        trained(tmp_path / "1", shards, kind="parity")
    with pytest.raises(ConfigError, match="given are parallel and ratio"):
        check(TrainParams(kind="parity", ratio={"en": 1.0}), {"parallel": path})
    with pytest.raises(ConfigError, match="kind is bpe"):
        check(TrainParams(), {"parallel": path})
    with pytest.raises(DataError, match="no parallel text of 'de'"):
        trained(tmp_path / "2", shards, kind="parity", parallel=path)


def test_weights_are_the_shares_of_the_sample(tmp_path):
    rows = some_documents(3000)
    shards = in_shards(rows, 3)
    for weights, wanted in (("uniform", 1 / 3), ({"code": 3, "web": 1}, 3 / 4)):
        facts = trained(
            tmp_path / str(wanted), shards, vocab_size=300, max_bytes=90_000, weights=weights
        ).manifest.facts
        sizes = facts["sample_bytes_by_domain"]
        assert sizes["code"] / sum(sizes.values()) == pytest.approx(wanted, abs=0.08)
        assert sum(sizes.values()) == pytest.approx(90_000, rel=0.15)
        assert facts["notes"] == []
    assert "books" not in sizes


def test_a_domain_with_too_little_text_is_taken_whole_and_said_so(tmp_path):
    rows = some_documents(300)
    facts = trained(tmp_path, [rows], vocab_size=300, weights="uniform").manifest.facts
    assert len(facts["notes"]) == 3
    assert "it is taken whole" in facts["notes"][0]
    assert facts["sample_documents"] == 300


def test_a_weight_of_a_domain_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(DataError, match="Did you mean 'books'"):
        trained(tmp_path, [some_documents(30)], weights={"book": 1})


def cut_by(name, text, **policies):
    cut = split.pre_tokenizer(split.pattern(name, **policies))
    return [to_bytes(piece).decode() for piece, _ in cut.pre_tokenize_str(text)]


def test_digits_and_white_space_go_by_their_policies():
    assert cut_by("llama3", "a 12345") == ["a", " ", "123", "45"]
    assert cut_by("qwen2", "a 12345") == ["a", " ", *"12345"]
    assert cut_by("gpt2", "a 12345") == ["a", " 12345"]
    assert cut_by("llama3", "12345", digits="whole") == ["12345"]
    assert cut_by("gpt2", "a 12", digits="single") == ["a", " 1", "2"]
    assert cut_by("o200k", "parseJSON don't") == ["parse", "JSON", " don't"]
    assert cut_by("llama3", "x\n\n    y") == ["x", "\n\n", "   ", " y"]
    assert cut_by("llama3", "x\n\n    y", whitespace="single") == ["x", "\n", "\n", " ", " ", " ", " y"]


@pytest.mark.parametrize("name", ["llama3", "qwen2", "gpt2", "o200k"])
@settings(max_examples=60)
@given(text=st.text(max_size=30) | st.text(st.sampled_from("aA1 \n\t.'"), max_size=30), single=st.booleans())
def test_every_split_keeps_every_byte(name, text, single):
    found = split.pre_tokenizer(split.pattern(name, whitespace="single" if single else "runs")).pre_tokenize_str(text)
    assert b"".join(to_bytes(piece) for piece, _ in found) == text.encode()


@pytest.mark.parametrize("kind", ["bpe", "superbpe"])
def test_no_token_holds_more_digits_than_the_policy(kind):
    texts = [f"in {year} and {year}0{year} it was {year}" for year in range(1900, 1990)] * 3
    tokenizer = train_tokenizer(texts, TrainParams(kind=kind, vocab_size=500, digits="single"))
    assert max(sum(c.isdigit() for c in text) for text in strings(tokenizer)) == 1


@pytest.mark.parametrize(
    ("params", "why"),
    [
        ({"special_tokens": ("EOS",)}, "one piece of ordinary text"),
        ({"kind": "superbpe", "languages": "lang"}, "is of kind parity"),
        ({"transition": 0.5}, "is of kind superbpe"),
        ({"vocab_size": 257, "special_tokens": ("<a>", "<b>")}, "alone are 258"),
        ({"weights": {"web": -1.0}}, "numbers above 0"),
    ],
)
def test_parameters_that_do_not_fit_are_refused(params, why):
    with pytest.raises(ValidationError, match=why):
        TrainParams(**params)


def test_the_fewest_tokens_are_no_more_than_by_merges_and_spell_the_text(tmp_path):
    road = Road(tmp_path, in_shards(some_documents(), 2))
    merged = road.encode()
    fewest = Road(tmp_path / "fewest", in_shards(some_documents(), 2), tokenizer=road.tokenizer_file)
    lists = token_lists(fewest.encode(segmentation="minimum"))
    assert fewest.tokens.manifest.facts["engine"] == "minimum"
    tokenizer = Tokenizer.from_file(str(road.tokenizer_file))
    assert [tokenizer.decode(ids, skip_special_tokens=False) for ids in lists] == read(road.documents)[
        "text"
    ].to_pylist()
    assert all(len(few) <= len(many) for few, many in zip(lists, token_lists(merged), strict=True))


def test_the_fewest_tokens_never_forge_the_end_of_a_document(tmp_path):
    road = Road(tmp_path, [[("a <|endoftext|> b", "web")]])
    assert 0 not in token_lists(road.encode(segmentation="minimum"))[0]


def test_the_manifest_says_when_pieces_are_cut_the_slow_way(tmp_path, monkeypatch):
    def fail(specification):
        raise ValueError("unsupported pre-tokenizer")

    monkeypatch.setattr(pieces, "by_engine", fail)
    road = Road(tmp_path, [some_documents(5)])
    road.encode(segmentation="minimum")
    assert "ValueError: unsupported pre-tokenizer" in road.tokens.manifest.facts["engine_note"]


def test_a_tokenizer_that_is_not_of_bytes_cannot_be_cut_with_the_fewest(tmp_path):
    Tokenizer(models.WordLevel({"a": 0, "<|endoftext|>": 1}, "a")).save(str(tmp_path / "words.json"))
    with pytest.raises(ConfigError, match="byte-level"):
        ENCODE.check(EncodeParams(segmentation="minimum"), {"tokenizer": tmp_path / "words.json"})
