"""Text to band keys in one pass: the same as its parts one after another, on any processor, and as datasketch."""

import hashlib
import os
import platform
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import datasketch
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.kernels import minhash, shingles, signing
from pipeline.schemas import text_buffers
from tests.kernels import reference_dedup as twin
from tests.kernels.test_shingles import KINDS, TEXTS


def signed(texts: list[str], unit="word", hashing="native", ngram=3) -> tuple[np.ndarray, np.ndarray]:
    buffers = text_buffers(pa.array(texts, pa.large_string()))
    return signing.sign(*buffers, minhash.permutations(36, 1), 12, ngram, unit, hashing)


def corpus() -> list[str]:
    """Return texts of every script and length, seeded."""
    generator = np.random.default_rng(8)
    words = ["the", "Quick", "brün", "Фокс", "Σas", "漢字", "ไทย", "e\u0301", "\U0001f600", "x" * 40, "snake_case", "7"]
    lengths = [0, 1, 2, 3, 50, 500, 40_000]
    return [" ".join(generator.choice(words, n)) for n in lengths] + ["y" * 70_000, "漢" * 30_000]


@pytest.mark.parametrize(("unit", "hashing"), KINDS)
@settings(deadline=None)  # the first call compiles
@given(texts=st.lists(TEXTS, max_size=6))
def test_one_pass_comes_to_what_its_parts_come_to(unit, hashing, texts):
    found_S, ends = shingles.hashes(
        *shingles.plain(*text_buffers(pa.array(texts, pa.large_string()))), 3, unit, hashing
    )
    expected = minhash.band_keys(minhash.signatures(found_S, ends, minhash.permutations(36, 1)), 12)
    keys, counts = signed(texts, unit, hashing)
    assert np.array_equal(keys, expected)
    assert np.array_equal(counts, np.diff(ends))


@pytest.mark.parametrize(("unit", "hashing"), KINDS)
@pytest.mark.parametrize("length", [98_302, 98_303, 98_304, 262_145, 1_000_000])
def test_a_word_longer_than_the_room_for_shingles_comes_to_an_end(unit, hashing, length):
    word = "aB3" * (length // 3) + "x" * (length % 3)
    texts = [word, f"data: {word} and more words behind it " * 2, "a few words", f"{word} {word}"]
    found_S, ends = shingles.hashes(
        *shingles.plain(*text_buffers(pa.array(texts, pa.large_string()))), 3, unit, hashing
    )
    keys, counts = signed(texts, unit, hashing)
    assert np.array_equal(counts, np.diff(ends))
    whole = minhash.signatures(found_S, ends, minhash.permutations(36, 1))
    assert np.array_equal(keys, minhash.band_keys(whole, 12))
    of = twin.byte_shingles if unit == "byte" else twin.shingles
    assert counts.tolist() == [len(of(text, 3)) for text in texts]


@pytest.mark.parametrize(("unit", "hashing"), KINDS)
def test_a_document_is_signed_alike_whatever_stands_beside_it(unit, hashing):
    texts = corpus()
    keys, counts = signed(texts, unit, hashing)
    for i, text in enumerate(texts):
        alone, count = signed([text], unit, hashing)
        assert np.array_equal(keys[i], alone[0]), i
        assert counts[i] == count[0]
    again, _ = signed(texts[::-1], unit, hashing)
    assert np.array_equal(keys, again[::-1])


def test_a_long_document_has_the_signature_of_all_its_shingles():
    words = [f"{n:x}" for n in np.random.default_rng(3).integers(0, 40_000, 150_000)]
    keys, counts = signed([" ".join(words)])
    hashes = np.array([twin.shingle_hash(words[i : i + 3]) for i in range(len(words) - 2)], np.uint64)
    expected = minhash.signatures(hashes, np.array([0, len(hashes)]), minhash.permutations(36, 1))
    assert np.array_equal(keys, minhash.band_keys(expected, 12))
    assert counts.tolist() == [len(hashes)]


@pytest.mark.parametrize("unit", ["word", "byte"])
def test_with_its_hashing_a_signature_is_datasketchs_own(unit):
    texts = [text[:3000] for text in corpus()]
    joined = twin.shingles if unit == "word" else twin.byte_shingles
    hashes_S, ends = shingles.hashes(
        *shingles.plain(*text_buffers(pa.array(texts, pa.large_string()))), 5, unit, "datasketch"
    )
    found = minhash.signatures(hashes_S, ends, minhash.permutations(128, 7))
    for text, signature in zip(texts, found, strict=True):
        one = datasketch.MinHash(num_perm=128, seed=7, scheme="affine32")
        one.update_batch([s if unit == "byte" else " ".join(s).encode() for s in joined(text, 5)])
        assert signature.tolist() == one.hashvalues.tolist()


@pytest.mark.parametrize(("unit", "hashing"), KINDS)
def test_keys_meet_where_they_meet_in_datasketch(unit, hashing):
    generator = np.random.default_rng(4)
    base = [f"w{n}" for n in generator.integers(0, 300, 120)]
    texts = []
    for _ in range(30):
        changed = [w if generator.random() > 0.04 else "new" for w in base]
        texts.append(" ".join(changed))
    ngram = 5 if unit == "word" else 15
    buffers = text_buffers(pa.array(texts, pa.large_string()))
    keys, _ = signing.sign(*buffers, minhash.permutations(32, 1), 8, ngram, unit, hashing)
    index, sketches = datasketch.MinHashLSH(num_perm=32, params=(8, 4)), []
    found = twin.shingles if unit == "word" else twin.byte_shingles
    hashed = (lambda s: twin.fold32(twin.shingle_hash(s))) if hashing == "native" else twin.sha1_hash
    for i, text in enumerate(texts):
        sketches.append(datasketch.MinHash(32, seed=1, scheme="affine32", hashfunc=hashed))
        sketches[-1].update_batch(found(text, ngram))
        index.insert(i, sketches[-1])
    pairs = {(i, j) for i in range(30) for j in range(30) if (keys[i] == keys[j]).any()}
    assert pairs == {(i, j) for i in range(30) for j in index.query(sketches[i])}
    assert 30 < len(pairs) < 900


def test_threads_do_not_disturb_each_other():
    texts = corpus()
    expected, _ = signed(texts)
    with ThreadPoolExecutor(4) as pool:
        for keys, _ in pool.map(signed, [texts] * 12):
            assert np.array_equal(keys, expected)


def test_bad_shapes_are_refused():
    buffers = text_buffers(pa.array(["a"]))
    with pytest.raises(ValueError, match="36 values do not make 5 bands"):
        signing.sign(*buffers, minhash.permutations(36, 1), 5, 3)


def digest() -> str:
    """Return a digest of all that signing gives on the seeded corpus; another process prints it."""
    result = hashlib.sha256()
    for unit, hashing in KINDS:
        keys, counts = signed(corpus(), unit, hashing, 6)
        result.update(keys.tobytes() + counts.tobytes())
    return result.hexdigest()


@pytest.mark.slow
@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="asks for the oldest x86-64")
def test_a_processor_without_avx_comes_to_the_same():
    environment = os.environ | {"NUMBA_CPU_NAME": "x86-64", "NUMBA_CPU_FEATURES": ""}
    code = "from tests.kernels.test_signing import digest; print(digest())"
    run = subprocess.run([sys.executable, "-c", code], env=environment, check=True, capture_output=True, text=True)
    assert run.stdout.strip() == digest()
