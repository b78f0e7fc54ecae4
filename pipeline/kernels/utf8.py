"""Which byte strings are UTF-8, and which of those hold nothing to read.

Letters: N values, B bytes in all of them. Value i is data[offsets[i]:offsets[i + 1]].

Validity is that of RFC 3629 and Unicode table 3-7 (what Python's strict decoder takes): no overlong form, no surrogate
(ED A0..BF), nothing above U+10FFFF, no lone or missing continuation byte. Noncharacters and private use are valid.

Blank is a value of nothing but: Unicode White_Space (PropList: U+0009-000D, 0020, 0085, 00A0, 1680, 2000-200A, 2028,
2029, 202F, 205F, 3000), other controls (Cc: U+0000-001F, 007F-009F), zero-width space, non-joiner and joiner
(U+200B-200D) and the byte order mark (U+FEFF). The list is frozen here, since Unicode tables move with Python.
Pyarrow reads a "string" column without looking at its bytes, so nothing may walk over text before this kernel has.
"""

import numpy as np
from numba import njit

from pipeline.kernels.hashing import check_offsets, read_only

READABLE, BLANK, INVALID = 0, 1, 2

_HIGH_BITS = np.uint64(0x8080808080808080)
_U1, _U2, _U3, _U4, _U8 = np.uint64(1), np.uint64(2), np.uint64(3), np.uint64(4), np.uint64(8)


def text_states(data: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Return per value READABLE, BLANK or INVALID as uint8 [N], in order; invalid wins over blank, empty is blank.

    data uint8 [B], offsets int64 [N + 1]. A null has no state of its own: judge nulls first.

    Raises:
        ValueError: the offsets fall or leave the data.
    """
    offsets = np.ascontiguousarray(offsets, np.int64)
    check_offsets(data, offsets)
    states_N = np.empty(len(offsets) - 1, np.uint8)
    _judge(read_only(np.ascontiguousarray(data)), read_only(offsets), states_N)
    return states_N


@njit(cache=True, nogil=True)
def _judge(data, offsets, states_N):
    for i in range(len(states_N)):
        start, end = np.uint64(offsets[i]), np.uint64(offsets[i + 1])
        if not _valid(data, start, end):
            states_N[i] = INVALID
        else:
            states_N[i] = BLANK if _blank(data, start, end) else READABLE


@njit(cache=True, nogil=True)
def _ascii8(data, at):
    """Return whether the eight bytes at `at` are ASCII; LLVM makes one load of the shifts."""
    word = (
        np.uint64(data[at])
        | (np.uint64(data[at + _U1]) << np.uint64(8))
        | (np.uint64(data[at + _U2]) << np.uint64(16))
        | (np.uint64(data[at + _U3]) << np.uint64(24))
        | (np.uint64(data[at + _U4]) << np.uint64(32))
        | (np.uint64(data[at + np.uint64(5)]) << np.uint64(40))
        | (np.uint64(data[at + np.uint64(6)]) << np.uint64(48))
        | (np.uint64(data[at + np.uint64(7)]) << np.uint64(56))
    )
    return word & _HIGH_BITS == np.uint64(0)


@njit(cache=True, nogil=True)
def _continues(byte):
    return byte & 0xC0 == 0x80


@njit(cache=True, nogil=True)
def _width(data, at, end):
    """Return the length of the well-formed character at `at`, 0 if there is none (table 3-7, row by row)."""
    lead = data[at]
    if lead < 0x80:
        return _U1
    if lead < 0xC2 or lead > 0xF4 or at + _U1 >= end:
        return np.uint64(0)
    second = data[at + _U1]
    if not _continues(second):
        return np.uint64(0)
    if lead < 0xE0:
        return _U2
    if at + _U2 >= end or not _continues(data[at + _U2]):
        return np.uint64(0)
    if lead < 0xF0:
        overlong, surrogate = lead == 0xE0 and second < 0xA0, lead == 0xED and second > 0x9F
        return np.uint64(0) if overlong or surrogate else _U3
    if at + _U3 >= end or not _continues(data[at + _U3]):
        return np.uint64(0)
    overlong, too_high = lead == 0xF0 and second < 0x90, lead == 0xF4 and second > 0x8F
    return np.uint64(0) if overlong or too_high else _U4


@njit(cache=True, nogil=True)
def _valid(data, start, end):
    at = start
    while at < end:
        if data[at] < 0x80:
            while at + _U8 <= end and _ascii8(data, at):
                at += _U8
            while at < end and data[at] < 0x80:
                at += _U1
        else:
            width = _width(data, at, end)
            if width == np.uint64(0):
                return False
            at += width
    return True


@njit(cache=True, nogil=True)
def _code_point(data, at, width):
    if width == _U1:
        return np.uint32(data[at])
    code = np.uint32(data[at]) & np.uint32(0x7F >> width)
    for j in range(1, width):
        code = (code << np.uint32(6)) | (np.uint32(data[at + np.uint64(j)]) & np.uint32(0x3F))
    return code


@njit(cache=True, nogil=True)
def _is_blank(code):
    if code <= 0x20 or 0x7F <= code <= 0xA0:
        return True
    if code < 0x1680:
        return False
    if 0x2000 <= code <= 0x200D or code == 0x2028 or code == 0x2029:
        return True
    return code == 0x1680 or code == 0x202F or code == 0x205F or code == 0x3000 or code == 0xFEFF


@njit(cache=True, nogil=True)
def _blank(data, start, end):
    # Valid text only. The first letter ends the loop: almost always the first character of all.
    at = start
    while at < end:
        width = _width(data, at, end)
        if not _is_blank(_code_point(data, at, width)):
            return False
        at += width
    return True
