"""The trainer against its slow twin; its files against official fastText."""

from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.kernels import fasttext_features, fasttext_train
from pipeline.kernels.fasttext import Scorer
from pipeline.kernels.fasttext_model import parse, serialise
from pipeline.schemas import text_buffers
from tests.kernels import official_fasttext as official
from tests.kernels import reference_fasttext as twin

N = 400


def buffers(texts):
    return text_buffers(pa.array(texts, pa.large_string()))


def train(data, offsets, positive, orders, *, bucket=1 << 18, min_count=1, learning_rate=0.5):
    """Return the model trained in one epoch an order, and the loss of each."""
    model = fasttext_train.untrained(data, offsets, positive, word_ngrams=2, bucket=bucket, min_count=min_count)
    features = fasttext_train.features_of(model, data, offsets)
    state = fasttext_train.blank(model)
    losses = [fasttext_train.descend(features, positive, order, state, learning_rate) for order in orders]
    return fasttext_train.trained(model, state[:, 0], len(losses)), losses


@pytest.fixture(scope="module")
def task():
    """Documents whose class shifts the frequency of some words, and the order of three epochs."""
    rng = np.random.default_rng(4)
    positive = np.arange(N) % 2 == 0
    half = len(official.WORDS) // 2
    texts = []
    for is_positive in positive:
        tilt = np.where(np.arange(len(official.WORDS)) < half, 1.3, 0.7) if is_positive else np.ones(2 * half + 1)
        words = rng.choice(official.WORDS, int(rng.integers(5, 80)), p=tilt[: len(official.WORDS)] / tilt.sum())
        texts.append(" ".join(words))
    return texts, positive, np.stack([rng.permutation(N) for _ in range(3)])


def test_official_fasttext_reads_the_model_and_gives_the_same_probabilities(task, tmp_path):
    texts, positive, order = task
    model, _ = train(*buffers(texts), positive, order, bucket=3000)
    path = tmp_path / "model.bin"
    path.write_bytes(serialise(model))
    others = [*texts[:100], "never seen before", "", "</s>", "__label__1 the of", "a\nb"]
    ours = Scorer(model).probabilities(*buffers(others))[:, 0]
    theirs = [found.get("__label__1") for found in official.predict(path, others)]
    np.testing.assert_allclose(ours, theirs, atol=1e-6)
    assert serialise(parse(path.read_bytes())) == path.read_bytes()


def test_the_same_documents_in_the_same_order_give_the_same_bytes(task):
    texts, positive, order = task
    first, again = (serialise(train(*buffers(texts), positive, order)[0]) for _ in range(2))
    assert first == again
    assert first != serialise(train(*buffers(texts), positive, order[:, ::-1])[0])


def test_it_learns_what_separates_the_classes(task):
    texts, positive, order = task
    model, losses = train(*buffers(texts), positive, order, learning_rate=5.0)
    p = Scorer(model).probabilities(*buffers(texts))[:, 0]
    assert p[positive].mean() > p[~positive].mean() + 0.2
    assert losses[-1] < losses[0] < 0.8


def test_a_document_left_out_of_the_order_teaches_nothing(task):
    texts, positive, order = task
    held_out = positive.copy()
    held_out[:50] = ~held_out[:50]
    rest = np.stack([epoch[epoch >= 50] for epoch in order])
    weights = [train(*buffers(texts), answers, rest)[0].inputs_RD for answers in (positive, held_out)]
    assert np.array_equal(*weights)


@given(texts=st.lists(st.text(alphabet="abé \n", max_size=12) | st.sampled_from(["</s>", "x </s> y", "__label__1 a"])))
@settings(max_examples=60, deadline=None)
def test_words_are_counted_as_the_slow_twin_counts_them(texts):
    data, offsets = buffers(texts)
    keys, counts, starts, ends = fasttext_features.count_words(data, offsets)
    words = [data[start:end].tobytes() for start, end in zip(starts, ends, strict=True)]
    assert dict(zip(words, counts.tolist(), strict=True)) == twin.count_words([text.encode() for text in texts])
    assert len(set(keys.tolist())) == len(words)


