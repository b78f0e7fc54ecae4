"""Tokens: tokenizer, tokens, (mixture), sequences, exports."""

from pipeline.errors import ConfigError
from pipeline.recipe import Recipe
from pipeline.road import mixture
from pipeline.road.steps import Road


def vocabulary(road: Road) -> None:
    """Lay the step that trains a tokenizer, unless one is brought along."""
    tokens = road.recipe.tokens
    assert tokens is not None
    if tokens.tokenizer is None:
        size = {"vocab_size": tokens.vocab_size, "max_bytes": tokens.train_mb * 1_000_000, "seed": road.recipe.seed}
        cut = {"kind": tokens.kind, "split": tokens.split, "digits": tokens.digits, "weights": _train_weights(road)}
        special = {"special_tokens": [tokens.eos]} if tokens.eos else {}
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
    buckets = mixture.mixture(road)
    roles = {"tokens": "tokens", "plan": mixture.PLAN} | _tokenizer(road.recipe) | road.mask | buckets
    road.lay("sequences", "tokens.pack", roles, sequence_length=tokens.sequence_length, seed=road.recipe.seed)
    for name in tokens.export:
        road.lay(name, f"tokens.{name}", {"sequences": "sequences"})


def _train_weights(road: Road) -> Any:
    tokens, mixture = road.recipe.tokens, road.recipe.mixture
    assert tokens is not None
    if tokens.train_weights != "mixture":
        return tokens.train_weights
    if mixture is None:
        raise ConfigError("tokens.train_weights: mixture takes the weights of the section `mixture`; there is none")
    if isinstance(mixture.weights, dict):
        return {domain: weight for domain, weight in mixture.weights.items() if weight}
    return mixture.weights


def _tokenizer(recipe: Recipe) -> dict[str, str]:
    tokens = recipe.tokens
    return {"tokenizer": "tokenizer" if tokens is None or tokens.tokenizer is None else f"file:{tokens.tokenizer}"}
