"""Who takes part in a ranking: which documents stand outside, fail a criterion, or have no number; and their scores.

Letters: N documents of a batch.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.errors import DataError
from pipeline.quality import ensemble
from pipeline.quality.numbers import numbers
from pipeline.quality.select_params import Criterion, Missing, SelectParams

OVERALL = ""


@dataclass(frozen=True)
class Candidates:
    """Which documents of a batch are judged, and by what; all arrays are [N]."""

    label_only: np.ndarray  # bool
    inside: np.ndarray  # bool: kept so far, and of no domain that stands outside
    failed: dict[str, np.ndarray]  # bool, by column of a criterion, in the order of the criteria
    unrated: np.ndarray  # bool: dropped because there is no number to rank by
    ranked: np.ndarray  # bool
    scores: np.ndarray  # float32, NaN where there is none; of all documents


def judged(batch: pa.RecordBatch, params: SelectParams) -> Candidates:
    """Return what can be said before the scores of an ensemble are known: `ranked` are those that meet all criteria.

    Raises:
        DataError: a number is missing where that shall fail, or is none.
    """
    exempt, label_only = (among(batch["domain"], names) for names in (params.exempt, params.label_only))
    inside = batch["keep"].to_numpy(zero_copy_only=False) & ~exempt & ~label_only
    open_ = inside
    failed = {}
    for criterion in params.criteria:
        failed[criterion.column] = _fails(batch, criterion, open_)
        open_ = open_ & ~failed[criterion.column]
    nobody, unknown = np.zeros(batch.num_rows, bool), np.full(batch.num_rows, np.nan, np.float32)
    return Candidates(label_only, inside, failed, nobody, open_, unknown)


def rated(batch: pa.RecordBatch, params: SelectParams, points: Mapping[str, ensemble.Edges]) -> Candidates:
    """Return what `judged` says, with scores; `ranked` are now those that have one.

    Args:
        points: of an ensemble, column -> scope -> edges of its buckets; else empty.

    Raises:
        DataError: as `judged`.
    """
    found = judged(batch, params)
    if params.ensemble is None:
        scores = numbers(batch, str(params.ranking), found.inside).astype(np.float32)
        _check_missing(batch, found.ranked & np.isnan(scores), params.missing, str(params.ranking))
    else:
        scores = ensemble.best(voices(batch, params, found), scopes(batch, params.scope == "domain"), points)
    missing = found.ranked & np.isnan(scores)
    unrated = missing if params.missing == "drop" else found.unrated
    return replace(found, scores=scores, ranked=found.ranked & ~missing, unrated=unrated)


def voices(batch: pa.RecordBatch, params: SelectParams, judged: Candidates) -> dict[str, np.ndarray]:
    """Return the numbers of every scorer of the ensemble, float32 [N] by column.

    Raises:
        DataError: a scorer says nothing of a document that meets all criteria, and that shall fail.
    """
    assert params.ensemble is not None
    found = {}
    for column in params.ensemble.columns:
        found[column] = numbers(batch, column, judged.inside).astype(np.float32)
        if params.missing == "fail":
            _check_missing(batch, judged.ranked & np.isnan(found[column]), "fail", column)
    return found


def weights(batch: pa.RecordBatch, by: str) -> np.ndarray:
    """Return int64 [N], what each document counts; 0 for one that was not encoded."""
    if by == "documents":
        return np.ones(batch.num_rows, np.int64)
    column = batch["length" if by == "tokens" else "bytes"]
    return np.asarray(column.fill_null(0).to_numpy(), np.int64)


def scopes(batch: pa.RecordBatch, by_domain: bool) -> pa.DictionaryArray:
    """Return [N] the name of the ranking of each document: its domain, or the one over all."""
    if by_domain:
        return batch["domain"].dictionary_encode()
    return pa.DictionaryArray.from_arrays(pa.array(np.zeros(batch.num_rows, np.int32)), pa.array([OVERALL]))


def among(domain: pa.Array, names: tuple[str, ...]) -> np.ndarray:
    """Return bool [N], whether a document is of one of the domains."""
    if not names:  # most often; to ask Arrow costs a tenth of a pass
        return np.zeros(len(domain), bool)
    found: np.ndarray = pc.is_in(domain, value_set=pa.array(names, pa.string())).to_numpy(zero_copy_only=False)
    return found


def _fails(batch: pa.RecordBatch, criterion: Criterion, open_N: np.ndarray) -> np.ndarray:
    values = numbers(batch, criterion.column, open_N)
    missing = open_N & np.isnan(values)
    _check_missing(batch, missing, criterion.missing, criterion.column)
    fails = missing if criterion.missing == "drop" else np.zeros(len(values), bool)
    # In the column's own type: of 0.9 as float32 one cannot say that it is less than 0.9.
    if criterion.min is not None:
        fails = fails | (values < values.dtype.type(criterion.min))
    if criterion.max is not None:
        fails = fails | (values > values.dtype.type(criterion.max))
    return open_N & fails


def _check_missing(batch: pa.RecordBatch, missing_N: np.ndarray, missing: Missing, name: str) -> None:
    if missing == "fail" and missing_N.any():
        unscored = sorted(pc.unique(batch["domain"].filter(pa.array(missing_N))).to_pylist())
        raise DataError(
            f"documents of the domains {unscored} are kept by the mask but have no {name}: "
            "score them under the same mask, exempt the domains, or say with `missing` what becomes of them."
        )
