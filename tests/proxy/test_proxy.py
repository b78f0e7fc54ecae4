"""Small models: every token learned and judged once, the same way every time."""

import math

import numpy as np
import pytest

from pipeline.proxy import vocabulary
from pipeline.proxy.settings import NAMES, SETTINGS

SMOKE = SETTINGS["smoke"]
TEXTS = ["the first text, the second text", "ünïcödé and 中文 and\nlines", " spaces  "]


def test_every_byte_survives_and_a_text_cannot_fake_the_start():
    tokenizer = vocabulary.trained(TEXTS, 300)
    strange = [*TEXTS, "", "\x00\x7f", "a<|start|>b", "🦀"]
    for text, ids in zip(strange, vocabulary.encoded(tokenizer, strange), strict=True):
        assert ids[0] == vocabulary.START_ID
        assert vocabulary.START_ID not in ids[1:]
        letters = "".join(tokenizer.id_to_token(int(i)) for i in ids[1:])
        assert len(letters) == len(text.encode()), "one letter of the alphabet a byte"


def test_the_same_texts_make_the_same_vocabulary():
    made = [vocabulary.trained(TEXTS * 5, 280).to_str() for _ in range(2)]
    assert made[0] == made[1]


@pytest.mark.torch
class TestModels:
    @pytest.fixture(scope="class")
    @classmethod
    def model(cls):
        from pipeline.proxy.model import Decoder

        return Decoder(SMOKE, 300, seed=1).eval()

    @pytest.mark.parametrize("name", [name for name in NAMES if name != "medium"])
    def test_a_setting_knows_how_many_numbers_its_model_learns(self, name):
        from pipeline.proxy.model import Decoder

        setting = SETTINGS[name]
        assert setting.parameters(777) == sum(w.numel() for w in Decoder(setting, 777, 0).parameters())

    def test_the_future_does_not_show(self, model):
        import torch

        ids = torch.arange(1, 40)[None]
        changed = ids.clone()
        changed[0, 30:] = 7
        with torch.inference_mode():
            torch.testing.assert_close(model(ids)[0, :30], model(changed)[0, :30])

    def test_the_stream_reads_epoch_after_epoch_each_in_its_order(self):
        from pipeline.proxy.training import stream

        documents = [np.array([0, 1], np.uint16), np.array([0, 2, 3], np.uint16)]
        found = stream(documents, 9, lambda epoch: np.array([[1, 0], [0, 1]][epoch]))
        assert found.tolist() == [0, 2, 3, 0, 1, 0, 1, 0, 2]
        with pytest.raises(ValueError, match="no token"):
            stream([], 3, lambda epoch: np.arange(0))

    def test_training_is_repeatable_and_learns(self):
        import torch

        from pipeline.proxy.lm import document_losses
        from pipeline.proxy.training import fitted, repeatable

        pattern = np.random.default_rng(3).integers(1, 300, 50).astype(np.uint16)
        tokens = np.resize(pattern, SMOKE.step_tokens * 60 + 1)
        threads = torch.get_num_threads()
        with repeatable():
            assert torch.get_num_threads() == 1
            first, second, other = (fitted(tokens, SMOKE, 300, seed) for seed in (1, 1, 2))
        assert torch.get_num_threads() == threads
        for a, b in zip(first.parameters(), second.parameters(), strict=True):
            assert torch.equal(a, b)
        assert not torch.equal(first.embedding.weight, other.embedding.weight)
        nats_N, scored_N = document_losses(first, tokens[:65], np.array([0, 65]), window=65)
        assert nats_N[0] / scored_N[0] < 4 < math.log(300)

    def test_the_rate_rises_shortly_and_falls_to_a_tenth(self):
        from pipeline.proxy.training import rate

        rates = [rate(step, 100) for step in range(100)]
        assert rates[0] == pytest.approx(0.2)
        assert max(rates) == rates[4] == 1
        assert rates[5:] == sorted(rates[5:], reverse=True)
        assert rates[-1] == pytest.approx(0.1, abs=0.01)
