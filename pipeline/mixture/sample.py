"""Draw the mixtures that proxies are trained on.

Reads a plan, whose available tokens are the prior (or takes the prior as given); writes mixtures.parquet and
mixtures.csv: `run`, `seed` and `weight/DOMAIN`. A proxy is trained on each; its losses make a table of runs.

Drawn as by RegMix (Liu et al. 2024, "RegMix", 3.1 and its published code): a Dirichlet distribution around the prior to
the power of `flatten`, whose strength is one of 15 between 0.1 and 5; a draw is refused that gives a domain more than
`most_of_prior` times its prior; weights below `grid` are taken as 0 and the rest lies in steps of `grid`. Of 100 times
as many draws, copies left out, as many are chosen as are asked for: at random, or one after the other the farthest from
all chosen (`choice: spread`). Floors and ceilings move a draw to the nearest mixture within them. Last come
`replicates` runs of the prior itself, which differ in their seed only: their losses tell the noise.

With a surface (see `mixture.surfaces`) only the share `screen` of the draws is chosen from whose mean n-gram loss over
the targets is least.

N mixtures, D domains.
"""

from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
from pydantic import Field

from pipeline.errors import ConfigError
from pipeline.ledger import Tally
from pipeline.mixture import surfaces
from pipeline.mixture.bounds import PLAN_FILE, Bounds, Limits, available
from pipeline.mixture.regress.arrays import Array
from pipeline.mixture.runs import WEIGHT
from pipeline.mixture.simplex import on_grid, project
from pipeline.mixture.surfaces import Surface
from pipeline.stage import Stage, Step
from pipeline.store import Attempt
from pipeline.tasks import Task

STRENGTHS = np.geomspace(0.1, 5, 15)
POOL = 100
_NEAR = 1e-5
_ROUNDS = 20


class SampleParams(Limits):
    """How many mixtures, around what, how far from it, and how they are chosen among the draws.

    `screen` is the share of the draws that a surface lets pass; it is given where a surface is, and nowhere else.
    """

    mixtures: int = Field(64, gt=0)
    replicates: int = Field(4, ge=0)
    prior: dict[str, float] | None = None
    flatten: float = Field(0.5, ge=0, le=1)
    most_of_prior: float = Field(15, gt=1)
    grid: float = Field(2e-4, gt=0, le=0.1)
    choice: Literal["random", "spread"] = "random"
    screen: float | None = Field(None, gt=0, lt=1)
    seed: int = 0


def draw(params: SampleParams, prior: dict[str, float], surface: Path | None = None) -> pa.Table:
    """Return the mixtures and the replicates: run, seed, weights.

    Args:
        prior: by domain how much there is, in any unit.
        surface: the file of the surface that screens.

    Raises:
        ConfigError: the bounds leave no mixture, or fewer than are asked for; or there is a surface and no share, or a
            share and no surface.
        DataError: the file is no surface, or one of other domains.
    """
    if (surface is None) != (params.screen is None):
        found = "`screen` alone is given" if surface is None else "the surface alone is given"
        raise ConfigError(f"mixture.sample: a surface and the share `screen` that it lets pass come together; {found}")
    domains = tuple(sorted(prior))
    prior_D = np.array([prior[domain] for domain in domains]) / sum(prior.values())
    bounds = params.bounds(domains, params.most_of_prior * prior_D)
    generator = np.random.default_rng(params.seed)
    pool_ND = _pool(generator, params, prior_D, bounds)
    if surface is not None and params.screen is not None:
        pool_ND = _screened(
            pool_ND, surfaces.read(surface, domains), max(params.mixtures, params.screen * len(pool_ND))
        )
    if params.choice == "spread":
        chosen_ND = pool_ND[_spread(pool_ND, params.mixtures)]
    else:
        chosen_ND = pool_ND[np.sort(generator.choice(len(pool_ND), params.mixtures, replace=False))]
    natural_1D = on_grid(project(prior_D[None], bounds.low_D, bounds.high_D), params.grid, bounds.low_D, bounds.high_D)
    names = [f"mixture-{place + 1:04d}" for place in range(params.mixtures)]
    names += [f"prior-{place + 1}" for place in range(params.replicates)]
    seeds = [0] * params.mixtures + list(range(1, params.replicates + 1))
    return table(names, seeds, domains, np.vstack([chosen_ND, np.repeat(natural_1D, params.replicates, 0)]))


def table(names: list[str], seeds: list[int], domains: tuple[str, ...], weights_ND: Array) -> pa.Table:
    """Return mixtures to be trained as a table."""
    weights = {WEIGHT + domain: pa.array(weights_ND[:, place]) for place, domain in enumerate(domains)}
    return pa.table({"run": pa.array(names, pa.string()), "seed": pa.array(seeds, pa.int64()), **weights})


