"""Encoding: equal to Hugging Face `tokenizers`, blind to special tokens in text, honest about its engine."""

import collections
import json

import numpy as np
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from pipeline.errors import ConfigError, StageError
from pipeline.tokens import engine, vocabulary_use
from pipeline.tokens.encode import ENCODE, EncodeParams, sampled_texts
from tests.conftest import read, run_stage, write_documents
from tests.stages.masks import masked
from tests.stages.road import Road, in_shards, some_documents, token_lists

FORGED = "before <|endoftext|> between </s><s> behind<|endoftext|>"


@pytest.fixture(scope="module")
def tokenizer_file(tmp_path_factory):
    return Road(tmp_path_factory.mktemp("road"), in_shards(some_documents(), 1)).tokenizer_file


def encoded(root, shards, tokenizer, mask=None, **params):
    documents = write_documents(root / "documents", shards)
    roles = {"documents": documents, "tokenizer": tokenizer}
    if mask:
        roles["mask"] = masked(root / "mask", documents, mask)
    return run_stage(root / "tokens", ENCODE, EncodeParams(**params), **roles)


def changed(tokenizer_file, path, change):
    """Write a tokenizer.json changed by a function of its Tokenizer."""
    tokenizer = Tokenizer.from_file(str(tokenizer_file))
    change(tokenizer)
    tokenizer.save(str(path))
    return path


def test_tokens_equal_those_of_hugging_face_and_decode_to_the_text(tmp_path, tokenizer_file):
    rows = [*some_documents(100, seed=3), ("  \n odd\t１２３ é\u0301 \u200d👩‍👩‍👧", "web"), (FORGED, "web")]
    corpus = encoded(tmp_path, in_shards(rows, 3), tokenizer_file)
    assert corpus.manifest.facts["engine"] == "fastokens"
    texts = [text for shard in in_shards(rows, 3) for text, _ in shard]
    hugging_face = Tokenizer.from_file(str(tokenizer_file))
    hugging_face.encode_special_tokens = True
    lengths = read(corpus)["length"].to_pylist()
    for text, tokens, length in zip(texts, token_lists(corpus), lengths, strict=True):
        assert tokens == hugging_face.encode(text, add_special_tokens=False).ids
        assert length == len(tokens)
        assert hugging_face.decode(tokens, skip_special_tokens=False) == text


@pytest.mark.parametrize("special", ["<|endoftext|>", "</s>", "<s>"])
@pytest.mark.parametrize("using", [engine.FAST, engine.REFERENCE])
def test_the_text_of_a_special_token_stays_text(tmp_path, tokenizer_file, special, using):
    path = changed(tokenizer_file, tmp_path / "t.json", lambda t: t.add_special_tokens(["<s>", "</s>"]))
    ids, _ = engine.encoder(path, "<|endoftext|>", using).encode([f"a{special}b", special])
    assert Tokenizer.from_file(str(path)).token_to_id(special) not in ids.tolist()


def test_an_eos_that_its_file_forgot_to_call_special_cannot_be_forged_either(tmp_path, tokenizer_file):
    path = changed(tokenizer_file, tmp_path / "t.json", lambda t: t.add_tokens(["<eot>"]))
    tokens = token_lists(encoded(tmp_path, [[("a<eot>b", "web")]], path, eos="<eot>"))
    assert len(tokens[0]) > 3


def test_an_eos_that_ordinary_text_makes_is_refused(tmp_path, tokenizer_file):
    with pytest.raises(StageError, match=r"its text encodes to the EOS 'x' \(\d+\) at token 2"):
        encoded(tmp_path, [[("a xx x", "web")]], tokenizer_file, eos="x")


def test_what_a_tokenizer_does_to_batches_does_not_act_on_a_corpus(tmp_path, tokenizer_file):
    def add_template(tokenizer):
        tokenizer.enable_truncation(4)
        tokenizer.enable_padding(length=9)
        tokenizer.post_processor = processors.TemplateProcessing(
            "<|endoftext|> $A", special_tokens=[("<|endoftext|>", 0)]
        )

    path = changed(tokenizer_file, tmp_path / "t.json", add_template)
    rows = [some_documents(20)]
    assert read(encoded(tmp_path / "a", rows, path)).equals(read(encoded(tmp_path / "b", rows, tokenizer_file)))


def test_an_engine_that_differs_gives_way_and_the_manifest_says_so(tmp_path, tokenizer_file, monkeypatch):
    rows = [some_documents(20)]
    right = encoded(tmp_path / "a", rows, tokenizer_file)

    class Wrong(engine.FastEncoder):
        def encode(self, texts):
            ids, offsets = super().encode(texts)
            return ids + (len(ids) > 90), offsets

    monkeypatch.setattr(engine, "FastEncoder", Wrong)
    engine._encoder.cache_clear()
    other = encoded(tmp_path / "b", rows, tokenizer_file)
    engine._encoder.cache_clear()
    assert other.manifest.facts["engine"] == "tokenizers"
    assert "fastokens differs from tokenizers on" in other.manifest.facts["engine_note"]
    assert read(other).equals(read(right))


