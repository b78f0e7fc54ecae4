"""corpusmill: raw Parquet text to training-ready token arrays.

`pipeline.build`, `plan`, `show`, `report`, `duplicates`, `verify_selection`, `explain`, `sample`, `init` are the
commands as functions; `PackedDataset` reads what a build has packed, `MixedDataset` several of them in one stream.
Everything is loaded when first used: importing this costs nothing.
"""

import importlib
from typing import Any

__version__ = "0.1.0"

_VERBS = ("build", "duplicates", "explain", "init", "plan", "report", "sample", "show", "verify_selection")
_HOMES = dict.fromkeys(_VERBS, "pipeline.api")
_HOMES["PackedDataset"] = "pipeline.tokens.loader"
_HOMES["MixedDataset"] = "pipeline.tokens.mixed"

__all__ = [*sorted(_HOMES), "__version__"]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'pipeline' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
