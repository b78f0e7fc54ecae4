"""Builds that know earlier ones: increments equal one build over all, by index, compacted or not; take-downs."""

import random
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import pipeline
from pipeline.config import Profile
from pipeline.dedup import earlier
from pipeline.errors import ConfigError
from pipeline.recipe import Recipe
from tests.conftest import read
from tests.stages.dedup import edited, family, prose

PARTS = 3
Rows = list[str]


def texts() -> Rows:
    """Return families of near copies, a family large enough to be hot, exact copies and strangers, in mixed order."""
    found = [text for seed in range(12) for text, _ in family(seed, seed % 5)]
    found += [edited(prose(77), i, 2) for i in range(30)] + [f"{prose(77)} number{i}" for i in range(60)]
    found += [prose(1000 + seed) for seed in range(15)] + ["one", "one two three", "...", "漢字仮名交じり文の例です"]
    generator = random.Random(1)
    found += [f" {text}\n" for text in generator.sample(found, 15)]
    generator.shuffle(found)
    return found


def write(path: Path, rows: Rows, first: int) -> Path:
    """Write documents that are a second apart from each other."""
    times = [(datetime(2024, 1, 1) + timedelta(seconds=first + i)).isoformat() for i in range(len(rows))]
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({"text": rows, "ts": times}), path)
    return path


@pytest.fixture(scope="module")
def raw(tmp_path_factory) -> Path:
    folder, rows = tmp_path_factory.mktemp("raw"), texts()
    for part in range(PARTS):
        first, end = len(rows) * part // PARTS, len(rows) * (part + 1) // PARTS
        write(folder / f"{part}.parquet", rows[first:end], first)
    return folder


def build(root: Path, name: str, path: Path, workers: int = 1, memory_mb: int = 1024, **dedup):
    settings = {"keep": "oldest", "column": "ts", "threshold": 0.7} | dedup
    sources = {"web": {"paths": [str(path)], "extra": ["ts"]}}
    recipe = Recipe.model_validate({"name": name, "sources": sources, "dedup": settings})
    return pipeline.build(recipe, Profile(root=root, workers=workers, memory_mb=memory_mb))


def kept(*builds) -> list[bytes]:
    found = []
    for built in builds:
        ids, mask = read(built["documents"])["doc_id"].to_pylist(), read(built["near"])["keep"].to_pylist()
        found += [doc_id for doc_id, keep in zip(ids, mask, strict=True) if keep]
    return sorted(found)


def reasons(built) -> dict[bytes, list]:
    ids, mask = read(built["documents"])["doc_id"].to_pylist(), read(built["near"])["reason"].to_pylist()
    found: dict[bytes, list] = {}
    for doc_id, reason in zip(ids, mask, strict=True):
        found.setdefault(doc_id, []).append(reason)
    return {doc_id: sorted(map(str, each)) for doc_id, each in found.items()}


@pytest.fixture(scope="module")
def increments(raw, tmp_path_factory):
    """Return the root, the build over everything and three increments, each of which knows those before it."""
    root = tmp_path_factory.mktemp("root")
    whole = build(root, "whole", raw)
    parts, names = [], []
    for part in range(PARTS):
        parts.append(build(root, f"b{part}", raw / f"{part}.parquet", index="own", earlier=list(names)))
        names.append(f"b{part}")
    return root, whole, parts


def test_increments_keep_what_one_build_over_all_keeps(increments):
    _, whole, parts = increments
    assert kept(*parts) == kept(whole)
    assert len(kept(whole)) < 60
    assert whole["candidates"].manifest.facts["hot_keys"], "the hot family must not be left out of this test"
    together = {"near_duplicate": 0, "exact_duplicate": 0}
    for part in parts[1:]:
        for books in part["near"].manifest.ledger.values():
            together["near_duplicate"] += books.get("dropped", {}).get("near_duplicate", 0)
        for books in part["exact"].manifest.ledger.values():
            together["exact_duplicate"] += books.get("dropped", {}).get("exact_duplicate", 0)
    assert all(together.values())


def test_a_compacted_index_stands_for_all_it_was_made_of(increments, raw):
    root, _, parts = increments
    compacted = build(root, "c1", raw / "1.parquet", index="compact", earlier=["b0"])
    assert len(compacted["index"].manifest.facts["sources"]) == 2
    rows = sum(part["index"].manifest.rows for part in parts[:2])
    assert compacted["index"].manifest.rows == rows
    last = build(root, "c2", raw / "2.parquet", earlier=["c1"])
    assert reasons(last) == reasons(parts[2])


