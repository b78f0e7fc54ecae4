"""JSON Lines: streams of every make, strict judgement, nothing lost at the borders of chunks, ranges and members."""

import gzip
import json
from itertools import pairwise
from pathlib import Path

import orjson
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import DataError
from pipeline.ingest import jsonl
from pipeline.ingest.plan import Piece
from pipeline.ingest.sniff import sniff
from pipeline.ingest.sources import LOCAL, SourceFile
from tests.conftest import read
from tests.ingested import ingest, refused

ROWS = [{"id": f"j{i}", "text": f"document {i} of \u00fcber 40 — {'x' * (i * 7 % 90)}"} for i in range(40)]
LINES = b"".join(orjson.dumps(row) + b"\n" for row in ROWS)


def source(path: Path) -> SourceFile:
    stat = path.stat()
    return sniff(SourceFile(LOCAL, str(path), stat.st_size, stat.st_mtime_ns))


def texts(corpus):
    return read(corpus)["text"].to_pylist()


def zstd_frames(*parts: bytes) -> bytes:
    return b"".join(zstandard.ZstdCompressor().compress(part) for part in parts)


@pytest.mark.parametrize(
    "content",
    [
        LINES,
        LINES[:-1],
        b"\xef\xbb\xbf" + LINES.replace(b"\n", b"\r\n"),
        LINES.replace(b"\n", b"\n\n   \n"),
        gzip.compress(LINES),
        gzip.compress(LINES[:1001]) + gzip.compress(LINES[1001:]),
        zstd_frames(LINES),
        zstd_frames(LINES[:1001], LINES[1001:], b""),
        b"\x50\x2a\x4d\x18\x04\x00\x00\x00abcd" + zstd_frames(LINES),
    ],
    ids=["plain", "no final newline", "bom crlf", "blank lines", "gz", "gz members", "zst", "zst frames", "skippable"],
)
@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz", "named"])
def test_a_stream_is_read_for_what_it_is_whatever_its_name(tmp_path, content, name):
    (tmp_path / name).write_bytes(content)
    corpus = ingest(tmp_path / "out", {"web": tmp_path / name}, id="id")
    assert texts(corpus) == [row["text"] for row in ROWS]
    assert read(corpus)["source_id"].to_pylist() == [row["id"] for row in ROWS]
    assert corpus.manifest.ledger["web"]["rows_in"] == 40


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.one_of(st.binary(max_size=9).map(lambda b: b.replace(b"\n", b"")), st.just(b"")), max_size=12),
    st.lists(st.integers(0, 120), max_size=4),
    st.integers(1, 9),
    st.booleans(),
)
def test_every_line_belongs_to_exactly_one_range_of_bytes(tmp_path_factory, lines, cuts, chunk, final):
    content = b"\n".join(lines) + (b"\n" if final else b"")
    path = tmp_path_factory.mktemp("ranges") / "a.jsonl"
    path.write_bytes(content)
    file = SourceFile(LOCAL, str(path), len(content), None, kind="jsonl")
    bounds = sorted({0, len(content), *(cut for cut in cuts if cut < len(content))})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jsonl, "CHUNK_BYTES", chunk)
        pieces = [Piece(file, a, b) for a, b in pairwise(bounds)] or [Piece(file, 0, 0)]
        found = [(line.byte, line.content) for piece in pieces for line in jsonl.read_lines(piece)]
    expected, place = [], 0
    for line in content.split(b"\n"):
        shown = line.removeprefix(b"\xef\xbb\xbf") if place == 0 else line
        if shown.strip():
            expected.append((place, shown))
        place += len(line) + 1
    assert found == expected


def test_a_large_plain_file_is_many_tasks_with_the_same_rows(tmp_path):
    (tmp_path / "a.jsonl").write_bytes(LINES)
    whole = ingest(tmp_path / "whole", {"web": tmp_path / "a.jsonl"})
    parts = ingest(tmp_path / "parts", {"web": tmp_path / "a.jsonl"}, shard_bytes=500)
    assert len({shard.name.rsplit("-", 1)[0] for shard in parts.manifest.shards}) >= 6
    assert sorted(texts(parts)) == sorted(texts(whole))


BAD = {
    "not json": (b"not json at all", "invalid_json"),
    "cut": (b'{"text":"cut', "invalid_json"),
    "trailing comma": (b'{"text":"x",}', "invalid_json"),
    "NaN": (b'{"text":"x","score":NaN}', "invalid_json"),
    "lone surrogate": (b'{"text":"lone \\ud800 surrogate"}', "invalid_json"),
    "latin-1": (b'{"text":"caf\xe9"}', "invalid_utf8"),
    "array": (b"[1,2]", "not_an_object"),
    "string": (b'"text"', "not_an_object"),
    "no text": (b'{"id":"x"}', "missing_text"),
    "null": (b'{"text":null}', "null_text"),
    "number": (b'{"text":5}', "text_not_a_string"),
    "list": (b'{"text":["a"]}', "text_not_a_string"),
    "blank": (b'{"text":" \\u200b"}', "blank_text"),
    "repeated key": (b'{"text":"a","x":{"text":1},"text":"b"}', "repeated_key"),
    "repeated id": (b'{"id":1,"text":"a","id":2}', "repeated_key"),
}


@pytest.mark.parametrize("case", BAD, ids=list(BAD))
def test_a_bad_line_is_quarantined_with_its_line_place_and_bytes(tmp_path, case):
    line, reason = BAD[case]
    first = orjson.dumps({"id": "a", "text": "before"})
    (tmp_path / "a.jsonl").write_bytes(b"\n".join([first, line, first]) + b"\n")
    corpus = ingest(tmp_path / "out", {"web": tmp_path / "a.jsonl"}, id="id", quarantine_limit=0.5)
    (lost,) = refused(corpus)
    assert (lost["row"], lost["byte"], lost["reason"]) == (1, len(first) + 1, reason)
    if reason not in ("null_text", "blank_text"):
        assert lost["raw"] == line
    assert texts(corpus) == ["before", "before"]


