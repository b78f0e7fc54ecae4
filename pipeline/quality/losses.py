"""What every document costs a ladder of language models: nats, beside the bytes and tokens they are the cost of.

Reads documents and, where wired, the mask. A model is a folder (role model.NAME: `folder:PATH`), one of the hub (param
`hub`), or a Parquet file of losses made elsewhere (role losses.NAME: `file:PATH`, see `losses_import`). Writes a table

    doc_id, model, nats, bytes, tokens

a shard for each model and shard of documents, and a task each: what is finished is kept. A document the mask drops, or
the draw of `share` leaves out, has no row; nor has one without a token to score. Its bits per byte are
nats / (ln 2 * bytes). The nats are rounded to a thousandth.

A document is scored alone (see `pipeline.proxy.lm`). What begins a text for the model stands before it, and then all
its tokens are scored; without that all but the first, whose bytes do not count either.
"""

import re
from collections.abc import Mapping, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field, model_validator

from pipeline import identity, ledger, tasks
from pipeline.corpus import DATA
from pipeline.errors import ConfigError, DataError
from pipeline.kernels.hashing import draw
from pipeline.ledger import Tally
from pipeline.parquet import ShardWriter
from pipeline.quality import losses_import, losses_table
from pipeline.quality.losses_table import NAME, SCHEMA
from pipeline.schemas import doc_ids
from pipeline.stage import Params, Stage, Step
from pipeline.store import Attempt
from pipeline.tasks import LazySequence, Task

SAMPLE = 2301  # a stream of draws
MODEL, IMPORTED = "model.", "losses."
FILES = ("config.json", "tokenizer.json")
PACKAGES = ("torch", "transformers")

Place = tuple[str, str, bool]
"""Of a model: its folder and checksum, or its id on the hub, its revision and True."""


class HubModel(Params):
    """A model of the Hugging Face hub; a revision is a commit, since branches and tags move."""

    name: str = Field(pattern=NAME)
    id: str = Field(min_length=1)
    revision: str = Field(pattern=r"^[0-9a-f]{40}$")


class LossesParams(Params):
    """Which models of the hub are asked, about how much, and how they read.

    `share` of the documents is drawn by a hash of `seed` and doc_id. `window` is the most positions read at once: all
    that a model can if None. `stride` is how far the next window of a long document begins behind, half a window if
    None. `bos: auto` puts before a text what the tokenizer puts there. `batch_tokens` may change the last digits.
    """

    hub: tuple[HubModel, ...] = ()
    share: float = Field(1, gt=0, le=1)
    seed: int = 0
    window: int | None = Field(None, ge=2)
    stride: int | None = Field(None, ge=1)
    bos: Literal["auto", "always", "never"] = "auto"
    dtype: Literal["float32", "bfloat16"] = "float32"
    batch_tokens: int = Field(1024, ge=1)

    @model_validator(mode="after")
    def _windows_overlap(self) -> "LossesParams":
        if self.window is not None and self.stride is not None and self.stride >= self.window:
            raise ValueError(f"stride: {self.stride} is not below window: {self.window}; a token would have no context")
        return self