def draws(generator: np.random.Generator, centre_D: Array, count: int) -> Array:
    """Return so many mixtures around a centre, [N, D], in random order; strengths as RegMix has them."""
    counts = generator.multinomial(count, np.full(len(STRENGTHS), 1 / len(STRENGTHS)))
    there_D = centre_D > 0
    parts = [generator.dirichlet(centre_D[there_D] * s, n) for s, n in zip(STRENGTHS, counts, strict=True)]
    drawn_ND = np.zeros((count, len(centre_D)))
    drawn_ND[:, there_D] = generator.permutation(np.concatenate(parts))
    return drawn_ND


def flattened(prior_D: Array, power: float) -> Array:
    """Return the prior to a power, divided by its sum; a domain without anything stays out."""
    raised_D = np.where(prior_D > 0, prior_D**power, 0.0)
    return raised_D / raised_D.sum()


def _pool(generator: np.random.Generator, params: SampleParams, prior_D: Array, bounds: Bounds) -> Array:
    """Return distinct mixtures within the bounds, at least as many as are asked for."""
    centre_D, found = flattened(prior_D, params.flatten), []
    for _ in range(_ROUNDS):
        drawn_ND = draws(generator, centre_D, POOL * params.mixtures)
        drawn_ND = drawn_ND[(drawn_ND <= params.most_of_prior * prior_D).all(1)]
        drawn_ND = np.where(drawn_ND < params.grid, 0.0, drawn_ND)
        drawn_ND = project(drawn_ND / drawn_ND.sum(1, keepdims=True), bounds.low_D, bounds.high_D)
        found.append(on_grid(drawn_ND, params.grid, bounds.low_D, bounds.high_D))
        pool_ND = _distinct(np.vstack(found))
        if len(pool_ND) >= params.mixtures:
            return pool_ND
    raise ConfigError(
        f"mixture.sample: only {len(pool_ND):,} of {params.mixtures:,} different mixtures were found within the "
        f"floors, the ceilings and {params.most_of_prior:g} times the prior; widen them"
    )


def _screened(pool_ND: Array, surface: Surface, count: float) -> Array:
    """Return the mixtures of least mean loss by a surface, in the order they had."""
    losses_N = surface.ngram(pool_ND).mean(1)
    return pool_ND[np.sort(np.argsort(losses_N, kind="stable")[: int(count)])]


def _distinct(pool_ND: Array) -> Array:
    """Return the mixtures in the order of their weights, without those next to an equal one."""
    ordered_ND = pool_ND[np.lexsort(pool_ND.T)]
    apart = np.abs(np.diff(ordered_ND, axis=0)).sum(1) > _NEAR
    return ordered_ND[np.r_[True, apart][: len(ordered_ND)]]


def _spread(pool_ND: Array, count: int) -> Array:
    """Return the places of mixtures far from each other (greedy maximin on the roots of the weights), [count].

    The first is the nearest to the middle of the pool.
    """
    roots_ND = np.sqrt(pool_ND)
    place = int(np.argmin(((roots_ND - roots_ND.mean(0)) ** 2).sum(1)))
    chosen, nearest_N = [place], np.full(len(pool_ND), np.inf)
    while len(chosen) < count:
        nearest_N = np.minimum(nearest_N, ((roots_ND - roots_ND[place]) ** 2).sum(1))
        place = int(np.argmax(nearest_N))
        chosen.append(place)
    return np.array(chosen)


def write_tables(step: Step, stem: str, made: pa.Table) -> None:
    """Write a small table as STEM.parquet and STEM.csv."""
    step.produce(partial(_write, files={f"{stem}.{kind}": c for kind, c in contents(made).items()}), [Task(stem)])


def contents(made: pa.Table) -> dict[str, bytes]:
    """Return a small table as the content of a Parquet and of a CSV file."""
    parquet, text = BytesIO(), BytesIO()
    pq.write_table(made, parquet)
    pa.csv.write_csv(made, text)
    return {"parquet": parquet.getvalue(), "csv": text.getvalue()}


def _write(task: Task, attempt: Attempt, *, files: dict[str, bytes]) -> Tally:
    for name, content in files.items():
        attempt.path(name).write_bytes(content)
    return {}


def sample(step: Step, params: SampleParams) -> None:
    """Draw the mixtures around the plan's natural one, or around the prior given."""
    plan: Path | None = step.file("plan", PLAN_FILE) if "plan" in {*step.inputs, *step.files} else None
    prior = available(params.prior, plan, "prior")
    surface = step.file("surface", surfaces.FILE) if "surface" in {*step.inputs, *step.files} else None
    made = draw(params, prior, surface)
    write_tables(step, "mixtures", made)
    step.note(mixtures=params.mixtures, replicates=params.replicates, domains=sorted(prior))


SAMPLE = Stage(
    name="mixture.sample", version=1, params=SampleParams, inputs=(), optional=("plan", "surface"), run=sample
)
