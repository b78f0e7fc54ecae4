"""Several scorers as one: the highest bucket over them (Su et al. 2024, Nemotron-CC, "Model-based Quality Labeling").

Each scorer ranks all documents; the ranking is cut into buckets of equal weight, 0 the worst. A document's score is the
highest of its buckets, so one scorer that thinks well of it is enough.

Letters: N documents.
"""

from collections.abc import Mapping

import numpy as np
import pyarrow as pa

Edges = Mapping[str, tuple[float, ...]]
"""Scope -> the lowest score of each bucket but the first, rising."""


def placed(scores_N: np.ndarray, scopes_N: pa.DictionaryArray, edges: Edges) -> np.ndarray:
    """Return int64 [N], the bucket of each score: how many edges of its scope it reaches; of NaN and no scope 0."""
    places = np.zeros(len(scores_N), np.int64)
    codes = scopes_N.indices.to_numpy(zero_copy_only=False)
    known = ~np.isnan(scores_N)
    for code, scope in enumerate(scopes_N.dictionary.to_pylist()):
        mine = known & (codes == code)
        places[mine] = np.searchsorted(np.asarray(edges.get(scope, ()), np.float32), scores_N[mine], side="right")
    return places


def best(voices: Mapping[str, np.ndarray], scopes_N: pa.DictionaryArray, points: Mapping[str, Edges]) -> np.ndarray:
    """Return float32 [N], the highest bucket over the scorers; NaN where none has a number.

    Args:
        voices: column -> float32 [N], NaN where the scorer says nothing.
        points: column -> edges by scope.
    """
    scores = np.full(len(scopes_N), np.nan, np.float32)
    for column, values_N in voices.items():
        buckets = placed(values_N, scopes_N, points[column]).astype(np.float32)
        scores = np.fmax(scores, np.where(np.isnan(values_N), np.float32(np.nan), buckets))
    return scores
