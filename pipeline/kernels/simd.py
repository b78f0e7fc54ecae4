"""Vector instructions for kernels: what numba's own vectoriser does not find, written as LLVM's generic vectors.

LLVM lowers them to whatever the processor has: SSE2, AVX2, AVX-512, NEON. Addresses are int64 numbers of bytes; loads
and stores need no alignment, check no bounds and are little-endian. Who takes an array's address must hold the array.

The functions here are called inside kernels of other modules. Numba's cache does not notice a change in a module it
inlines from, so this one holds small, finished things only.
"""

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

_I1, _I8, _I32, _I64, _I128 = (ir.IntType(bits) for bits in (1, 8, 32, 64, 128))
_BLOCK = ir.VectorType(_I8, 64)
_LANES = ir.VectorType(_I32, 8)
LANE_COUNT = 8
WIDTHS = (32, 24, 16, 8)
"""Permutations one pass of `lower` can take. Sixteen vector registers of 256 bits hold 32 multipliers, increments and
minima, and the hash; with 40 the minima are spilled and the pass is slower."""


@njit(cache=True, nogil=True)
def address(array):
    """Return where an array begins: signed, since numba makes a float of an unsigned number plus a signed one."""
    return np.int64(array.ctypes.data)


def _loader(bits, result):
    @intrinsic
    def load(typing, at):
        def code(context, builder, signature, arguments):
            return builder.load(_pointer(builder, arguments[0], ir.IntType(bits)), align=1)

        return result(types.intp), code

    return load


def _storer(bits, kind):
    @intrinsic
    def store(typing, at, value):
        def code(context, builder, signature, arguments):
            builder.store(arguments[1], _pointer(builder, arguments[0], ir.IntType(bits)), align=1)
            return context.get_dummy_value()

        return types.void(types.intp, kind), code

    return store


load8, load64 = _loader(8, types.uint8), _loader(64, types.uint64)
store8, store32, store64 = _storer(8, types.uint8), _storer(32, types.int32), _storer(64, types.uint64)


@intrinsic
def trailing_zeros(typing, x):
    """Return the number of zeros below the lowest one of a uint64; 64 of zero."""

    def code(context, builder, signature, arguments):
        return builder.cttz(arguments[0], _I1(0))

    return types.uint64(types.uint64), code


@intrinsic
def ones(typing, x):
    """Return the number of ones in a uint64."""

    def code(context, builder, signature, arguments):
        return builder.ctpop(arguments[0])

    return types.uint64(types.uint64), code


@intrinsic
def folded_product(typing, x, y):
    """Return the upper half of the 128-bit product of two uint64, exclusive or its lower half."""

    def code(context, builder, signature, arguments):
        product = builder.mul(*(builder.zext(argument, _I128) for argument in arguments))
        upper = builder.trunc(builder.lshr(product, _I128(64)), _I64)
        return builder.xor(builder.trunc(product, _I64), upper)

    return types.uint64(types.uint64, types.uint64), code


@intrinsic
def lower_ascii(typing, source, target):
    """Copy 64 bytes, ASCII letters in lower case, digits and `_` as they are, other ASCII as spaces.

    Return a uint64 with a one for each byte that is not ASCII, the first byte lowest. Of those the copy means nothing.
    """

    def code(context, builder, signature, arguments):
        text = builder.load(_pointer(builder, arguments[0], _BLOCK), align=1)
        small = builder.or_(text, _all(0x20))
        letter = builder.icmp_unsigned("<", builder.sub(small, _all(ord("a"))), _all(26))
        digit = builder.icmp_unsigned("<", builder.sub(text, _all(ord("0"))), _all(10))
        line = builder.select(builder.icmp_unsigned("==", text, _all(ord("_"))), text, _all(0x20))
        # A digit has the bit 0x20 already.
        words = builder.select(builder.or_(letter, digit), small, line)
        builder.store(words, _pointer(builder, arguments[1], _BLOCK), align=1)
        return builder.bitcast(builder.icmp_signed("<", text, _all(0)), _I64)

    return types.uint64(types.intp, types.intp), code


def _finder(test):
    """Return an intrinsic find(at): a uint64 with a one for each of 64 bytes of which `test` is true, the first lowest."""

    @intrinsic
    def find(typing, at):
        def code(context, builder, signature, arguments):
            text = builder.load(_pointer(builder, arguments[0], _BLOCK), align=1)
            return builder.bitcast(test(builder, text), _I64)

        return types.uint64(types.intp), code

    return find


