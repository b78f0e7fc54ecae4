"""Libraries that only mixtures need, loaded when they are."""

import importlib
from typing import Any

from pipeline.errors import ConfigError


def library(name: str) -> Any:
    """Return a module of the extra `mixture`.

    Raises:
        ConfigError: it is not installed; says how it is.
    """
    try:
        return importlib.import_module(name)
    except ImportError:
        raise ConfigError(
            f"laws of mixtures need {name.split('.')[0]}, which is not installed: pip install 'corpusmill[mixture]'"
        ) from None
