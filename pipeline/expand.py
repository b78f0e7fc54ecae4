"""A recipe's sections become the graph of stages: the one place that knows how the road is laid.

    sources ........ documents
    dedup .......... exact, bands, candidates, similar, near
    quality ........ model, scores, select
    tokens ......... tokenizer, tokens, (mixture: plan), sequences, megatron

Every deciding step reads the mask of the one before it; the last mask is what is trained on. `steps:` of a recipe
adds nodes, or changes the named ones.
"""

from typing import Any

from pipeline.config import Recipe, StepConfig, suggestion
from pipeline.errors import ConfigError

Steps = dict[str, StepConfig]


def expand(recipe: Recipe) -> Steps:
    """Return the steps of a recipe by name, sections first, in an order in which each follows its inputs.

    Raises:
        ConfigError: a section needs another one, or the steps run in a circle.
    """
    steps: Steps = {"documents": _documents(recipe)}
    mask: dict[str, str] = {}
    if recipe.dedup:
        mask = _dedup(recipe, steps, mask)
    if recipe.tokens:
        _vocabulary(recipe, steps, mask)
    early = recipe.tokens is not None and recipe.quality is not None and recipe.quality.by == "tokens"
    if early:
        _encode(recipe, steps, mask)
    if recipe.quality:
        mask = _quality(recipe, steps, mask)
    if recipe.tokens:
        if not early:
            _encode(recipe, steps, mask)
        _pack(recipe, steps, mask)
    elif recipe.mixture:
        raise ConfigError("mixture: counts tokens, so it needs a `tokens:` section (an empty one takes the defaults)")
    return _sorted(_patched(steps, recipe.steps))


def _documents(recipe: Recipe) -> StepConfig:
    sources = {name: source.model_dump(exclude={"paths"}, mode="json") for name, source in recipe.sources.items()}
    ingest = recipe.ingest
    return _step(
        "ingest",
        sources=sources,
        quarantine_limit=ingest.quarantine_limit,
        unreadable_files=ingest.unreadable_files,
        shard_bytes=ingest.shard_mb << 20,
    )


def _dedup(recipe: Recipe, steps: Steps, mask: dict[str, str]) -> dict[str, str]:
    dedup = recipe.dedup
    assert dedup is not None
    keeper: dict[str, Any] = {"keep": dedup.keep, "priority": dedup.priority, "column": dedup.column}
    documents = {"documents": "documents"}
    exact: dict[str, str] = {}
    if dedup.exact:
        steps["exact"] = _step("dedup.exact", documents | mask, source_cap=dedup.source_cap, **keeper)
        mask, exact = {"mask": "exact"}, {"exact": "exact"}
    if dedup.near:
        sketch = {"ngram": dedup.ngram, **dedup.shape()._asdict(), "seed": recipe.seed}
        steps["bands"] = _step("dedup.sign", documents | mask, **sketch)
        steps["candidates"] = _step("dedup.match", documents | {"bands": "bands"} | mask, **keeper)
        likeness: dict[str, Any] = {"threshold": dedup.threshold, "containment": dedup.containment}
        likeness |= {"ngram": dedup.ngram, "unit": dedup.unit}
        steps["similar"] = _step("dedup.verify", documents | {"candidates": "candidates"}, **likeness)
        roles = documents | {"similar": "similar"} | mask | exact
        steps["near"] = _step("dedup.keep", roles, source_cap=dedup.source_cap)
        mask = {"mask": "near"}
    return mask


def _quality(recipe: Recipe, steps: Steps, mask: dict[str, str]) -> dict[str, str]:
    quality = recipe.quality
    assert quality is not None
    documents = {"documents": "documents"}
    model = f"file:{quality.model}"
    if quality.positive and quality.negative:
        labels = {"positive": quality.positive.model_dump(), "negative": quality.negative.model_dump()}
        steps["model"] = _step("quality.train", documents | mask, **({"seed": recipe.seed} | labels | quality.train))
        model = "model"
    steps["scores"] = _step("quality.score", documents | {"model": model} | mask, label=quality.label)
    tokens = {"tokens": "tokens"} if quality.by == "tokens" else {}
    if tokens and recipe.tokens is None:
        raise ConfigError("quality.by: to select by tokens the recipe needs a `tokens:` section; or select by bytes")
    steps["select"] = _step(
        "quality.select",
        documents | {"scores": "scores"} | tokens | mask,
        share=quality.share,
        threshold=quality.threshold,
        by=quality.by,
        scope=quality.scope,
        exempt=quality.exempt,
        label_only=quality.label_only,
    )
    return {"mask": "select"}


