"""Every bad or awkward input of the shared collection, driven through the command line, with its stated outcome.

Where a case could be argued, we end it so:

case                             ends as                    because
-------------------------------  -------------------------  -----------------------------------------------------------
drift/11_content_column          exit 2; with `text:` set,  a missing text column is a mistake of recipe or file, never
drift/17_upper                   rows kept                  an empty domain; case is not guessed, but the name is told
drift/13, 14 (list, null type)   exit 2                     the footer tells it before anything runs
drift/18 (two columns "text")    exit 2                     either would be a guess
utf8/*, value "" (b9, s9)        quarantined, blank_text    valid UTF-8, but nothing to read, as in rows/blank
jsonl x7  lone surrogate         quarantined, invalid_json  has no UTF-8 form; replacing it would invent text
jsonl x9  invalid UTF-8          quarantined, invalid_utf8  JSON is UTF-8 (RFC 8259, 8.1)
jsonl x10 NaN beside good text   quarantined, invalid_json  not JSON; readers differ on the line, so none is right
jsonl x11 "text" given twice     quarantined, repeated_key  readers differ on which is meant, and say nothing
jsonl, two blank lines           no rows                    separators without content; readers agree on it
jsonl/truncated.jsonl.gz         lines before the cut kept  the lost end is counted as one row, more cannot be known;
                                                            the default limit makes it exit 1
jsonl/truncated.jsonl.zst        exit 1, truncated_stream   that it is unreadable shows on reading: its one block is cut
jsonl/array.json                 exit 2                     with the jq line that makes JSON Lines of it
files/flipped_silent             400 rows kept              without checksums nobody can tell; our own files have them
files/* unreadable               exit 2                     exit 0 with `unreadable_files: quarantine`, each counted
folder/_SUCCESS, README ...      not read when the folder   when named outright a file is judged by its bytes
                                 is; listed as left out
folder/broken_link.parquet       exit 2, unreadable         a link to nothing is a file that is missing
"""

import json
import os
import shutil
import subprocess
import sys
from itertools import count
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml
from click.testing import CliRunner

from pipeline.cli import main
from pipeline.corpus import Corpus
from pipeline.store import open_corpus
from tests.conftest import SHARED, read
from tests.ingested import refused

pytestmark = pytest.mark.shared

NASTY = SHARED / "data" / "nasty"
EXPECTED: dict[str, Any] = (
    json.loads((NASTY / "expected.json").read_text(encoding="utf-8")) if (NASTY / "expected.json").exists() else {}
)
WRONG_COLUMNS = {
    "drift/11_content_column.parquet": "no column 'text'; it has: id, content",
    "drift/13_text_list.parquet": "is of type list<element: string>",
    "drift/14_text_null_type.parquet": "is of type null",
    "drift/17_upper.parquet": "did you mean 'TEXT'?",
    "drift/18_duplicate_column.parquet": "2 columns are called 'text'",
}
BROKEN_LINES = {
    "invalid_json": 5,
    "invalid_utf8": 1,
    "missing_text": 1,
    "not_an_object": 2,
    "null_text": 1,
    "repeated_key": 1,
    "text_not_a_string": 2,
}


def of(*kinds: str) -> list[str]:
    return [name for name, case in EXPECTED.items() if case["kind"] in kinds]


class Outcome:
    """What `corpusmill build` made of a recipe that only ingests."""

    def __init__(self, folder: Path, paths: list[Path], source: dict[str, Any], ingest: dict[str, Any]):
        folder.mkdir(parents=True, exist_ok=True)
        recipe = {"name": "nasty", "sources": {"web": {"paths": list(map(str, paths)), **source}}, "ingest": ingest}
        (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe), encoding="utf-8")
        (folder / "profile.yaml").write_text(yaml.safe_dump({"root": str(folder / "root"), "workers": 1}))
        arguments = ["build", str(folder / "recipe.yaml"), "--on", str(folder / "profile.yaml")]
        result = CliRunner().invoke(main, arguments)
        self.exit = result.exit_code
        self.message = result.output + result.stderr
        found = [open_corpus(path) for path in (folder / "root" / "corpora").glob("ingest-*")]
        self.corpus: Corpus | None = found[0] if found else None

    @property
    def documents(self) -> Corpus:
        assert self.exit == 0, self.message
        assert self.corpus is not None
        return self.corpus

    @property
    def books(self) -> dict[str, Any]:
        books = self.documents.manifest.ledger["web"]
        assert books["rows_in"] == books["rows_kept"] + sum(books.get("dropped", {}).values())
        assert books["rows_kept"] == self.documents.manifest.rows
        return books

    def ids(self) -> list[str]:
        return read(self.documents)["source_id"].to_pylist()


