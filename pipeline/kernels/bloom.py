"""A Bloom filter: a set of hashes in a fixed number of bits, which may take a stranger for a member.

Letters: m bits, k probes, n values, N documents, P passages of theirs; document i has passages firsts[i] up to
firsts[i + 1].

For n values and a false-positive rate p (Bloom, "Space/time trade-offs in hash coding with allowable errors", CACM 13,
1970):

    m = -n ln p / (ln 2)^2        k = (m / n) ln 2        rate = (share of bits that are set)^k

The k bits of a value are (low + i * high) mod m (Kirsch and Mitzenmacher, "Less hashing, same performance: building a
better Bloom filter", ESA 2006), from the two halves of its 128-bit hash. A member is never taken for a stranger.
"""

import math

import numpy as np
from numba import njit

_U1, _U3, _U7 = np.uint64(1), np.uint64(3), np.uint64(7)


def shape(expected: int, false_positive: float) -> tuple[int, int]:
    """Return (m bits, k probes) for `expected` values and a rate of false positives within (0, 1); m is at least 64."""
    bits = max(64, math.ceil(-expected * math.log(false_positive) / math.log(2) ** 2))
    return bits, max(1, round(bits / expected * math.log(2)))


def empty(bits: int) -> np.ndarray:
    """Return the filter that holds nothing: uint8, eight bits each."""
    return np.zeros((bits + 7) // 8, np.uint8)


def rate(bits: int, probes: int, set_bits: int) -> float:
    """Return the probability that a stranger is taken for a member of a filter of which `set_bits` are set."""
    return float((set_bits / bits) ** probes)


def meet(
    table: np.ndarray, bits: int, probes: int, hashes_P2: np.ndarray, chosen_P: np.ndarray, firsts: np.ndarray
) -> tuple[np.ndarray, int, int]:
    """Add the chosen passages, document by document; return (seen bool [P], values added, bits newly set).

    A passage is seen if an earlier document had it, or by chance. What a document repeats within itself is not seen
    for that. `table` is changed.

    table uint8 of `empty(bits)`, hashes uint64 [P, 2], chosen bool [P], firsts int64 [N + 1].
    """
    seen_P = np.zeros(len(hashes_P2), np.bool_)
    added, newly = _meet_all(table, np.uint64(bits), probes, hashes_P2, chosen_P, firsts, seen_P)
    return seen_P, int(added), int(newly)


@njit(cache=True, nogil=True)
def _holds(table, bits, probes, low, high):
    for i in range(probes):
        bit = (low + np.uint64(i) * high) % bits
        if not (np.uint64(table[bit >> _U3]) >> (bit & _U7)) & _U1:
            return False
    return True


@njit(cache=True, nogil=True)
def _add(table, bits, probes, low, high):
    """Set the bits of a value; return how many of them were not set."""
    newly = 0
    for i in range(probes):
        bit = (low + np.uint64(i) * high) % bits
        byte = np.uint64(table[bit >> _U3])
        newly += not (byte >> (bit & _U7)) & _U1
        table[bit >> _U3] = np.uint8(byte | (_U1 << (bit & _U7)))
    return newly


@njit(cache=True, nogil=True)
def _meet_all(table, bits, probes, hashes, chosen, firsts, seen):
    added, newly = 0, 0
    for document in range(len(firsts) - 1):
        for p in range(firsts[document], firsts[document + 1]):
            seen[p] = chosen[p] and _holds(table, bits, probes, hashes[p, 0], hashes[p, 1])
        for p in range(firsts[document], firsts[document + 1]):
            if chosen[p] and not seen[p]:
                more = _add(table, bits, probes, hashes[p, 0], hashes[p, 1])
                newly += more
                added += more > 0
    return added, newly
