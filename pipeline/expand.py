"""A recipe's sections become the graph of stages: the one place that knows how the road is laid.

    sources ........ documents
    dedup .......... lines, paragraphs, bloom, exact, withdrawn, bands, candidates, similar, near, index, substrings
    quality ........ model, scores, select
    tokens ......... tokenizer, tokens, (mixture: plan), sequences, megatron

Every deciding step reads the mask of the one before it; the last mask is what is trained on. A step that shortens
documents is followed by one that writes them (without_lines ...), which all later steps read. `steps:` of a recipe adds
nodes, or changes the named ones.
"""

from dataclasses import dataclass, field
from typing import Any

from pipeline.config import Quality, Recipe, StepConfig, suggestion
from pipeline.errors import ConfigError

Steps = dict[str, StepConfig]


@dataclass
class Road:
    """The road so far: its steps, which of them plays `documents` for the next one, and which `mask`."""

    recipe: Recipe
    steps: Steps
    documents: dict[str, str] = field(default_factory=lambda: {"documents": "documents"})
    mask: dict[str, str] = field(default_factory=dict)

    def lay(self, name: str, stage: str, inputs: dict[str, str], **params: Any) -> None:
        """Add a step."""
        self.steps[name] = _step(stage, inputs, **params)

    def decide(self, name: str, stage: str, inputs: dict[str, str], **params: Any) -> None:
        """Add a step that reads documents and mask, and whose mask is the next one's."""
        self.lay(name, stage, self.documents | self.mask | inputs, **params)
        self.mask = {"mask": name}

    def shorten(self, name: str, params: dict[str, Any]) -> None:
        """Add a step that finds what to cut out of documents, and the one that cuts."""
        self.decide(name, f"dedup.{name}", {}, **params)
        self.lay(f"without_{name}", "dedup.cut", self.documents | self.mask)
        self.documents = {"documents": f"without_{name}"}


def expand(recipe: Recipe) -> Steps:
    """Return the steps of a recipe by name, sections first, in an order in which each follows its inputs.

    Raises:
        ConfigError: a section needs another one, or the steps run in a circle.
    """
    road = Road(recipe, {"documents": _documents(recipe)})
    if recipe.dedup:
        _dedup(road)
    if recipe.tokens:
        _vocabulary(road)
    early = recipe.tokens is not None and recipe.quality is not None and recipe.quality.by == "tokens"
    if early:
        _encode(road)
    if recipe.quality:
        _quality(road)
    if recipe.tokens:
        if not early:
            _encode(road)
        _pack(road)
    elif recipe.mixture:
        raise ConfigError("mixture: counts tokens, so it needs a `tokens:` section (an empty one takes the defaults)")
    return _sorted(_patched(road.steps, recipe.steps))


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


def _dedup(road: Road) -> None:
    dedup = road.recipe.dedup
    assert dedup is not None
    for name in ("lines", "paragraphs"):
        if (params := getattr(dedup, name)) is not None:
            road.shorten(name, params)
    keeper: dict[str, Any] = {"keep": dedup.keep, "priority": dedup.priority, "column": dedup.column}
    scores = _early_scores(road)
    earlier = {f"earlier.{at}": f"build:dedup.index@{build}" for at, build in enumerate(dedup.earlier)}
    exact: dict[str, str] = {}
    if dedup.bloom is not None:
        road.decide("bloom", "dedup.bloom", {}, **dedup.bloom)
    if dedup.exact:
        road.decide("exact", "dedup.exact", scores | earlier, source_cap=dedup.source_cap, **keeper)
        exact = {"exact": "exact"}
    if dedup.withdraw:
        road.decide("withdrawn", "dedup.withdraw", {"ids": f"file:{dedup.withdraw}"} | exact)
    if dedup.near:
        _near(road, scores, earlier, exact, keeper)
    if dedup.substrings is not None:
        road.shorten("substrings", dedup.substrings)


def _near(
    road: Road, scores: dict[str, str], earlier: dict[str, str], exact: dict[str, str], keeper: dict[str, Any]
) -> None:
    dedup = road.recipe.dedup
    assert dedup is not None
    documents, compared = road.documents, road.mask
    shingles = {"ngram": dedup.ngram, "unit": dedup.unit}
    sketch = {**shingles, "hashing": dedup.hashing, **dedup.shape()._asdict(), "seed": road.recipe.seed}
    road.lay("bands", "dedup.sign", documents | compared, **sketch)
    bands = {"bands": "bands"}
    inputs = documents | bands | compared | scores | earlier
    road.lay("candidates", "dedup.match", inputs, earlier_wins=dedup.earlier_wins, **keeper)
    likeness = {"threshold": dedup.threshold, "containment": dedup.containment}
    road.lay("similar", "dedup.verify", documents | {"candidates": "candidates"} | earlier, **likeness, **shingles)
    road.decide("near", "dedup.keep", {"similar": "similar"} | exact, source_cap=dedup.source_cap)
    if dedup.index != "none":
        compact = dedup.index == "compact"
        roles = documents | bands | {"compared": compared["mask"]} | road.mask | scores
        road.lay("index", "dedup.index", roles | (earlier if compact else {}), compact=compact, **likeness, **keeper)


