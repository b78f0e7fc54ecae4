"""Tell the loss of every mixture from the texts of its domains, before any run is trained.

Reads documents with their mask and buckets, and targets (`targets.NAME: file:PATH`; without any, the part of every
domain that `mixture.train` holds out as well). Writes surface.parquet (see `mixture.surfaces`) for `mixture.fit` and
`mixture.sample`, and weights.json: the mixture that MixMin finds best, a recommendation without a run.

Counted are the first `domain_bytes` of each domain in the order of their draws, which are those of the proxies' pools.
The strength of each order of n-grams is that of least mean loss under the uniform mixture, by coordinate descent in
powers of 2.

A surface sees n-grams only: it knows which domains share words and phrases with a target, and nothing of what a larger
model learns beyond them. Repetition is no matter to it.

S strings, D domains, T targets, K the longest n-gram, M mixtures.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pydantic import Field

from pipeline.corpus import DATA
from pipeline.errors import DataError
from pipeline.histogram import Histogram
from pipeline.kernels import ngrams
from pipeline.kernels.ngrams import LONGEST, Strings, Tree
from pipeline.mixture.bounds import Limits, shares
from pipeline.mixture.draws import Draw, by_domain, columns, surveyed
from pipeline.mixture.held_out import HeldOutParams, Open, held_out
from pipeline.mixture.pools import STREAM
from pipeline.mixture.regress import power
from pipeline.mixture.regress.arrays import Array
from pipeline.mixture.sample import draws
from pipeline.mixture.surfaces import FILE, Laws, Surface, to_parquet
from pipeline.mixture.weights import WEIGHTS_FILE
from pipeline.proxy import targets as target_texts
from pipeline.proxy.targets import ROLE
from pipeline.schemas import text_buffers
from pipeline.stage import Stage, Step

TEXTS = "targets.parquet"
MOST_CELLS = 40_000_000
"""Counts that are held at once, at most: targets of many domains are cut for it."""
_STRINGS_A_GRAM = 0.25  # about so many of the targets' n-grams are distinct
LAW_MIXTURES, _JUDGES = 512, 128
_LAW_STRENGTH = 0.02  # of the prior: a surface has no noise
_FIRST_STRENGTH, _STEPS = 8.0, (16.0, 4.0, 2.0)

Counted = dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]]
"""By domain the strings it has, and how often each as a history and as an n-gram."""


class SurfaceParams(HeldOutParams, Limits):
    """How long the n-grams are, how much of every domain is counted, and what the best mixture is to be best for.

    `targets` weighs the losses; all alike if empty. `floors` and `ceilings` bound the best mixture only.
    """

    order: int = Field(6, ge=1, le=LONGEST)
    domain_bytes: int = Field(4_000_000, gt=0, lt=1 << 40)
    targets: dict[str, float] = Field(default_factory=dict)


def check(params: SurfaceParams, files: Mapping[str, Path]) -> None:
    """Refuse to begin with targets that cannot be read."""
    for role, path in files.items():
        if role.startswith(ROLE):
            next(target_texts.batches(path, params.text), None)


def surface(step: Step, params: SurfaceParams) -> None:
    """Hold out the targets, count their n-grams in every domain, and write what any mixture costs."""
    judged = held_out(step, params)
    found = surveyed(step, Draw(params.seed, STREAM), judged.open.rows)
    if not found:
        raise DataError(f"{step.name}: no document is kept; look at what the steps before dropped")
    domains = tuple(sorted(found))
    texts = _cut(judged.texts, len(domains), params.order)
    step.write_file(TEXTS, target_texts.to_parquet(texts))
    counts = _counts(step, params, found, judged.open)
    made = _surface(step.root / DATA / TEXTS, params.order, domains, counts)
    fitted, error = laws(made, params.seed)
    step.write_file(FILE, to_parquet(made, fitted))
    told = recommended(made, params, np.array([found[domain].total_weight for domain in domains], float))
    step.write_file(WEIGHTS_FILE, (json.dumps(told, indent=1, ensure_ascii=False) + "\n").encode())
    step.note(
        **told,
        strengths=made.strengths_K.tolist(),
        bytes_counted=dict(zip(domains, made.bytes_D.tolist(), strict=True)),
        target_bytes={name: sum(len(text.encode()) for text in some) for name, some in texts.items()},
        ngrams=len(made.tree.orders),
        law_errors=error,
    )


def laws(made: Surface, seed: int) -> tuple[Laws, dict[str, dict[str, float]]]:
    """Return a power law of every surface by target, and by how much it errs on other mixtures.

    The error is a share of the surface's standard deviation.
    """
    count = len(made.domains)
    drawn_MD = draws(np.random.default_rng(seed), np.full(count, 1 / count), LAW_MIXTURES + _JUDGES)
    fitted: Laws = {}
    errors: dict[str, dict[str, float]] = {}
    losses = made.losses(drawn_MD)
    for place, target in enumerate(made.targets):
        for name, losses_MT in losses.items():
            seen_M, judging_M = np.split(losses_MT[:, place], [LAW_MIXTURES])
            law = power.fit_at(drawn_MD[:LAW_MIXTURES], seen_M, _LAW_STRENGTH)
            off_M = law.scale.up(law.raw(drawn_MD[LAW_MIXTURES:])) - judging_M
            fitted.setdefault(target, {})[name] = law
            spread = float(judging_M.std()) or 1.0
            errors.setdefault(target, {})[name] = float(np.sqrt((off_M**2).mean())) / spread
    return fitted, errors


def recommended(made: Surface, params: SurfaceParams, amounts_D: Array) -> dict[str, Any]:
    """Return the mixture that MixMin finds best, and what it, the natural and the uniform one cost by both surfaces.

    Raises:
        ConfigError: a target that is weighed is none, or no mixture is within the bounds.
    """
    weights = shares(params.targets, made.targets, "there is no target")
    targets_T = np.array([weights.get(target, 0.0) for target in made.targets])
    count = len(made.domains)
    bounds = params.bounds(made.domains, np.ones(count))
    best_D = made.mixmin.best(targets_T, bounds.low_D, bounds.high_D)
    mixtures = {"recommended": best_D, "natural": amounts_D / amounts_D.sum(), "uniform": np.full(count, 1 / count)}
    losses = made.losses(np.stack(list(mixtures.values())))
    return {
        "weights": dict(zip(made.domains, best_D.tolist(), strict=True)),
        "method": "MixMin of n-gram models; no run was trained",
        "targets": weights,
        "losses": {
            mixture: {
                name: dict(zip(made.targets, losses_MT[place].tolist(), strict=True))
                for name, losses_MT in losses.items()
            }
            for place, mixture in enumerate(mixtures)
        },
    }


def _cut(texts: Mapping[str, Sequence[str]], domains: int, order: int) -> dict[str, tuple[str, ...]]:
    """Return the first texts of every target, as many as can be counted for so many domains; the last one is cut."""
    most = int(MOST_CELLS / (_STRINGS_A_GRAM * order * domains * len(texts)))
    kept: dict[str, tuple[str, ...]] = {}
    for name in sorted(texts):
        left, some = most, []
        for text in texts[name]:
            some.append(text.encode()[:left].decode(errors="ignore"))
            left -= len(some[-1].encode())
            if left <= 0:
                break
        kept[name] = tuple(some)
    return kept


def _counts(step: Step, params: SurfaceParams, found: Mapping[str, Histogram], eligible: Open) -> Counted:
    """Return, by domain, how often the targets' strings come in its first bytes."""
    last = {d: int(h.bins[h.reaching_weight(params.domain_bytes)]) for d, h in found.items()}
    drawing, path = Draw(params.seed, STREAM), step.root / DATA / TEXTS
    work = partial(count, drawing=drawing, last=last, eligible=eligible, path=path, order=params.order)
    return step.fold(work, _added, columns=columns(step, "text")) or {}


