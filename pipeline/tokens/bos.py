"""The id of the token that begins documents."""

from pathlib import Path

import orjson

from pipeline.errors import ConfigError
from pipeline.tokens import engine


def token_id(path: Path, name: str) -> int:
    """Return the id of the token called `name` in a tokenizer.json.

    Raises:
        ConfigError: the file is not a tokenizer.json, or has no such token; says which tokens it adds.
    """
    known = engine.ids(path)
    if name not in known:
        added = [token["content"] for token in orjson.loads(path.read_bytes()).get("added_tokens", [])]
        shown = ", ".join(added[:12]) or "none"
        raise ConfigError(f"{path} has no token {name!r}, which is to begin documents (bos). It adds: {shown}")
    return known[name]
