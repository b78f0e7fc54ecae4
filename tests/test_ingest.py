"""Ingest as a stage: what documents it makes, what it refuses, and what its output does not depend on."""

import shutil

import mmh3
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from pipeline.corpus import DATA
from pipeline.errors import DataError, StageError
from pipeline.ingest.sources import SourceColumns, SourceSpec
from pipeline.ingest.stage import IngestParams
from pipeline.schemas import documents
from tests.conftest import read
from tests.ingested import ingest, refused, write
from tests.kernels import reference_hashing as slow

TEXTS = [f"document {i}, which says so {'again and ' * (i % 7)}again" for i in range(200)]


def by_id(corpus):
    return {row["doc_id"]: row for row in read(corpus).to_pylist()}


def shards(corpus):
    return {shard.name: shard.checksum for shard in corpus.manifest.shards}


def test_documents_hold_the_text_byte_for_byte_and_ids_of_text_and_domain(tmp_path):
    texts = ["plain", "with\r\nline ends\x00 and\u200bmore", "\ufeffmark", "e\u0301", "\U0001f468\u200d\U0001f469"]
    write(tmp_path / "raw/a.parquet", texts)
    table = read(ingest(tmp_path / "out", {"web": tmp_path / "raw"}))
    assert table.schema == documents()
    assert table["text"].to_pylist() == texts
    assert table["bytes"].to_pylist() == [len(text.encode()) for text in texts]
    assert set(table["domain"].to_pylist()) == {"web"}
    seed = mmh3.hash64(b"web", 0, True, signed=False)[0]
    expected = [slow.murmur128(text.encode(), seed) for text in texts]
    assert [
        (int.from_bytes(i[:8], "little"), int.from_bytes(i[8:], "little")) for i in table["doc_id"].to_pylist()
    ] == (expected)


def test_one_text_in_two_domains_is_two_documents(tmp_path):
    write(tmp_path / "a.parquet", ["same text"])
    ids = {
        domain: read(ingest(tmp_path / domain, {domain: tmp_path / "a.parquet"}))["doc_id"][0].as_py()
        for domain in ("web", "code")
    }
    assert ids["web"] != ids["code"]


@pytest.mark.parametrize(
    "kind",
    [
        pa.string(),
        pa.large_string(),
        pa.string_view(),
        pa.binary(),
        pa.large_binary(),
        pa.binary_view(),
        pa.dictionary(pa.int8(), pa.string()),
        pa.dictionary(pa.int32(), pa.large_string()),
        pa.json_(),
    ],
    ids=str,
)
def test_every_textual_type_gives_the_same_documents(tmp_path, kind):
    texts = ["one", None, "two two", "", "one"]
    plain = pa.array(texts, pa.string())
    if pa.types.is_dictionary(kind):
        column = plain.dictionary_encode().cast(kind)
    else:
        column = (
            pa.ExtensionArray.from_storage(kind, plain) if isinstance(kind, pa.BaseExtensionType) else plain.cast(kind)
        )
    pq.write_table(pa.table({"text": column}), tmp_path / "a.parquet")
    corpus = ingest(tmp_path / "out", {"web": tmp_path / "a.parquet"}, quarantine_limit=1)
    assert read(corpus)["text"].to_pylist() == ["one", "two two", "one"]
    assert corpus.manifest.ledger["web"]["dropped"] == {"blank_text": 1, "null_text": 1}


def test_what_is_not_text_is_quarantined_with_its_place_reason_and_bytes(tmp_path):
    write(tmp_path / "a.parquet", [b"fine", None, b"caf\xe9", b" \n", b"\xed\xa0\x80", b"fine too"], pa.binary())
    corpus = ingest(tmp_path / "out", {"web": tmp_path / "a.parquet"}, quarantine_limit=0.7)
    found = [(row["row"], row["reason"], row["raw"]) for row in refused(corpus)]
    assert found == [
        (1, "null_text", None),
        (2, "invalid_utf8", b"caf\xe9"),
        (3, "blank_text", b" \n"),
        (4, "invalid_utf8", b"\xed\xa0\x80"),
    ]
    books = corpus.manifest.ledger["web"]
    assert (books["rows_in"], books["rows_kept"]) == (6, 2)
    assert books["dropped"] == {"blank_text": 1, "invalid_utf8": 2, "null_text": 1}
    assert (books["bytes_in"], books["bytes_kept"]) == (21, 12)


