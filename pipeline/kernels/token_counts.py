"""How often each token id comes in documents that lie in one array. Letters: T tokens, N documents, V ids."""

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def count(ids_T: np.ndarray, first_N: np.ndarray, length_N: np.ndarray, counts_V: np.ndarray, used: np.ndarray) -> None:
    """Add the ids of documents to `counts_V` (int64) and mark them in `used`.

    Document n is ids_T[first_N[n]:][:length_N[n]]; every id must be below V. Id i is bit i % 8 of used[i // 8], the
    lowest being bit 0; used is uint8 [(V + 7) // 8].
    """
    for n in range(len(first_N)):
        for i in range(first_N[n], first_N[n] + length_N[n]):
            counts_V[ids_T[i]] += 1
            used[ids_T[i] >> 3] |= np.uint8(1 << (ids_T[i] & 7))
