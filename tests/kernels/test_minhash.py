"""MinHash against datasketch, and the probabilities it promises."""

import datasketch
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.kernels import minhash
from tests.kernels import reference_dedup as twin
from tests.kernels.reference_dedup import fold32


def ragged(lists: list[list[int]]) -> tuple[np.ndarray, np.ndarray]:
    offsets = np.concatenate([[0], np.cumsum([len(x) for x in lists])]).astype(np.int64)
    return np.array([v for x in lists for v in x], np.uint64), offsets


def sketch(shingles: list[int], count: int, seed: int) -> datasketch.MinHash:
    result = datasketch.MinHash(count, seed=seed, scheme="affine32", hashfunc=lambda x: x)
    result.update_batch([fold32(s) for s in shingles])
    return result


HASHES = st.lists(st.integers(0, 2**64 - 1), max_size=120)


@settings(deadline=None)  # the first call compiles
@given(st.lists(HASHES, max_size=5), st.integers(1, 150), st.integers(0, 2**32 - 1))
def test_signatures_are_those_of_datasketch_bit_for_bit(documents, count, seed):
    found = minhash.signatures(*ragged(documents), minhash.permutations(count, seed))
    assert found.tolist() == [sketch(d, count, seed).hashvalues.tolist() for d in documents]


@pytest.mark.parametrize("length", [1, 47, 48, 49, 2047, 2048, 2049, 5000])
def test_tiles_do_not_show_in_a_signature(length):
    shingles = np.random.default_rng(length).integers(0, 2**64, length, np.uint64).tolist()
    found = minhash.signatures(*ragged([shingles]), minhash.permutations(120, 1))
    assert found[0].tolist() == sketch(shingles, 120, 1).hashvalues.tolist()


def test_a_document_without_shingles_has_the_empty_signature():
    assert (minhash.signatures(*ragged([[], [5]]), minhash.permutations(12, 1))[0] == minhash.EMPTY).all()


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1000), st.sampled_from([(20, 6), (4, 2), (2, 5)]))
def test_documents_meet_where_they_meet_in_datasketch(seed, shape):
    bands, rows = shape
    generator = np.random.default_rng(seed)
    pool = generator.integers(0, 2**64, 60, np.uint64)
    documents = [pool[generator.random(60) < generator.choice([0.5, 0.9])].tolist() for _ in range(25)]
    keys = minhash.band_keys(minhash.signatures(*ragged(documents), minhash.permutations(bands * rows, 1)), bands)
    index = datasketch.MinHashLSH(num_perm=bands * rows, params=(bands, rows))
    sketches = [sketch(d, bands * rows, 1) for d in documents]
    for i, one in enumerate(sketches):
        index.insert(i, one)
    found = {(i, j) for i in range(25) for j in range(25) if (keys[i] == keys[j]).any()}
    assert found == {(i, j) for i in range(25) for j in index.query(sketches[i])}


def test_equal_values_in_different_bands_have_different_keys():
    keys = minhash.band_keys(np.full((1, 12), 7, np.uint32), 4)
    assert len(set(keys[0].tolist())) == 4


def test_the_keys_of_a_signature_do_not_move():
    keys = minhash.band_keys(minhash.signatures(*ragged([[1, 2, 3]]), minhash.permutations(4, 1)), 2)
    assert keys.tolist() == [[0xF0D58F9F0149FD10, 0xE940CC6791F22EE7]]


@settings(deadline=None)
@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 99))
def test_keys_are_those_of_the_definition(bands, rows, seed):
    values = np.random.default_rng(seed).integers(0, 2**32, (3, bands * rows), np.uint32)
    expected = [
        [twin.band_key(band, row[band * rows : (band + 1) * rows]) for band in range(bands)] for row in values.tolist()
    ]
    assert minhash.band_keys(values, bands).tolist() == expected


@pytest.mark.parametrize("count", [*range(1, 34), 56, 64, 100, 120, 128, 250])
def test_every_number_of_permutations_is_taken_whole(count):
    shingles = np.random.default_rng(count).integers(0, 2**64, 37, np.uint64).tolist()
    found = minhash.signatures(*ragged([shingles]), minhash.permutations(count, 3))
    assert found[0].tolist() == sketch(shingles, count, 3).hashvalues.tolist()


@settings(max_examples=40, deadline=None)
@given(HASHES, HASHES, st.sampled_from([1, 2, 4, 8, 16, 32]), st.integers(1, 70))
def test_estimates_are_those_of_datasketch(a, b, bits, count):
    one, two = sketch(a, count, 1), sketch(b + a[: len(a) // 2], count, 1)
    signatures = np.stack([one.hashvalues, two.hashvalues]).astype(np.uint32)
    assert minhash.similarity(signatures[:1], signatures[1:]).tolist() == [one.jaccard(two)]
    packed = minhash.b_bit(signatures, bits)
    expected = datasketch.bBitMinHash(one, bits).jaccard(datasketch.bBitMinHash(two, bits))
    assert minhash.b_bit_similarity(packed[:1], packed[1:], count, bits) == pytest.approx([expected], abs=1e-12)


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16, 32])
def test_the_lowest_bits_are_packed_one_behind_the_other(bits):
    values = np.random.default_rng(bits).integers(0, 2**32, (3, 21), np.uint32)
    for row, packed in zip(values.tolist(), minhash.b_bit(values, bits), strict=True):
        expected = sum((value & (1 << bits) - 1) << p * bits for p, value in enumerate(row))
        assert packed.tobytes() == expected.to_bytes(-(-21 * bits // 8), "little")


def test_bits_that_do_not_pack_are_refused():
    with pytest.raises(ValueError, match="bits must be one of 1, 2, 4, 8, 16, 32; got 3"):
        minhash.b_bit(np.zeros((1, 8), np.uint32), 3)
    with pytest.raises(ValueError, match="9 values of 8 bits are 9 bytes"):
        minhash.b_bit_similarity(np.zeros((1, 8), np.uint8), np.zeros((1, 8), np.uint8), 9, 8)


@pytest.mark.parametrize("similarity", [0.3, 0.8])
def test_equal_values_estimate_the_jaccard_similarity(similarity):
    generator = np.random.default_rng(3)
    agreements = []
    for _ in range(40):
        union = generator.integers(0, 2**64, 2000, np.uint64)
        shared, only = int(2000 * similarity), int(2000 * (1 - similarity) / 2)
        a, b = union[: shared + only], np.concatenate([union[:shared], union[shared + only :]])
        one, two = minhash.signatures(*ragged([a.tolist(), b.tolist()]), minhash.permutations(256, 1))
        agreements.append((one == two).mean())
    assert np.mean(agreements) == pytest.approx(similarity, abs=4 * np.sqrt(similarity * (1 - similarity) / (256 * 40)))


def test_bands_that_do_not_divide_are_refused():
    with pytest.raises(ValueError, match="10 values do not make 3 bands"):
        minhash.band_keys(np.zeros((1, 10), np.uint32), 3)