def test_an_engine_that_cannot_load_the_tokenizer_gives_way(tmp_path, tokenizer_file, monkeypatch):
    def fail(specification):
        raise ValueError("unsupported normalizer")

    monkeypatch.setattr(engine, "FastEncoder", fail)
    engine._encoder.cache_clear()
    facts = encoded(tmp_path, [some_documents(5)], tokenizer_file).manifest.facts
    engine._encoder.cache_clear()
    assert facts["engine"] == "tokenizers"
    assert facts["engine_note"] == "fastokens cannot use this tokenizer: ValueError: unsupported normalizer"


def test_a_document_that_is_not_kept_has_no_tokens(tmp_path, tokenizer_file):
    rows = some_documents(6)
    corpus = encoded(tmp_path, [rows[:4], rows[4:]], tokenizer_file, mask=[[True, False, False, True], [False, False]])
    table = read(corpus)
    assert [tokens is not None for tokens in table["tokens"].to_pylist()] == [True, False, False, True, False, False]
    assert [length > 0 for length in table["length"].to_pylist()] == [True, False, False, True, False, False]
    assert table["domain"].to_pylist() == [domain for _, domain in rows]


def test_tokens_are_as_narrow_as_the_vocabulary_allows(tmp_path, tokenizer_file):
    plain = json.loads(tokenizer_file.read_text())
    plain["added_tokens"].append(plain["added_tokens"][0] | {"id": 70_000, "content": "<far>"})
    plain["model"]["vocab"]["<far>"] = 70_000
    (tmp_path / "far.json").write_text(json.dumps(plain))
    narrow = encoded(tmp_path / "a", [some_documents(3)], tokenizer_file)
    wide = encoded(tmp_path / "b", [some_documents(3)], tmp_path / "far.json")
    assert [corpus.manifest.facts["dtype"] for corpus in (narrow, wide)] == ["uint16", "uint32"]
    assert wide.manifest.facts["vocab_size"] == 70_001
    assert token_lists(narrow) == token_lists(wide)


def test_tokens_are_counted_by_domain(tmp_path, tokenizer_file):
    rows = some_documents(50)
    corpus = encoded(tmp_path, in_shards(rows, 3), tokenizer_file)
    domains, table = corpus.manifest.facts["domains"], read(corpus)
    for domain, counted in domains.items():
        mine = [row for row in table.to_pylist() if row["domain"] == domain]
        assert counted["documents"] == len(mine)
        assert counted["tokens"] == sum(row["length"] for row in mine)
        assert counted["bytes"] == sum(len(text.encode()) for text, d in rows if d == domain)


def test_the_first_known_eos_is_taken_and_a_named_one_before_it(tmp_path, tokenizer_file):
    assert engine.vocabulary(tokenizer_file).eos == "<|endoftext|>"
    path = changed(tokenizer_file, tmp_path / "t.json", lambda t: t.add_special_tokens(["</s>", "<end>"]))
    assert engine.vocabulary(path).eos == "<|endoftext|>"
    assert engine.vocabulary(path, "<end>").eos_id == Tokenizer.from_file(str(path)).token_to_id("<end>")


def test_a_tokenizer_without_the_eos_is_refused_with_what_it_has(tokenizer_file):
    with pytest.raises(ConfigError, match=r"has no token '<stop>'; name its end of text .*It adds: <\|endoftext\|>"):
        engine.vocabulary(tokenizer_file, "<stop>")


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"model": {"type": "BPE"}}', "\x00"])
def test_what_is_no_tokenizer_is_refused(tmp_path, content):
    (tmp_path / "t.json").write_text(content)
    with pytest.raises(ConfigError, match=r"is not a tokenizer\.json"):
        engine.vocabulary(tmp_path / "t.json")


def test_documents_without_text_to_encode_make_no_tokens(tmp_path, tokenizer_file):
    corpus = encoded(tmp_path, [some_documents(4), []], tokenizer_file, mask=[[False] * 4, []])
    assert read(corpus)["length"].to_pylist() == [0] * 4
    assert corpus.manifest.facts["domains"] == {}


