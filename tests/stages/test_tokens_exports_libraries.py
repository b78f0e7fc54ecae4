"""Every export read with its own library, by the lines of the guide, equals the sequences token for token."""

import pytest

from tests.stages import exported as made
from tests.stages.export_libraries import installed, reader, run
from tests.tokens.packed import EOS

LENGTH, PARTS = 16, 3
SIZES = (1000, 100_000)


@pytest.fixture
def opened(tmp_path, request):
    """Return a function that exports sequences, runs the lines of the guide and returns `found` and the rows."""

    def of(name, vocab_size, more):
        cache = request.config.cache.mkdir("export_libraries")
        folder, _, written = made.exported(tmp_path, name, length=LENGTH, parts=PARTS, vocab_size=vocab_size, seed=3)
        assert all(ends for _, ends in made.rows_and_ends(written)), "a row has a document, as packed rows have"
        values = {"folder": str(folder), "length": LENGTH, "eos": EOS, "vocab_size": vocab_size}
        wide = vocab_size > 1 << 16
        code = reader(name)
        if wide and name == "olmo":
            code = code.replace("vocab_size=vocab_size", "vocab_size=vocab_size, dtype=__import__('numpy').uint32")
        if wide and name == "datatrove":
            code = code.replace("token_size=2", "token_size=4")
        return run(installed(cache, name), f"{code}\n{more}", **values), written

    return of


def windows(documents, length):
    """Return a stream of documents cut into windows; the rest is dropped."""
    stream = [token for document in documents for token in document]
    return [stream[at : at + length] for at in range(0, len(stream) - length + 1, length)]


def by_part(written):
    """Return the documents of each part."""
    size = len(written) // PARTS
    return [made.documents(written[at : at + size], parts=1) for at in range(0, len(written), size)]


MDS = """
rows = [data[i] for i in range(len(data))]
found = {"rows": [[row["tokens"].tolist(), row["segment_ends"].tolist()] for row in rows]}
import os, pathlib
from streaming import MDSWriter
columns = {"tokens": "ndarray:%s:%d" % (data[0]["tokens"].dtype, length), "segment_ends": "ndarray:uint32"}
theirs = os.environ["TMPDIR"] + "/theirs"
with MDSWriter(out=theirs, columns=columns, size_limit=None) as writer:
    for i in range(data.samples_per_shard[0]):
        writer.write(data[i])
found["theirs"] = pathlib.Path(theirs, "shard.00000.mds").read_bytes().hex()
found["ours"] = pathlib.Path(folder, "part-00000.mds").read_bytes().hex()
"""


@pytest.mark.torch
@pytest.mark.parametrize("vocab_size", SIZES)
def test_streaming_reads_the_rows_and_would_have_written_the_same_file(opened, vocab_size):
    found, written = opened("mds", vocab_size, MDS)
    assert [(tokens, ends) for tokens, ends in found["rows"]] == made.rows_and_ends(written)
    assert found["ours"] == found["theirs"]


@pytest.mark.torch
@pytest.mark.parametrize("vocab_size", SIZES)
def test_litdata_reads_the_rows(opened, vocab_size):
    found, written = opened("litdata", vocab_size, "found = [data[i].tolist() for i in range(len(data))]")
    assert found == [tokens for tokens, _ in written]


HUGGINGFACE = """
found = {"rows": [[row["input_ids"].tolist(), row["segment_ends"].tolist()] for row in data]}
import os
from datasets import load_from_disk
data.save_to_disk(os.environ["TMPDIR"] + "/theirs")
found["equal"] = load_from_disk(os.environ["TMPDIR"] + "/theirs").features == data.features
"""


@pytest.mark.slow
@pytest.mark.parametrize("vocab_size", SIZES)
def test_datasets_reads_the_rows(opened, vocab_size):
    found, written = opened("huggingface", vocab_size, HUGGINGFACE)
    assert [(tokens, ends) for tokens, ends in found["rows"]] == made.rows_and_ends(written)
    assert found["equal"]


def test_numpy_reads_a_flat_file(opened):
    found, written = opened("flat", SIZES[0], "found = data.tolist()")
    assert found == [token for documents in by_part(written) for document in documents for token in document]


OLMO = """
import os
from olmo_core.data.utils import get_document_indices, load_array_slice
data.work_dir = os.environ["TMPDIR"]
data.prepare()
found = {"rows": [data[i]["input_ids"].tolist() for i in range(len(data))], "documents": []}
for path in data.paths:
    bounds = get_document_indices(path)
    found["documents"].append([load_array_slice(path, *bound, data.dtype).tolist() for bound in bounds])
"""


@pytest.mark.torch
@pytest.mark.parametrize("vocab_size", SIZES)
def test_olmo_core_reads_the_stream_and_the_documents(opened, vocab_size):
    found, written = opened("olmo", vocab_size, OLMO)
    assert found["documents"] == by_part(written)
    assert found["rows"] == [row for documents in by_part(written) for row in windows(documents, LENGTH)]


DATATROVE = """
items = [data[i] for i in range(len(data))]
found = [[item["input_ids"].tolist(), item["positions"].tolist()] for item in items]
"""


@pytest.mark.torch
@pytest.mark.parametrize("vocab_size", SIZES)
def test_datatrove_reads_the_stream_and_where_its_documents_begin(opened, vocab_size):
    found, written = opened("datatrove", vocab_size, DATATROVE)
    rows = [row for documents in by_part(written) for row in windows(documents, LENGTH + 1)]
    assert [tokens for tokens, _ in found] == rows
    for tokens, positions in found:
        begins = [0, *(i + 1 for i, token in enumerate(tokens[:-1]) if token == EOS)]
        assert [i for i, position in enumerate(positions) if position == 0] == begins


@pytest.mark.torch
def test_the_lines_for_megatron_core_open_the_rows(opened):
    found, written = opened("megatron", SIZES[0], "found = [data[i].tolist() for i in range(len(data))]")
    assert found == [tokens for tokens, _ in written]
