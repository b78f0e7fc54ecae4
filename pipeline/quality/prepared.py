"""What is worked out once for all workers: arrays in a folder, written whole or not at all, mapped by its readers."""

import os
import shutil
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from pipeline.files import sync_folder

MAPPED_BYTES = 1 << 16
"""Smaller arrays are read: an empty file cannot be mapped, and a page is the least that a map takes."""


def write_once(target: Path, make: Callable[[], Mapping[str, np.ndarray]]) -> Path:
    """Return the folder `target` with NAME.npy for each array that `make` returns, which is asked if it is not there.

    Of two that write it at once the first wins. What `make` raises is raised, and nothing is left.
    """
    if target.is_dir():
        return target
    made, folder = make(), target.parent
    draft = folder / f".{uuid.uuid4().hex}"
    draft.mkdir(parents=True)
    for name, array in made.items():
        with (draft / f"{name}.npy").open("wb") as file:
            np.save(file, array)
            file.flush()
            os.fsync(file.fileno())
    try:
        os.rename(draft, target)
    except OSError:
        shutil.rmtree(draft)
        if not target.is_dir():
            raise
    sync_folder(folder)
    return target


def mapped(folder: Path) -> dict[str, np.ndarray]:
    """Return the arrays in a folder by name, read-only and mapped, so that a machine holds one copy of them."""
    return {
        file.stem: np.load(file, mmap_mode="r" if file.stat().st_size > MAPPED_BYTES else None)
        for file in folder.glob("*.npy")
    }
