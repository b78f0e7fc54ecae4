"""Fit laws to a table of runs: for every target, which law holds, how well, and whether more runs would help.

Reads runs (a table file, or a step that writes runs.parquet); writes fit.json: by target the chosen law with all its
numbers, what the held-out runs say of every law tried, the error by number of runs, and the runs themselves, so that
`mixture.recommend` needs nothing else. Losses are those of the last step.

N runs, D domains.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field

from pipeline.errors import ConfigError, DataError
from pipeline.mixture import runs as tables
from pipeline.mixture.gates import gates
from pipeline.mixture.regress import laws
from pipeline.mixture.regress.arrays import Array, mixture_keys, rank_correlation
from pipeline.mixture.runs import Runs
from pipeline.stage import Stage, Step

FIT_FILE = "fit.json"
LEAST_MIXTURES = 8
_HELPS = 0.1
_SHOWN = 256

Law = Literal["linear", "exponential", "trees", "power", "process", "mean"]


class FitParams(tables.Layout):
    """Which laws are tried, on which columns of the table."""

    laws: tuple[Law, ...] = Field(("linear", "exponential", "power", "process", "mean"), min_length=1)


@dataclass(frozen=True)
class Fit:
    """The laws of every target, and the runs that they were fitted to."""

    runs: Runs
    laws: dict[str, laws.Fitted]

    def target_weights(self, wanted: dict[str, float]) -> dict[str, float]:
        """Return the weight of every wanted target, summing to 1; all targets alike if none is wanted.

        Raises:
            ConfigError: a target has not been fitted, or a weight is below 0.
        """
        if unknown := [name for name in wanted if name not in self.laws]:
            raise ConfigError(f"targets: no law was fitted to {unknown[0]!r} (there are {', '.join(self.laws)})")
        weights = {name: weight for name, weight in (wanted or dict.fromkeys(self.laws, 1.0)).items() if weight}
        if not weights or min(weights.values()) < 0:
            raise ConfigError("targets: weights are from 0 up, and at least one is above 0")
        return {name: weight / sum(weights.values()) for name, weight in weights.items()}

    def observed(self, weights: dict[str, float]) -> Array:
        """Return the weighted mean of each run's losses, [N]."""
        mean: Array = np.asarray(sum(weight * self.runs.final(name) for name, weight in weights.items()), float)
        return mean


def fit_runs(runs: Runs, names: Sequence[str] = laws.USUAL) -> Fit:
    """Return the laws of every target.

    Raises:
        DataError: there are fewer than eight different mixtures.
    """
    if (different := len(set(mixture_keys(runs.weights_ND)))) < LEAST_MIXTURES:
        raise DataError(
            f"mixture.fit: {different} different mixtures are too few to fit a law to; {LEAST_MIXTURES} are the least, "
            "64 a good beginning (`corpusmill mixture sample`)"
        )
    return Fit(runs, {name: laws.fit(runs.weights_ND, runs.final(name), names) for name in runs.targets})


def story(fit: Fit) -> dict[str, Any]:
    """Return what a person should know of every target's laws, as JSON."""
    return {name: _target_story(fit.runs, name, fitted) for name, fitted in fit.laws.items()}


def to_json(fit: Fit, told: dict[str, Any]) -> str:
    """Return the fit as it is written."""
    runs = fit.runs
    content = {
        "domains": runs.domains,
        "notes": runs.notes,
        "targets": told,
        "laws": {name: fitted.state() for name, fitted in fit.laws.items()},
        "runs": {
            "names": runs.names,
            "weights": runs.weights_ND.tolist(),
            "losses": {name: runs.final(name).tolist() for name in fit.laws},
        },
    }
    return json.dumps(content, ensure_ascii=False, indent=1) + "\n"


