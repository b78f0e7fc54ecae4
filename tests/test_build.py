"""The promises of a build on the whole road: same bytes, nothing twice, decisions that know no place."""

import json
import shutil
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from tokenizers import Tokenizer, models

import pipeline
from pipeline import builds, cli, plans, store
from pipeline.config import Profile
from pipeline.errors import ConfigError, DataError, LockedError
from pipeline.recipe import Recipe
from tests.conftest import read
from tests.corpora import Row, raw_rows, road, tree, write_file, write_raw


class Heard:
    """Remembers which steps ran, which were kept, and how many shards each of them made anew."""

    def __init__(self):
        self.kept: list[str] = []
        self.ran: list[str] = []

    def start(self, steps, notes):
        pass

    def begin(self, step, index, total):
        pass

    def shard(self, done, total, record):
        pass

    def end(self, step, corpus, *, kept, seconds):
        (self.kept if kept else self.ran).append(step.name)


def build(root: Path, recipe: dict, **profile: object) -> tuple[builds.Build, Heard]:
    heard = Heard()
    built = pipeline.build(Recipe(**recipe), Profile(root=root, **({"workers": 1} | profile)), watcher=heard)
    return built, heard


@pytest.fixture(scope="module")
def raw(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("raw")
    write_raw(root, raw_rows())
    return root


@pytest.fixture(scope="module")
def first(raw, tmp_path_factory) -> builds.Build:
    return build(tmp_path_factory.mktemp("first"), road(raw))[0]


def decisions(built: builds.Build, step: str = "select") -> Counter:
    """Return how often each (text, kept, reason) was decided; what a place cannot change."""
    documents, mask = read(built["documents"]), read(built[step])
    return Counter(
        zip(
            documents["doc_id"].to_pylist(),
            mask["keep"].to_pylist(),
            mask["reason"].to_pylist(),
            strict=True,
        )
    )


def sequences(built: builds.Build) -> list[bytes]:
    return [path.read_bytes() for path in built["sequences"].paths()]


def test_the_road_reaches_its_end_and_the_books_balance_at_every_step(first):
    rows = first["documents"].manifest.rows
    assert rows == 288
    for step in ("exact", "near", "select"):
        books = first[step].manifest.ledger
        assert sum(b["rows_in"] for b in books.values()) == rows
        rows = sum(b["rows_kept"] for b in books.values())
    assert first["exact"].manifest.ledger["prose"]["dropped"] == {"exact_duplicate": 12}
    assert first["near"].manifest.ledger["prose"]["dropped"]["near_duplicate"] >= 10
    assert first["sequences"].manifest.rows * 128 >= 30_000


@pytest.mark.parametrize("workers", [2, 3])
def test_bytes_do_not_depend_on_the_number_of_workers(raw, first, tmp_path, workers):
    build(tmp_path / "many", road(raw), workers=workers)
    ours, theirs = tree(first.folder.parent.parent / "corpora"), tree(tmp_path / "many/corpora")
    assert ours.keys() == theirs.keys()
    assert [name for name in ours if ours[name] != theirs[name]] == []


@pytest.mark.ray
def test_ray_and_the_local_runner_write_the_same_bytes(raw, first, tmp_path):
    build(tmp_path / "ray", road(raw), runner="ray", workers=2)
    ours, theirs = tree(first.folder.parent.parent), tree(tmp_path / "ray")
    ours, theirs = ({n: b for n, b in t.items() if n.startswith("corpora/")} for t in (ours, theirs))
    assert ours.keys() == theirs.keys()
    assert [name for name in ours if ours[name] != theirs[name]] == []


def test_a_second_build_runs_nothing(raw, tmp_path):
    build(tmp_path, road(raw, quality=None, tokens=None, mixture=None))
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "corpora").rglob("*")}
    _, heard = build(tmp_path, road(raw, quality=None, tokens=None, mixture=None))
    assert heard.ran == []
    assert {p: p.stat().st_mtime_ns for p in (tmp_path / "corpora").rglob("*")} == before


def test_one_changed_parameter_runs_exactly_what_depends_on_it(raw, first):
    root = first.folder.parent.parent
    changed = road(raw, mixture={"weights": "natural"})
    _, heard = build(root, changed)
    assert heard.ran == ["plan", "sequences", "megatron"]
    changed = road(raw, dedup={"threshold": 0.9})
    _, heard = build(root, changed)
    assert heard.kept == ["documents", "exact", "bands", "candidates"]


def shards_made_anew(before: store.Corpus, after: store.Corpus) -> int:
    old = {path.stat().st_ino for path in before.paths()}
    return sum(path.stat().st_ino not in old for path in after.paths())


