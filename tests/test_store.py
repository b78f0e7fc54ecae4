"""The promises of the store: commits, twins, leftovers, what is taken over, damage, manifests, locks."""

import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from pipeline import store
from pipeline.corpus import DATA, Corpus, Manifest, Shard, Shards
from pipeline.errors import DataError, LockedError
from pipeline.store import Attempt, Earlier, Record


def attempt(root, key="part-00000", content=b"rows", rows=4, round_name=DATA):
    """Return an attempt that has written one shard and not committed it."""
    one = Attempt(root, key, round_name=round_name)
    one.path(f"{key}.parquet").write_bytes(content)
    one.rows(f"{key}.parquet", rows)
    return one


def manifest(shards, files):
    return Manifest(stage="s", version=1, fingerprint="f" * 64, params={}, inputs={}, shards=shards, files=files)


def corpus(root, contents=(b"one", b"two"), origins=("", "")):
    store.begin(root, {"stage": "s"})
    for index, (content, origin) in enumerate(zip(contents, origins, strict=True)):
        attempt(root, f"part-{index:05d}", content).commit({"rows": 1}, origin)
    return store.finish(root, manifest, [f"part-{index:05d}" for index in range(len(contents))])


def files(root):
    return sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())


def test_nothing_has_a_final_name_before_it_is_committed(tmp_path):
    one = attempt(tmp_path)
    assert all(name.startswith("tmp/") for name in files(tmp_path))
    one.commit({})
    assert (tmp_path / "data/part-00000.parquet").read_bytes() == b"rows"


def test_an_aborted_attempt_leaves_nothing(tmp_path):
    attempt(tmp_path).abort()
    assert files(tmp_path) == []


def test_a_record_says_what_was_written(tmp_path):
    record = attempt(tmp_path).commit({"n": 3}, "from here")
    shard = Shard("part-00000.parquet", 4, 4, store.checksum(tmp_path / "data/part-00000.parquet"), "from here")
    assert record == Record("part-00000", "from here", (shard,), (), {"n": 3})
    assert store.finished(tmp_path, DATA, "part-00000") == record


def test_a_tally_of_numpy_numbers_is_one_of_numbers(tmp_path):
    assert attempt(tmp_path).commit({"n": np.int64(3), "x": np.float32(0.5)}).tally == {"n": 3, "x": 0.5}


def test_a_path_asked_for_twice_is_one_file(tmp_path):
    one = attempt(tmp_path)
    one.path("part-00000.parquet").write_bytes(b"again")
    assert [shard.bytes for shard in one.commit({}).shards] == [5]


def test_a_file_in_a_folder_keeps_its_folder(tmp_path):
    one = Attempt(tmp_path, "part-00000")
    one.path("quarantine/part-00000.parquet").write_bytes(b"bad")
    record = one.commit({})
    assert [f.name for f in record.files] == ["quarantine/part-00000.parquet"]
    assert (tmp_path / "data/quarantine/part-00000.parquet").read_bytes() == b"bad"


def test_the_second_of_two_twins_steps_back_and_gets_the_first_ones_record(tmp_path):
    first, second = attempt(tmp_path, content=b"first"), attempt(tmp_path, content=b"other", rows=5)
    won = first.commit({"n": 1})
    assert second.commit({"n": 2}) == won
    assert (tmp_path / "data/part-00000.parquet").read_bytes() == b"first", "a recorded file is never replaced"
    assert not any((tmp_path / "tmp").iterdir())


def commit_at_once(root, number, barrier):
    one = attempt(root, content=b"%d" % number * 1000, rows=number)
    barrier.wait()
    one.commit({"number": number})