def from_json(path: Path) -> Fit:
    """Return the fit that a file holds.

    Raises:
        DataError: it is no fit.json.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        weights_ND = np.array(content["runs"]["weights"], float)
        losses = {name: np.array(values, float) for name, values in content["runs"]["losses"].items()}
        names, domains, notes = content["runs"]["names"], content["domains"], content["notes"]
        states = content["laws"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path} is no {FIT_FILE} of mixture.fit: {type(error).__name__}: {error}") from None
    losses_SNT = np.column_stack(list(losses.values()))[None]
    runs = Runs(tuple(names), tuple(domains), tuple(losses), (0,), weights_ND, losses_SNT, tuple(notes))
    return Fit(runs, {name: laws.restore(weights_ND, losses[name], state) for name, state in states.items()})


def _target_story(runs: Runs, name: str, fitted: laws.Fitted) -> dict[str, Any]:
    losses_N = runs.final(name)
    points = laws.curve(runs.weights_ND, losses_N, fitted)
    return {
        "law": fitted.law,
        "held_out": {law: asdict(figures) for law, figures in fitted.judged.items()},
        "noise": runs.noise(losses_N),
        "spread": float(losses_N.std()),
        "curve": [asdict(point) for point in points],
        "more_runs": _verdict(points),
        "rank_stability": _stability(runs, name),
    }


def _stability(runs: Runs, name: str) -> float | None:
    """Return Spearman's correlation of the losses at the middle and at the last step; None with one step."""
    if len(runs.steps) < 2:
        return None
    middle = int(np.argmin([abs(step - runs.steps[-1] / 2) for step in runs.steps[:-1]]))
    place = runs.targets.index(name)
    return rank_correlation(runs.losses_SNT[middle, :, place], runs.losses_SNT[-1, :, place])


def _verdict(points: list[laws.Point]) -> str:
    if len(points) < 2:
        return "too few runs to tell"
    first, last = points[-2], points[-1]
    doublings = np.log2(last.runs / first.runs)
    fall = 1 - (last.rmse / first.rmse) ** (1 / doublings) if doublings > 0 and first.rmse else 0.0
    advice = "twice as many may well help" if fall > _HELPS else "twice as many would help little"
    return f"twice the runs lowered the error by {max(fall, 0):.0%} at the last; {advice}"


def fit_stage(step: Step, params: FitParams) -> None:
    """Read the runs, fit every target, and write the laws with what the held-out runs say of them."""
    read = tables.read(step.file("runs", tables.RUNS_FILE), params.domains, params.targets)
    fit = fit_runs(read, params.laws)
    told = story(fit)
    step.write_file(FIT_FILE, to_json(fit, told).encode())
    step.note(**facts(fit, told))


def facts(fit: Fit, told: dict[str, Any]) -> dict[str, Any]:
    """Return what the manifest tells: tables that can be read, and the held-out guesses of some runs."""
    nested = ("held_out", "curve")
    judged = {name: target["held_out"] for name, target in told.items()}
    best = {name: judged[name][target["law"]] for name, target in told.items()}
    return {
        "runs": len(fit.runs.names),
        "mixtures": len(set(mixture_keys(fit.runs.weights_ND))),
        "domains": fit.runs.domains,
        "notes": fit.runs.notes,
        "targets": {
            name: {"law": target["law"], "rank": best[name]["spearman"], "error": best[name]["rmse"]}
            | {key: value for key, value in target.items() if key not in nested}
            for name, target in told.items()
        },
        "laws": judged,
        "gates": gates(told),
        "error_by_runs": [{"target": name} | point for name, target in told.items() for point in target["curve"]],
        "guessed": {name: guessed(fit.runs.final(name), law.errors_N) for name, law in fit.laws.items()},
    }


def guessed(losses_N: Array, errors_N: Array) -> dict[str, list[float]]:
    """Return what runs were guessed at while they were held out and what they had, at most 256 evenly spread."""
    some = slice(None, None, -(-len(losses_N) // _SHOWN))
    return {
        "expected": [round(value, 6) for value in (losses_N + errors_N)[some].tolist()],
        "found": [round(value, 6) for value in losses_N[some].tolist()],
    }


FIT = Stage(name="mixture.fit", version=2, params=FitParams, inputs=("runs",), run=fit_stage)
