"""The token column: what goes in comes out, in slices and chunks too."""

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.tokens.column import token_column, token_values

ROWS = st.lists(st.one_of(st.none(), st.lists(st.integers(0, 65535), max_size=6)), max_size=12)


def column(rows, dtype):
    flat = np.array([token for row in rows for token in row or []], dtype)
    return token_column(
        flat, np.array([len(row or []) for row in rows], np.int64), np.array([r is None for r in rows], bool)
    )


def lists(array, dtype):
    ids, first, length = token_values(array, dtype)
    return [ids[at : at + n].tolist() for at, n in zip(first, length, strict=True)]


@given(ROWS, st.sampled_from([np.dtype("<u2"), np.dtype("<u4")]), st.data())
@settings(deadline=None)
def test_tokens_come_back_from_any_slice(rows, dtype, data):
    begin = data.draw(st.integers(0, len(rows)))
    end = data.draw(st.integers(begin, len(rows)))
    array = column(rows, dtype).slice(begin, end - begin)
    assert lists(array, dtype) == [row or [] for row in rows[begin:end]]
    assert array.is_null().to_pylist() == [row is None for row in rows[begin:end]]


@given(ROWS, ROWS)
@settings(deadline=None)
def test_tokens_come_back_from_chunks(one, other):
    dtype = np.dtype("<u2")
    chunks = pa.chunked_array([column(one, dtype), column(other, dtype)])
    assert lists(chunks, dtype) == [row or [] for row in one + other]


def test_a_column_of_nothing_is_empty():
    ids, first, length = token_values(pa.chunked_array([], pa.large_binary()), np.dtype("<u2"))
    assert (len(ids), len(first), len(length)) == (0, 0, 0)
