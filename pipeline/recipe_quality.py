"""The sections of a recipe that judge documents: filters, decontaminate and quality."""

from typing import Any, Literal

from pydantic import Field, ValidationError, field_validator, model_validator

from pipeline.corpus import Frozen
from pipeline.quality.decontaminate import DecontaminateParams
from pipeline.quality.heuristics import HeuristicsParams, Language, Masking
from pipeline.quality.judging import Rules
from pipeline.quality.labels import Labels
from pipeline.quality.select_params import SCORE, SelectParams

STRENGTH = "strength"
"""The column of quality.strength."""


class FilterLanguage(Language):
    """Which languages stay; `model` is a fastText model that tells them, the installed lid.176.ftz by default."""

    model: str | None = None


class FilterModel(Frozen):
    """A classifier brought along, and how probable its label may (`max`) or must (`min`) be."""

    path: str
    label: str | None = None
    newlines: Literal["space", "drop"] | None = None
    min: float | None = None
    max: float | None = None


class Filters(Rules):
    """Published rules of thumb, languages, masking and classifiers; the keys are those of quality.heuristics.

    `models` are classifiers by the reason that they give, `bad_words` files with a phrase a line, by name.
    """

    language: FilterLanguage | None = None
    routes: dict[str, Literal["pass", "drop"] | dict[str, Any]] = {}
    masking: Masking | None = None
    models: dict[str, FilterModel] = {}
    bad_words: dict[str, str] = {}

    @field_validator("masking", mode="before")
    @classmethod
    def _named_alone_means_defaults(cls, value: Any) -> Any:
        """Accept `masking: true`."""
        return {} if value is True else value

    @model_validator(mode="after")
    def _is_what_the_stage_accepts(self) -> "Filters":
        try:
            self.heuristics()
        except ValidationError as error:
            said = [".".join(map(str, problem["loc"])) + ": " + problem["msg"] for problem in error.errors()]
            raise ValueError("; ".join(said)) from None
        return self

    def heuristics(self) -> HeuristicsParams:
        """Return the params of the stage, which knows models and files by their roles."""
        language = self.language.model_dump(exclude={"model"}) if self.language else None
        models = [{"name": name} | given.model_dump(exclude={"path"}) for name, given in self.models.items()]
        rules = {name: getattr(self, name) for name in Rules.model_fields}
        more = {"language": language, "routes": self.routes, "masking": self.masking, "models": models}
        return HeuristicsParams.model_validate(rules | more)


class Decontaminate(DecontaminateParams):
    """Benchmark files whose items are looked for; all other keys are those of quality.decontaminate."""

    benchmarks: tuple[str, ...] = Field(min_length=1)

    @model_validator(mode="before")
    @classmethod
    def _from_paths(cls, value: Any) -> Any:
        """Accept `decontaminate: [path, path]` and `benchmarks: path`."""
        if isinstance(value, list):
            return {"benchmarks": value}
        if isinstance(value, dict) and isinstance(value.get("benchmarks"), str):
            return value | {"benchmarks": [value["benchmarks"]]}
        return value


class FastText(Frozen):
    """A fastText model brought along: its file, the label that is meant, and how it reads newlines."""

    path: str
    label: str | None = None
    newlines: Literal["space", "drop"] | None = None

    @model_validator(mode="before")
    @classmethod
    def _from_path(cls, value: Any) -> Any:
        """Accept `name: path`."""
        return {"path": value} if isinstance(value, str) else value


class LanguageModels(Frozen):
    """A ladder of language models, whose losses rank documents by predictive strength.

    `models` are folders by name, `hub` models of the Hugging Face hub, `losses` Parquet files of losses made elsewhere;
    `scores` is a table of what benchmarks say of the models. `read` holds further params of quality.losses, `strength`
    those of quality.strength.
    """

    scores: str
    models: dict[str, str] = {}
    hub: tuple[dict[str, str], ...] = ()
    losses: dict[str, str] = {}
    read: dict[str, Any] = {}
    strength: dict[str, Any] = {}

    @model_validator(mode="after")
    def _has_models(self) -> "LanguageModels":
        if not (self.models or self.hub or self.losses):
            raise ValueError("name `models` (folders), `hub` models or `losses` (Parquet files) to make a ladder of")
        return self


class Quality(SelectParams):
    """What scores documents, and which of them are kept.

    Scores come from fastText models (`model`, or several `models` by name; one trained here from `positive` and
    `negative`), whose columns are `score` or called like the model; from a `ladder` of language models (`strength`);
    and from the user's own columns. All other keys are those of quality.select.
    """

    model: FastText | None = None
    models: dict[str, FastText] = {}
    positive: Labels | None = None
    negative: Labels | None = None
    train: dict[str, Any] = {}
    ladder: LanguageModels | None = None

    def labels(self) -> dict[str, Labels]:
        """Return the classes to train from, by name; none when no model is trained."""
        sides = {"positive": self.positive, "negative": self.negative}
        return {side: labels for side, labels in sides.items() if labels is not None}

    def brought(self) -> dict[str, FastText]:
        """Return the models that are brought along, by the column of their scores."""
        return ({SCORE: self.model} if self.model else {}) | self.models

    def scored(self) -> tuple[str, ...]:
        """Return the columns of scores that steps of the build write."""
        trained = (SCORE,) if self.labels() else ()
        return (*trained, *self.brought(), *((STRENGTH,) if self.ladder else ()))

    @model_validator(mode="after")
    def _scores_come_from_somewhere(self) -> "Quality":
        if len(self.labels()) == 1:
            raise ValueError("training needs both `positive` and `negative`")
        if self.train and not self.labels():
            raise ValueError("`train` speaks of a classifier trained here, but neither side has labels: name them")
        names = self.scored()
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(
                f"two models write the column {twice[0]!r}: train one or bring it as `model`, and give the others "
                "names of their own under `models`"
            )
        if self.ranking == SCORE and SCORE not in names:
            raise ValueError(
                f"nothing writes the column {SCORE!r} to rank by: give `model`, or `positive` and `negative` to train "
                "one, or say by which column to `rank`"
            )
        if any(labels.strength for labels in self.labels().values()) and self.ladder is None:
            raise ValueError("a class is told by its strength, which a `ladder` of language models gives; name one")
        return self
