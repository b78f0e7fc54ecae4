"""A seeded permutation of 0..n-1 that is never written down: where does position i of the shuffle lie?

A balanced Feistel network of four rounds over the fewest 2h bits that hold n, walked along its cycle until it falls
below n (Black and Rogaway, "Ciphers with Arbitrary Finite Domains", 2002). The round function is the splitmix64
finaliser of (half, key, round). Any position costs the same, so resuming at the billionth costs nothing.

numpy and the standard library only: the trainer imports this.
"""

import numpy as np

ROUNDS = 4
_GOLDEN = 0x9E3779B97F4A7C15
_ODD = 0xD1B54A32D192ED03
_MASK = (1 << 64) - 1


def permuted(positions: np.ndarray, n: int, key: int | np.ndarray) -> np.ndarray:
    """Return, [N] int64 in their order, where the permutation `key` of 0..n-1 sends each of `positions`.

    `key` is one for all positions, or [N] uint64, one for each: many permutations of as many values at once.

    Raises:
        ValueError: a position is outside 0..n-1.
    """
    positions = np.asarray(positions)
    if not len(positions):
        return np.zeros(0, np.int64)
    if positions.min() < 0 or positions.max() >= n:
        raise ValueError(f"positions {positions.min()}..{positions.max()} of a permutation of 0..{n - 1}")
    half_bits = np.uint64(max(1, -(-(n - 1).bit_length() // 2)))
    keys = np.broadcast_to(np.asarray(key, np.uint64), positions.shape)
    values = _rounds(positions.astype(np.uint64), half_bits, keys)
    # At most four times n values: each walk meets one below n after four steps on average.
    while len(outside := np.flatnonzero(values >= np.uint64(n))):
        values[outside] = _rounds(values[outside], half_bits, keys[outside])
    return values.astype(np.int64)


def key_of(*parts: int) -> int:
    """Return a 64-bit key that every one of `parts` changes: a seed and an epoch, say."""
    key = 0
    for part in parts:
        key = int(mix64(np.array([(key + part * _ODD + _GOLDEN) & _MASK], np.uint64))[0])
    return key


def keys_of(*parts: int, last: np.ndarray) -> np.ndarray:
    """Return [N] uint64, key_of(*parts, l) for every l of `last` [N]: the keys of many epochs or blocks at once."""
    first = np.uint64((key_of(*parts) + _GOLDEN) & _MASK)
    return mix64(last.astype(np.uint64) * np.uint64(_ODD) + first)


def mix64(values: np.ndarray) -> np.ndarray:
    """Return the splitmix64 finaliser of each uint64."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def _rounds(values: np.ndarray, half_bits: np.uint64, keys: np.ndarray) -> np.ndarray:
    mask = (np.uint64(1) << half_bits) - np.uint64(1)
    left, right = values >> half_bits, values & mask
    for number in range(ROUNDS):
        round_keys = keys ^ np.uint64(number * _ODD & _MASK)
        left, right = right, left ^ (mix64(right * np.uint64(_GOLDEN) ^ round_keys) & mask)
    return (left << half_bits) | right
