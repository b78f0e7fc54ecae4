"""The slow twin of pipeline.tokens.mixed: the stream written down, block by block, from its first row."""

from fractions import Fraction

from pipeline.kernels.permutation import key_of
from tests.kernels import reference_permutation


def block_counts(weights, block):
    """Rows of each name in a block: whole shares first, what is left to the largest remainders."""
    total = sum(Fraction(weight) for weight in weights.values())
    exact = {name: Fraction(weights[name]) / total * block for name in sorted(weights)}
    counts = {name: int(share) for name, share in exact.items()}
    neediest = sorted(exact, key=lambda name: (counts[name] - exact[name], name))
    for name in neediest[: block - sum(counts.values())]:
        counts[name] += 1
    return counts


def stream(orders, weights, block, seed, blocks):
    """(source, its row) for every position of the first blocks; orders[name] is an iterator of that source's rows."""
    counts, written = block_counts(weights, block), []
    for number in range(blocks):
        dealt = [(name, next(orders[name])) for name in sorted(counts) for _ in range(counts[name])]
        key = key_of(seed, number)
        written += [dealt[reference_permutation.permuted(k, block, key)] for k in range(block)]
    return written
