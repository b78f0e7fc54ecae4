"""Predictive strength of one document, pair by pair."""

from itertools import combinations


def agreement(losses, scores):
    """Return the share of pairs of models in which the higher score goes with the lower loss."""
    pairs = list(combinations(range(len(scores)), 2))
    agreed = [(scores[i] - scores[j]) * (losses[i] - losses[j]) < 0 for i, j in pairs]
    return sum(agreed) / len(pairs)
