"""The first 32 bits of SHA-1 (FIPS 180-4, section 6.1), eight messages side by side.

Letters: N messages, L = 8 lanes. Each lane of a vector belongs to one message, so a block of all eight costs what one
would. Lanes whose message has ended compute on and are not looked at. It serves compatibility, not security.
"""

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

from pipeline.kernels.hashing import check_offsets, read_only
from pipeline.kernels.simd import address, load8, load64

_LANES = 8
_I32 = ir.IntType(32)
_VECTOR = ir.VectorType(_I32, _LANES)
_START = np.array([0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476, 0xC3D2E1F0], np.uint32)
_PHASES = (0x5A827999, 0x6ED9EBA1, 0x8F1BBCDC, 0xCA62C1D6)
_ROUNDS = 80
_U8, _U32 = np.uint64(8), np.uint64(32)


def first32(data: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Return uint32 [N], the first four bytes of each value's SHA-1 as a little-endian number.

    data uint8, offsets int64 [N + 1]: value i is data[offsets[i]:offsets[i + 1]]. It is datasketch's `sha1_hash32`.

    Raises:
        ValueError: the offsets fall, leave the data or reach 4 GiB.
    """
    offsets = np.ascontiguousarray(offsets, np.int64)
    check_offsets(data, offsets)
    if offsets[-1] >= 2**32:
        raise ValueError(f"{offsets[-1]:,} bytes are more than 4 GiB; hash them in parts")
    out_N, edges = np.empty(len(offsets) - 1, np.uint64), np.repeat(offsets, 2)[1:-1].astype(np.uint32)
    _all_first32(read_only(np.ascontiguousarray(data)), edges, out_N)
    return out_N.astype(np.uint32)


@njit(cache=True, nogil=True)
def _all_first32(data, edges, out):
    first32_of_spans(address(data), edges, np.int64(1), out)


@intrinsic
def _compress(typing, words, state):
    """Take one block of each lane into the state: words uint32 [16, L] and state uint32 [5, L] lie at the addresses."""

    def code(context, builder, signature, arguments):
        def place(address, row):
            there = builder.add(address, ir.IntType(64)(4 * _LANES * row))
            return builder.inttoptr(there, _VECTOR.as_pointer())

        w = [builder.load(place(arguments[0], t), align=4) for t in range(16)]
        before = [builder.load(place(arguments[1], row), align=4) for row in range(5)]
        a, b, c, d, e = before
        for t in range(_ROUNDS):
            if t >= 16:
                mixed = builder.xor(builder.xor(w[t - 3], w[t - 8]), builder.xor(w[t - 14], w[t - 16]))
                w.append(_rotated(builder, mixed, 1))
            step = builder.add(_choice(builder, t // 20, b, c, d), _every(_PHASES[t // 20]))
            step = builder.add(builder.add(step, e), builder.add(_rotated(builder, a, 5), w[t]))
            a, b, c, d, e = step, a, _rotated(builder, b, 30), c, d
        for row, (old, new) in enumerate(zip(before, (a, b, c, d, e), strict=True)):
            builder.store(builder.add(old, new), place(arguments[1], row), align=4)
        return context.get_dummy_value()

    return types.void(types.intp, types.intp), code


def _choice(builder, phase, b, c, d):
    if phase == 0:
        return builder.xor(d, builder.and_(b, builder.xor(c, d)))
    if phase == 2:
        return builder.or_(builder.and_(b, c), builder.and_(d, builder.or_(b, c)))
    return builder.xor(builder.xor(b, c), d)


def _rotated(builder, x, bits):
    return builder.or_(builder.shl(x, _every(bits)), builder.lshr(x, _every(32 - bits)))


def _every(number):
    return ir.Constant(_VECTOR, [number] * _LANES)


@njit(cache=True, nogil=True)
def first32_of_spans(base, edges, span, out):
    """Write the hash of the bytes base + edges[2 i] to base + edges[2 i + span] to out[i], a uint64.

    For other kernels: base is an address, edges are uint32. Nothing outside the messages is read.
    """
    words, state = np.empty((16, _LANES), np.uint32), np.empty((5, _LANES), np.uint32)
    starts, lengths = np.empty(_LANES, np.int64), np.empty(_LANES, np.int64)
    for first in range(0, len(out), _LANES):
        lanes, longest = min(_LANES, len(out) - first), 0
        for lane in range(lanes):
            i = 2 * (first + lane)
            starts[lane], lengths[lane] = base + np.int64(edges[i]), np.int64(edges[i + span]) - np.int64(edges[i])
            longest = max(longest, lengths[lane])
        for row in range(5):
            for lane in range(_LANES):
                state[row, lane] = _START[row]
        for block in range((longest + 8) // 64 + 1):
            for lane in range(lanes):
                _lay_out(starts[lane], lengths[lane], block, words, lane)
            _compress(address(words), address(state))
            for lane in range(lanes):
                if (lengths[lane] + 8) // 64 == block:
                    out[first + lane] = _reversed(np.uint64(state[0, lane])) >> _U32


@njit(cache=True, nogil=True)
def _lay_out(message, length, block, words, lane):
    """Write block number `block` of the padded message as big-endian words: the message, a one bit, its length."""
    at = block * 64
    full = max(min((length - at) // 8, 8), 0)
    for k in range(full):
        _put(_reversed(load64(message + at + 8 * k)), words, k, lane)
    for k in range(full, 8):
        _put(np.uint64(0), words, k, lane)
    rest = length - at - 8 * full
    if full < 8 and rest >= 0:
        last = np.uint64(0x80) << (_U8 * np.uint64(rest))
        for k in range(rest):
            last |= np.uint64(load8(message + at + 8 * full + k)) << np.uint64(8 * k)
        _put(_reversed(last), words, full, lane)
    if (length + 8) // 64 == block:
        _put(_U8 * np.uint64(length), words, np.int64(7), lane)


@njit(cache=True, nogil=True)
def _put(pair, words, k, lane):
    words[2 * k, lane] = np.uint32(pair >> _U32)
    words[2 * k + 1, lane] = np.uint32(pair)


@njit(cache=True, nogil=True)
def _reversed(x):
    """Return a uint64 with its bytes in reverse order; LLVM makes one instruction of it."""
    low, high = np.uint64(0x00FF00FF00FF00FF), np.uint64(0x0000FFFF0000FFFF)
    x = ((x >> _U8) & low) | ((x & low) << _U8)
    x = ((x >> np.uint64(16)) & high) | ((x & high) << np.uint64(16))
    return (x >> _U32) | (x << _U32)
