"""The record of a finished build: which step lies in which folder. Written last, by `pipeline.builds`."""

import json
from pathlib import Path
from typing import Any

from pipeline import store
from pipeline.corpus import Corpus
from pipeline.errors import DataError

BUILD = "build.json"


def read_record(folder: Path) -> dict[str, Any] | None:
    """Return the record of the last finished build in `folder`, or None.

    Raises:
        DataError: the record is not one of ours.
    """
    path = folder / BUILD
    if not path.exists():
        return None
    try:
        record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return record if record["steps"] is not None else None
    except (ValueError, KeyError, TypeError):
        raise DataError(f"{path} is not the record of a build; delete it and build again") from None


def corpus_of(folder: Path, stage: str) -> Corpus:
    """Return the corpus that a stage made in the finished build in `folder`.

    Raises:
        DataError: there is no finished build, no step of this stage in it, or its corpus is gone.
    """
    record = read_record(folder)
    if record is None:
        raise DataError(f"{folder} holds no finished build")
    steps = {name: step for name, step in record["steps"].items() if step["stage"] == stage}
    if not steps:
        raise DataError(f"the build {folder} has no step of {stage}, only {', '.join(record['steps'])}")
    name, step = next(iter(steps.items()))
    root = folder.parent.parent / "corpora" / step["folder"]
    corpus = store.open_corpus(root)
    if corpus is None:
        raise DataError(f"the corpus of step {name!r} of the build {folder} is gone from {root}; build it again")
    return corpus
