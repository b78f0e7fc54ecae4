"""Group values by a destination, in linear time: what a shuffle does to every column.

Letters: N values, P destinations. The values are read one after the other and written to P places that move on, so a
cache line is fetched once however many destinations there are; to gather them in sorted order would fetch it P times.
"""

import numpy as np
from numba import njit

from pipeline.kernels.hashing import read_only

_UNSIGNED = {1: np.uint8, 2: np.uint16, 4: np.uint32, 8: np.uint64}


def grouped(values_N: np.ndarray, destinations_N: np.ndarray, counts_P: np.ndarray) -> np.ndarray:
    """Return the values of destination 0, then those of 1 and so on, each in the order they came.

    values of any number type, destinations unsigned [N] below P, counts int64 [P] how many values each has.

    Raises:
        ValueError: the lengths differ, or the counts are not those of the destinations.
    """
    if len(values_N) != len(destinations_N) or int(counts_P.sum()) != len(values_N):
        raise ValueError(
            f"{len(values_N):,} values, {len(destinations_N):,} destinations, {int(counts_P.sum()):,} counted"
        )
    places_P = np.concatenate([[0], np.cumsum(counts_P)[:-1]]).astype(np.int64)
    out_N = np.empty(len(values_N), values_N.dtype)
    kind = _UNSIGNED[values_N.dtype.itemsize]
    _group(read_only(values_N.view(kind)), destinations_N, places_P, out_N.view(kind))
    return out_N


@njit(cache=True, nogil=True)
def _group(values, destinations, places, out):
    for i in range(len(values)):
        place = places[destinations[i]]
        out[place] = values[i]
        places[destinations[i]] = place + 1
