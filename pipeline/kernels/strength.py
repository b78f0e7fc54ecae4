"""How well a document's losses under a ladder of models rank the models as their scores do.

Letters: N documents, M models. Losses are comparable between models of different vocabularies, such as bits per byte.

The predictive strength of Shum et al., "Predictive Data Selection: The Data That Predicts Is the Data That Teaches"
(2025): of all pairs of models, the share in which the one with the higher score has the lower loss.
"""

import numpy as np
from numba import njit


def agreement(losses_NM: np.ndarray, scores_M: np.ndarray) -> np.ndarray:
    """Return #{i < j: (score_i - score_j)(loss_i - loss_j) < 0} / (M (M - 1) / 2) as float64 [N], within 0..1.

    A pair with equal losses or equal scores does not count as agreed. NaN for a document without all losses (NaN).

    Raises:
        ValueError: fewer than two models.
    """
    _refuse_one(scores_M)
    return _agreement(np.ascontiguousarray(losses_NM, np.float64), np.ascontiguousarray(scores_M, np.float64))


def rank_agreement(losses_NM: np.ndarray, scores_M: np.ndarray) -> np.ndarray:
    """Return (1 - rho) / 2 as float64 [N], within 0..1, rho being Spearman's rank correlation of losses and scores.

    Ties share the mean of their ranks. NaN for a document without all losses (NaN), and where all losses, or all
    scores, are equal: there rho is not defined.

    Raises:
        ValueError: fewer than two models.
    """
    _refuse_one(scores_M)
    scores = np.ascontiguousarray(scores_M, np.float64)
    ranks_M = np.empty(len(scores))
    _rank(scores, ranks_M)
    return _rank_agreement(np.ascontiguousarray(losses_NM, np.float64), ranks_M)


def _refuse_one(scores_M: np.ndarray) -> None:
    if len(scores_M) < 2:
        raise ValueError(f"{len(scores_M)} models have no pairs to compare; give two or more")


@njit(cache=True, nogil=True)
def _agreement(losses, scores):
    models = len(scores)
    out = np.empty(len(losses))
    for n in range(len(losses)):
        agreed, known = 0, True
        for i in range(models):
            known &= losses[n, i] == losses[n, i]
            for j in range(i):
                agreed += (scores[i] - scores[j]) * (losses[n, i] - losses[n, j]) < 0
        out[n] = agreed / (models * (models - 1) // 2) if known else np.nan
    return out


@njit(cache=True, nogil=True)
def _rank(values, ranks):
    """Write the ranks of M values, ties sharing their mean, less the mean of all ranks."""
    for i in range(len(values)):
        below, same = 0, 0
        for j in range(len(values)):
            below += values[j] < values[i]
            same += values[j] == values[i]
        ranks[i] = below + (same - len(values)) / 2


@njit(cache=True, nogil=True)
def _rank_agreement(losses, score_ranks):
    out = np.empty(len(losses))
    ranks = np.empty(losses.shape[1])
    of_scores = (score_ranks * score_ranks).sum()
    for n in range(len(losses)):
        known = True
        for i in range(len(ranks)):
            known &= losses[n, i] == losses[n, i]
        _rank(losses[n], ranks)
        scale = np.sqrt(of_scores * (ranks * ranks).sum())
        out[n] = min(max((1 - (ranks * score_ranks).sum() / scale) / 2, 0.0), 1.0) if known and scale > 0 else np.nan
    return out
