"""Counted ids, against counting one by one."""

from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pipeline.kernels import token_counts

DOCUMENTS = st.lists(st.lists(st.integers(0, 20), max_size=9), max_size=6)


@given(DOCUMENTS, st.sampled_from(["<u2", "<u4"]), st.data())
def test_ids_of_the_chosen_documents_are_counted_and_marked(documents, dtype, data):
    chosen = data.draw(st.lists(st.booleans(), min_size=len(documents), max_size=len(documents)))
    length = np.array([len(ids) for ids in documents], np.int64)
    first, mine = np.cumsum(length) - length, np.array(chosen, bool)
    counts, used = np.zeros(21, np.int64), np.zeros(3, np.uint8)
    flat = np.array([token for ids in documents for token in ids], dtype)
    token_counts.count(flat, first[mine], length[mine], counts, used)
    expected = Counter(token for ids, taken in zip(documents, chosen, strict=True) if taken for token in ids)
    assert counts.tolist() == [expected[token] for token in range(21)]
    assert np.flatnonzero(np.unpackbits(used, bitorder="little")).tolist() == sorted(expected)
