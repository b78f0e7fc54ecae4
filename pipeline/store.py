"""The only writer of files: attempts and their commit records, manifests, the lock of a root.

A corpus under construction is a folder `data/ records/ scratch/ tmp/`. A task writes under `tmp/<attempt>/`; `commit`
syncs the files, moves them to their final names and, last, links one small record (the first of two twins wins). A
reader trusts records, never a listing. `finish` writes the manifest, the very last thing, and sweeps the rest.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import socket
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from pipeline.corpus import DATA, Corpus, Manifest, Shard, Shards
from pipeline.errors import DataError, LockedError
from pipeline.ledger import Tally

MANIFEST = "manifest.json"
IDENTITY = "identity.json"
RECORDS = "records.jsonl"
WORK_FOLDERS = ("records", "scratch", "tmp")


@dataclass(frozen=True, slots=True)
class Record:
    """What one finished task left behind: its shards, its other files and its tally."""

    key: str
    origin: str
    shards: tuple[Shard, ...] = ()
    files: tuple[Shard, ...] = ()
    tally: Tally = field(default_factory=dict)

    def to_json(self) -> str:
        files = {"shards": [_row(s) for s in self.shards], "files": [_row(s) for s in self.files]}
        return json.dumps({"key": self.key, "origin": self.origin, **files, "tally": self.tally}, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str | bytes) -> "Record":
        plain = json.loads(text)
        origin = plain["origin"]
        shards = tuple(Shard(*row, origin) for row in plain["shards"])
        return cls(plain["key"], origin, shards, tuple(Shard(*row) for row in plain["files"]), plain["tally"])


def _row(shard: Shard) -> list[Any]:
    return [shard.name, shard.rows, shard.bytes, shard.checksum]


class Attempt:
    """One try at one task. Nothing it writes has a final name before `commit`."""

    def __init__(self, root: Path, key: str, *, round_name: str = DATA):
        self.key = key
        self._root = root
        self._round = round_name
        self._tmp = root / "tmp" / uuid.uuid4().hex
        self._rows: dict[str, int] = {}
        self._names: list[str] = []

    def path(self, name: str) -> Path:
        """Return where to write the output file `name` for now; `name` begins with the task's key.

        The file is one of the corpus' other files unless `rows` makes it a shard.
        """
        self._names.append(name)
        path = self._tmp / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def rows(self, name: str, count: int) -> None:
        """Say that file `name` is a shard of `count` rows."""
        self._rows[name] = count

    def commit(self, tally: Tally, origin: str = "") -> Record:
        """Publish the files and the record, or step back behind a twin that has done so already."""
        target = record_path(self._root, self._round, self.key)
        described = [self._describe(name) for name in self._names]
        if not target.exists():
            for shard in described:
                final = self._root / self._round / shard.name
                final.parent.mkdir(parents=True, exist_ok=True)
                os.replace(self._tmp / shard.name, final)
            _sync_folder(self._root / self._round)
            shards = tuple(s for s in described if s.name in self._rows)
            files = tuple(s for s in described if s.name not in self._rows)
            write_once(target, Record(self.key, origin, shards, files, tally).to_json())
        self.abort()
        return Record.from_json(target.read_bytes())

    def adopt(self, record: Record, folder: Path) -> Record:
        """Take over an earlier corpus' record under this task's key: its files are linked, not copied."""
        renamed = {s.name: s.name.replace(record.key, self.key, 1) for s in (*record.shards, *record.files)}
        for old, new in renamed.items():
            _link_or_copy(folder / old, self.path(new))
        for shard in record.shards:
            self.rows(renamed[shard.name], shard.rows)
        return self.commit(record.tally, record.origin)

    def abort(self) -> None:
        """Delete what this attempt has not published."""
        shutil.rmtree(self._tmp, ignore_errors=True)

    def _describe(self, name: str) -> Shard:
        path = self._tmp / name
        with path.open("rb") as file:
            os.fsync(file.fileno())
            checksum = hashlib.file_digest(file, _blake2b_128).hexdigest()
        return Shard(name=name, rows=self._rows.get(name, 0), bytes=path.stat().st_size, checksum=checksum)


def _blake2b_128() -> "hashlib._Hash":
    return hashlib.blake2b(digest_size=16)


def checksum(path: Path) -> str:
    """Return the blake2b-128 of a file's bytes, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, _blake2b_128).hexdigest()


