"""The file format: what official fastText writes is read whole, what is damaged is refused, never crashed on."""

import struct

import fasttext
import numpy as np
import pytest

from pipeline.kernels.fasttext_model import MAGIC, parse, serialise
from tests.kernels import official_fasttext as official
from tests.kernels import reference_fasttext as twin


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("official")
    return {name: official.train(folder, name) for name in ("bigrams", "many labels", "characters", "pruned")}


@pytest.mark.parametrize("name", ["bigrams", "many labels", "characters"])
def test_dictionary_and_matrices_are_what_official_fasttext_reads(files, name):
    model, theirs = parse(files[name].read_bytes()), fasttext.load_model(str(files[name]))
    words, counts = theirs.get_words(include_freq=True)
    assert [model.entry(number).decode() for number in range(model.n_words)] == words
    assert model.entry_counts[: model.n_words].tolist() == counts.tolist()
    assert list(model.labels) == theirs.get_labels()
    assert np.array_equal(model.inputs_RD, theirs.get_input_matrix())
    assert np.array_equal(model.outputs_LD, theirs.get_output_matrix())


def test_a_memory_mapped_file_is_read_like_its_bytes(files):
    mapped, read = parse(np.memmap(files["bigrams"], np.uint8, "r")), parse(files["bigrams"].read_bytes())
    assert np.array_equal(mapped.inputs_RD, read.inputs_RD)
    assert mapped.labels == read.labels


def test_what_is_written_is_read_back_equal_and_official_fasttext_agrees(files, tmp_path):
    model = parse(files["characters"].read_bytes())
    copy = tmp_path / "copy.bin"
    copy.write_bytes(serialise(model))
    again = parse(copy.read_bytes())
    assert serialise(again) == serialise(model)
    assert twin.entry_counts(copy.read_bytes(), len(model.entry_counts), 92) == model.entry_counts.tolist()
    texts = ["the über w1 w2", "日本 return {", ""]
    assert official.predict(copy, texts) == official.predict(files["characters"], texts)


def test_a_pruned_model_is_not_written(files):
    with pytest.raises(ValueError, match="quantised or pruned"):
        serialise(parse(files["pruned"].read_bytes()))


@pytest.mark.parametrize("name", ["bigrams", "pruned"])
def test_a_truncated_file_is_refused_wherever_it_ends(files, name):
    content = files[name].read_bytes()
    for end in [*range(0, 200), *np.random.default_rng(0).integers(200, len(content), 100).tolist(), len(content) - 1]:
        with pytest.raises(ValueError, match="truncated"):
            parse(content[:end])


@pytest.mark.parametrize("name", ["bigrams", "pruned"])
def test_flipped_bytes_are_refused_or_read_but_never_reach_outside(files, name):
    content = files[name].read_bytes()
    rng = np.random.default_rng(1)
    for _ in range(300):
        damaged = bytearray(content)
        for at in rng.integers(0, 1500, 3):
            damaged[at] = rng.integers(0, 256)
        try:
            model = parse(bytes(damaged))
        except ValueError:
            continue
        assert model.inputs_RD.shape[0] >= model.n_words


@pytest.mark.parametrize(
    ("at", "value", "message"),
    [
        (0, 1, "starts with 0x00000001, a fastText model with 0x2f4f16ba"),
        (4, 13, "version is 13; versions 11 and 12"),
        (36, 1, "cbow model; only supervised"),
        (32, 9, "loss 9"),
        (64, 3, "words and"),
    ],
)
def test_a_wrong_header_is_named(files, at, value, message):
    content = bytearray(files["bigrams"].read_bytes())
    content[at : at + 4] = struct.pack("<i", value)
    with pytest.raises(ValueError, match=message):
        parse(bytes(content))


def test_a_file_of_another_kind_is_refused():
    with pytest.raises(ValueError, match="starts with"):
        parse(b"PAR1 and so on")
    assert struct.pack("<i", MAGIC) == b"\xba\x16\x4f\x2f"