def test_places_count_on_over_batches_row_groups_and_pieces(tmp_path, monkeypatch):
    from pipeline.ingest import parquet

    monkeypatch.setattr(parquet, "BATCH_ROWS", 7)
    texts = [None if i % 10 == 3 else f"text {i}" for i in range(100)]
    write(tmp_path / "a.parquet", texts, row_group_size=30)
    for size in (300, 64 << 20):
        corpus = ingest(tmp_path / f"out-{size}", {"web": tmp_path / "a.parquet"}, quarantine_limit=1, shard_bytes=size)
        assert [row["row"] for row in refused(corpus)] == list(range(3, 100, 10))


def test_a_string_column_that_lies_is_judged_by_its_bytes(tmp_path):
    lies = pa.array([b"good", b"b\xe4d"], pa.binary()).view(pa.string())
    pq.write_table(pa.table({"text": lies}), tmp_path / "a.parquet")
    corpus = ingest(tmp_path / "out", {"web": tmp_path / "a.parquet"}, quarantine_limit=0.5)
    assert read(corpus)["text"].to_pylist() == ["good"]
    assert refused(corpus)[0]["reason"] == "invalid_utf8"


def test_too_many_refused_rows_end_in_one_error_with_reasons_counts_places_and_the_option(tmp_path):
    write(tmp_path / "bad.parquet", ["x"] * 997 + [None, None, " "])
    with pytest.raises(DataError) as caught:
        ingest(tmp_path / "out", {"web": tmp_path / "bad.parquet"})
    message = str(caught.value)
    assert "3 of 1,000 rows (0.30%) cannot be used, and the recipe allows 0.10%" in message
    assert "null_text" in message
    assert f"{tmp_path / 'bad.parquet'} row 997" in message
    assert "set ingest.quarantine_limit to 0.003." in message
    assert len(message.splitlines()) < 10


def test_refused_rows_within_the_limit_are_no_error(tmp_path):
    write(tmp_path / "a.parquet", ["x"] * 999 + [None])
    assert ingest(tmp_path / "out", {"web": tmp_path / "a.parquet"}).manifest.ledger["web"]["rows_kept"] == 999


def test_the_limit_is_a_share_over_all_sources(tmp_path):
    write(tmp_path / "clean.parquet", ["x"] * 1999)
    write(tmp_path / "bad.parquet", [None])
    corpus = ingest(tmp_path / "out", {"a": tmp_path / "clean.parquet", "b": tmp_path / "bad.parquet"})
    assert corpus.manifest.ledger["b"]["rows_kept"] == 0


def test_ids_and_extra_columns_of_any_type_become_text(tmp_path):
    columns = {
        "id": pa.array([2**63, None], pa.uint64()),
        "score": pa.array([0.5, None], pa.float32()),
        "when": pa.array([0, None], pa.timestamp("us", "UTC")),
        "nested": pa.array([{"a": 1, "b": ["x"]}, None]),
        "tags": pa.array([["p", "q"], None]),
        "digest": pa.array([b"\x00\xff", None], pa.binary(2)),
        "raw": pa.array([b"caf\xe9", None], pa.binary()),
        "lang": pa.array(["en", None]).dictionary_encode(),
        "empty": pa.nulls(2),
    }
    write(tmp_path / "a.parquet", ["first", "second"], **columns)
    extra = tuple(name for name in columns if name != "id")
    first, second = read(ingest(tmp_path / "out", {"web": tmp_path / "a.parquet"}, id="id", extra=extra)).to_pylist()
    assert first["source_id"] == str(2**63)
    assert [first[name] for name in extra] == [
        "0.5",
        "1970-01-01 00:00:00.000000Z",
        '{"a":1,"b":["x"]}',
        '["p","q"]',
        "00ff",
        "caf\ufffd",
        "en",
        None,
    ]
    assert all(second[name] is None for name in ("source_id", *extra))


