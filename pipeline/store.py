"""The only writer of files: attempts and their commit records, manifests, the lock of a root.

A corpus under construction is a folder `data/ records/ scratch/ tmp/`. A task writes to `tmp/<attempt>.<name>`;
`commit` syncs the files, moves them to their final names and, last, links one small record. The first of two twins
wins: both commit under one lock, so that nobody moves a file over one that a record already speaks of. A reader trusts
records, never a listing. `finish` writes the manifest, the very last thing, and sweeps the rest.

Order of a commit, and what a power cut may leave: files synced, moved, their folders synced, record synced, linked.
So a record without its files cannot outlive a cut; files without a record can, and are written again.
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
import zlib
from array import array
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

from pipeline.corpus import DATA, Corpus, Manifest, Shard, Shards
from pipeline.errors import DataError, LockedError
from pipeline.files import (
    checksum,
    digest,
    files_below,
    link_or_copy,
    remove_tree,
    size_of,
    sync_folder,
    write_atomic,
    write_once,
)
from pipeline.ledger import Tally

MANIFEST = "manifest.json"
IDENTITY = "identity.json"
RECORDS = "records.jsonl"
WORK_FOLDERS = ("records", "scratch", "tmp")
COMMIT_LOCKS = 64


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
        plain = {"key": self.key, "origin": self.origin, **files, "tally": self.tally}
        return json.dumps(plain, ensure_ascii=False, default=_plain_number)

    @classmethod
    def from_json(cls, text: str | bytes) -> "Record":
        plain = json.loads(text)
        origin = plain["origin"]
        shards = tuple(_shard(row, origin) for row in plain["shards"])
        return cls(plain["key"], origin, shards, tuple(_shard(row) for row in plain["files"]), plain["tally"])


def _row(shard: Shard) -> list[Any]:
    return [shard.name, shard.rows, shard.bytes, shard.checksum]


def _shard(row: Sequence[Any], origin: str = "") -> Shard:
    name, rows, size, print_ = row
    return Shard(name, rows, size, print_, origin)


def _plain_number(value: Any) -> Any:
    """Return a numpy number of a tally as Python's."""
    if hasattr(value, "item"):
        return value.item()
    raise TypeError(f"a tally holds {type(value).__qualname__}; its leaves must be numbers")


class Attempt:
    """One try at one task. Nothing it writes has a final name before `commit`."""

    def __init__(self, root: Path, key: str, *, round_name: str = DATA):
        self.key = key
        self._root = root
        self._round = round_name
        self._id = uuid.uuid4().hex
        self._rows: dict[str, int] = {}
        self._drafts: dict[str, Path] = {}

    def path(self, name: str) -> Path:
        """Return where to write the output file `name` for now; `name` begins with the task's key.

        The file is one of the corpus' other files unless `rows` makes it a shard.
        """
        folder = self._root / "tmp"
        folder.mkdir(parents=True, exist_ok=True)
        self._drafts[name] = folder / f"{self._id}.{name.replace('/', '+')}"
        return self._drafts[name]

    def rows(self, name: str, count: int) -> None:
        """Say that file `name` is a shard of `count` rows."""
        self._rows[name] = count

    def commit(self, tally: Tally, origin: str = "") -> Record:
        """Publish the files and the record, or step back behind a twin that has done so already.

        Raises:
            DataError: the corpus was finished meanwhile, by a driver that had stopped waiting for this attempt.
        """
        return self._publish([self._describe(name) for name in self._drafts], tally, origin)

    def adopt(self, record: Record, folder: Path) -> Record | None:
        """Take over an earlier corpus' record under this task's key: its files are linked, not copied.

        Returns: the record; None if its files cannot be had, or are no longer what the record says.
        """
        theirs = (*record.shards, *record.files)
        renamed = {shard.name: shard.name.replace(record.key, self.key, 1) for shard in theirs}
        try:
            for old, new in renamed.items():
                link_or_copy(folder / old, self.path(new))
            for shard in record.shards:
                self.rows(renamed[shard.name], shard.rows)
            described = [self._describe(name) for name in self._drafts]
        except OSError:
            described = []
        if [d.checksum for d in described] != [shard.checksum for shard in theirs]:
            self.abort()
            self._drafts, self._rows = {}, {}
            return None
        return self._publish(described, record.tally, record.origin)

    def abort(self) -> None:
        """Delete what this attempt has not published."""
        for draft in self._drafts.values():
            draft.unlink(missing_ok=True)

    def _publish(self, described: Sequence[Shard], tally: Tally, origin: str) -> Record:
        target = record_path(self._root, self._round, self.key)
        shards = tuple(s for s in described if s.name in self._rows)
        files = tuple(s for s in described if s.name not in self._rows)
        text = Record(self.key, origin, shards, files, tally).to_json()
        with _alone(target):
            if (self._root / MANIFEST).exists():
                raise DataError(f"{self._root} was finished while {self.key} was still being made; its copy is dropped")
            if not target.exists():
                self._move(described)
                write_once(target, text)
        self.abort()
        return Record.from_json(target.read_bytes())

    def _move(self, described: Sequence[Shard]) -> None:
        home = self._root / self._round
        folders = {home: None}
        for shard in described:
            final = home / shard.name
            final.parent.mkdir(parents=True, exist_ok=True)
            os.replace(self._drafts[shard.name], final)
            folders[final.parent] = None
        for folder in reversed(folders):
            sync_folder(folder)

    def _describe(self, name: str) -> Shard:
        """Sync a file and describe it. Blocks of a shuffle live as long as the build and go without a checksum."""
        with self._drafts[name].open("rb") as file:
            os.fsync(file.fileno())
            size = os.fstat(file.fileno()).st_size
            print_ = digest(file) if self._round == DATA else ""
        return Shard(name=name, rows=self._rows.get(name, 0), bytes=size, checksum=print_)


