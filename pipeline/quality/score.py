"""Score every document by one or several fastText models, in one pass over the text.

Reads documents (text), the models (role model.0, model.1 ... for each of `models`) and, where wired, the mask; writes,
shard for shard, for each model

    NAME          float32: P of its label as official fastText prints it (with its 1e-5, so up to 1.00001)

or, with `best`,

    NAME          string: the most probable label, without `__label__`; null where the model predicts nothing
    NAME_score    float32: its P

all null where the mask drops the document. A document in which the model knows no feature scores 0, as does a label
that a hierarchical softmax does not list. A newline counts as a space, or as nothing: see `newlines`.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
from pydantic import Field, model_validator

from pipeline.corpus import Frozen
from pipeline.errors import DataError
from pipeline.ledger import Tally
from pipeline.quality import model as models
from pipeline.quality.model import MODEL_FILE, PREFIX, Newlines
from pipeline.schemas import text_buffers
from pipeline.stage import Params, Stage, Step

BINS = 20
ROLE = "model."


class Scored(Params):
    """A model's columns: `name`, and `name`_score with `best`.

    `label` is the one that P is written of, with or without `__label__`; by default the one called 1, positive or hq.
    `newlines` is how the model was taught to read them, as a "space" or not at all ("drop"); by default what the .json
    beside the model says, else as a space.
    """

    name: str = Field("score", pattern="^[a-z][a-z0-9_]*$")
    label: str | None = None
    best: bool = False
    newlines: Newlines | None = None

    @model_validator(mode="after")
    def _one_question(self) -> "Scored":
        if self.best and self.label is not None:
            raise ValueError("`best` asks for the most probable label, so it goes without a `label`")
        return self

    @property
    def score(self) -> str:
        """The column with the probability."""
        return f"{self.name}_score" if self.best else self.name


class ScoreParams(Params):
    """What is asked of each model, in the order of the roles model.0, model.1 ..."""

    models: tuple[Scored, ...] = Field((Scored(),), min_length=1)

    @model_validator(mode="after")
    def _columns_differ(self) -> "ScoreParams":
        columns = Counter(name for scored in self.models for name in {scored.name, scored.score})
        if twice := [name for name, count in columns.items() if count > 1]:
            raise ValueError(f"two models write the column {twice[0]!r}; give each of `models` a `name` of its own")
        return self


class Ready(Frozen):
    """A model ready for the workers: paths, and the place of its label."""

    scored: Scored
    path: str
    prepared: str
    newlines: Newlines
    label: int


def schema(params: ScoreParams) -> pa.Schema:
    """Return the columns that the models write."""
    fields = []
    for scored in params.models:
        fields += [pa.field(scored.name, pa.string())] if scored.best else []
        fields.append(pa.field(scored.score, pa.float32()))
    return pa.schema(fields)


def score_batch(batch: pa.RecordBatch, ready: Sequence[Ready]) -> pa.RecordBatch:
    """Return the columns of every model for each row of `batch`, in its order; null where the row is not kept."""
    keep = batch["keep"].to_numpy(zero_copy_only=False)
    data, offsets = text_buffers(batch["text"])
    columns: dict[str, pa.Array] = {}
    for model in ready:
        scorer = models.scorer(Path(model.path), Path(model.prepared), model.newlines)
        if model.scored.best:
            labels, scores = scorer.best(data, offsets, keep)
            names = pa.array([label.removeprefix(PREFIX) for label in scorer.labels], pa.string())
            columns[model.scored.name] = names.take(pa.array(labels, mask=labels < 0))
        else:
            scores = scorer.probability(data, offsets, model.label, keep)
        columns[model.scored.score] = pa.array(np.nan_to_num(scores, nan=0.0).astype(np.float32), mask=~keep)
    return pa.record_batch(columns)


def count_scores(before: pa.RecordBatch, after: pa.RecordBatch, params: ScoreParams) -> Tally:
    """Return, by model and domain, the documents by score in `BINS` equal bins, and by best label."""
    tally: Tally = {"score": {}, "label": {}}
    for scored in params.models:
        tally["score"][scored.name] = _counts(before["domain"], _bins(after[scored.score]))
        if scored.best:
            tally["label"][scored.name] = _counts(before["domain"], after[scored.name])
    return tally


def _bins(scores: pa.Array) -> pa.Array:
    places = np.minimum(scores.fill_null(0).to_numpy() * BINS, BINS - 1).astype(np.int64)
    names = pa.array([f"{place:02}" for place in range(BINS)])
    return names.take(pa.array(places, mask=np.asarray(scores.is_null())))


def _counts(domains: pa.Array, values: pa.Array) -> Tally:
    """Return domain -> value -> how often; null values are not counted."""
    table = pa.table({"domain": domains, "value": values}).filter(pa.array(np.asarray(values.is_valid())))
    counts: Tally = {}
    for row in table.group_by(["domain", "value"], use_threads=False).aggregate([([], "count_all")]).to_pylist():
        counts.setdefault(row["domain"], {})[row["value"]] = row["count_all"]
    return counts


def check(params: ScoreParams, files: Mapping[str, Path]) -> None:
    """Refuse a given model that cannot be scored, lacks the label or reads newlines otherwise, before anything runs."""
    for role, path in files.items():
        if role.startswith(ROLE):
            _asked(_of_role(params, role), path, is_file=True)


def score(step: Step, params: ScoreParams) -> None:
    """Check and prepare the models, then score every shard; processes of a machine share what was prepared."""
    roles = [f"{ROLE}{place}" for place in range(len(params.models))]
    for role in {*step.inputs, *step.files}:
        if role.startswith(ROLE):
            _of_role(params, role)
    if missing := [role for role in roles if role not in {*step.inputs, *step.files}]:
        raise DataError(f"quality.score: no model plays {missing[0]}; wire one for each of the {len(roles)} `models`")
    ready = [_ready(step, role, scored) for role, scored in zip(roles, params.models, strict=True)]
    counts = step.map_shards(
        partial(score_batch, ready=ready),
        columns={"documents": ("domain", "text"), "mask": ("keep",)},
        schema=schema(params),
        tally=partial(count_scores, params=params),
    )
    step.note(
        labels={model.scored.name: _label(model) for model in ready if not model.scored.best},
        newlines={model.scored.name: model.newlines for model in ready},
        documents_by_score={
            name: {domain: [bins.get(f"{place:02}", 0) for place in range(BINS)] for domain, bins in domains.items()}
            for name, domains in counts.get("score", {}).items()
        },
        documents_by_label=counts.get("label", {}),
    )


def _ready(step: Step, role: str, scored: Scored) -> Ready:
    path = step.file(role, MODEL_FILE)
    label, newlines = _asked(scored, path, is_file=role in step.files)
    prepared = models.prepare(path, step.root / "scratch" / role)
    return Ready(scored=scored, path=str(path), prepared=str(prepared), newlines=newlines, label=label)


def _asked(scored: Scored, path: Path, *, is_file: bool) -> tuple[int, Newlines]:
    """Return the place of the label (-1: the best one) and how newlines are read; refuses what cannot be had."""
    labels = models.check(path).labels
    label = -1 if scored.best else models.positive_label(labels, scored.label, str(path))
    return label, models.newlines_of(path, scored.newlines, is_file=is_file)


def _label(model: Ready) -> str:
    return models.load(Path(model.path)).labels[model.label]


def _of_role(params: ScoreParams, role: str) -> Scored:
    place = role.removeprefix(ROLE)
    if not place.isdecimal() or str(int(place)) != place or int(place) >= len(params.models):
        raise DataError(
            f"quality.score: {role} is wired, but `models` says what is asked of {ROLE}0 to "
            f"{ROLE}{len(params.models) - 1} only; add an entry or take the model away"
        )
    return params.models[int(place)]


SCORE = Stage(
    name="quality.score",
    version=2,
    params=ScoreParams,
    inputs=("documents", f"{ROLE}0"),
    optional=("mask", f"{ROLE}*"),
    run=score,
    check=check,
)
