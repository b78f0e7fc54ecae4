"""Read JSON Lines in bounded memory, plain or from gzip and zstd streams of any number of members and frames.

Strict on purpose, because readers differ in what they make of the rest, and a guess would be part of the corpus:
invalid UTF-8, a lone surrogate, NaN, a trailing comma (none of them JSON by RFC 8259) and a repeated key among those we
read send a line to the quarantine. Empty lines, and lines of blanks, are no rows. A byte order mark at the start and
CR before LF are fine, and so is a missing newline at the end.

A stream that breaks off keeps the lines before the break; what came after it cannot be counted and stands in the books
as one row, `truncated_stream` or `damaged_stream`, with the piece of a line before the break.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import orjson
import pyarrow as pa

from pipeline.ingest.inspect import first_line
from pipeline.ingest.plan import Piece
from pipeline.ingest.rows import RAW_BYTES, Lost, Rows
from pipeline.ingest.sniff import BOM, open_lines
from pipeline.ingest.sources import SourceColumns, SourceFile, open_file

CHUNK_BYTES = 256 << 10
BATCH_BYTES = 8 << 20
BATCH_ROWS = 8192
LONGEST_LINE = 64 << 20


@dataclass(frozen=True, slots=True)
class Line:
    """One line without its end: number in the file from 0 (-1: unknown), place in the stream, bytes.

    `cut` says why the bytes are only a beginning ("": they are whole).
    """

    number: int
    byte: int
    content: bytes
    cut: str = ""
    detail: str = ""


@dataclass
class _Batch:
    texts: list[str | None] = field(default_factory=list)
    columns: dict[str, list[str | None]] = field(default_factory=dict)
    rows: list[int] = field(default_factory=list)
    bytes: list[int] = field(default_factory=list)
    size: int = 0

    def full(self) -> bool:
        return self.size >= BATCH_BYTES or len(self.rows) >= BATCH_ROWS

    def rows_of(self) -> Rows:
        carried = {name: pa.array(values, pa.large_string()) for name, values in self.columns.items()}
        text = pa.array(self.texts, pa.large_string()).cast(pa.large_binary())
        return Rows(text, carried, np.array(self.rows, np.int64), np.array(self.bytes, np.int64))


def read_jsonl(piece: Piece, columns: SourceColumns) -> Iterator[Rows | Lost]:
    """Yield the rows of a piece: those whose line begins in it, in order.

    Raises:
        OSError: the file's bytes cannot be fetched.
    """
    names = {name: name for name in columns.extra} | ({"source_id": columns.id} if columns.id else {})
    quoted = [orjson.dumps(name) for name in columns.wanted()]
    partitions = dict(piece.file.partitions)
    batch = _Batch(columns={name: [] for name in names})
    for line in read_lines(piece):
        judged = _judge(line, columns.text, quoted)
        if isinstance(judged, Lost):
            yield judged
            continue
        text = judged[columns.text]
        batch.texts.append(text)
        batch.rows.append(line.number)
        batch.bytes.append(line.byte)
        batch.size += len(line.content)
        for name, key in names.items():
            batch.columns[name].append(_as_text(judged[key]) if key in judged else partitions.get(key))
        if batch.full():
            yield batch.rows_of()
            batch = _Batch(columns={name: [] for name in names})
    if batch.rows:
        yield batch.rows_of()


def _judge(line: Line, text: str, quoted: list[bytes]) -> dict[str, Any] | Lost:
    """Return the object on a line, or why there is none to use."""
    if line.cut:
        return _lost(line, line.cut, line.detail)
    try:
        value = orjson.loads(line.content)
    except orjson.JSONDecodeError as error:
        return _lost(line, "invalid_json" if _is_utf8(line.content) else "invalid_utf8", str(error))
    if not isinstance(value, dict):
        return _lost(line, "not_an_object")
    for key in quoted:
        # Within a string the second quote is escaped, so a key met once is there once; most lines end here.
        if line.content.count(key) > 1 and (twice := _repeated(line.content, quoted)):
            return _lost(line, "repeated_key", twice)
    if text not in value:
        return _lost(line, "missing_text")
    if value[text] is not None and not isinstance(value[text], str):
        return _lost(line, "text_not_a_string", type(value[text]).__name__)
    return value


def _lost(line: Line, reason: str, detail: str = "") -> Lost:
    number = line.number if line.number >= 0 else None
    return Lost(reason, 1, row=number, byte=line.byte, detail=detail, raw=line.content[:RAW_BYTES])


def _is_utf8(content: bytes) -> bool:
    try:
        content.decode()
        return True
    except UnicodeDecodeError:
        return False


def _repeated(content: bytes, quoted: list[bytes]) -> str:
    """Return the first key of the line's object, among those we read, that it has twice; "" if there is none."""
    names = {orjson.loads(key) for key in quoted}
    pairs: list[list[str]] = []
    # The hook is called for inner objects first and for the line's own last.
    try:
        json.loads(content, object_pairs_hook=lambda members: pairs.append([key for key, _ in members]))
    except RecursionError:
        return "(nested too deep to tell)"
    return next((name for name in sorted(names) if pairs[-1].count(name) > 1), "")


