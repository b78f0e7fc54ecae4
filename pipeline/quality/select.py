"""Select documents by one or several scores: by threshold, share, quota or lot, or by criteria alone.

Reads documents (doc_id, domain, bytes, and columns of theirs that are named), scores and, where wired, token counts and
the earlier mask; writes the mask (`low_quality`, `over_quota`, `not_sampled`, `criterion_<column>`, `label_only`), each
document's `score` (of an ensemble the number of its bucket) and, if asked, the `bucket` of those that are kept.

    criteria    hard limits on any column; who fails one is dropped and takes part in no ranking
    ensemble    the highest bucket over several scorers (`pipeline.quality.ensemble`)
    share,      the shortest head of the ranking that reaches it, over all or in each domain; exact to a document
    quotas      (`pipeline.quality.ranking`)
    temperature that ranking perturbed, so that documents are drawn by score (`pipeline.quality.sampling`)

Exempt domains are always kept and do not count; nor do `label_only` domains, which are dropped.
"""

import operator
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.errors import DataError
from pipeline.histogram import merged
from pipeline.ledger import Tally
from pipeline.quality import candidates, quantiles, ranking
from pipeline.quality.numbers import SOURCE, located
from pipeline.quality.ranking import Cut, Learned
from pipeline.quality.select_params import SelectParams
from pipeline.schemas import MASK, decide, mask
from pipeline.stage import Stage, Step

SCORE, BUCKET = pa.field("score", pa.float32()), pa.field("bucket", pa.string())
LOW_QUALITY, OVER_QUOTA, NOT_SAMPLED, LABEL_ONLY = "low_quality", "over_quota", "not_sampled", "label_only"
CRITERION = "criterion_"

Columns = dict[str, tuple[str, ...]]


def schema(params: SelectParams) -> pa.Schema:
    """Return the columns that are written."""
    return mask(SCORE, *((BUCKET,) if params.buckets else ()))


def select_batch(batch: pa.RecordBatch, params: SelectParams, learned: Learned) -> pa.RecordBatch:
    """Return keep, reason, score and, if asked, bucket of each row of `batch`, in its order.

    Raises:
        DataError: a number that decides is missing, or is none.
    """
    found = candidates.rated(batch, params, learned.points)
    low = found.ranked & ~ranking.good(batch, found, params, learned)
    drops = [(found.label_only, LABEL_ONLY)]
    drops += [(failed, CRITERION + column) for column, failed in found.failed.items()]
    drops += [(found.unrated, LOW_QUALITY), (low, reason(params))]
    state = batch.select(list(MASK))
    for drop, why in drops:
        state = pa.record_batch(decide(state, drop, why))
    columns = [state["keep"], state["reason"], pa.array(found.scores, mask=np.isnan(found.scores))]
    if params.buckets:
        number_N = ranking.bucket_numbers(batch, found, params, learned)
        names = pa.array(params.buckets.labels).take(pa.array(number_N))
        columns.append(pc.if_else(pa.array(found.ranked & ~low), names, pa.scalar(None, pa.string())))
    return pa.record_batch(columns, schema=schema(params))


def reason(params: SelectParams) -> str:
    """Return why a document is dropped that the rule does not keep."""
    if params.samples:
        return NOT_SAMPLED
    return OVER_QUOTA if params.quotas else LOW_QUALITY


def select(step: Step, params: SelectParams) -> None:
    """Learn pass by pass what the decision needs, then decide about every document."""
    columns = _columns(step, params)
    present: set[str] = step.fold(domains, operator.or_, columns={"documents": ("domain",)}) or set()
    _check_domains(present, params)
    learned = Learned(points=_points(step, params, columns))
    if params.samples and params.temperature != "infinite":
        found = step.fold(partial(ranking.moments, params=params, learned=learned), operator.add, columns=columns)
        learned = learned.model_copy(update={"scale": found.scale()} if found is not None else {})
    cuts = _cuts(step, params, learned, columns)
    learned = learned.model_copy(update={"cuts": {scope: cut.key for scope, cut in cuts.items()}})
    learned = learned.model_copy(update={"edges": _edges(step, params, learned, columns, sorted(present))})
    totals = step.map_shards(
        partial(select_batch, params=params, learned=learned), columns=columns, schema=schema(params), tally=counted
    )
    step.note(**facts(params, learned, cuts, totals))


def domains(batches: Iterator[pa.RecordBatch]) -> set[str]:
    """Return the domains of a shard."""
    return {domain for batch in batches for domain in pc.unique(batch["domain"]).to_pylist()}


def counted(before: pa.RecordBatch, after: pa.RecordBatch) -> Tally:
    """Return by domain and bucket the documents and bytes that are kept in it."""
    if "bucket" not in after.schema.names:
        return {}
    table = pa.table({name: before[name] for name in ("domain", "bytes")} | {"bucket": after["bucket"]})
    groups = table.filter(pc.is_valid(table["bucket"])).group_by(["domain", "bucket"], use_threads=False)
    found: Tally = {}
    for group in groups.aggregate([("bytes", "sum"), ("bytes", "count")]).to_pylist():
        counts = {"documents": group["bytes_count"], "bytes": group["bytes_sum"]}
        found.setdefault(group["domain"], {})[group["bucket"]] = counts
    return found


