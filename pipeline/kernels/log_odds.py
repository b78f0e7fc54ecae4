"""Which words tell a group of documents from the others: log-odds with an informative prior.

Monroe, Colaresi and Quinn 2008 ("Fightin' words", 3.5.1), the prior being how often the words are in all documents:

    z = (ln odds of the word in the group - ln odds of it in the rest) / deviation
    odds = (y + a) / (n + A - y - a),  deviation^2 = 1 / (y in the group + a) + 1 / (y in the rest + a)

y is a count of a word, n the sum of the counts, a the prior count of the word: the share it has in all, times A.

Letters: V words.
"""

import math

import numpy as np
from numba import njit

from pipeline.kernels.fasttext_hash import log

PRIOR = 1000.0
"""A: the prior speaks with the voice of so many words."""


def z_scores(inside_V: np.ndarray, everywhere_V: np.ndarray) -> np.ndarray:
    """Return z of each word, float64 [V]; 0 for a word that is nowhere, and where a side has no words at all.

    Args:
        inside_V: counts in the group, whole numbers.
        everywhere_V: counts in the group and in the rest.
    """
    out_V = np.zeros(len(inside_V))
    _z_scores(np.ascontiguousarray(inside_V, np.int64), np.ascontiguousarray(everywhere_V, np.int64), out_V)
    return out_V


@njit(cache=True, nogil=True)
def _z_scores(inside_V, everywhere_V, out_V):
    total, own = np.float64(everywhere_V.sum()), np.float64(inside_V.sum())
    rest = total - own
    if own == 0.0 or rest == 0.0:
        return
    for v in range(len(out_V)):
        if everywhere_V[v] == 0:
            continue
        prior = PRIOR * everywhere_V[v] / total
        a, b = inside_V[v] + prior, everywhere_V[v] - inside_V[v] + prior
        odds = log(a / max(own + PRIOR - a, 1.0)) - log(b / max(rest + PRIOR - b, 1.0))
        out_V[v] = odds / math.sqrt(1.0 / a + 1.0 / b)
