"""Domains where there are none: put documents that use the same words into clusters, and name them.

Reads documents, the mask and, where wired, word vectors (a fastText model) and the buckets of `quality.select`; writes,
shard for shard,

    bucket        string: the cluster, and behind a slash the quality bucket; null for a dropped document
    similarity    float32: the cosine of the document and its cluster, both seen from the mean of all; 0 without words

A bucket of `within: all` begins with a slash: as `mixture.plan` and others read it, that is a domain of its own. With
`within: domain` it is a part of the document's domain, `web/cooking-recipes`.

A document is its words, weighted by rarity and projected by random signs (`kernels.projection`), or the mean of its
vectors (`static`). The clusters are learned from a sample that is drawn by doc_id, in whole numbers; so they depend on
what the documents are, and neither on files, shards and workers nor on the machine.
"""

from collections.abc import Mapping
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field, model_validator

from pipeline import ledger, schemas
from pipeline.errors import ConfigError, DataError
from pipeline.kernels import bags as words
from pipeline.kernels import projection
from pipeline.kernels.bags import Bags
from pipeline.kernels.spherical import ONE
from pipeline.ledger import Tally
from pipeline.mixture import cluster_facts, cluster_names, cluster_sample, static
from pipeline.mixture.allocation import shares
from pipeline.mixture.cluster_model import Clusters, Scope, Wanted, learned, load
from pipeline.schemas import BUCKET
from pipeline.stage import Params, Stage, Step

FINE = 8
DIMENSIONS = 1024
SCHEMA = pa.schema([pa.field(BUCKET, pa.string()), pa.field("similarity", pa.float32())])
COSINE_BITS = 15
"""A cosine in facts is summed in units of 2^-15, so that the sum is a whole number."""


class ClusterParams(Params):
    """How many clusters, of what, and from how many documents they are learned.

    `count` clusters of all documents or, `within: domain`, of each domain apart: one each, and the rest in proportion
    to their bytes. `fine` clusters (by default eight times as many) are found first and then merged. A cluster of less
    than `minimum_share` of its scope's sampled bytes is merged too, so there may be fewer than `count`. `dimensions`
    are those of hashed words, by default 1,024; given vectors have their own.
    """

    count: int = Field(24, gt=0)
    within: Literal["all", "domain"] = "all"
    fine: int | None = Field(None, gt=0)
    minimum_share: float = Field(0.002, ge=0, lt=1)
    sample_documents: int = Field(50_000, gt=0)
    iterations: int = Field(20, gt=0)
    dimensions: Literal[64, 128, 256, 512, 1024] | None = None
    seed: int = 0

    @model_validator(mode="after")
    def _fine_are_more(self) -> "ClusterParams":
        if self.fine is not None and self.fine < self.count:
            raise ValueError(
                f"{self.fine} fine clusters cannot be merged into {self.count}; `fine` is at least `count`"
            )
        return self


def scopes_of(params: ClusterParams, census: Mapping[str, Mapping[str, int]]) -> dict[str | None, int]:
    """Return how many clusters are wanted of all documents (None), or of each domain.

    Raises:
        ConfigError: there are more domains than clusters.
    """
    if params.within == "all":
        return {None: params.count}
    rest = params.count - len(census)
    if rest < 0:
        raise ConfigError(
            f"mixture.cluster: {params.count} clusters cannot be shared by the {len(census)} domains "
            f"{', '.join(sorted(census))}; raise `count`, or cluster them together (`within: all`)"
        )
    extra = shares(rest, {domain: Fraction(max(found["bytes"], 1)) for domain, found in census.items()})
    return {domain: 1 + extra[domain] for domain in sorted(census)}


def sample_shares(params: ClusterParams, census: Mapping[str, Mapping[str, int]]) -> dict[str, float]:
    """Return which share of each domain's documents is drawn: of all the same, or as many of each domain."""
    if params.within == "all":
        total = sum(found["documents"] for found in census.values())
        return dict.fromkeys(census, params.sample_documents / total)
    return {domain: params.sample_documents / len(census) / found["documents"] for domain, found in census.items()}


