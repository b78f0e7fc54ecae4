"""One proxy of a mixture: rows in, bits per byte of every target at several steps out. Imports torch.

A run that is stopped goes on from its last state, which it writes from time to time into a scratch folder. Where it was
stopped changes no byte of what comes out (on a CPU; see `pipeline.proxy.training`).
"""

import time
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.ledger import Tally
from pipeline.mixture.pools import Pools, opened
from pipeline.mixture.proxy_run import Places, Run
from pipeline.mixture.rows import Reader, allotted
from pipeline.mixture.train_params import TrainParams
from pipeline.proxy import training, vocabulary
from pipeline.proxy.judging import bits_of
from pipeline.proxy.targets import from_parquet
from pipeline.proxy.training import Training

SAVED_EVERY_S = 60.0
"""About what a stopped run has to do again at most."""
DIGITS = 6


@dataclass(frozen=True)
class Target:
    """The documents of a target as ids, and the bytes of their text."""

    documents: list[np.ndarray]
    bytes: int


def trained(run: Run, places: Places, params: TrainParams) -> Tally:
    """Return, by the run's key, the bits per byte of every target after each of the steps where a run is judged."""
    reader = _reader(run, places.pools, params)
    state = places.states / f"{run.key}.pt"
    batch, judged_at = params.model.batch, set(params.judged_at)
    with training.repeatable():
        work = Training(params.model, places.pools.vocabulary, run.seed, params.steps)
        losses: dict[str, Any] = work.restore(state) if state.exists() else {}
        saved_at = time.monotonic()
        while work.done < work.steps:
            work.learn(reader.rows(work.done * batch, (work.done + 1) * batch))
            if work.done in judged_at:
                losses[str(work.done)] = _judged(work, places, params)
            if time.monotonic() - saved_at >= SAVED_EVERY_S:
                work.save(state, **losses)
                saved_at = time.monotonic()
    state.unlink(missing_ok=True)
    return {run.key: losses}


def _reader(run: Run, pools: Pools, params: TrainParams) -> Reader:
    rows = allotted(run.weights, params.steps * params.model.batch)
    counts = [rows.get(domain, 0) for domain in pools.domains]
    return Reader([opened(pools.folder, place) for place in range(len(counts))], counts, params.model.context, run.seed)


def _judged(work: Training, places: Places, params: TrainParams) -> dict[str, float]:
    found = {}
    for name, target in _targets(places.tokenizer, places.targets).items():
        bits = bits_of(work.model, target.documents, params.model.context)
        found[name] = round(bits / target.bytes, DIGITS)
    return found


@lru_cache(maxsize=1)
def _targets(tokenizer: Path, targets: Path) -> dict[str, Target]:
    """Return the targets as ids; a process keeps them for the next evaluation and the next run."""
    words = vocabulary.opened(tokenizer)
    return {
        name: Target(vocabulary.encoded(words, texts), sum(len(text.encode()) for text in texts))
        for name, texts in from_parquet(targets).items()
    }