def test_an_index_is_sorted_and_written_as_differences(increments):
    _, _, parts = increments
    for path in parts[0]["index"].paths():
        keys = pq.read_table(path)["key"].to_numpy()
        assert (keys[1:] >= keys[:-1]).all()
        column = pq.ParquetFile(path).metadata.row_group(0).column(0)
        assert column.path_in_schema == "key"
        assert "DELTA_BINARY_PACKED" in column.encodings


def test_workers_and_memory_change_no_byte_of_an_increment(increments, raw, tmp_path):
    root, _, parts = increments
    for step in ("exact", "candidates", "similar", "near", "index"):
        (root / "corpora" / parts[1][step].root.name).rename(tmp_path / parts[1][step].root.name)
    again = build(root, "b1", raw / "1.parquet", workers=2, memory_mb=64, index="own", earlier=["b0"])
    for step in ("exact", "candidates", "similar", "near", "index"):
        before = {p.name: p.read_bytes() for p in (tmp_path / again[step].root.name / "data").iterdir()}
        assert {p.name: p.read_bytes() for p in (again[step].root / "data").iterdir()} == before


def test_only_row_groups_with_candidates_are_read_again(increments, monkeypatch):
    _, _, parts = increments
    shard = earlier.OldShard(7, next(parts[0]["documents"].paths()), next(parts[0]["near"].paths()))
    mask = read(parts[0]["near"])["keep"].to_pylist()
    stays, goes = mask.index(True), mask.index(False)
    monkeypatch.setattr(pq.ParquetFile, "read_row_group", lambda *a, **k: pytest.fail("no row of it was kept"))
    assert earlier.read_kept(shard, np.array([goes])).num_rows == 0
    monkeypatch.undo()
    found = earlier.read_kept(shard, np.array(sorted([stays, goes])))
    assert found["address"].to_pylist() == [7 << 32 | stays]
    assert found["text"][0] == read(parts[0]["documents"])["text"][stays]


def test_ranges_of_keys_nest_whatever_their_number():
    keys = np.sort(np.random.default_rng(0).integers(0, 2**64, 5000, dtype=np.uint64))
    for parts in (1, 3, 7, 64, 1000):
        found = earlier.range_of(keys, parts)
        assert (np.diff(found.astype(np.int64)) >= 0).all()
        assert found.max() < parts
    assert earlier.range_of(np.array([0, 2**64 - 1], np.uint64), 5).tolist() == [0, 4]


@pytest.mark.parametrize("parts", [1, 2, 3, 5, 8])
def test_an_index_gives_every_row_of_a_range_once(tmp_path, parts):
    keys = np.sort(np.random.default_rng(1).integers(0, 2**64, 3000, dtype=np.uint64))
    for number in range(3):
        mine = keys[earlier.range_of(keys, 3) == number]
        table = pa.table(
            {"key": mine, "rank": np.zeros(len(mine), np.int64), "address": np.arange(len(mine), dtype=np.uint64)}
        )
        pq.write_table(table.cast(earlier.BANDS_SCHEMA), tmp_path / f"bands-{number:05d}.parquet", row_group_size=100)
    index = earlier.Index(tmp_path, {"bands": 3}, 2)
    tables = [t for part in range(parts) for t in index.rows("bands", part, parts)]
    assert np.array_equal(np.concatenate([t["key"].to_numpy() for t in tables]), keys)
    assert min(t["address"].to_numpy().min() for t in tables) == 2 << 32
    wanted = keys[::50]
    found = [t["key"].to_numpy() for part in range(parts) for t in index.rows("bands", part, parts, wanted)]
    assert np.array_equal(np.concatenate(found), wanted)


def test_an_index_of_other_bands_is_refused_before_anything_runs(increments, raw):
    root, _, _ = increments
    with pytest.raises(ConfigError, match=r"made with other parameters: rows 6 there, 5 here"):
        build(root, "other", raw / "1.parquet", earlier=["b0"], bands=20, rows=5)
    with pytest.raises(ConfigError, match="ngram 5 there, 4 here"):
        build(root, "other", raw / "1.parquet", earlier=["b0"], ngram=4)


def test_earlier_builds_that_cannot_be_used_are_refused_by_name(increments, raw):
    root, _, _ = increments
    with pytest.raises(ConfigError, match="no finished build nowhere"):
        build(root, "other", raw / "1.parquet", earlier=["nowhere"])
    with pytest.raises(ConfigError, match=r"no step of dedup\.index"):
        build(root, "other", raw / "1.parquet", earlier=["whole"])
    with pytest.raises(ValueError, match="leave `exact` and `near` on"):
        build(root, "other", raw / "1.parquet", earlier=["b0"], exact=False)
    with pytest.raises(ValueError, match="compact merges the indexes"):
        build(root, "other", raw / "1.parquet", index="compact")