def test_a_changed_file_runs_its_own_shards_of_the_map_stages_again(tmp_path):
    rows = raw_rows(60)
    write_raw(tmp_path / "raw", rows, files=1)
    recipe = road(tmp_path / "raw", quality=None, mixture=None, tokens=None, ingest={"shard_mb": 1})
    before, _ = build(tmp_path / "out", recipe)
    write_file(tmp_path / "raw/notes/0.parquet", [*rows["notes"], ("new", "a new document of a few words")])
    after, heard = build(tmp_path / "out", recipe)
    assert "documents" in heard.ran
    assert shards_made_anew(before["documents"], after["documents"]) == 1
    assert shards_made_anew(before["bands"], after["bands"]) == 1


def rearranged(domains: dict[str, list[Row]], how: str, root: Path) -> None:
    """Write the same rows in other files."""
    for domain, rows in domains.items():
        if how == "renamed":
            for number, start in enumerate(range(0, len(rows), 50)):
                write_file(root / domain / f"z{9 - number}.parquet", rows[start : start + 50])
        elif how == "reordered":
            write_file(root / domain / "all.parquet", rows[::-1])
        elif how == "split":
            for number, row in enumerate(rows):
                write_file(root / domain / f"{number:04}/x.parquet", [row])


@pytest.mark.parametrize("how", ["renamed", "reordered", "split"])
def test_no_decision_and_no_sequence_depends_on_how_files_are_cut_or_called(first, tmp_path, how):
    rearranged(raw_rows(), how, tmp_path / "raw")
    recipe = road(tmp_path / "raw")
    moved, _ = build(tmp_path / "out", recipe)
    assert decisions(moved) == decisions(first)
    assert sequences(moved) == sequences(first)


def test_a_further_file_changes_no_decision_about_the_other_documents(raw, tmp_path):
    bare = {"quality": None, "mixture": None, "tokens": None}
    before, _ = build(tmp_path / "out", road(raw, **bare))
    shutil.copytree(raw, tmp_path / "raw")
    write_file(tmp_path / "raw/notes/0-first.parquet", [("x", "quite another text that nobody has written before")])
    after, _ = build(tmp_path / "out", road(tmp_path / "raw", **bare))
    assert decisions(after, "near") - decisions(before, "near") == Counter(
        {key: 1 for key in decisions(after, "near") if key not in decisions(before, "near")}
    )
    assert not decisions(before, "near") - decisions(after, "near")


def test_a_damaged_corpus_is_built_again_and_plan_says_so(raw, tmp_path):
    recipe = road(raw, quality=None, mixture=None, tokens=None)
    built, _ = build(tmp_path, recipe)
    good = tree(tmp_path / "corpora")
    victim = next(built["bands"].paths())
    victim.write_bytes(victim.read_bytes()[:-9])
    planned = pipeline.plan(Recipe(**recipe), Profile(root=tmp_path)).table()
    assert [(r["step"], r["why"].split(":")[0]) for r in planned if r["state"] == "run"] == [("bands", "damaged")]
    _, heard = build(tmp_path, recipe)
    assert heard.ran == ["bands"]
    assert tree(tmp_path / "corpora") == good


def test_a_second_build_on_one_root_refuses_and_names_the_holder(raw, tmp_path):
    with store.lock(tmp_path, "build 'other'"), pytest.raises(LockedError, match=r"held by another build \(build 'ot"):
        build(tmp_path, road(raw))


def test_a_raised_quarantine_limit_goes_on_with_what_was_read_and_a_lowered_one_refuses_it(tmp_path):
    write_file(tmp_path / "raw/notes/a.parquet", [("1", "good"), ("2", " ")])
    recipe = road(tmp_path / "raw", dedup=None, quality=None, mixture=None, tokens=None)
    with pytest.raises(DataError, match=r"(?s)1 of 2 rows.*blank_text.*set ingest.quarantine_limit to 0.5"):
        build(tmp_path / "out", recipe)
    _, heard = build(tmp_path / "out", recipe | {"ingest": {"quarantine_limit": 0.5}})
    assert heard.kept == ["documents"]
    with pytest.raises(DataError, match="1 of 2 rows"):
        build(tmp_path / "out", recipe)


def test_books_that_do_not_balance_leave_no_manifest(raw, tmp_path, monkeypatch):
    monkeypatch.setattr(
        "pipeline.ledger.count_decisions",
        lambda before, after: {"prose": {"rows_in": 2, "rows_kept": 1, "bytes_in": 2, "bytes_kept": 1}},
    )
    with pytest.raises(DataError, match="do not balance"):
        build(tmp_path, road(raw))
    assert not list(tmp_path.glob("corpora/dedup.exact-*/manifest.json"))


def test_a_packing_that_its_plan_does_not_count_by_is_refused_before_anything_runs(raw, tmp_path):
    with pytest.raises(ConfigError, match=r"steps\.sequences: the plan counts .* `tokens\.packing` sets both"):
        build(tmp_path, road(raw, steps={"sequences": {"params": {"least_rest": 9}}}))
    assert not (tmp_path / "corpora").exists()


