"""What is said of every position of a batch: equal to its twin, to the dtype."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pipeline.kernels.row_arrays import IGNORE, row_arrays
from tests.kernels import reference_row_arrays as twin

DTYPES = {
    "tokens": "int64",
    "targets": "int64",
    "loss_mask": "bool",
    "position_ids": "int64",
    "document_ids": "int32",
    "cu_seqlens": "int32",
    "max_seqlen": "int32",
    "loss_weights": "float32",
}
LARGEST = (1 << 32) - 1


@st.composite
def packed(draw):
    """Up to five rows of one length: tokens, weights, and segments whose last may be padding."""
    length = draw(st.integers(1, 12))
    token, weight = st.integers(0, LARGEST), st.integers(0, 2048).map(lambda n: n / 64)
    rows = []
    for _ in range(draw(st.integers(0, 5))):
        ends = [
            *sorted(draw(st.sets(st.integers(1, length - 1), max_size=4) if length > 1 else st.just(set()))),
            length,
        ]
        padded = draw(st.booleans())
        segments = [(end, padded and end == length) for end in ends]
        values = [draw(st.lists(each, min_size=length, max_size=length)) for each in (token, weight)]
        rows.append((*values, segments))
    return length, rows


def found(length, rows, *, restart, weighted):
    """The kernel's arrays of the same rows."""
    block = np.full((3, len(rows), length), 77)
    block[0] = np.array([tokens for tokens, _, _ in rows], np.int64).reshape(-1, length)
    ends = np.array([end for _, _, segments in rows for end, _ in segments], np.int64)
    behind = np.array([len(segments) for _, _, segments in rows], np.int64).cumsum()
    padded = np.array([segments[-1][1] for _, _, segments in rows], np.bool_)
    weights = np.array([weights for _, weights, _ in rows], np.float16).reshape(-1, length)
    return row_arrays(block, ends, behind, padded, restart=restart, weights_BL=weights if weighted else None)


@given(packed(), st.booleans(), st.booleans())
def test_every_array_is_that_of_the_slow_twin(batch, restart, weighted):
    length, rows = batch
    arrays, expected = found(length, rows, restart=restart, weighted=weighted), twin.row_arrays(rows, restart)
    if not weighted:
        del expected["loss_weights"]
    assert {name: array.tolist() for name, array in arrays.items()} == expected
    assert {name: array.dtype.name for name, array in arrays.items()} == {name: DTYPES[name] for name in expected}
    flat = ("cu_seqlens", "max_seqlen")
    assert {array.shape for name, array in arrays.items() if name not in flat} == {(len(rows), length)}


def test_a_batch_by_hand():
    """A row of one segment; one of a document and padding; one of padding alone."""
    rows = [
        ([5, 6, 7], [1, 2, 3], [(3, False)]),
        ([8, 9, 0], [4, 5, 0], [(2, False), (3, True)]),
        ([0, 0, 0], [0, 0, 0], [(3, True)]),
    ]
    arrays = {n: a.tolist() for n, a in found(3, rows, restart=True, weighted=True).items()}
    assert arrays == {
        "tokens": [[5, 6, 7], [8, 9, 0], [0, 0, 0]],
        "targets": [[6, 7, IGNORE], [9, IGNORE, IGNORE], [IGNORE] * 3],
        "loss_mask": [[True, True, False], [True, False, False], [False] * 3],
        "position_ids": [[0, 1, 2], [0, 1, 0], [0, 1, 2]],
        "document_ids": [[0, 0, 0], [0, 0, -1], [-1, -1, -1]],
        "cu_seqlens": [0, 3, 5, 6, 9],
        "max_seqlen": 3,
        "loss_weights": [[2, 3, 0], [5, 0, 0], [0, 0, 0]],
    }
    assert found(3, rows, restart=False, weighted=False)["position_ids"].tolist() == [[0, 1, 2]] * 3
