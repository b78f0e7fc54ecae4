"""The id of the token that begins documents."""

from pathlib import Path

from pipeline.errors import ConfigError
from pipeline.tokens import engine


def token_id(path: Path, name: str) -> int:
    """Return the id of the token called `name` in a tokenizer.json.

    Raises:
        ConfigError: the file is not a tokenizer.json, or has no such token; says which tokens it adds.
    """
    known = engine.ids(path)
    if name not in known:
        wanted = f"{name!r}, which is to begin documents (bos)"
        raise ConfigError(f"{path} has no token {wanted}. It adds: {engine.added(path)}")
    return known[name]
