"""Names of a model's rows, against the slow twin's features."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.kernels import fasttext_naming, fasttext_train
from tests.kernels import reference_fasttext as twin
from tests.kernels.test_fasttext_train import buffers

TEXTS = ["red green blue", "red green", "green  blue\nred green", "blue", "", "x </s> red green", "é ü é ü"]


def model_of(texts, word_ngrams=2, bucket=5000):
    positive = np.arange(len(texts)) % 2 == 0
    return fasttext_train.untrained(*buffers(texts), positive, word_ngrams=word_ngrams, bucket=bucket, min_count=1)


def grams_by_row(texts, model):
    """Return row -> how often each n-gram fell into it."""
    found = {}
    for text in texts:
        words = twin.tokens(text.encode())
        for i in range(len(words)):
            for length in range(2, model.word_ngrams + 1):
                if i + length <= len(words):
                    gram = words[i : i + length]
                    value = twin.fnv(gram[0]) - ((twin.fnv(gram[0]) >> 31) << 32)
                    for word in gram[1:]:
                        value = (value * 116049371 + twin.fnv(word) - ((twin.fnv(word) >> 31) << 32)) % (1 << 64)
                    row = model.n_words + value % model.bucket
                    found.setdefault(row, Counter())[b" ".join(gram).decode()] += 1
    return found


@pytest.mark.parametrize(("word_ngrams", "bucket"), [(2, 5000), (3, 5000), (2, 3)])
def test_a_bucket_is_called_after_the_words_that_fell_into_it_most_often(word_ngrams, bucket):
    model = model_of(TEXTS, word_ngrams, bucket)
    expected = grams_by_row(TEXTS, model)
    rows = np.array(sorted(expected))
    for row, name in zip(rows, fasttext_naming.names(model, rows, *buffers(TEXTS)), strict=True):
        assert expected[row][name] == max(expected[row].values())


def test_a_word_is_called_as_the_dictionary_has_it_and_an_unused_bucket_has_no_name():
    model = model_of(TEXTS)
    used = set(grams_by_row(TEXTS, model))
    unused = next(row for row in range(model.n_words, len(model.inputs_RD)) if row not in used)
    found = fasttext_naming.names(model, np.array([0, 1, unused]), *buffers(TEXTS))
    assert found == ["</s>", model.entry(1).decode(), "(no text)"]


def test_many_finds_are_all_counted():
    texts = ["a b " * 900, "c d"]
    model = model_of(texts)
    rows = np.array(sorted(grams_by_row(texts, model)))
    names = fasttext_naming.names(model, rows, *buffers(texts))
    assert sorted(names) == ["a b", "b </s>", "b a", "c d", "d </s>"]


@given(st.lists(st.tuples(st.text(alphabet="ab \n", max_size=20), st.booleans()), max_size=8))
@settings(max_examples=40)
def test_documents_with_a_feature_are_counted_once_each_and_its_shares_are_compared(rows):
    texts, positive = [text for text, _ in rows], np.array([p for _, p in rows], bool)
    model = model_of(texts, bucket=7)
    found, gaps = fasttext_naming.occurrences(
        fasttext_train.features_of(model, *buffers(texts)), positive, len(model.inputs_RD)
    )
    own = [twin.features(text.encode(), model) for text in texts]
    for row in range(len(model.inputs_RD)):
        assert found[row] == sum(row in features for features in own)
        shares = [
            [features.count(row) / len(features) for features, p in zip(own, positive, strict=True) if p == side]
            for side in (True, False)
        ]
        means = [sum(part) / max(len(part), 1) for part in shares]
        assert gaps[row] == pytest.approx(means[0] - means[1], abs=1e-12)
