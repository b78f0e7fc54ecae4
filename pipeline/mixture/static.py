"""Directions of documents by given vectors of words: the mean vector of a document's features in a fastText model.

The features are those of fastText: words, and whatever character n-grams and word n-grams the model has. What it was
trained to tell does not matter, its labels are not asked.
"""

from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from pipeline.errors import DataError
from pipeline.kernels.fasttext_average import averages as kernel
from pipeline.kernels.fasttext_features import Lookup, frozen, lookup_of
from pipeline.kernels.fasttext_model import parse
from pipeline.kernels.spherical import directions

MODEL_FILE = "model.bin"


class Vectors(NamedTuple):
    """How text becomes rows, and the rows, float32 [R, D]."""

    lookup: Lookup
    rows_RD: np.ndarray


def averages(path: Path, data: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Return the direction of each document by the vectors in `path`, int16 [N, D]; zeros where it knows no feature.

    data uint8 is UTF-8, offsets int64 [N + 1].
    """
    status = path.stat()
    vectors = _vectors(path, status.st_mtime_ns, status.st_size)
    out_ND = np.zeros((len(offsets) - 1, vectors.rows_RD.shape[1]), np.float32)
    rows = np.arange(len(out_ND))
    nothing = frozen(np.empty(0, np.float32))
    kernel(frozen(data), frozen(offsets), rows, vectors.lookup, vectors.rows_RD, nothing, out_ND)
    return directions(out_ND)


def check(path: Path) -> None:
    """Refuse a file whose vectors cannot be used.

    Raises:
        DataError: it is no supervised fastText model, or it is damaged.
    """
    try:
        lookup_of(parse(np.memmap(path, np.uint8, "r")))
    except (OSError, ValueError) as error:
        raise DataError(
            f"mixture.cluster: {path} cannot be read as word vectors: {error}. Wire a supervised fastText .bin or .ftz "
            "as `vectors`, or none"
        ) from None


@lru_cache(maxsize=2)
def _vectors(path: Path, mtime_ns: int, size: int) -> Vectors:
    model = parse(np.memmap(path, np.uint8, "r"))
    lookup = lookup_of(model)
    rows_RD = model.inputs_RD if isinstance(model.inputs_RD, np.ndarray) else model.inputs_RD[:]
    arrays: dict[str, Any] = {
        name: frozen(value) for name, value in lookup._asdict().items() if isinstance(value, np.ndarray)
    }
    return Vectors(lookup._replace(**arrays), frozen(np.asarray(rows_RD)))
