"""Predictive strength: how well a document's losses under a ladder of models tell which model is the better one.

Reads documents, their losses (`losses`, `losses.*`: tables of `quality.losses`), the models' benchmark scores (file
`scores`, see `pipeline.quality.ladder`) and, where wired, the mask. Writes, shard for shard, `strength`, float32 in
0..1: of all pairs of models the share in which the one with the higher score has the lower loss,

    S(d) = #{i < j: (score_i - score_j)(loss_i - loss_j) < 0} / (M (M - 1) / 2)

as PreSelect has it (Shum et al., "Predictive Data Selection: The Data That Predicts Is the Data That Teaches", 2025),
the loss being bits per byte, nats / (ln 2 * bytes). `statistic: spearman` writes (1 - rho) / 2 instead. It is null
where the mask drops the document and where a model has no loss of it; with rho, also where all losses are equal.

Not every ladder ranks documents. It is refused if S = 1 for most of them, if better models do not lose less on the
whole, or if models have scored different documents; the reasons are limits, asked of the finished corpus.
"""

import math
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from pipeline.corpus import Corpus
from pipeline.errors import DataError
from pipeline.kernels import lsh
from pipeline.kernels import strength as kernel
from pipeline.ledger import Tally
from pipeline.quality import ladder as ladders
from pipeline.quality.ladder import Ladder
from pipeline.schemas import DOC_ID, doc_ids
from pipeline.shuffle import Part
from pipeline.stage import Params, Stage, Step
from pipeline.tasks import Sent

ROW_BYTES = 40
MOST_BINS = 20
SCHEMA = pa.schema([pa.field("strength", pa.float32())])
_SENT = pa.schema([("doc_id", DOC_ID), ("model", pa.int16()), ("bits", pa.float64()), ("address", pa.uint64())])
DOCUMENT = -1  # in the column `model`: the row is a document that wants its strength
_MICRO = 1e6


class StrengthParams(Params):
    """Which statistic, and when a ladder is refused.

    `missing`: what a document is that only some of the models have scored, of unknown strength or an error. `saturated`
    is the largest share of documents with S = 1, `coverage` the least share of the documents scored by any model that
    all have scored. All three are limits: they change no byte.
    """

    statistic: Literal["agreement", "spearman"] = "agreement"
    missing: Literal["null", "refuse"] = Field("null", exclude=True)
    saturated: float = Field(0.5, ge=0, le=1, exclude=True)
    coverage: float = Field(0.9, ge=0, le=1, exclude=True)


def losses_sent(batch: pa.RecordBatch, *, models: tuple[str, ...], partitions: int) -> Sent:
    """Return the losses of a batch in bits per byte, each for the partition of its document."""
    codes = pc.index_in(batch["model"], value_set=pa.array(models, pa.string())).cast(pa.int16())
    bits = batch["nats"].to_numpy() / (math.log(2) * batch["bytes"].to_numpy())
    nowhere = pa.array(np.zeros(batch.num_rows, np.uint64))
    rows = pa.RecordBatch.from_arrays([batch["doc_id"], codes, pa.array(bits), nowhere], schema=_SENT)
    return rows, lsh.spread(doc_ids(batch["doc_id"])[:, 0], partitions)


def documents_sent(batch: pa.RecordBatch, *, partitions: int) -> Sent:
    """Return the kept documents of a batch, each for its partition."""
    kept = batch.filter(batch["keep"])
    codes = pa.array(np.full(kept.num_rows, DOCUMENT, np.int16))
    none = pa.array(np.zeros(kept.num_rows))
    rows = pa.RecordBatch.from_arrays([kept["doc_id"], codes, none, kept["address"]], schema=_SENT)
    return rows, lsh.spread(doc_ids(kept["doc_id"])[:, 0], partitions)


