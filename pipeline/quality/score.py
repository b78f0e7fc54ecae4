"""Score every document: P(label) under a fastText classifier.

Reads documents (text) and, where wired, the mask; writes, shard for shard, `score`: the probability of the positive
label as official fastText prints it (softmax + 1e-5, so up to 1.00001), null where the mask drops the document.
A newline counts as a space, as it does in quality.train: an outside model must have been trained on text whose
newlines were replaced by spaces. A document in which the model knows no feature scores 0.
"""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.quality.model import MODEL_FILE, load, positive_label, scorer
from pipeline.schemas import text_buffers
from pipeline.stage import Params, Stage, Step

BINS = 20
SCHEMA = pa.schema([pa.field("score", pa.float32())])


class ScoreParams(Params):
    """Which label stands for quality, with or without `__label__`; by default the one called 1, positive or hq."""

    label: str | None = None


def score_batch(batch: pa.RecordBatch, model: str, label: int) -> pa.RecordBatch:
    """Return the score of each row of `batch`, in its order; null where the row is not kept."""
    keep = batch["keep"].to_numpy(zero_copy_only=False)
    probabilities_NL = scorer(Path(model)).probabilities(*text_buffers(batch["text"]), keep)
    scores = np.nan_to_num(probabilities_NL[:, label], nan=0.0).astype(np.float32)
    return pa.record_batch([pa.array(scores, mask=~keep)], schema=SCHEMA)


def count_scores(before: pa.RecordBatch, after: pa.RecordBatch) -> dict[str, Any]:
    """Return the documents of each domain by score, in `BINS` equal bins."""
    scores = after["score"]
    scored = np.asarray(scores.is_valid())
    places = np.minimum(scores.fill_null(0).to_numpy() * BINS, BINS - 1).astype(np.int64)
    domains = before["domain"].dictionary_encode()
    codes = domains.indices.to_numpy()
    counts = np.zeros((len(domains.dictionary), BINS), np.int64)
    np.add.at(counts, (codes[scored], places[scored]), 1)
    names = domains.dictionary.to_pylist()
    return {
        name: {f"{place:02}": int(n) for place, n in enumerate(row) if n}
        for name, row in zip(names, counts, strict=True)
        if row.any()
    }


def check(params: ScoreParams, files: Mapping[str, Path]) -> None:
    """Refuse a given model that cannot be scored, or lacks the label, before anything runs."""
    if "model" in files:
        positive_label(load(files["model"]).labels, params.label, str(files["model"]))
        scorer(files["model"])


def score(step: Step, params: ScoreParams) -> None:
    """Check the model and its label, then score every shard; each process loads the model once."""
    path = step.file("model", MODEL_FILE)
    labels = load(path).labels
    place = positive_label(labels, params.label, str(path))
    scorer(path)
    counts = step.map_shards(
        partial(score_batch, model=str(path), label=place),
        columns={"documents": ("domain", "text"), "mask": ("keep",)},
        schema=SCHEMA,
        tally=count_scores,
    )
    histogram = {domain: [bins.get(f"{place:02}", 0) for place in range(BINS)] for domain, bins in counts.items()}
    step.note(label=labels[place], labels=list(labels), documents_by_score=histogram)


SCORE = Stage(
    name="quality.score",
    version=1,
    params=ScoreParams,
    inputs=("documents", "model"),
    optional=("mask",),
    run=score,
    check=check,
)
