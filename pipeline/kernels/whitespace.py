"""Collapse white space in UTF-8 text.

Letters: N values, D bytes in all of them. Value i is data[offsets[i]:offsets[i + 1]].

White space is what Python's str.split() splits at, frozen: U+0009-000D, 001C-0020, 0085, 00A0, 1680, 2000-200A, 2028,
2029, 202F, 205F, 3000. The result of a value is " ".join(value.split()).
"""

import numpy as np
from numba import njit

from pipeline.kernels.hashing import check_offsets, read_only

_WHITE, _MAYBE = 1, 2


def collapse(data: np.ndarray, offsets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return (data uint8, offsets int64 [N + 1]) with one space for every run of white space, and none at either end.

    data uint8 [D] is valid UTF-8, offsets int64 [N + 1]. White space alone becomes the empty value.
    """
    offsets = np.ascontiguousarray(offsets, np.int64)
    check_offsets(data, offsets)
    out, out_offsets = np.empty(int(offsets[-1] - offsets[0]) + 1, np.uint8), np.zeros(len(offsets), np.int64)
    _collapse_all(read_only(np.ascontiguousarray(data)), read_only(offsets), _kinds(), out, out_offsets)
    return out[: out_offsets[-1]], out_offsets


def blank(data: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Return bool [N], whether a value is white space alone or nothing.

    data uint8 [D] is valid UTF-8, offsets int64 [N + 1].
    """
    offsets = np.ascontiguousarray(offsets, np.int64)
    check_offsets(data, offsets)
    blank_N = np.empty(len(offsets) - 1, np.bool_)
    _blank_all(read_only(np.ascontiguousarray(data)), read_only(offsets), _kinds(), blank_N)
    return blank_N


def _kinds() -> np.ndarray:
    """Return for each byte: `_WHITE`, `_MAYBE` the first of a longer character that is white, or 0."""
    kinds = np.zeros(256, np.uint8)
    kinds[[*range(0x09, 0x0E), *range(0x1C, 0x21)]] = _WHITE
    kinds[[0xC2, 0xE1, 0xE2, 0xE3]] = _MAYBE
    return kinds


@njit(cache=True, nogil=True)
def _collapse_all(data, offsets, kinds, out, out_offsets):
    o = 0
    for value in range(len(offsets) - 1):
        begin, i, stop = o, offsets[value], offsets[value + 1]
        after_white = np.int64(1)  # so that nothing is written for white space in front
        while i < stop:
            white, length = np.int64(kinds[data[i]]), 1
            if white == _MAYBE:
                length = _wide_space(data, i, stop)
                white = np.int64(length > 0)
                length = max(length, 1)
            # Words are short, so a branch at their ends would be mispredicted at every other one: a second white
            # byte is written as well, and then written over.
            out[o] = np.uint8(0x20) if white else data[i]
            o += 1 - (white & after_white)
            after_white = white
            i += length
        if after_white and o > begin:
            o -= 1
        out_offsets[value + 1] = o


@njit(cache=True, nogil=True)
def _blank_all(data, offsets, kinds, blank):
    for value in range(len(offsets) - 1):
        i, stop = offsets[value], offsets[value + 1]
        while i < stop:
            kind = kinds[data[i]]
            length = np.int64(1) if kind == _WHITE else (_wide_space(data, i, stop) if kind == _MAYBE else np.int64(0))
            if length == 0:
                break
            i += length
        blank[value] = i >= stop


@njit(cache=True, nogil=True)
def _wide_space(data, i, stop):
    """Return the bytes of the white space character of several bytes at i; 0 if there is another one."""
    a = data[i]
    if a == 0xC2:
        return np.int64(2 * (i + 1 < stop and (data[i + 1] == 0x85 or data[i + 1] == 0xA0)))
    if i + 2 >= stop:
        return np.int64(0)
    b, c = data[i + 1], data[i + 2]
    ogham = a == 0xE1 and b == 0x9A and c == 0x80
    width = a == 0xE2 and b == 0x80 and (c <= 0x8A or c == 0xA8 or c == 0xA9 or c == 0xAF)
    other = (a == 0xE2 and b == 0x81 and c == 0x9F) or (a == 0xE3 and b == 0x80 and c == 0x80)
    return np.int64(3 * (ogham or width or other))
