"""Train a proxy on every mixture, and tell what each costs on every target: the runs that laws are fitted to.

Reads mixtures (a table of mixture.sample), documents with their mask and buckets, a plan, and targets
(`targets.NAME: file:PATH`; without any, a part of every domain is held out). Writes runs.parquet (`run`, `step`,
`weight/DOMAIN`, `loss/TARGET`, in bits per byte), the vocabulary and the texts of the targets.

As RegMix (Liu et al. 2024, 3.1): one small model a mixture, all of one size and budget. `mixture.pools` says which part
of a domain they read, so that they repeat it as often as the target will; `mixture.rows`, in which order. Runs with one
seed share the first weights, the order of domains and the documents of every domain, so that their losses differ by
the mixture; runs of one mixture with several seeds tell the noise.

Each run is a task of its own, known by its weights and seed: more mixtures train the new ones only, wherever the
targets, documents and parameters are the same.
"""

import importlib.util
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import numpy as np

from pipeline.corpus import DATA
from pipeline.errors import DataError
from pipeline.identity import digest
from pipeline.kernels.permutation import key_of
from pipeline.ledger import Tally
from pipeline.mixture import pools, runs, train_facts
from pipeline.mixture.bounds import PLAN_FILE
from pipeline.mixture.held_out import held_out
from pipeline.mixture.pools import TOKENIZER, Pools, budgets
from pipeline.mixture.proxy_run import Places, Run
from pipeline.mixture.runs import RUNS_FILE, Mixtures, Runs
from pipeline.mixture.sample import contents
from pipeline.mixture.train_params import TrainParams
from pipeline.proxy import targets
from pipeline.proxy.targets import ROLE
from pipeline.stage import Stage, Step
from pipeline.store import Attempt
from pipeline.tasks import Task

MIXTURES, PLAN = "mixtures", "plan"
TEXTS = "targets.parquet"
STATES = "scratch/states"


def check(params: TrainParams, files: Mapping[str, Path]) -> None:
    """Refuse to begin without torch, or with mixtures, a plan or targets that cannot be read."""
    if importlib.util.find_spec("torch") is None:
        raise DataError("mixture.train trains models, which needs torch: pip install 'corpusmill[lm]'")
    for role, path in files.items():
        if role == MIXTURES:
            runs.mixtures(path)
        elif role == PLAN:
            budgets(params, path)
        elif role.startswith(ROLE):
            next(targets.batches(path, params.text), None)


def train(step: Step, params: TrainParams) -> None:
    """Hold out the targets, write vocabulary and pools, train every run as a task of its own, and write the table."""
    wanted = runs.mixtures(step.file(MIXTURES, "mixtures.parquet"))
    plan = step.file(PLAN, PLAN_FILE) if PLAN in {*step.inputs, *step.files} else None
    target = budgets(params, plan)
    judged = held_out(step, params)
    made = pools.made(step, params, judged.open, target)
    _check_domains(step, wanted, made)
    step.write_file(TEXTS, targets.to_parquet(judged.texts))
    todo = [_run(params, wanted, place) for place in range(len(wanted.names))]
    places = Places(step.root / DATA / TOKENIZER, step.root / DATA / TEXTS, made, step.root / STATES)
    tasks = [Task(run.key, _origin(step, params, run), run) for run in todo]
    found = step.produce(partial(_trained, places=places, params=params), tasks, warm=True)
    table = _assembled(wanted, todo, sorted(judged.texts), params, found)
    step.write_file(RUNS_FILE, contents(table.table())["parquet"])
    step.note(**train_facts.facts(params, wanted, table, made, target, judged))


def _trained(task: Task, attempt: Attempt, *, places: Places, params: TrainParams) -> Tally:
    """Train one run; torch is imported where that happens, and nowhere else. Its losses are in its tally."""
    from pipeline.mixture import proxies

    return proxies.trained(task.payload, places, params)


def _run(params: TrainParams, wanted: Mixtures, place: int) -> Run:
    """Return a run under a key made of what it is, so that a table may name, order and add runs as it likes."""
    weights, seed = wanted.weights(place), wanted.seeds[place]
    return Run(f"run-{digest([weights, seed])[:16]}", weights, key_of(params.seed, seed))


def _origin(step: Step, params: TrainParams, run: Run) -> str:
    """Return what a run depends on: its own mixture and seed, and all but the table of mixtures."""
    others = {role: print_ for role, print_ in step.identities.items() if role != MIXTURES}
    return digest([params, others, run.weights, run.seed])


def _check_domains(step: Step, wanted: Mixtures, made: Pools) -> None:
    weighty = {domain for place in range(len(wanted.names)) for domain in wanted.weights(place)}
    if missing := sorted(weighty - set(made.domains)):
        raise DataError(
            f"{step.name}: the mixtures weigh a domain {missing[0]!r} that the documents do not have (they have "
            f"{', '.join(made.domains)}); wire the documents, and the `buckets`, that the mixtures were drawn for"
        )


def _assembled(wanted: Mixtures, todo: list[Run], names: list[str], params: TrainParams, found: Tally) -> Runs:
    losses = [[[found[run.key][str(step)][name] for name in names] for run in todo] for step in params.judged_at]
    return Runs(
        wanted.names, wanted.domains, tuple(names), params.judged_at, wanted.weights_ND, np.array(losses), wanted.notes
    )


TRAIN = Stage(
    name="mixture.train",
    version=1,
    params=TrainParams,
    inputs=(MIXTURES, "documents"),
    optional=("mask", "buckets", PLAN, f"{ROLE}*"),
    run=train,
    check=check,
)
