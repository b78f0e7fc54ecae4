"""`corpusmill tokenizer report`: the figures against counting by hand, and tokenizers side by side."""

import json
import math

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
    assert sum(domain["tokens"] for domain in row["domains"].values()) == len(ids)


def test_tokenizers_stand_side_by_side_by_merges_and_by_fewest_tokens(corpus, tokenizers):
    rows = json.loads(corpusmill("report", *tokenizers, "--on", corpus, "--json"))["rows"]
    assert [(row["vocabulary"], row["segmentation"]) for row in rows] == [
        (270, "bpe"),
        (270, "minimum"),
        (330, "bpe"),
        (330, "minimum"),
    ]
    assert rows[0]["bytes_a_token"] < rows[2]["bytes_a_token"]
    assert rows[3]["tokens"] <= rows[2]["tokens"]
    printed = corpusmill("report", *tokenizers, "--on", corpus)
    assert "tokens/word" in printed
    assert "books" in printed


def test_premiums_are_tokens_over_those_of_english(corpus, tokenizers):
    table = pa.table({"de": ["straße und haus"], "en": ["the river"]})
    pq.write_table(table, corpus / "parallel.pq")
    row = json.loads(
        corpusmill("report", tokenizers[0], "--on", corpus, "--parallel", corpus / "parallel.pq", "--json")
    )["rows"][0]
    loaded = Tokenizer.from_file(str(tokenizers[0]))
    costs = {name: len(loaded.encode(table[name][0].as_py()).ids) for name in table.column_names}
    assert row["premiums"] == pytest.approx({"de": costs["de"] / costs["en"], "en": 1})
    assert "premium over en" in corpusmill(
        "report", tokenizers[0], "--on", corpus, "--parallel", corpus / "parallel.pq"
    )


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
    said = corpusmill("report", tokenizers[0], "--on", corpus, "--text", "body", code=1)
    assert "has no column 'body'" in said