def count(
    batches: Iterator[pa.RecordBatch], drawing: Draw, last: Mapping[str, int], eligible: Open, path: Path, order: int
) -> Counted:
    """Return how often the targets' strings come in the drawn documents of a shard, by domain."""
    known = _known(path, order)
    dense: dict[str, list[np.ndarray]] = {}
    for batch in batches:
        batch = batch.filter(pa.array(eligible.rows(batch) & drawing.rows(batch, last)))
        for domain, rows in by_domain(batch):
            if domain not in dense:
                dense[domain] = [np.zeros((len(known.keys), 1), np.int64) for _ in range(2)]
            texts = batch["text"].take(pa.array(rows))
            ngrams.count(*text_buffers(texts), np.zeros(len(rows), np.int64), known, *dense[domain])
    return {domain: _sparse(*(counts[:, 0] for counts in both)) for domain, both in dense.items()}


def _sparse(histories_S: np.ndarray, grams_S: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    some = np.flatnonzero(histories_S | grams_S)
    return some, histories_S[some], grams_S[some]


def _added(first: Counted, second: Counted) -> Counted:
    """Return the sums of two results."""
    both = dict(first)
    for domain, (strings, histories, grams) in second.items():
        if domain in both:
            strings, place = np.unique(np.concatenate([both[domain][0], strings]), return_inverse=True)
            histories, grams = (
                _summed(place, both[domain][which], counts, len(strings))
                for which, counts in ((1, histories), (2, grams))
            )
        both[domain] = (strings, histories, grams)
    return both


def _summed(place: np.ndarray, first: np.ndarray, second: np.ndarray, size: int) -> np.ndarray:
    sums = np.zeros(size, np.int64)
    np.add.at(sums, place, np.concatenate([first, second]))
    return sums


@lru_cache(maxsize=1)
def _known(path: Path, order: int) -> Strings:
    data, offsets, _ = _buffers(path)
    return ngrams.strings(data, offsets, order)


def _buffers(path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the targets' texts as bytes and offsets, and of which target each is."""
    texts = target_texts.from_parquet(path)
    owners_N = np.repeat(np.arange(len(texts)), [len(some) for some in texts.values()])
    data, offsets = text_buffers(pa.array([text for some in texts.values() for text in some], pa.large_string()))
    return data, offsets, owners_N


def _surface(path: Path, order: int, domains: tuple[str, ...], counts: Counted) -> Surface:
    known = _known(path, order)
    histories_SD, grams_SD = (np.zeros((len(known.keys), len(domains)), np.int64) for _ in range(2))
    for domain, (strings, histories, grams) in counts.items():
        place = domains.index(domain)
        histories_SD[strings, place], grams_SD[strings, place] = histories, grams
    data, offsets, owners_N = _buffers(path)
    tree = ngrams.tree(data, offsets, owners_N, known, histories_SD, grams_SD)
    bytes_D = histories_SD[0].astype(float)
    strengths_K = tuned(tree, (bytes_D.mean() / bytes_D / len(domains))[None], order)
    return Surface(domains, tuple(target_texts.from_parquet(path)), tree, strengths_K, bytes_D)


def tuned(tree: Tree, copies_1D: Array, order: int) -> Array:
    """Return the strengths of the orders with the least mean loss under one mixture, [K]."""
    strengths_K = np.full(order, _FIRST_STRENGTH)
    least = float(ngrams.losses(tree, strengths_K, copies_1D).mean())
    for step in _STEPS:
        for place in range(order):
            for factor in (step, 1 / step):
                moved_K = strengths_K.copy()
                moved_K[place] *= factor
                while (loss := float(ngrams.losses(tree, moved_K, copies_1D).mean())) < least:
                    strengths_K, least = moved_K.copy(), loss
                    moved_K[place] *= factor
    return strengths_K


SURFACE = Stage(
    name="mixture.surface",
    version=1,
    params=SurfaceParams,
    inputs=("documents",),
    optional=("mask", "buckets", f"{ROLE}*"),
    run=surface,
    check=check,
)
