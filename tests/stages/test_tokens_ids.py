"""The ids of fastokens and of Hugging Face `tokenizers`, on real text of every domain and on fuzzed documents."""

import random

import numpy as np
import pyarrow.parquet as pq
import pytest
from tokenizers import Tokenizer

from pipeline.tokens import engine
from pipeline.tokens.fuzz import fuzz
from pipeline.tokens.train import TrainParams, train_tokenizer
from tests.conftest import SHARED

pytestmark = [pytest.mark.shared, pytest.mark.slow]

COMPARED_BYTES, TRAINED_BYTES = 3_000_000, 2_000_000
DOMAINS = ["books", "code", "docs", "multilingual", "reference"]
FUZZED, SEED = 1000, 2


@pytest.fixture(scope="module")
def bench():
    """The texts of the corpus by domain, in an order that is drawn."""
    found: dict[str, list[str]] = {}
    for path in sorted((SHARED / "data/bench").glob("*.parquet")):
        for row in pq.read_table(path, columns=["source", "text"]).to_pylist():
            found.setdefault(row["source"], []).append(row["text"])
    for texts in found.values():
        random.Random(SEED).shuffle(texts)
    return found


def some(texts, size):
    """The first texts of at least `size` bytes."""
    ends = np.cumsum([len(text.encode()) for text in texts])
    assert ends[-1] >= size
    return texts[: int(np.searchsorted(ends, size)) + 1]


@pytest.fixture(scope="module")
def engines(bench, tmp_path_factory):
    """Both engines with one vocabulary, trained as builds train it, on other texts than those compared."""
    path = tmp_path_factory.mktemp("vocabulary") / "tokenizer.json"
    sample = [text for texts in bench.values() for text in some(texts[::-1], TRAINED_BYTES)]
    train_tokenizer(sample, TrainParams()).save(str(path))
    reference = Tokenizer.from_file(str(path))
    reference.encode_special_tokens = True
    assert reference.get_vocab_size() == TrainParams().vocab_size
    return engine.FastEncoder(engine.specification(path, engine.vocabulary(path).eos)), reference


def assert_equal_ids(engines, texts):
    fast, reference = engines
    for at in range(0, len(texts), 256):
        ids, offsets = fast.encode(texts[at : at + 256])
        expected = reference.encode_batch_fast(texts[at : at + 256], add_special_tokens=False)
        assert len(offsets) == len(expected) + 1
        for row, theirs in enumerate(expected):
            mine = ids[offsets[row] : offsets[row + 1]]
            assert np.array_equal(mine, theirs.ids), f"document {at + row}: {texts[at + row][:200]!r}"


@pytest.mark.parametrize("domain", DOMAINS)
def test_real_documents_have_equal_ids(bench, engines, domain):
    assert sorted(bench) == DOMAINS
    assert_equal_ids(engines, some(bench[domain], COMPARED_BYTES))


def test_fuzzed_documents_have_equal_ids(engines):
    assert_equal_ids(engines, fuzz(FUZZED, SEED))


def test_real_documents_torn_apart_and_mixed_with_odd_characters_have_equal_ids(bench, engines):
    chance, odd = random.Random(SEED), fuzz(FUZZED, SEED + 1)
    real = [text for texts in bench.values() for text in texts[:200]]

    def shred():
        text = chance.choice(real)
        at = chance.randrange(max(1, len(text)))
        return text[at : at + chance.randint(1, 60)]

    made = ["".join(chance.choice((shred, lambda: chance.choice(odd)))() for _ in range(20)) for _ in range(FUZZED)]
    assert_equal_ids(engines, made)
