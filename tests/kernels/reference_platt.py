"""The slow, obvious twin of Platt scaling: plain gradient descent on the smoothed log loss, until nothing moves."""

import math


def platt(logits, positive, rounds=200_000):
    """Return (scale, shift)."""
    yes = sum(positive)
    no = len(positive) - yes
    targets = [(yes + 1) / (yes + 2) if is_positive else 1 / (no + 2) for is_positive in positive]
    scale, shift = 0.0, 0.0
    rate = 4.0 / sum(1 + x * x for x in logits)  # the loss curves at most a quarter of the sum
    for _ in range(rounds):
        gaps = [1 / (1 + math.exp(-(scale * x + shift))) - target for x, target in zip(logits, targets, strict=True)]
        scale -= rate * sum(gap * x for gap, x in zip(gaps, logits, strict=True))
        shift -= rate * sum(gaps)
    return scale, shift
