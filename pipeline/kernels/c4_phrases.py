"""Phrases in the lines of a text, small and capital ASCII letters alike; a part of `c4_lines`.

Letters: P phrases, Q pairs of letters with which they begin, Z words of a mask (see `text_masks`).

Where a phrase may begin is asked of the whole text first: by vector instructions if there are few pairs, by a table of
bits if there are many. Only what passes is compared.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numba import njit

from pipeline.kernels.character_kinds import DIGIT, LETTER, character, character_before
from pipeline.kernels.simd import address, equal_small, load8, load64, store64
from pipeline.kernels.text_masks import next_one, source

LOREM, JAVASCRIPT, POLICY, BAD = 1, 2, 4, 8
_ZERO, _ONE, _LETTER_BITS, _LAST = np.uint64(0), np.uint64(1), np.uint64(31), np.uint64(1 << 63)
_LOWER = np.arange(256, dtype=np.uint8)
_LOWER[65:91] += 32
_PAIRS = 1024
_FEW_PAIRS = 16


class Phrases(NamedTuple):
    """Phrases by their first two letters: those of pair k are firsts[k] up to firsts[k + 1]."""

    data: np.ndarray  # uint8
    offsets: np.ndarray  # int64 [P + 1]
    classes: np.ndarray  # uint8 [P]
    firsts: np.ndarray  # int64 [1025]
    bits: np.ndarray  # uint64 [32]: bit b of bits[a] is set if there are phrases that begin with a and b
    pairs: np.ndarray  # uint8 [Q, 2]: the first two bytes, with the bit that small letters have


def table(policy: Sequence[str], bad_words: Sequence[str]) -> Phrases:
    """Return the phrases there are to look for.

    Raises:
        ValueError: one has fewer than two bytes.
    """
    given = [("lorem ipsum", LOREM), ("javascript", JAVASCRIPT)]
    given += [(text, POLICY) for text in policy] + [(text, BAD) for text in bad_words]
    pairs = [(bytes(_LOWER[list(text.encode())]), class_) for text, class_ in given]
    if short := [text for text, _ in pairs if len(text) < 2]:
        raise ValueError(f"the phrase {short[0].decode()!r} has fewer than two characters")
    keys = [_pair(text[0], text[1]) for text, _ in pairs]
    order = sorted(range(len(pairs)), key=lambda p: (keys[p], pairs[p]))
    lengths = [len(pairs[p][0]) for p in order]
    firsts = np.searchsorted([keys[p] for p in order], np.arange(_PAIRS + 1)).astype(np.int64)
    there = (np.diff(firsts) > 0).reshape(32, 32).astype(np.uint64)
    return Phrases(
        np.frombuffer(b"".join(pairs[p][0] for p in order), np.uint8),
        np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        np.array([pairs[p][1] for p in order], np.uint8),
        firsts,
        (there << np.arange(32, dtype=np.uint64)).sum(1, np.uint64),
        np.array(sorted({(text[0] | 0x20, text[1] | 0x20) for text, _ in pairs}), np.uint8),
    )


def _pair(a: int, b: int) -> int:
    return (a & 31) << 5 | b & 31


@njit(cache=True, nogil=True)
def mark(data, begin, end, phrases, block, mask):
    """Write a mask at an address: a one for each byte of data[begin:end] at which a phrase may begin.

    Args:
        block: room of 64 bytes.
    """
    word, bits = mask, address(phrases.bits)
    for first in range(begin, end, 64):
        text, inside = source(data, first, end, block)
        found = _ZERO
        if len(phrases.pairs) > _FEW_PAIRS:
            found = _by_table(text, bits)
        else:
            for q in range(len(phrases.pairs)):
                # The byte behind the block may be any.
                second = equal_small(text, phrases.pairs[q, 1]) >> _ONE | _LAST
                found |= equal_small(text, phrases.pairs[q, 0]) & second
        store64(word, found & inside)
        word += 8
    store64(word, _ZERO)
    store64(word + 8, _ZERO)


@njit(cache=True, nogil=True)
def _by_table(text, bits):
    found = _LAST
    for k in range(63):
        first, second = np.int64(load8(text + k)) & 31, np.uint64(load8(text + k + 1)) & _LETTER_BITS
        found |= (load64(bits + 8 * first) >> second & _ONE) << np.uint64(k)
    return found


@njit(cache=True, nogil=True, inline="always")
def search(data, begin, mask, a, b, kinds, flanked, phrases):
    """Return the classes of the phrases in a:b of the text that begins at data[begin], as bits.

    Args:
        mask: where `mark` wrote.
        flanked: bad words count only between characters that are in no word.
    """
    found, i = np.uint8(0), next_one(mask, a, b - 1)
    while i < b - 1:
        found |= _phrases_at(data, begin + a, begin + i, begin + b, kinds, flanked, phrases)
        i = next_one(mask, i + 1, b - 1)
    return found


@njit(cache=True, nogil=True)
def _phrases_at(data, begin, i, end, kinds, flanked, phrases):
    """Return the classes of the phrases that begin at byte i and end in data[begin:end], as bits."""
    found = np.uint8(0)
    pair = (np.int64(data[i]) & 31) << 5 | np.int64(data[i + 1]) & 31
    for p in range(phrases.firsts[pair], phrases.firsts[pair + 1]):
        size = phrases.offsets[p + 1] - phrases.offsets[p]
        same = i + size <= end
        k = 0
        while same and k < size:
            same = _LOWER[data[i + k]] == phrases.data[phrases.offsets[p] + k]
            k += 1
        if same and phrases.classes[p] == BAD and flanked:
            same = not (i > begin and _in_word(character_before(data, i), kinds))
            same &= not (i + size < end and _in_word(character(data, i + size)[0], kinds))
        if same:
            found |= phrases.classes[p]
    return found


@njit(cache=True, nogil=True)
def _in_word(code, kinds):
    return code == 95 or kinds[np.uint64(code)] & (LETTER | DIGIT) != 0