def _vocabulary(recipe: Recipe, steps: Steps, mask: dict[str, str]) -> None:
    tokens = recipe.tokens
    assert tokens is not None
    if tokens.tokenizer is None:
        size = {"vocab_size": tokens.vocab_size, "max_bytes": tokens.train_mb * 1_000_000, "seed": recipe.seed}
        special = {"special_tokens": [tokens.eos]} if tokens.eos else {}
        steps["tokenizer"] = _step("tokens.train", {"documents": "documents"} | mask, **size, **special)


def _encode(recipe: Recipe, steps: Steps, mask: dict[str, str]) -> None:
    assert recipe.tokens is not None
    roles = {"documents": "documents"} | _tokenizer(recipe) | mask
    steps["tokens"] = _step("tokens.encode", roles, eos=recipe.tokens.eos)


def _tokenizer(recipe: Recipe) -> dict[str, str]:
    tokens = recipe.tokens
    return {"tokenizer": "tokenizer" if tokens is None or tokens.tokenizer is None else f"file:{tokens.tokenizer}"}


def _pack(recipe: Recipe, steps: Steps, mask: dict[str, str]) -> None:
    tokens, mixture = recipe.tokens, recipe.mixture
    assert tokens is not None
    weights: dict[str, Any] = mixture.model_dump(mode="json") if mixture else {}
    steps["plan"] = _step("mixture.plan", {"tokens": "tokens"} | mask, **weights)
    shape = {"sequence_length": tokens.sequence_length, "seed": recipe.seed}
    steps["sequences"] = _step("tokens.pack", {"tokens": "tokens", "plan": "plan"} | _tokenizer(recipe) | mask, **shape)
    for name in tokens.export:
        steps[name] = _step(f"tokens.{name}", {"sequences": "sequences"})


def _step(stage: str, inputs: dict[str, str] | None = None, **params: Any) -> StepConfig:
    return StepConfig(stage=stage, inputs=inputs or {}, params=params)


def _patched(steps: Steps, changes: Steps) -> Steps:
    """Return the steps with the recipe's own: a new name adds a node, a known one changes what it names."""
    result = dict(steps)
    for name, change in changes.items():
        old = steps.get(name)
        if old is None or change.stage not in ("", old.stage):
            if not change.stage:
                raise ConfigError(f"steps.{name}: names no stage, and no section makes a step {name!r} to change")
            result[name] = _inserted(result, name, change) if change.after else change
        else:
            result[name] = StepConfig(
                stage=old.stage,
                version=change.version,
                inputs=old.inputs | change.inputs,
                params=old.params | change.params,
            )
    return result


def _inserted(steps: Steps, name: str, step: StepConfig) -> StepConfig:
    """Return a deciding step that reads the mask of the step it comes `after`; in `steps`, its readers read this one.

    What comes after `documents` comes before every mask.

    Raises:
        ConfigError: there is no such step so far.
    """
    if step.after not in steps:
        raise ConfigError(f"steps.{name}.after: {step.after!r} is not a step{suggestion(step.after, list(steps))}")
    mask = {} if step.after == "documents" else {"mask": step.after}
    for other, reader in steps.items():
        if {"documents", "tokens"} & reader.inputs.keys() and reader.inputs.get("mask") == mask.get("mask"):
            steps[other] = reader.model_copy(update={"inputs": reader.inputs | {"mask": name}})
    return step.model_copy(update={"inputs": {"documents": "documents"} | mask | step.inputs})


def _sorted(steps: Steps) -> Steps:
    """Return the steps so that each follows the steps it reads, otherwise in the order given."""
    result: Steps = {}

    def visit(name: str, path: tuple[str, ...]) -> None:
        if name in path:
            raise ConfigError(f"steps run in a circle: {' -> '.join([*path, name])}")
        if name in steps and name not in result:
            for reference in steps[name].inputs.values():
                visit(reference, (*path, name))
            result[name] = steps[name]

    for name in steps:
        visit(name, ())
    return result