def test_twins_that_commit_at_once_leave_the_file_that_the_record_describes(tmp_path):
    spawn = multiprocessing.get_context("spawn")
    for round_ in range(5):
        root = tmp_path / str(round_)
        barrier = spawn.Barrier(2)
        twins = [spawn.Process(target=commit_at_once, args=(root, number, barrier)) for number in (1, 2)]
        for twin in twins:
            twin.start()
        for twin in twins:
            twin.join(60)
        assert [twin.exitcode for twin in twins] == [0, 0]
        shard = store.finished(root, DATA, "part-00000").shards[0]
        assert store.checksum(root / DATA / shard.name) == shard.checksum


def test_a_twin_cannot_move_its_file_while_the_other_one_commits(tmp_path, monkeypatch):
    first, second = attempt(tmp_path, content=b"first"), attempt(tmp_path, content=b"other")
    threads = []

    def slow_record(path, text):
        threads.append(threading.Thread(target=second.commit, args=({},)))
        threads[0].start()
        time.sleep(0.2)  # time enough for the other to do harm
        return write_once(path, text)

    write_once = store.write_once
    monkeypatch.setattr(store, "write_once", slow_record)
    first.commit({})
    threads[0].join()
    assert (tmp_path / "data/part-00000.parquet").read_bytes() == b"first"


def test_a_task_killed_between_its_files_and_its_record_is_not_finished_and_can_be_done_again(tmp_path, monkeypatch):
    def killed(path, text):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(store, "write_once", killed)
        one = attempt(tmp_path, content=b"half way")
        with pytest.raises(KeyboardInterrupt):
            one.commit({})
    assert (tmp_path / "data/part-00000.parquet").exists()
    assert store.recorded(tmp_path, DATA) == set()
    attempt(tmp_path, content=b"whole").commit({})
    assert (tmp_path / "data/part-00000.parquet").read_bytes() == b"whole"


def test_a_record_whose_file_is_gone_or_cut_is_no_record(tmp_path):
    for harm in (lambda path: path.unlink(), lambda path: path.write_bytes(b"ro")):
        attempt(tmp_path).commit({})
        harm(tmp_path / "data/part-00000.parquet")
        assert store.finished(tmp_path, DATA, "part-00000") is None
        assert store.recorded(tmp_path, DATA) == set()


def test_records_win_over_listings(tmp_path):
    store.begin(tmp_path, {})
    attempt(tmp_path).commit({})
    (tmp_path / "data/part-00009.parquet").write_bytes(b"a stranger")
    (tmp_path / "data/deep").mkdir()
    (tmp_path / "data/deep/stray").write_bytes(b"another")
    made = store.finish(tmp_path, manifest, ["part-00000"])
    assert [shard.name for shard in made.manifest.shards] == ["part-00000.parquet"]
    assert files(tmp_path) == ["data/part-00000.parquet", "manifest.json", "records.jsonl"]


def test_a_finished_corpus_holds_no_leftovers(tmp_path):
    store.begin(tmp_path, {})
    attempt(tmp_path, "part-00007")  # killed
    attempt(tmp_path, "part-00000", round_name="scratch/1").commit({})
    (tmp_path / ".records.jsonl.0123").write_text("a draft")
    attempt(tmp_path).commit({})
    store.finish(tmp_path, manifest, ["part-00000"])
    assert files(tmp_path) == ["data/part-00000.parquet", "manifest.json", "records.jsonl"]


def test_what_a_driver_killed_while_it_wrote_the_identity_left_is_swept(tmp_path, monkeypatch):
    drafts = []
    with monkeypatch.context() as patch:
        patch.setattr(os, "link", lambda draft, path: drafts.append(draft) or shutil.copyfile(draft, path))
        store.begin(tmp_path, {})
    drafts[0].write_text("whole, and not linked any more")
    attempt(tmp_path).commit({})
    store.finish(tmp_path, manifest, ["part-00000"])
    assert files(tmp_path) == ["data/part-00000.parquet", "manifest.json", "records.jsonl"]


