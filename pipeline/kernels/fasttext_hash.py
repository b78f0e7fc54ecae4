"""The arithmetic that fastText stands on: token keys, hashes, table slots; exponential, logarithm.

A token's key is 64 bits: the low half is fastText's hash (FNV-1a over sign-extended bytes, to the bit), the high half
a fingerprint that comes free with the same multiplication. All of it is fixed by fastText's file format. The modules
that call these functions from compiled code have them compiled in, and numba's cache looks at a module's own file
only: after a change here, touch them.
"""

import math

import numpy as np
from llvmlite import ir
from numba import njit, types, uint32, uint64
from numba.core import cgutils
from numba.extending import intrinsic

# FNV-1a in the low half, a free 32-bit fingerprint in the high half: the multiplier's low half is FNV's prime.
PRIME = np.uint64(0x9E3779B101000193)
BASIS = np.uint64(0x14650FB0811C9DC5)
GRAM = np.uint64(116049371)
FILL = np.uint64(0x9E3779B1)  # Fibonacci hashing: spreads a 32-bit hash over the slots of a table
SPACE = np.zeros(256, np.uint8)
SPACE[[0, 9, 10, 11, 12, 13, 32]] = 1


def _mixed_bytes() -> np.ndarray:
    """Per byte: low half the byte sign-extended to 32 bits, high half 32 fixed random bits (splitmix64)."""
    state = np.arange(1, 257, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    signed = np.arange(256, dtype=np.uint8).view(np.int8).astype(np.int32).view(np.uint32)
    return (state & np.uint64(0xFFFFFFFF00000000)) | signed


BYTES = _mixed_bytes()


@intrinsic
def high_product(typingctx, a, b):
    """The high 64 bits of a product."""

    def emit(context, builder, signature, args):
        wide = ir.IntType(128)
        product = builder.mul(builder.zext(args[0], wide), builder.zext(args[1], wide))
        return builder.trunc(builder.lshr(product, ir.Constant(wide, 64)), ir.IntType(64))

    return types.uint64(types.uint64, types.uint64), emit


@intrinsic
def as_float(typingctx, bits):
    """The float32 with these 32 bits."""

    def emit(context, builder, signature, args):
        return builder.bitcast(args[0], ir.FloatType())

    return types.float32(types.uint32), emit


@intrinsic
def prefetch(typingctx, array, index):
    """Ask for the cache line of `array.ravel()[index]`; the tables are larger than the caches."""

    def emit(context, builder, signature, args):
        data = context.make_array(signature.args[0])(context, builder, args[0]).data
        pointer, flag = ir.IntType(8).as_pointer(), ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [pointer, flag, flag, flag])
        function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
        address = builder.bitcast(builder.gep(data, [args[1]]), pointer)
        builder.call(function, [address, ir.Constant(flag, 0), ir.Constant(flag, 3), ir.Constant(flag, 1)])
        return context.get_dummy_value()

    return types.void(array, types.int64), emit


@njit(cache=True, nogil=True, inline="always")
def step(state, byte):
    return (state ^ BYTES[byte]) * PRIME


@njit(cache=True, nogil=True)
def key_of(data, start, end):
    """The 64-bit key of the token `data[start:end]`."""
    state = BASIS
    for i in range(start, end):
        state = step(state, data[i])
    return state


@njit(cache=True, nogil=True, inline="always")
def hash32(key):
    """fastText's 32-bit hash in `key`, sign-extended."""
    return uint64(np.int64(np.int32(uint32(key))))


@njit(cache=True, nogil=True, inline="always")
def slot(key, shift):
    return np.int64(uint64(uint32(uint64(uint32(key)) * FILL)) >> shift)


@njit(cache=True, nogil=True, inline="always")
def modulo(value, divisor, inverse):
    """`value % divisor` with `inverse` = (2**64 - 1) // divisor, whose quotient is at most two too small."""
    rest = value - high_product(value, inverse) * divisor
    rest = rest - divisor if rest >= divisor else rest
    return rest - divisor if rest >= divisor else rest


@njit(cache=True, nogil=True)
def exp(x):
    """e**x within 2 units in the last place, by additions and products only: the same bits everywhere."""
    x = min(max(x, -700.0), 700.0)
    k = math.floor(x * 1.4426950408889634 + 0.5)
    r = (x - k * 0.693147180369123816490) - k * 1.90821492927058770002e-10
    total = 1.0
    for i in range(13, 0, -1):
        total = 1.0 + total * r / i
    return math.ldexp(total, int(k))


@njit(cache=True, nogil=True)
def log(x):
    """The natural logarithm of a positive number within some units in the last place: the same bits everywhere."""
    mantissa, exponent = math.frexp(x)
    if mantissa < 0.7071067811865476:
        mantissa *= 2.0
        exponent -= 1
    s = (mantissa - 1.0) / (mantissa + 1.0)
    square, total = s * s, 0.0
    for k in range(25, 0, -2):
        total = total * square + 1.0 / k
    return exponent * 1.90821492927058770002e-10 + 2.0 * s * total + exponent * 0.693147180369123816490
