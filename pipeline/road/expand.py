"""A recipe's sections become the graph of stages: the one place that knows how the road is laid.

    sources ........ documents
    filters ........ filtered, cleaned
    dedup .......... lines, paragraphs, bloom, exact, withdrawn, bands, candidates, similar, near, index, substrings
    decontaminate .. contaminated
    quality ........ losses, strength, model, scores, select
    tokens ......... tokenizer, tokens, (mixture), sequences, megatron
    mixture ........ clusters, plan; or available, surface, mixtures, runs, fit, recommended, plan

Every deciding step reads the mask of the one before it; the last mask is what is trained on. A step that shortens
documents is followed by one that writes them (without_lines ...), which all later steps read. `steps:` of a recipe adds
nodes, or changes the named ones.
"""

from pipeline.config import suggestion
from pipeline.errors import ConfigError
from pipeline.recipe import Recipe, StepConfig
from pipeline.road import decontaminate, dedup, filters, quality, tokens
from pipeline.road.steps import Road, Steps, step


def expand(recipe: Recipe) -> Steps:
    """Return the steps of a recipe by name, sections first, in an order in which each follows its inputs.

    Raises:
        ConfigError: a section needs another one, or the steps run in a circle.
    """
    road = Road(recipe, {"documents": _documents(recipe)})
    if recipe.filters:
        filters.filters(road)
    if recipe.dedup:
        dedup.dedup(road)
    if recipe.decontaminate:
        decontaminate.decontaminate(road)
    if recipe.tokens:
        tokens.vocabulary(road)
    early = recipe.tokens is not None and recipe.quality is not None and recipe.quality.by == "tokens"
    if early:
        tokens.encode(road)
    if recipe.quality:
        quality.quality(road)
    if recipe.tokens:
        if not early:
            tokens.encode(road)
        tokens.pack(road)
    elif recipe.mixture:
        raise ConfigError("mixture: counts tokens, so it needs a `tokens:` section (an empty one takes the defaults)")
    return _sorted(_patched(road.steps, recipe.steps))


def _documents(recipe: Recipe) -> StepConfig:
    sources = {name: source.model_dump(exclude={"paths"}, mode="json") for name, source in recipe.sources.items()}
    ingest = recipe.ingest
    return step(
        "ingest",
        sources=sources,
        quarantine_limit=ingest.quarantine_limit,
        unreadable_files=ingest.unreadable_files,
        shard_bytes=ingest.shard_mb << 20,
    )


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


def _inserted(steps: Steps, name: str, new: StepConfig) -> StepConfig:
    """Return a deciding step that reads the mask of the step it comes `after`; in `steps`, its readers read this one.

    What comes after `documents` comes before every mask.

    Raises:
        ConfigError: there is no such step so far.
    """
    if new.after not in steps:
        raise ConfigError(f"steps.{name}.after: {new.after!r} is not a step{suggestion(new.after, list(steps))}")
    mask = {} if new.after == "documents" else {"mask": new.after}
    for other, reader in steps.items():
        # Candidates are of documents that were kept; who reads them needs no mask.
        takes_mask = {"documents", "tokens"} & reader.inputs.keys() and "candidates" not in reader.inputs
        if takes_mask and reader.inputs.get("mask") == mask.get("mask"):
            steps[other] = reader.model_copy(update={"inputs": reader.inputs | {"mask": name}})
        elif mask and reader.inputs.get("compared") == new.after:
            steps[other] = reader.model_copy(update={"inputs": reader.inputs | {"compared": name}})
    documents = {"documents": steps[new.after].inputs.get("documents", "documents")}
    return new.model_copy(update={"inputs": documents | mask | new.inputs})


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