@pytest.fixture
def build(tmp_path):
    turns = count()

    def run(*names: str | Path, source: dict[str, Any] | None = None, **ingest: Any) -> Outcome:
        return Outcome(tmp_path / f"build-{next(turns)}", [NASTY / name for name in names], source or {}, ingest)

    return run


@pytest.mark.parametrize("name", of("ok", "ok_wrong_extension", "ok_if_recursive"))
def test_what_is_well_formed_is_kept_to_the_last_row(build, name):
    outcome = build(name)
    assert outcome.books["rows_kept"] == EXPECTED[name]["rows"]
    assert "dropped" not in outcome.books


@pytest.mark.parametrize("name", [name for name in of("rows") if name.startswith("rows/")])
def test_rows_are_judged_one_by_one(build, name):
    case = EXPECTED[name]
    outcome = build(name, source={"id": "id"}, quarantine_limit=1)
    assert outcome.books["rows_in"] == case["rows"]
    usable = case.get("usable", pq.read_table(NASTY / name, columns=["id"])["id"].to_pylist())
    assert outcome.ids() == usable
    raw = {row["id"]: row["text"] for row in pq.read_table(NASTY / name, columns=["id", "text"]).to_pylist()}
    if "usable" in case:
        kept = read(outcome.documents).to_pylist()
        assert {row["source_id"]: row["text"] for row in kept} == {name: raw[name] for name in usable}
        assert sum(outcome.books.get("dropped", {}).values()) == len(case["unusable"])


def test_blank_rows_have_their_reasons_and_the_default_limit_stops_the_build(build):
    assert build("rows/blank.parquet", quarantine_limit=1).books["dropped"] == {"blank_text": 7, "null_text": 1}


@pytest.mark.parametrize("name", ["rows/blank.parquet", "utf8/string_lies.parquet", "jsonl/broken_lines.jsonl"])
def test_a_file_of_bad_rows_is_one_error_under_the_default_limit(build, name):
    outcome = build(name)
    assert outcome.exit == 1
    assert "rows" in outcome.message
    assert "ingest.quarantine_limit" in outcome.message
    assert "Traceback" not in outcome.message


@pytest.mark.parametrize("name", ["utf8/binary_text.parquet", "utf8/string_lies.parquet"])
def test_text_that_is_not_utf8_is_quarantined_whatever_its_column_claims(build, name):
    outcome = build(name, source={"id": "id"}, quarantine_limit=1)
    assert outcome.books["dropped"] == {"blank_text": 1, "invalid_utf8": 8, "null_text": 1}
    assert outcome.books["rows_in"] == EXPECTED[name]["rows"]
    assert set(outcome.ids()) < set(EXPECTED[name]["valid_utf8"])
    invalid = [row for row in refused(outcome.documents) if row["reason"] == "invalid_utf8"]
    assert [row["row"] for row in invalid] == list(range(8))
    assert invalid[0]["raw"] == b"latin-1 caf\xe9 au lait"


@pytest.mark.parametrize("name", of("drift"))
def test_a_schema_that_drifts_is_read_or_is_one_error(build, name):
    outcome = build(name)
    if name in WRONG_COLUMNS:
        assert outcome.exit == 2
        assert WRONG_COLUMNS[name] in outcome.message
        assert name in outcome.message
    else:
        assert outcome.books["rows_kept"] == EXPECTED[name]["rows"]


@pytest.mark.parametrize(
    ("name", "text"), [("drift/11_content_column.parquet", "content"), ("drift/17_upper.parquet", "TEXT")]
)
def test_a_text_column_of_another_name_is_a_matter_of_the_recipe(build, name, text):
    assert build(name, source={"text": text}).books["rows_kept"] == 5


