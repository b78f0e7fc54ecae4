"""Mixture regression on RegMix's published runs: rank, error, intervals, regret and time, beside OLS and LightGBM.

    OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 python benchmarks/mixture.py [--subsets 10] [--quick] [--json]

512 runs of 1M-parameter proxies on mixtures of 17 domains of the Pile are fitted, 256 other runs judge (Liu et al.
2024). Rank is Spearman's correlation x 100. Smaller sets are drawn by seed, and the figures are means over them.
Coverage is the share of the judging runs within the 90 % interval. Regret is how much more the recommended mixture
loses than the best one by a truth fitted to all 768 runs, on Pile-CC; the natural mixture's stands beside it. LightGBM
never sees the runs that judge it: how many trees it has is told by a part of its own.
"""

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from harness import arguments, finish, shared, table

from pipeline.mixture import recommend as stage
from pipeline.mixture import runs as tables
from pipeline.mixture.fit import Fit
from pipeline.mixture.objective import Objective
from pipeline.mixture.optimum import least
from pipeline.mixture.regress import laws
from pipeline.mixture.regress.arrays import rank_correlation
from pipeline.mixture.regress.linear import Exponential, Linear
from pipeline.mixture.regress.trees import Trees
from pipeline.mixture.repetition import Repetition
from pipeline.mixture.runs import Runs
from pipeline.mixture.sample import draws, flattened

PILE_CC = "the_pile_pile_cc"
SIZES = (8, 16, 32, 64, 128)
# The shares of the Pile's domains in tokens, as RegMix's code gives them; in the order of its tables.
NATURAL = (
    *(0.113285273, 0.079608651, 0.003913491, 0.185375901, 0.051081359, 0.015962925, 0.101750772, 0.003707518),
    *(0.066529351, 0.001750772, 0.027085479, 0.236869207, 0.01184346, 0.007929969, 0.008032956, 0.038825953),
    0.046446962,
)


@dataclass(frozen=True)
class Score:
    """How well some guesses tell the judging runs' losses."""

    rank: float
    mse: float
    coverage: float | None = None


def published() -> tuple[Runs, Runs]:
    """Return the runs to fit and the runs that judge."""
    folder = shared() / "data/evals/regmix"
    train, test = (
        tables.pair(folder / f"{part}_mixture_1m.csv", folder / f"{part}_pile_loss_1m.csv")
        for part in ("train", "test")
    )
    return train, test


def part(runs: Runs, count: int, seed: int) -> Runs:
    """Return so many of the runs, drawn by seed, in their own order."""
    chosen = np.sort(np.random.default_rng(seed).choice(len(runs.names), count, replace=False))
    names = tuple(runs.names[place] for place in chosen)
    return replace(runs, names=names, weights_ND=runs.weights_ND[chosen], losses_SNT=runs.losses_SNT[:, chosen])


def ours(train: Runs, test: Runs, target: str) -> tuple[Score, laws.Fitted]:
    """Return the score of the chosen law, and the laws."""
    fitted = laws.fit(train.weights_ND, train.final(target))
    guesses_N, losses_N = fitted.predict(test.weights_ND), test.final(target)
    inside = np.abs(guesses_N - losses_N) <= fitted.half_width(test.weights_ND)
    return replace(score(guesses_N, losses_N), coverage=float(inside.mean())), fitted


def score(guesses_N: Any, losses_N: Any) -> Score:
    """Return rank and error."""
    return Score(100 * rank_correlation(guesses_N, losses_N), float(((guesses_N - losses_N) ** 2).mean()))


def peer(kind: Any) -> Callable[[Runs, Runs, str], Score]:
    """Return what scores one of the simple laws."""

    def scored(train: Runs, test: Runs, target: str) -> Score:
        fitted = kind.fit(train.weights_ND, train.final(target))
        return score(fitted.predict(test.weights_ND), test.final(target))

    return scored


def whole(train: Runs, test: Runs) -> tuple[list[dict[str, Any]], dict[str, laws.Fitted], float]:
    """Return the figures of every law fitted to all runs, our laws of all targets, and their CPU seconds."""
    start = time.process_time()
    found = {target: ours(train, test, target) for target in train.targets}
    cpu_s = time.process_time() - start
    rows = [_row("chosen by held-out runs", {target: scored for target, (scored, _) in found.items()})]
    fitted = {target: law for target, (_, law) in found.items()}
    for name in ("power", "process", "mean"):
        guess = {target: replace(law, law=name).predict(test.weights_ND) for target, law in fitted.items()}
        rows.append(_row(name, {target: score(guess[target], test.final(target)) for target in guess}))
    for name, kind in (("OLS", Linear), ("exponential", Exponential), ("LightGBM", Trees)):
        rows.append(_row(name, {target: peer(kind)(train, test, target) for target in train.targets}))
    return rows, fitted, cpu_s


