"""A table of runs: the mixture that each proxy was trained on, and its losses on several targets at several steps.

On disk a Parquet (or CSV) table with a row for every run and step: `run`, `step`, a column `weight/DOMAIN` for every
domain and a column `loss/TARGET` for every target; lower is better. A run of one mixture may come again under another
name: replicates tell the noise.

Read as well: RegMix's pair of tables (an index, then weights; the index, then losses), Olmix's `ratios.csv` and
`metrics.csv` (`run_id`), and any wide table whose columns are named. Weights of a run may sum to 0.996 to 1.003, as
published tables of rounded weights do; they are divided by their sum and a note says so.

N runs, D domains, T targets, S steps.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from pipeline.errors import ConfigError, DataError
from pipeline.mixture.regress.arrays import Array, mixture_keys
from pipeline.stage import Params

RUNS_FILE = "runs.parquet"
WEIGHT, LOSS = "weight/", "loss/"
KEYS = ("run_id", "run", "index")
LOWEST_SUM, HIGHEST_SUM = 0.996, 1.003
_NAMES = ("run", "run_id", "index", "name", "step")
_SHOWN = 5


class Layout(Params):
    """Which columns of a table hold weights and which losses: all named `weight/...` and `loss/...` if left out.

    A column may be named with or without its prefix.
    """

    domains: tuple[str, ...] = ()
    targets: tuple[str, ...] = ()


@dataclass(frozen=True)
class Runs:
    """Runs in the order of their mixtures' hashes, so that no result depends on where a run stood.

    `steps` rise; tables that know none have the one step 0. `notes` say what was changed in reading.
    """

    names: tuple[str, ...]
    domains: tuple[str, ...]
    targets: tuple[str, ...]
    steps: tuple[int, ...]
    weights_ND: Array
    losses_SNT: Array
    notes: tuple[str, ...] = ()

    def final(self, target: str) -> Array:
        """Return the losses on one target at the last step, [N]."""
        return np.ascontiguousarray(self.losses_SNT[-1, :, self.targets.index(target)])

    def table(self) -> pa.Table:
        """Return the runs as they are on disk."""
        count = len(self.names)
        columns: dict[str, pa.Array] = {
            "run": pa.array([name for name in self.names for _ in self.steps], pa.string()),
            "step": pa.array(list(self.steps) * count, pa.int64()),
        }
        for place, domain in enumerate(self.domains):
            columns[WEIGHT + domain] = pa.array(np.repeat(self.weights_ND[:, place], len(self.steps)))
        for place, target in enumerate(self.targets):
            columns[LOSS + target] = pa.array(self.losses_SNT[:, :, place].T.ravel())
        return pa.table(columns)

    def replicates(self) -> list[list[int]]:
        """Return the places of the runs of every mixture that has more than one."""
        found: dict[str, list[int]] = {}
        for place, key in enumerate(mixture_keys(self.weights_ND)):
            found.setdefault(key, []).append(place)
        return [places for places in found.values() if len(places) > 1]

    def noise(self, losses_N: Array) -> float | None:
        """Return the standard deviation of losses between runs of one mixture; None without replicates."""
        groups = [losses_N[places] for places in self.replicates()]
        freedom = sum(len(group) - 1 for group in groups)
        squares = sum(((group - group.mean()) ** 2).sum() for group in groups)
        return float(np.sqrt(squares / freedom)) if freedom else None


@dataclass(frozen=True)
class Mixtures:
    """Runs that are to be trained: a name and a seed each, and the weights that sum to 1."""

    names: tuple[str, ...]
    seeds: tuple[int, ...]
    domains: tuple[str, ...]
    weights_ND: Array
    notes: tuple[str, ...] = ()

    def weights(self, place: int) -> dict[str, float]:
        """Return the weights of one run that are not 0."""
        row = self.weights_ND[place].tolist()
        return {domain: weight for domain, weight in zip(self.domains, row, strict=True) if weight}


def mixtures(path: Path) -> Mixtures:
    """Return the mixtures in a table as mixture.sample writes it: `run`, `seed` (0 if left out), `weight/DOMAIN`.

    Raises:
        DataError: the table is none of mixtures, or a run comes twice.
    """
    table = _table(path)
    if "run" not in table.column_names:
        raise DataError(f"{path} has no column 'run'; it has {', '.join(table.column_names)}")
    names = _strings(table, "run")
    _refuse_twice(names, path)
    domains, weights_ND = _matrix(table, _chosen(table, (), WEIGHT, path), path, names)
    weights_ND, notes = _normalised(weights_ND, names, path)
    seeds = [int(seed) for seed in _numbers(table, "seed", path, names)] if "seed" in table.column_names else []
    made = Mixtures(tuple(names), tuple(seeds) or (0,) * len(names), domains, weights_ND, notes)
    first: dict[tuple[int, str], str] = {}
    for name, key in zip(names, zip(made.seeds, mixture_keys(weights_ND), strict=True), strict=True):
        if (other := first.setdefault(key, name)) != name:
            raise DataError(f"{path}: runs {other} and {name} have the same mixture and the same seed; drop one")
    return made


def read(path: Path, domains: Sequence[str] = (), targets: Sequence[str] = ()) -> Runs:
    """Return the runs in one table, Parquet or CSV.

    Args:
        domains: the columns that hold weights; those named `weight/...` if none are given.
        targets: the columns that hold losses; those named `loss/...` if none are given.

    Raises:
        DataError: the table is no table of runs; says which run or column, and what was expected.
    """
    table = _table(path)
    weights = _chosen(table, domains, WEIGHT, path)
    losses = _chosen(table, targets, LOSS, path)
    key = next((name for name in ("run", "run_id", "index") if name in table.column_names), None)
    names = _strings(table, key) if key else [str(row + 1) for row in range(len(table))]
    steps = (
        [int(step) for step in _numbers(table, "step", path, names)]
        if "step" in table.column_names
        else [0] * len(names)
    )
    return _assembled(names, steps, _matrix(table, weights, path, names), _matrix(table, losses, path, names), path)


def pair(mixtures: Path, losses: Path) -> Runs:
    """Return the runs in a pair of tables that share an index: `index` as RegMix calls it, or Olmix's `run_id`.

    RegMix's `train_` before a domain, and `metric/` and `_val_loss` around a target, are left out of the names.

    Raises:
        DataError: a run is in one of the tables only, or twice in one; or as `read`.
    """
    left, right = _table(mixtures), _table(losses)
    key = next((name for name in KEYS if name in left.column_names and name in right.column_names), None)
    if key is None:
        raise DataError(
            f"{mixtures} and {losses} share no column {' or '.join(KEYS)}; the runs of both must be told by one of them"
        )
    names, others = _strings(left, key), _strings(right, key)
    _refuse_twice(names, mixtures)
    _refuse_twice(others, losses)
    if apart := sorted(set(names) ^ set(others)):
        raise DataError(
            f"{mixtures} and {losses} do not hold the same runs: in one of them only is {_some(apart)} "
            f"({len(names):,} runs and {len(others):,}). Drop or add them"
        )
    place = {name: row for row, name in enumerate(others)}
    right = right.take(pa.array([place[name] for name in names]))
    weights = {name: name.removeprefix("train_") for name in left.column_names if name not in _NAMES}
    targets = {
        name: name.removeprefix("metric/").removesuffix("_val_loss")
        for name in right.column_names
        if name not in _NAMES
    }
    weights_, losses_ = _matrix(left, weights, mixtures, names), _matrix(right, targets, losses, names)
    return _assembled(names, [0] * len(names), weights_, losses_, mixtures)


def olmix(folder: Path) -> Runs:
    """Return the runs in Olmix's `ratios.csv` and `metrics.csv` of a folder.

    Raises:
        DataError: as `pair`.
    """
    return pair(folder / "ratios.csv", folder / "metrics.csv")


def any_layout(paths: Sequence[Path], domains: Sequence[str] = (), targets: Sequence[str] = ()) -> Runs:
    """Return the runs in two tables (`pair`), in a folder (`olmix`) or in one table (`read`).

    Raises:
        ConfigError: there are more than two.
        DataError: as those do.
    """
    if len(paths) > 2 or (len(paths) == 2 and (domains or targets)):
        raise ConfigError("runs are in a table of mixtures and one of losses, in a folder, or in a wide table")
    if len(paths) == 2:
        return pair(*paths)
    return olmix(paths[0]) if paths[0].is_dir() else read(paths[0], domains, targets)


Columns = tuple[tuple[str, ...], Array]


def _assembled(names: list[str], steps: list[int], weights: Columns, losses: Columns, path: Path) -> Runs:
    """Bring rows of (run, step) into shape, and refuse what is no table of runs."""
    doubled = [
        f"{name} at step {step}" for (name, step), times in Counter(zip(names, steps, strict=True)).items() if times > 1
    ]
    if doubled:
        raise DataError(f"{path} holds a run twice: {_some(doubled)}. Give every run a name of its own, or a `step`")
    runs, moments = tuple(dict.fromkeys(names)), tuple(sorted(set(steps)))
    place = {run: row for row, run in enumerate(runs)}
    domains, rows_RD = weights
    targets, rows_RT = losses
    weights_ND = np.full((len(runs), len(domains)), np.nan)
    losses_SNT = np.full((len(moments), len(runs), len(targets)), np.nan)
    for name, step, row_D, row_T in zip(names, steps, rows_RD, rows_RT, strict=True):
        kept_D = weights_ND[place[name]]
        if not np.isnan(kept_D).any() and not np.array_equal(kept_D, row_D):
            raise DataError(f"{path}: run {name} has one mixture at one step and another at the next; a run has one")
        weights_ND[place[name]] = row_D
        losses_SNT[moments.index(step), place[name]] = row_T
    if gaps := [run for run in runs if np.isnan(losses_SNT[:, place[run]]).any()]:
        raise DataError(f"{path}: {_some(gaps)} lack losses at some step that others have; drop the run or the step")
    weights_ND, notes = _normalised(weights_ND, runs, path)
    made = Runs(runs, domains, targets, moments, weights_ND, losses_SNT, notes)
    return _without_copies(_ordered(made), path)


def _normalised(weights_ND: Array, names: Sequence[str], path: Path) -> tuple[Array, tuple[str, ...]]:
    if negative := [name for name, row in zip(names, weights_ND, strict=True) if (row < 0).any()]:
        raise DataError(f"{path}: run {negative[0]} has a weight below 0; weights are shares of the tokens")
    sums_N = weights_ND.sum(1)
    for name, total in zip(names, sums_N, strict=True):
        if not LOWEST_SUM - 1e-9 <= total <= HIGHEST_SUM + 1e-9:
            raise DataError(
                f"{path}: the weights of run {name} sum to {total:.6g}; {LOWEST_SUM} to {HIGHEST_SUM} are taken for "
                "rounded weights. Is a domain missing?"
            )
    off = np.abs(sums_N - 1) > 1e-9
    note = (
        f"the weights of {off.sum():,} of {len(names):,} runs summed to {sums_N.min():.4g} to {sums_N.max():.4g} "
        "and were divided by their sum"
    )
    return np.where(off[:, None], weights_ND / sums_N[:, None], weights_ND), (note,) if off.any() else ()


def _ordered(runs: Runs) -> Runs:
    keys = mixture_keys(runs.weights_ND)
    order = sorted(range(len(keys)), key=lambda row: (keys[row], runs.losses_SNT[:, row].tolist(), runs.names[row]))
    return replace(
        runs,
        names=tuple(runs.names[row] for row in order),
        weights_ND=runs.weights_ND[order],
        losses_SNT=runs.losses_SNT[:, order],
    )


def _without_copies(runs: Runs, path: Path) -> Runs:
    for places in runs.replicates():
        for a, b in pairwise(places):
            if np.array_equal(runs.losses_SNT[:, a], runs.losses_SNT[:, b]):
                raise DataError(
                    f"{path}: runs {runs.names[a]} and {runs.names[b]} have the same mixture and the same losses; a "
                    "replicate with another seed never has. Drop one"
                )
    return runs


def _table(path: Path) -> pa.Table:
    try:
        options = pa.csv.ReadOptions(use_threads=False)
        table = pq.read_table(path) if path.suffix == ".parquet" else pa.csv.read_csv(path, read_options=options)
    except (OSError, pa.ArrowInvalid) as error:
        raise DataError(f"{path} cannot be read as a table: {error}") from None
    if twice := [name for name, times in Counter(table.column_names).items() if times > 1]:
        raise DataError(f"{path} has the column {twice[0]!r} twice")
    if not len(table):
        raise DataError(f"{path} holds no run")
    return table


def _chosen(table: pa.Table, wanted: Sequence[str], prefix: str, path: Path) -> dict[str, str]:
    """Return column -> name, of the wanted columns or else of those with the prefix."""
    columns = [name if name in table.column_names else prefix + name for name in wanted]
    if missing := [name for name, column in zip(wanted, columns, strict=True) if column not in table.column_names]:
        raise DataError(f"{path} has no column {missing[0]!r}; it has {', '.join(table.column_names)}")
    columns = columns or [name for name in table.column_names if name.startswith(prefix)]
    found = {name: name.removeprefix(prefix) for name in columns}
    if not found:
        what = "domains" if prefix == WEIGHT else "targets"
        raise DataError(f"{path} has no column {prefix}...; call them so, or name them as `{what}`")
    return found


def _matrix(table: pa.Table, columns: dict[str, str], path: Path, names: Sequence[str]) -> Columns:
    if not columns:
        raise DataError(f"{path} has no column beside {', '.join(table.column_names)}; weights or losses were expected")
    arrays = [_numbers(table, column, path, names) for column in columns]
    return tuple(columns.values()), np.column_stack(arrays)


def _numbers(table: pa.Table, column: str, path: Path, names: Sequence[str]) -> Array:
    values = table[column]
    if not (pa.types.is_integer(values.type) or pa.types.is_floating(values.type)):
        raise DataError(f"{path}: the column {column!r} holds {values.type}, not numbers")
    numbers = np.asarray(pc.cast(values, pa.float64()).to_numpy(), float)
    if bad := [name for name, fine in zip(names, np.isfinite(numbers), strict=True) if not fine]:
        raise DataError(f"{path}: {column!r} is empty or not finite for {_some(bad)}; drop such a run, it has no loss")
    return numbers


def _strings(table: pa.Table, column: str) -> list[str]:
    return [str(value) for value in table[column].to_pylist()]


def _refuse_twice(names: Iterable[str], path: Path) -> None:
    if twice := [name for name, times in Counter(names).items() if times > 1]:
        raise DataError(f"{path} holds a run twice: {_some(twice)}. Give every run a name of its own")


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(f"run {name}" for name in names[:_SHOWN])
    return shown if len(names) <= _SHOWN else f"{shown} and {len(names) - _SHOWN} more"
