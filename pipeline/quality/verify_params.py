"""What a verification of a selection is asked for."""

from pydantic import Field, model_validator

from pipeline.proxy import settings
from pipeline.proxy.settings import SETTINGS, Setting
from pipeline.quality.subsets import Draw
from pipeline.stage import Params

LEAST_STEPS = 20
SAMPLE_BYTES_A_TOKEN = 1000
"""The vocabulary is learned from so many bytes of text for each of its tokens."""
MOST_BYTES_A_TOKEN = 8
"""A run is sent this much text for each token of the budget; four bytes make a token of a vocabulary so small."""


class VerifyParams(Params):
    """How large the models are, how long and how often they are trained, and how much of each target they read.

    `text` is the column of the targets' files; `budget_tokens` is the setting's own where it is left out.
    """

    setting: settings.Name = "tiny"
    budget_tokens: int | None = Field(None, gt=0)
    random: int = Field(5, ge=5)
    seeds: int = Field(2, ge=2)
    target_bytes: int = Field(200_000, gt=0)
    text: str = "text"
    confidence: float = Field(0.95, gt=0.5, lt=1)
    seed: int = Field(0, ge=0)

    @model_validator(mode="after")
    def _budget_is_a_training(self) -> "VerifyParams":
        if self.model.steps(self.budget) < LEAST_STEPS:
            raise ValueError(
                f"budget_tokens: {self.budget:,} are {self.model.steps(self.budget)} steps of the setting "
                f"{self.setting}; give at least {LEAST_STEPS * self.model.step_tokens:,}"
            )
        return self

    @property
    def model(self) -> Setting:
        return SETTINGS[self.setting]

    @property
    def budget(self) -> int:
        return self.budget_tokens or self.model.budget_tokens

    def draws(self) -> tuple[Draw, ...]:
        """Return what is drawn from the documents: a sample for the vocabulary, then the documents of every run."""
        sample = Draw("vocabulary", 0, self.seed, SAMPLE_BYTES_A_TOKEN * self.model.vocabulary)
        need = MOST_BYTES_A_TOKEN * self.budget
        counts = {"selected": self.seeds, "random": self.random}
        runs = [Draw(kind, i, self.seed + i, need) for kind, count in counts.items() for i in range(count)]
        return (sample, *runs)
