"""What a raw file is, by its first bytes: Parquet, JSON Lines (plain, gzip, zstd) or something we cannot read.

Bytes beat names (plain text called .jsonl.gz is read as plain text; Parquet called .txt is read as Parquet), with one
exception: what is called *.parquet must be Parquet, because a page of HTML under that name is a failed download.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal

import orjson
import pyarrow as pa

from pipeline.ingest.discover import ENDINGS
from pipeline.ingest.sources import Format, SourceFile, open_file

HEAD_BYTES = 256 << 10
HEAD_LINES = 100

_PARQUET, _ENCRYPTED, _GZIP, _ZSTD = b"PAR1", b"PARE", b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class Head:
    """The beginning of a JSON Lines stream: its first lines that are objects, and whether all were seen to its end."""

    objects: tuple[dict[str, Any], ...]
    lines: int
    first_byte: bytes


def sniff(file: SourceFile, format: Format = "auto") -> SourceFile:
    """Return the file with its kind and compression, or as unreadable with the problem."""
    if file.kind == "unreadable":
        return file
    with open_file(file) as stream:
        start = stream.read(4)
    if start == _PARQUET and format != "jsonl":
        return replace(file, kind="parquet")
    if file.path.lower().endswith(".parquet") or format == "parquet":
        return replace(file, kind="unreadable", problem=f"not Parquet: it {_looks_like(file, start)}")
    if start[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return replace(file, kind="unreadable", problem="JSON Lines must be UTF-8, and this begins as UTF-16 does")
    packed: Literal["gzip", "zstd"] | None = (
        "gzip" if start[:2] == _GZIP else "zstd" if start == _ZSTD or _is_skippable(start) else None
    )
    lines = replace(file, kind="jsonl", compression=packed)
    return _refused_lines(lines, format)


def _is_skippable(start: bytes) -> bool:
    """Tell whether a zstd stream begins with a skippable frame (magic 184D2A50 to 184D2A5F), as pzstd writes."""
    return len(start) == 4 and start[1:] == b"\x2a\x4d\x18" and start[0] & 0xF0 == 0x50


def _looks_like(file: SourceFile, start: bytes) -> str:
    if not file.size:
        return "is empty (0 bytes)"
    if start == _ENCRYPTED:
        return "is encrypted Parquet; decrypt it first"
    if start[:2] == _GZIP:
        return "is gzip data"
    if start[:1] == b"<":
        return "begins like a web page; perhaps a failed download"
    return f"begins with {start!r}"


def _refused_lines(file: SourceFile, format: Format) -> SourceFile:
    head = read_head(file)
    if head.first_byte == b"[":
        problem = "a JSON array, not JSON Lines; make one line a document of it: jq -c '.[]' IN > OUT.jsonl"
        return replace(file, kind="unreadable", problem=problem)
    called_so = file.path.lower().endswith(ENDINGS["jsonl"]) or format == "jsonl"
    if not called_so and not head.objects:
        problem = "neither Parquet nor JSON Lines, by its first bytes; set format: jsonl if it is the latter"
        return replace(file, kind="unreadable", problem=problem)
    return file


def open_lines(file: SourceFile) -> pa.NativeFile:
    """Return the stream of a JSON Lines file, decompressed: all members and frames, one after another."""
    raw = open_file(file)
    return raw if file.compression is None else pa.CompressedInputStream(raw, file.compression)


def read_head(file: SourceFile) -> Head:
    """Return what the first lines of a stream hold. A stream that breaks is judged by what came before the break."""
    with open_lines(file) as stream:
        data = b"".join(_until_broken(stream)).removeprefix(BOM)
    whole = data.split(b"\n")
    if len(data) >= HEAD_BYTES - len(BOM) and len(whole) > 1:
        whole.pop()
    lines = [line for line in whole if line.strip()][:HEAD_LINES]
    parsed = (_parse(line) for line in lines)
    return Head(tuple(o for o in parsed if isinstance(o, dict)), len(lines), data.lstrip()[:1])


def _until_broken(stream: pa.NativeFile) -> Iterator[bytes]:
    left = HEAD_BYTES
    while left > 0:
        try:
            piece = stream.read(min(left, 4096))
        except OSError:
            return
        if not piece:
            return
        left -= len(piece)
        yield piece


def _parse(line: bytes) -> Any:
    try:
        return orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
