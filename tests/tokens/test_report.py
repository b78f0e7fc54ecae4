"""`corpusmill tokenizer report`: the figures against counting by hand, and tokenizers side by side."""

import json
import math
import re

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from tokenizers import Tokenizer

from pipeline.cli import Verbs
from pipeline.cli_tokenizer import tokenizer
from pipeline.tokens import report
from pipeline.tokens.train import TrainParams, train_tokenizer
from tests.stages.road import some_documents

MAIN = Verbs(commands={"tokenizer": tokenizer})


def corpusmill(*arguments, code=0):
    found = CliRunner().invoke(MAIN, ["tokenizer", *map(str, arguments)])
    assert found.exit_code == code, found.output
    return found.output


@pytest.fixture
def corpus(tmp_path):
    rows = some_documents()
    table = pa.table({"text": [text for text, _ in rows], "domain": [domain for _, domain in rows]})
    pq.write_table(table.slice(0, 100), tmp_path / "a.parquet")
    pq.write_table(table.slice(100), tmp_path / "b.parquet")
    return tmp_path


@pytest.fixture
def tokenizers(tmp_path):
    texts = [text for text, _ in some_documents(200, seed=1)]
    for size in (270, 330):
        train_tokenizer(texts, TrainParams(vocab_size=size)).save(str(tmp_path / f"{size}.json"))
    return [tmp_path / "270.json", tmp_path / "330.json"]


def test_the_figures_are_those_of_counting_by_hand(corpus, tokenizers):
    row = json.loads(corpusmill("report", tokenizers[1], "--on", corpus, "--json"))["rows"][0]
    texts = [text for text, _ in some_documents()]
    loaded = Tokenizer.from_file(str(tokenizers[1]))
    ids = [token for text in texts for token in loaded.encode(text).ids]
    counts = np.bincount(ids, minlength=330)
    assert row["tokens"] == len(ids)
    assert row["bytes_a_token"] == pytest.approx(sum(len(text.encode()) for text in texts) / len(ids))
    assert row["fertility"] == pytest.approx(len(ids) / sum(len(text.split()) for text in texts))
    assert row["unused"] == int((counts[1:] == 0).sum())
    assert row["under_trained"] == int((counts[1:] < 10).sum())
    shares = counts[counts > 0] / counts.sum()
    assert row["renyi_efficiency"] == pytest.approx(-math.log((shares**2.5).sum()) / 1.5 / math.log(330))
    books = [text for text, domain in some_documents() if domain == "books"]
    found = row["domains"]["books"]
    assert found["tokens"] == sum(len(loaded.encode(text).ids) for text in books)
    assert found["fertility"] == pytest.approx(found["tokens"] / sum(len(text.split()) for text in books))
    assert sum(domain["tokens"] for domain in row["domains"].values()) == len(ids)


def test_tokenizers_stand_side_by_side_by_merges_and_by_fewest_tokens(corpus, tokenizers):
    twice = [*tokenizers, tokenizers[0]]
    rows = json.loads(corpusmill("report", *twice, "--on", corpus, "--json"))["rows"]
    assert [(row["vocabulary"], row["segmentation"]) for row in rows] == [
        (270, "bpe"),
        (270, "minimum"),
        (330, "bpe"),
        (330, "minimum"),
    ]
    assert rows[0]["bytes_a_token"] < rows[2]["bytes_a_token"]
    assert rows[3]["tokens"] <= rows[2]["tokens"]
    printed = corpusmill("report", *tokenizers, "--on", corpus)
    assert f"2  {tokenizers[1]}" in printed
    assert re.search(r"tokens/word +1 bpe +1 minimum +2 bpe +2 minimum", printed)
    books = " +".join(f"{row['domains']['books']['fertility']:.3f}" for row in rows)
    assert re.search(f"books +{books}", printed)
    assert f"1, last by id of those under 10: {rows[0]['rare'][-1]!r}" in printed


def premiums(corpus, tokenizer, table):
    pq.write_table(pa.table(table), corpus / "parallel.pq")
    command = ("report", tokenizer, "--on", corpus, "--parallel", corpus / "parallel.pq")
    told = json.loads(corpusmill(*command, "--json"))
    return told["sentences"], told["rows"][0], corpusmill(*command)


def test_premiums_are_tokens_over_those_of_english_in_rows_that_have_all_languages(corpus, tokenizers):
    table = {"de": ["straße und haus", None, "die alte stadt"], "en": ["the river", "not in german", "the old city"]}
    sentences, row, printed = premiums(corpus, tokenizers[0], table)
    loaded = Tokenizer.from_file(str(tokenizers[0]))
    costs = {name: sum(len(loaded.encode(texts[i]).ids) for i in (0, 2)) for name, texts in table.items()}
    assert sentences == 2
    assert row["premiums"] == pytest.approx({"de": costs["de"] / costs["en"], "en": 1})
    assert "premium over en" in printed
    assert f"{costs['de'] / costs['en']:.3f}" in printed


