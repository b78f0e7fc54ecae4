"""Paths of a recipe become files: a file, a folder (with all below it), a glob, each local or a URL.

A folder, and a glob that ends in `*`, gives what it holds of *.parquet, *.jsonl, *.jsonl.gz and *.jsonl.zst in any case
of letters. A file that is named, or matched by a glob that ends in a name, is taken whatever it is called. Left out
below a folder: names that begin with `.` or `_` (but `_key=value`), drafts (*.tmp, *~) and checksums (*.crc), for
they are what writers and editors leave behind. What is left out is returned with the reason, never dropped unsaid.
"""

import difflib
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from pyarrow import fs

from pipeline.errors import ConfigError
from pipeline.ingest.sources import LOCAL, Format, SourceFile, filesystem, locate

ENDINGS: dict[str, tuple[str, ...]] = {
    "parquet": (".parquet",),
    "jsonl": (".jsonl", ".jsonl.gz", ".jsonl.zst"),
    "auto": (".parquet", ".jsonl", ".jsonl.gz", ".jsonl.zst"),
}
DRAFTS = (".tmp", "~", ".crc", ".swp", ".part", ".partial")


@dataclass
class Found:
    """The files of a domain in the order of their names, and what was left out: (path, why)."""

    files: list[SourceFile] = field(default_factory=list)
    ignored: list[tuple[str, str]] = field(default_factory=list)


def discover(domain: str, paths: Sequence[str], format: Format = "auto") -> Found:
    """Return the files of a domain, each once however often it is matched, by path.

    Raises:
        ConfigError: a path is not there, or nothing readable lies under it; says what does and what is near.
    """
    found = Found()
    by_place: dict[tuple[str, str], SourceFile] = {}
    for path in paths:
        part = _one(f"sources.{domain}", path, format)
        found.ignored += part.ignored
        for file in part.files:
            place = (file.root, os.path.realpath(file.path) if file.root == LOCAL else file.path)
            by_place.setdefault(place, file)
    found.files = sorted(by_place.values(), key=lambda file: (file.root, file.path))
    taken = {file.url for file in found.files}
    found.ignored = sorted({pair for pair in found.ignored if pair[0] not in taken})
    return found


def _one(where: str, path: str, format: Format) -> Found:
    root, inner = locate(path)
    info = filesystem(root).get_file_info(inner)
    if info.type == fs.FileType.File:
        return Found([_file(root, info, named=True)])
    if info.type == fs.FileType.Directory:
        return _filtered(where, path, _below(root, inner), inner, format)
    if root == LOCAL and os.path.islink(inner):
        raise ConfigError(f"{where}: {path} is a link to {os.readlink(inner)}, which is not there")
    if not re.search(r"[*?\[]", inner):
        raise ConfigError(f"{where}: there is no file or folder {path}{_near(root, inner)}")
    return _glob(where, path, root, inner, format)


def _glob(where: str, path: str, root: str, pattern: str, format: Format) -> Found:
    parts = pattern.split("/")
    fixed = next(i for i, part in enumerate(parts) if re.search(r"[*?\[]", part))
    base = "/".join(parts[:fixed]) or "/"
    if filesystem(root).get_file_info(base).type != fs.FileType.Directory:
        raise ConfigError(f"{where}: {path} cannot match: there is no folder {base}{_near(root, base)}")
    matches = re.compile(_glob_regex(pattern))
    named = not re.fullmatch(r"\*+", parts[-1])
    hits = [replace(file, named=named) for file in _below(root, base) if matches.fullmatch(file.path)]
    if not hits:
        raise ConfigError(f"{where}: {path} matches no file")
    return _filtered(where, path, hits, base, format)


def _glob_regex(pattern: str) -> str:
    """Return the regular expression of a glob: `*` and `?` stay within a folder, `**` is any number of folders."""
    out = []
    for token in re.findall(r"\*\*/|\*\*|\*|\?|\[[^\]]*\]|.", pattern, re.DOTALL):
        special = {"**/": "(?:[^/]+/)*", "**": ".*", "*": "[^/]*", "?": "[^/]"}
        if token in special:
            out.append(special[token])
        elif token.startswith("[") and len(token) > 2:
            out.append(token.replace("[!", "[^", 1))
        else:
            out.append(re.escape(token))
    return "".join(out)


def _filtered(where: str, path: str, files: Iterable[SourceFile], base: str, format: Format) -> Found:
    found = Found()
    endings: Counter[str] = Counter()
    for file in files:
        why = _why_ignored(file, base, format)
        if why:
            found.ignored.append((file.url, why))
            ending = os.path.splitext(file.path)[1] or os.path.basename(file.path)
            endings[f"hidden {ending}" if why.startswith("hidden") else ending] += 1
        else:
            found.files.append(file)
    if not found.files:
        held = ", ".join(f"{count:,} of {ending}" for ending, count in endings.most_common(5)) or "no file at all"
        wanted = ", ".join(f"*{ending}" for ending in ENDINGS[format])
        raise ConfigError(f"{where}: {path} holds {held}, but none of {wanted}. Name files of other names one by one.")
    return found


def _why_ignored(file: SourceFile, base: str, format: Format) -> str:
    relative = file.path[len(base) :].strip("/")
    for part in relative.split("/"):
        if part.startswith(".") or (part.startswith("_") and "=" not in part):
            return "hidden: its name, or a folder's, begins with . or _"
    if relative.lower().endswith(DRAFTS):
        return "a draft or a checksum, by its name"
    if not file.named and not relative.lower().endswith(ENDINGS[format]):
        return "neither Parquet nor JSON Lines, by its name"
    return ""


def _file(root: str, info: fs.FileInfo, named: bool = False) -> SourceFile:
    return SourceFile(root, info.path, info.size or 0, info.mtime_ns, named=named)


def _below(root: str, base: str) -> Iterator[SourceFile]:
    if root == LOCAL:
        return _below_local(base)
    infos = filesystem(root).get_file_info(fs.FileSelector(base, recursive=True))
    return (_file(root, info) for info in infos if info.type == fs.FileType.File)


def _below_local(base: str) -> Iterator[SourceFile]:
    """Yield files below a folder; links are followed, but no folder is entered twice; a dead link is told."""
    entered = set()
    for folder, folders, names in os.walk(base, followlinks=True):
        place = os.path.realpath(folder)
        if place in entered:
            folders.clear()
            continue
        entered.add(place)
        folders.sort()
        for name in sorted(names):
            path = os.path.join(folder, name)
            try:
                stat = os.stat(path)
                yield SourceFile(LOCAL, path, stat.st_size, stat.st_mtime_ns)
            except FileNotFoundError:
                problem = f"a link to {os.readlink(path)}, which is not there"
                yield SourceFile(LOCAL, path, 0, None, kind="unreadable", problem=problem)


def _near(root: str, inner: str) -> str:
    """Return `; did you mean X?` from the names beside the first part of a path that is not there."""
    system = filesystem(root)
    parent, name = os.path.split(inner.rstrip("/"))
    while parent not in ("", "/") and system.get_file_info(parent).type == fs.FileType.NotFound:
        parent, name = os.path.split(parent)
    try:
        beside = [info.base_name for info in system.get_file_info(fs.FileSelector(parent or "/"))]
    except OSError:
        return ""
    near = difflib.get_close_matches(name, beside, 1, 0.6)
    return f"; did you mean {os.path.join(parent, near[0])}?" if near else f"; {parent or '/'} holds no {name!r}"