@pytest.mark.parametrize(
    "line",
    [
        b'{"text":"kept","x":{"text":"inner"},"l":["text","text"]}',
        b'{"text":"kept","x":"\\"text\\" and \\"text\\""}',
        b'{"other":1,"other":2,"text":"kept"}',
        b'{"text":"kept","id":6,"x":{"deep":[1,{"a":null}]}}',
    ],
)
def test_a_name_met_again_elsewhere_than_as_a_key_of_the_line_is_fine(tmp_path, line):
    (tmp_path / "a.jsonl").write_bytes(line)
    assert texts(ingest(tmp_path / "out", {"web": tmp_path / "a.jsonl"})) == ["kept"]


def test_values_of_carried_keys_become_text_and_absent_ones_null(tmp_path):
    rows = [
        {"text": "a", "n": 5, "f": 0.5, "b": True, "o": {"k": [1]}, "s": "str"},
        {"text": "b", "n": None},
    ]
    (tmp_path / "a.jsonl").write_bytes(b"\n".join(map(orjson.dumps, rows)))
    extra = ("n", "f", "b", "o", "s")
    first, second = read(ingest(tmp_path / "out", {"web": tmp_path / "a.jsonl"}, extra=extra)).to_pylist()
    assert [first[name] for name in extra] == ["5", "0.5", "true", '{"k":[1]}', "str"]
    assert all(second[name] is None for name in extra)


@pytest.mark.parametrize("ending", ["gz", "zst"])
@pytest.mark.parametrize("cut", [1, 9, 300])
def test_a_stream_that_breaks_off_keeps_every_whole_line_before_the_break(tmp_path, ending, cut):
    plain = LINES * 200
    compress = {"gz": gzip.compress, "zst": zstd_frames}[ending]
    broken = compress(plain)[:-cut]
    (tmp_path / f"a.jsonl.{ending}").write_bytes(broken)
    corpus = ingest(tmp_path / "out", {"web": tmp_path / f"a.jsonl.{ending}"}, quarantine_limit=1)
    kept = texts(corpus)
    assert kept == [row["text"] for row in ROWS * 200][: len(kept)]
    (lost,) = refused(corpus)
    assert lost["reason"] == "truncated_stream"
    assert (lost["rows"], lost["row"]) == (1, len(kept))
    # What was read and what is held of the cut line are a beginning of the stream, without a hole.
    assert plain[lost["byte"] :].startswith(lost["raw"])
    if ending == "gz":  # zlib gives out all it has; whatever block zstd was in the middle of is lost
        assert len(kept) > 7000


def test_a_stream_damaged_in_the_middle_says_so(tmp_path):
    damaged = bytearray(gzip.compress(LINES * 50))
    damaged[-6] ^= 0xFF  # the checksum at the end
    (tmp_path / "a.jsonl.gz").write_bytes(damaged)
    corpus = ingest(tmp_path / "out", {"web": tmp_path / "a.jsonl.gz"}, quarantine_limit=1)
    (lost,) = refused(corpus)
    assert lost["reason"] == "damaged_stream"
    assert corpus.manifest.ledger["web"]["rows_in"] == corpus.manifest.rows + 1


def test_a_line_beyond_the_longest_is_passed_over_and_the_next_ones_are_read(tmp_path, monkeypatch):
    monkeypatch.setattr(jsonl, "LONGEST_LINE", 1000)
    monkeypatch.setattr(jsonl, "CHUNK_BYTES", 64)
    long = orjson.dumps({"text": "y" * 5000})
    last = orjson.dumps({"text": "last"})
    (tmp_path / "a.jsonl").write_bytes(b"\n".join([last, long, last]))
    corpus = ingest(tmp_path / "out", {"web": tmp_path / "a.jsonl"}, quarantine_limit=1)
    assert texts(corpus) == ["last", "last"]
    (lost,) = refused(corpus)
    assert (lost["reason"], lost["row"], lost["byte"]) == ("line_too_long", 1, len(last) + 1)
    assert long.startswith(lost["raw"])


def test_a_stream_is_written_as_several_shards(tmp_path):
    (tmp_path / "a.jsonl.zst").write_bytes(zstd_frames(LINES))
    corpus = ingest(tmp_path / "out", {"web": tmp_path / "a.jsonl.zst"}, shard_bytes=600)
    assert len(corpus.manifest.shards) > 3
    assert texts(corpus) == [row["text"] for row in ROWS]


def test_a_web_page_called_jsonl_is_an_error_after_the_pass(tmp_path):
    (tmp_path / "a.jsonl").write_bytes(b"<!DOCTYPE html>\n<html>404</html>\n")
    with pytest.raises(DataError, match=r"invalid_json +2"):
        ingest(tmp_path / "out", {"web": tmp_path / "a.jsonl"})


@settings(deadline=None, max_examples=40)
@given(st.lists(st.text(min_size=1, max_size=30), min_size=1, max_size=10))
def test_any_text_survives_json_and_ingest_byte_for_byte(tmp_path_factory, values):
    from tests.kernels import reference_utf8

    folder = tmp_path_factory.mktemp("survives")
    values = [value.encode("utf-8", "ignore").decode() for value in values]
    (folder / "a.jsonl").write_text("".join(json.dumps({"text": v}) + "\n" for v in values), encoding="utf-8")
    corpus = ingest(folder / "out", {"web": folder / "a.jsonl"}, quarantine_limit=1)
    assert texts(corpus) == [value for value in values if reference_utf8.state(value.encode()) == 0]
