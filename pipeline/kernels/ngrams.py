"""Byte n-grams of some target texts: how often each domain has them, and what any mixture of the domains says of them.

Letters: B bytes, N texts, K the longest n-gram, S strings, D domains, T targets, G n-grams, L leaves, M mixtures, X at
most sixteen of them. Text i is data[offsets[i]:offsets[i + 1]]; in front of it stand K - 1 bytes 255, which UTF-8 never
has, so every byte has K - 1 before it.

The n-gram of order k at a byte is the byte x with the k - 1 before it, its history h. What a mixture with s_d copies of
domain d says of a byte is P_K of

    P_k(x | h) = (sum_d s_d c_d(h x) + a_k P_{k-1}(x | h')) / (sum_d s_d c_d(h) + a_k),   P_0 = 1 / 256,

h' being h without its first byte and a_k > 0 the strength of an order: the hierarchical Dirichlet model (MacKay and
Peto, "A hierarchical Dirichlet language model", 1995, equation 31). Counts are linear in s, so no mixture has to be
counted: only the strings of the targets are, once for every domain. Memory grows with the targets, not with what is
counted.

A string is a key: its length in the highest byte, its bytes below, the last one lowest; so K is at most 7.
"""

from typing import NamedTuple

import numpy as np
from numba import njit

from pipeline.kernels.hashing import check_offsets, mix64

LONGEST = 7
LANES = 16
_U0, _U8, _U56, _U64 = (np.uint64(n) for n in (0, 8, 56, 64))
_ALL = np.uint64(0xFFFFFFFFFFFFFFFF)
_FRACTION, _BIAS, _FRACTION_BITS = 52, 1023, (1 << 52) - 1  # of a float64
_OFTEN, _MOST_HELD = 32, 1000  # mantissas are below 2, so a thousand of them multiply to a finite number


class Strings(NamedTuple):
    """The distinct n-grams and histories of some texts, rising: shorter ones first."""

    order: int
    keys: np.ndarray  # uint64 [S]
    slots: np.ndarray  # int64, string + 1 in an open table, 0 where free


class Tree(NamedTuple):
    """The n-grams that the targets need, each behind its parent, which is it without its first byte.

    A leaf is where a byte of a target ends: its longest n-gram whose history some domain has; a longer one would say
    the same. leaves[firsts[t]:firsts[t + 1]] are those of target t, and times how many of its bytes end there.
    """

    orders: np.ndarray  # int64 [G], from 1
    parents: np.ndarray  # int64 [G], -1 for order 1
    grams: np.ndarray  # int64 [G, D]
    histories: np.ndarray  # int64 [G, D]
    firsts: np.ndarray  # int64 [T + 1]
    leaves: np.ndarray  # int64 [L]
    times: np.ndarray  # int64 [L]


def strings(data: np.ndarray, offsets: np.ndarray, order: int) -> Strings:
    """Return the n-grams up to `order` of some texts, and their histories.

    data uint8 [B], offsets int64 [N + 1].

    Raises:
        ValueError: the order is not 1 to 7, or the offsets do not rise within the data.
    """
    if not 1 <= order <= LONGEST:
        raise ValueError(f"an n-gram has 1 to {LONGEST} bytes; got an order of {order}")
    check_offsets(data, offsets)
    keys = np.empty(2 * order * int(offsets[-1] - offsets[0]), np.uint64)
    _keys_all(data, offsets, order, keys)
    return of_keys(np.unique(keys), order)


def of_keys(keys_S: np.ndarray, order: int) -> Strings:
    """Return the strings that some distinct rising keys are."""
    slots = np.zeros(1 << max(4, (2 * len(keys_S)).bit_length()), np.int64)
    _fill(keys_S, slots)
    return Strings(order, keys_S, slots)


def count(
    data: np.ndarray,
    offsets: np.ndarray,
    domains_N: np.ndarray,
    known: Strings,
    histories_SD: np.ndarray,
    grams_SD: np.ndarray,
) -> None:
    """Add to int64 [S, D] how often each string comes as a history and as an n-gram in texts of the domains.

    data uint8 [B], offsets int64 [N + 1], domains int64 [N]. The first string is the empty history, which counts bytes.

    Raises:
        ValueError: the offsets do not rise within the data, or a domain is not 0 to D - 1.
    """
    check_offsets(data, offsets)
    if len(domains_N) and not 0 <= domains_N.min() <= domains_N.max() < histories_SD.shape[1]:
        raise ValueError(
            f"domains must be 0 to {histories_SD.shape[1] - 1}; got {domains_N.min()} to {domains_N.max()}"
        )
    _count_all(data, offsets, domains_N, known.order, known.keys, known.slots, histories_SD, grams_SD)