def test_a_sweep_that_was_interrupted_is_made_good(tmp_path, monkeypatch):
    store.begin(tmp_path, {})
    attempt(tmp_path).commit({})
    with monkeypatch.context() as patch:
        patch.setattr(store, "sweep", lambda root, manifest: None)
        store.finish(tmp_path, manifest, ["part-00000"])
    assert (tmp_path / "records").exists()
    store.tidy(store.open_corpus(tmp_path))
    assert files(tmp_path) == ["data/part-00000.parquet", "manifest.json", "records.jsonl"]


def test_a_straggler_cannot_touch_a_finished_corpus(tmp_path):
    made = corpus(tmp_path)
    late = attempt(tmp_path, content=b"late")
    with pytest.raises(DataError, match="was finished while part-00000 was still being made"):
        late.commit({})
    assert store.damage(made, checksums=True) == []


def test_a_folder_begun_again_loses_its_drafts_and_keeps_its_records(tmp_path):
    store.begin(tmp_path, {"stage": "s"})
    attempt(tmp_path).commit({})
    attempt(tmp_path, "part-00001")
    store.begin(tmp_path, {"stage": "s"})
    assert not (tmp_path / "tmp").exists()
    assert store.recorded(tmp_path, DATA) == {"part-00000"}


def test_a_folder_of_another_fingerprint_is_refused(tmp_path):
    store.begin(tmp_path, {"fingerprint": "a"})
    with pytest.raises(DataError, match="begun for another fingerprint"):
        store.begin(tmp_path, {"fingerprint": "b"})


def test_a_corpus_without_manifest_is_not_finished(tmp_path):
    attempt(tmp_path).commit({})
    assert store.open_corpus(tmp_path) is None


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"shards": 3}', '{\n "shards": {\n  "name": ["a"]\n }\n}\n'])
def test_a_manifest_of_somebody_else_is_refused(tmp_path, text):
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(DataError, match="not a manifest of corpusmill"):
        store.open_corpus(tmp_path)


def test_a_manifest_survives_the_disk_byte_for_byte(tmp_path):
    shards = Shards(Shard(f"part-{i:05d}.parquet", i, i << 33, f"{i:032x}", f"{i:032d}") for i in range(10_000))
    odd = Shards([Shard('ü "odd"\n.bin', 0, 1, "00")])
    facts = {"shards": {"files": ["{", "}"]}, "text": "日本\u2028", "share": 0.1}
    wanted = manifest(shards, odd).model_copy(update={"facts": facts, "ledger": {"files": {"rows_in": 1}}})
    store.write_atomic(tmp_path / "manifest.json", wanted.pieces())
    found = store.open_corpus(tmp_path).manifest
    assert found == wanted
    assert found.to_json() == wanted.to_json() == (tmp_path / "manifest.json").read_text()
    assert Manifest.model_validate_json(wanted.to_json()) == wanted, "and it is plain JSON"


def test_an_empty_corpus_survives_the_disk(tmp_path):
    store.begin(tmp_path, {})
    made = store.finish(tmp_path, manifest, [])
    assert store.open_corpus(tmp_path) == made
    assert json.loads((tmp_path / "manifest.json").read_text())["shards"]["name"] == []


def test_shards_are_a_sequence():
    shards = Shards(Shard(f"part-{i}", i, 2 * i, f"{i:02x}", "o") for i in range(5))
    assert shards[-1] == Shard("part-4", 4, 8, "04", "o")
    assert [shard.name for shard in shards[1:3]] == ["part-1", "part-2"]
    assert (shards.rows, shards.bytes, len(shards)) == (10, 20, 5)
    assert shards == Shards(shards)
    assert shards != Shards(shards[:4])
    with pytest.raises(IndexError):
        shards[5]


