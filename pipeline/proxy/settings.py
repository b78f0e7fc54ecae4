"""How large a small model is, and what it is trained with: a few settings with names. Imports no torch."""

from dataclasses import dataclass
from typing import Literal, get_args

Name = Literal["smoke", "micro", "tiny", "small", "base", "medium"]
NAMES: tuple[Name, ...] = get_args(Name)


@dataclass(frozen=True, slots=True)
class Setting:
    """A model and its training.

    A Llama-like decoder: `layers` of `heads` attention heads, `width` wide, `context` tokens long, with one embedding
    for input and output. A step sees `batch` rows of `context` tokens. `budget_tokens` is what a training sees unless
    told otherwise.
    """

    vocabulary: int
    width: int
    layers: int
    heads: int
    context: int
    batch: int
    learning_rate: float
    budget_tokens: int

    @property
    def hidden(self) -> int:
        """The width between the two halves of a feed-forward layer: 8/3 of the model's, in whole eights."""
        return self.width * 8 // 3 // 8 * 8

    @property
    def step_tokens(self) -> int:
        return self.batch * self.context

    def parameters(self, vocabulary: int) -> int:
        """Return how many numbers the model learns with a vocabulary of this size."""
        layer = self.width * (4 * self.width + 3 * self.hidden + 2)
        return self.width * (vocabulary + 1) + self.layers * layer

    def steps(self, budget_tokens: int) -> int:
        """Return how many whole steps a budget pays for."""
        return budget_tokens // self.step_tokens


SETTINGS: dict[Name, Setting] = {
    "smoke": Setting(512, 64, 2, 2, 64, 4, 3e-3, 100_000),
    "micro": Setting(1024, 64, 3, 2, 128, 8, 4e-3, 500_000),
    "tiny": Setting(2048, 128, 4, 2, 128, 8, 4e-3, 1_000_000),
    "small": Setting(8192, 384, 8, 6, 512, 32, 2e-3, 50_000_000),
    "base": Setting(16384, 640, 10, 10, 1024, 64, 1.2e-3, 300_000_000),
    "medium": Setting(16384, 768, 12, 12, 1024, 64, 1e-3, 500_000_000),
}
"""Some 0.1, 0.2, 1, 17, 60 and 97 million parameters: a test, two for a laptop, and three for a GPU."""
