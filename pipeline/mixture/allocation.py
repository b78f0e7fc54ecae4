"""Whole numbers of tokens by domain: shares of a budget, under caps, adding up exactly.

Domain d is asked for T w_d / sum(w) and may give C_d = floor(E A_d), with budget T, weights w, E epochs at most and A_d
tokens available. What a cap frees goes to the domains below their caps in proportion to their weights, again and again
until no further one is capped. The arithmetic is rational, so no rounding can lose a token; the last tokens go by
largest remainder, ties by name.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

Weights = Mapping[str, Fraction]


@dataclass(frozen=True, slots=True)
class Allocation:
    """What the domains give, and what their weights alone would have asked of them."""

    asked: dict[str, int]
    tokens: dict[str, int]
    caps: dict[str, int]

    def capped(self) -> list[str]:
        """Return the domains that were asked for more than they may give."""
        return [domain for domain, asked in self.asked.items() if asked > self.caps[domain]]


def natural(available: Mapping[str, int], temperature: float = 1.0) -> dict[str, float]:
    """Return weights in proportion to what is available, to the power of 1 / temperature; 1 leaves them as they are.

    A higher temperature flattens: at infinity all domains that have anything weigh the same.
    """
    sharpness, total, largest = 1 / temperature, sum(available.values()), max(available.values(), default=0)
    if largest and not ((largest / total) ** sharpness):  # all shares vanish; ratios to the largest do not
        total = largest
    powers = {d: (n / total) ** sharpness if n else 0.0 for d, n in available.items()}
    # Twelve digits: a machine's last bit of `pow` must not move a token.
    return {domain: round(power / sum(powers.values()), 12) for domain, power in powers.items()}


def allocate(budget: int, weights: Weights, caps: Mapping[str, int], *, redistribute: bool = True) -> Allocation:
    """Return how many tokens each domain gives; they add up to `budget` unless the caps forbid it.

    Without `redistribute` a capped domain gives its cap and the others what they were asked for.
    """
    asked = shares(budget, weights)
    tokens = {domain: min(asked[domain], caps[domain]) for domain in weights}
    if redistribute and sum(tokens.values()) < budget:
        tokens = _filled(budget, weights, caps)
    return Allocation(asked, tokens, dict(caps))


def largest_budget(weights: Weights, caps: Mapping[str, int], *, redistribute: bool = True) -> int:
    """Return the largest budget that the caps allow: with redistribution, or else with the weights as they are."""
    weighing = [domain for domain in weights if weights[domain]]
    if redistribute:
        return sum(caps[domain] for domain in weighing)
    total = sum(weights.values())
    return min(int(caps[domain] * total / weights[domain]) for domain in weighing)


def shares(budget: int, weights: Weights) -> dict[str, int]:
    """Return `budget` in whole numbers in proportion to `weights`, by largest remainder."""
    total = sum(weights.values())
    exact = {domain: budget * weight / total for domain, weight in weights.items()}
    whole = {domain: int(share) for domain, share in exact.items()}
    left = budget - sum(whole.values())
    for domain in sorted(exact, key=lambda d: (whole[d] - exact[d], d))[:left]:
        whole[domain] += 1
    return whole


def _filled(budget: int, weights: Weights, caps: Mapping[str, int]) -> dict[str, int]:
    tokens: dict[str, int] = {}
    open_weights = {domain: weight for domain, weight in weights.items() if weight}
    left = budget
    while open_weights:
        total = sum(open_weights.values())
        full = [domain for domain, weight in open_weights.items() if left * weight >= caps[domain] * total]
        if not full:
            tokens |= shares(left, open_weights)
            break
        for domain in full:
            tokens[domain] = caps[domain]
            left -= caps[domain]
            del open_weights[domain]
    return {domain: tokens.get(domain, 0) for domain in weights}