def _as_text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return orjson.dumps(value).decode()


def read_lines(piece: Piece) -> Iterator[Line]:
    """Yield the lines that begin in a piece, without blank ones. A line of more than 64 MiB is cut and passed over."""
    if piece.file.compression or piece.first == 0:
        yield from _lines(_pieces(piece.file, 0), 0, 0, None if piece.file.compression else piece.last)
        return
    # A line belongs to the piece in which it begins: start one byte before, behind the first newline from there.
    pieces = _pieces(piece.file, piece.first - 1)
    yield from _lines(pieces, piece.first - 1, -1, piece.last, skip=True)


def _lines(
    pieces: Iterator["bytes | Broken"], place: int, number: int, end: int | None, skip: bool = False
) -> Iterator[Line]:
    """Yield lines from pieces of a stream that begins at `place`; with `skip`, from behind the first newline."""
    line = _Growing(place)
    for piece in pieces:
        if isinstance(piece, Broken):
            yield Line(number, line.start, line.content(), piece.reason, piece.detail)
            return
        *whole, rest = piece.split(b"\n")
        for part in whole:
            line.add(part)
            if not skip:
                if end is not None and line.start >= end:
                    return
                yield from line.finished(number)
                number += number >= 0
            skip = False
            line = _Growing(line.start + line.size + 1)
        line.add(rest)
    if not skip and (end is None or line.start < end):
        yield from line.finished(number)


class _Growing:
    """A line as its parts arrive. Beyond 64 MiB only its beginning is held, for the quarantine."""

    __slots__ = ("parts", "size", "start")

    def __init__(self, start: int):
        self.start, self.size = start, 0
        self.parts: list[bytes] = []

    def add(self, part: bytes) -> None:
        was_long = self.size > LONGEST_LINE
        self.size += len(part)
        if not was_long:
            self.parts.append(part)
            if self.size > LONGEST_LINE:
                self.parts = [b"".join(self.parts)[:RAW_BYTES]]

    def content(self) -> bytes:
        content = self.parts[0] if len(self.parts) == 1 else b"".join(self.parts)
        return content if self.start else content.removeprefix(BOM)

    def finished(self, number: int) -> Iterator[Line]:
        """Yield the line, unless it is blank."""
        content = self.content()
        if self.size > LONGEST_LINE:
            yield Line(
                number, self.start, content, "line_too_long", f"{self.size:,} bytes, of {LONGEST_LINE:,} at most"
            )
        elif content.strip():
            yield Line(number, self.start, content)


@dataclass(frozen=True, slots=True)
class Broken:
    """The end of a compressed stream that has no proper one."""

    reason: str
    detail: str


def _pieces(file: SourceFile, place: int) -> Iterator["bytes | Broken"]:
    if file.compression is None:
        with open_file(file) as stream:
            stream.seek(place)
            while piece := stream.read(CHUNK_BYTES):
                yield piece
        return
    done = 0
    with open_lines(file) as stream:
        while True:
            try:
                piece = stream.read(CHUNK_BYTES)
            except OSError as error:
                broken = error
                break
            if not piece:
                return
            done += len(piece)
            yield piece
    yield from _last_bytes(file, done, broken)


def _last_bytes(file: SourceFile, done: int, error: OSError) -> Iterator["bytes | Broken"]:
    """Yield what can still be read behind `done` bytes of a stream that broke, then the break.

    A failed read throws away what it had decompressed, so the stream is opened again and read byte by byte. If the raw
    bytes cannot be fetched either, the fault is not the stream's and the error is raised.
    """
    with open_file(file) as raw:
        while raw.read(CHUNK_BYTES):
            pass
    last = bytearray()
    with open_lines(file) as stream:
        while done > 0:
            done -= len(stream.read(min(done, CHUNK_BYTES)))
        try:
            while byte := stream.read(1):
                last += byte
        except OSError:
            pass
    if last:
        yield bytes(last)
    reason = "truncated_stream" if "runcated" in str(error) else "damaged_stream"
    yield Broken(reason, f"{first_line(error)}; what follows could not be counted")