def test_an_extra_column_that_some_files_lack_is_null_there(tmp_path):
    write(tmp_path / "raw/a.parquet", ["has it"], lang=["en"])
    write(tmp_path / "raw/b.parquet", ["has it not"])
    corpus = ingest(tmp_path / "out", {"web": tmp_path / "raw"}, extra=("lang",))
    assert {row["text"]: row["lang"] for row in read(corpus).to_pylist()} == {"has it": "en", "has it not": None}


def test_domains_with_other_extra_columns_share_one_schema(tmp_path):
    write(tmp_path / "a.parquet", ["a"], lang=["en"])
    write(tmp_path / "b.parquet", ["b"], stars=[5])
    sources = {
        "a": SourceSpec(paths=(str(tmp_path / "a.parquet"),), extra=("lang",)),
        "b": SourceSpec(paths=(str(tmp_path / "b.parquet"),), extra=("stars",)),
    }
    table = read(ingest(tmp_path / "out", sources))
    assert table.schema == documents(("lang", "stars"))
    assert sorted(zip(*(table[name].to_pylist() for name in ("text", "lang", "stars")), strict=True)) == [
        ("a", "en", None),
        ("b", None, "5"),
    ]


def test_columns_that_live_only_in_the_path_are_taken_from_there(tmp_path):
    write(tmp_path / "raw/lang=en/site=a%20b/p.parquet", ["x"])
    write(tmp_path / "raw/lang=__HIVE_DEFAULT_PARTITION__/site=c/p.parquet", ["y"])
    corpus = ingest(tmp_path / "out", {"web": tmp_path / "raw"}, id="site", extra=("lang",))
    rows = {row["text"]: (row["source_id"], row["lang"]) for row in read(corpus).to_pylist()}
    assert rows == {"x": ("a b", "en"), "y": ("c", None)}


def test_a_column_in_the_file_wins_over_the_path(tmp_path):
    write(tmp_path / "raw/lang=en/p.parquet", ["x"], lang=["de"])
    assert read(ingest(tmp_path / "out", {"web": tmp_path / "raw"}, extra=("lang",)))["lang"].to_pylist() == ["de"]


def test_a_source_of_no_rows_is_a_corpus_of_no_rows_with_its_columns(tmp_path):
    write(tmp_path / "a.parquet", [])
    corpus = ingest(tmp_path / "out", {"web": tmp_path / "a.parquet"})
    assert read(corpus).schema == documents()
    assert corpus.manifest.rows == 0
    assert corpus.manifest.ledger["web"]["rows_in"] == 0


@pytest.fixture
def raw(tmp_path):
    """Two hundred documents in four files of several row groups."""
    for part in range(4):
        write(tmp_path / f"raw/part-{part}.parquet", TEXTS[part * 50 : part * 50 + 50], row_group_size=20)
    return tmp_path / "raw"


def test_renaming_and_moving_files_changes_no_byte_of_the_corpus(tmp_path, raw):
    before = ingest(tmp_path / "before", {"web": raw}, shard_bytes=2000)
    for index, name in enumerate(["zz.parquet", "nested dir/ü #1.parquet", "b=c/a.parquet", "0.parquet"]):
        target = tmp_path / "moved" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(raw / f"part-{index}.parquet", target)
    after = ingest(tmp_path / "after", {"web": [tmp_path / "moved/zz.parquet", tmp_path / "moved"]}, shard_bytes=2000)
    assert shards(after) == shards(before)
    assert after.manifest.fingerprint == before.manifest.fingerprint


