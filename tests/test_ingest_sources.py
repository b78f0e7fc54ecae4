"""Before the first task: which files a source is, what is wrong with them, what names them, how they are cut."""

import gzip
import os
import pickle
import shutil

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import ConfigError, DataError
from pipeline.ingest import checksums
from pipeline.ingest.checksums import with_checksums
from pipeline.ingest.discover import discover
from pipeline.ingest.inspect import inspect_sources
from pipeline.ingest.plan import plan
from pipeline.ingest.sources import LOCAL, SourceFile, SourceFiles, SourceSpec, locate
from tests.conftest import read
from tests.ingested import ingest, write


def names(found, base):
    return [os.path.relpath(file.path, base) for file in found.files]


def inspect(*paths, unreadable_files="fail", **columns):
    return inspect_sources({"web": SourceSpec(paths=tuple(map(str, paths)), **columns)}, unreadable_files)


@pytest.fixture
def folder(tmp_path):
    """A folder as people leave it."""
    for name in ("b.parquet", "A.PARQUET", "nested dir/ü #1.parquet", "dir.parquet/p.parquet", "k=v/_k=v/p.parquet"):
        write(tmp_path / "raw" / name, [name])
    for name in ("_temporary/0/p.parquet", ".hidden.parquet", "x.parquet.tmp", "y.parquet~", ".x.parquet.crc"):
        write(tmp_path / "raw" / name, ["never read"])
    for name in ("_SUCCESS", "README.md", "manifest.json", "c.csv"):
        (tmp_path / "raw" / name).write_text("never read")
    (tmp_path / "raw/d.jsonl").write_text('{"text":"d"}\n')
    (tmp_path / "raw/e.JSONL.GZ").write_bytes(gzip.compress(b'{"text":"e"}\n', mtime=0))
    (tmp_path / "raw/empty").mkdir()
    return tmp_path / "raw"


TAKEN = ["A.PARQUET", "b.parquet", "d.jsonl", "dir.parquet/p.parquet", "e.JSONL.GZ", "k=v/_k=v/p.parquet"]
TAKEN += ["nested dir/ü #1.parquet"]


def test_a_folder_gives_what_is_readable_below_it_and_says_what_it_leaves_out(folder):
    found = discover("web", [str(folder)])
    assert names(found, folder) == TAKEN
    ignored = {os.path.relpath(path, folder): why for path, why in found.ignored}
    assert ignored["README.md"] == "neither Parquet nor JSON Lines, by its name"
    assert ignored["_temporary/0/p.parquet"].startswith("hidden")
    assert ignored["y.parquet~"].startswith("a draft")
    assert len(ignored) + len(found.files) == sum(len(files) for _, _, files in os.walk(folder))


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("*.parquet", ["b.parquet"]),
        ("**/*.parquet", [n for n in TAKEN if n.endswith(".parquet")]),
        ("**", TAKEN),
        ("*", [n for n in TAKEN if "/" not in n]),
        ("[a-c].parquet", ["b.parquet"]),
        ("[!a-c].jsonl", ["d.jsonl"]),
        ("?.jsonl", ["d.jsonl"]),
        ("*/*.parquet", ["dir.parquet/p.parquet", "nested dir/ü #1.parquet"]),
        ("nested dir/ü #1.parquet", ["nested dir/ü #1.parquet"]),
        ("*.csv", ["c.csv"]),
    ],
)
def test_globs_match_within_folders_and_two_stars_across(folder, pattern, expected):
    assert names(discover("web", [f"{folder}/{pattern}"]), folder) == expected


def test_a_name_with_the_signs_of_a_glob_in_it_is_a_name(tmp_path):
    write(tmp_path / "a[1].parquet", ["x"])
    assert names(discover("web", [str(tmp_path / "a[1].parquet")]), tmp_path) == ["a[1].parquet"]


def test_format_narrows_what_a_folder_gives(folder):
    assert names(discover("web", [str(folder)], "jsonl"), folder) == ["d.jsonl", "e.JSONL.GZ"]


def test_a_relative_path_and_a_file_url_are_local(folder, monkeypatch):
    monkeypatch.chdir(folder)
    assert locate("b.parquet") == locate(f"file://{folder}/b.parquet") == (LOCAL, str(folder / "b.parquet"))