def scored(rows: pa.RecordBatch, name: str, place: Place, params: LossesParams) -> pa.RecordBatch:
    """Return what each document of a batch costs one model; 0 tokens where it has none to score.

    Raises:
        DataError: the model cannot score, or gave a cost that is no number.
    """
    from pipeline.quality import lm_models  # torch

    model = lm_models.load(lm_models.Source(*place), params.dtype, params.bos)
    window = _window(model.window, params, name)
    nats_N, bytes_N, tokens_N = lm_models.losses(
        model, rows["text"], window=window, stride=params.stride, batch_tokens=params.batch_tokens
    )
    if not np.isfinite(nats_N).all():
        at = int(np.flatnonzero(~np.isfinite(nats_N))[0])
        raise DataError(
            f"the model {name} gives document {rows['doc_id'][at].as_py().hex()} a cost of {nats_N[at]} nats; its "
            "weights or its precision are at fault"
        )
    columns = [rows["doc_id"], [name] * len(rows), losses_table.rounded(nats_N), bytes_N, tokens_N]
    arrays = [pa.array(column, field.type) for column, field in zip(columns, SCHEMA, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=SCHEMA)


def asked(batch: pa.RecordBatch, params: LossesParams) -> pa.RecordBatch:
    """Return the documents of a batch that are to be scored: the kept ones, or a share of them."""
    if params.share == 1:
        return batch.filter(batch["keep"])
    lucky = draw(params.seed, doc_ids(batch["doc_id"]), SAMPLE) < np.uint64(params.share * 2**64)
    return batch.filter(pc.and_(batch["keep"], pa.array(lucky)))


def _window(reads: int | None, params: LossesParams, name: str) -> int:
    if reads is None and params.window is None:
        raise DataError(f"the configuration of the model {name} does not say how many positions it reads; set `window`")
    window = min(n for n in (reads, params.window) if n is not None)
    if params.stride is not None and params.stride >= window:
        raise DataError(f"stride: {params.stride} is not below the {window} positions that the model {name} reads")
    return window


def score_shard(
    task: Task, attempt: Attempt, *, models: Mapping[str, Place], params: LossesParams, masked: bool
) -> Tally:
    """Write the losses of one shard of documents under one model."""
    name, shard = task.payload
    file = f"{task.key}.parquet"
    told: Tally = {"models": {}, "without_tokens": {}}
    with ShardWriter(attempt.path(file), SCHEMA) as writer:
        for batch in tasks.batches(shard, () if masked else ("keep",)):
            rows = asked(batch, params)
            made = scored(rows, name, models[name], params)
            has_tokens = pc.greater(made["tokens"], 0)
            writer.write(made.filter(has_tokens))
            ledger.add(told["models"], losses_table.sums(made.filter(has_tokens), rows["domain"].filter(has_tokens)))
            ledger.add(told["without_tokens"], {name: made.num_rows - pc.sum(has_tokens).as_py()})
    attempt.rows(file, writer.rows)
    return told


def losses(step: Step, params: LossesParams) -> None:
    """Score every shard under every model, then bring in the losses made elsewhere."""
    models, imported = _models(step, params), _named(IMPORTED, step.files)
    if not models and not imported:
        raise DataError(
            "quality.losses: no model is named; wire one as `model.NAME: folder:PATH`, name one of the `hub`, or "
            "import losses as `losses.NAME: file:PATH`"
        )
    _refuse_names(list(models), list(imported))
    rounds = [step.shard_tasks(_COLUMNS, identity.digest([name, models[name][1], params])) for name in models]
    shards = len(step.inputs["documents"].manifest.shards)
    todo = LazySequence(
        len(models) * shards, lambda at: _of_model(list(models)[at // shards], rounds[at // shards][at % shards])
    )
    work = partial(score_shard, models=models, params=params, masked="mask" in step.inputs)
    counts = step.produce(work, todo, warm=True)
    if imported:
        brought = losses_import.bring_in(step, imported)
        _refuse_names(list(models), list(brought["models"]))
        ledger.add(counts, brought)
    _tell(step, models, ledger.ordered(counts))


_COLUMNS = {"documents": ("doc_id", "domain", "text"), "mask": ("keep",)}


def _of_model(name: str, task: Task) -> Task:
    return Task(f"{name}-{task.key}", task.identity, (name, task.payload))


def _models(step: Step, params: LossesParams) -> dict[str, Place]:
    """Return the models that are to score, by name: folders, what steps have written, and those of the hub."""
    folders = {f"{MODEL}{name}": str(path) for name, path in _named(MODEL, step.files).items()}
    folders |= {role: str(c.root / DATA) for role, c in step.inputs.items() if role.startswith(MODEL)}
    found: dict[str, Place] = {r.removeprefix(MODEL): (f, step.identities[r], False) for r, f in folders.items()}
    return dict(sorted((found | {model.name: (model.id, model.revision, True) for model in params.hub}).items()))


def _named(kind: str, files: Mapping[str, Path]) -> dict[str, Path]:
    return {role.removeprefix(kind): path for role, path in files.items() if role.startswith(kind)}


def _refuse_names(models: Sequence[str], imported: Sequence[str]) -> None:
    if both := sorted(set(models) & set(imported)):
        raise DataError(f"the losses of the model {both[0]!r} are asked for twice: scored here and imported; drop one")
    if wrong := [name for name in models if not re.match(NAME, name)]:
        raise DataError(f"a model cannot be called {wrong[0]!r}: letters, digits, `.`, `_` and `-` make a name")


def _tell(step: Step, models: Mapping[str, Place], counts: Tally) -> None:
    """Put into the manifest what each model has scored, and what was left out."""
    told = {name: losses_table.told(by_domain) for name, by_domain in counts.get("models", {}).items()}
    for name, (place, print_, hub) in models.items():
        told.setdefault(name, {"documents": 0})["source"] = f"{place}@{print_}" if hub else print_
    left_out = ("without_tokens", "repeated", "of_no_kept_document")
    step.note(models=dict(sorted(told.items())), **{name: counts[name] for name in left_out if name in counts})
    if strangers := counts.get("of_no_kept_document", 0):
        step.note(notes=[f"{strangers:,} imported losses are of no kept document of this build and were left out"])


def check(params: LossesParams, files: Mapping[str, Path]) -> None:
    """Refuse before anything runs: models without a name, folders that hold none, files that are no losses."""
    folders, imported = _named(MODEL, files), _named(IMPORTED, files)
    hub = [model.name for model in params.hub]
    if twice := sorted(name for name in set(hub) if hub.count(name) > 1 or name in folders):
        raise ConfigError(f"the model {twice[0]!r} is named twice; give each its own name")
    _refuse_names([*folders, *hub], list(imported))
    for name, folder in folders.items():
        if missing := [file for file in FILES if not (folder / file).is_file()]:
            raise ConfigError(
                f"the model {name}: {folder} has no {missing[0]}, so it is no causal language model; give what "
                "`save_pretrained` of Hugging Face transformers writes, model and tokenizer"
            )
    if (folders or hub) and (absent := [package for package in PACKAGES if find_spec(package) is None]):
        raise ConfigError(
            f"to score with language models, {' and '.join(absent)} must be there: install the extra `lm`"
        )
    for path in imported.values():
        losses_import.check_file(path)


LOSSES = Stage(
    "quality.losses",
    version=1,
    params=LossesParams,
    inputs=("documents",),
    run=losses,
    optional=("mask", f"{MODEL}*", f"{IMPORTED}*"),
    check=check,
    folders=(f"{MODEL}*",),
)