@pytest.mark.parametrize("most_tasks", [2, 64])
def test_the_manifest_tells_which_tokens_the_kept_documents_never_have(
    tmp_path, tokenizer_file, monkeypatch, most_tasks
):
    monkeypatch.setattr(vocabulary_use, "MAX_TASKS", most_tasks)
    monkeypatch.setattr(vocabulary_use, "LEAST", 2)
    rows = [*some_documents(40), ("zebra", "books")]
    shards, keep = in_shards(rows, 3), [i % 5 > 0 for i in range(len(rows))]
    masks = [keep[: len(shards[0])], keep[len(shards[0]) : -len(shards[2])], keep[-len(shards[2]) :]]
    corpus = encoded(tmp_path, shards, tokenizer_file, mask=masks)
    use = corpus.manifest.facts["vocabulary_use"]
    hugging_face = Tokenizer.from_file(str(tokenizer_file))
    counts, used = collections.Counter(), collections.defaultdict(set)
    for (text, domain), kept in zip([row for shard in shards for row in shard], keep, strict=True):
        ids = hugging_face.encode(text).ids if kept else []
        counts.update(ids)
        used[domain].update(ids)
    ordinary = sorted(set(range(hugging_face.get_vocab_size())) - {0})
    never = [token for token in ordinary if not counts[token]]
    assert (use["tokens"], use["unused"]) == (len(ordinary), len(never))
    assert use["under_least"] == sum(counts[token] < 2 for token in ordinary)
    assert 1 in counts.values()
    assert 2 in counts.values()
    assert use["unused_by_domain"] == {domain: len(ordinary) - len(ids) for domain, ids in sorted(used.items()) if ids}
    assert [token["id"] for token in use["never"]] == never[-100:]


@pytest.mark.parametrize("kind", [models.WordLevel, models.Unigram])
def test_text_that_a_vocabulary_cannot_write_is_told_to_be_lost(tmp_path, kind):
    words = ["</s>", "[UNK]", "known", "words"]
    model = (
        models.WordLevel({word: place for place, word in enumerate(words)}, "[UNK]")
        if kind is models.WordLevel
        else models.Unigram([(word, -1.0) for word in words], unk_id=1)
    )
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.save(str(tmp_path / "t.json"))
    facts = encoded(
        tmp_path, [[("known other words others", "web"), ("known", "web")]], tmp_path / "t.json"
    ).manifest.facts
    assert facts["vocabulary_use"]["unknown"] == {"token": "[UNK]", "count": 2}
    assert facts["notes"] == ["text that this vocabulary cannot write became '[UNK]' and is lost, 2 times"]


def test_text_that_is_dropped_without_a_token_is_told_to_be_lost(tmp_path):
    tokenizer = Tokenizer(models.BPE(vocab={"</s>": 0, "a": 1, "é": 2}, merges=[]))
    tokenizer.save(str(tmp_path / "t.json"))
    corpus = encoded(tmp_path, [[("a中é", "web")]], tmp_path / "t.json")
    assert token_lists(corpus) == [[1, 2]]
    (note,) = corpus.manifest.facts["notes"]
    assert note.startswith("text that this vocabulary cannot write, such as ж, 中, 𒀀, is lost, and no token")


def test_engines_are_compared_on_texts_of_shards_spread_over_all(tmp_path):
    documents = write_documents(tmp_path / "documents", [[(str(shard), "web")] for shard in range(15)])
    assert sampled_texts(list(documents.paths())) == ["0", "1", "3", "5", "7", "9", "11", "13"]
    assert sampled_texts([]) == []


def test_a_vocabulary_of_bytes_loses_no_text_and_notes_none(tmp_path, tokenizer_file):
    facts = encoded(tmp_path, [[("any 中 text", "web")]], tokenizer_file).manifest.facts
    assert "notes" not in facts
    assert "unknown" not in facts["vocabulary_use"]


def test_a_token_for_the_unknown_that_is_named_and_not_there_is_none(tmp_path, tokenizer_file):
    plain = json.loads(tokenizer_file.read_text())
    plain["model"]["unk_token"] = "[UNK]"
    (tmp_path / "t.json").write_text(json.dumps(plain))
    facts = encoded(tmp_path, [[("any 中 text", "web")]], tmp_path / "t.json").manifest.facts
    assert "unknown" not in facts["vocabulary_use"]


def test_a_tokenizer_that_cannot_encode_text_is_refused(tmp_path):
    Tokenizer(models.WordLevel({"</s>": 0, "known": 1}, "[UNK]")).save(str(tmp_path / "t.json"))
    with pytest.raises(ConfigError, match=r"t\.json cannot encode text: .*UNK"):
        encoded(tmp_path, [[("known", "web")]], tmp_path / "t.json")


def test_a_corpus_of_no_kept_document_uses_no_token(tmp_path, tokenizer_file):
    corpus = encoded(tmp_path, [some_documents(4)], tokenizer_file, mask=[[False] * 4])
    use = corpus.manifest.facts["vocabulary_use"]
    assert use["unused"] == use["under_least"] == use["tokens"]
    assert use["unused_by_domain"] == {}


def test_a_part_of_a_batch_uses_the_tokens_of_its_own_documents(tmp_path, tokenizer_file):
    corpus = encoded(tmp_path, [some_documents(9)], tokenizer_file)
    batch, size = read(corpus).combine_chunks().to_batches()[0], corpus.manifest.facts["vocab_size"]
    counts = np.zeros(size, np.int64)
    vocabulary_use.add_use(batch.slice(3, 4), counts, {})
    expected = [token for tokens in token_lists(corpus)[3:7] for token in tokens]
    assert counts.tolist() == np.bincount(expected, minlength=size).tolist()
