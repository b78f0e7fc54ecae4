"""What quality.select is asked for: by which numbers documents are judged, how much is kept, in which buckets.

A document is judged by columns of numbers: those of the corpora that play `scores` and `scores.*`, or columns of the
documents, where the user's own are text and are read as numbers.
"""

import math
from fractions import Fraction
from typing import Any, Literal

from pydantic import Field, model_validator

from pipeline.stage import Params

SCORE = "score"
UNITS = ("bytes", "tokens", "documents")
Missing = Literal["fail", "drop", "keep"]


class Criterion(Params):
    """Every document must have a number from `min` to `max`, both included, in `column`.

    `missing` says what happens to one that has none: "fail" stops the build, "drop" and "keep" do so to the document.
    """

    column: str = Field(min_length=1)
    min: float | None = None
    max: float | None = None
    missing: Missing = "fail"

    @model_validator(mode="after")
    def _asks_for_something(self) -> "Criterion":
        if self.min is None and self.max is None:
            raise ValueError(f"the criterion on {self.column!r} has neither `min` nor `max`; give at least one")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"the criterion on {self.column!r} has min {self.min:g} above max {self.max:g}")
        return self


class Quota(Params):
    """How much of a ranking is kept: a share of it, or an amount; all of it where there is less."""

    share: float | None = Field(None, gt=0, le=1)
    bytes: int | None = Field(None, gt=0)
    tokens: int | None = Field(None, gt=0)
    documents: int | None = Field(None, gt=0)

    @model_validator(mode="before")
    @classmethod
    def _of_a_number(cls, value: Any) -> Any:
        """Accept `web: 0.5`."""
        return {"share": value} if isinstance(value, int | float) else value

    @model_validator(mode="after")
    def _one_measure(self) -> "Quota":
        if len(given := self.model_dump(exclude_none=True)) != 1:
            raise ValueError(f"a quota is one of `share`, `bytes`, `tokens` and `documents`; found {given}")
        return self

    @property
    def unit(self) -> str | None:
        """The unit of an amount; None for a share."""
        return next((unit for unit in UNITS if getattr(self, unit) is not None), None)

    def of(self, total: int) -> int:
        """Return the weight to be kept of a ranking that weighs `total`; exact for the share as it is written."""
        if self.share is not None:
            return math.ceil(Fraction(str(self.share)) * total)
        return min(total, int(getattr(self, str(self.unit))))


class Ensemble(Params):
    """The best opinion of several scorers: every score becomes the number of its quantile, the highest one counts.

    Su et al. 2024 (Nemotron-CC), "Model-based Quality Labeling": `buckets` numbers, 0 to 19, each a twentieth of the
    documents (here: of the weight that `by` names), and the maximum over the classifiers.
    """

    columns: tuple[str, ...] = Field(min_length=1)
    buckets: int = Field(20, ge=2, le=1000)

    @model_validator(mode="before")
    @classmethod
    def _of_columns(cls, value: Any) -> Any:
        """Accept `ensemble: [column, column]`."""
        return {"columns": value} if isinstance(value, list | tuple) else value

    @model_validator(mode="after")
    def _each_column_once(self) -> "Ensemble":
        if twice := sorted({name for name in self.columns if self.columns.count(name) > 1}):
            raise ValueError(f"the ensemble names {twice} more than once; a second voice of one scorer changes nothing")
        return self


