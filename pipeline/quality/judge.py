"""How good a classifier is, by documents that it never saw. Pure functions of scores and classes.

Shapes: N documents; `scores_N` are probabilities of being positive, `positive_N` says which documents are.
"""

from typing import Any

import numpy as np

SHARES = (0.05, 0.10, 0.20, 0.50)
BINS = 10
BARELY = 0.02
"""A classifier whose AUC is not this much above that of the length alone has hardly learned anything else."""


def auc(scores_N: np.ndarray, positive_N: np.ndarray) -> float | None:
    """Return the probability that a positive document scores above a negative one, ties counted half.

    None if one of the classes is empty.
    """
    n_positive = int(np.count_nonzero(positive_N))
    n_negative = len(positive_N) - n_positive
    if not n_positive or not n_negative:
        return None
    _, places, counts = np.unique(scores_N, return_inverse=True, return_counts=True)
    middle_ranks = np.cumsum(counts) - (counts - 1) / 2
    rank_sum = float(middle_ranks[places[positive_N]].sum())
    return (rank_sum - n_positive * (n_positive + 1) / 2) / (n_positive * n_negative)


def precision(scores_N: np.ndarray, positive_N: np.ndarray, share: float) -> float | None:
    """Return which part of the best `share` of documents is positive; None for no documents.

    Of documents that tie at the cut the same part counts as of all that tie there, so no order decides.
    """
    kept = max(round(share * len(scores_N)), 1)
    if not len(scores_N):
        return None
    cut = np.sort(scores_N)[len(scores_N) - kept]
    above, tied = scores_N > cut, scores_N == cut
    rest = (kept - int(above.sum())) * float(positive_N[tied].mean())
    return float((positive_N[above].sum() + rest) / kept)


def brier(scores_N: np.ndarray, positive_N: np.ndarray) -> float | None:
    """Return the mean squared difference of probability and outcome (Brier 1950); None for no documents."""
    return float(np.mean((scores_N - positive_N) ** 2)) if len(scores_N) else None


def curve(scores_N: np.ndarray, positive_N: np.ndarray) -> list[dict[str, float]]:
    """Return by tenth of the scores, from below: the mean score, the positive share, and how many documents there are.

    A tenth without documents is left out.
    """
    tenths = np.minimum((scores_N * BINS).astype(np.int64), BINS - 1)
    bins = [(scores_N[tenths == tenth], positive_N[tenths == tenth]) for tenth in range(BINS)]
    return [
        {"score": float(scores.mean()), "positive": float(positive.mean()), "documents": len(scores)}
        for scores, positive in bins
        if len(scores)
    ]


def calibration_error(bins: list[dict[str, float]]) -> float | None:
    """Return the mean distance of score and positive share, weighted by documents (ECE; Naeini et al. 2015)."""
    documents = sum(b["documents"] for b in bins)
    return sum(b["documents"] * abs(b["score"] - b["positive"]) for b in bins) / documents if documents else None


def judged(scores_N: np.ndarray, positive_N: np.ndarray) -> dict[str, Any]:
    """Return Brier score, calibration error and curve, rounded to six digits."""
    bins = curve(scores_N, positive_N)
    return {
        "brier": _rounded(brier(scores_N, positive_N)),
        "calibration_error": _rounded(calibration_error(bins)),
        "curve": [{name: round(value, 6) for name, value in b.items()} for b in bins],
    }


def verdict(scores_N: np.ndarray, positive_N: np.ndarray, bytes_N: np.ndarray) -> dict[str, Any]:
    """Return the facts on the held-out part: AUC, precision by kept share, and what the length alone would do.

    `warning` says where the classifier is hardly better than the length of documents.
    """
    area, by_length = auc(scores_N, positive_N), auc(bytes_N, positive_N)
    if by_length is not None:
        by_length = max(by_length, 1 - by_length)  # short documents may as well be the good ones
    facts: dict[str, Any] = {
        "held_out_auc": area,
        "held_out_auc_of_length": by_length,
        "held_out_precision": {f"{share:.0%}": _rounded(precision(scores_N, positive_N, share)) for share in SHARES},
    }
    if area is not None and by_length is not None and area < by_length + BARELY:
        facts["warning"] = (
            f"the classifier's AUC of {area:.3f} is hardly better than the {by_length:.3f} that the length of a "
            "document reaches alone: it may have learned little else, or the classes may differ in little else"
        )
    return facts


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 6)
