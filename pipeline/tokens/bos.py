"""The id of a token that a tokenizer.json names."""

import json
from pathlib import Path

from pipeline.errors import ConfigError


def token_id(path: Path, name: str) -> int:
    """Return the id of the token called `name`.

    Raises:
        ConfigError: the file is not a tokenizer.json, or has no such token; says which tokens it adds.
    """
    try:
        plain = json.loads(path.read_text(encoding="utf-8"))
        added = {token["content"]: token["id"] for token in plain.get("added_tokens", [])}
        vocabulary = plain["model"]["vocab"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(f"{path} is not a tokenizer.json: {error!r}") from None
    if isinstance(vocabulary, list):  # a Unigram model lists (token, score)
        vocabulary = {token: number for number, (token, _) in enumerate(vocabulary)}
    found = added.get(name, vocabulary.get(name))
    if found is None:
        shown = ", ".join(list(added)[:12]) or "none"
        raise ConfigError(f"{path} has no token {name!r}, which is to begin documents (bos). It adds: {shown}")
    return int(found)
