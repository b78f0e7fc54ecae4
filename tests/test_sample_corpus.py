"""The sample: small archives made here stand in for the pinned ones; one slow test fetches the real ones."""

import bz2
import hashlib
import io
import json
import tarfile
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline import store
from pipeline.errors import LockedError, PipelineError
from pipeline.samples import corpus as module
from pipeline.samples.corpus import sample
from pipeline.samples.readers import plain_wiki
from pipeline.samples.sources import ARCHIVES, Archive, Take

DOCS = Take("docs", "en", "MIT", "pages", "docs/", (".txt",))
CODE = Take("code", "python", "MIT", "modules", "small/", (".py",), ("tests",))
WIKI = Take("reference", "en", "CC-BY-SA-3.0", "articles", "data/wiki", (".bz2",), reader="wiki")
FACTS = Take("reference", "en", "public domain", "chapters", "facts/", (".json",), reader="factbook")
BILLS = Take(
    "multilingual", "ko", "CC-BY-4.0", "bills", "data/bill", ("bills.parquet", "bill_texts.parquet"), reader="bills"
)

FILES = {
    "LICENSE": b"Do as you like.\n",
    "docs/index.txt": b"The front page.\n",
    "docs/guide.txt": "Größer als man denkt.\r\n".encode(),
    "docs/blank.txt": b" \n\t\n",
    "docs/latin.txt": "Größe".encode("latin-1"),
    "docs/nul.txt": b"a\0b",
    "docs/picture.png": b"\x89PNG",
    "small/__init__.py": b"",
    "small/core.py": b"x = 1\n",
    "small/tests/test_core.py": b"assert True\n",
    "setup.py": b"raise SystemExit('the archive was run')\n",
}

WIKI_PAGES = """<mediawiki xmlns="http://www.mediawiki.org/xml/export-0.10/">
<page><title>Old</title><ns>0</ns><redirect title="New" /><revision><text>#REDIRECT [[New]]</text></revision></page>
<page><title>Talk:New</title><ns>1</ns><revision><text>Chatter</text></revision></page>
<page><title>New</title><ns>0</ns><revision><text>'''New''' is [[age|not old]].</text></revision></page>
</mediawiki>"""


def parquet(**columns: list) -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.table(columns), sink)
    return sink.getvalue()


BILL_FILES = {
    "data/bills.parquet": parquet(BILL_ID=["b", "a", "old"], BILL_NAME=["둘", "하나", "옛"], AGE=[22, 22, 20]),
    "data/bill_texts.parquet": parquet(BILL_ID=["a", "b", "old"], propose_reason=["까닭", None, "옛 까닭"]),
    "data/proposers.parquet": b"not read",
}


def archive_of(folder: Path, files: dict[str, bytes], takes: tuple[Take, ...] = (DOCS, CODE), **members) -> Archive:
    """Write small-1.0.tar.gz of `files` below one top folder, and of tar members with names of their own."""
    path = folder / "small-1.0.tar.gz"
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz") as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(f"small-1.0/{name}")
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
        for info, content in members.get("raw", []):
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    return Archive("small", "1.0", path.name, sha256, "MIT", ("LICENSE",) if "LICENSE" in files else (), takes)


def fetch_from(folder: Path, calls: list | None = None):
    def fetch(archives, target, tell):
        if calls is not None:
            calls.append([archive.filename for archive in archives])
        for archive in archives:
            (target / archive.filename).write_bytes((folder / archive.filename).read_bytes())

    return fetch


def make(tmp_path: Path, files: dict[str, bytes] = FILES, takes: tuple[Take, ...] = (DOCS, CODE), name="out", **raw):
    archive = archive_of(tmp_path / "index", files, takes, **raw)
    fetch = fetch_from(tmp_path / "index")
    return sample(tmp_path / name, lambda line: None, archives=[archive], fetch=fetch)


def rows(folder: Path) -> list[dict]:
    return [row for path in sorted(folder.rglob("*.parquet")) for row in pq.ParquetFile(path).read().to_pylist()]


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_document_is_a_file_with_its_place_language_and_licence(tmp_path):
    make(tmp_path)
    assert rows(tmp_path / "out" / "code") == [
        {
            "id": "small/1.0/small/core.py",
            "text": "x = 1\n",
            "source": "code",
            "url": "pypi:small==1.0/small/core.py",
            "lang": "python",
            "licence": "MIT",
        }
    ]
    assert [row["id"] for row in rows(tmp_path / "out" / "docs")] == [
        "small/1.0/docs/guide.txt",
        "small/1.0/docs/index.txt",
    ]