def tree(
    data: np.ndarray,
    offsets: np.ndarray,
    targets_N: np.ndarray,
    known: Strings,
    histories_SD: np.ndarray,
    grams_SD: np.ndarray,
) -> Tree:
    """Return the tree of the texts whose strings were counted.

    data uint8 [B], offsets int64 [N + 1], targets int64 [N] rising: of which target a text is.
    """
    seen_S = histories_SD.any(1)
    leaf_B = np.empty(int(offsets[-1] - offsets[0]), np.int64)
    _leaves_all(data, offsets, known.order, known.keys, known.slots, seen_S, leaf_B)
    targets = int(targets_N[-1]) + 1 if len(targets_N) else 0
    target_B = np.repeat(targets_N, np.diff(offsets))
    found = [np.unique(leaf_B[target_B == target], return_counts=True) for target in range(targets)]
    needed_S = np.zeros(len(known.keys), bool)
    for leaves, _ in found:
        needed_S[leaves] = True
    parents_S, histories_S = np.full(len(needed_S), -1), np.full(len(needed_S), -1)
    _link(known.keys, known.slots, needed_S, parents_S, histories_S)
    kept_G = np.flatnonzero(needed_S)
    place_S = np.full(len(needed_S) + 1, -1)  # the last is where -1 looks
    place_S[kept_G] = np.arange(len(kept_G))
    return Tree(
        (known.keys[kept_G] >> _U56).astype(np.int64),
        place_S[parents_S[kept_G]],
        grams_SD[kept_G],
        histories_SD[histories_S[kept_G]],
        np.cumsum([0, *(len(leaves) for leaves, _ in found)]),
        np.concatenate([np.empty(0, np.int64), *(place_S[leaves] for leaves, _ in found)]),
        np.concatenate([np.empty(0, np.int64), *(times for _, times in found)]),
    )


def losses(grown: Tree, strengths_K: np.ndarray, copies_MD: np.ndarray) -> np.ndarray:
    """Return bits per byte of every target under every mixture, float64 [M, T].

    strengths float64 [K] above 0, copies float64 [M, D]: how often each domain's counts are taken.
    """
    losses_MT = np.empty((len(copies_MD), len(grown.firsts) - 1))
    for lanes in _lanes(len(copies_MD)):
        likely = _likely(grown, strengths_K, copies_MD[lanes])
        losses_MT[lanes] = _bits_all(likely, grown.firsts, grown.leaves, grown.times)
    return losses_MT


def probabilities(grown: Tree, strengths_K: np.ndarray, copies_MD: np.ndarray) -> np.ndarray:
    """Return what every mixture says of every leaf, float64 [L, M]."""
    parts = [_likely(grown, strengths_K, copies_MD[lanes])[grown.leaves] for lanes in _lanes(len(copies_MD))]
    return np.concatenate([np.empty((len(grown.leaves), 0)), *parts], axis=1)


def _lanes(mixtures: int) -> list[slice]:
    return [slice(first, min(first + LANES, mixtures)) for first in range(0, mixtures, LANES)]


def _likely(grown: Tree, strengths_K: np.ndarray, copies_XD: np.ndarray) -> np.ndarray:
    """Return what some mixtures say of every n-gram, float64 [G, X]."""
    copies_DX = np.ascontiguousarray(copies_XD.T, np.float64)
    likely_GX = np.empty((len(grown.orders), len(copies_XD)))
    strengths = np.ascontiguousarray(strengths_K, np.float64)
    _likely_all(grown.orders, grown.parents, grown.grams, grown.histories, strengths, copies_DX, likely_GX)
    return likely_GX


@njit(cache=True, nogil=True)
def _key(window, length):
    """Return the key of the last bytes of a window."""
    if length == 0:
        return _U0
    return (np.uint64(length) << _U56) | (window & (_ALL >> (_U64 - _U8 * np.uint64(length))))


@njit(cache=True, nogil=True)
def _find(key, keys, slots):
    """Return the place of a string, -1 if it is none."""
    mask = np.int64(len(slots) - 1)
    slot = np.int64(mix64(key) & np.uint64(mask))
    while slots[slot] != 0:
        if keys[slots[slot] - 1] == key:
            return slots[slot] - 1
        slot = (slot + 1) & mask
    return np.int64(-1)


@njit(cache=True, nogil=True)
def _fill(keys, slots):
    mask = np.int64(len(slots) - 1)
    for place in range(len(keys)):
        slot = np.int64(mix64(keys[place]) & np.uint64(mask))
        while slots[slot] != 0:
            slot = (slot + 1) & mask
        slots[slot] = place + 1


