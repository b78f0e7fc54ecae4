"""Look at every file before anything runs: footers, columns, types; and say in one error all that is wrong.

Reads first bytes and footers only, in threads. Returns what the plan needs (row groups and their bytes of text), so
that no footer is read twice by the driver. JSON Lines have no footer: their first hundred lines are asked instead,
which finds a misspelled column before an hour is spent and not after.
"""

import difflib
import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Literal
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.errors import ConfigError
from pipeline.ingest.discover import discover
from pipeline.ingest.sniff import read_head, sniff
from pipeline.ingest.sources import LOCAL, SourceColumns, SourceFile, SourceFiles, SourceSpec, open_file

SHOWN = 10
TEXTUAL = (
    pa.types.is_string,
    pa.types.is_large_string,
    pa.types.is_string_view,
    pa.types.is_binary,
    pa.types.is_large_binary,
    pa.types.is_binary_view,
)
_HIVE_NULL = "__HIVE_DEFAULT_PARTITION__"


@dataclass(frozen=True)
class SourceReport:
    """What lies at the sources: files by domain (checksums not yet taken), what was left out, what to know."""

    sources: dict[str, SourceFiles]
    ignored: dict[str, tuple[tuple[str, str], ...]]
    notes: tuple[str, ...] = ()


@dataclass(slots=True)
class _Look:
    """One inspected file, the columns it lacks, and what is wrong with it."""

    file: SourceFile
    complaints: list[str] = field(default_factory=list)
    lacks: tuple[str, ...] = ()


def inspect_sources(
    specs: Mapping[str, SourceSpec], unreadable_files: Literal["fail", "quarantine"] = "fail", threads: int = 8
) -> SourceReport:
    """Return every file of every domain with its kind, rows and bytes.

    With `unreadable_files="quarantine"` files that cannot be opened stay in the report, of kind "unreadable": the stage
    counts them. Wrong columns are never passed over: a recipe that asks for the wrong name loses everything.

    Raises:
        ConfigError: once, listing up to ten files a domain and what to do.
    """
    sources, ignored, notes, problems = {}, {}, [], []
    with ThreadPoolExecutor(threads) as pool:
        for domain, spec in specs.items():
            found = discover(domain, spec.paths, spec.format)
            looks = list(pool.map(_look, found.files, [spec] * len(found.files)))
            problems += _problems(domain, spec, looks, unreadable_files)
            notes += _notes(domain, spec, looks)
            sources[domain] = SourceFiles(domain, tuple(look.file for look in looks))
            ignored[domain] = tuple(found.ignored)
    problems += _shared_files(specs, sources)
    if problems:
        raise ConfigError("\n".join(problems))
    return SourceReport(sources, ignored, tuple(notes))


def _look(file: SourceFile, columns: SourceColumns) -> _Look:
    try:
        file = sniff(file, columns.format)
        if file.kind == "parquet":
            return _look_at_parquet(file, columns)
        if file.kind == "jsonl":
            return _look_at_lines(file, columns)
        return _Look(file)
    except (pa.ArrowException, OSError) as error:
        return _Look(replace(file, kind="unreadable", problem=first_line(error)))


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, at most 200 characters of it."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


def _look_at_parquet(file: SourceFile, columns: SourceColumns) -> _Look:
    with open_file(file) as stream:
        parquet = pq.ParquetFile(stream, pre_buffer=False)
        schema, metadata = parquet.schema_arrow, parquet.metadata
        look = _Look(file)
        place = _column_place(metadata, columns.text)
        sizes = (_group_size(metadata.row_group(g), place) for g in range(metadata.num_row_groups))
        look.file = replace(file, groups=tuple(sizes))
    _check_names(look, schema.names, columns)
    for name in columns.wanted():
        if schema.names.count(name) == 1:
            look.complaints += _wrong_type(name, schema.field(name).type, columns)
    return look


def _column_place(metadata: pq.FileMetaData, name: str) -> int | None:
    paths = (metadata.schema.column(c).path for c in range(metadata.num_columns))
    return next((c for c, path in enumerate(paths) if path == name), None)


def _group_size(group: pq.RowGroupMetaData, place: int | None) -> tuple[int, int]:
    return group.num_rows, 0 if place is None else group.column(place).total_uncompressed_size


def _wrong_type(name: str, kind: pa.DataType, columns: SourceColumns) -> Iterator[str]:
    if name == columns.text and not is_textual(kind):
        yield f"column {name!r} is of type {kind}; text must be a string or binary column"
    elif name == columns.id and pa.types.is_nested(storage(kind)):
        yield f"column {name!r} is of type {kind}; an id must be one value, such as a string or a number"


def storage(kind: pa.DataType) -> pa.DataType:
    """Return the plain type under extension types and dictionaries."""
    while isinstance(kind, pa.BaseExtensionType) or pa.types.is_dictionary(kind):
        kind = kind.storage_type if isinstance(kind, pa.BaseExtensionType) else kind.value_type
    return kind


