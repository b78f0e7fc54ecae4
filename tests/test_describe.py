"""`show`: what is said of a corpus, a build, packed sequences, Parquet and models; and of what is none of them."""

import json
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import pipeline
from pipeline import describe_sequences
from pipeline.config import Profile
from pipeline.describe import show
from pipeline.description import Description, framed, split
from pipeline.errors import ConfigError, DataError
from pipeline.files import checksum
from pipeline.recipe import Recipe
from pipeline.tokens.format import read_packed
from tests.conftest import documents_table, write_corpus, write_documents
from tests.corpora import raw_rows, road, write_raw


def made(home, name="road", **sections):
    recipe = Recipe.model_validate(road(home / "raw", name, **sections))
    return pipeline.build(recipe, Profile(root=home / "root", workers=1))


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    home = tmp_path_factory.mktemp("mill")
    write_raw(home / "raw", raw_rows(40))
    return home


@pytest.fixture(scope="module")
def built(home):
    """A build of the whole road on a tiny corpus."""
    return made(home)


@pytest.fixture
def copy(built, tmp_path):
    """The same build in a place of its own, to be damaged."""
    shutil.copytree(built.folder.parent.parent, tmp_path / "root")
    return tmp_path / "root"


def test_documents_are_described_by_schema_counts_domains_and_one_text(built):
    found = show(built["documents"].root)
    assert found.kind == "corpus"
    assert found.summary["rows"] == built["documents"].manifest.rows
    assert [row["column"] for row in found.tables["schema"]][:4] == ["doc_id", "text", "domain", "bytes"]
    assert {row["domain"] for row in found.tables["ledger"]} == {"prose", "notes", "all"}
    first = pq.read_table(next(built["documents"].paths())).slice(0, 1).to_pylist()[0]
    assert found.example["text"] == first["text"]
    assert found.example["doc_id"] == first["doc_id"].hex()


def test_every_row_of_every_shard_can_be_the_example(tmp_path):
    corpus = write_documents(tmp_path, [[("one", "a"), ("two", "b")], [], [("three", "a")]])
    assert [show(corpus.root, row=row).example["text"] for row in range(3)] == ["one", "two", "three"]


@pytest.mark.parametrize("row", [-1, 3, 10**12])
def test_a_row_that_is_not_there_is_refused_with_those_that_are(tmp_path, row):
    corpus = write_documents(tmp_path, [[("one", "a"), ("two", "b"), ("three", "a")]])
    with pytest.raises(ConfigError, match="has rows 0 to 2"):
        show(corpus.root, row=row)


def test_a_corpus_without_rows_has_no_example(tmp_path):
    corpus = write_corpus(tmp_path, [documents_table([])])
    found = show(corpus.root)
    assert found.example == {}
    assert "rows" in found.to_text()


def test_a_mask_shows_its_decisions_and_where_they_came_from(built):
    found = show(built["near"].root)
    assert found.details["inputs"]["documents"] == built["documents"].root.name
    assert found.tables["ledger"][-1]["near_duplicate"] > 0


def test_facts_that_are_tables_are_shown_as_such_without_places_and_bounded():
    examples = [{"doc_id": f"{i:032x}", "shard": "part-00000.parquet", "row": i} for i in range(100)]
    nested = {"web": {"books": {"documents": 3}, "code": {"documents": 4}}}
    tables, others = split({"examples": examples, "sources": nested, "pairs": 7, "words": ["a", "b"], "none": []})
    assert others == {"pairs": 7, "words": ["a", "b"], "none": []}
    assert tables["sources"][1] == {"name": "web", "of": "code", "documents": 4}
    text = Description("corpus", "here", {}, tables).to_text(100)
    assert "part-00000" not in text
    assert "… 60 more" in text
    assert (f"{38:032x}" in text, f"{39:032x}" in text, f"{99:032x}" in text) == (True, False, True)


def test_encoded_tokens_are_decoded_again(built):
    documents = pq.read_table(next(built["documents"].paths()))
    keep = pq.read_table(next(built["select"].paths()))["keep"].to_pylist()
    row = keep.index(True)
    assert show(built["tokens"].root, row=row).example["text"] == documents["text"][row].as_py()


@pytest.mark.parametrize("inside", ["", "build.json", "log.txt"])
def test_a_build_is_described_from_its_folder_and_from_what_lies_in_it(built, inside):
    found = show(built.folder / inside)
    assert found.kind == "build"
    assert [row["step"] for row in found.tables["steps"]] == list(built.corpora)
    assert any(row["dropped"] for row in found.tables["steps"])
    assert found.example["segments"][0]["text"]


