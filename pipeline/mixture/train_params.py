"""What the training of proxies is asked for."""

from dataclasses import replace
from typing import Any

from pydantic import Field, model_validator

from pipeline.mixture.held_out import HeldOutParams
from pipeline.proxy import settings
from pipeline.proxy.settings import SETTINGS, Setting

LEAST_STEPS = 20
MOST_TOKENS = 1 << 16
"""Ids of a pool are 16 bits wide."""
_OWN = ("vocabulary", "width", "layers", "heads", "context", "batch", "learning_rate", "budget_tokens")


class TrainParams(HeldOutParams):
    """How large the proxies are, how long each is trained and how often judged, and how long the target will be.

    `setting` is a model by name; each of the fields from `vocabulary` to `budget_tokens` takes the place of the
    setting's own. `target_tokens` is the budget of the model that the mixture is for; left out, it is the plan's.
    """

    setting: settings.Name = "tiny"
    vocabulary: int | None = Field(None, ge=300, le=MOST_TOKENS)
    width: int | None = Field(None, ge=16)
    layers: int | None = Field(None, ge=1)
    heads: int | None = Field(None, ge=1)
    context: int | None = Field(None, ge=8)
    batch: int | None = Field(None, ge=1)
    learning_rate: float | None = Field(None, gt=0)
    budget_tokens: int | None = Field(None, gt=0)
    target_tokens: int | None = Field(None, gt=0)
    evaluations: int = Field(4, ge=1)

    @model_validator(mode="after")
    def _is_a_training(self) -> "TrainParams":
        model = self.model
        if model.width % (2 * model.heads):
            raise ValueError(f"width: {model.width} is no multiple of 2 x {model.heads} heads")
        if self.steps < max(LEAST_STEPS, self.evaluations):
            least = max(LEAST_STEPS, self.evaluations) * model.step_tokens
            raise ValueError(
                f"budget_tokens: {model.budget_tokens:,} are {self.steps} steps of {model.step_tokens:,} tokens; give "
                f"at least {least:,}"
            )
        return self

    @property
    def model(self) -> Setting:
        """The model and its training, with what is given here in place of the setting's own."""
        own: dict[str, Any] = {name: getattr(self, name) for name in _OWN}
        return replace(SETTINGS[self.setting], **{name: value for name, value in own.items() if value is not None})

    @property
    def steps(self) -> int:
        return self.model.steps(self.model.budget_tokens)

    @property
    def budget(self) -> int:
        """The tokens that every run sees: whole steps."""
        return self.steps * self.model.step_tokens

    @property
    def judged_at(self) -> tuple[int, ...]:
        """The steps behind which a run is judged, evenly spread, the last one last."""
        return tuple(self.steps * number // self.evaluations for number in range(1, self.evaluations + 1))
