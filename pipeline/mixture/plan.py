"""Turn mixture weights and a token budget into whole numbers of tokens by domain.

Reads the domain and length of encoded documents, and the mask; writes plan.json: by domain the tokens available, the
weight and tokens asked for, the tokens taken, epochs, and what was lost to the cap. A document costs length + 1 tokens
(its EOS), none if it is empty, and otherwise what `packing` makes of it. Where `buckets` is wired, each bucket of a
domain is a domain of its own, `web/high`. Where `weights` is wired, a step mixture.recommend or its weights.json, these
are the weights. The arithmetic is in `mixture.allocation`.
"""

import difflib
import json
import math
from collections.abc import Iterator, Mapping
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from pydantic import Field, field_validator, model_validator

from pipeline.corpus import Frozen
from pipeline.errors import ConfigError, DataError
from pipeline.kernels.document_cost import Rule, cost
from pipeline.ledger import Tally, add
from pipeline.mixture.allocation import Allocation, allocate, largest_budget, natural
from pipeline.mixture.weights import WEIGHTS_FILE, recommended, same_domains
from pipeline.schemas import BUCKET, mixed_domains
from pipeline.stage import Params, Stage, Step

WEIGHTS_SUM_TOLERANCE = 1e-6


class Counted(Frozen):
    """What packing makes of a document, as tokens.pack is told; the plan counts by it, so that it is met exactly.

    `bos`: whether a token is put before every document. `split` and `least_rest` are those of tokens.pack, and
    `sequence_length` then goes with them.
    """

    bos: bool = False
    sequence_length: int | None = Field(None, ge=8)
    split: bool = True
    least_rest: int = Field(1, ge=1)

    @model_validator(mode="after")
    def _a_length_goes_with_what_needs_it(self) -> "Counted":
        limited = not self.split or self.least_rest > 1
        if limited != (self.sequence_length is not None):
            raise ValueError("`sequence_length` goes with `split: false` or `least_rest`; give both or neither")
        return self

    def rule(self) -> Rule:
        """Return it as the kernel takes it."""
        return Rule(self.bos, self.sequence_length, self.split, self.least_rest)


class PlanParams(Params):
    """Which share of the budget each domain gets, and how often its documents may come.

    `weights` are "natural" (as available), "uniform", or a number by domain; `temperature` flattens the natural ones.
    `budget_tokens` null takes as many tokens as there are. `on_cap` says what happens when a domain has too little:
    "redistribute" lets the others give more, "shrink" lowers the budget until the weights hold, "fail" refuses.
    """

    weights: Literal["natural", "uniform"] | dict[str, float] = "natural"
    temperature: float | None = Field(None, gt=0)
    budget_tokens: int | None = Field(None, gt=0)
    max_epochs: float = Field(4, gt=0)
    on_cap: Literal["redistribute", "fail", "shrink"] = "redistribute"
    packing: Counted = Counted()

    @field_validator("weights")
    @classmethod
    def _are_shares(cls, weights: str | dict[str, float]) -> str | dict[str, float]:
        if isinstance(weights, dict):
            if wrong := [domain for domain, w in weights.items() if not (math.isfinite(w) and w >= 0)]:
                raise ValueError(f"the weight of {wrong[0]!r} is {weights[wrong[0]]}; weights are numbers from 0 up")
            if not any(weights.values()):
                raise ValueError("all weights are 0; give at least one domain a share")
        return weights

    @model_validator(mode="after")
    def _temperature_is_of_natural_weights(self) -> "PlanParams":
        if self.temperature is not None and self.weights != "natural":
            raise ValueError("temperature flattens the natural weights; leave out either it or `weights`")
        return self