def test_an_empty_cell_of_parallel_text_is_refused_with_its_row_and_column(corpus, tokenizers):
    pq.write_table(pa.table({"de": ["haus", " "], "en": ["house", "the end"]}), corpus / "parallel.pq")
    said = corpusmill("report", tokenizers[0], "--on", corpus, "--parallel", corpus / "parallel.pq", code=2)
    assert "column 'de' is empty in row 2" in said


def sources(*paths):
    return [report.Source(path) for path in paths]


def test_texts_looked_at_do_not_depend_on_files(corpus, tmp_path):
    (tmp_path / "one").mkdir()
    both = pa.concat_tables([pq.read_table(corpus / "b.parquet"), pq.read_table(corpus / "a.parquet")])
    pq.write_table(both, tmp_path / "one" / "all.parquet")
    two = report.texts_of(sources(corpus / "a.parquet", corpus / "b.parquet"), report.Columns(), 20_000)
    assert report.texts_of(sources(tmp_path / "one" / "all.parquet"), report.Columns(), 20_000) == two
    assert 20_000 <= sum(len(text.encode()) for texts in two.values() for text in texts) < 21_000


@pytest.mark.parametrize("way", ["bpe", "minimum"])
def test_a_tokenizer_written_anew_is_read_anew(tmp_path, way):
    path, texts = tmp_path / "tokenizer.json", [text for text, _ in some_documents(50)]
    tokens = []
    for size in (262, 400):
        train_tokenizer(texts, TrainParams(vocab_size=size)).save(str(path))
        tokens.append(len(report.encoder(path, way, texts).encode(texts)[0]))
    assert tokens[1] < 0.8 * tokens[0]


def test_renyi_efficiency_and_gini_have_their_known_values():
    assert report.renyi_efficiency(np.full(8, 5)) == pytest.approx(1)
    assert report.renyi_efficiency(np.array([7, 0, 0])) == 0
    shares = np.array([0.5, 0.25, 0.25])
    expected = -math.log(sum(p**2.5 for p in shares)) / 1.5 / math.log(3)
    assert report.renyi_efficiency(np.array([2, 1, 1])) == pytest.approx(expected)
    assert report.gini([3, 3, 3]) == 0
    assert report.gini([0, 0, 6]) == pytest.approx(2 / 3)


def test_what_is_no_corpus_and_no_tokenizer_is_refused(corpus, tokenizers, tmp_path):
    (tmp_path / "empty").mkdir()
    assert "no Parquet file" in corpusmill("report", tokenizers[0], "--on", tmp_path / "empty", code=2)
    assert "holds no tokenizer.json" in corpusmill("report", tmp_path / "empty", "--on", corpus, code=2)
    assert "not a tokenizer.json" in corpusmill("report", corpus / "a.parquet", "--on", corpus, code=2)
    assert "nothing at" in corpusmill("report", tokenizers[0], "--on", tmp_path / "nowhere", code=2)
    model = b'{"model": {"type": "WordLevel", "vocab": {}, "unk_token": "x"}}'
    mute = written(tmp_path / "mute.json", model)
    assert "mute.json cannot encode text" in corpusmill("report", mute, "--on", corpus, code=2)
    assert "no `model`" in corpusmill("report", written(tmp_path / "list.json", b"[]"), "--on", corpus, code=2)


@pytest.mark.parametrize(
    ("column", "why"),
    [
        (pa.array([1, 2]), "column 'text' holds int64, not text"),
        (pa.array([["a"], ["b"]]), "holds list<element: string>, not text"),
        (pa.array([b"a", b"\xff"]), "not readable Parquet with texts"),
        (pa.array(["", None]), "no text in column 'text'"),
    ],
)
def test_what_holds_no_text_is_refused_and_named(tokenizers, tmp_path, column, why):
    pq.write_table(pa.table({"text": column}), tmp_path / "odd.parquet")
    assert why in corpusmill("report", tokenizers[0], "--on", tmp_path / "odd.parquet", code=1)
    said = corpusmill("report", tokenizers[0], "--on", tmp_path / "odd.parquet", "--text", "body", code=1)
    assert "has no column 'body'; it has text" in said


def test_a_column_of_domains_that_was_named_must_be_there(tokenizers, tmp_path):
    pq.write_table(pa.table({"text": ["some text"]}), tmp_path / "a.parquet")
    said = corpusmill("report", tokenizers[0], "--on", tmp_path / "a.parquet", "--domain", "lang", code=1)
    assert "has no column 'lang'; it has text. Name it by --domain, or leave that out" in said


def written(path, content):
    path.write_bytes(content)
    return path