def facts(params: SelectParams, learned: Learned, cuts: dict[str, Cut], buckets: Tally) -> dict[str, Any]:
    """Return what the manifest tells: the method, where the rankings were cut, and what lies in which bucket."""
    told: dict[str, Any] = {"by": params.by, "ranked_by": list(params.columns) if params.ensemble else params.ranking}
    told["cuts"] = {
        scope or "overall": {_lowest(params): ranking.lowest(cut.key[0]), "documents": cut.documents}
        | {params.by: cut.total}
        for scope, cut in sorted(cuts.items())
    }
    if short := {scope: cut.total for scope, cut in sorted(cuts.items()) if _short(params, scope, cut)}:
        told["less_than_the_quota"] = short
    if params.samples:
        told["scale"] = learned.scale.model_dump()
    if params.ensemble:
        told["points"] = _named(learned.points)
    if params.buckets:
        told |= {"buckets": buckets, "bucket_edges": _named({"": learned.edges})[""]}
    return told


def _lowest(params: SelectParams) -> str:
    return "lowest_key" if params.samples else "threshold"


def _short(params: SelectParams, scope: str, cut: Cut) -> bool:
    quota = params.quota(scope)
    return quota.unit is not None and cut.total < getattr(quota, quota.unit)


def _named(points: dict[str, dict[str, tuple[float, ...]]]) -> dict[str, dict[str, list[float]]]:
    return {
        column: {scope or "overall": list(edges) for scope, edges in sorted(scopes.items())}
        for column, scopes in sorted(points.items())
    }


def _columns(step: Step, params: SelectParams) -> Columns:
    """Which columns are read of which role; documents first, whose shards those of the mask are made after."""
    if params.by == "tokens" and "tokens" not in step.inputs:
        raise DataError("quality.select: to select by tokens it needs the role `tokens`; wire it, or select by bytes")
    found = located(step, params.columns)
    own = found.pop("documents", ())
    documents = dict.fromkeys(("doc_id", "domain", "bytes", *((SOURCE,) if own else ()), *own))
    tokens: Columns = {"tokens": ("length",)} if params.by == "tokens" else {}
    return {"documents": tuple(documents), **found, **tokens, "mask": MASK}


def _points(step: Step, params: SelectParams, columns: Columns) -> dict[str, dict[str, tuple[float, ...]]]:
    """The edges of an ensemble's buckets by column and scope; empty when there is none."""
    points: dict[str, dict[str, tuple[float, ...]]] = {}
    if params.ensemble is not None:
        view = partial(ranking.view_of_voices, params=params)
        points = {column: {} for column in params.ensemble.columns}
        for (column, scope), edges in _solved(step, view, params.ensemble.buckets, columns).items():
            points[column][scope] = edges
    return points


def _edges(
    step: Step, params: SelectParams, learned: Learned, columns: Columns, present: list[str]
) -> dict[str, tuple[float, ...]]:
    """The edges of the buckets of what is kept, by scope; empty when there are none."""
    if params.buckets is None:
        return {}
    if params.buckets.count is None:
        return dict.fromkeys(present if params.by_domain else [candidates.OVERALL], params.buckets.edges)
    view = partial(ranking.view_of_kept, params=params, learned=learned)
    found = _solved(step, view, params.buckets.count, columns)
    return {scope: edges for (_, scope), edges in found.items()}


def _solved(step: Step, view: quantiles.View, count: int, columns: Columns) -> dict[quantiles.Name, tuple[float, ...]]:
    def fold(known: Any) -> Any:
        return step.fold(partial(quantiles.histograms, view=view, known=known), merged, columns=columns)

    return quantiles.solve(fold, count)


def _cuts(step: Step, params: SelectParams, learned: Learned, columns: Columns) -> dict[str, Cut]:
    """The cut of every ranking; empty when none is cut."""

    def fold(known: Any) -> Any:
        work = partial(ranking.histograms, params=params, learned=learned, known=known)
        return step.fold(work, merged, columns=columns)

    return ranking.solve(fold, params) if params.cuts else {}


def _check_domains(present: set[str], params: SelectParams) -> None:
    for field in ("exempt", "label_only", "quotas"):
        if unknown := sorted(set(getattr(params, field)) - present):
            raise DataError(
                f"quality.select: {field} names {unknown}, but the domains are {sorted(present)}; correct the name"
            )
    if params.quotas and params.share is None and (free := sorted(present - {*params.quotas, *params.outside})):
        raise DataError(
            f"quality.select: the domains {free} have no quota; give them one, a `share` for all that have none, or "
            "make them exempt"
        )
    ends = [f"/{name}" for name in (params.buckets.labels if params.buckets else ())]
    if clash := sorted(d for d in present if any(d.endswith(end) and d.removesuffix(end) in present for end in ends)):
        raise DataError(f"quality.select: the domain {clash[0]!r} is called as a bucket of another; name the buckets")


SELECT = Stage(
    name="quality.select",
    version=2,
    params=SelectParams,
    inputs=("documents",),
    optional=("scores", "scores.*", "tokens", "mask"),
    run=select,
)
