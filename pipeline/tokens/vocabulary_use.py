"""Which tokens of a vocabulary an encoded corpus has: counted from what `tokens.encode` wrote, as it is finished.

V ids of the vocabulary, D domains of a batch, T tokens. The counts of a shard are too many numbers for its record, so
the finished shards are read again, a group of them a task.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.corpus import DATA
from pipeline.kernels import token_counts
from pipeline.parquet import read_batches
from pipeline.stage import Step
from pipeline.tasks import LazySequence, Task
from pipeline.tokens import engine, report
from pipeline.tokens.column import token_values
from pipeline.tokens.format import token_dtype

LEAST = 100
"""A token that comes less often has hardly been trained on."""
SHOWN = 100
MAX_TASKS = 64
"""Each returns V numbers, and V bits a domain; those that come too early are held."""

Use = tuple[np.ndarray, dict[str, np.ndarray]]
"""(int64 [V], how often each id comes; by domain, in the bits of `token_counts.count`, whether it comes at all)."""


def vocabulary_use(step: Step, path: Path, size: int) -> dict[str, Any]:
    """Return how many tokens come never and under LEAST times, and the last of those that never do.

    Where the vocabulary has a token for what it cannot write, that token's name and how often it comes stand beside
    them. Added tokens, the special ones among them, are not counted: text never makes them.
    """
    names, ordinary = report.vocabulary(path)
    ordinary_V = np.pad(ordinary, (0, max(0, size - len(ordinary))))[:size]  # a file may name ids it never gives
    groups = min(MAX_TASKS, len(step.keys))
    bounds = [len(step.keys) * place // groups for place in range(groups + 1)] if groups else [0]
    todo = LazySequence(groups, lambda i: Task(f"use-{i}", payload=tuple(step.keys[bounds[i] : bounds[i + 1]])))
    counts_V, domains = np.zeros(size, np.int64), dict[str, np.ndarray]()
    for some_V, by_domain in step.foreman.collect(partial(use_of_shards, folder=step.root / DATA, size=size), todo):
        counts_V += some_V
        for domain, used_V in by_domain.items():
            domains[domain] = domains[domain] | used_V if domain in domains else used_V
    unknown = engine.unknown(path)
    lost = {"unknown": {"token": unknown, "count": int(counts_V[engine.ids(path)[unknown]])}} if unknown else {}
    unused = np.flatnonzero(ordinary_V & (counts_V == 0))
    return {
        "tokens": int(ordinary_V.sum()),
        "unused": len(unused),
        "least": LEAST,
        "under_least": int((ordinary_V & (counts_V < LEAST)).sum()),
        "unused_by_domain": {d: int((ordinary_V & ~_bits(used, size)).sum()) for d, used in sorted(domains.items())},
        "never": [{"id": int(token), "token": report.shown(names[int(token)])} for token in unused[-SHOWN:]],
    } | lost


def _bits(used: np.ndarray, size: int) -> np.ndarray:
    return np.unpackbits(used, count=size, bitorder="little").astype(bool)


def use_of_shards(task: Task, *, folder: Path, size: int) -> Use:
    """Return the use of a vocabulary of `size` ids in finished shards; the payload is their keys."""
    keys: Sequence[str] = task.payload
    counts_V, domains = np.zeros(size, np.int64), dict[str, np.ndarray]()
    for key in keys:
        for batch in read_batches(folder / f"{key}.parquet", ("domain", "tokens")):
            add_use(batch, counts_V, domains)
    return counts_V, domains


def add_use(batch: pa.RecordBatch, counts_V: np.ndarray, domains: dict[str, np.ndarray]) -> None:
    """Add the use of a vocabulary in one batch; a domain whose documents are all null or empty uses nothing."""
    named = batch["domain"].dictionary_encode()
    ids_T, first, length = token_values(batch["tokens"], token_dtype(len(counts_V)))
    for number, domain in enumerate(named.dictionary.to_pylist()):
        mine = (named.indices.to_numpy() == number) & (length > 0)
        if mine.any():
            used = domains.setdefault(domain, np.zeros(-(-len(counts_V) // 8), np.uint8))
            token_counts.count(ids_T, first[mine], length[mine], counts_V, used)
