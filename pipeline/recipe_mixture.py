"""The section `mixture` of a recipe: shares of the domains, given or found by proxies."""

from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from pipeline.corpus import Frozen
from pipeline.mixture.bounds import Limits
from pipeline.proxy import settings

FOR_PROXIES = ("mixtures", "replicates", "model", "tokens", "sample", "train")
"""Keys of `regress` that speak of proxies trained here."""
FOR_TEXTS = ("text", "held_out_bytes")
"""Keys of `regress` that speak of the texts of the targets."""


class Target(Frozen):
    """What a mixture should be good at: a file of texts, or else held-out documents of the domain of this name."""

    path: str | None = None
    weight: float = Field(1, ge=0)

    @model_validator(mode="before")
    @classmethod
    def _from_path_or_weight(cls, value: Any) -> Any:
        """Accept `name: path` and `name: weight`."""
        if isinstance(value, str):
            return {"path": value}
        return {"weight": value} if isinstance(value, int | float) else value


class Regress(Limits):
    """How the weights are found: proxies trained on mixtures drawn here, or `runs` made elsewhere.

    `model` is the size of a proxy by name, `tokens` what it is trained on (the size's own by default). `targets` are
    what a mixture should be good at; by default held-out documents of every domain, all alike. `surface` fits n-gram
    models of the domains as well, which cost nearly nothing. `sample`, `train`, `fit` and `recommend` hold further
    params of the stages mixture.sample, mixture.train, mixture.fit and mixture.recommend.
    """

    mixtures: int = Field(64, gt=0)
    replicates: int = Field(4, ge=0)
    model: settings.Name = "tiny"
    tokens: int | None = Field(None, gt=0)
    targets: dict[str, Target] = {}
    text: str | None = None
    held_out_bytes: int | None = Field(None, gt=0)
    laws: tuple[str, ...] = ()
    surface: dict[str, Any] | None = None
    runs: str | None = None
    sample: dict[str, Any] = {}
    train: dict[str, Any] = {}
    fit: dict[str, Any] = {}
    recommend: dict[str, Any] = {}

    @field_validator("surface", mode="before")
    @classmethod
    def _yes_means_defaults(cls, value: Any) -> Any:
        """Accept `surface: true` and `surface: false`."""
        return {True: {}, False: None}[value] if isinstance(value, bool) else value

    @model_validator(mode="after")
    def _runs_are_made_in_one_place(self) -> "Regress":
        if self.runs is not None and (idle := [key for key in FOR_PROXIES if key in self.model_fields_set]):
            raise ValueError(f"`runs` were trained elsewhere, which leaves {', '.join(idle)} without effect; leave out")
        if self.runs is None or self.surface is not None:
            return self
        idle = [key for key in FOR_TEXTS if key in self.model_fields_set]
        idle += [f"targets.{name}.path" for name in self.files()]
        if idle:
            raise ValueError(
                f"`runs` hold the losses of their targets, so nothing reads {', '.join(idle)} unless a `surface` does"
            )
        return self

    @model_validator(mode="after")
    def _targets_are_of_one_kind(self) -> "Regress":
        if self.runs is None and self.files() and (without := sorted(self.targets.keys() - self.files().keys())):
            raise ValueError(
                f"targets: {', '.join(without)} has no file and others have. Give all a `path`, or none: held-out "
                "documents of each domain are the targets then"
            )
        if self.targets and not any(target.weight for target in self.targets.values()):
            raise ValueError("targets: all weights are 0; give at least one target a weight")
        return self

    def files(self) -> dict[str, str]:
        """Return the files of texts, by the name of their target."""
        return {name: target.path for name, target in self.targets.items() if target.path is not None}

    def held_out_domains(self) -> tuple[str, ...]:
        """Return the targets that are held-out documents of the domain that they are named by."""
        return () if self.runs is not None or self.files() else tuple(self.targets)


class Mixture(Frozen):
    """Shares of the domains in what is trained on, and how much that is.

    `regress` finds the weights. `clusters` makes domains where there are none; it takes the params of mixture.cluster.
    """

    weights: Literal["natural", "uniform"] | dict[str, float] = "natural"
    temperature: float | None = Field(None, gt=0)
    budget_tokens: int | None = Field(None, gt=0)
    max_epochs: float = Field(4, gt=0)
    on_cap: Literal["redistribute", "fail", "shrink"] = "redistribute"
    clusters: dict[str, Any] | None = None
    regress: Regress | None = None

    @field_validator("clusters", "regress", mode="before")
    @classmethod
    def _named_alone_means_defaults(cls, value: Any) -> Any:
        return {} if value is None else value

    @model_validator(mode="after")
    def _weights_are_told_once(self) -> "Mixture":
        told = [key for key in ("weights", "temperature") if key in self.model_fields_set]
        if self.regress is not None and told:
            raise ValueError(f"`regress` finds the weights, and {' and '.join(told)} would tell them; leave one out")
        return self

    def named_domains(self) -> dict[str, tuple[str, ...]]:
        """Return every key that names domains, with the names."""
        named = {"mixture.weights": tuple(self.weights)} if isinstance(self.weights, dict) else {}
        if self.regress is not None:
            named["mixture.regress.floors"] = tuple(self.regress.floors)
            named["mixture.regress.ceilings"] = tuple(self.regress.ceilings)
            named["mixture.regress.targets"] = self.regress.held_out_domains()
        return named
