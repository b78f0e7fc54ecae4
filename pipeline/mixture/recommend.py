"""Say which mixture to train on: the one with the least weighted mean of losses that the tokens at hand allow.

Reads a fit of mixture.fit and, for what there is of every domain, a plan of mixture.plan (or `available`). Writes
weights.json: the weights, what they are expected to gain over the natural mixture, and beside them the natural, the
uniform, the tempered and the best observed mixture, each with its expected loss and an interval; with `batch`, also
next.parquet and next.csv, the mixtures whose runs would teach most.

With fewer than 128 runs the weights are the mean of the best 128 of 100,000 draws, as RegMix has it (Liu et al. 2024,
3.3): an average cannot follow one law's error. From 128 runs on they are the optimum of the convex power laws plus
`pull` times the held-out error times the divergence KL(w || natural). A gain no
larger than the laws' usual held-out error is none: the natural mixture is recommended then, and a note says so. (One
deviation, not the 1.3 of a test at 90 %: the gain of an average of draws is itself told too small.)

The next batch is where the improvement expected of a process on the weighted mean is largest, one after the other, each
taken for seen before the next is chosen (Jones et al. 1998, equation 15; Ginsbourger et al. 2010, "kriging believer");
CLIMB (Diao et al. 2025) iterates so.

N runs, M mixtures, D domains.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from pydantic import Field

from pipeline.errors import ConfigError
from pipeline.mixture import optimum
from pipeline.mixture.bounds import PLAN_FILE, Bounds, Limits, available
from pipeline.mixture.effects import effects
from pipeline.mixture.fit import FIT_FILE, Fit, from_json, guessed
from pipeline.mixture.objective import Objective
from pipeline.mixture.regress import process
from pipeline.mixture.regress.arrays import Array, folds
from pipeline.mixture.regress.extra import library
from pipeline.mixture.repetition import Repetition
from pipeline.mixture.sample import draws, flattened, table, write_tables
from pipeline.mixture.simplex import on_grid, project
from pipeline.mixture.weights import WEIGHTS_FILE
from pipeline.stage import Stage, Step

SEARCHED_BELOW = 128
DRAWS, BEST = 100_000, 128
_CANDIDATES = 2048
_GRID = 2e-4
_LEAST = 1e-12


class RecommendParams(Limits):
    """What is wanted, and what there is to reach it with.

    `targets` weighs the losses; all alike if empty. `budget_tokens` with `max_epochs` caps every domain at what it has.
    `repetition` says what tokens are worth that come again: "discount" counts them by their effective tokens, "seen"
    leaves that to the laws, whose runs have repeated every domain as often as the budget will.
    """

    targets: dict[str, float] = Field(default_factory=dict)
    available: dict[str, float] | None = None
    budget_tokens: int | None = Field(None, gt=0)
    max_epochs: float = Field(4, gt=0)
    repetition: Literal["discount", "seen"] = "discount"
    temperature: float = Field(2, gt=0)
    pull: float = Field(0.1, ge=0)
    batch: int = Field(0, ge=0)
    seed: int = 0


@dataclass(frozen=True)
class Problem:
    """What a mixture is chosen by: the objective, the bounds, and the natural mixture within them."""

    fit: Fit
    objective: Objective
    bounds: Bounds
    natural_D: Array
    prior_D: Array

    def within(self, weights_MD: Array) -> Array:
        """Return the nearest mixtures within the bounds."""
        return project(weights_MD, self.bounds.low_D, self.bounds.high_D)


@dataclass(frozen=True)
class Recommendation:
    """The weights, how they were found, what they gain over the natural mixture, and what the others would give."""

    weights_D: Array
    method: str
    gain: float
    gain_error: float
    compared: dict[str, dict[str, Any]]
    notes: tuple[str, ...]


def problem(fit: Fit, params: RecommendParams, amounts: dict[str, float]) -> Problem:
    """Return the problem.

    Args:
        amounts: by domain what there is, tokens if there is a budget.

    Raises:
        ConfigError: the domains are not those of the runs, or no mixture is within the bounds.
    """
    domains = fit.runs.domains
    if apart := sorted(set(domains) ^ set(amounts)):
        raise ConfigError(
            f"mixture.recommend: the runs have the domains {', '.join(sorted(domains))}, the tokens at hand those of "
            f"{', '.join(sorted(amounts))}; {', '.join(apart)} {'is' if len(apart) == 1 else 'are'} in one only"
        )
    amounts_D = np.array([amounts[domain] for domain in domains])
    once_D = amounts_D / params.budget_tokens if params.budget_tokens else np.where(amounts_D > 0, np.inf, 0.0)
    bounds = params.bounds(domains, params.max_epochs * once_D)
    discounted = once_D if params.repetition == "discount" else np.full(len(domains), np.inf)
    objective = Objective(fit.laws, fit.target_weights(params.targets), Repetition(discounted))
    prior_D = amounts_D / amounts_D.sum()
    return Problem(fit, objective, bounds, project(prior_D[None], bounds.low_D, bounds.high_D)[0], prior_D)


def recommend(given: Problem, params: RecommendParams) -> Recommendation:
    """Return the mixture to train on."""
    few = len(given.fit.runs.names) < SEARCHED_BELOW
    best_D = _searched(given, params.seed) if few else _optimal(given, params.pull)
    method = f"mean of the best {BEST} of {DRAWS:,} draws" if few else "optimum of the power laws, pulled to natural"
    gain, error = given.objective.gain(given.natural_D, best_D)
    notes = [*given.fit.runs.notes]
    if np.abs(given.natural_D - given.prior_D).max() > 1e-9:
        notes.append("the natural mixture is not within the floors and ceilings; the nearest that is stands for it")
    chosen_D = best_D
    if gain <= error:
        chosen_D, method = given.natural_D, "natural"
        notes.append(
            f"a gain of {gain:.4g} over the natural mixture is within the laws' error ({error:.4g}), so the natural "
            "mixture is recommended; more runs would tell (`batch` names them)"
        )
    compared = _compared(given, params, {"recommended": chosen_D, "searched": best_D})
    return Recommendation(chosen_D, method, gain, error, compared, tuple(notes))


def next_batch(given: Problem, count: int, seed: int) -> Array:
    """Return the mixtures whose runs are expected to improve most on the best one, on the grid, [count, D]."""
    ndtr = library("scipy.special").ndtr
    observed_N = given.fit.observed(dict(given.objective.weights))
    weights_ND = given.fit.runs.weights_ND
    believed, _ = process.fit(weights_ND, observed_N, folds(weights_ND))
    candidates_MD = _candidates(given, seed)
    seen_MD = given.objective.repetition.effective(candidates_MD)
    mean_M, covariance_MM = believed.predict(seen_MD), believed.joined(seen_MD)
    best = float(believed.predict(weights_ND).min())
    chosen: list[int] = []
    for _ in range(count):
        deviation_M = np.sqrt(np.maximum(np.diag(covariance_MM), 1e-18))
        z_M = (best - mean_M) / deviation_M
        improvement_M = deviation_M * (z_M * ndtr(z_M) + np.exp(-(z_M**2) / 2) / np.sqrt(2 * np.pi))
        improvement_M[chosen] = -1
        place = int(np.argmax(improvement_M))
        chosen.append(place)
        column_M = covariance_MM[:, place].copy()
        covariance_MM -= np.outer(column_M, column_M) / (column_M[place] + believed.noise() ** 2)
        best = min(best, float(mean_M[place]))
    return candidates_MD[chosen]


def _searched(given: Problem, seed: int) -> Array:
    """Return the mean of the best draws: within the bounds, since these are convex."""
    drawn_MD = _draws(given, DRAWS, seed)
    order = np.argsort(given.objective.predict(drawn_MD), kind="stable")[:BEST]
    return given.within(drawn_MD[order].mean(0)[None])[0]


def _draws(given: Problem, count: int, seed: int) -> Array:
    generator = np.random.default_rng(seed)
    return given.within(draws(generator, flattened(given.prior_D, 0.5), count))


def _optimal(given: Problem, pull: float) -> Array:
    """Return the optimum of the power laws with a pull to the natural mixture, as strong as the laws err."""
    strength = pull * float(np.sqrt((given.objective.errors() ** 2).mean()))
    there_D = given.prior_D > 0
    natural_D = np.where(there_D, given.prior_D, 1.0)

    def pulled(weights_D: Array) -> tuple[float, Array, Array]:
        value, gradient_D, hessian_DD = given.objective.curve(weights_D)
        ratio_D = np.where(there_D, np.log(np.maximum(weights_D, _LEAST) / natural_D), 0.0)
        value += strength * float((weights_D * ratio_D).sum())
        bend_D = np.where(there_D, strength / np.maximum(weights_D, _LEAST), 0.0)
        return value, gradient_D + strength * (ratio_D + 1), hessian_DD + np.diag(bend_D)

    return optimum.least(pulled, given.bounds.low_D, given.bounds.high_D)


def _candidates(given: Problem, seed: int) -> Array:
    """Return distinct draws on the grid within the bounds, none of them among the runs."""
    drawn_MD = _draws(given, _CANDIDATES, seed)
    gridded_MD = np.unique(on_grid(drawn_MD, _GRID, given.bounds.low_D, given.bounds.high_D), axis=0)
    new = [not (np.abs(given.fit.runs.weights_ND - row_D).sum(1) < _GRID).any() for row_D in gridded_MD]
    return gridded_MD[new]


def _compared(given: Problem, params: RecommendParams, found: dict[str, Array]) -> dict[str, dict[str, Any]]:
    """Return by name a mixture with its expected losses and interval; all of them within the bounds."""
    there_D = (given.prior_D > 0).astype(float)
    observed_N = given.fit.observed(dict(given.objective.weights))
    first = int(np.argmin(observed_N))
    mixtures = found | {
        "natural": given.natural_D,
        "uniform": given.within((there_D / there_D.sum())[None])[0],
        "temperature": given.within(flattened(given.prior_D, 1 / params.temperature)[None])[0],
        "best_observed": given.within(given.fit.runs.weights_ND[first][None])[0],
    }
    told = {name: _told(given, weights_D) for name, weights_D in mixtures.items()}
    told["best_observed"] |= {"run": given.fit.runs.names[first], "observed": float(observed_N[first])}
    return told


def _told(given: Problem, weights_D: Array) -> dict[str, Any]:
    loss = float(given.objective.predict(weights_D[None])[0])
    half = float(given.objective.half_width(weights_D[None])[0])
    seen_1D = given.objective.repetition.effective(weights_D[None])
    return {
        "weights": dict(zip(given.fit.runs.domains, weights_D.tolist(), strict=True)),
        "loss": loss,
        "interval": [loss - half, loss + half],
        "targets": {name: float(given.fit.laws[name].predict(seen_1D)[0]) for name in given.objective.weights},
    }


def to_json(given: Problem, found: Recommendation) -> dict[str, Any]:
    """Return the recommendation as it is written."""
    return {
        "weights": dict(zip(given.fit.runs.domains, found.weights_D.tolist(), strict=True)),
        "method": found.method,
        "gain_over_natural": found.gain,
        "gain_error": found.gain_error,
        "targets": dict(given.objective.weights),
        "compared": found.compared,
        "bounds": {
            domain: {"floor": float(low), "ceiling": float(high)}
            for domain, low, high in zip(given.fit.runs.domains, given.bounds.low_D, given.bounds.high_D, strict=True)
        },
        "effects": effects(
            given.fit.laws,
            given.objective.repetition.effective,
            given.fit.runs.domains,
            given.natural_D,
            given.prior_D,
        ),
        "notes": list(found.notes),
    }


def as_text(told: dict[str, Any]) -> str:
    """Return the recommendation's file."""
    return json.dumps(told, indent=1, ensure_ascii=False) + "\n"