def strengths(part: Part, *, ladder: Ladder, statistic: str) -> Iterator[pa.Table | Tally]:
    """Yield (address, strength) of the documents of a partition that some model has scored, and what was counted.

    Several losses of a document under one model (it lay in two shards) count as the smallest of them.
    """
    table = part.table()
    if table is None:
        return
    places, models = _groups(doc_ids(table["doc_id"])), table["model"].to_numpy()
    losses_GM = np.full((int(places.max()) + 1, len(ladder.models)), np.nan)
    loss = models != DOCUMENT
    np.fmin.at(losses_GM, (places[loss], models[loss]), table["bits"].to_numpy()[loss])
    statistics = {"agreement": kernel.agreement, "spearman": kernel.rank_agreement}
    strength_G = statistics[statistic](losses_GM, np.array(ladder.scores))
    wanted_G, scored_GM = np.zeros(len(losses_GM), bool), ~np.isnan(losses_GM)
    wanted_G[places[~loss]] = True
    some = ~loss & scored_GM.any(1)[places]
    values = strength_G[places[some]].astype(np.float32)
    yield pa.table({"address": table["address"].filter(pa.array(some)), "strength": pa.array(values, from_pandas=True)})
    yield _counted(losses_GM[wanted_G], strength_G[wanted_G], ladder) | {
        "of_no_kept_document": int((scored_GM.any(1) & ~wanted_G).sum())
    }


def _groups(ids_N2: np.ndarray) -> np.ndarray:
    """Return the number of each row's document, int64 [N], from 0."""
    order = np.lexsort((ids_N2[:, 1], ids_N2[:, 0]))
    fresh = np.ones(len(order), np.int64)
    fresh[1:] = (ids_N2[order[1:]] != ids_N2[order[:-1]]).any(1)
    groups = np.empty(len(order), np.int64)
    groups[order] = np.cumsum(fresh) - 1
    return groups


def _counted(losses_GM: np.ndarray, strength_G: np.ndarray, ladder: Ladder) -> Tally:
    """Return what is told of a partition's documents; sums of losses in millionths of a bit, whole numbers."""
    scored_GM = ~np.isnan(losses_GM)
    whole_G = scored_GM.all(1)
    micro_M = np.rint(losses_GM[whole_G] * _MICRO).astype(np.int64).sum(0)
    return {
        "scored_by_some": int(scored_GM.any(1).sum()),
        "scored_by_all": int(whole_G.sum()),
        "saturated": int((strength_G == 1).sum()),
        "scored": dict(zip(ladder.models, scored_GM.sum(0).tolist(), strict=True)),
        "microbits": dict(zip(ladder.models, micro_M.tolist(), strict=True)),
    }


def strength_batch(batch: pa.RecordBatch, rows: pa.Table | None) -> pa.RecordBatch:
    """Return the strength of each document of a batch, null where it is not known."""
    values = np.full(batch.num_rows, np.nan, np.float32)
    if rows is not None and len(rows):
        places = np.searchsorted(batch["address"].to_numpy(), rows["address"].to_numpy())
        values[places] = rows["strength"].to_numpy(zero_copy_only=False)
    return pa.RecordBatch.from_arrays([pa.array(values, from_pandas=True)], schema=SCHEMA)


def count_strengths(before: pa.RecordBatch, after: pa.RecordBatch, *, bins: int) -> Tally:
    """Return the documents of each domain by strength, in equal bins; "unknown" where it is null."""
    values = pc.fill_null(after["strength"], 2.0).to_numpy()
    places = np.where(values > 1, bins, np.minimum(values * bins, bins - 1)).astype(np.int64)
    columns = pa.table({"domain": before["domain"], "place": places}).filter(before["keep"])
    counts = columns.group_by(["domain", "place"], use_threads=False).aggregate([("place", "count")])
    found: Tally = {}
    for row in counts.to_pylist():
        name = "unknown" if row["place"] == bins else f"{row['place']:02}"
        found.setdefault(row["domain"], {})[name] = row["place_count"]
    return found


def strength(step: Step, params: StrengthParams) -> None:
    """Bring every document's losses together, rank, and send the strengths home."""
    roles = sorted(role for role in step.inputs if role.partition(".")[0] == "losses")
    models = _models({role: step.inputs[role] for role in roles})
    ladder = ladders.ladder(ladders.read_scores(step.file("scores", "scores.csv")), models, "the table of scores")
    rows = sum(step.inputs[role].manifest.rows for role in (*roles, "documents"))
    partitions = step.partitions(rows * ROW_BYTES)
    by_document = [
        step.scatter(
            partial(losses_sent, models=ladder.models, partitions=partitions),
            columns={role: ("doc_id", "model", "nats", "bytes")},
            partitions=partitions,
        )
        for role in roles
    ]
    wanted = step.scatter(
        partial(documents_sent, partitions=partitions),
        columns={"documents": ("doc_id", "address"), "mask": ("keep",)},
        partitions=partitions,
    )
    work = partial(strengths, ladder=ladder, statistic=params.statistic)
    home = step.parts_to_shards((*by_document, wanted), work)
    bins = _bins(params, ladder)
    counts = step.map_shards(
        strength_batch,
        columns={"documents": ("domain", "address"), "mask": ("keep",)},
        schema=SCHEMA,
        addressed=home,
        tally=partial(count_strengths, bins=bins),
    )
    step.note(**_told(home.tally, counts, ladder, bins))


