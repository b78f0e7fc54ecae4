"""The hierarchical Dirichlet n-gram model of bytes, counted on a mixed corpus and asked byte by byte."""

import math
from collections import Counter


def model(texts: list[bytes], order: int) -> tuple[Counter, Counter]:
    """Return how often every history and every n-gram comes in the texts."""
    histories: Counter = Counter()
    grams: Counter = Counter()
    for text in texts:
        padded = b"\xff" * (order - 1) + text
        for place in range(order - 1, len(padded)):
            for k in range(1, order + 1):
                histories[padded[place - k + 1 : place]] += 1
                grams[padded[place - k + 1 : place + 1]] += 1
    return histories, grams


def likely(counted: tuple[Counter, Counter], strengths: list[float], gram: bytes) -> float:
    """Return P of the last byte of `gram` after the others."""
    if not gram:
        return 1 / 256
    histories, grams = counted
    strength = strengths[len(gram) - 1]
    # The length of a history tells its order: b"" is that of single bytes.
    return (grams[gram] + strength * likely(counted, strengths, gram[1:])) / (histories[gram[:-1]] + strength)


def loss(counted: tuple[Counter, Counter], strengths: list[float], texts: list[bytes]) -> float:
    """Return the bits per byte of some texts."""
    order, bits, size = len(strengths), 0.0, 0
    for text in texts:
        padded = b"\xff" * (order - 1) + text
        for place in range(order - 1, len(padded)):
            bits -= math.log2(likely(counted, strengths, padded[place - order + 1 : place + 1]))
            size += 1
    return bits / size
