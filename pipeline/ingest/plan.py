"""Cut the files of all domains into tasks of some 64 MiB of text, by content and never by name or order.

A large Parquet file is many tasks (runs of row groups), a large plain JSON Lines file too (ranges of bytes); a
compressed stream is one. Small files share a task. Files are taken in the order of their checksums, and a group of
small ones ends after a file whose checksum says so, with a chance of its cost over the size aimed at (content-defined
chunking): one more file changes the group it falls into and no other. So equal contents make equal tasks, shards and
manifests whatever the files are called, a build that was stopped goes on after a renaming, and in a nightly build only
the groups that changed are read again.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from operator import itemgetter

from pipeline.ingest.sources import SourceFile, SourceFiles
from pipeline.tasks import LazySequence, Task

OPENING_BYTES = 128 << 10
"""What opening a file costs, in bytes of text read in the same time: some 512 tiny files make a task of 64 MiB."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of one file: row groups first..last (exclusive) of Parquet, bytes first..last of plain JSON Lines.

    `first_row` is the row of the file with which a Parquet piece begins; `content` is the file's identity.
    """

    file: SourceFile
    first: int
    last: int
    first_row: int = 0
    text_bytes: int = 0
    content: str = ""


@dataclass(frozen=True, slots=True)
class Job:
    """What one task reads: pieces of one domain."""

    domain: str
    pieces: tuple[Piece, ...]


def plan(sources: Mapping[str, SourceFiles], shard_bytes: int) -> Sequence[Task]:
    """Return the tasks in the order of their keys. A key is the domain's name and 12 digits of the content."""
    jobs: list[tuple[str, str, Job]] = []
    seen: Counter[str] = Counter()
    for domain in sorted(sources):
        for pieces in _cut(sources[domain].files, shard_bytes):
            identity = _identity(domain, pieces)
            key = f"{slug(domain)}-{identity[:12]}"
            seen[key] += 1
            # Two files of equal bytes are two inputs: duplicates are dedup's to count, not ours to lose.
            jobs.append((key if seen[key] == 1 else f"{key}-{seen[key]}", identity, Job(domain, pieces)))
    jobs.sort(key=lambda job: job[0])
    return LazySequence(len(jobs), lambda i: Task(*jobs[i]))


def slug(domain: str) -> str:
    """Return a domain's name as part of a file name."""
    return re.sub(r"[^A-Za-z0-9_-]", "_", domain)[:40]


def _identity(domain: str, pieces: Sequence[Piece]) -> str:
    parts = [domain, *(f"{piece.content}:{piece.first}:{piece.last}" for piece in pieces)]
    return hashlib.blake2b("|".join(parts).encode(), digest_size=16).hexdigest()


def _cut(files: Sequence[SourceFile], target: int) -> Iterator[tuple[Piece, ...]]:
    group: list[Piece] = []
    cost = 0
    for content, file in sorted(((file.identity, file) for file in files), key=itemgetter(0)):
        if file.text_bytes * 2 > target:
            yield from ((piece,) for piece in _pieces(file, content, target))
            continue
        whole = next(_pieces(file, content, target))
        group.append(whole)
        cost += whole.text_bytes + OPENING_BYTES
        if cost >= 3 * target or _ends_a_group(whole, target):
            yield tuple(group)
            group, cost = [], 0
    if group:
        yield tuple(group)


def _ends_a_group(piece: Piece, target: int) -> bool:
    """Tell whether a group ends after this file: with the chance cost / target, drawn from its own content."""
    # The last digits: the first ones order the files, so within a group they are all alike.
    return int(piece.content[-12:], 16) / 2**48 < (piece.text_bytes + OPENING_BYTES) / target


def _pieces(file: SourceFile, content: str, target: int) -> Iterator[Piece]:
    """Yield the pieces of one file, at least one."""
    light = file.light()
    if file.kind == "parquet":
        yield from _runs(file, light, content, target)
    elif file.kind == "jsonl" and file.compression is None:
        count = max(1, round(file.size / target))
        bounds = [file.size * i // count for i in range(count + 1)]
        for first, last in pairwise(bounds):
            yield Piece(light, first, last, text_bytes=last - first, content=content)
    else:
        yield Piece(light, 0, file.size, text_bytes=file.text_bytes, content=content)


def _runs(file: SourceFile, light: SourceFile, content: str, target: int) -> Iterator[Piece]:
    first, row, rows, size = 0, 0, 0, 0
    for index, (group_rows, group_bytes) in enumerate(file.groups):
        if index > first and size + group_bytes > target:
            yield Piece(light, first, index, row, size, content)
            first, row, rows, size = index, row + rows, 0, 0
        rows += group_rows
        size += group_bytes
    yield Piece(light, first, len(file.groups), row, size, content)