def test_text_is_kept_byte_for_byte(tmp_path):
    make(tmp_path)
    assert rows(tmp_path / "out" / "docs")[0]["text"].encode() == FILES["docs/guide.txt"]


def test_what_is_no_text_is_left_out_and_counted(tmp_path):
    make(tmp_path)
    described = json.loads((tmp_path / "out" / "sample.json").read_text())
    assert described["left_out"] == {"binary": 1, "blank": 2, "not UTF-8": 1}


def test_the_summary_counts_rows_and_bytes_by_domain(tmp_path):
    summary = make(tmp_path)
    assert summary.rows == {"code": 1, "docs": 2}
    assert summary.bytes == {"code": 6, "docs": len(FILES["docs/guide.txt"]) + len(FILES["docs/index.txt"])}
    assert summary.path == tmp_path / "out"
    assert summary.made


def test_a_domain_of_several_documents_is_cut_into_several_shards(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "SHARD_BYTES", 400)
    files = {f"docs/{index:02d}.txt": b"word " * (7 if index else 300) for index in range(40)}
    make(tmp_path, files, (DOCS,))
    shards = sorted((tmp_path / "out" / "docs").iterdir())
    assert [shard.name for shard in shards] == [f"part-{index:05d}.parquet" for index in range(len(shards))]
    assert len(shards) == 8
    assert all(pq.ParquetFile(shard).metadata.num_rows for shard in shards)
    assert [row["id"] for row in rows(tmp_path / "out")] == [f"small/1.0/docs/{index:02d}.txt" for index in range(40)]


def test_two_runs_write_the_same_bytes(tmp_path):
    make(tmp_path, name="one")
    make(tmp_path, name="two")
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


def test_the_order_inside_an_archive_changes_nothing_but_its_sha256(tmp_path):
    make(tmp_path, name="one")
    make(tmp_path, dict(reversed(FILES.items())), name="two")
    one, two = contents(tmp_path / "one"), contents(tmp_path / "two")
    assert {name for name in one if one[name] != two[name]} <= {"sample.json", "LICENSES.md"}


def test_licences_are_listed_and_notices_copied(tmp_path):
    make(tmp_path)
    listed = (tmp_path / "out" / "LICENSES.md").read_text()
    assert "## small 1.0" in listed
    assert "- licence of the package: MIT" in listed
    assert "- docs (en): pages; 2 documents, 41 bytes; licence MIT" in listed
    assert (tmp_path / "out" / "licences" / "small-1.0-LICENSE.txt").read_bytes() == FILES["LICENSE"]
    assert "`licences/small-1.0-LICENSE.txt`" in listed


def test_a_second_call_finds_the_sample_and_fetches_nothing(tmp_path):
    archive = archive_of(tmp_path / "index", FILES)
    calls, lines = [], []
    for _ in range(2):
        summary = sample(
            tmp_path / "out", lines.append, archives=[archive], fetch=fetch_from(tmp_path / "index", calls)
        )
    assert calls == [["small-1.0.tar.gz"]]
    assert not summary.made
    assert summary.rows == {"code": 1, "docs": 2}
    assert "already there" in lines[-1]


def test_a_changed_shard_is_noticed_and_named(tmp_path):
    make(tmp_path)
    shard = tmp_path / "out" / "docs" / "part-00000.parquet"
    shard.write_bytes(shard.read_bytes()[:-1])
    with pytest.raises(PipelineError, match=r"docs/part-00000.parquet is missing or was changed"):
        make(tmp_path)


def test_a_sample_of_other_archives_is_not_taken_for_this_one(tmp_path):
    make(tmp_path)
    with pytest.raises(PipelineError, match="out of other archives"):
        make(tmp_path, FILES | {"docs/more.txt": b"More.\n"})


@pytest.mark.parametrize("text", ["", "{}", "[]", "{"])
def test_a_broken_description_is_a_clear_error(tmp_path, text):
    make(tmp_path)
    (tmp_path / "out" / "sample.json").write_text(text)
    with pytest.raises(PipelineError, match=r"sample\.json cannot be read"):
        make(tmp_path)


