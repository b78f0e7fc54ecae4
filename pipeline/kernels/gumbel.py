"""Gumbel noise of draws, the same bits on every machine.

    g = -ln(-ln u),  u = (k + 1/2) / 2^52,  k the upper 52 bits of a draw

u is never 0 or 1, so g lies between -3.7 and 36.8. The logarithm is made of additions, multiplications and divisions
alone, in a fixed order: libm and the vector units of processors round theirs differently, and a draw that falls on the
other side of a cut is another corpus. With x = m * 2^e, m between sqrt(1/2) and sqrt(2), and s = (m - 1) / (m + 1),

    ln x = e ln 2 + 2 (s + s^3/3 + s^5/5 + ...),  |s| < 0.172; twelve terms leave 2^-62

Letters: N draws.
"""

import math

import numpy as np
from numba import njit

from pipeline.kernels.hashing import read_only

_LN2 = 0.6931471805599453
_ROOT_HALF = 0.7071067811865476
_SERIES = tuple(1.0 / odd for odd in range(23, -1, -2))
_SHIFT = np.uint64(12)


def gumbel(draws_N: np.ndarray) -> np.ndarray:
    """Return one Gumbel number (float64 [N]) for each draw (uint64 [N])."""
    out_N = np.empty(len(draws_N), np.float64)
    _gumbel_all(read_only(np.ascontiguousarray(draws_N, np.uint64)), out_N)
    return out_N


@njit(cache=True, nogil=True)
def _ln(x):
    mantissa, exponent = math.frexp(x)
    if mantissa < _ROOT_HALF:
        mantissa *= 2.0
        exponent -= 1
    s = (mantissa - 1.0) / (mantissa + 1.0)
    square = s * s
    series = 0.0
    for term in _SERIES:
        series = series * square + term
    return exponent * _LN2 + 2.0 * (s * series)


@njit(cache=True, nogil=True)
def _gumbel_all(draws_N, out_N):
    for i in range(len(out_N)):
        u = (np.float64(draws_N[i] >> _SHIFT) + 0.5) * 2.0**-52
        out_N[i] = -_ln(-_ln(u))
