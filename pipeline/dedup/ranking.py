"""Which of several like documents is the better one: the total orders by which keepers are chosen.

    key = (place of the domain in a list of domains, bytes from most to fewest, doc_id, address)

of which a stage leaves out what it does not use. The doc_id, two unsigned numbers of 64 bits, decides between documents
of equal rank. The address, a place, is asked last: only rows of one doc_id, so of one text and domain, come to it.
"""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc


def priority(domains: pa.Array, order: Sequence[str]) -> np.ndarray:
    """Return int32 [N], the place of each document's domain in `order`; a domain that is not in it comes behind all."""
    places = pc.index_in(domains, value_set=pa.array(order, pa.string()))
    return pc.fill_null(places, len(order)).to_numpy(zero_copy_only=False).astype(np.int32)


def best_first(*keys: np.ndarray) -> np.ndarray:
    """Return the order (int64 [N]) that sorts by the keys, the first key first."""
    return np.lexsort(keys[::-1])