def test_all_schemas_that_can_be_read_are_read_together_with_ids_and_columns_as_text(build):
    names = [name for name in of("drift") if name not in WRONG_COLUMNS and name != "drift/12_no_id.parquet"]
    extra = ["source", "url", "lang", "timestamp", "score", "metadata", "tags"]
    outcome = build(*names, source={"id": "id", "extra": extra})
    rows = read(outcome.documents).to_pylist()
    assert len(rows) == sum(EXPECTED[name]["rows"] for name in names)
    assert {str(2**63 + 2), "1000"} <= {row["source_id"] for row in rows}
    assert [row["metadata"] for row in rows if row["metadata"]] == ['{"a":1,"b":"x"}'] * 5
    assert [row["tags"] for row in rows if row["tags"]] == ['["p","q"]'] * 5
    assert sum(row["url"] is None for row in rows) == 10  # 04 has no such column, 15 only nulls


def test_a_missing_id_column_is_an_error_only_if_it_is_asked_for(build):
    outcome = build("drift/01_string.parquet", "drift/12_no_id.parquet", source={"id": "id"})
    assert outcome.exit == 2
    assert "12_no_id.parquet: no column 'id'" in outcome.message


def test_one_error_names_all_the_wrong_files_of_a_folder(build):
    outcome = build("drift")
    assert outcome.exit == 2
    assert all(name in outcome.message for name in WRONG_COLUMNS)
    assert "5 of 18 files" in outcome.message


UNREADABLE = [name for name in of("unreadable") if not name.startswith(("jsonl/", "folder/"))]


@pytest.mark.parametrize("name", UNREADABLE)
def test_an_unreadable_file_is_refused_before_anything_runs_or_counted_if_the_recipe_says_so(build, name):
    outcome = build(name)
    assert outcome.exit == 2
    assert name in outcome.message
    assert "ingest.unreadable_files: quarantine" in outcome.message
    assert len(outcome.message.splitlines()) < 8
    aside = build(name, "ok/control.parquet", unreadable_files="quarantine")
    assert aside.books["rows_kept"] == 20
    assert aside.books["dropped"] == {"unreadable_file": 1}


def test_the_unreadable_among_good_files_are_all_named_at_once(build):
    outcome = build("files")
    assert outcome.exit == 2
    assert all(Path(name).name in outcome.message for name in UNREADABLE)


@pytest.mark.parametrize("name", ["files/flipped_page_header.parquet", "files/flipped_checksummed.parquet"])
def test_seven_of_eight_row_groups_survive_a_broken_page(build, name):
    outcome = build(name, quarantine_limit=0.2)
    assert outcome.books["rows_in"] == EXPECTED[name]["rows_in_footer"]
    assert outcome.books["dropped"] == {"unreadable_page": 50}
    (lost,) = refused(outcome.documents)
    assert (lost["row"], lost["rows"]) == (150, 50)
    assert "row group 3" in lost["detail"]


def test_damage_that_no_checksum_covers_changes_no_count(build):
    assert build("files/flipped_silent.parquet", quarantine_limit=1).books["rows_in"] == 400


def test_broken_lines_are_judged_one_by_one(build):
    outcome = build("jsonl/broken_lines.jsonl", source={"id": "id"}, quarantine_limit=1)
    assert outcome.ids() == EXPECTED["jsonl/broken_lines.jsonl"]["usable"]
    assert outcome.books["dropped"] == BROKEN_LINES
    assert outcome.books["rows_in"] == EXPECTED["jsonl/broken_lines.jsonl"]["lines"] - 2  # two are blank
    lines = (NASTY / "jsonl/broken_lines.jsonl").read_bytes().split(b"\n")
    raw = {row["row"]: row["raw"] for row in refused(outcome.documents) if row["reason"] != "null_text"}
    assert all(content == lines[number] for number, content in raw.items())


def test_a_gzip_stream_that_breaks_off_keeps_what_came_before(build):
    outcome = build("jsonl/truncated.jsonl.gz", quarantine_limit=0.01)
    assert outcome.books["dropped"] == {"truncated_stream": 1}
    assert outcome.books["rows_kept"] == 373
    assert build("jsonl/truncated.jsonl.gz").exit == 1