def assign_batch(batch: pa.RecordBatch, *, model: str, vectors: str | None) -> pa.RecordBatch:
    """Return bucket and similarity of each row, null for dropped ones.

    Args:
        model: the file of the clusters, whose name tells its content.
        vectors: the file of the word vectors.
    """
    clusters, keep = load(Path(model)), batch["keep"]
    rows = batch.filter(keep)
    buffers = schemas.text_buffers(rows["text"])
    points_ND = _points(clusters, buffers, vectors)
    buckets, dots_N = np.empty(rows.num_rows, object), np.zeros(rows.num_rows, np.int64)
    for domain, scope in clusters.scopes.items():
        own = _of(rows["domain"], domain)
        groups, dots_N[own] = scope.assigned(points_ND[own])
        labels = np.array([name if domain is not None else f"/{name}" for name in clusters.names[domain]], object)
        buckets[own] = labels[groups]
    bucket = pa.array(buckets, pa.string())
    if BUCKET in batch.schema.names:
        bucket = pc.coalesce(pc.binary_join_element_wise(bucket, rows[BUCKET], "/"), bucket)
    places = pc.if_else(keep, pc.subtract(pc.cumulative_sum(keep.cast(pa.int64())), 1), None)
    similarity = pa.array((dots_N / ONE).astype(np.float32))
    return pa.record_batch([bucket.take(places), similarity.take(places)], schema=SCHEMA)


def _points(clusters: Clusters, buffers: tuple[np.ndarray, np.ndarray], vectors: str | None) -> np.ndarray:
    if vectors is not None:
        return static.averages(Path(vectors), *buffers)
    return projection.project(words.bags(*buffers), clusters.weights_V, clusters.dimensions, clusters.seed)


def _of(domains: Any, domain: str | None) -> np.ndarray:
    """Return the places of a scope's rows."""
    if domain is None:
        return np.arange(len(domains))
    return np.flatnonzero(np.asarray(pc.equal(domains, domain)))


def tallied(before: pa.RecordBatch, after: pa.RecordBatch) -> Tally:
    """Return, by cluster as a mixture calls it and by domain, its documents, bytes and sum of cosines."""
    alone = pc.starts_with(after[BUCKET], "/")
    names = schemas.mixed_domains(
        pa.record_batch({"domain": before["domain"], BUCKET: _without_quality(after[BUCKET])})
    )
    cosines = np.rint(after["similarity"].fill_null(0).to_numpy().astype(np.float64) * (1 << COSINE_BITS))
    table = pa.table(
        {
            "name": names,
            "domain": before["domain"],
            "bytes": before["bytes"],
            "cosines": cosines.astype(np.int64),
        }
    ).filter(pc.is_valid(alone))
    sums = [("bytes", "count"), ("bytes", "sum"), ("cosines", "sum")]
    counts: Tally = {}
    for row in table.group_by(["name", "domain"], use_threads=False).aggregate(sums).to_pylist():
        found = {"documents": row["bytes_count"], "bytes": row["bytes_sum"], "cosines": row["cosines_sum"]}
        ledger.add(counts, {row["name"]: {row["domain"]: found}})
    return counts


def _without_quality(buckets: pa.Array) -> pa.Array:
    return pc.replace_substring_regex(buckets, "^(/?[^/]+)/.*$", "\\1")


