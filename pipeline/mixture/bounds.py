"""Which domains there are, how many tokens they have, and how much of a mixture each may be.

A plan of mixture.plan, or a number a domain, says what is available. Floors and ceilings are shares of a mixture; a
budget of T tokens and at most E epochs make E A_d / T a ceiling as well, with A_d tokens available.

D domains.
"""

import difflib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydantic import Field

from pipeline.errors import ConfigError, DataError
from pipeline.mixture.regress.arrays import Array
from pipeline.mixture.simplex import check_bounds
from pipeline.stage import Params

PLAN_FILE = "plan.json"


@dataclass(frozen=True)
class Bounds:
    """The least and the largest share of every domain."""

    low_D: Array
    high_D: Array


class Limits(Params):
    """The least and the largest share of the tokens that a domain may have; a domain that is not named has neither."""

    floors: dict[str, float] = Field(default_factory=dict)
    ceilings: dict[str, float] = Field(default_factory=dict)

    def bounds(self, domains: tuple[str, ...], caps_D: Array) -> Bounds:
        """Return the bounds, with what is available as further ceilings.

        Raises:
            ConfigError: no mixture is within them, or they name a domain that is not there.
        """
        for what, shares in (("floors", self.floors), ("ceilings", self.ceilings)):
            known(shares, domains, what)
            if wrong := [domain for domain, share in shares.items() if not 0 <= share <= 1]:
                raise ConfigError(f"{what}: {wrong[0]} is {shares[wrong[0]]}; a share lies between 0 and 1")
        low_D = np.array([self.floors.get(domain, 0.0) for domain in domains])
        high_D = np.minimum([self.ceilings.get(domain, 1.0) for domain in domains], np.minimum(caps_D, 1.0))
        check_bounds(domains, low_D, high_D)
        return Bounds(low_D, np.maximum(high_D, low_D))


def known(names: Iterable[str], domains: tuple[str, ...], what: str) -> None:
    """See that all names are domains.

    Raises:
        ConfigError: one is not; says which domains there are.
    """
    for name in names:
        if name not in domains:
            near = difflib.get_close_matches(name, domains, 1, 0.5)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise ConfigError(f"{what}: there is no domain {name!r}{hint} (there are {', '.join(domains)})")


def shares(wanted: Mapping[str, float], targets: Iterable[str], missing: str) -> dict[str, float]:
    """Return the weight of every wanted target, summing to 1; all targets alike if none is wanted.

    Args:
        missing: what is said of a target that is not there.

    Raises:
        ConfigError: a target is not there, or a weight is below 0.
    """
    there = list(targets)
    if unknown := [name for name in wanted if name not in there]:
        raise ConfigError(f"targets: {missing} {unknown[0]!r} (there are {', '.join(there)})")
    weights = {name: weight for name, weight in (wanted or dict.fromkeys(there, 1.0)).items() if weight}
    if not weights or min(weights.values()) < 0:
        raise ConfigError("targets: weights are from 0 up, and at least one is above 0")
    return {name: weight / sum(weights.values()) for name, weight in weights.items()}


def available(given: Mapping[str, float] | None, plan: Path | None, what: str) -> dict[str, float]:
    """Return what there is of every domain: as given, or the tokens available by a plan.

    Raises:
        ConfigError: it is given by neither, or by both.
        DataError: the file is no plan.
    """
    if (given is None) == (plan is None):
        found = "neither is given" if given is None else "both are given"
        raise ConfigError(f"{what} or the role `plan` says how much there is of every domain; {found}")
    amounts = dict(given) if given is not None else _of_plan(plan) if plan else {}
    if wrong := [domain for domain, amount in amounts.items() if not (np.isfinite(amount) and amount >= 0)]:
        raise ConfigError(f"{what}: {wrong[0]} is {amounts[wrong[0]]}; a number from 0 up was expected")
    if not sum(amounts.values()):
        raise ConfigError(f"{what}: there is nothing of any domain")
    return amounts


def _of_plan(path: Path) -> dict[str, float]:
    try:
        domains = json.loads(path.read_text(encoding="utf-8"))["domains"]
        return {domain: float(entry["available_tokens"]) for domain, entry in domains.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"{path} is no plan of mixture.plan, whose `domains` have `available_tokens`: {error}"
        ) from None
