"""What a source is: its columns, its files, and the file system each of them lies on.

A file is described by values only (a root that names a file system, and a path in it), so that a worker on another
machine opens it again. Local paths are opened by the system; s3, gs, hdfs and abfs URLs by Arrow's own C++ file systems
(they read outside the interpreter's lock and need no further package); every other URL (memory, http, hf, ...) by
fsspec, wrapped so that the rest of the code sees one interface.
"""

import hashlib
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal

import pyarrow as pa
from pyarrow import fs

from pipeline.corpus import Frozen
from pipeline.errors import ConfigError

NATIVE = ("s3", "gs", "gcs", "hdfs", "viewfs", "abfs", "abfss")
LOCAL = ""

Format = Literal["auto", "parquet", "jsonl"]
Cache = dict[str, list[int | str]]
"""url -> [size, mtime_ns, checksum] of files hashed before; JSON-able, kept by whoever plans builds."""


class SourceColumns(Frozen):
    """How the columns of a domain are called. It decides what documents hold, so it is part of ingest's params.

    `id` and `extra` are carried along as text; None and () take none. `format: auto` judges by name and first bytes.
    """

    text: str = "text"
    id: str | None = None
    extra: tuple[str, ...] = ()
    format: Format = "auto"

    def wanted(self) -> tuple[str, ...]:
        """Return the names of all columns to read, text first, each once."""
        return tuple(dict.fromkeys([self.text, *([self.id] if self.id else []), *self.extra]))


class SourceSpec(SourceColumns):
    """The columns of a domain and where its files are: files, folders, globs, URLs."""

    paths: tuple[str, ...]

    def columns(self) -> SourceColumns:
        """Return the part that is identity."""
        return SourceColumns(text=self.text, id=self.id, extra=self.extra, format=self.format)


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One raw file, by value.

    kind: parquet, jsonl, or unreadable (then `problem` says why). compression: gzip or zstd, of a JSON Lines stream.
    groups: (rows, bytes of text) of each Parquet row group. partitions: values that only the path knows, by column.
    """

    root: str
    path: str
    size: int
    mtime_ns: int | None
    kind: Literal["parquet", "jsonl", "unreadable", "unknown"] = "unknown"
    compression: Literal["gzip", "zstd"] | None = None
    groups: tuple[tuple[int, int], ...] = ()
    partitions: tuple[tuple[str, str | None], ...] = ()
    problem: str = ""
    checksum: str = ""
    named: bool = False
    """Named by the user, or by a glob that ends in a name: taken whatever it is called."""

    @property
    def url(self) -> str:
        """Return the file's name for people, unique over file systems."""
        return self.path if self.root == LOCAL else f"{self.root.split('?')[0]}:{self.path}"

    @property
    def rows(self) -> int | None:
        """Return the rows that the footer tells; None where only reading tells."""
        return sum(rows for rows, _ in self.groups) if self.kind == "parquet" else None

    @property
    def text_bytes(self) -> int:
        """Return the bytes of text: as the footer has it, else guessed from the size."""
        if self.kind == "parquet":
            return sum(size for _, size in self.groups)
        return self.size * (4 if self.compression else 1)

    @property
    def identity(self) -> str:
        """Return 32 hex digits of what the documents of this file depend on: bytes, reading, values from the path."""
        parts = [self.checksum, self.kind, self.compression or "", repr(self.partitions)]
        return hashlib.blake2b("|".join(parts).encode(), digest_size=16).hexdigest()

    def light(self) -> "SourceFile":
        """Return the file without its row groups, as it travels to a worker."""
        return replace(self, groups=()) if self.groups else self


@dataclass(frozen=True, slots=True)
class SourceFiles:
    """The files of one domain, inspected and with checksums: what a build hands to the stage ingest."""

    domain: str
    files: tuple[SourceFile, ...]

    @property
    def fingerprint(self) -> str:
        """Return 32 hex digits of the contents, whatever the files are called and in which order they were found."""
        return _digest(sorted(file.identity for file in self.files))

    @property
    def rows(self) -> int:
        """Return the rows that footers tell; JSON Lines are counted when they are read."""
        return sum(file.rows or 0 for file in self.files)

    @property
    def text_bytes(self) -> int:
        """Return the bytes of text, guessed for compressed JSON Lines."""
        return sum(file.text_bytes for file in self.files)


def _digest(parts: Sequence[str]) -> str:
    return hashlib.blake2b("|".join(parts).encode(), digest_size=16).hexdigest()


def locate(path: str) -> tuple[str, str]:
    """Return (root, path in it) of a path or URL.

    Raises:
        ConfigError: no file system is known for the URL's scheme.
    """
    if "://" not in path or path.startswith("file://"):
        return LOCAL, os.path.abspath(os.path.expanduser(path.removeprefix("file://")))
    scheme, rest = path.split("://", 1)
    if scheme in NATIVE:
        # Not urlsplit: # and ? occur in the names of objects. Options stand at the end: ?region=eu&scheme=http
        options = "".join(re.findall(r"\?\w+=[^/?]*$", rest))
        host, _, inner = rest.removesuffix(options).partition("/")
        root = f"{scheme}://{host}{options}"
        return root, f"{_prefix(root).rstrip('/')}/{inner}".rstrip("/")
    try:
        import fsspec

        return f"{scheme}://", fsspec.core.url_to_fs(path)[1]
    except (ImportError, ValueError) as error:
        raise ConfigError(f"{path}: no file system for {scheme}:// ({error})") from None


@lru_cache(maxsize=64)
def _native(root: str) -> tuple[fs.FileSystem, str]:
    try:
        system, prefix = fs.FileSystem.from_uri(root)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise ConfigError(f"{root}: {error}") from None
    return system, prefix


def _prefix(root: str) -> str:
    return _native(root)[1]


@lru_cache(maxsize=64)
def filesystem(root: str) -> fs.FileSystem:
    """Return the file system that `locate` named."""
    if root == LOCAL:
        return fs.LocalFileSystem()
    if root.split("://")[0] in NATIVE:
        return _native(root)[0]
    import fsspec

    return fs.PyFileSystem(fs.FSSpecHandler(fsspec.filesystem(root.removesuffix("://"))))


def open_file(file: SourceFile) -> pa.NativeFile:
    """Return the file opened for reading at any place."""
    return filesystem(file.root).open_input_file(file.path)