def next_table(given: Problem, params: RecommendParams) -> pa.Table:
    """Return the next batch as a table of mixtures to be trained."""
    next_MD = next_batch(given, params.batch, params.seed)
    names = [f"next-{place + 1:04d}" for place in range(len(next_MD))]
    return table(names, [0] * len(names), given.fit.runs.domains, next_MD)


def facts(given: Problem, told: dict[str, Any]) -> dict[str, Any]:
    """Return what the manifest tells: the recommendation as tables that can be read, and the held-out guesses."""
    compared = told["compared"]
    expected = {
        name: {"loss": mixture["loss"], "from": mixture["interval"][0], "to": mixture["interval"][1]}
        | {key: mixture[key] for key in ("run", "observed") if key in mixture}
        for name, mixture in compared.items()
    }
    shares = {
        domain: {name: mixture["weights"][domain] for name, mixture in compared.items()} | told["bounds"][domain]
        for domain in told["weights"]
    }
    losses_N = given.fit.observed(dict(given.objective.weights))
    return {name: told[name] for name in ("method", "gain_over_natural", "gain_error", "targets", "notes")} | {
        "shares": shares,
        "expected": expected,
        "by_target": {name: mixture["targets"] for name, mixture in compared.items()},
        "effects": told["effects"],
        "guessed": guessed(losses_N, given.objective.errors()),
    }


def recommend_stage(step: Step, params: RecommendParams) -> None:
    """Read the fit and what there is, choose the mixture, and name the runs to be made next."""
    plan: Path | None = step.file("plan", PLAN_FILE) if "plan" in {*step.inputs, *step.files} else None
    given = problem(from_json(step.file("fit", FIT_FILE)), params, available(params.available, plan, "available"))
    told = to_json(given, recommend(given, params))
    step.write_file(WEIGHTS_FILE, as_text(told).encode())
    step.note(**facts(given, told))
    if params.batch:
        write_tables(step, "next", next_table(given, params))


RECOMMEND = Stage(
    name="mixture.recommend",
    version=2,
    params=RecommendParams,
    inputs=("fit",),
    optional=("plan",),
    run=recommend_stage,
)