def test_a_lost_corpus_of_an_earlier_build_is_named_before_anything_runs(raw, tmp_path):
    first = build(tmp_path, "b0", raw / "0.parquet", index="own")
    next(first["documents"].paths()).rename(tmp_path / "shard")
    with pytest.raises(
        ConfigError, match=r"points to documents that are not whole: .*web-.*; run the build that made it"
    ):
        build(tmp_path, "b1", raw / "1.parquet", earlier=["b0"])
    first["documents"].root.rename(tmp_path / "away")
    with pytest.raises(ConfigError, match="where no finished corpus is; run the build that made it again"):
        build(tmp_path, "b1", raw / "1.parquet", earlier=["b0"])


def test_a_better_new_document_stays_and_names_what_it_supersedes(tmp_path):
    text = prose(1)
    write(tmp_path / "0.parquet", [text, prose(2) + " and more", prose(3)], 0)
    write(tmp_path / "1.parquet", [text + " longer", prose(2), edited(prose(3), 1)], 9)
    build(tmp_path / "root", "b0", tmp_path / "0.parquet", index="own", keep="longest", column=None)
    options = {"earlier": ["b0"], "keep": "longest", "column": None}
    wins = build(tmp_path / "root", "wins", tmp_path / "1.parquet", **options)
    assert read(wins["near"])["keep"].to_pylist() == [False, False, False]
    assert read(wins["near"])["supersedes"].to_pylist() == [None] * 3
    ranked = build(tmp_path / "root", "ranked", tmp_path / "1.parquet", earlier_wins=False, **options)
    by_text = dict(zip(read(ranked["documents"])["text"].to_pylist(), read(ranked["near"]).to_pylist(), strict=True))
    old = read(pipeline.api.builds.open_build(tmp_path / "root/builds/b0")["documents"])
    ids = dict(zip(old["text"].to_pylist(), old["doc_id"].to_pylist(), strict=True))
    assert by_text[text + " longer"]["keep"]
    assert by_text[text + " longer"]["supersedes"] == [ids[text]]
    assert not by_text[prose(2)]["keep"]
    longer = len(edited(prose(3), 1)) > len(prose(3))
    assert by_text[edited(prose(3), 1)]["keep"] == longer
    assert ranked["near"].manifest.facts["superseded"] == 1 + longer


def take_down(root: Path, name: str, path: Path, ids: list[bytes], **dedup):
    path_of_ids = root / f"{name}.txt"
    path_of_ids.parent.mkdir(parents=True, exist_ok=True)
    path_of_ids.write_text("# asked for\n\n" + "".join(f"{doc_id.hex()}  # why\n" for doc_id in ids))
    return build(root, name, path, withdraw=str(path_of_ids), **dedup)


def test_a_withdrawn_document_goes_and_what_it_shadowed_is_decided_anew(tmp_path):
    text = prose(1)
    rows = [text, edited(text, 1), edited(text, 2), f" {text}", prose(2)]
    write(tmp_path / "raw.parquet", rows, 0)
    before = build(tmp_path / "root", "before", tmp_path / "raw.parquet")
    table = read(before["documents"])
    ids = dict(zip(table["text"].to_pylist(), table["doc_id"].to_pylist(), strict=True))
    assert kept(before) == sorted([ids[text], ids[prose(2)]])
    after = take_down(tmp_path / "root", "after", tmp_path / "raw.parquet", [ids[text], b"\0" * 16])
    assert kept(after) == sorted([ids[edited(text, 1)], ids[prose(2)]])
    assert reasons(after)[ids[text]] == ["withdrawn"]
    assert reasons(after)[ids[f" {text}"]] == ["exact_duplicate"], "the same text does not come back by its copy"
    facts = after["withdrawn"].manifest.facts
    assert (facts["ids_listed"], facts["ids_found"]) == (2, 1)
    assert facts["notes"] == ["1 of 2 listed ids are of no document of this build"]
    copy = take_down(tmp_path / "root", "copy", tmp_path / "raw.parquet", [ids[f" {text}"]])
    assert reasons(copy)[ids[text]] == ["withdrawn"], "a copy stands for its text"


def test_a_later_build_no_longer_meets_what_was_withdrawn(tmp_path):
    text = prose(1)
    write(tmp_path / "0.parquet", [text, prose(2)], 0)
    write(tmp_path / "1.parquet", [edited(text, 1), edited(prose(2), 1)], 9)
    root = tmp_path / "root"
    first = build(root, "b0", tmp_path / "0.parquet", index="own")
    ids = dict(
        zip(read(first["documents"])["text"].to_pylist(), read(first["documents"])["doc_id"].to_pylist(), strict=True)
    )
    assert kept(build(root, "b1", tmp_path / "1.parquet", earlier=["b0"])) == []
    take_down(root, "b0", tmp_path / "0.parquet", [ids[text]], index="own")
    later = build(root, "b1", tmp_path / "1.parquet", earlier=["b0"])
    assert [
        read(later["documents"])["text"][i].as_py() for i, k in enumerate(read(later["near"])["keep"].to_pylist()) if k
    ] == [edited(text, 1)]