def _row(name: str, scores: dict[str, Score]) -> dict[str, Any]:
    covered = [scored.coverage for scored in scores.values() if scored.coverage is not None]
    return {
        "law": name,
        "pile_cc_rank": scores[PILE_CC].rank,
        "mean_rank": statistics.fmean(scored.rank for scored in scores.values()),
        "worst_rank": min(scored.rank for scored in scores.values()),
        "pile_cc_mse": scores[PILE_CC].mse,
        "coverage_percent": 100 * statistics.fmean(covered) if covered else None,
    }


def judge(train: Runs, test: Runs) -> tuple[Objective, float]:
    """Return the truth about Pile-CC, fitted to all runs there are, and the least loss by it."""
    weights_ND = np.vstack([train.weights_ND, test.weights_ND])
    fitted = laws.fit(weights_ND, np.r_[train.final(PILE_CC), test.final(PILE_CC)], ("mean",))
    count = len(train.domains)
    truth = Objective({PILE_CC: fitted}, {PILE_CC: 1.0}, Repetition(np.full(count, np.inf)))
    pool_MD = draws(np.random.default_rng(1), flattened(np.array(NATURAL) / sum(NATURAL), 0.5), 100_000)
    optimum_D = least(truth.curve, np.zeros(count), np.ones(count))
    return truth, float(truth.predict(np.vstack([pool_MD, optimum_D[None]])).min())


def small(train: Runs, test: Runs, sizes: Sequence[int], subsets: int) -> list[dict[str, Any]]:
    """Return the means over seeded subsets of each size, on Pile-CC."""
    truth, best = judge(train, test)
    amounts = dict(zip(train.domains, NATURAL, strict=True))
    rows = []
    for count in sizes:
        scores, trees, found, naturals = [], [], [], 0
        for seed in range(subsets):
            few = part(train, count, seed)
            scored, fitted = ours(few, test, PILE_CC)
            scores.append(scored)
            trees.append(peer(Trees)(few, test, PILE_CC))
            params = stage.RecommendParams(targets={PILE_CC: 1})
            given = stage.problem(Fit(few, {PILE_CC: fitted}), params, amounts)
            chosen = stage.recommend(given, params)
            naturals += chosen.method == "natural"
            losses = truth.predict(np.stack([chosen.weights_D, given.natural_D]))
            found.append([float(losses[0]) - best, float(losses[1]) - best])
        rows.append(
            {
                "runs": count,
                "rank": statistics.fmean(scored.rank for scored in scores),
                "worst_rank": min(scored.rank for scored in scores),
                "mse": statistics.fmean(scored.mse for scored in scores),
                "coverage_percent": 100 * statistics.fmean(scored.coverage or 0 for scored in scores),
                "lightgbm_rank": statistics.fmean(scored.rank for scored in trees),
                "regret": statistics.fmean(pair[0] for pair in found),
                "worst_regret": max(pair[0] for pair in found),
                "natural_regret": found[0][1],
                "natural_recommended": naturals,
            }
        )
    return rows


def main() -> None:
    """Measure and print."""
    parser = arguments(__doc__.splitlines()[0], repeats=1)
    parser.add_argument("--subsets", type=int, default=10, help="seeded subsets of each size (default %(default)s)")
    parser.add_argument("--quick", action="store_true", help="small subsets only, not all 13 targets")
    options = parser.parse_args()
    train, test = published()
    result: dict[str, Any] = {"small": small(train, test, SIZES, options.subsets)}
    if not options.quick:
        result["whole"], _, result["fit_cpu_s"] = whole(train, test)
        columns = ("law", "pile_cc_rank", "mean_rank", "worst_rank", "pile_cc_mse", "coverage_percent")
        cells = [[_cell(row[name]) for name in columns] for row in result["whole"]]
        table(
            f"512 runs, 13 targets ({result['fit_cpu_s']:.1f} CPU seconds for all of ours)",
            ("law", "rank on Pile-CC", "mean rank", "worst rank", "MSE on Pile-CC", "coverage %"),
            cells,
        )
    table(
        f"fewer runs, Pile-CC, means of {options.subsets} subsets",
        (
            *("runs", "rank", "worst", "MSE", "coverage %", "LightGBM's rank"),
            *("regret", "worst regret", "natural's", "natural recommended"),
        ),
        [
            [str(row["runs"]), *(_cell(value) for name, value in row.items() if name != "runs")]
            for row in result["small"]
        ],
    )
    finish(options, result)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return (
        f"{value:.4f}"
        if isinstance(value, float) and abs(value) < 1
        else f"{value:.1f}"
        if isinstance(value, float)
        else str(value)
    )


if __name__ == "__main__":
    main()
