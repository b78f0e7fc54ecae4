"""Features and probabilities against a slow twin and against official fastText."""

import math
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.kernels import fasttext_features, fasttext_hash
from pipeline.kernels.fasttext import Scorer
from pipeline.kernels.fasttext_average import averages
from pipeline.kernels.fasttext_collapsed import CHUNK_BYTES
from pipeline.kernels.fasttext_model import parse
from pipeline.schemas import text_buffers
from tests.kernels import official_fasttext as official
from tests.kernels import reference_fasttext as twin

PIECES = [
    *official.WORDS,
    "</s>",
    "__label__1",
    "__label__zzz",
    "__class__1",
    "__class__",
    "__label_",
    "unseen",
    "</s>x",
]
SPACES = [" ", "\n", "\t", "\r", "\v", "\f", "\0", "  ", "\u00a0", ""]
TEXTS = st.lists(st.tuples(st.sampled_from(PIECES) | st.text(max_size=5), st.sampled_from(SPACES)), max_size=40).map(
    lambda pairs: "".join(word + space for word, space in pairs)
)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("official")
    return {name: official.train(folder, name) for name in official.MODELS}


@pytest.fixture(scope="module")
def models(files):
    return {name: parse(path.read_bytes()) for name, path in files.items()}


def buffers(texts):
    return text_buffers(pa.array(texts, pa.large_string()))


def fuzzed(n, seed):
    rng = np.random.default_rng(seed)
    for _ in range(n):
        length = int(rng.integers(0, 60))
        yield "".join(str(rng.choice(PIECES)) + str(rng.choice(SPACES)) for _ in range(length))


def worst_difference(path, texts):
    """The largest |P - official P|; both must predict nothing for the same texts."""
    scorer = Scorer(parse(path.read_bytes()))
    ours = scorer.probabilities(*buffers(texts))
    worst = 0.0
    for row, expected, text in zip(ours, official.predict(path, texts), texts, strict=True):
        if not expected:
            assert np.isnan(row).all(), text
            continue
        assert {label for label, p in zip(scorer.labels, row, strict=True) if not np.isnan(p)} == set(expected)
        worst = max(worst, *(abs(row[scorer.labels.index(label)] - p) for label, p in expected.items()))
    return worst


@pytest.mark.parametrize("name", official.MODELS)
def test_probabilities_equal_official_fasttext_on_fuzzed_texts(files, name):
    texts = [*fuzzed(1500, 1), "", " ", "</s>", "a", "</s> a", "a </s>", "__label__1", "\n\n", "a\nb", "a\0b"]
    assert worst_difference(files[name], texts) <= 1e-6