class Buckets(Params):
    """What is kept is told apart by score: `count` parts of equal weight, or parts that begin at `edges`, lowest first.

    `names` are those of the buckets from the lowest to the highest; by default their numbers from 0.
    """

    count: int | None = Field(None, ge=2, le=1000)
    edges: tuple[float, ...] = ()
    names: tuple[str, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _of_a_count_or_edges(cls, value: Any) -> Any:
        """Accept `buckets: 5` and `buckets: [0.2, 0.8]`."""
        if isinstance(value, int):
            return {"count": value}
        return {"edges": value} if isinstance(value, list | tuple) else value

    @model_validator(mode="after")
    def _can_be_told_apart(self) -> "Buckets":
        if (self.count is None) == (not self.edges):
            raise ValueError("give either `count` (parts of equal weight) or `edges` (where the next bucket begins)")
        if any(low >= high for low, high in zip(self.edges, self.edges[1:], strict=False)):
            raise ValueError(f"the edges must rise; found {list(self.edges)}")
        if self.names and len(self.names) != self.size:
            raise ValueError(f"{self.size} buckets have {len(self.names)} names; name each, or none")
        if wrong := [name for name in self.names if not name or "/" in name or self.names.count(name) > 1]:
            raise ValueError(
                f"the bucket name {wrong[0]!r} is empty, has a `/` or comes twice: it ends a domain's name"
            )
        return self

    @property
    def size(self) -> int:
        return self.count or len(self.edges) + 1

    @property
    def labels(self) -> tuple[str, ...]:
        """The names of the buckets, the lowest first."""
        digits = len(str(self.size - 1))
        return self.names or tuple(f"{number:0{digits}}" for number in range(self.size))


class SelectParams(Params):
    """By which numbers documents are judged, how much of the ranking is kept, and which domains stand outside of it.

    `rank` is the column of the ranking, by default `score`; with `ensemble` it is the best bucket over several. One
    rule says what stays: a `share` of the ranking (`by` bytes, tokens or documents; `scope`: over all or in each
    domain), all from a `threshold`, or `quotas` by domain (beside them `share` is that of the other domains). With
    `criteria` there may be no other rule. A `temperature` draws by score instead of cutting: 0 cuts, "infinite" draws
    evenly. `missing` is for documents without a number to rank by.
    """

    share: float | None = Field(None, gt=0, le=1)
    threshold: float | None = None
    quotas: dict[str, Quota] = {}
    by: Literal["bytes", "tokens", "documents"] = "bytes"
    scope: Literal["overall", "domain"] = "overall"
    exempt: tuple[str, ...] = ()
    label_only: tuple[str, ...] = ()
    criteria: tuple[Criterion, ...] = ()
    rank: str | None = None
    ensemble: Ensemble | None = None
    missing: Missing = "fail"
    temperature: float | Literal["infinite"] | None = None
    seed: int = 0
    buckets: Buckets | None = None

    @model_validator(mode="after")
    def _one_rule(self) -> "SelectParams":
        rules = [self.share is not None or bool(self.quotas), self.threshold is not None]
        if sum(rules) != 1 and not (self.criteria and not any(rules)):
            raise ValueError(
                "give exactly one of `share` (how much is kept), `threshold` (the lowest score kept) and `quotas` (how "
                "much by domain), or none beside `criteria`"
            )
        probable = self.rank is None and self.ensemble is None
        if self.threshold is not None and probable and not 0 <= self.threshold <= 1:
            raise ValueError(
                f"threshold is {self.threshold:g}, but `score` is taken for a probability; name its column in `rank`"
            )
        return self

    @model_validator(mode="after")
    def _domains_stand_in_one_place(self) -> "SelectParams":
        if both := sorted(set(self.exempt) & set(self.label_only)):
            raise ValueError(f"the domains {both} are both exempt (kept) and label_only (dropped); choose one")
        if out := sorted(self.quotas.keys() & {*self.exempt, *self.label_only}):
            raise ValueError(f"the domains {out} have a quota but stand outside of the ranking; choose one")
        for domain, quota in self.quotas.items():
            if quota.unit not in (None, self.by):
                raise ValueError(f"the quota of {domain!r} counts {quota.unit}, but `by` is {self.by}; make them agree")
        return self

    @model_validator(mode="after")
    def _parts_that_go_together(self) -> "SelectParams":
        if self.ensemble is not None and self.rank is not None:
            raise ValueError(f"`ensemble` ranks by its buckets and `rank` by {self.rank!r}; leave out one of them")
        if self.temperature is not None and not self.cuts:
            raise ValueError("a `temperature` draws up to a `share` or `quotas`; give one of them, or leave it out")
        if isinstance(self.temperature, float) and self.temperature < 0:
            raise ValueError(f"temperature is {self.temperature:g}; it is 0 or more, or infinite")
        named = [criterion.column for criterion in self.criteria]
        if twice := sorted({name for name in named if named.count(name) > 1}):
            raise ValueError(f"there are several criteria on {twice}; one can have both `min` and `max`")
        return self

    @property
    def cuts(self) -> bool:
        """Whether a part of a ranking is kept, so that it must be found where to cut."""
        return self.share is not None or bool(self.quotas)

    @property
    def samples(self) -> bool:
        """Whether documents are drawn; a temperature of 0 cuts the ranking by score."""
        return self.temperature is not None and self.temperature != 0

    @property
    def by_domain(self) -> bool:
        """Whether each domain has a ranking of its own."""
        return self.scope == "domain" or bool(self.quotas)

    @property
    def ranking(self) -> str | None:
        """The column that ranks; None for an ensemble."""
        if self.ensemble is not None:
            return None
        only_criteria = not self.cuts and self.threshold is None
        return self.rank or (self.criteria[0].column if only_criteria else SCORE)

    @property
    def columns(self) -> tuple[str, ...]:
        """All columns of numbers that are read, each once."""
        ranking = self.ensemble.columns if self.ensemble is not None else (str(self.ranking),)
        return tuple(dict.fromkeys((*ranking, *(criterion.column for criterion in self.criteria))))

    @property
    def outside(self) -> tuple[str, ...]:
        """The domains that take no part in the ranking."""
        return (*self.exempt, *self.label_only)

    def quota(self, domain: str) -> Quota:
        """Return how much is kept of a domain, or of everything."""
        return self.quotas[domain] if domain in self.quotas else Quota(share=self.share)