def test_a_zstd_frame_that_is_cut_is_one_error(build):
    outcome = build("jsonl/truncated.jsonl.zst")
    assert outcome.exit == 1
    assert "truncated_stream" in outcome.message


@pytest.mark.parametrize("name", of("unsupported"))
def test_a_json_array_is_refused_with_the_way_out(build, name):
    outcome = build(name)
    assert outcome.exit == 2
    assert "a JSON array, not JSON Lines" in outcome.message
    assert "jq" in outcome.message


def test_a_folder_as_people_leave_it_gives_its_documents_and_nothing_else(build):
    outcome = build("folder", source={"id": "id", "extra": ["source", "lang"]})
    names = [name for name in EXPECTED if name.startswith("folder/") and "rows" in EXPECTED[name]]
    assert outcome.books["rows_kept"] == sum(EXPECTED[name]["rows"] for name in names) == 36
    hive = [row for row in read(outcome.documents).to_pylist() if row["source_id"].startswith("h")]
    assert [(row["source"], row["lang"]) for row in hive] == [("web", "en")] * 6


@pytest.mark.parametrize("name", of("ignore"))
def test_what_writers_leave_behind_is_left_out_and_listed(name):
    from pipeline.ingest.discover import discover

    found = discover("web", [str(NASTY / "folder")])
    assert str(NASTY / name) not in [file.path for file in found.files]
    assert str(NASTY / name) in [path for path, _ in found.ignored]


def test_a_dangling_link_in_a_folder_is_an_unreadable_file(build, tmp_path):
    shutil.copytree(NASTY / "folder", tmp_path / "folder")
    os.chmod(tmp_path / "folder", 0o755)
    os.symlink("gone.parquet", tmp_path / "folder/broken_link.parquet")
    outcome = build(tmp_path / "folder")
    assert outcome.exit == 2
    assert "broken_link.parquet: a link to gone.parquet, which is not there" in outcome.message
    assert build(tmp_path / "folder", unreadable_files="quarantine").books["dropped"] == {"unreadable_file": 1}


def test_ids_are_carried_along_and_decide_nothing(build):
    outcome = build("rows/ids.parquet", "rows/ids_again.parquet", source={"id": "id"})
    assert outcome.books["rows_kept"] == 17
    assert outcome.ids().count("d0") == 4


def test_every_case_of_the_collection_is_tested_here():
    tested = {"ok", "ok_wrong_extension", "ok_if_recursive", "rows", "drift", "ignore", "unsupported"}
    tested |= {"unreadable", "partly_readable", "silent"}
    assert {case["kind"] for case in EXPECTED.values()} == tested
    singles = {name for name in of("unreadable", "partly_readable", "silent") if not name.startswith("files/")}
    assert singles - {"folder/broken_link.parquet"} == {"jsonl/truncated.jsonl.gz", "jsonl/truncated.jsonl.zst"}


@pytest.fixture(scope="module")
def big(tmp_path_factory):
    """The big cases, made by the collection's own script."""
    folder = tmp_path_factory.mktemp("big")
    script = NASTY / "build" / "build_nasty.py"
    subprocess.run([sys.executable, str(script), "--big", str(folder)], check=True, capture_output=True)
    return folder


@pytest.mark.slow
def test_huge_documents_and_many_tiny_ones_are_all_kept(big, build):
    rows = {path.name: pq.read_metadata(path).num_rows for path in big.glob("*.parquet")}
    assert rows.keys() >= {"one_20mb_document.parquet", "one_20mb_cjk.parquet", "half_million_tiny.parquet"}
    outcome = build(big)
    assert outcome.books["rows_kept"] == sum(rows.values())
    assert "dropped" not in outcome.books
    assert outcome.books["bytes_kept"] == sum(read(outcome.documents)["bytes"].to_pylist())
    table = read(outcome.documents)
    assert max(table["bytes"].to_pylist()) > 20_000_000
    distinct = len(set(table["doc_id"].to_pylist()))
    assert distinct == outcome.books["rows_kept"] - (100_000 - 1)
