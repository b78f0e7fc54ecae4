"""What a training of proxies says as facts of its manifest: sizes, repetition by domain, noise, and notes."""

from typing import Any

import numpy as np

from pipeline.mixture.held_out import HeldOut
from pipeline.mixture.pools import Budgets, Pools
from pipeline.mixture.rows import allotted
from pipeline.mixture.runs import Mixtures, Runs
from pipeline.mixture.train_params import TrainParams

DIGITS = 6
SMALL_PARAMETERS = 15_000_000
"""Olmix finds that proxies below this rank mixtures for larger models worse."""


def facts(
    params: TrainParams, wanted: Mixtures, table: Runs, pools: Pools, target: Budgets, judged: HeldOut
) -> dict[str, Any]:
    """Return what was trained, on what, how often it was repeated, and how far the losses can be told apart."""
    model = {
        "setting": params.setting,
        "parameters": params.model.parameters(pools.vocabulary),
        "vocabulary": pools.vocabulary,
        "context": params.model.context,
        "budget_tokens": params.budget,
        "target_tokens": target.target,
        "judged_at": list(params.judged_at),
    }
    return {
        "model": model,
        "runs": len(wanted.names),
        "tokens": len(wanted.names) * params.budget,
        "domains": _domains(params, wanted, pools, target),
        "targets": {name: _target(name, table, judged) for name in table.targets},
        "notes": [evidence(model), *_warnings(table, pools, judged), *wanted.notes],
    }


def evidence(model: dict[str, Any]) -> str:
    """Return what kind of evidence this is."""
    size = (
        f"proxies of {model['parameters'] / 1e6:.1f} million parameters, trained for {model['budget_tokens']:,} tokens"
    )
    if model["parameters"] < SMALL_PARAMETERS:
        return f"{size}: a smoke test, evidence for small models; trust the ranks more than the losses"
    return f"{size}: the ranks of mixtures may carry over to larger models, the losses do not"


def _domains(params: TrainParams, wanted: Mixtures, pools: Pools, target: Budgets) -> dict[str, Any]:
    """Return, by domain, its pool, how often a run reads it at most, and how often the target would with that share."""
    rows = [allotted(wanted.weights(place), params.steps * params.model.batch) for place in range(len(wanted.names))]
    found = {}
    for domain, amount in pools.amounts.items():
        most = max(counts.get(domain, 0) for counts in rows) * params.model.context
        told: dict[str, Any] = amount.to_json() | {"most_epochs": round(most / amount.pool_tokens, DIGITS)}
        if target.target:
            share = most / params.budget
            told["target_epochs"] = round(share * target.target / max(amount.available_tokens, 1), DIGITS)
        found[domain] = told
    return found


def _target(name: str, table: Runs, judged: HeldOut) -> dict[str, Any]:
    losses_N = table.final(name)
    noise = table.noise(losses_N)
    return {
        "documents": len(judged.texts[name]),
        "bytes": sum(len(text.encode()) for text in judged.texts[name]),
        "left_out": judged.left_out.get(name, 0),
        "mean": round(float(losses_N.mean()), DIGITS),
        "spread": round(float(losses_N.std()), DIGITS),
        "noise": None if noise is None else round(noise, DIGITS),
    }


def _warnings(table: Runs, pools: Pools, judged: HeldOut) -> list[str]:
    """Return what weakens the runs."""
    found = []
    for name, count in judged.left_out.items():
        if count:
            found.append(f"target {name}: {count:,} texts are also documents; they were left out")
    for domain, amount in pools.amounts.items():
        if amount.short:
            found.append(
                f"{domain}: its pool has {amount.pool_tokens:,} tokens where {amount.wanted_tokens:,} were to be, for "
                "its documents have more bytes a token than the sample; it is repeated more often than by the target"
            )
    noises = {name: table.noise(table.final(name)) for name in table.targets}
    if loud := [n for n, noise in noises.items() if noise is not None and noise > np.std(table.final(n)) / 2]:
        found.append(
            f"between runs of one mixture the loss on {', '.join(loud)} differs half as much as between all runs"
        )
    if None in noises.values():
        found.append("no mixture was trained under two seeds, so the noise is not known; draw `replicates`")
    if outside := [domain for domain in pools.domains if domain not in table.domains]:
        found.append(f"the mixtures know nothing of {', '.join(outside)}: no run was trained on it")
    return found
