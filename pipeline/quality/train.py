"""Train a fastText classifier that tells positive from negative documents.

Reads documents and, where wired, the mask, and `strength` where a class is told by it (`pipeline.quality.labels`);
writes model.bin, an ordinary fastText model with the labels `__label__1` (positive) and `__label__0`, and model.json,
which says how text must be prepared for it. A sample is drawn (`survey`), split in three (`fit`), and the model is
judged on the part that neither taught nor chose (`judge`, `telling`). Nothing depends on shards or on the order of
rows.

The official backend gives other bytes with every run, so two builds with one recipe then differ.
"""

import json
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.errors import DataError
from pipeline.kernels import fasttext_train
from pipeline.kernels.fasttext_model import Model, serialise
from pipeline.ledger import Tally
from pipeline.quality import judge, official, telling
from pipeline.quality.fit import Calibration, Candidate, Documents, Parts, calibrated, fit, probabilities, split
from pipeline.quality.model import MODEL_FILE
from pipeline.quality.survey import Columns, Cuts, Found, collect, cuts, drawn, last_bins, survey
from pipeline.quality.train_params import CLASSES, TrainParams
from pipeline.schemas import ADDRESS
from pipeline.stage import Stage, Step
from pipeline.store import Attempt
from pipeline.tasks import Task

POLICY_FILE = "model.json"
SHOWN = 30
RACING = "official fastText's threads race: two runs on the same documents give two models"
BACKWARDS = "not calibrated: on the validation part the score does not rise with the class"


def check(params: TrainParams, files: Mapping[str, Path]) -> None:
    """Refuse the official backend where it is not installed, before anything runs."""
    if params.backend == "official":
        official.require()


def train(step: Step, params: TrainParams) -> None:
    """Find the classes, read the sample that `max_bytes` allows, fit, and write the model with its credentials."""
    columns = _label_columns(step, params)
    sample = _sample(step, params, columns)
    parts = split(sample, params)
    candidate, areas = fit(parts, params)
    model, calibration = calibrated(candidate, parts.validation) if params.calibrate else (candidate.model, None)
    step.note(
        documents_sampled_per_class=len(sample) // 2,
        bytes_sampled=int(pc.sum(pc.binary_length(sample["text"])).as_py()),
        learned_documents=parts.learned.counts(),
        validation_documents=parts.validation.counts(),
        held_out_documents=parts.held_out.counts(),
        newlines=params.newlines,
        chosen=candidate.setting._asdict(),
        validation_auc=[{**setting._asdict(), "auc": area} for setting, area in areas],
        log_loss=[round(loss, 6) for loss in candidate.losses],
        words=model.n_words,
        **({"determinism": RACING} if params.backend == "official" else {}),
        **credentials(candidate, model, calibration, parts, params, step.inputs["documents"].manifest.shards),
    )
    policy = _policy(candidate, calibration, parts.learned, params)
    files = {MODEL_FILE: serialise(model), POLICY_FILE: json.dumps(policy, indent=2).encode() + b"\n"}
    step.produce(partial(write_files, files=files), [Task(Path(MODEL_FILE).stem)])


def write_files(task: Task, attempt: Attempt, *, files: Mapping[str, bytes]) -> Tally:
    """Write the model and what is told beside it."""
    for name, content in files.items():
        attempt.path(name).write_bytes(content)
    return {}


def credentials(
    candidate: Candidate,
    model: Model,
    calibration: Calibration | None,
    parts: Parts,
    params: TrainParams,
    shards: Any,
) -> dict[str, Any]:
    """Return what the held-out part says of a model, before and after calibration, and what the model goes by."""
    held_out = parts.held_out
    before, after = (probabilities(made, held_out) for made in (candidate.model, model))
    sizes_N = pc.binary_length(held_out.table["text"]).to_numpy()
    facts = judge.verdict(after, held_out.positive, sizes_N)
    facts["calibration"] = judge.judged(after, held_out.positive)
    if calibration:
        facts["calibration"] |= calibration._asdict() | {"before": judge.judged(before, held_out.positive)}
    elif params.calibrate:
        facts["calibration"]["note"] = BACKWARDS
    facts["features"] = telling.features(candidate.model, parts.learned)
    facts["examples"] = telling.extremes(after, held_out, shards)
    return facts


