"""The losses of documents under a language model, beside a loop that scores one token at a time."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytestmark = pytest.mark.torch


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    from transformers import LlamaForCausalLM

    from tests.quality import ladder

    return LlamaForCausalLM.from_pretrained(ladder.write_model(tmp_path_factory.mktemp("model"))).eval()


def plain_nats(model, tokens, prefix, window, stride):
    """Return the nats of one document: each token by a call of its own, on the context its window has."""
    import torch

    whole, scored = [*prefix, *tokens], max(len(prefix), 1)
    total = 0.0
    for position in range(scored, len(whole)) if tokens else ():
        begin = 0
        while begin + window <= position:
            begin += stride
        with torch.inference_mode():
            logits = model(torch.tensor([whole[begin:position]])).logits[0, -1].double()
        total -= float(torch.log_softmax(logits, -1)[whole[position]])
    return total


@st.composite
def documents(draw):
    window = draw(st.integers(3, 20))
    prefix = draw(st.sampled_from([(), (0,), (0, 5)]))
    lists = st.lists(st.integers(0, 299), max_size=45)
    return draw(st.lists(lists, min_size=1, max_size=6)), window, draw(st.integers(1, window - 1)), prefix


@given(documents(), st.sampled_from([1, 30, 1000]))
@settings(max_examples=25)
def test_batched_losses_are_those_of_a_plain_loop(model, case, batch_tokens):
    from pipeline.proxy import lm

    lists, window, stride, prefix = case
    tokens = np.array([t for tokens in lists for t in tokens], np.uint32)
    offsets = np.concatenate([[0], np.cumsum([len(tokens) for tokens in lists])])
    shape = {"window": window, "stride": stride, "prefix": prefix, "batch_tokens": batch_tokens}
    nats, scored = lm.document_losses(lm.forward_of(model), tokens, offsets, **shape)
    expected = [plain_nats(model, tokens, prefix, window, stride) for tokens in lists]
    np.testing.assert_allclose(nats, expected, rtol=1e-4, atol=1e-4)
    assert scored.tolist() == [max(len(tokens) - (not prefix), 0) for tokens in lists]


def test_a_document_costs_the_same_whatever_lies_beside_it(model):
    from pipeline.proxy import lm

    rng = np.random.default_rng(0)
    lists = [rng.integers(0, 300, n).astype(np.uint32) for n in (5, 64, 17, 200, 1)]

    def losses(chosen):
        offsets = np.concatenate([[0], np.cumsum([len(tokens) for tokens in chosen])])
        return lm.document_losses(lm.forward_of(model), np.concatenate(chosen), offsets, window=64, prefix=(0,))[0]

    together = losses(lists)
    np.testing.assert_allclose(losses(lists[::-1]), together[::-1], rtol=1e-5)
    np.testing.assert_allclose([losses([tokens])[0] for tokens in lists], together, rtol=1e-5)
