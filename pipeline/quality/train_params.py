"""The parameters of quality.train, and the hyper-parameters they ask to choose from."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import BeforeValidator, Field, model_validator

from pipeline.quality.labels import Labels
from pipeline.stage import Params

CLASSES = ("positive", "negative")

DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    "ours": {
        "learning_rate": (0.1, 0.5, 2.0, 8.0),  # clean labels want a high one, wrong labels a low one
        "epochs": (5,),
        "word_ngrams": (2,),
        "bucket": 1 << 19,
        "min_count": 2,
        "calibrate": True,
    },
    "official": {  # PreSelect's published settings
        "learning_rate": (0.1,),
        "epochs": (3,),
        "word_ngrams": (2,),
        "bucket": 2_000_000,
        "min_count": 1,
        "dim": 100,
        "calibrate": False,
    },
}


def _listed(value: Any) -> Any:
    return tuple(value) if isinstance(value, list | tuple) else (value,)


Rates = Annotated[tuple[Annotated[float, Field(gt=0)], ...], BeforeValidator(_listed), Field(min_length=1)]
Epochs = Annotated[tuple[Annotated[int, Field(ge=1)], ...], BeforeValidator(_listed), Field(min_length=1)]
Ngrams = Annotated[tuple[Annotated[int, Field(ge=1, le=5)], ...], BeforeValidator(_listed), Field(min_length=1)]


class Setting(NamedTuple):
    """One choice of hyper-parameters."""

    word_ngrams: int
    learning_rate: float
    epochs: int


class TrainParams(Params):
    """What is learned from, and how; where several values are given, the validation part chooses.

    `validation` and `held_out` are the shares of the sample that choose and calibrate, and that judge. `bucket` is the
    number of rows for word n-grams: 4 bytes each in our models, 4 * `dim` in official ones.
    """

    positive: Labels
    negative: Labels
    max_bytes: int = Field(32 << 20, gt=0)
    validation: float = Field(0.1, gt=0, lt=1)
    held_out: float = Field(0.1, gt=0, lt=1)
    newlines: Literal["space", "drop"] = "space"
    backend: Literal["ours", "official"] = "ours"
    learning_rate: Rates
    epochs: Epochs
    word_ngrams: Ngrams
    bucket: int = Field(gt=0, lt=1 << 31)
    min_count: int = Field(ge=1)
    dim: int | None = Field(None, ge=1)
    calibrate: bool
    seed: int = 0

    @model_validator(mode="before")
    @classmethod
    def _defaults_of_the_backend(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        return {**DEFAULTS.get(str(value.get("backend", "ours")), {}), **value}

    @model_validator(mode="after")
    def _backend_can_do_it(self) -> "TrainParams":
        if self.backend == "ours" and self.dim is not None:
            raise ValueError("`dim` is the official trainer's (backend: official); our models have one dimension")
        if self.backend == "official" and self.calibrate:
            raise ValueError("`calibrate` is for `backend: ours`; an official model is written as fastText made it")
        if self.validation + self.held_out >= 1:
            raise ValueError(
                "`validation` and `held_out` together leave nothing to learn from; their sum must be below 1"
            )
        return self

    @model_validator(mode="after")
    def _classes_differ(self) -> "TrainParams":
        both = sorted(set(self.positive.domains) & set(self.negative.domains))
        if both and not (self.positive.strength and self.negative.strength):
            raise ValueError(f"the domains {both} are both positive and negative; name each in one class")
        if self.positive.strength and self.positive.strength.lowest:
            raise ValueError("`lowest` means as many as there are positive documents; it is for `negative`")
        return self

    @property
    def classes(self) -> tuple[Labels, Labels]:
        """The labels of the positive and of the negative class."""
        return self.positive, self.negative

    @property
    def needs_strength(self) -> bool:
        """Whether a class is told by strength."""
        return any(labels.strength for labels in self.classes)

    def settings(self) -> Iterator[Setting]:
        """Yield every choice there is, the cheapest of each kind first."""
        for word_ngrams in sorted(set(self.word_ngrams)):
            for rate in sorted(set(self.learning_rate)):
                for epochs in sorted(set(self.epochs)):
                    yield Setting(word_ngrams, rate, epochs)