@contextlib.contextmanager
def _alone(target: Path) -> Iterator[None]:
    """Keep the twins of a task from committing at the same time; a dead one's lock is free."""
    target.parent.mkdir(parents=True, exist_ok=True)
    stripe = zlib.crc32(target.name.encode()) % COMMIT_LOCKS
    with (target.parent / f".lock-{stripe:02d}").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def record_path(root: Path, round_name: str, key: str) -> Path:
    """Return where the commit record of a task of a round lies."""
    return root / "records" / round_name / f"{key}.json"


def recorded(root: Path, round_name: str) -> set[str]:
    """Return the keys of the tasks of a round that are finished."""
    folder = root / "records" / round_name
    if not folder.exists():
        return set()
    return {name.removesuffix(".json") for name in os.listdir(folder) if name.endswith(".json")}


def finished(root: Path, round_name: str, key: str) -> Record | None:
    """Return the record of a finished task; None, and the record deleted, if its files are not there as it says."""
    path = record_path(root, round_name, key)
    record = Record.from_json(path.read_bytes())
    if intact(record, root / round_name):
        return record
    path.unlink()
    return None


def intact(record: Record, folder: Path) -> bool:
    """Tell whether all files of a record lie in `folder` with the size it says."""
    return all(size_of(folder / shard.name) == shard.bytes for shard in (*record.shards, *record.files))


def open_corpus(root: Path) -> Corpus | None:
    """Return the corpus in the folder `root`, or None if it was never finished.

    Raises:
        DataError: there is a manifest, but not one of ours.
    """
    path = root / MANIFEST
    if not path.exists():
        return None
    try:
        with path.open(encoding="utf-8") as lines:
            return Corpus(root=root, manifest=Manifest.from_lines(lines))
    except (ValueError, TypeError, AttributeError, KeyError) as error:
        raise DataError(f"{path} is not a manifest of corpusmill: {str(error).splitlines()[0]}") from None


def damage(corpus: Corpus, *, checksums: bool = False) -> list[str]:
    """Return a line for every file of `corpus` that is missing or not as its manifest says."""
    found = []
    for shard in chain(corpus.manifest.shards, corpus.manifest.files):
        path = corpus.path(shard)
        size = size_of(path)
        if size is None:
            found.append(f"{path}: missing")
        elif size != shard.bytes:
            found.append(f"{path}: {size:,} bytes, the manifest says {shard.bytes:,}")
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
        archive.flush()
        os.fsync(archive.fileno())
    os.replace(draft, root / RECORDS)
    manifest = manifest_of(shards, files)
    write_atomic(root / MANIFEST, manifest.pieces())
    sweep(root, manifest)
    return Corpus(root=root, manifest=manifest)


def tidy(corpus: Corpus) -> None:
    """Sweep a finished corpus whose build was stopped between its manifest and its sweep."""
    if any((corpus.root / name).exists() for name in WORK_FOLDERS):
        sweep(corpus.root, corpus.manifest)


def sweep(root: Path, manifest: Manifest) -> None:
    """Delete what a finished corpus does not need: drafts, files nobody names, and last the work folders."""
    (root / IDENTITY).unlink(missing_ok=True)
    for draft in root.glob(".*.json*.*"):
        draft.unlink(missing_ok=True)
    named = {shard.name for shard in chain(manifest.shards, manifest.files)}
    prefix = len(str(root / DATA)) + 1
    for path in files_below(root / DATA):
        if path[prefix:] not in named:
            os.unlink(path)
    for name in WORK_FOLDERS:
        remove_tree(root / name)


class Earlier:
    """The commit records of an earlier corpus of the same stage, version and params, found by origin.

    Travels to every worker, so it holds 16 bytes a task: a hash of the origin and the place of its record. A line that
    cannot be read is a task that is done again.
    """

    def __init__(self, corpus: Corpus):
        self.folder = corpus.root / DATA
        self._archive = corpus.root / RECORDS
        found, place = [], 0
        with self._archive.open("rb") as file:
            for line in file:
                record = _readable(line)
                if record is not None and record.origin:
                    found.append((_hash64(record.origin), place))
                place += len(line)
        found.sort()
        self._hashes, self._places = array("Q", (h for h, _ in found)), array("Q", (p for _, p in found))

    def find(self, origin: str) -> Record | None:
        """Return the record of a task that was made from `origin`, if its files are still there."""
        wanted = _hash64(origin)
        at = bisect_left(self._hashes, wanted)
        if at == len(self._hashes) or self._hashes[at] != wanted:
            return None
        with self._archive.open("rb") as file:
            file.seek(self._places[at])
            record = _readable(file.readline())
        return record if record is not None and record.origin == origin and intact(record, self.folder) else None


def _readable(line: bytes) -> Record | None:
    try:
        return Record.from_json(line)
    except (ValueError, KeyError, TypeError):
        return None


def _hash64(origin: str) -> int:
    return int.from_bytes(hashlib.blake2b(origin.encode(), digest_size=8).digest(), "little")


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
        try:
            yield
        finally:
            file.truncate(0)  # the next holder is not taken for this one


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