def _link_or_copy(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system, or one without hard links
        shutil.copyfile(source, target)


def record_path(root: Path, round_name: str, key: str) -> Path:
    """Return where the commit record of a task of a round lies."""
    return root / "records" / round_name / f"{key}.json"


def recorded(root: Path, round_name: str) -> set[str]:
    """Return the keys of the tasks of a round that are finished."""
    folder = root / "records" / round_name
    if not folder.exists():
        return set()
    return {name.removesuffix(".json") for name in os.listdir(folder) if name.endswith(".json")}


def write_once(path: Path, text: str) -> bool:
    """Write `path` unless it exists; return whether this call wrote it. It is never seen half."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{uuid.uuid4().hex}")
    try:
        _write_synced(draft, text)
        os.link(draft, path)
        return True
    except FileExistsError:
        return False
    finally:
        draft.unlink(missing_ok=True)


def write_atomic(path: Path, text: str) -> None:
    """Replace `path` with `text`; a reader sees the old or the new, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        _write_synced(draft, text)
        os.replace(draft, path)
        _sync_folder(path.parent)
    finally:
        draft.unlink(missing_ok=True)


def _write_synced(path: Path, text: str) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def open_corpus(root: Path) -> Corpus | None:
    """Return the corpus in the folder `root`, or None if it was never finished.

    Raises:
        DataError: there is a manifest, but not one of ours.
    """
    path = root / MANIFEST
    if not path.exists():
        return None
    try:
        return Corpus(root=root, manifest=Manifest.model_validate_json(path.read_bytes()))
    except (ValidationError, KeyError) as error:
        raise DataError(f"{path} is not a manifest of corpusmill: {str(error).splitlines()[0]}") from None


def damage(corpus: Corpus, *, checksums: bool = False) -> list[str]:
    """Return a line for every file of `corpus` that is missing or not as its manifest says."""
    found = []
    for shard in (*corpus.manifest.shards, *corpus.manifest.files):
        path = corpus.path(shard)
        if not path.exists():
            found.append(f"{path}: missing")
        elif path.stat().st_size != shard.bytes:
            found.append(f"{path}: {path.stat().st_size:,} bytes, the manifest says {shard.bytes:,}")
        elif checksums and checksum(path) != shard.checksum:
            found.append(f"{path}: its bytes have changed since it was written")
    return found


def begin(root: Path, identity: dict[str, Any]) -> None:
    """Make ready the folder of a corpus, new or left by a build that was stopped.

    Raises:
        DataError: the folder belongs to another fingerprint with the same first digits.
    """
    text = json.dumps(identity, indent=1, sort_keys=True, ensure_ascii=False)
    path = root / IDENTITY
    if not write_once(path, text) and json.loads(path.read_text()) != json.loads(text):
        raise DataError(f"{root} was begun for another fingerprint; move it away and run the command again")
    shutil.rmtree(root / "tmp", ignore_errors=True)


def finish(root: Path, manifest_of: Any, keys: Sequence[str]) -> Corpus:
    """Freeze the commit records of the tasks `keys` into a manifest, write it last, and sweep.

    Args:
        manifest_of: (shards, files) -> Manifest.
    """
    shards, files = Shards(), Shards()
    draft = root / f".{RECORDS}.{uuid.uuid4().hex}"
    with draft.open("w", encoding="utf-8") as archive:
        for key in keys:
            text = record_path(root, DATA, key).read_text(encoding="utf-8")
            record = Record.from_json(text)
            for shard in record.shards:
                shards.append(shard)
            for shard in record.files:
                files.append(shard)
            archive.write(text + "\n")
    os.replace(draft, root / RECORDS)
    manifest = manifest_of(shards, files)
    write_atomic(root / MANIFEST, manifest.to_json())
    sweep(root, manifest)
    return Corpus(root=root, manifest=manifest)


def sweep(root: Path, manifest: Manifest) -> None:
    """Delete what a finished corpus does not need: records, scratch, drafts and files nobody names."""
    for name in WORK_FOLDERS:
        shutil.rmtree(root / name, ignore_errors=True)
    (root / IDENTITY).unlink(missing_ok=True)
    for draft in root.glob(".*"):
        draft.unlink(missing_ok=True)
    named = {shard.name for shard in manifest.shards} | {shard.name for shard in manifest.files}
    for folder, _, names in os.walk(root / DATA):
        for name in names:
            path = Path(folder, name)
            if path.relative_to(root / DATA).as_posix() not in named:
                path.unlink()


class Earlier:
    """The commit records of an earlier corpus of the same stage, version and params, found by origin."""

    def __init__(self, corpus: Corpus):
        self.folder = corpus.root / DATA
        self._archive = corpus.root / RECORDS
        self._places: dict[str, int] = {}
        place = 0
        with self._archive.open("rb") as file:
            for line in file:
                self._places[json.loads(line)["origin"]] = place
                place += len(line)
        self._places.pop("", None)

    def find(self, origin: str) -> Record | None:
        """Return the record of the task that was made from `origin`, if its files are still there."""
        place = self._places.get(origin)
        if place is None:
            return None
        with self._archive.open("rb") as file:
            file.seek(place)
            record = Record.from_json(file.readline())
        intact = all(
            (self.folder / s.name).exists() and (self.folder / s.name).stat().st_size == s.bytes
            for s in (*record.shards, *record.files)
        )
        return record if intact else None


@contextlib.contextmanager
def lock(root: Path, who: str, *, wait_s: float = 0.0) -> Iterator[None]:
    """Hold the build lock of `root`; the system frees it the moment its holder dies, however it dies.

    Raises:
        LockedError: a live build holds it and still did after `wait_s` seconds; says which.
    """
    root.mkdir(parents=True, exist_ok=True)
    with (root / ".lock").open("a+", encoding="utf-8") as file:
        _acquire(file, root, time.monotonic() + wait_s)
        file.seek(0)
        file.truncate()
        since = time.strftime("%Y-%m-%d %H:%M:%S")
        file.write(f"{who}, process {os.getpid()} on {socket.gethostname()}, since {since}")
        file.flush()
        yield


def _acquire(file: Any, root: Path, deadline: float) -> None:
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() >= deadline:
                file.seek(0)
                raise LockedError(
                    f"{root} is held by another build ({file.read() or 'just starting'}). Wait for it, stop it, or "
                    "set `wait_for_lock_s` in the profile to wait here."
                ) from None
            time.sleep(0.2)