def test_splitting_joining_and_reordering_files_changes_no_document(tmp_path, raw):
    before = by_id(ingest(tmp_path / "before", {"web": raw}))
    order = np.random.default_rng(1).permutation(200)
    cuts = np.split(order, [1, 3, 150])
    for index, rows in enumerate(cuts):
        write(tmp_path / f"other/{index}.parquet", [TEXTS[i] for i in rows], row_group_size=7)
    assert by_id(ingest(tmp_path / "after", {"web": tmp_path / "other"}, shard_bytes=1500)) == before


def test_another_file_changes_no_other_document(tmp_path, raw):
    before = by_id(ingest(tmp_path / "before", {"web": raw}))
    write(raw / "a-new-one.parquet", ["something new"])
    after = by_id(ingest(tmp_path / "after", {"web": raw}))
    assert {key: after[key] for key in before} == before
    assert len(after) == len(before) + 1


def test_a_changed_file_is_read_again_and_the_others_are_taken_over(tmp_path, raw):
    # A shard of 2 kB is smaller than a file: every file is tasks of its own.
    first = ingest(tmp_path / "first", {"web": raw}, shard_bytes=2000)
    write(raw / "part-2.parquet", ["quite another text"], row_group_size=20)
    second = ingest(tmp_path / "second", {"web": raw}, shard_bytes=2000, earlier=first)
    common = set(shards(first)) & set(shards(second))
    assert len(common) == len(shards(first)) - len([s for s in shards(first) if s not in common])
    linked = [name for name in common if (second.root / DATA / name).stat().st_nlink > 1]
    assert sorted(linked) == sorted(common)
    assert len(common) >= 6
    assert second.manifest.rows == 151


def test_two_files_of_equal_bytes_are_two_inputs(tmp_path):
    write(tmp_path / "raw/a.parquet", TEXTS, row_group_size=50)
    shutil.copy(tmp_path / "raw/a.parquet", tmp_path / "raw/b.parquet")
    for shard_bytes in (2000, 64 << 20):
        corpus = ingest(tmp_path / f"out-{shard_bytes}", {"web": tmp_path / "raw"}, shard_bytes=shard_bytes)
        assert corpus.manifest.rows == 400


def test_one_file_matched_twice_is_read_once(tmp_path, raw):
    corpus = ingest(tmp_path / "out", {"web": [raw, raw / "*.parquet", raw / "part-1.parquet"]})
    assert corpus.manifest.rows == 200


def test_shards_are_cut_at_their_size_and_no_row_is_lost_at_a_cut(tmp_path):
    write(tmp_path / "a.parquet", TEXTS)
    corpus = ingest(tmp_path / "out", {"web": tmp_path / "a.parquet"}, shard_bytes=1000)
    assert read(corpus)["text"].to_pylist() == TEXTS
    sizes = [sum(pq.read_table(path)["bytes"].to_pylist()) for path in corpus.paths()]
    assert max(sizes) <= 1000
    assert min(sizes[:-1]) > 800


def test_a_document_larger_than_a_shard_is_a_shard(tmp_path):
    write(tmp_path / "a.parquet", ["short", "long " * 1000, "short again"])
    corpus = ingest(tmp_path / "out", {"web": tmp_path / "a.parquet"}, shard_bytes=1000)
    assert [shard.rows for shard in corpus.manifest.shards] == [1, 1, 1]


