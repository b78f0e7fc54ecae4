"""Runs whose truth is known: mixtures drawn by seed, losses of a power law with a little noise."""

from dataclasses import dataclass

import numpy as np

from pipeline.mixture.regress.arrays import Scale
from pipeline.mixture.regress.power import PowerLaw
from pipeline.mixture.runs import Runs

DOMAINS = ("books", "code", "math", "news", "web")


@dataclass(frozen=True)
class World:
    """A true law, and runs of it."""

    truth: PowerLaw
    weights_ND: np.ndarray
    losses_N: np.ndarray


def law(seed: int = 0, domains: int = len(DOMAINS)) -> PowerLaw:
    rng = np.random.default_rng(seed)
    return PowerLaw(
        constant=2.0,
        alpha=0.5,
        rest=0.05,
        worth_D=np.exp(rng.normal(0, 1, domains)),
        gain_D=rng.uniform(0.3, 0.8, domains),
        scale=Scale(0.0, 1.0),
        low=-100.0,
        high=100.0,
        strength=0.1,
    )


def mixtures(runs: int, seed: int = 0, domains: int = len(DOMAINS)) -> np.ndarray:
    return np.random.default_rng(seed + 100).dirichlet(np.full(domains, 0.7), runs)


def world(runs: int, noise: float = 0.05, seed: int = 0) -> World:
    """Return so many runs; the noise is a share of the standard deviation of the losses."""
    truth, weights_ND = law(seed), mixtures(runs, seed)
    losses_N = truth.predict(weights_ND)
    errors_N = np.random.default_rng(seed + 200).normal(0, noise * losses_N.std(), runs)
    return World(truth, weights_ND, losses_N + errors_N)


def runs_of(*worlds: World, targets: tuple[str, ...] = ("own",)) -> Runs:
    weights_ND = worlds[0].weights_ND
    losses_NT = np.column_stack([world.losses_N for world in worlds])
    names = tuple(str(place) for place in range(len(weights_ND)))
    return Runs(names, DOMAINS, targets, (0,), weights_ND, losses_NT[None])