def is_textual(kind: pa.DataType) -> bool:
    """Tell whether a column of this type can be the text: strings and binaries, plain, large, viewed or encoded."""
    plain = storage(kind)
    return any(test(plain) for test in TEXTUAL)


def _look_at_lines(file: SourceFile, columns: SourceColumns) -> _Look:
    head = read_head(file)
    look = _Look(file)
    if head.objects:
        _check_names(look, list(dict.fromkeys(key for o in head.objects for key in o)), columns)
    return look


def _check_names(look: _Look, names: Sequence[str], columns: SourceColumns) -> None:
    """Find each wanted column in the file or in its path; what neither has is a complaint, or for an extra a lack."""
    in_path = dict(_partitions(look.file.path))
    absent = [name for name in columns.wanted() if name not in names]
    used = [(name, in_path[name]) for name in absent if name in in_path and name != columns.text]
    look.file = replace(look.file, partitions=tuple(used))
    lacking = [name for name in absent if name not in dict(used)]
    look.lacks = tuple(name for name in lacking if name in columns.extra)
    for name in lacking:
        if name in (columns.text, columns.id):
            look.complaints.append(f"no column {name!r}{_near(name, names)}")
    for name in columns.wanted():
        if names.count(name) > 1:
            look.complaints.append(f"{names.count(name)} columns are called {name!r}; drop or rename all but one")


def _partitions(path: str) -> Iterator[tuple[str, str | None]]:
    """Yield the columns that folders like `lang=en` carry (Hive's convention), with %20 and the like resolved."""
    for part in path.split("/")[:-1]:
        name, sign, value = part.partition("=")
        if sign and name:
            yield name, None if value == _HIVE_NULL else unquote(value)


def _near(name: str, names: Sequence[str]) -> str:
    folded = {other.casefold(): other for other in names}
    near = [folded[match] for match in difflib.get_close_matches(name.casefold(), list(folded), 1, 0.6)]
    hint = f"; did you mean {near[0]!r}?" if near else ""
    shown = ", ".join(names[:20]) + (", ..." if len(names) > 20 else "")
    return f"{hint} It has: {shown}" if hint else f"; it has: {shown or 'no columns'}"


def _problems(domain: str, spec: SourceSpec, looks: Sequence[_Look], unreadable_files: str) -> list[str]:
    wrong = [f"{look.file.url}: {'; '.join(look.complaints)}" for look in looks if look.complaints]
    unread = [f"{look.file.url}: {look.file.problem}" for look in looks if look.file.kind == "unreadable"]
    problems = _listed(
        f"sources.{domain}: {len(wrong):,} of {len(looks):,} files do not have the columns asked for:",
        wrong,
        "Set text, id and extra of this source to what the files hold, or name the files that fit.",
    )
    problems += _nobody_has(domain, spec, looks)
    if unreadable_files == "fail":
        problems += _listed(
            f"sources.{domain}: {len(unread):,} of {len(looks):,} files cannot be read:",
            unread,
            "Mend or remove them, or set ingest.unreadable_files: quarantine to go on without them.",
        )
    return problems


def _listed(head: str, lines: Sequence[str], tail: str) -> list[str]:
    if not lines:
        return []
    more = [f"  ... and {len(lines) - SHOWN:,} more"] if len(lines) > SHOWN else []
    return [head, *(f"  {line}" for line in lines[:SHOWN]), *more, f"  {tail}"]


def _nobody_has(domain: str, spec: SourceSpec, looks: Sequence[_Look]) -> list[str]:
    readable = [look for look in looks if look.file.kind != "unreadable"]
    if not readable:
        return []
    nowhere = [name for name in spec.extra if all(name in look.lacks for look in readable)]
    if not nowhere or any(look.file.kind == "jsonl" for look in readable):
        return []
    return [f"sources.{domain}: extra: no file has a column {', '.join(map(repr, nowhere))}; remove it from extra"]


def _notes(domain: str, spec: SourceSpec, looks: Sequence[_Look]) -> list[str]:
    lacking: dict[str, int] = defaultdict(int)
    for look in looks:
        for name in look.lacks:
            lacking[name] += 1
    notes = [
        f"sources.{domain}: {count:,} of {len(looks):,} files have no {name!r}: null there"
        for name, count in sorted(lacking.items())
    ]
    unread = sum(look.file.kind == "unreadable" for look in looks)
    return notes + ([f"sources.{domain}: {unread:,} files cannot be read: quarantined"] if unread else [])


def _shared_files(specs: Mapping[str, SourceSpec], sources: Mapping[str, SourceFiles]) -> Iterable[str]:
    """Yield a line for a file that two domains would both read the same text from: it would count twice."""
    owner: dict[tuple[str, str, str], str] = {}
    for domain, files in sources.items():
        for file in files.files:
            place = os.path.realpath(file.path) if file.root == LOCAL else file.path
            first = owner.setdefault((file.root, place, specs[domain].text), domain)
            if first != domain:
                yield f"sources.{domain}: {file.url} belongs to sources.{first} too; a document has one domain"
                return
