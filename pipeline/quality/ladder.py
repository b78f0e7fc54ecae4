"""A ladder: language models with their benchmark scores, as a table names them, and what makes a ladder of no use.

The table is CSV or Parquet with the columns `model` and `score`, and `benchmark` where a model has several: its score
is then their mean, and every model must have the same ones. Higher is better.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as csv
import pyarrow.parquet as pq

from pipeline.errors import DataError
from pipeline.kernels import strength

LEAST_MODELS = 3


@dataclass(frozen=True)
class Ladder:
    """The models by score, the lowest first; `unused` have a score and no losses."""

    models: tuple[str, ...]
    scores: tuple[float, ...]
    unused: tuple[str, ...] = ()


def read_scores(path: Path) -> dict[str, float]:
    """Return the score of every model of a table.

    Raises:
        DataError: it cannot be read, a value is missing or no number, a model has one benchmark twice or lacks one.
    """
    table = _table(path)
    scores: dict[str, dict[str, float]] = {}
    for number, row in enumerate(table.to_pylist(), 1):
        model, benchmark, score = str(row["model"]), str(row.get("benchmark", "")), row["score"]
        if row["model"] is None or not isinstance(score, int | float) or not math.isfinite(score):
            raise DataError(f"{path}, row {number}: {row} is no model with a score")
        if benchmark in scores.setdefault(model, {}):
            raise DataError(f"{path}, row {number}: the model {model!r} has the benchmark {benchmark!r} twice")
        scores[model][benchmark] = float(score)
    everywhere = sorted({name for found in scores.values() for name in found})
    for model, found in scores.items():
        if missing := [name for name in everywhere if name not in found]:
            raise DataError(
                f"{path}: the model {model!r} has no score on {missing[0]!r}, so its mean is not comparable; give "
                "every model every benchmark"
            )
    return {model: math.fsum(found[name] for name in everywhere) / len(found) for model, found in scores.items()}


def _table(path: Path) -> pa.Table:
    try:
        is_parquet = path.read_bytes()[:4] == b"PAR1"
        table = pq.read_table(path) if is_parquet else csv.read_csv(path)
    except (OSError, pa.ArrowInvalid) as error:
        raise DataError(f"{path} cannot be read as CSV or Parquet: {error}") from None
    if missing := [name for name in ("model", "score") if name not in table.column_names]:
        raise DataError(f"{path} has no column {missing[0]!r}; it has {', '.join(table.column_names)}")
    return table


def ladder(scores: Mapping[str, float], models: Sequence[str], where: str) -> Ladder:
    """Return the models that have losses as a ladder.

    Raises:
        DataError: a model has no score, two have the same, or they are fewer than three.
    """
    if missing := sorted(set(models) - set(scores)):
        raise DataError(
            f"{where} gives no score to the model {missing[0]!r}, which has losses; it has {', '.join(sorted(scores))}."
            " Add its score, or leave its losses out"
        )
    if len(models) < LEAST_MODELS:
        raise DataError(
            f"{len(models)} models with scores and losses ({', '.join(models)}) make no ladder: {LEAST_MODELS} are the "
            "least, six are what the method was published with"
        )
    ordered = sorted(models, key=lambda model: (scores[model], model))
    for low, high in pairwise(ordered):
        if scores[low] == scores[high]:
            raise DataError(
                f"{where}: the models {low!r} and {high!r} have the same score {scores[low]:g}, so no document can "
                "tell them apart; leave the losses of one out"
            )
    unused = tuple(sorted(set(scores) - set(models)))
    return Ladder(tuple(ordered), tuple(scores[model] for model in ordered), unused)


def correlation(losses_M: Sequence[float], scores_M: Sequence[float]) -> float | None:
    """Return Spearman's rank correlation of mean losses and scores: -1 where every better model loses less.

    None where all losses are equal.
    """
    half = float(strength.rank_agreement(np.array([losses_M]), np.array(scores_M))[0])
    return None if math.isnan(half) else round(1 - 2 * half, 6)