def test_a_folder_that_holds_something_else_is_refused_and_left_alone(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    with pytest.raises(PipelineError, match="is no sample"):
        make(tmp_path)
    assert contents(tmp_path / "out") == {"mine.txt": b"mine"}
    with pytest.raises(PipelineError, match="is no sample"):
        make(tmp_path, name="out/mine.txt")


def test_an_empty_folder_is_filled(tmp_path):
    (tmp_path / "out").mkdir()
    assert make(tmp_path).rows == {"code": 1, "docs": 2}


def test_an_archive_with_another_sha256_is_refused_and_nothing_is_left(tmp_path):
    archive = replace(archive_of(tmp_path / "index", FILES), sha256="0" * 64)
    with pytest.raises(PipelineError, match="not the archive that is pinned"):
        sample(tmp_path / "out", lambda line: None, archives=[archive], fetch=fetch_from(tmp_path / "index"))
    assert [path.name for path in tmp_path.iterdir()] == ["index"]


def test_an_archive_that_is_no_tar_is_a_clear_error(tmp_path):
    archive = archive_of(tmp_path / "index", FILES)
    broken = (tmp_path / "index" / archive.filename).read_bytes()[:200]
    (tmp_path / "index" / archive.filename).write_bytes(broken)
    archive = replace(archive, sha256=hashlib.sha256(broken).hexdigest())
    with pytest.raises(PipelineError, match="cannot be read as a tar archive"):
        sample(tmp_path / "out", lambda line: None, archives=[archive], fetch=fetch_from(tmp_path / "index"))


def test_an_archive_without_its_notice_is_refused(tmp_path):
    archive = replace(archive_of(tmp_path / "index", FILES), notices=("COPYING",))
    with pytest.raises(PipelineError, match="holds no COPYING"):
        sample(tmp_path / "out", lambda line: None, archives=[archive], fetch=fetch_from(tmp_path / "index"))


def test_paths_that_leave_the_archive_and_links_lead_nowhere(tmp_path):
    secret = tmp_path / "secret.txt"
    secret.write_text("secret")
    climbing = tarfile.TarInfo("small-1.0/docs/../../../escaped.txt")
    absolute = tarfile.TarInfo(f"/docs/docs/{tmp_path}/escaped.txt")
    link = tarfile.TarInfo("small-1.0/docs/link.txt")
    link.type, link.linkname = tarfile.SYMTYPE, str(secret)
    make(tmp_path, raw=[(climbing, b"out"), (absolute, b"out"), (link, b"")])
    assert [row["text"] for row in rows(tmp_path / "out" / "docs")] == [
        "Größer als man denkt.\r\n",
        "The front page.\n",
    ]
    assert not list(tmp_path.rglob("escaped.txt"))
    assert json.loads((tmp_path / "out" / "sample.json").read_text())["left_out"]["unsafe path"] >= 2


@pytest.mark.parametrize("moment", ["fetch", "read_archive", "_write_shard", "licences", "rename"])
def test_an_interrupt_at_any_step_leaves_nothing_half(tmp_path, monkeypatch, moment):
    archive = archive_of(tmp_path / "index", FILES)

    def interrupt(*_):
        raise KeyboardInterrupt

    fetch = interrupt if moment == "fetch" else fetch_from(tmp_path / "index")
    with monkeypatch.context() as patch:
        if moment == "rename":
            patch.setattr(module.os, "rename", interrupt)
        elif moment != "fetch":
            patch.setattr(module, moment, interrupt)
        with pytest.raises(KeyboardInterrupt):
            sample(tmp_path / "out", lambda line: None, archives=[archive], fetch=fetch)
    assert [path.name for path in tmp_path.iterdir()] == ["index"]
    assert make(tmp_path).made


def test_what_a_killed_run_left_is_swept_by_the_next(tmp_path):
    left = tmp_path / ".out.partial"
    (left / "sample" / "docs").mkdir(parents=True)
    (left / "sample" / "docs" / "part-00009.parquet").write_bytes(b"half")
    make(tmp_path)
    make(tmp_path, name="other")
    assert contents(tmp_path / "out") == contents(tmp_path / "other")
    assert not left.exists()


def test_a_second_process_at_the_same_folder_is_told_so(tmp_path):
    with store.lock(tmp_path / ".out.partial", "test"), pytest.raises(LockedError, match="another process is making"):
        make(tmp_path)


def test_a_missing_index_is_a_clear_error(tmp_path, monkeypatch):
    for name, value in {
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(tmp_path),
        "PIP_CONFIG_FILE": "/dev/null",
        "PIP_RETRIES": "0",
    }.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(PipelineError, match=r"pip found no Django-4\.2\.17\.tar\.gz") as caught:
        sample(tmp_path / "out", lambda line: None)
    assert "run this again" in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_pip_fetches_a_source_archive_without_running_it(tmp_path, monkeypatch):
    archive = archive_of(tmp_path / "index", FILES)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "index"))
    assert sample(tmp_path / "out", lambda line: None, archives=[archive]).rows == {"code": 1, "docs": 2}