def test_a_flat_export_of_a_wide_vocabulary_brought_along_is_refused_before_anything_runs(raw, tmp_path):
    names = ["</s>", *map(str, range(99_999))]
    Tokenizer(models.WordLevel({name: at for at, name in enumerate(names)}, "</s>")).save(str(tmp_path / "t.json"))
    tokens = {"tokenizer": str(tmp_path / "t.json"), "export": ["megatron", "flat"]}
    with pytest.raises(ConfigError, match=r"t\.json has 100,000 tokens, and the export `flat` has 16 bits"):
        build(tmp_path / "root", road(raw, tokens=tokens))
    assert not (tmp_path / "root/corpora").exists()


def test_the_record_of_a_build_says_what_was_built_and_holds_no_time(raw, first):
    record = json.loads((first.folder / "build.json").read_text())
    assert list(record["steps"])[:3] == ["documents", "exact", "bands"]
    assert record["recipe"]["seed"] == 3
    assert builds.open_build(first.folder).corpora.keys() == first.corpora.keys()


@pytest.fixture(scope="module")
def brought(raw, first, tmp_path_factory) -> builds.Build:
    tokens = {"tokenizer": str(first["tokenizer"].root / "data/tokenizer.json"), "sequence_length": 128}
    return build(tmp_path_factory.mktemp("brought"), road(raw, dedup=None, quality=None, tokens=tokens))[0]


def test_the_recorded_recipe_of_a_vocabulary_brought_along_builds_the_same_again(brought):
    record = json.loads((brought.folder / "build.json").read_text())
    _, heard = build(brought.folder.parents[1], record["recipe"])
    assert heard.ran == []


def test_the_tokenizer_of_a_build_is_compared_whether_trained_or_brought_along(first, brought):
    folders = (first.folder, brought.folder)
    told = CliRunner().invoke(
        cli.main, ["tokenizer", "report", *map(str, folders), "--on", str(first.folder), "--json"]
    )
    assert told.exit_code == 0
    figures = [row["tokens"] for row in json.loads(told.output)["rows"] if row["segmentation"] == "bpe"]
    assert figures[0] == figures[1] > 0


def test_a_path_of_no_build_is_named_as_it_was_given():
    with pytest.raises(DataError, match=r"^no/such/build holds no finished build"):
        pipeline.report("no/such/build")


def test_identity_is_pinned(raw, tmp_path):
    """If this fails, corpora on disk are orphaned: raise a version on purpose, or undo the change."""
    steps = plans.plan(Recipe(**road(raw)), Profile(root=tmp_path), {}, {"notes": "n", "prose": "p"})
    assert {step.name: step.fingerprint[:8] for step in steps} == {
        "documents": "28c56f0d",
        "exact": "d55d43d9",
        "bands": "72f43218",
        "candidates": "ecff265f",
        "similar": "d2f1d29f",
        "near": "20866ba1",
        "tokenizer": "ff02aa70",
        "model": "1190ff1a",
        "scores": "86359ba6",
        "select": "dc50bfb1",
        "tokens": "33c2408a",
        "plan": "7a90ad09",
        "sequences": "efd0c689",
        "megatron": "a64897ce",
    }


def test_every_parquet_page_of_a_corpus_carries_a_checksum(first):
    for path in first["documents"].paths():
        flipped = bytearray(path.read_bytes())
        flipped[len(flipped) // 3] ^= 0xFF
        path.with_suffix(".bad").write_bytes(flipped)
        with pytest.raises(OSError, match=r"(?i)crc|checksum|corrupt"):
            pq.ParquetFile(path.with_suffix(".bad"), page_checksum_verification=True).read()
        path.with_suffix(".bad").unlink()


def test_a_road_with_every_kind_of_deduplication_has_the_same_bytes_for_any_workers_memory_and_files(tmp_path):
    banner = "this line stands on every page of the site and is cut out of them all"
    rows = {
        domain: [(i, f"{banner}\n{text}" if n % 3 else text) for n, (i, text) in enumerate(part)]
        for domain, part in raw_rows().items()
    }
    dedup = {"lines": {"keep": "none_above", "most": 5}, "substrings": {"min_bytes": 200}, "threshold": 0.7}
    made = {}
    for name, files, profile in (("one", 1, {"workers": 1}), ("more", 4, {"workers": 2, "memory_mb": 64})):
        write_raw(tmp_path / name / "raw", rows, files)
        recipe = road(tmp_path / name / "raw", dedup=dedup | {"source_cap": 0.9})
        made[name] = build(tmp_path / name / "root", recipe, **profile)[0]
    assert sequences(made["one"]) == sequences(made["more"])
    texts = read(made["one"]["without_lines"])["text"].to_pylist()
    assert sum(banner in text for text in read(made["one"]["documents"])["text"].to_pylist()) > 100
    assert not any(banner in text for text in texts)
    assert made["one"]["substrings"].manifest.rows == len(texts)
    assert decisions(made["one"], "near").keys() == decisions(made["more"], "near").keys()