def _among(*ranges):
    """Return a finder of the bytes in some ranges, each (first, last)."""

    def test(builder, text):
        found = None
        for first, last in ranges:
            here = builder.icmp_unsigned("<", builder.sub(text, _all(first)), _all(last - first + 1))
            found = here if found is None else builder.or_(found, here)
        return found

    return _finder(test)


def _equal(*bytes_):
    """Return a finder of some bytes."""

    def test(builder, text):
        found = builder.icmp_unsigned("==", text, _all(bytes_[0]))
        for byte in bytes_[1:]:
            found = builder.or_(found, builder.icmp_unsigned("==", text, _all(byte)))
        return found

    return _finder(test)


not_ascii = _finder(lambda builder, text: builder.icmp_signed("<", text, _all(0)))
not_space = _finder(lambda builder, text: builder.icmp_unsigned("!=", text, _all(0x20)))
continuations = _finder(lambda builder, text: builder.icmp_signed("<", text, _all(-64)))
"""The bytes 10xxxxxx: all of a character in UTF-8 but its first."""
letters_ascii = _among((ord("A"), ord("Z")), (ord("a"), ord("z")))
digits_ascii = _among((ord("0"), ord("9")))
white_ascii = _among((0x09, 0x0D), (0x1C, 0x20))
breaks_ascii = _among((0x0A, 0x0D), (0x1C, 0x1E))
stops_ascii = _equal(*b".?!")
feeds, hashes, dots, brackets, curlies = (_equal(ord(character)) for character in "\n#.[{")


@intrinsic
def fill_spaces(typing, at):
    """Write 64 spaces."""

    def code(context, builder, signature, arguments):
        builder.store(_all(0x20), _pointer(builder, arguments[0], _BLOCK), align=1)
        return context.get_dummy_value()

    return types.void(types.intp), code


def _lowering(width):
    """Return an intrinsic lower(hashes, count, multipliers, increments, minima) for `width` permutations.

    Each of the `width` uint32 minima becomes the least of itself and (multiplier * h + increment) mod 2**32 over the
    `count` uint32 hashes h. They stay in registers throughout.
    """
    parts = range(width // LANE_COUNT)

    @intrinsic
    def lower(typing, hashes, count, multipliers, increments, minima):
        def code(context, builder, signature, arguments):
            hashes, count, *addresses = arguments
            a, b, before = ([_lanes(builder, address, k) for k in parts] for address in addresses)
            entry, loop, done = builder.block, builder.append_basic_block("lower"), builder.append_basic_block("done")
            builder.cbranch(builder.icmp_signed(">", count, _I64(0)), loop, done)

            builder.position_at_end(loop)
            i, least = builder.phi(_I64), [builder.phi(_LANES) for _ in parts]
            h = _every_lane(builder, hashes, i)
            values = [builder.add(builder.mul(a[k], h), b[k]) for k in parts]
            lower = [
                builder.select(builder.icmp_unsigned("<", values[k], least[k]), values[k], least[k]) for k in parts
            ]
            following = builder.add(i, _I64(1))
            for phi, start, step in zip([i, *least], [_I64(0), *before], [following, *lower], strict=True):
                phi.add_incoming(start, entry)
                phi.add_incoming(step, loop)
            builder.cbranch(builder.icmp_signed("<", following, count), loop, done)

            builder.position_at_end(done)
            ends = [builder.phi(_LANES) for _ in parts]
            for k, phi in enumerate(ends):
                phi.add_incoming(before[k], entry)
                phi.add_incoming(lower[k], loop)
            for k, end in enumerate(ends):
                builder.store(end, _lane_pointer(builder, addresses[2], k), align=4)
            return context.get_dummy_value()

        return types.void(*[types.intp] * 5), code

    return lower


def _pointer(builder, address, kind):
    return builder.inttoptr(address, kind.as_pointer())


def _all(byte):
    return ir.Constant(_BLOCK, [byte] * 64)


def _lane_pointer(builder, address, k):
    return _pointer(builder, builder.add(address, _I64(4 * LANE_COUNT * k)), _LANES)


def _lanes(builder, address, k):
    return builder.load(_lane_pointer(builder, address, k), align=4)


def _every_lane(builder, address, i):
    """Load uint32 number i and put it in every lane."""
    place = _pointer(builder, builder.add(address, builder.mul(i, _I64(4))), _I32)
    one = builder.insert_element(ir.Constant(_LANES, ir.Undefined), builder.load(place, align=4), _I32(0))
    return builder.shuffle_vector(one, ir.Constant(_LANES, ir.Undefined), ir.Constant(_LANES, [0] * LANE_COUNT))


lower32, lower24, lower16, lower8 = (_lowering(width) for width in WIDTHS)