def _models(corpora: Mapping[str, Corpus]) -> list[str]:
    """Return the models that have losses.

    Raises:
        DataError: there are no losses, or two corpora have losses of one model.
    """
    found: dict[str, str] = {}
    for role, corpus in corpora.items():
        for model in corpus.manifest.facts.get("models", {}):
            if model in found:
                raise DataError(f"{found[model]} and {role} both have losses of the model {model!r}; wire one of them")
            found[model] = role
    if not found:
        raise DataError("quality.strength: no losses are wired; wire steps of quality.losses as `losses.NAME`")
    return sorted(found)


def _bins(params: StrengthParams, ladder: Ladder) -> int:
    """Return the bins of a histogram: agreement has as many values as there are pairs of models, and 0."""
    pairs = len(ladder.models) * (len(ladder.models) - 1) // 2
    return min(MOST_BINS, pairs + 1) if params.statistic == "agreement" else MOST_BINS


def _told(tally: Tally, counts: Tally, ladder: Ladder, bins: int) -> dict[str, Any]:
    names = ("scored_by_some", "scored_by_all", "saturated", "of_no_kept_document")
    told: dict[str, Any] = {name: tally.get(name, 0) for name in names}
    means = {m: tally["microbits"][m] / _MICRO / told["scored_by_all"] for m in ladder.models if told["scored_by_all"]}
    told["models"] = [
        {
            "model": model,
            "score": round(score, 6),
            "bits_per_byte": round(means[model], 6) if means else None,
            "documents": tally.get("scored", {}).get(model, 0),
        }
        for model, score in zip(ladder.models, ladder.scores, strict=True)
    ]
    told["rank_correlation"] = ladders.correlation([means[m] for m in ladder.models], ladder.scores) if means else None
    told["documents_by_strength"] = {
        domain: [found.get(f"{place:02}", 0) for place in range(bins)] for domain, found in counts.items()
    }
    told["unknown"] = {domain: found.get("unknown", 0) for domain, found in counts.items()}
    if ladder.unused:
        told["notes"] = [f"the table of scores names models without losses: {', '.join(ladder.unused)}"]
    return told


def of_use(params: StrengthParams, corpus: Corpus) -> None:
    """Refuse a corpus made with a ladder that tells nothing of documents.

    Raises:
        DataError: models have scored different documents, better ones do not lose less, or nearly all agree.
    """
    facts = corpus.manifest.facts
    some, whole, saturated = (facts[name] for name in ("scored_by_some", "scored_by_all", "saturated"))
    shares = ", ".join(f"{row['model']} {row['documents']:,}" for row in facts["models"])
    if not whole or whole / some < params.coverage or (params.missing == "refuse" and whole < some):
        least = 1.0 if params.missing == "refuse" else params.coverage
        raise DataError(
            f"quality.strength: of {some:,} documents with a loss {whole:,} have one of every model ({shares}), and "
            f"{least:.0%} are asked for. Score the same documents with every model, or lower `coverage`."
        )
    means = ", ".join(f"{row['model']} {row['score']:g}: {row['bits_per_byte']:.4f}" for row in facts["models"])
    if facts["rank_correlation"] is None or facts["rank_correlation"] >= 0:
        raise DataError(
            f"quality.strength: better models do not lose less here (rank correlation {facts['rank_correlation']}); "
            f"mean bits per byte by score: {means}. Check the scores, or take models that differ more."
        )
    if saturated / whole > params.saturated:
        raise DataError(
            f"quality.strength: {saturated / whole:.0%} of documents have strength 1, and `saturated` allows "
            f"{params.saturated:.0%}: the ladder ({means}) has such wide steps that it does not tell documents "
            "apart. Take models that are closer in score, of different makers rather than sizes."
        )


def check(params: StrengthParams, files: Mapping[str, Path]) -> None:
    """Refuse a table of scores that cannot be read, before anything runs."""
    if "scores" in files:
        ladders.read_scores(files["scores"])


STRENGTH = Stage(
    "quality.strength",
    version=1,
    params=StrengthParams,
    inputs=("documents", "scores"),
    run=strength,
    optional=("mask", "losses", "losses.*"),
    check=check,
    gate=of_use,
)
