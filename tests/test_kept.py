"""What a build keeps: the documents and the mask that are packed, or that its last deciding step left."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

import pipeline
from pipeline.cli_tokenizer import tokenizer
from pipeline.config import Profile
from pipeline.kept import kept
from pipeline.recipe import Recipe
from tests.conftest import read

LINE = "the same long line of a menu that stands on every page of the place\n"
ROWS = {
    "web": [LINE + f"page {number} tells of {word}\n" for number, word in enumerate(["bread", "rivers", "glass"])],
    "copies": ["a text that comes twice, word for word", "a text that comes twice, word for word", "and one alone"],
}
LINES = {"keep": "none_above", "min_bytes": 60}
TOKENS = {"vocab_size": 300, "sequence_length": 32}


def built(root, **sections):
    for domain, texts in ROWS.items():
        (root / "raw" / domain).mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.table({"text": texts}), root / "raw" / domain / "0.parquet")
    sources = {domain: {"paths": [str(root / "raw" / domain)]} for domain in ROWS}
    recipe = Recipe.model_validate({"name": "few", "sources": sources} | sections)
    return pipeline.build(recipe, Profile(root=root / "root", workers=1))


def texts_kept(build):
    documents, mask = kept(build)
    rows = read(documents)
    return sorted((rows.filter(read(mask)["keep"]) if mask else rows)["text"].to_pylist())


def test_without_decisions_every_document_is_kept(tmp_path):
    assert texts_kept(built(tmp_path)) == sorted(text for texts in ROWS.values() for text in texts)


def test_where_cutting_is_last_the_documents_are_those_it_wrote(tmp_path):
    found = texts_kept(built(tmp_path, dedup={"exact": False, "near": False, "lines": LINES}))
    assert found == sorted([*ROWS["copies"], *(text.removeprefix(LINE) for text in ROWS["web"])])


@pytest.mark.parametrize("more", [{}, {"tokens": TOKENS}])
def test_copies_that_are_dropped_behind_the_cut_are_not_kept(tmp_path, more):
    found = texts_kept(built(tmp_path, dedup={"near": False, "lines": LINES}, **more))
    assert found == sorted([*ROWS["copies"][1:], *(text.removeprefix(LINE) for text in ROWS["web"])])


def test_a_mask_that_nothing_packed_reads_decides_nothing(tmp_path):
    aside = {"aside": {"stage": "dedup.exact", "inputs": {"documents": "documents"}}}
    found = texts_kept(built(tmp_path, tokens=TOKENS, steps=aside))
    assert found == sorted(text for texts in ROWS.values() for text in texts)


def test_the_report_on_a_build_judges_by_what_it_keeps(tmp_path):
    build = built(tmp_path, dedup={"near": False, "lines": LINES}, tokens=TOKENS)
    command = ["report", str(build.folder), "--on", str(build.folder), "--json"]
    told = json.loads(CliRunner().invoke(tokenizer, command, catch_exceptions=False).output)
    documents, mask = kept(build)
    by_domain = read(documents).filter(read(mask)["keep"]).group_by("domain").aggregate([("bytes", "sum")])
    assert told["bytes"] == dict(zip(by_domain["domain"].to_pylist(), by_domain["bytes_sum"].to_pylist(), strict=True))
    assert told["documents"] == {"copies": 2, "web": 3}
    facts = build["tokens"].manifest.facts["domains"]
    assert {name: d["tokens"] for name, d in told["rows"][0]["domains"].items()} == {
        n: d["tokens"] for n, d in facts.items()
    }