def cluster(step: Step, params: ClusterParams) -> None:
    """Count, draw a sample, learn the clusters, name them, then put every document into one."""
    vectors = _vectors(step, params)
    narrow = {"documents": ("domain", "bytes"), "mask": ("keep",)}
    census: Tally = step.fold(cluster_sample.census, ledger.add, columns=narrow) or {}
    if not census:
        raise DataError(f"{step.name}: no document is kept, so there is nothing to cluster; look at the steps before")
    drawn, wanted = sample_shares(params, census), scopes_of(params, census)
    sample = cluster_sample.sampled(step, drawn, params.seed, vectors)
    if sample is None:
        raise DataError(f"{step.name}: no document was drawn; raise `sample_documents` ({params.sample_documents:,})")
    clusters, told = _learned(step, params, sample, wanted, drawn)
    counts = step.map_shards(
        partial(
            assign_batch,
            model=str(clusters.save(step.root / "scratch")),
            vectors=None if vectors is None else str(vectors),
        ),
        columns={
            "documents": ("text", "domain", "bytes"),
            "mask": ("keep",),
            **({"buckets": (BUCKET,)} if "buckets" in step.inputs else {}),
        },
        schema=SCHEMA,
        tally=tallied,
    )
    step.note(
        **cluster_facts.facts(clusters, counts, told, 1 << COSINE_BITS),
        embedding="static" if vectors is not None else "hashed",
        sample_documents=sample.num_rows,
        wanted=sum(wanted.values()),
    )


def _vectors(step: Step, params: ClusterParams) -> Path | None:
    if "vectors" not in {*step.inputs, *step.files}:
        return None
    if params.dimensions is not None:
        raise ConfigError(
            f"{step.name}: `dimensions: {params.dimensions}` are those of hashed words, but `vectors` are wired, which "
            "have their own; leave one of both out"
        )
    path = step.file("vectors", static.MODEL_FILE)
    static.check(path)
    return path


def _learned(
    step: Step, params: ClusterParams, sample: pa.Table, wanted: Mapping[str | None, int], drawn: Mapping[str, float]
) -> tuple[Clusters, dict[str | None, dict[str, Any]]]:
    """Return the clusters of every scope, and what is to be told of how they came."""
    bags = cluster_sample.bags_of(sample)
    weights_V = projection.rarity(projection.document_counts(bags), sample.num_rows)
    dimensions = params.dimensions or DIMENSIONS
    hashed = "direction" not in sample.column_names
    points_ND = (
        projection.project(bags, weights_V, dimensions, params.seed) if hashed else cluster_sample.directions_of(sample)
    )
    sizes_N = sample["bytes"].to_numpy()
    scopes: dict[str | None, Scope] = {}
    told: dict[str | None, dict[str, Any]] = {}
    for domain, count in wanted.items():
        own = _of(sample["domain"], domain)
        fine = FINE * count if params.fine is None else max(count, params.fine * count // params.count)
        want = Wanted(count, fine, params.iterations, params.minimum_share, params.seed)
        scopes[domain], groups_N, cosines = learned(points_ND[own], sizes_N[own], want)
        groups = len(scopes[domain].means_GD)
        best = cluster_names.candidates(_part(bags, own), groups_N, groups, weights_V)
        order = np.argsort(-np.bincount(groups_N, sizes_N[own], groups), kind="stable").tolist()
        told[domain] = {"cosines": cosines, "best": best, "order": order}
    every = [bucket for found in told.values() for best in found["best"] for bucket in best]
    spelled = cluster_sample.spelled(step, drawn, params.seed, np.array(every, np.int32))
    names: dict[str | None, list[str]] = {}
    for domain, found in told.items():
        found["words"] = [cluster_names.told(best, spelled) for best in found["best"]]
        names[domain] = cluster_names.named(found["words"], found["order"])
    return Clusters(weights_V if hashed else weights_V[:0], dimensions, params.seed, scopes, names), told


def _part(bags: Bags, rows: np.ndarray) -> Bags:
    """Return the bags of some of the documents."""
    sizes = np.diff(bags.offsets)[rows]
    starts = np.repeat(bags.offsets[rows] - np.concatenate([[0], np.cumsum(sizes)[:-1]]).astype(np.int64), sizes)
    places = starts + np.arange(int(sizes.sum()))
    return Bags(bags.buckets[places], bags.counts[places], np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64))


def check(params: ClusterParams, files: Mapping[str, Path]) -> None:
    """Refuse given vectors that cannot be read, before anything runs."""
    if "vectors" in files:
        static.check(files["vectors"])


CLUSTER = Stage(
    name="mixture.cluster",
    version=1,
    params=ClusterParams,
    inputs=("documents",),
    optional=("mask", "buckets", "vectors"),
    run=cluster,
    check=check,
)
