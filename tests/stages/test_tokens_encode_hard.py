"""Encoding on hard inputs: huge documents, texts without words, odd bytes, nothing at all."""

import random
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from tokenizers import Tokenizer

from pipeline.errors import StageError
from pipeline.tokens.encode import ENCODE, SCHEMA, EncodeParams
from pipeline.tokens.format import read_packed
from tests.conftest import documents_table, read, run_stage, write_corpus, write_documents
from tests.ingested import ingest, refused, write
from tests.stages.road import WORDS, Road, in_shards, some_documents, token_lists

HUGE_BYTES = 20_000_000
SOURCES = sorted((Path(__file__).parents[2] / "pipeline").rglob("*.py"))
EMPTY = ["", " ", "\n", "\t\r\n \u3000\u00a0\u2028", " " * 5000, "\n" * 5000, "\r\n" * 2500]
ODD = [
    "\0",
    "a\0b\0\0c",
    "\0" * 3000,
    "\ufeff start",
    "\u200b\u200d\ufe0f",
    "\x7f\x1b[0m",
    "\U0010ffff\ufffe",
    "e\u0301" * 900,
]
LETTERS = "etaoinshrdlucmfwypvbgkjqxz"


@pytest.fixture(scope="module")
def tokenizer_file(tmp_path_factory):
    return Road(tmp_path_factory.mktemp("road"), in_shards(some_documents(), 1)).tokenizer_file


def encoded(root, documents, tokenizer):
    return run_stage(root / "tokens", ENCODE, EncodeParams(), documents=documents, tokenizer=tokenizer)


def hugging_face(tokenizer_file, texts):
    tokenizer = Tokenizer.from_file(str(tokenizer_file))
    tokenizer.encode_special_tokens = True
    return [encoding.ids for encoding in tokenizer.encode_batch_fast(texts, add_special_tokens=False)]


