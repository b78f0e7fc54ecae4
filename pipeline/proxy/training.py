"""Train a small model for an exact number of tokens, the same way every time.

On a CPU one thread works, so that sums are added in one order: the same tokens, setting and seed give the same weights
on the same kind of machine. Other processors and GPUs round otherwise, and a training carries that on.
"""

import math
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from pipeline.files import replacing
from pipeline.kernels.permutation import key_of, permuted
from pipeline.proxy.model import Decoder
from pipeline.proxy.settings import Setting

WARM_UP, LAST_RATE = 0.05, 0.1
BETAS, DECAY, CLIP = (0.9, 0.95), 0.1, 1.0


@contextmanager
def repeatable() -> Iterator[None]:
    """Compute with one thread and deterministic algorithms within; as before behind it."""
    threads, deterministic = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True, warn_only=torch.cuda.is_available())
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(deterministic)


def device() -> torch.device:
    """Return the GPU if there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def halved(model: Decoder, where: torch.device) -> Callable[[torch.Tensor], torch.Tensor]:
    """Return the model's forward pass, in bfloat16 on a GPU and in float32 on a CPU."""

    def forward(ids_BT: torch.Tensor) -> torch.Tensor:
        with torch.autocast(where.type, torch.bfloat16, enabled=where.type == "cuda"):
            logits: torch.Tensor = model(ids_BT)
        return logits

    return forward


def stream(documents: Sequence[np.ndarray], length: int, order: Callable[[int], np.ndarray]) -> np.ndarray:
    """Return the first `length` tokens of the documents read one after the other, epoch after epoch.

    Args:
        order: epoch -> places of all documents in the order in which they are read.

    Raises:
        ValueError: the documents hold no token.
    """
    if not sum(map(len, documents)):
        raise ValueError("no token to train on")
    parts: list[np.ndarray] = []
    held = epoch = 0
    while held < length:
        for place in order(epoch):
            parts.append(documents[place])
            held += len(documents[place])
            if held >= length:
                break
        epoch += 1
    return np.concatenate(parts)[:length]


class Training:
    """A model that is being trained for a known number of steps, and how far it is.

    What it becomes depends on the setting, the vocabulary, the seed, the number of steps and the rows it is given. It
    may be saved between two steps: a training that is restored goes on as if it had never stopped.
    """

    def __init__(self, setting: Setting, vocabulary: int, seed: int, steps: int):
        self.steps, self.done = steps, 0
        self._where, self._setting = device(), setting
        self.model = Decoder(setting, vocabulary, seed).to(self._where)
        self._optimizer = torch.optim.AdamW(
            self.model.parameters(), setting.learning_rate, betas=BETAS, weight_decay=DECAY, fused=True
        )
        self._forward = halved(self.model, self._where)

    def learn(self, rows_BT: np.ndarray) -> None:
        """Take one step on rows of tokens, [batch, context + 1]: all but the last are read, all but the first told."""
        row_BT = torch.from_numpy(rows_BT.astype(np.int64)).to(self._where)
        self._optimizer.param_groups[0]["lr"] = self._setting.learning_rate * rate(self.done, self.steps)
        logits = self._forward(row_BT[:, :-1])
        loss = functional.cross_entropy(logits.float().flatten(0, 1), row_BT[:, 1:].flatten())
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), CLIP)
        self._optimizer.step()
        self.done += 1

    def save(self, path: Path, **told: Any) -> None:
        """Write the state to a file, whole or not at all, with what the caller will want to know (plain values)."""
        state = {"done": self.done, "model": self.model.state_dict(), "optimizer": self._optimizer.state_dict()}
        with replacing(path) as draft, draft.open("wb") as file:
            torch.save(state | {"told": told}, file)
            file.flush()
            os.fsync(file.fileno())

    def restore(self, path: Path) -> dict[str, Any]:
        """Go on from a state that `save` wrote; return what it was told."""
        state = torch.load(path, map_location=self._where, weights_only=True)
        self.model.load_state_dict(state["model"])
        self._optimizer.load_state_dict(state["optimizer"])
        self.done = state["done"]
        told: dict[str, Any] = state["told"]
        return told


def fitted(tokens: np.ndarray, setting: Setting, vocabulary: int, seed: int) -> Decoder:
    """Return a model that has seen every token of `tokens` once, in rows of `context` in an order drawn from the seed.

    Args:
        tokens: [n * step_tokens + 1], each but the last one read and each but the first one predicted.
    """
    steps, context = setting.steps(len(tokens) - 1), setting.context
    training = Training(setting, vocabulary, seed, steps)
    rows = permuted(np.arange(steps * setting.batch), steps * setting.batch, key_of(seed))
    for step in range(steps):
        begins = rows[step * setting.batch : (step + 1) * setting.batch, None] * context
        training.learn(tokens[begins + np.arange(context + 1)])
    return training.model.eval()


def rate(step: int, steps: int) -> float:
    """Return the share of the learning rate at a step: a short rise, then half a cosine down to a tenth."""
    rise = max(1, round(steps * WARM_UP))
    if step < rise:
        return (step + 1) / rise
    done = (step - rise) / max(1, steps - rise)
    return LAST_RATE + (1 - LAST_RATE) * 0.5 * (1 + math.cos(math.pi * done))
