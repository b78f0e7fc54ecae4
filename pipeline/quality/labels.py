"""What makes a document positive or negative: its domain, a column of it, its predictive strength, or both.

A class is told by `domains` or by a `column` (either is enough) and, where given, by `strength` as well (both are
needed). PreSelect (Shum et al. 2025, "Predictive Data Selection: The Data That Predicts Is the Data That Teaches")
takes documents of strength 1 as positive, `{strength: {min: 1}}`, and as many from the lowest end as negative,
`{strength: lowest}`.
"""

from typing import Any

from pydantic import ConfigDict, Field, model_validator

from pipeline.corpus import Frozen


class _Finite(Frozen):
    model_config = ConfigDict(allow_inf_nan=False)


class Strength(_Finite):
    """A part of the documents by predictive strength; one whose strength is unknown is never in it.

    Bounds (`min`, `max`); or the `top` or `bottom` share of the documents that are otherwise of the class; or `lowest`:
    as many from the lowest end as there are positive documents. Ties at the end of a share are broken by a draw.
    """

    min: float | None = Field(None, ge=0, le=1)
    max: float | None = Field(None, ge=0, le=1)
    top: float | None = Field(None, gt=0, le=1)
    bottom: float | None = Field(None, gt=0, le=1)
    lowest: bool = False

    @model_validator(mode="before")
    @classmethod
    def _from_a_word(cls, value: Any) -> Any:
        return {"lowest": True} if value == "lowest" else value

    @model_validator(mode="after")
    def _one_kind(self) -> "Strength":
        bounded = self.min is not None or self.max is not None
        if bounded + (self.top is not None) + (self.bottom is not None) + self.lowest != 1:
            raise ValueError("give bounds (`min`, `max`), or a share (`top` or `bottom`), or `lowest`")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"`min` {self.min} is above `max` {self.max}")
        return self

    @property
    def ranked(self) -> bool:
        """Whether a document belongs here by its place among the others."""
        return self.lowest or self.top is not None or self.bottom is not None

    def __str__(self) -> str:
        if self.lowest:
            return "of the lowest strength"
        given = {"min": ">=", "max": "<=", "top": "in the top", "bottom": "in the bottom"}
        values = {name: getattr(self, name) for name in given}
        return "strength " + " and ".join(
            f"{given[name]} {value:g}" for name, value in values.items() if value is not None
        )


class Labels(_Finite):
    """Documents of `domains`, or whose `column` holds one of `values` or a number from `min` to `max`; of these,
    where `strength` is given, those that have it."""

    domains: tuple[str, ...] = ()
    column: str | None = None
    values: tuple[str, ...] = ()
    min: float | None = None
    max: float | None = None
    strength: Strength | None = None

    @model_validator(mode="before")
    @classmethod
    def _from_domains(cls, value: Any) -> Any:
        return {"domains": value} if isinstance(value, list | tuple) else value

    @model_validator(mode="after")
    def _says_something(self) -> "Labels":
        ranged = self.min is not None or self.max is not None
        if bool(self.column) != bool(self.values or ranged) or (self.values and ranged):
            raise ValueError("`column` comes with its `values`, or with a range (`min`, `max`) of its numbers")
        if not self.domains and not self.column and not self.strength:
            raise ValueError("name `domains`, a `column` and its `values` or range, or a `strength`")
        return self

    def __str__(self) -> str:
        said = [f"domain in {list(self.domains)}"] if self.domains else []
        if self.values:
            said.append(f"{self.column} in {list(self.values)}")
        elif self.column:
            bounds = [f"{sign} {bound:g}" for sign, bound in ((">=", self.min), ("<=", self.max)) if bound is not None]
            said.append(f"{self.column} {' and '.join(bounds)}")
        told = " or ".join(said)
        if self.strength is None:
            return told
        return (
            f"({told}) and {self.strength}" if len(said) > 1 else " and ".join(filter(None, [told, str(self.strength)]))
        )
