"""What a document costs, against its slow twin."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pipeline.kernels.document_cost import Rule, cost
from tests.kernels import reference_document_cost as twin


@given(st.lists(st.integers(0, 60), max_size=40), st.booleans(), st.booleans(), st.integers(8, 20), st.integers(1, 8))
def test_the_cost_of_documents_is_that_of_the_slow_twin(plain, bos, split, limit, least_rest):
    rule = Rule(bos, limit, split, least_rest)
    found = cost(np.array(plain, np.int64), rule)
    assert list(zip(*(part.tolist() for part in found), strict=True)) == [twin.cost(n, *rule) for n in plain]


def test_without_a_limit_nothing_is_left_out():
    found = cost(np.array([0, 1, 5000]), Rule(bos=True))
    assert found.packed.tolist() == found.whole.tolist() == [0, 3, 5002]