@pytest.mark.parametrize("name", official.MODELS)
def test_the_best_label_and_any_single_one_are_those_of_official_fasttext_ties_too(files, models, name):
    texts = [*fuzzed(400, 2), "", " ", "</s>", "a", "zzz", "a\nb"]
    scorer = Scorer(models[name])
    labels, probabilities = scorer.best(*buffers(texts))
    for label, p, expected in zip(labels, probabilities, official.predict(files[name], texts, 1), strict=True):
        assert ([scorer.labels[label]] if label >= 0 else []) == list(expected)
        assert p == pytest.approx(next(iter(expected.values()), math.nan), abs=1e-6, nan_ok=True)
    whole = scorer.probabilities(*buffers(texts))
    for label in {0, len(scorer.labels) // 2, len(scorer.labels) - 1}:
        assert np.array_equal(scorer.probability(*buffers(texts), label), whole[:, label], equal_nan=True)


def test_texts_without_any_feature_have_no_probability_as_official_fasttext_predicts_nothing(tmp_path):
    path = official.without_eos(tmp_path)
    assert worst_difference(path, ["the", "of", "", "the </s>", "</s> the", "__label__1 the", "__label__1"]) <= 1e-6
    scorer = Scorer(parse(path.read_bytes()))
    assert np.isnan(scorer.probabilities(*buffers(["the", "of", ""]))[:, 0]).tolist() == [False, True, True]


@pytest.mark.shared
@pytest.mark.parametrize("name", ["bigrams", "everything", "pruned"])
def test_on_real_documents_only_the_single_precision_of_official_fasttext_differs(files, models, name, shared):
    model = models[name]
    for source in ("web-00000", "code-00000", "multilingual-00000"):
        texts = pq.read_table(shared / f"data/small/{source}.parquet")["text"].to_pylist()[:300]
        # With character n-grams a short document has thousands of features, too, and rounds more often.
        tolerance = 5e-6 if model.maxn else 1e-6
        assert worst_difference(files[name], [text for text in texts if len(text) < 1000]) <= tolerance
        long = sorted(texts, key=len)[-3:]
        exact = [twin.probabilities(text.encode(), model) for text in long]
        np.testing.assert_allclose(Scorer(model).probabilities(*buffers(long)), exact, atol=1e-7)
        single = [twin.single_precision_probabilities(text.encode(), model) for text in long]
        theirs = [[found[label] for label in model.labels] for found in official.predict(files[name], long)]
        np.testing.assert_allclose(theirs, single, atol=2e-6 if name == "pruned" else 2e-7)


@pytest.mark.parametrize("name", official.MODELS)
@given(texts=st.lists(TEXTS, max_size=8))
@settings(max_examples=40, deadline=None)
def test_features_equal_the_slow_twin(models, name, texts):
    model = models[name]
    rows, offsets = fasttext_features.document_features(*buffers(texts), fasttext_features.lookup_of(model))
    for d, text in enumerate(texts):
        found = sorted(rows[offsets[d] : offsets[d + 1]].tolist())
        assert found == sorted(twin.features(text.encode(), model))


TWINNED = ["bigrams", "unigrams", "many labels", "quantised", "more labels than dimensions", "everything"]
TWINNED += ["one against all", "two against each other", "sampled", "tree", "tree of two"]


@pytest.mark.parametrize("name", TWINNED)
@given(texts=st.lists(TEXTS, max_size=8))
@settings(max_examples=40, deadline=None)
def test_probabilities_equal_the_slow_twin(models, name, texts):
    expected = [twin.probabilities(text.encode(), models[name]) for text in texts]
    found = Scorer(models[name]).probabilities(*buffers(texts))
    np.testing.assert_allclose(found, np.array(expected).reshape(found.shape), atol=1e-6)


@pytest.mark.parametrize("name", [name for name in official.MODELS if "quantised" not in name and "pruned" not in name])
def test_hidden_vectors_equal_the_slow_twin_to_the_last_bit(models, name):
    model = models[name]
    lookup = fasttext_features.lookup_of(model)
    texts = [*fuzzed(100, 21), " ".join(fuzzed(400, 22))]
    data, offsets = map(fasttext_features.frozen, buffers(texts))
    found_ND = np.full((len(texts), model.inputs_RD.shape[1]), np.nan, np.float32)
    matrix, no_norms = map(fasttext_features.frozen, (model.inputs_RD, np.empty(0, np.float32)))
    averages(data, offsets, np.arange(len(texts)), lookup, matrix, no_norms, found_ND)
    for found, text in zip(found_ND, texts, strict=True):
        rows = twin.features(text.encode(), model)
        expected = twin.average(model.inputs_RD[rows]) if rows else np.full(len(found), np.nan, np.float32)
        assert np.array_equal(found, expected, equal_nan=True), text


LOSSES = ["softmax", "one-vs-all", "hierarchical softmax"]


@pytest.mark.parametrize("loss", LOSSES)
@given(counts=st.lists(st.integers(1, 9), min_size=1, max_size=12), seed=st.integers(0, 99), equal=st.booleans())
@settings(max_examples=25, deadline=None)
def test_labels_of_any_frequency_tied_or_not_are_predicted_as_official_fasttext_does(
    tmp_path_factory, loss, counts, seed, equal
):
    rng = np.random.default_rng(seed)
    words = [b"</s>", b"a", b"b", b"c"]
    outputs_LD = rng.normal(0, 6, (len(counts), 4)) * (0 if equal else 1)
    path = official.written(
        tmp_path_factory.mktemp("written") / "model.bin",
        loss=loss,
        words=words,
        counts=sorted(counts, reverse=True),
        inputs_RD=rng.normal(0, 1, (4, 4)),
        outputs_LD=outputs_LD,
    )
    texts = ["a", "b c", "c a a", ""]
    assert worst_difference(path, texts) <= 1e-6
    scorer = Scorer(parse(path.read_bytes()))
    expected = [next(iter(found), None) for found in official.predict(path, texts, 1)]
    labels = scorer.best(*buffers(texts))[0]
    assert [scorer.labels[label] if label >= 0 else None for label in labels] == expected
    model = parse(path.read_bytes())
    if loss == "hierarchical softmax":
        found = scorer.probabilities(*buffers(texts))
        expected = np.array([twin.probabilities(text.encode(), model) for text in texts])
        np.testing.assert_allclose(np.nan_to_num(found, nan=1e-5), np.nan_to_num(expected, nan=1e-5), atol=1e-6)


@given(texts=st.lists(TEXTS, max_size=6))
@settings(max_examples=40, deadline=None)
def test_dropped_newlines_are_as_if_they_had_never_been_there(models, texts):
    bare = [text.replace("\n", "") for text in texts]
    data, offsets = fasttext_features.without_newlines(*buffers(texts))
    found = [data[start:end].tobytes().decode() for start, end in pairwise(offsets)]
    assert found == bare
    for name in ("bigrams", "tree"):
        dropping, plain = Scorer(models[name], drop_newlines=True), Scorer(models[name])
        given, expected = dropping.probabilities(*buffers(texts)), plain.probabilities(*buffers(bare))
        assert np.array_equal(given, expected, equal_nan=True)


@pytest.mark.parametrize("name", ["bigrams", "many labels", "pruned tree", "one against all"])
def test_what_was_made_of_a_model_makes_the_same_scorer_again(models, name):
    texts = list(fuzzed(100, 13))
    first = Scorer(models[name])
    assert np.array_equal(
        Scorer(models[name], first.made).probabilities(*buffers(texts)),
        first.probabilities(*buffers(texts)),
        equal_nan=True,
    )


@pytest.mark.parametrize("name", ["bigrams", "unigrams"])
def test_long_documents_and_long_tokens_are_whole_across_pieces(models, files, name):
    rng = np.random.default_rng(3)
    words = rng.choice(official.WORDS, 3 * CHUNK_BYTES).tolist()
    texts = [
        " ".join(words),
        "the " + "y" * (3 * CHUNK_BYTES) + " of",
        "é" * CHUNK_BYTES,
        " " * (3 * CHUNK_BYTES) + "a",
    ]
    texts += [" ".join(words[:3000]) + " __label__1 " + " ".join(words[3000:]), " ".join(words[:5000]) + " </s> a b"]
    texts += ["x" * (CHUNK_BYTES - shift) + " the of" for shift in range(-3, 8)]
    expected = [twin.probabilities(text.encode(), models[name]) for text in texts]
    np.testing.assert_allclose(Scorer(models[name]).probabilities(*buffers(texts)), expected, atol=1e-7)


@pytest.mark.parametrize("name", ["bigrams", "many labels", "characters"])
def test_a_document_depends_on_its_own_text_only(models, name):
    texts = list(fuzzed(200, 7))
    scorer = Scorer(models[name])
    whole = scorer.probabilities(*buffers(texts))
    order = np.random.default_rng(0).permutation(len(texts))
    assert np.array_equal(scorer.probabilities(*buffers([texts[i] for i in order])), whole[order], equal_nan=True)
    sliced = pa.array(texts, pa.large_string()).slice(50, 70)
    assert np.array_equal(scorer.probabilities(*text_buffers(sliced)), whole[50:120], equal_nan=True)


@pytest.mark.parametrize("name", ["bigrams", "many labels"])
def test_documents_that_are_not_kept_have_no_probability_and_change_no_other(models, name):
    texts = [*fuzzed(60, 9), "a __label__1 b"]
    keep = np.random.default_rng(1).random(len(texts)) < 0.5
    scorer = Scorer(models[name])
    whole = scorer.probabilities(*buffers(texts))
    some = scorer.probabilities(*buffers(texts), keep)
    assert np.isnan(some[~keep]).all()
    assert np.array_equal(some[keep], whole[keep], equal_nan=True)


def test_a_model_with_two_labels_and_bigrams_is_collapsed_and_gives_what_the_general_kernel_gives(models):
    texts = list(fuzzed(500, 11))
    collapsed, general = Scorer(models["bigrams"]), Scorer(models["bigrams"])
    assert collapsed._packed is not None
    general._packed = None
    found, expected = (scorer.probabilities(*buffers(texts)) for scorer in (collapsed, general))
    np.testing.assert_allclose(found, expected, atol=1e-12)


@given(st.floats(-745, 745))
def test_the_exponential_is_exact_to_the_last_digits(x):
    assert fasttext_hash.exp(x) == pytest.approx(math.exp(max(min(x, 700), -700)), rel=1e-15)


@given(st.floats(1e-300, 1e300))
def test_the_logarithm_is_exact_to_the_last_digits(x):
    assert fasttext_hash.log(x) == pytest.approx(math.log(x), rel=1e-15, abs=1e-16)


@given(st.integers(0, 2**64 - 1), st.integers(1, 2**31 - 1))
def test_the_quick_remainder_is_the_remainder(value, divisor):
    inverse = np.uint64((2**64 - 1) // divisor)
    assert fasttext_hash.modulo(np.uint64(value), np.uint64(divisor), inverse) == value % divisor


@given(st.binary(max_size=30))
def test_the_low_half_of_a_key_is_fasttexts_hash(token):
    data = fasttext_features.frozen(np.frombuffer(token + b"\0", np.uint8))
    assert int(fasttext_hash.key_of(data, 0, len(token))) & 0xFFFFFFFF == twin.fnv(token)
