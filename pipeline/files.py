"""Files that are there whole or not at all, on any POSIX file system; and what their bytes are called."""

import hashlib
import os
import shutil
import uuid
from pathlib import Path
from typing import Any


def checksum(path: Path) -> str:
    """Return the first 128 bits of the sha256 of a file's bytes, in hex."""
    with path.open("rb") as file:
        return digest(file)


def digest(file: Any) -> str:
    """Return the checksum of an open file from where it stands to its end."""
    # Every output byte passes here: with the SHA instructions of today's CPUs 1.7 GB/s, where blake2b makes 0.8.
    return hashlib.file_digest(file, "sha256").hexdigest()[:32]


def link_or_copy(source: Path, target: Path) -> None:
    """Make `target` the file `source`, or a copy of it where file systems do not link."""
    try:
        os.link(source, target)
    except OSError:  # another file system, or one without hard links
        shutil.copyfile(source, target)


def size_of(path: Path) -> int | None:
    """Return the bytes of a file; None if it is not there."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return None


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
        sync_folder(path.parent)
    finally:
        draft.unlink(missing_ok=True)


def _write_synced(path: Path, text: str) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Make the names in a folder survive a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
