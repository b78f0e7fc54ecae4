"""Tokens: tokenizer, tokens, (mixture), sequences, exports."""

from typing import Any

from pipeline.errors import ConfigError
from pipeline.recipe import Recipe, Tokens
from pipeline.road import mixture
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
        cut = {"kind": tokens.kind, "split": tokens.split, "digits": tokens.digits, "weights": _train_weights(road)}
        marks = [tokens.eos or EOS, *([tokens.packing.bos] if tokens.packing.bos else [])]
        special = {"special_tokens": list(dict.fromkeys(marks))} if tokens.eos or tokens.packing.bos else {}
        sentences = {"parallel": f"file:{tokens.parallel}"} if tokens.parallel else {}
        road.lay("tokenizer", "tokens.train", road.documents | road.mask | sentences, **size, **cut, **special)


def encode(road: Road) -> None:
    """Lay the step that turns text into tokens."""
    assert road.recipe.tokens is not None
    roles = road.documents | _tokenizer(road.recipe) | road.mask
    tokens = road.recipe.tokens
    road.lay("tokens", "tokens.encode", roles, eos=tokens.eos, segmentation=tokens.segmentation)


def pack(road: Road) -> None:
    """Lay the steps that mix domains and pack sequences."""
    tokens = road.recipe.tokens
    assert tokens is not None
    buckets = mixture.mixture(road, _counted(tokens))
    roles = {"tokens": "tokens", "plan": mixture.PLAN} | _tokenizer(road.recipe) | road.mask | buckets
    said = {"sequence_length": tokens.sequence_length, "seed": road.recipe.seed} | _said(tokens.packing)
    road.lay("sequences", "tokens.pack", roles, **said)
    for name in tokens.export:
        road.lay(name, f"tokens.{name}", {"sequences": "sequences"})


def _train_weights(road: Road) -> Any:
    tokens, mixed = road.recipe.tokens, road.recipe.mixture
    assert tokens is not None
    if tokens.train_weights != "mixture":
        return tokens.train_weights
    if mixed is None:
        raise ConfigError("tokens.train_weights: mixture takes the weights of the section `mixture`; there is none")
    if isinstance(mixed.weights, dict):
        return {domain: weight for domain, weight in mixed.weights.items() if weight}
    return mixed.weights


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