def test_the_root_of_one_build_is_that_build_and_of_several_their_list(built, home, copy):
    assert show(copy).summary["name"] == "road"
    shutil.copytree(copy / "builds" / "road", copy / "builds" / "again")
    found = show(copy)
    assert found.kind == "root"
    assert [row["build"] for row in found.tables["builds"]] == ["again", "road"]
    assert found.summary["corpora"] == len({corpus.root for corpus in built.corpora.values()})


@pytest.mark.parametrize("inside", ["", "manifest.json", "data", "records.jsonl"])
def test_a_corpus_is_described_from_anything_in_it(built, inside):
    assert show(built["exact"].root / inside).path == str(built["exact"].root)


def test_packed_sequences_are_decoded_with_their_documents(built):
    found = show(built["sequences"].root, row=3)
    packed = read_packed(built["sequences"].root)
    assert found.kind == "sequences"
    assert found.summary["shape"] == f"{packed.rows:,} sequences of 128"
    counted = {row["domain"]: row["tokens"] for row in found.tables["domains"]}
    assert sum(n for name, n in counted.items() if name != "(padding)") == packed.tokens
    assert counted["prose"] == built["plan"].manifest.facts["domains"]["prose"]["tokens"]
    assert counted["(padding)"] == found.summary["padding"]
    documents = pa.concat_tables(pq.read_table(path) for path in built["documents"].paths())
    texts = dict(zip([i.hex() for i in documents["doc_id"].to_pylist()], documents["text"].to_pylist(), strict=True))
    for segment in found.example["segments"]:
        if "text" in segment:
            decoded = segment["text"].removesuffix("…").removesuffix("<|endoftext|>")
            assert decoded in texts[segment["doc_id"]]
            assert segment["domain"] in ("prose", "notes")


def test_a_sequence_that_is_asked_for_names_the_source_of_every_document(built):
    found = show(built["sequences"].root, row=3)
    root = built["documents"].root
    rows = {path.name: pq.read_table(path).to_pylist() for path in built["documents"].paths()}
    segments = [segment for segment in found.example["segments"] if "doc_id" in segment]
    assert segments
    for segment in segments:
        row = rows[segment["shard"]][segment["row"]]
        assert (row["doc_id"].hex(), row["source_id"]) == (segment["doc_id"], segment["source_id"])
        assert segment["documents"] == root.name
        assert f"{segment['shard']}" in found.to_text(200)
    assert show(built.folder, row=3).example == found.example


def test_a_source_that_is_gone_is_not_told(copy, built):
    for root in (copy / "corpora").glob("ingest-*"):
        shutil.rmtree(root)
    segments = show(copy / "corpora" / built["sequences"].root.name, row=3).example["segments"]
    assert [segment for segment in segments if "text" in segment]
    assert not [segment for segment in segments if "source_id" in segment]


def test_a_sequence_that_is_not_there_is_refused(built):
    with pytest.raises(ConfigError, match="has sequences 0 to"):
        show(built["sequences"].root, row=10**9)


def test_a_tokenizer_that_was_brought_along_is_found_by_its_checksum(built, home):
    path = home / "brought.json"
    shutil.copy(built["tokenizer"].root / "data" / "tokenizer.json", path)
    other = made(home, "brought", quality=None, dedup=None, tokens={"tokenizer": str(path), "sequence_length": 64})
    (other["sequences"].root / "data" / "tokenizer.json").unlink(missing_ok=True)
    assert other["tokens"].manifest.inputs["tokenizer"] == checksum(path)
    assert show(other["sequences"].root).example["tokenizer"] == str(path)
    path.write_text(path.read_text() + " ")
    found = show(other["sequences"].root).example
    assert found["tokenizer"] == "not found: ids are shown"
    assert all(word.isdigit() for word in found["segments"][0]["text"].removesuffix("…").split())


def test_sequences_without_their_tokens_show_ids(copy, built):
    for root in (copy / "corpora").glob("tokens.[te]*"):
        shutil.rmtree(root)
    folder = copy / "corpora" / built["sequences"].root.name
    (folder / "data" / "tokenizer.json").unlink(missing_ok=True)
    assert show(folder).example["tokenizer"].startswith("not found")


def test_verify_finds_the_byte_that_has_changed(copy, built):
    folder = copy / "corpora" / built["documents"].root.name
    shard = next((folder / "data").glob("*.parquet"))
    assert show(folder).damage is None
    assert show(folder, verify=True).damage == ()
    data = bytearray(shard.read_bytes())
    data[100] ^= 1
    shard.write_bytes(data)
    for path in (folder, copy / "builds" / "road"):
        damage = show(path, verify=True).damage
        assert len(damage) == 1
        assert str(shard) in damage[0]


