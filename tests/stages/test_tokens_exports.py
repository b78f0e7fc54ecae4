"""The exports, read back by readers written from the published layouts."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import DataError
from pipeline.tokens.exports import documents as documents_module
from pipeline.tokens.exports import mds, parts
from pipeline.tokens.format import PADDING, SEGMENT
from tests.stages import exported as made
from tests.stages import reference_exports as reference
from tests.stages.exported import exported

EXPORTS = ("mds", "litdata", "huggingface", "flat", "olmo", "datatrove")
SIZES = (1000, (1 << 16) + 1)


@pytest.mark.parametrize("vocab_size", SIZES)
@pytest.mark.parametrize("name", ["mds", "huggingface"])
def test_an_export_of_rows_holds_every_row_and_where_its_pieces_end(tmp_path, name, vocab_size):
    folder, _, written = exported(tmp_path, name, vocab_size=vocab_size)
    assert getattr(reference, name)(folder) == made.rows_and_ends(written)


@pytest.mark.parametrize("vocab_size", SIZES)
def test_litdata_holds_every_row(tmp_path, vocab_size):
    folder, _, written = exported(tmp_path, "litdata", vocab_size=vocab_size)
    assert reference.litdata(folder) == [tokens for tokens, _ in written]


@pytest.mark.parametrize("vocab_size", SIZES)
@pytest.mark.parametrize("name", ["olmo", "datatrove"])
def test_an_export_of_documents_holds_every_document_without_padding(tmp_path, name, vocab_size):
    folder, facts, written = exported(tmp_path, name, vocab_size=vocab_size)
    found = getattr(reference, name)(folder, "<u2" if vocab_size <= 1 << 16 else "<u4")
    assert found == made.documents(written, parts=3)
    assert (facts["documents"], facts["tokens"]) == (len(found), sum(map(len, found)))


def test_a_flat_file_holds_all_documents_end_to_end(tmp_path):
    folder, facts, written = exported(tmp_path, "flat")
    documents = made.documents(written, parts=3)
    assert reference.flat(folder) == [token for document in documents for token in document]
    assert facts["documents"] == len(documents)


def test_a_flat_file_refuses_ids_that_its_readers_would_cut_off(tmp_path):
    with pytest.raises(
        DataError, match=r"a vocabulary of 65,537 needs uint32; a flat file reads uint16, at most 65,536"
    ):
        exported(tmp_path, "flat", vocab_size=(1 << 16) + 1)


@pytest.mark.parametrize("name", EXPORTS)
def test_sequences_without_rows_make_an_export_without_content(tmp_path, name):
    folder, facts, _ = exported(tmp_path, name, rows=0)
    assert facts.get("documents", facts.get("samples")) == 0
    assert all(path.suffix == ".json" or not path.stat().st_size for path in folder.glob("*"))


@pytest.mark.parametrize("name", EXPORTS)
def test_equal_sequences_make_equal_bytes(tmp_path, name):
    corpus, _ = made.sequences(tmp_path / "in")
    one, two = (made.export(tmp_path / place, name, corpus) for place in "ab")
    assert list(one.manifest.shards) == list(two.manifest.shards)
    assert list(one.manifest.files) == list(two.manifest.files)


@pytest.mark.parametrize("name", ["mds", "litdata"])
def test_a_part_too_large_for_a_file_makes_several(tmp_path, name, monkeypatch):
    monkeypatch.setattr(f"pipeline.tokens.exports.{name}.FILE_BYTES", 100)
    folder, _, written = exported(tmp_path, name)
    found = getattr(reference, name)(folder)
    assert found == (made.rows_and_ends(written) if name == "mds" else [tokens for tokens, _ in written])
    kind = "mds" if name == "mds" else "bin"
    assert sorted(p.name for p in folder.glob("part-00001*")) == [f"part-00001{n}.{kind}" for n in ("-1", "-2", "")]


@pytest.mark.parametrize("name", ["huggingface", "olmo", "datatrove", "flat"])
def test_the_size_of_a_block_changes_nothing(tmp_path, name, monkeypatch):
    corpus, _ = made.sequences(tmp_path / "in")
    whole = made.export(tmp_path / "a", name, corpus)
    for module in (parts, documents_module):
        monkeypatch.setattr(module, "BLOCK_TOKENS", 40)
    small = made.export(tmp_path / "b", name, corpus)
    if name == "huggingface":  # its blocks are record batches, which are told in the file
        assert reference.huggingface(whole.root / "data") == reference.huggingface(small.root / "data")
    else:
        assert list(whole.manifest.shards) == list(small.manifest.shards)


def test_a_row_of_four_gigabytes_is_refused():
    with pytest.raises(DataError, match=r"one row takes 4,294,967,296 bytes; this format keeps offsets in 32 bits"):
        parts.slices(_Part(), 1 << 32, 1 << 26, "mds")


class _Part:
    from pathlib import Path

    stem, rows = Path("part-00000"), 1


@pytest.mark.parametrize("count", [1, 255, 256, 65535, 65536])
def test_a_shape_takes_as_many_bytes_as_the_library_gives_it(count):
    ends = np.arange(1, count + 1, dtype="<u4")
    width = 1 if count < 256 else 2 if count < 65536 else 4
    head = mds.sample(np.zeros(4, "<u2"), ends)[: 5 + width]
    assert int.from_bytes(head[5:], "little") == count
    assert head[4] == 4 + {1: 0, 2: 1, 4: 2}[width]


@st.composite
def packings(draw):
    """Documents of one to forty tokens (some of them equal), each cut into pieces of at most 8 and dealt to rows."""
    lengths = draw(st.lists(st.integers(1, 40), min_size=1, max_size=12))
    twins = draw(st.lists(st.booleans(), min_size=len(lengths), max_size=len(lengths)))
    pieces = []
    for number, length in enumerate(lengths):
        for use in range(1 + twins[number]):
            first = draw(st.integers(1, 8))  # equal documents put end to end with others are cut in different places
            cuts = [0, *range(first, length, 8), length]
            pieces += [(number, use, start, end - start) for start, end in pairwise(cuts)]
    return lengths, twins, draw(st.permutations(pieces))


@settings(max_examples=60)
@given(packings())
def test_documents_are_whole_again_however_their_pieces_were_dealt(packing):
    lengths, twins, pieces = packing
    rows = np.full((len(pieces), 8), 9999)
    segments, offsets = [], [0]
    for row, (number, _, start, length) in enumerate(pieces):
        rows[row, :length] = number * 100 + np.arange(start, start + length)
        segments.append(([number, 7], start, length, 0, 0))
        segments += [([0, 0], 0, 8, PADDING, 0)] if length < 8 else []
        offsets.append(len(segments))
    found = documents_module.order(np.array(offsets), np.array(segments, SEGMENT), 8)
    stream = np.concatenate([rows.reshape(-1)[a : a + n] for a, n in zip(found.place, found.length, strict=True)])
    got = [part.tolist() for part in np.split(stream, found.ends[:-1])]
    expected = [list(range(n * 100, n * 100 + k)) for n, k in enumerate(lengths) for _ in range(1 + twins[n])]
    assert sorted(got) == sorted(expected)
