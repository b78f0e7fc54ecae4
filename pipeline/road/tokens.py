"""Tokens: tokenizer, tokens, (mixture: plan), sequences, megatron."""

from typing import Any

from pipeline.recipe import Recipe, Tokens
from pipeline.road.steps import Road
from pipeline.tokens.pack_params import PackingParams

EOS = "<|endoftext|>"
"""What ends a document where the recipe names nothing: the default of tokens.train."""


def vocabulary(road: Road) -> None:
    """Lay the step that trains a tokenizer, unless one is brought along."""
    tokens = road.recipe.tokens
    assert tokens is not None
    if tokens.tokenizer is None:
        size = {"vocab_size": tokens.vocab_size, "max_bytes": tokens.train_mb * 1_000_000, "seed": road.recipe.seed}
        marks = [tokens.eos or EOS, *([tokens.packing.bos] if tokens.packing.bos else [])]
        special = {"special_tokens": list(dict.fromkeys(marks))} if tokens.eos or tokens.packing.bos else {}
        road.lay("tokenizer", "tokens.train", road.documents | road.mask, **size, **special)


def encode(road: Road) -> None:
    """Lay the step that turns text into tokens."""
    assert road.recipe.tokens is not None
    roles = road.documents | _tokenizer(road.recipe) | road.mask
    road.lay("tokens", "tokens.encode", roles, eos=road.recipe.tokens.eos)


def pack(road: Road) -> None:
    """Lay the steps that mix domains and pack sequences."""
    tokens, mixture = road.recipe.tokens, road.recipe.mixture
    assert tokens is not None
    weights: dict[str, Any] = mixture.model_dump(mode="json") if mixture else {}
    buckets = {"buckets": "select"} if road.recipe.quality and road.recipe.quality.buckets else {}
    road.lay("plan", "mixture.plan", {"tokens": "tokens"} | road.mask | buckets, **weights, **_counted(tokens))
    roles = {"tokens": "tokens", "plan": "plan"} | _tokenizer(road.recipe) | road.mask | buckets
    road.lay(
        "sequences",
        "tokens.pack",
        roles,
        sequence_length=tokens.sequence_length,
        seed=road.recipe.seed,
        **_said(tokens.packing),
    )
    for name in tokens.export:
        road.lay(name, f"tokens.{name}", {"sequences": "sequences"})


def _said(packing: PackingParams) -> dict[str, Any]:
    return packing.model_dump(mode="json", exclude_defaults=True)


def _counted(tokens: Tokens) -> dict[str, Any]:
    """Return how the plan counts documents, so that packing meets it; {} where it counts by its defaults."""
    said = _said(tokens.packing)
    told: dict[str, Any] = {name: said[name] for name in ("split", "least_rest") if name in said}
    told |= {"sequence_length": tokens.sequence_length} if told else {}
    told |= {"bos": True} if tokens.packing.bos else {}
    return {"packing": told} if told else {}


def _tokenizer(recipe: Recipe) -> dict[str, str]:
    tokens = recipe.tokens
    return {"tokenizer": "tokenizer" if tokens is None or tokens.tokenizer is None else f"file:{tokens.tokenizer}"}