def test_a_build_whose_corpus_is_gone_says_which(copy, built):
    shutil.rmtree(copy / "corpora" / built["near"].root.name)
    with pytest.raises(DataError, match="'near' is gone"):
        show(copy / "builds" / "road")


def test_plain_parquet_is_described_as_a_file_and_as_a_folder(tmp_path):
    table = pa.table({"text": ["a", "b", None], "n": [1, 2, 3], "raw": [b"\x00" * 40, b"", None], "l": [[1], [], None]})
    pq.write_table(table, tmp_path / "x.parquet", row_group_size=2)
    pq.write_table(table.drop_columns("l"), tmp_path / "y.parquet")
    one = show(tmp_path / "x.parquet", row=2)
    assert (one.kind, one.summary["rows"], one.summary["row_groups"]) == ("parquet", 3, 2)
    assert one.example == {"row": 2, "text": None, "n": 3, "raw": None, "l": None}
    both = show(tmp_path, row=3)
    assert both.summary["files_with_another_schema"] == 1
    assert both.example["raw"] == f"{'00' * 32}… (40 bytes)"


def test_text_that_is_not_utf8_is_shown_and_does_not_fail(tmp_path):
    lie = pa.Array.from_buffers(pa.string(), 1, pa.array([b"\xff\xfeabc"]).buffers())
    pq.write_table(pa.table({"text": lie}), tmp_path / "x.parquet", store_schema=True)
    assert show(tmp_path / "x.parquet").example["text"] == "��abc"


def test_a_plan_a_tokenizer_and_a_model_are_described(built):
    assert show(built["plan"].root / "data" / "plan.json").details["plan"]["tokens"] == 30_000
    tokenizer = show(built["tokenizer"].root / "data" / "tokenizer.json")
    assert tokenizer.summary["vocabulary"] == 400
    model = show(built["model"].root / "data" / "model.bin")
    assert model.summary["bucket"] == 4096


def test_what_nobody_knows_is_refused_with_what_is_known(tmp_path):
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(ConfigError, match="nothing that `show` knows"):
        show(tmp_path / "notes.txt")
    with pytest.raises(ConfigError, match="nothing that `show` knows"):
        show(tmp_path)


def test_a_path_that_is_not_there_is_refused_with_the_nearest(tmp_path):
    (tmp_path / "corpora").mkdir()
    with pytest.raises(ConfigError, match=r"did you mean .*corpora"):
        show(tmp_path / "corpra")


@pytest.mark.parametrize("name", ["x.json", "x.parquet"])
def test_a_broken_file_is_an_error_that_names_it(tmp_path, name):
    (tmp_path / name).write_bytes(b"PAR1 and then nothing" if name.endswith("parquet") else b"{")
    with pytest.raises(ConfigError, match=name):
        show(tmp_path / name)


def test_everything_is_json_and_fits_a_screen(built, home):
    for path in (built.folder, home / "root", *(corpus.root for corpus in built.corpora.values())):
        found = show(path)
        assert json.loads(json.dumps(found.to_json()))["kind"] == found.kind
        text = found.to_text(100)
        assert max(map(len, text.splitlines())) <= 140
        assert str(path) in text or found.kind == "build"


def test_a_text_cannot_command_the_terminal():
    found = Description("corpus", "p", {"a": "\x1b[2J"}, example={"text": "x\x1b[31m\x07\u202e" + "y" * 80})
    assert "\x1b" not in found.to_text()
    assert "\u202e" not in found.to_text()


def test_a_long_text_is_folded_and_cut_after_some_lines():
    lines = framed("word " * 1000, 80, most=5).splitlines()
    assert len(lines) == 5
    assert all(len(line) <= 80 for line in lines)
    assert lines[-1].endswith("…")


def test_segments_are_counted_by_their_lengths_and_not_by_their_ends(built):
    packed = read_packed(built["sequences"].root)
    counted = {row["domain"]: row["segments"] for row in describe_sequences.by_domain(packed)}
    segments = np.concatenate([part.open()[2] for part in packed.parts])
    assert sum(counted.values()) == len(segments)


def test_the_report_of_a_real_build_has_every_section(built):
    text = pipeline.report(built.folder).read_text()
    for name in ("road", "dropped", "duplicates", "quality", "tokens", "mixture", "packing", "identity", "rebuild"):
        assert f'<section id="{name}">' in text


def test_a_corpus_that_is_not_finished_is_said_so(built, copy):
    folder = copy / "corpora" / built["near"].root.name
    (folder / "manifest.json").unlink()
    (folder / "identity.json").write_text("{}")
    with pytest.raises(ConfigError, match=r"is a corpus that is not finished; `corpusmill build` goes on"):
        show(folder)
