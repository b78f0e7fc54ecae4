"""What makes two corpora the same: canonical JSON, its hash, and the difference of two of them.

`fingerprint = sha256(canonical_json({stage, version, params, inputs}))`. In it is what changes an output
byte; paths, workers, memory, retries, time and source code are not.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from enum import Enum
from typing import Any

from pydantic import BaseModel

SHORT = 12
"""Digits of a fingerprint that name a folder."""


def canonical_json(value: object) -> str:
    """Return the one JSON text for `value`: same value, same bytes, on every machine.

    Raises:
        TypeError: for a value without a stable text (a callable, an open file, a set).
        ValueError: for NaN or an infinity.
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False, default=_plain)


def digest(value: object) -> str:
    """Return the 64 hex digits of the sha256 of `value`'s canonical JSON."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def fingerprint(stage: str, version: int, params: BaseModel | Mapping[str, Any], inputs: Mapping[str, str]) -> str:
    """Return 64 hex digits naming the output of a stage.

    Args:
        inputs: role -> fingerprint of the corpus, or checksum of the file, that plays it.
    """
    return digest({"stage": stage, "version": version, "params": params, "inputs": dict(inputs)})


def differences(left: object, right: object, where: str = "") -> Iterator[tuple[str, object, object]]:
    """Yield (place, left value, right value) for every leaf in which two JSON values differ; an absent one is None."""
    if isinstance(left, Mapping) and isinstance(right, Mapping):
        for key in sorted(left.keys() | right.keys()):
            yield from differences(left.get(key), right.get(key), f"{where}.{key}" if where else str(key))
    elif left != right:
        yield where, left, right


def _plain(value: object) -> object:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, Enum):
        return value.value
    raise TypeError(f"{type(value).__qualname__} has no canonical JSON: make it a number, a string or a Params model")