def count(batches: Iterator[pa.RecordBatch], *, rule: Rule) -> Tally:
    """Return, by domain, the kept documents of a shard that can be packed, and their tokens; and what is left out."""
    counts: Tally = {}
    for batch in batches:
        if BUCKET in batch.schema.names:  # a dropped document is in no bucket, and makes no domain of its own
            batch = batch.filter(batch["keep"])
        domains = mixed_domains(batch).dictionary_encode()
        keep = batch["keep"].to_numpy(zero_copy_only=False)
        length = batch["length"].to_numpy()
        found, code = cost(np.where(keep, length, 0), rule), domains.indices.to_numpy()
        size = len(domains.dictionary)
        # Exact: a float64 holds every whole number a batch can reach.
        sums = {
            "documents": np.bincount(code, found.packed > 0, minlength=size),
            "empty": np.bincount(code, keep & (length == 0), minlength=size),
            "tokens": np.bincount(code, found.packed, minlength=size),
            "left_out_tokens": np.bincount(code, found.whole - found.packed, minlength=size),
        }
        for i, domain in enumerate(domains.dictionary.to_pylist()):
            add(counts, {domain: {name: int(values[i]) for name, values in sums.items()}})
    return counts


def weights_of(params: PlanParams, available: Mapping[str, int]) -> dict[str, float]:
    """Return the weight of every domain there is, not normalised.

    Raises:
        DataError: a weight is given to a domain that does not exist.
    """
    if params.weights == "natural" and params.temperature is None:
        return {domain: float(tokens) for domain, tokens in available.items()}
    if params.weights == "natural":
        return natural(available, params.temperature or 1.0)
    if params.weights == "uniform":
        return {domain: float(tokens > 0) for domain, tokens in available.items()}
    assert isinstance(params.weights, dict)
    for name in params.weights:
        if name not in available:
            near = difflib.get_close_matches(name, available, 1, 0.5)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise DataError(
                f"mixture.weights: there is no domain {name!r}.{hint} "
                f"The documents have {', '.join(sorted(available))}."
            )
    return {domain: params.weights.get(domain, 0.0) for domain in available}


def plan_of(params: PlanParams, counts: Mapping[str, Tally]) -> dict[str, Any]:
    """Return the plan as JSON.

    Args:
        counts: by domain, see `count`.

    Raises:
        DataError: there are no tokens, or the caps do not allow the budget; says the largest they do.
    """
    available = {domain: counts[domain]["tokens"] for domain in sorted(counts)}
    if not sum(available.values()):
        raise DataError("mixture.plan: no document is kept that has tokens; look at what the steps before dropped")
    given = weights_of(params, available)
    weights = {domain: Fraction(weight) for domain, weight in given.items()}
    if not any(available[domain] for domain, weight in weights.items() if weight):
        raise DataError(f"mixture.weights: no domain with a weight has tokens left ({_listed(available)})")
    caps = {domain: int(Fraction(params.max_epochs) * tokens) for domain, tokens in available.items()}
    budget = params.budget_tokens or sum(available.values())
    allocation = _allocated(params, budget, weights, caps)
    return {
        "budget_tokens": budget,
        "tokens": sum(allocation.tokens.values()),
        "max_epochs": params.max_epochs,
        "on_cap": params.on_cap,
        "packing": params.packing.model_dump(mode="json"),
        "notes": _notes(params, given, budget, allocation),
        "domains": {domain: _entry(domain, counts[domain], weights, allocation) for domain in available},
    }


def _allocated(params: PlanParams, budget: int, weights: dict[str, Fraction], caps: dict[str, int]) -> Allocation:
    redistribute = params.on_cap == "redistribute"
    allocation = allocate(budget, weights, caps, redistribute=redistribute)
    missing = budget - sum(allocation.tokens.values())
    if not missing:
        return allocation
    largest = largest_budget(weights, caps, redistribute=redistribute)
    if params.on_cap == "shrink" and largest:
        return Allocation(allocation.asked, allocate(largest, weights, caps).tokens, caps)
    capped = {domain: allocation.caps[domain] for domain in allocation.capped()}
    raise DataError(
        f"mixture.plan: a budget of {budget:,} tokens cannot be met: at {params.max_epochs:g} epochs at most, "
        f"{_listed(capped)} tokens are all there is. The largest budget possible is {largest:,} tokens"
        + ("" if redistribute else " with these weights")
        + "; lower budget_tokens, raise max_epochs, or change the weights"
        + ("." if redistribute else " (or on_cap: redistribute).")
    )