def test_wiki_articles_are_read_without_redirects_and_other_namespaces(tmp_path):
    make(tmp_path, {"data/wiki.xml.bz2": bz2.compress(WIKI_PAGES.encode())}, (WIKI,))
    [row] = rows(tmp_path / "out")
    assert row["id"] == "small/1.0/data/wiki.xml.bz2#New"
    assert row["text"] == "New\n\nNew is not old.\n"


@pytest.mark.parametrize(
    ("markup", "prose"),
    [
        ("", ""),
        ("'''Bold''' and ''italic''", "Bold and italic"),
        ("a{{cite|{{nested|x}}|y}}b", "ab"),
        ("a [[target|label]] and [[plain]]s", "a label and plains"),
        ("[[File:x.png|thumb|A [[cat]] sits]]Text", "Text"),
        ("[[Category:Cats]]\n[[de:Katze]]", ""),
        ("fact<ref name=a>{{cite}}</ref><ref name=b/>.", "fact."),
        ("<!-- hidden\n -->seen", "seen"),
        ("{| class=x\n| cell {{t}}\n|}\nafter", "after"),
        ("== Heading ==\ntext", "Heading\ntext"),
        ("see [http://example.org the page] now", "see the page now"),
        ("1&nbsp;km<br/> &amp; more", "1 km & more"),
        ("* {{only}}\n* kept\n", "* kept"),
        ("one\n\n\n\n\ntwo", "one\n\ntwo"),
    ],
)
def test_wiki_markup_becomes_prose(markup, prose):
    assert plain_wiki(markup) == prose


def test_a_factbook_chapter_is_one_document_of_field_lines(tmp_path):
    chapters = {
        "Introduction": {"Background": {"text": "<p>An <b>old</b> land &amp; sea.</p>"}},
        "Economy": {"Growth": {"2024": {"text": "1%"}, "2023": {"text": ""}, "note": "<b>note:</b> a guess"}},
        "Government": {"Country name": {"conventional short form": {"text": "Ruritania"}}},
        "Terrorism": {},
    }
    make(tmp_path, {"facts/europe/rr.json": json.dumps(chapters).encode()}, (FACTS,))
    texts = {row["id"].rpartition("#")[2]: row["text"] for row in rows(tmp_path / "out")}
    assert texts["Introduction"] == "Ruritania: Introduction\n\nBackground: An old land & sea.\n"
    assert texts["Economy"] == "Ruritania: Economy\n\nGrowth\n2024: 1%\nnote: a guess\n"
    assert "Terrorism" not in texts


def test_bills_are_those_of_one_assembly_with_a_reason(tmp_path):
    make(tmp_path, BILL_FILES, (BILLS,))
    [row] = rows(tmp_path / "out")
    assert row["id"] == "small/1.0/data/bill_texts.parquet#a"
    assert row["text"] == "하나\n\n까닭\n"
    assert (row["source"], row["lang"], row["licence"]) == ("multilingual", "ko", "CC-BY-4.0")


def test_every_pinned_archive_has_a_sha256_a_licence_and_a_notice_or_a_credit():
    for archive in ARCHIVES:
        assert len(archive.sha256) == 64
        assert archive.filename.endswith(f"-{archive.version}.tar.gz")
        assert archive.licence
        assert archive.notices or archive.credit


def test_an_archive_that_gives_nothing_for_a_domain_is_refused(tmp_path):
    with pytest.raises(PipelineError, match=r"gave no document for code \(python\)"):
        make(tmp_path, {"docs/index.txt": b"Only a page.\n"})


@pytest.mark.slow
def test_the_real_sample_has_four_domains_and_enough_text(tmp_path):
    summary = sample(tmp_path / "sample")
    assert set(summary.rows) == {"docs", "code", "reference", "multilingual"}
    assert sum(summary.bytes.values()) > 60_000_000
    assert min(summary.bytes.values()) > 5_000_000
    assert min(summary.rows.values()) > 1_000
    assert sum(1 for _ in rows(tmp_path / "sample")) == sum(summary.rows.values())
    languages = {row["lang"] for row in rows(tmp_path / "sample" / "multilingual")}
    assert languages >= {"ko", "ru", "zh", "ja", "pt", "fr"}
    assert all(len(list((tmp_path / "sample" / domain).iterdir())) > 1 for domain in summary.rows)
    pages = {row["id"]: row["text"] for row in rows(tmp_path / "sample" / "docs") if row["id"].startswith("django/")}
    old, new = (pages[f"django/{version}/docs/topics/db/models.txt"] for version in ("4.2.17", "5.1.4"))
    assert old != new
    assert len(set(old.split("\n")) & set(new.split("\n"))) > 0.9 * len(set(old.split("\n")))
    assert not sample(tmp_path / "sample").made