def _policy(
    candidate: Candidate, calibration: Calibration | None, learned: Documents, params: TrainParams
) -> dict[str, Any]:
    """What one must know to use the model elsewhere."""
    labels = (fasttext_train.POSITIVE.decode(), fasttext_train.NEGATIVE.decode())
    return {
        "newlines": params.newlines,
        "labels": dict(zip(CLASSES, labels, strict=True)),
        "backend": params.backend,
        **candidate.setting._asdict(),
        **{name: getattr(params, name) for name in ("bucket", "min_count", "dim", "seed")},
        "calibration": calibration._asdict() if calibration else None,
        "trained_on": learned.counts(),
    }


def _sample(step: Step, params: TrainParams, columns: tuple[str, ...]) -> pa.Table:
    """The documents to learn from and to judge by; notes what was found.

    Raises:
        DataError: a class is empty.
    """
    beside: Columns = {"mask": ("keep",), **({"strength": ("strength",)} if params.needs_strength else {})}
    narrow: Columns = {"documents": ("doc_id", "bytes", *columns), **beside}
    ends = cuts(step, params, narrow)
    found = step.fold(partial(survey, params=params, ends=ends), Found.__add__, columns=narrow)
    if found is None or not all(h.total_documents for h in found.classes):
        raise _empty_class(step, found, columns, params)
    step.note(
        documents_found={name: h.total_documents for name, h in zip(CLASSES, found.classes, strict=True)},
        bytes_found={name: h.total_weight for name, h in zip(CLASSES, found.classes, strict=True)},
        documents_in_both_classes=found.in_both,
    )
    return drawn(_candidates(step, params, columns, beside, ends, last_bins(found, params.max_bytes)), params)


def _candidates(
    step: Step, params: TrainParams, columns: tuple[str, ...], beside: Columns, ends: Cuts, last: tuple[int, int]
) -> pa.Table:
    wide: Columns = {"documents": ("doc_id", "text", *columns, ADDRESS), **beside}
    work = partial(collect, params=params, ends=ends, last=last)
    return step.fold(work, lambda first, second: pa.concat_tables([first, second]), columns=wide)


def _label_columns(step: Step, params: TrainParams) -> tuple[str, ...]:
    """The columns of documents that the classes are told by.

    Raises:
        DataError: the documents have no such column, or no corpus plays `strength`.
    """
    if params.needs_strength and "strength" not in step.inputs:
        raise DataError(
            "quality.train: a class is told by `strength`, but no corpus plays that role; wire a step of "
            "quality.strength as `strength`, or label by domains or a column"
        )
    wanted = dict.fromkeys(["domain", *(labels.column for labels in params.classes if labels.column)])
    first = next(iter(step.inputs["documents"].paths()), None)
    present = pq.read_schema(first).names if first else list(wanted)
    if missing := [column for column in wanted if column not in present]:
        raise DataError(
            f"quality.train: the documents have no column {missing[0]!r}; they have {', '.join(present)}. "
            "Name it as `extra` of its source, so that it is carried along."
        )
    return tuple(wanted)


def _empty_class(step: Step, found: Found | None, columns: tuple[str, ...], params: TrainParams) -> DataError:
    """Say which class has no documents, and what values there are."""
    asked = (*columns, "strength") if params.needs_strength else columns
    beside: Columns = {"strength": ("strength",)} if params.needs_strength else {}
    present = step.fold(
        partial(_values, columns=asked),
        lambda a, b: {column: a[column] | b[column] for column in asked},
        columns={"documents": columns, "mask": ("keep",), **beside},
    )
    counts = [h.total_documents for h in found.classes] if found else [0, 0]
    name = CLASSES[counts.index(0)]
    seen = {column: sorted(values)[:SHOWN] for column, values in (present or {}).items()}
    lines = [f"{column}: {', '.join(values) or '(none)'}" for column, values in seen.items()]
    if found and found.in_both:
        lines.append(f"{found.in_both:,} documents are in both classes and count for neither")
    return DataError(
        f"quality.train: no kept document is {name} ({getattr(params, name)}). There are\n  " + "\n  ".join(lines)
    )


def _values(batches: Iterator[pa.RecordBatch], columns: tuple[str, ...]) -> dict[str, set[str]]:
    """Some values of each column among the kept documents of a shard, at most `SHOWN` of each."""
    seen: dict[str, set[str]] = {column: set() for column in columns}
    for batch in batches:
        kept = batch.filter(batch["keep"])
        for column, values in seen.items():
            values.update(str(value) for value in pc.unique(kept[column]).to_pylist() if value is not None)
    return {column: set(sorted(values)[:SHOWN]) for column, values in seen.items()}


TRAIN = Stage(
    name="quality.train",
    version=2,
    params=TrainParams,
    inputs=("documents",),
    optional=("mask", "strength"),
    run=train,
    check=check,
)