def test_a_dictionary_may_grow_past_its_first_table():
    texts = [" ".join(f"w{n}" for n in range(start, start + 7000)) for start in range(0, 80_000, 5000)]
    data, offsets = buffers(texts)
    _, counts, starts, ends = fasttext_features.count_words(data, offsets)
    words = [data[start:end].tobytes() for start, end in zip(starts, ends, strict=True)]
    assert dict(zip(words, counts.tolist(), strict=True)) == twin.count_words([text.encode() for text in texts])


def test_rare_words_stay_out_and_frequent_ones_come_first():
    model, _ = train(
        *buffers(["b a a", "a b c", "d"]), np.array([True, False, True]), np.array([[0, 1, 2]]), min_count=2
    )
    assert [model.entry(number) for number in range(model.n_words)] == [b"</s>", b"a", b"b"]
    assert model.entry_counts.tolist() == [3, 3, 2, 2, 1]
    assert model.labels == ("__label__1", "__label__0")


def test_weights_equal_the_slow_twin(task):
    texts, positive, orders = task
    model, _ = train(*buffers(texts), positive, orders, bucket=500)
    rows, offsets = fasttext_train.features_of(model, *buffers(texts))
    documents = [rows[start:end].tolist() for start, end in pairwise(offsets)]
    expected = twin.descend(documents, positive, orders, len(model.inputs_RD), 0.5)
    np.testing.assert_allclose(model.inputs_RD[:, 0], expected, atol=2e-5)


def test_logits_are_the_mean_weights_of_a_documents_features(task):
    texts, positive, orders = task
    model, _ = train(*buffers(texts), positive, orders, bucket=500)
    others = [*texts[:50], "", "never seen", "the of"]
    features = fasttext_train.features_of(model, *buffers(others))
    found = fasttext_train.logits(features, model.inputs_RD[:, 0])
    expected = [model.inputs_RD[twin.features(text.encode(), model), 0].astype(float).mean() for text in others]
    np.testing.assert_allclose(found, expected, atol=1e-12)
    empty = fasttext_train.Features(np.zeros(0, np.int32), np.zeros(2, np.int64))
    assert fasttext_train.logits(empty, model.inputs_RD[:, 0]).tolist() == [0.0]


@given(scale=st.floats(0.01, 50), shift=st.floats(-5, 5))
@settings(max_examples=30)
def test_a_calibrated_model_has_its_logits_on_the_line_that_was_asked_for(task, scale, shift):
    texts, positive, orders = task
    model, _ = train(*buffers(texts), positive, orders[:1], bucket=500)
    features = fasttext_train.features_of(model, *buffers(texts))
    before = fasttext_train.logits(features, model.inputs_RD[:, 0])
    after = fasttext_train.logits(features, fasttext_train.calibrated(model, scale, shift).inputs_RD[:, 0])
    np.testing.assert_allclose(after, scale * before + shift, atol=1e-6 * max(1, scale))


def test_official_fasttext_reads_a_calibrated_model_as_well(task, tmp_path):
    texts, positive, orders = task
    model = fasttext_train.calibrated(train(*buffers(texts), positive, orders, bucket=3000)[0], 7.5, -0.6)
    path = tmp_path / "model.bin"
    path.write_bytes(serialise(model))
    theirs = [found["__label__1"] for found in official.predict(path, texts)]
    np.testing.assert_allclose(Scorer(model).probabilities(*buffers(texts))[:, 0], theirs, atol=1e-6)


def test_words_of_a_dictionary_are_the_bytes_of_the_text():
    texts = ["é é über", "über 日本 é x", "日本 日本"]
    model = fasttext_train.untrained(
        *buffers(texts), np.array([True, False, True]), word_ngrams=1, bucket=100, min_count=2
    )
    words = {model.entry(number).decode(): int(model.entry_counts[number]) for number in range(1, model.n_words)}
    assert words == {"é": 3, "日本": 3, "über": 2}
    assert model.bucket == 0