def test_a_list_with_a_line_that_is_no_id_is_refused_with_its_line(tmp_path, raw):
    (tmp_path / "ids.txt").write_text("0" * 32 + "\nxyz\n")
    with pytest.raises(ConfigError, match=r"ids\.txt, line 2: 'xyz' is no doc_id"):
        build(tmp_path / "root", "b", raw / "0.parquet", withdraw=str(tmp_path / "ids.txt"))


def test_a_cluster_counts_the_kept_documents_of_earlier_builds(tmp_path):
    write(tmp_path / "0.parquet", [prose(1), prose(2)], 0)
    write(tmp_path / "1.parquet", [edited(prose(1), 1), edited(prose(1), 2), prose(3)], 9)
    root = tmp_path / "root"
    old = build(root, "b0", tmp_path / "0.parquet", index="own")
    new = build(root, "b1", tmp_path / "1.parquet", earlier=["b0"])
    mask = read(new["near"])
    assert sorted(mask["cluster_size"].to_pylist()) == [1, 3, 3]
    assert new["near"].manifest.facts["clusters"] == 1
    assert new["near"].manifest.facts["cluster_sizes"] == {"3 to 10": 1}
    ids = dict(
        zip(read(old["documents"])["text"].to_pylist(), read(old["documents"])["doc_id"].to_pylist(), strict=True)
    )
    assert set(mask["keeper"].drop_null().to_pylist()) == {ids[prose(1)]}


def test_an_index_of_another_order_or_likeness_is_refused_where_it_would_decide(increments, raw):
    root, _, _ = increments
    longest = {"keep": "longest", "column": None, "earlier": ["b0"]}
    with pytest.raises(ConfigError, match="keep 'oldest' there, 'longest' here"):
        build(root, "other", raw / "1.parquet", earlier_wins=False, **longest)
    with pytest.raises(ConfigError, match=r"steps\.index: .*keep 'oldest' there, 'longest' here"):
        build(root, "other", raw / "1.parquet", index="compact", **longest)
    assert build(root, "fine", raw / "1.parquet", **longest), "earlier documents win, so their order does not matter"
    with pytest.raises(ConfigError, match=r"threshold 0\.7 there, 0\.9 here"):
        build(root, "other", raw / "1.parquet", earlier=["b0"], threshold=0.9)
    with pytest.raises(ConfigError, match=r"containment None there, 0\.9 here"):
        build(root, "other", raw / "1.parquet", earlier=["b0"], containment=0.9)


def test_a_list_that_names_nothing_says_so(tmp_path, raw):
    path = tmp_path / "ids.txt"
    path.write_text("# nothing yet\n")
    built = build(tmp_path / "root", "b", raw / "0.parquet", withdraw=str(path))
    assert built["withdrawn"].manifest.facts["notes"] == ["the list names no id, so nothing is withdrawn"]


def test_duplicates_reads_a_keeper_of_an_earlier_build_and_tells_whom_a_document_supersedes(tmp_path):
    text = prose(1)
    write(tmp_path / "0.parquet", [text, prose(2)], 0)
    write(tmp_path / "1.parquet", [text + " longer", edited(prose(2), 1, 1)], 9)
    options = {"keep": "longest", "column": None}
    old = build(tmp_path / "root", "b0", tmp_path / "0.parquet", index="own", **options)
    ids = dict(
        zip(read(old["documents"])["text"].to_pylist(), read(old["documents"])["doc_id"].to_pylist(), strict=True)
    )
    new = build(tmp_path / "root", "b1", tmp_path / "1.parquet", earlier=["b0"], **options)
    other = next(row for row in read(new["documents"]).to_pylist() if row["text"] != text + " longer")
    found = pipeline.duplicates(new.folder, other["doc_id"].hex())
    assert found.keeper["doc_id"] == ids[prose(2)].hex()
    assert found.keeper["bytes"] == len(prose(2).encode())
    assert str(old["documents"].root) in found.keeper["found"]
    assert {change.kind for change in found.differences} > {"same"}
    ranked = build(tmp_path / "root", "b2", tmp_path / "1.parquet", earlier=["b0"], earlier_wins=False, **options)
    longer = next(row for row in read(ranked["documents"]).to_pylist() if row["text"] == text + " longer")
    told = pipeline.duplicates(ranked.folder, longer["doc_id"].hex())
    assert told.document["supersedes"] == [ids[text].hex()]
    assert ids[text].hex() in told.to_text()