def test_links_are_followed_once_and_dead_ones_are_told(folder):
    os.symlink(folder, folder / "loop")
    os.symlink(folder / "b.parquet", folder / "same.parquet")
    os.symlink("gone.parquet", folder / "dead.parquet")
    found = discover("web", [str(folder)])
    assert [name for name in names(found, folder) if name not in TAKEN] == ["dead.parquet"]
    with pytest.raises(ConfigError, match=r"dead\.parquet: a link to gone\.parquet, which is not there"):
        inspect(folder)
    with pytest.raises(ConfigError, match=r"is a link to gone\.parquet, which is not there"):
        inspect(folder / "dead.parquet")


def test_a_misspelled_path_is_an_error_with_the_nearest_name(folder):
    with pytest.raises(ConfigError, match=r"sources\.web: there is no file or folder .*raww; did you mean .*/raw\?"):
        inspect(folder.parent / "raww")
    with pytest.raises(ConfigError, match=r"there is no folder .*raww; did you mean .*/raw\?"):
        inspect(folder.parent / "raww/**/*.parquet")


def test_nothing_matched_is_an_error_that_says_what_lies_there(folder):
    with pytest.raises(ConfigError, match=r"matches no file"):
        inspect(folder / "*.arrow")
    with pytest.raises(ConfigError, match=r"holds no file at all, but none of \*\.parquet"):
        inspect(folder / "empty")
    (folder / "empty/one.csv").write_text("x")
    with pytest.raises(ConfigError, match=r"holds 1 of \.csv, but none of \*\.parquet"):
        inspect(folder / "empty")


def test_an_unknown_scheme_is_an_error():
    with pytest.raises(ConfigError, match=r"no file system for s4://"):
        inspect("s4://bucket/x.parquet")


def test_a_report_has_rows_bytes_and_row_groups_from_the_footers(tmp_path):
    write(tmp_path / "a.parquet", ["x" * 100] * 10, row_group_size=4)
    (file,) = inspect(tmp_path / "a.parquet").sources["web"].files
    assert [rows for rows, _ in file.groups] == [4, 4, 2]
    assert file.rows == 10
    assert file.text_bytes > 0


@pytest.mark.parametrize(
    ("columns", "options", "message"),
    [
        ({"content": ["a"]}, {}, r"no column 'text'; it has: content"),
        ({"TEXT": ["a"]}, {}, r"no column 'text'; did you mean 'TEXT'\?"),
        ({"txt": ["a"]}, {}, r"no column 'text'; did you mean 'txt'\?"),
        ({"text": [["a", "b"]]}, {}, r"'text' is of type list<.*>; text must be a string or binary column"),
        ({"text": [None]}, {}, r"'text' is of type null"),
        ({"text": [5]}, {}, r"'text' is of type int64"),
        ({"text": ["a"]}, {"id": "id"}, r"no column 'id'"),
        ({"text": ["a"], "id": [{"x": 1}]}, {"id": "id"}, r"'id' is of type struct<.*>; an id must be one value"),
        ({"text": ["a"]}, {"extra": ("lang",)}, r"extra: no file has a column 'lang'"),
    ],
)
def test_wrong_columns_are_one_error_before_anything_runs(tmp_path, columns, options, message):
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    with pytest.raises(ConfigError, match=message):
        inspect(tmp_path, **options)
    with pytest.raises(ConfigError, match=message):  # quarantine is for files nobody can read, not for these
        inspect(tmp_path, unreadable_files="quarantine", **options)


def test_two_columns_of_the_asked_name_are_refused_and_of_another_name_are_not(tmp_path):
    table = pa.Table.from_arrays([pa.array(["a"])] * 3, names=["text", "other", "other"])
    pq.write_table(table, tmp_path / "a.parquet")
    assert inspect(tmp_path / "a.parquet").sources["web"].rows == 1
    pq.write_table(pa.Table.from_arrays([pa.array(["a"])] * 2, names=["text", "text"]), tmp_path / "a.parquet")
    with pytest.raises(ConfigError, match="2 columns are called 'text'"):
        inspect(tmp_path / "a.parquet")