def test_damage_names_every_file_that_is_not_as_the_manifest_says(tmp_path):
    made = corpus(tmp_path, (b"one", b"two", b"three"), ("", "", ""))
    assert store.damage(made, checksums=True) == []
    paths = list(made.paths())
    paths[0].unlink()
    paths[1].write_bytes(b"longer")
    paths[2].write_bytes(b"thr3e")
    missing, longer = store.damage(made)
    assert missing.endswith("part-00000.parquet: missing")
    assert longer.endswith("part-00001.parquet: 6 bytes, the manifest says 3")
    assert "its bytes have changed" in store.damage(made, checksums=True)[2]


def test_what_was_made_from_the_same_content_is_linked_under_the_new_key(tmp_path):
    made = corpus(tmp_path / "old", origins=("here", "there"))
    record = Earlier(made).find("there")
    new = Attempt(tmp_path / "new", "part-00000").adopt(record, made.root / DATA)
    assert [(s.name, s.rows, s.origin) for s in new.shards] == [("part-00000.parquet", 4, "there")]
    assert new.tally == {"rows": 1}
    linked = tmp_path / "new/data/part-00000.parquet"
    assert linked.read_bytes() == b"two"
    assert linked.stat().st_ino == made.path(made.manifest.shards[1]).stat().st_ino


def test_a_task_of_unknown_origin_is_never_taken_over(tmp_path):
    assert Earlier(corpus(tmp_path)).find("") is None


def test_an_earlier_file_that_is_gone_or_cut_is_not_found(tmp_path):
    made = corpus(tmp_path, origins=("here", "there"))
    first, second = made.paths()
    first.unlink()
    second.write_bytes(b"tw")
    assert Earlier(made).find("here") is None
    assert Earlier(made).find("there") is None


def test_an_earlier_file_whose_bytes_have_changed_is_not_taken_over(tmp_path):
    made = corpus(tmp_path / "old", origins=("here", "there"))
    next(made.paths()).write_bytes(b"0ne")
    one = Attempt(tmp_path / "new", "part-00000")
    assert one.adopt(Earlier(made).find("here"), made.root / DATA) is None
    one.path("part-00000.parquet").write_bytes(b"one")
    one.rows("part-00000.parquet", 4)
    assert one.commit({}).shards[0].rows == 4, "the task is then done as if there were no earlier corpus"


def test_an_archive_of_records_that_is_cut_costs_its_last_record_only(tmp_path):
    made = corpus(tmp_path, origins=("here", "there"))
    archive = tmp_path / "records.jsonl"
    archive.write_bytes(archive.read_bytes()[:-20])
    earlier = Earlier(made)
    assert earlier.find("here") is not None
    assert earlier.find("there") is None


HOLDER = """
import sys, time
from pathlib import Path
from pipeline import store
with store.lock(Path(sys.argv[1]), "build 'first'"):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path):
    """A process that holds the lock of tmp_path."""
    process = subprocess.Popen([sys.executable, "-c", HOLDER, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def test_a_held_root_is_refused_naming_the_holder(tmp_path, holder):
    with pytest.raises(LockedError, match=rf"build 'first', process {holder.pid} on .*wait_for_lock_s"):
        store.lock(tmp_path, "build 'second'").__enter__()


def test_a_dead_holders_lock_is_free_at_once(tmp_path, holder):
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    with store.lock(tmp_path, "build 'second'"):
        pass


def test_a_lock_is_waited_for_as_long_as_the_profile_says(tmp_path, holder):
    threading.Timer(0.3, holder.kill).start()
    with store.lock(tmp_path, "build 'second'", wait_s=30):
        assert holder.wait() == -signal.SIGKILL


def test_a_released_lock_names_nobody(tmp_path):
    with store.lock(tmp_path, "build 'first'"):
        assert "build 'first'" in (tmp_path / ".lock").read_text()
    assert (tmp_path / ".lock").read_text() == ""


def test_a_corpus_says_where_its_shards_lie(tmp_path):
    made = corpus(tmp_path)
    assert isinstance(made, Corpus)
    assert [path.read_bytes() for path in made.paths()] == [b"one", b"two"]
