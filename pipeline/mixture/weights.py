"""Weights of a mixture that were recommended: weights.json, as mixture.recommend writes it, or a person does.

The file is one JSON object; its `weights` hold a share of the tokens for every domain. All else in it is for people.
"""

import json
import math
from collections.abc import Iterable
from pathlib import Path

from pipeline.errors import DataError

WEIGHTS_FILE = "weights.json"
SHOWN = 8


def recommended(path: Path) -> dict[str, float]:
    """Return the weight of every domain that a file names.

    Raises:
        DataError: it is no weights.json, or a weight is no share; says which.
    """
    try:
        weights = json.loads(path.read_text(encoding="utf-8"))["weights"]
        found = {str(domain): float(weight) for domain, weight in weights.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"{path} is no {WEIGHTS_FILE} of mixture.recommend, whose `weights` are a number by domain: "
            f"{type(error).__name__}: {error}"
        ) from None
    for domain, weight in found.items():
        if not (math.isfinite(weight) and weight >= 0):
            raise DataError(f"{path}: the weight of {domain!r} is {weight}; weights are numbers from 0 up")
    if not any(found.values()):
        raise DataError(f"{path}: all weights are 0; give at least one domain a share")
    return found


def same_domains(weights: Iterable[str], domains: Iterable[str]) -> None:
    """See that weights were recommended for these very domains.

    Raises:
        DataError: one is in one of them only; names it.
    """
    weighed, there = set(weights), set(domains)
    parts = []
    if strangers := sorted(weighed - there):
        parts.append(f"no document is of {_some(strangers)}, which have a weight")
    if missing := sorted(there - weighed):
        parts.append(f"{_some(missing)} have documents and no weight")
    if parts:
        raise DataError(
            f"mixture.plan: the recommended weights are of other domains: {'; '.join(parts)}. Recommend from the plan "
            "of these tokens (with the same mask and buckets), or give a domain that is not wanted the weight 0"
        )


def _some(names: list[str]) -> str:
    shown = ", ".join(names[:SHOWN])
    return shown if len(names) <= SHOWN else f"{shown} and {len(names) - SHOWN:,} more"