def test_one_error_lists_ten_files_of_many_and_what_to_do(tmp_path):
    for index in range(25):
        (tmp_path / f"{index:02}.parquet").write_bytes(b"broken")
        write(tmp_path / f"good-{index}.parquet", ["x"])
    with pytest.raises(ConfigError) as caught:
        inspect(tmp_path)
    lines = str(caught.value).splitlines()
    assert lines[0] == "sources.web: 25 of 50 files cannot be read:"
    assert "... and 15 more" in lines[11]
    assert "ingest.unreadable_files: quarantine" in lines[12]
    assert len(lines) == 13
    assert inspect(tmp_path, unreadable_files="quarantine").notes == (
        "sources.web: 25 files cannot be read: quarantined",
    )


def test_unreadable_files_that_the_recipe_puts_aside_are_in_the_books_and_beyond_the_limit(tmp_path):
    write(tmp_path / "raw/a.parquet", ["x"])
    (tmp_path / "raw/b.parquet").write_bytes(b"broken")
    corpus = ingest(tmp_path / "out", {"web": tmp_path / "raw"}, unreadable_files="quarantine")
    assert corpus.manifest.ledger["web"]["dropped"] == {"unreadable_file": 1}
    assert corpus.manifest.rows == 1


def test_misnamed_keys_of_json_lines_are_found_before_anything_runs(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"content":"x"}\n' * 3)
    with pytest.raises(ConfigError, match=r"no column 'text'; it has: content"):
        inspect(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b' [\n{"text":"a"}]', "a JSON array, not JSON Lines"),
        ('{"text":"a"}\n'.encode("utf-16"), "begins as UTF-16 does"),
        (b"col1,col2\n", "neither Parquet nor JSON Lines"),
        (gzip.compress(b"hello\n", mtime=0), "neither Parquet nor JSON Lines"),
        (b"PARE" + b"x" * 50, "neither Parquet"),
    ],
)
def test_a_named_file_that_is_neither_kind_is_refused(tmp_path, content, message):
    (tmp_path / "named").write_bytes(content)
    with pytest.raises(ConfigError, match=message):
        inspect(tmp_path / "named")


def test_one_file_in_two_domains_is_refused_unless_they_read_other_columns(tmp_path):
    write(tmp_path / "a.parquet", ["x"], title=["y"])
    paths = (str(tmp_path / "a.parquet"),)
    with pytest.raises(ConfigError, match=r"sources\.b: .*a\.parquet belongs to sources\.a too"):
        inspect_sources({"a": SourceSpec(paths=paths), "b": SourceSpec(paths=paths)})
    inspect_sources({"a": SourceSpec(paths=paths), "b": SourceSpec(paths=paths, text="title")})


def test_a_fingerprint_is_of_bytes_and_not_of_names_or_order(tmp_path):
    write(tmp_path / "one/a.parquet", ["a"])
    write(tmp_path / "one/b.parquet", ["b"])
    (tmp_path / "two").mkdir()
    shutil.copy(tmp_path / "one/a.parquet", tmp_path / "two/z.parquet")
    shutil.copy(tmp_path / "one/b.parquet", tmp_path / "two/y.parquet")
    prints = [with_checksums(inspect(tmp_path / name).sources, {})["web"].fingerprint for name in ("one", "two")]
    assert prints[0] == prints[1]
    write(tmp_path / "two/y.parquet", ["c"])
    assert with_checksums(inspect(tmp_path / "two").sources, {})["web"].fingerprint != prints[0]


def test_values_that_only_the_path_knows_are_part_of_the_fingerprint(tmp_path):
    write(tmp_path / "one/lang=en/a.parquet", ["a"])
    write(tmp_path / "two/lang=de/a.parquet", ["a"])
    sources = [inspect(tmp_path / name, extra=("lang",)).sources for name in ("one", "two")]
    prints = {with_checksums(each, {})["web"].fingerprint for each in sources}
    assert len(prints) == 2


def test_a_cached_checksum_spares_the_reading_until_the_file_is_touched(tmp_path, monkeypatch):
    path = write(tmp_path / "a.parquet", ["a"])
    cache: dict = {}
    first = with_checksums(inspect(path).sources, cache)
    hashed = []
    real = checksums._hash
    monkeypatch.setattr(checksums, "_hash", lambda file: hashed.append(file.path) or real(file))
    assert with_checksums(inspect(path).sources, cache) == first
    assert hashed == []
    write(path, ["b"])
    assert with_checksums(inspect(path).sources, cache) != first
    assert hashed == [str(path)]


