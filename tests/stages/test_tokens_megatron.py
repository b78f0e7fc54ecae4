"""The Megatron export, read back by a reader written from the published layout and by megatron-core itself."""

import numpy as np
import pytest

from pipeline.corpus import Corpus, Manifest, Shards
from pipeline.tokens.exports.megatron import MEGATRON
from pipeline.tokens.exports.parts import ExportParams
from tests.conftest import run_stage
from tests.stages import reference_megatron
from tests.tokens.packed import write_packed


def exported(tmp_path, **options):
    """Export hand-made sequences; return the prefix of the files and the rows that went in."""
    written = write_packed(tmp_path / "in", **options)
    manifest = Manifest(stage="tokens.pack", version=1, fingerprint="f", params={}, inputs={}, shards=Shards())
    sequences = Corpus(root=tmp_path / "in", manifest=manifest)
    corpus = run_stage(tmp_path / "out", MEGATRON, ExportParams(), sequences=sequences)
    return corpus.root / "data" / "sequences", [row for row, _ in written]


@pytest.mark.parametrize("vocab_size", [1000, 1 << 16, (1 << 16) + 1])
def test_every_row_is_a_sequence_and_a_document(tmp_path, vocab_size):
    prefix, rows = exported(tmp_path, vocab_size=vocab_size)
    read, documents = reference_megatron.read(prefix)
    assert read == rows
    assert documents == list(range(len(rows) + 1))


def test_sequences_without_rows_make_an_empty_data_set(tmp_path):
    prefix, _ = exported(tmp_path, rows=0)
    assert reference_megatron.read(prefix) == ([], [0])


@pytest.mark.torch
@pytest.mark.parametrize("vocab_size", [1000, 100_000])
def test_megatron_core_reads_it_and_would_have_written_the_same_bytes(tmp_path, vocab_size):
    from megatron.core.datasets import indexed_dataset as indexed

    prefix, rows = exported(tmp_path, vocab_size=vocab_size)
    dataset = indexed.IndexedDataset(str(prefix))
    assert [dataset[i].tolist() for i in range(len(dataset))] == rows
    dtype = np.uint16 if vocab_size <= 1 << 16 else np.int32
    builder = indexed.IndexedDatasetBuilder(str(tmp_path / "theirs.bin"), dtype=dtype)
    for row in rows:
        builder.add_document(np.array(row, dtype), [len(row)])
    builder.finalize(str(tmp_path / "theirs.idx"))
    for kind in ("bin", "idx"):
        assert (tmp_path / f"theirs.{kind}").read_bytes() == prefix.with_suffix(f".{kind}").read_bytes()