def test_output_has_page_checksums_and_no_statistics_of_text(tmp_path):
    write(tmp_path / "a.parquet", TEXTS)
    path = next(ingest(tmp_path / "out", {"web": tmp_path / "a.parquet"}).paths())
    group = pq.read_metadata(path).row_group(0)
    columns = {group.column(c).path_in_schema: group.column(c) for c in range(group.num_columns)}
    assert columns["text"].statistics is None
    assert not columns["text"].has_dictionary_page
    content = bytearray(path.read_bytes())
    content[columns["text"].data_page_offset + columns["text"].total_compressed_size // 2] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(OSError, match="CRC checksum"):
        pq.ParquetFile(path, page_checksum_verification=True).read(columns=["text"])


def broken_page(path):
    """Flip bytes of the third of four row groups' text."""
    chunk = pq.read_metadata(path).row_group(2).column(0)
    start = min(place for place in (chunk.dictionary_page_offset, chunk.data_page_offset) if place)
    content = bytearray(path.read_bytes())
    for at in range(start, start + 12):
        content[at] ^= 0x5A
    path.write_bytes(content)


def test_a_broken_row_group_is_counted_by_the_footer_and_the_others_are_kept(tmp_path):
    broken_page(write(tmp_path / "a.parquet", TEXTS, row_group_size=50))
    corpus = ingest(tmp_path / "out", {"web": tmp_path / "a.parquet"}, quarantine_limit=0.3)
    assert read(corpus)["text"].to_pylist() == TEXTS[:100] + TEXTS[150:]
    (lost,) = refused(corpus)
    assert (lost["row"], lost["rows"], lost["reason"]) == (100, 50, "unreadable_page")
    assert "row group 2" in lost["detail"]
    assert corpus.manifest.ledger["web"]["dropped"] == {"unreadable_page": 50}


def test_a_disk_that_fails_is_not_taken_for_a_broken_page(tmp_path, monkeypatch):
    from pipeline.ingest import parquet

    broken_page(write(tmp_path / "a.parquet", TEXTS, row_group_size=50))

    def fail(*_):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(parquet, "_fetch", fail)
    with pytest.raises(StageError, match="Input/output error"):
        ingest(tmp_path / "out", {"web": tmp_path / "a.parquet"}, quarantine_limit=1)


def test_a_file_that_changes_under_the_build_is_an_error(tmp_path, monkeypatch):
    from pipeline.ingest import checksums

    path = write(tmp_path / "a.parquet", ["before"])
    taken = checksums._hash

    def hash_then_touch(file):
        result = taken(file)
        write(path, ["after, and longer"])
        return result

    monkeypatch.setattr(checksums, "_hash", hash_then_touch)
    with pytest.raises(StageError, match="changed while the build ran"):
        ingest(tmp_path / "out", {"web": path})


def test_a_page_repeated_through_a_dictionary_is_read_a_few_rows_at_a_time(tmp_path):
    from pipeline.ingest import parquet
    from pipeline.ingest.inspect import inspect_sources
    from pipeline.ingest.plan import Piece

    path = write(tmp_path / "a.parquet", ["m" * 1_000_000] * 60)
    spec = SourceSpec(paths=(str(path),))
    (file,) = inspect_sources({"web": spec}).sources["web"].files
    assert file.text_bytes < 2_000_000
    batches = list(parquet.read_parquet(Piece(file, 0, 1), spec.columns()))
    assert max(len(batch.text) for batch in batches) <= 8
    assert sum(len(batch.text) for batch in batches) == 60


def test_a_quarantine_of_long_rows_keeps_only_their_beginning(tmp_path):
    write(tmp_path / "a.parquet", [b"\xff" * 200_000, b"fine"], pa.binary())
    corpus = ingest(tmp_path / "out", {"web": tmp_path / "a.parquet"}, quarantine_limit=1)
    assert len(refused(corpus)[0]["raw"]) == 64 << 10
    assert corpus.manifest.ledger["web"]["dropped_bytes"] == {"invalid_utf8": 200_000}


@pytest.mark.parametrize("name", ["text", "doc_id", "keep", "address"])
def test_an_extra_column_with_a_name_of_ours_is_refused(name):
    with pytest.raises(ValidationError, match=f"documents have a {name} of their own"):
        IngestParams(sources={"web": SourceColumns(extra=(name,))})
