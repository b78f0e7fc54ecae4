"""The n-gram surface: its closed form is what counting a really mixed corpus gives."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.kernels import ngrams
from pipeline.schemas import text_buffers
from tests.kernels import reference_ngrams

TEXTS = st.lists(st.text("abcß ", max_size=12), min_size=1, max_size=3)


def buffers(texts: list[str]) -> tuple[np.ndarray, np.ndarray]:
    return text_buffers(pa.array(texts, pa.large_string()))


def grown(domains: list[list[str]], targets: list[list[str]], order: int, parts: int = 1) -> ngrams.Tree:
    """Return the tree of the targets, counted in so many parts a domain."""
    data, offsets = buffers([text for texts in targets for text in texts])
    known = ngrams.strings(data, offsets, order)
    histories, grams = (np.zeros((len(known.keys), len(domains)), np.int64) for _ in range(2))
    for domain, texts in enumerate(domains):
        for part in range(parts):
            some, firsts = buffers(texts[part::parts])
            ngrams.count(some, firsts, np.full(len(firsts) - 1, domain), known, histories, grams)
    owners = np.repeat(np.arange(len(targets)), [len(texts) for texts in targets])
    return ngrams.tree(data, offsets, owners, known, histories, grams)


def encoded(texts: list[str]) -> list[bytes]:
    return [text.encode() for text in texts]


@settings(max_examples=60)
@given(
    st.lists(TEXTS, min_size=1, max_size=3),
    st.lists(TEXTS.filter(any), min_size=1, max_size=2),
    st.integers(1, 4),
    st.lists(st.lists(st.integers(0, 3), min_size=3, max_size=3), min_size=1, max_size=2),
)
def test_the_closed_form_is_what_counting_a_mixed_corpus_gives(domains, targets, order, copies):
    strengths = [0.5, 2.0, 1.0, 3.0][:order]
    copies = [row[: len(domains)] for row in copies]
    losses = ngrams.losses(grown(domains, targets, order), np.array(strengths), np.array(copies, float))
    for row, given_copies in enumerate(copies):
        mixed = [text for texts, times in zip(domains, given_copies, strict=True) for text in texts * times]
        counted = reference_ngrams.model(encoded(mixed), order)
        expected = [reference_ngrams.loss(counted, strengths, encoded(texts)) for texts in targets]
        np.testing.assert_allclose(losses[row], expected, rtol=1e-9)


def test_counts_add_up_whatever_the_parts():
    domains, targets = [["one text", "two texts", ""], ["ten pens", "open"]], [["text pens"], ["one two"]]
    whole, parts = (grown(domains, targets, 3, parts) for parts in (1, 2))
    assert all(np.array_equal(a, b) for a, b in zip(whole, parts, strict=True))


def test_any_number_of_mixtures_is_asked_at_once():
    tree = grown([["abracadabra" * 40], ["banana"]], [["abra" * 100], ["nab"]], 3)
    copies = np.random.default_rng(0).uniform(0, 2, (37, 2))
    strengths = np.array([1.0, 2, 3])
    once = np.concatenate([ngrams.losses(tree, strengths, row[None]) for row in copies])
    assert np.array_equal(ngrams.losses(tree, strengths, copies), once)
    assert ngrams.losses(tree, strengths, copies[:0]).shape == (0, 2)
    likely = ngrams.probabilities(tree, strengths, copies)
    assert likely.shape == (len(tree.leaves), 37)
    first = slice(tree.firsts[0], tree.firsts[1])
    bits = -(tree.times[first, None] * np.log2(likely[first])).sum(0) / tree.times[first].sum()
    np.testing.assert_allclose(bits, once[:, 0], rtol=1e-12)


def test_probabilities_of_all_bytes_sum_to_one():
    every = [bytes([value]).decode() for value in range(128)]
    tree = grown([["xyxz" * 5, "q"]], [[f"xy{byte}" for byte in every]], 3)
    likely = ngrams.probabilities(tree, np.array([1.0, 2, 3]), np.array([[2.0]]))[:, 0]
    last = (tree.times == 1) & (tree.orders[tree.leaves] == 3)
    assert last.sum() == 128
    assert 1 - likely[last].sum() == pytest.approx(128 * likely[last].min(), rel=1e-9)  # those beyond ASCII


def test_what_is_no_order_and_no_domain_is_refused():
    data, offsets = buffers(["ab"])
    with pytest.raises(ValueError, match="1 to 7 bytes"):
        ngrams.strings(data, offsets, 8)
    known = ngrams.strings(data, offsets, 2)
    counts = np.zeros((len(known.keys), 1), np.int64)
    with pytest.raises(ValueError, match="domains must be 0 to 0"):
        ngrams.count(data, offsets, np.array([1]), known, counts, counts.copy())