@njit(cache=True, nogil=True)
def _keys_all(data, offsets, order, out):
    at = 0
    for text in range(len(offsets) - 1):
        before = _ALL
        for place in range(offsets[text], offsets[text + 1]):
            window = (before << _U8) | np.uint64(data[place])
            for k in range(order):
                out[at] = _key(before, k)
                out[at + 1] = _key(window, k + 1)
                at += 2
            before = window


@njit(cache=True, nogil=True)
def _count_all(data, offsets, domains, order, keys, slots, histories, grams):
    for text in range(len(offsets) - 1):
        first, last = offsets[text], offsets[text + 1] - 1
        window, domain = _ALL, domains[text]
        # From before the text on, where strings are the first byte's histories; the last byte's are no histories.
        for place in range(first - 1 if first <= last else last, last + 1):
            if place >= first:
                window = (window << _U8) | np.uint64(data[place])
            for length in range(order + 1):
                string = _find(_key(window, length), keys, slots)
                if string < 0:
                    break  # every end of a string is a string, so one with more bytes in front is none either
                grams[string, domain] += place >= first
                histories[string, domain] += place < last


@njit(cache=True, nogil=True)
def _leaves_all(data, offsets, order, keys, slots, seen, out):
    at = 0
    for text in range(len(offsets) - 1):
        before = _ALL
        for place in range(offsets[text], offsets[text + 1]):
            window = (before << _U8) | np.uint64(data[place])
            length = 1
            while length < order and seen[_find(_key(before, length), keys, slots)]:
                length += 1
            out[at] = _find(_key(window, length), keys, slots)
            at += 1
            before = window


@njit(cache=True, nogil=True)
def _link(keys, slots, needed, parents, histories):
    """Mark the parents of what is needed, and find its parent and its history."""
    for place in range(len(keys) - 1, -1, -1):
        if not needed[place]:
            continue
        length = np.int64(keys[place] >> _U56)
        histories[place] = _find(_key((keys[place] << _U8) >> np.uint64(16), length - 1), keys, slots)
        if length > 1:
            parents[place] = _find(_key(keys[place], length - 1), keys, slots)
            needed[parents[place]] = True


@njit(cache=True, nogil=True, error_model="numpy")
def _likely_all(orders, parents, grams, histories, strengths, copies, likely):
    lanes = copies.shape[1]
    numbers, wholes = np.empty(lanes), np.empty(lanes)
    for place in range(len(orders)):
        strength, parent = strengths[orders[place] - 1], parents[place]
        numbers[:], wholes[:] = 0, strength
        for domain in range(grams.shape[1]):
            whole, number = np.float64(histories[place, domain]), np.float64(grams[place, domain])
            if whole > 0:
                for lane in range(lanes):
                    wholes[lane] += whole * copies[domain, lane]
                if number > 0:
                    for lane in range(lanes):
                        numbers[lane] += number * copies[domain, lane]
        if parent < 0:
            for lane in range(lanes):
                likely[place, lane] = (numbers[lane] + strength / 256) / wholes[lane]
        else:
            for lane in range(lanes):
                likely[place, lane] = (numbers[lane] + strength * likely[parent, lane]) / wholes[lane]


@njit(cache=True, nogil=True)
def _bits_all(likely, firsts, leaves, times):
    """Return bits per byte, [X, T]: exponents are summed and mantissas multiplied, so logarithms are rare."""
    lanes = likely.shape[1]
    bits = np.zeros((lanes, len(firsts) - 1))
    raw = likely.view(np.int64)
    exponents, products, mantissas = np.empty(lanes, np.int64), np.empty(lanes), np.empty(lanes)
    raw_mantissas = mantissas.view(np.int64)
    for target in range(len(firsts) - 1):
        held, total = 0, 0
        exponents[:], products[:] = 0, 1
        for entry in range(firsts[target], firsts[target + 1]):
            leaf, count = leaves[entry], times[entry]
            total += count
            for lane in range(lanes):
                exponents[lane] += count * ((raw[leaf, lane] >> _FRACTION) - _BIAS)
                raw_mantissas[lane] = (raw[leaf, lane] & _FRACTION_BITS) | (_BIAS << _FRACTION)
            if count > _OFTEN:
                for lane in range(lanes):
                    bits[lane, target] -= count * np.log2(mantissas[lane])
                continue
            if held + count > _MOST_HELD:
                for lane in range(lanes):
                    bits[lane, target] -= np.log2(products[lane])
                held, products[:] = 0, 1
            for _ in range(count):
                for lane in range(lanes):
                    products[lane] *= mantissas[lane]
            held += count
        for lane in range(lanes):
            bits[lane, target] = (bits[lane, target] - np.log2(products[lane]) - exponents[lane]) / total
    return bits