def _early_scores(road: Road) -> dict[str, str]:
    """Return who plays `scores` when the best score decides; the scores then come before deduplication."""
    dedup, quality = road.recipe.dedup, road.recipe.quality
    if dedup is None or dedup.keep != "best_score" or dedup.column is not None:
        return {}
    if quality is None or quality.model is None:
        raise ConfigError(
            "dedup.keep: best_score needs scores before deduplication: a `dedup.column` that holds them, or a "
            "`quality.model` that was trained elsewhere"
        )
    road.lay("scores", "quality.score", road.documents | {"model.0": f"file:{quality.model}"}, models=_scored(quality))
    return {"scores": "scores"}


def _quality(road: Road) -> None:
    quality, documents = road.recipe.quality, road.documents
    assert quality is not None
    model = f"file:{quality.model}"
    if quality.positive and quality.negative:
        labels = {"positive": quality.positive.model_dump(), "negative": quality.negative.model_dump()}
        road.lay(
            "model", "quality.train", documents | road.mask, **({"seed": road.recipe.seed} | labels | quality.train)
        )
        model = "model"
    if "scores" not in road.steps:
        road.lay("scores", "quality.score", documents | {"model.0": model} | road.mask, models=_scored(quality))
    tokens = {"tokens": "tokens"} if quality.by == "tokens" else {}
    if tokens and road.recipe.tokens is None:
        raise ConfigError("quality.by: to select by tokens the recipe needs a `tokens:` section; or select by bytes")
    road.decide(
        "select",
        "quality.select",
        {"scores": "scores"} | tokens,
        share=quality.share,
        threshold=quality.threshold,
        by=quality.by,
        scope=quality.scope,
        exempt=quality.exempt,
        label_only=quality.label_only,
    )


def _scored(quality: Quality) -> list[dict[str, Any]]:
    return [{"label": quality.label}]


def _vocabulary(road: Road) -> None:
    tokens = road.recipe.tokens
    assert tokens is not None
    if tokens.tokenizer is None:
        size = {"vocab_size": tokens.vocab_size, "max_bytes": tokens.train_mb * 1_000_000, "seed": road.recipe.seed}
        special = {"special_tokens": [tokens.eos]} if tokens.eos else {}
        road.lay("tokenizer", "tokens.train", road.documents | road.mask, **size, **special)


def _encode(road: Road) -> None:
    assert road.recipe.tokens is not None
    roles = road.documents | _tokenizer(road.recipe) | road.mask
    road.lay("tokens", "tokens.encode", roles, eos=road.recipe.tokens.eos)


def _tokenizer(recipe: Recipe) -> dict[str, str]:
    tokens = recipe.tokens
    return {"tokenizer": "tokenizer" if tokens is None or tokens.tokenizer is None else f"file:{tokens.tokenizer}"}


def _pack(road: Road) -> None:
    tokens, mixture = road.recipe.tokens, road.recipe.mixture
    assert tokens is not None
    weights: dict[str, Any] = mixture.model_dump(mode="json") if mixture else {}
    road.lay("plan", "mixture.plan", {"tokens": "tokens"} | road.mask, **weights)
    roles = {"tokens": "tokens", "plan": "plan"} | _tokenizer(road.recipe) | road.mask
    road.lay("sequences", "tokens.pack", roles, sequence_length=tokens.sequence_length, seed=road.recipe.seed)
    for name in tokens.export:
        road.lay(name, f"tokens.{name}", {"sequences": "sequences"})


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
        # Candidates are of documents that were kept; who reads them needs no mask.
        takes_mask = {"documents", "tokens"} & reader.inputs.keys() and "candidates" not in reader.inputs
        if takes_mask and reader.inputs.get("mask") == mask.get("mask"):
            steps[other] = reader.model_copy(update={"inputs": reader.inputs | {"mask": name}})
        elif mask and reader.inputs.get("compared") == step.after:
            steps[other] = reader.model_copy(update={"inputs": reader.inputs | {"compared": name}})
    documents = {"documents": steps[step.after].inputs.get("documents", "documents")}
    return step.model_copy(update={"inputs": documents | mask | step.inputs})


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
