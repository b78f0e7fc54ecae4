"""Collapse white space in UTF-8 text.

Letters: N values, D bytes in all of them. Value i is data[offsets[i]:offsets[i + 1]].

White space is what Python's str.split() splits at, frozen: U+0009-000D, 001C-0020, 0085, 00A0, 1680, 2000-200A, 2028,
2029, 202F, 205F, 3000. The result of a value is " ".join(value.split()).
"""

import numpy as np
from numba import njit

from pipeline.kernels.hashing import check_offsets, read_only


def collapse(data: np.ndarray, offsets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return (data uint8, offsets int64 [N + 1]) with one space for every run of white space, and none at either end.

    data uint8 [D] is valid UTF-8, offsets int64 [N + 1]. White space alone becomes the empty value.
    """
    offsets = np.ascontiguousarray(offsets, np.int64)
    check_offsets(data, offsets)
    out, out_offsets = np.empty(int(offsets[-1] - offsets[0]), np.uint8), np.zeros(len(offsets), np.int64)
    _collapse_all(read_only(np.ascontiguousarray(data)), read_only(offsets), out, out_offsets)
    return out[: out_offsets[-1]], out_offsets


@njit(cache=True, nogil=True)
def _collapse_all(data, offsets, out, out_offsets):
    o = 0
    for value in range(len(offsets) - 1):
        begin, i, stop = o, offsets[value], offsets[value + 1]
        pending = False
        while i < stop:
            length = _space_length(data, i, stop)
            if length:
                pending = o > begin
                i += length
                continue
            if pending:
                out[o] = 0x20
                o += 1
                pending = False
            out[o] = data[i]
            o += 1
            i += 1
        out_offsets[value + 1] = o


@njit(cache=True, nogil=True)
def _space_length(data, i, stop):
    """Return the bytes of the white space character at i; 0 if there is another one, or the middle of one."""
    a = data[i]
    if a < 0x80:
        return np.int64(a == 0x20 or 0x09 <= a <= 0x0D or 0x1C <= a <= 0x1F)
    if a == 0xC2:
        return np.int64(2 * (i + 1 < stop and (data[i + 1] == 0x85 or data[i + 1] == 0xA0)))
    if 0xE1 <= a <= 0xE3 and i + 2 < stop:
        b, c = data[i + 1], data[i + 2]
        ogham = a == 0xE1 and b == 0x9A and c == 0x80
        width = a == 0xE2 and b == 0x80 and (c <= 0x8A or c == 0xA8 or c == 0xA9 or c == 0xAF)
        other = (a == 0xE2 and b == 0x81 and c == 0x9F) or (a == 0xE3 and b == 0x80 and c == 0x80)
        return np.int64(3 * (ogham or width or other))
    return np.int64(0)