def _entry(domain: str, counted: Tally, weights: dict[str, Fraction], allocation: Allocation) -> dict[str, Any]:
    tokens, available = allocation.tokens[domain], counted["tokens"]
    asked, cap = allocation.asked[domain], allocation.caps[domain]
    return {
        "documents": counted["documents"],
        "available_tokens": available,
        "left_out_tokens": counted["left_out_tokens"],
        "weight": float(weights[domain] / sum(weights.values())),
        "asked_tokens": asked,
        "tokens": tokens,
        "share": tokens / max(1, sum(allocation.tokens.values())),
        "epochs": tokens / available if available else 0.0,
        "capped": asked > cap,
        "lost_to_cap": max(0, asked - cap),
    }


def _notes(params: PlanParams, given: dict[str, float], budget: int, allocation: Allocation) -> list[str]:
    notes = []
    total = math.fsum(given.values())
    if isinstance(params.weights, dict) and abs(total - 1) > WEIGHTS_SUM_TOLERANCE:
        notes.append(f"the weights sum to {total:g} and were divided by it")
    if isinstance(params.weights, dict) and (out := [domain for domain in given if domain not in params.weights]):
        notes.append(f"no weight, so nothing is taken: {', '.join(out)}")
    lost = sum(max(0, allocation.asked[d] - allocation.caps[d]) for d in allocation.asked)
    if lost and params.on_cap == "redistribute":
        notes.append(f"{lost:,} tokens that capped domains could not give are taken from the others")
    if (taken := sum(allocation.tokens.values())) < budget:
        notes.append(f"the budget of {budget:,} tokens was lowered to {taken:,}, so that the weights hold")
    return notes


def _listed(tokens: Mapping[str, int]) -> str:
    return ", ".join(f"{domain} {count:,}" for domain, count in tokens.items())


def plan(step: Step, params: PlanParams) -> None:
    """Count the tokens of every domain, then divide the budget."""
    given = _weighed(step, params)
    buckets = {"buckets": (BUCKET,)} if "buckets" in step.inputs else {}
    columns = {"tokens": ("domain", "length"), "mask": ("keep",), **buckets}
    counts = step.fold(partial(count, rule=params.packing.rule()), add, columns=columns) or {}
    if isinstance(given.weights, dict) and given is not params:
        same_domains(given.weights, counts)
    made = plan_of(given, counts)
    step.write_file("plan.json", (json.dumps(made, indent=1, ensure_ascii=False) + "\n").encode())
    step.note(**made)


def _weighed(step: Step, params: PlanParams) -> PlanParams:
    """Return the params with the weights that were recommended, if a role tells them."""
    if "weights" not in {*step.inputs, *step.files}:
        return params
    _one_says_the_weights(params)
    return params.model_copy(update={"weights": recommended(step.file("weights", WEIGHTS_FILE))})


def _one_says_the_weights(params: PlanParams) -> None:
    if params.weights != "natural" or params.temperature is not None:
        said = "weights" if params.weights != "natural" else "temperature"
        raise ConfigError(
            f"the role `weights` tells the weights, and so does the param `{said}`; leave out one of them"
        )


def check(params: PlanParams, files: Mapping[str, Path]) -> None:
    """Refuse weights that are told twice, and a file that tells none."""
    if "weights" in files:
        _one_says_the_weights(params)
        recommended(files["weights"])


PLAN = Stage(
    name="mixture.plan",
    version=2,
    params=PlanParams,
    inputs=("tokens",),
    optional=("mask", "buckets", "weights"),
    run=plan,
    check=check,
)