def test_a_file_that_vanishes_before_it_is_hashed_is_an_error(tmp_path):
    path = write(tmp_path / "a.parquet", ["a"])
    report = inspect(path)
    path.unlink()
    with pytest.raises(DataError, match=r"a\.parquet cannot be read"):
        with_checksums(report.sources, {})


def fake(index, size, kind="jsonl", groups=()):
    digest = f"{index:032x}"
    return SourceFile(LOCAL, f"/f{index}", size, 0, kind=kind, groups=groups, checksum=digest)


def jobs(files, target=64 << 20):
    return {task.key: task.payload for task in plan({"web": SourceFiles("web", tuple(files))}, target)}


def test_a_large_file_is_many_tasks_of_whole_row_groups_that_cover_it():
    file = fake(1, 40 << 30, "parquet", ((1000, 5 << 20),) * 8192)
    pieces = sorted((job.pieces[0] for job in jobs([file]).values()), key=lambda piece: piece.first)
    assert 600 < len(pieces) < 720
    assert [piece.first for piece in pieces[1:]] == [piece.last for piece in pieces[:-1]]
    assert (pieces[0].first, pieces[-1].last) == (0, 8192)
    assert all(piece.first_row == piece.first * 1000 for piece in pieces)
    assert len(pickle.dumps(pieces[0])) < 2000


def test_a_hundred_thousand_tiny_files_are_few_tasks_of_all_of_them():
    tasks = jobs(fake(i, 2000) for i in range(100_000))
    assert 100 < len(tasks) < 400
    found = [piece.file.path for job in tasks.values() for piece in job.pieces]
    assert len(found) == len(set(found)) == 100_000
    assert max(len(job.pieces) for job in tasks.values()) < 1600


@settings(deadline=None, max_examples=15)
@given(st.integers(0, 3000))
def test_one_more_file_changes_the_group_it_falls_into_and_hardly_another(index):
    files = [fake(i, 2000) for i in range(1500)]
    before = set(jobs(files, 1 << 20))
    after = set(jobs([*files, fake(10_000 + index, 2000)], 1 << 20))
    assert len(before) > 50
    assert len(before - after) <= 4


def test_tasks_do_not_depend_on_names_or_order():
    files = [fake(i, 3_000_000) for i in range(300)]
    names = [f"/{900 - i}" for i in range(300)]
    pairs = zip(files, names, strict=True)
    renamed = [SourceFile(LOCAL, name, f.size, 1, kind=f.kind, checksum=f.checksum) for f, name in pairs]
    assert list(jobs(files)) == list(jobs(renamed[::-1]))


def test_domains_with_odd_names_make_plain_and_distinct_keys():
    files = {name: SourceFiles(name, (fake(1, 10),)) for name in ("a b", "a_b", "ü/..", "x.y")}
    keys = [task.key for task in plan(files, 1000)]
    assert len(set(keys)) == 4
    assert all(key.replace("-", "").replace("_", "").isalnum() and key.isascii() for key in keys)


def test_sources_on_any_fsspec_file_system_are_read(tmp_path):
    system = fsspec.filesystem("memory")
    system.store.clear()
    for name in ("a.parquet", "nested dir/ü #1.parquet", "_SUCCESS", "b.jsonl.gz"):
        local = write(tmp_path / name, [f"text of {name}"])
        content = gzip.compress(b'{"text":"text of b"}\n', mtime=0) if name.endswith("gz") else local.read_bytes()
        system.pipe(f"/corpus/{name}", content)
    for path in ("memory://corpus", "memory://corpus/**"):
        corpus = ingest(tmp_path / path.replace("/", "_").replace("*", "x"), {"web": path})
        expected = {"text of a.parquet", "text of nested dir/ü #1.parquet", "text of b"}
        assert set(read(corpus)["text"].to_pylist()) == expected
    with pytest.raises(ConfigError, match="there is no file or folder memory://corpsu"):
        inspect("memory://corpsu")


def test_sources_on_s3_are_read(tmp_path, bucket):
    bucket.put(write(tmp_path / "a.parquet", ["on s3"]), "in/x=y/a b #1.parquet")
    for index, key in enumerate(("in", "in/**/*.parquet", "in/x=y/a b #1.parquet")):
        corpus = ingest(tmp_path / f"out{index}", {"web": bucket.url(key)}, extra=("x",))
        assert read(corpus).select(["text", "x"]).to_pylist() == [{"text": "on s3", "x": "y"}]