def mixed(chance):
    """Lines of code and comments, of words in several scripts and of numbers, some of them very long."""
    lines = [line for path in SOURCES for line in path.read_text(encoding="utf-8").splitlines()]
    lines += [" ".join(chance.choices(WORDS, k=chance.randint(1, 4000))) for _ in range(len(lines) // 50)]
    lines += [" ".join(f"{chance.gauss(0, 1000):.4f}" for _ in range(30)) for _ in range(len(lines) // 20)]
    return lines


def huge(kind):
    """A text of HUGE_BYTES and a little more; without white space, half of it is a single word."""
    chance = random.Random(5)
    if kind == "mixed":
        lines, parts, size = mixed(chance), [], 0
        while size < HUGE_BYTES:
            parts.append(chance.choice(lines))
            size += len(parts[-1].encode()) + 1
        return "\n".join(parts)
    word = "".join(chance.choices(LETTERS, k=HUGE_BYTES // 2))
    return word + "".join(chance.choices(LETTERS + LETTERS.upper() + "0123456789+/=._-ñ数", k=HUGE_BYTES // 2))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["mixed", "no white space"])
def test_a_document_of_20_mb_has_the_tokens_hugging_face_gives_it(tmp_path, tokenizer_file, kind):
    text = huge(kind)
    assert len(text.encode()) >= HUGE_BYTES
    assert kind == "mixed" or not any(map(str.isspace, text))
    documents = write_documents(tmp_path / "documents", [[("before", "web"), (text, "web"), ("behind", "web")]])
    corpus = encoded(tmp_path, documents, tokenizer_file)
    assert corpus.manifest.facts["engine"] == "fastokens"
    dtype = np.dtype(corpus.manifest.facts["dtype"])
    found = [np.frombuffer(raw, dtype) for raw in read(corpus)["tokens"].to_pylist()]
    expected = hugging_face(tokenizer_file, ["before", text, "behind"])
    assert all(np.array_equal(mine, theirs) for mine, theirs in zip(found, expected, strict=True))


def test_documents_of_nothing_white_space_and_odd_characters_are_encoded_as_they_are(tmp_path, tokenizer_file):
    rows = [(text, "web") for text in [*EMPTY, *ODD, "", "plain"]]
    corpus = encoded(tmp_path, write_documents(tmp_path / "documents", in_shards(rows, 3)), tokenizer_file)
    texts = [text for shard in in_shards(rows, 3) for text, _ in shard]
    found, decode = token_lists(corpus), Tokenizer.from_file(str(tokenizer_file)).decode
    assert found == hugging_face(tokenizer_file, texts)
    assert [decode(ids, skip_special_tokens=False) for ids in found] == texts
    assert [ids is not None and len(ids) for ids in found] == read(corpus)["length"].to_pylist()
    assert corpus.manifest.facts["domains"]["web"]["documents"] == len(rows)


def test_an_empty_document_takes_no_place_in_the_sequences(tmp_path):
    rows = [("", "web"), *some_documents(9), ("", "code"), ("", "web")]
    with_empty, without = Road(tmp_path / "a", [rows]), Road(tmp_path / "b", [rows[1:-2]])
    without.tokenizer = with_empty.tokenizer
    found = []
    for road in (with_empty, without):
        road.encode()
        road.plan()
        packed = read_packed(road.pack(sequence_length=64).root)
        found.append([part.open()[0].tolist() for part in packed.parts])
    assert found[0] == found[1]


def test_text_that_is_no_utf8_never_reaches_the_tokens(tmp_path, tokenizer_file):
    good = ["plain", "a\0b", "naïve 数据 \U0001f3f3\ufe0f", "  indented\n"]
    bad = {b"caf\xe9": "invalid_utf8", b"\xed\xa0\x80\xed\xb0\x80": "invalid_utf8", b"\xff\xfe": "invalid_utf8"}
    bad |= {b"": "blank_text", b" \n\t ": "blank_text", b"cut \xe6\x95": "invalid_utf8", b"\xc0\x80": "invalid_utf8"}
    raw = write(tmp_path / "raw.parquet", [*(text.encode() for text in good), *bad], pa.binary())
    documents = ingest(tmp_path / "documents", {"web": raw}, quarantine_limit=1)
    assert [row["reason"] for row in refused(documents)] == list(bad.values())
    assert [row["raw"] or b"" for row in refused(documents)] == list(bad)
    decode = Tokenizer.from_file(str(tokenizer_file)).decode
    assert sorted(map(decode, token_lists(encoded(tmp_path, documents, tokenizer_file)))) == sorted(good)


@pytest.mark.parametrize("place", [0, 99])
def test_a_document_whose_bytes_are_no_utf8_after_all_ends_the_stage_and_is_named(tmp_path, tokenizer_file, place):
    table = documents_table([(f"{i:05}", "web") for i in range(100)])
    data = b"".join(b"ca\xffe!" if i == place else b"%05d" % i for i in range(100))
    lies = pa.LargeStringArray.from_buffers(100, pa.py_buffer(np.arange(0, 501, 5)), pa.py_buffer(data))
    documents = write_corpus(tmp_path / "documents", [table.set_column(1, table.schema.field(1), lies)])
    named = table["doc_id"][place].as_py().hex()
    with pytest.raises(StageError, match=f"part-00000.*document {named}: its text is no UTF-8"):
        encoded(tmp_path, documents, tokenizer_file)


def test_a_corpus_without_shards_becomes_one_without_shards(tmp_path, tokenizer_file):
    (tmp_path / "documents").mkdir()
    corpus = encoded(tmp_path, write_documents(tmp_path / "documents", []), tokenizer_file)
    facts = corpus.manifest.facts
    assert (corpus.manifest.rows, list(corpus.paths())) == (0, [])
    assert (facts["domains"], facts["documents_by_length"], facts["eos"]) == ({}, {}, "<|endoftext|>")
    assert facts["vocabulary_use"]["unused"] == facts["vocabulary_use"]["tokens"]


def test_a_shard_without_rows_stays_one(tmp_path, tokenizer_file):
    documents = write_documents(tmp_path / "documents", [[], some_documents(3), []])
    corpus = encoded(tmp_path, documents, tokenizer_file)
    assert [shard.rows for shard in corpus.manifest.shards] == [0, 3, 0]
    assert read(corpus).schema.equals(SCHEMA)
