"""Windows of token sequences: every position is scored once, and batches hold them all."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.kernels import windows
from tests.kernels import reference_windows


@st.composite
def cuttings(draw):
    window = draw(st.integers(2, 12))
    lengths = draw(st.lists(st.integers(0, 50), max_size=8))
    return lengths, window, draw(st.integers(1, window - 1)), draw(st.integers(1, window - 1))


@given(cuttings())
def test_windows_are_those_of_the_recipe(case):
    lengths, window, stride, scored = case
    expected = [
        (n, *found)
        for n, length in enumerate(lengths)
        for found in reference_windows.cut(length, window, stride, scored)
    ]
    found = windows.cut(np.array(lengths, np.int64), window, stride, scored)
    assert list(map(tuple, found.tolist())) == expected


@given(cuttings())
def test_every_position_is_scored_once_and_with_context(case):
    lengths, window, stride, scored = case
    seen = [np.zeros(length, int) for length in lengths]
    for n, begin, end, since in windows.cut(np.array(lengths, np.int64), window, stride, scored):
        assert end - begin <= window
        assert since >= begin + (1 if begin == 0 else window - stride)
        seen[n][since:end] += 1
    for length, counts in zip(lengths, seen, strict=True):
        assert (counts[scored:] == 1).all()
        assert (counts[:scored] == 0).all()
        assert len(counts) == length


@given(st.lists(st.integers(1, 40), max_size=30), st.integers(1, 100))
def test_batches_hold_every_window_once_and_keep_to_their_size(lengths, batch_tokens):
    found = windows.batches(np.array(lengths, np.int64), batch_tokens)
    assert sorted(np.concatenate([np.empty(0, int), *found]).tolist()) == list(range(len(lengths)))
    for batch in found:
        assert len(batch) * max(lengths[i] for i in batch) <= batch_tokens or len(batch) == 1


@given(st.lists(st.lists(st.integers(0, 99), max_size=20), min_size=1, max_size=6), st.lists(st.integers(100, 105)))
def test_padded_windows_read_the_prefix_and_then_the_sequence(sequences, prefix):
    whole = [[*prefix, *tokens] for tokens in sequences]
    cut = windows.cut(np.array([len(tokens) for tokens in whole]), 30, 10)
    tokens = np.array([t for tokens in sequences for t in tokens], np.uint32)
    offsets = np.concatenate([[0], np.cumsum([len(tokens) for tokens in sequences])])
    rows = windows.padded(tokens, offsets, np.array(prefix, np.int64), cut, padding=-1).tolist()
    for row, (n, begin, end, _) in zip(rows, cut.tolist(), strict=True):
        assert row[: end - begin] == whole[n][begin:end]
        assert set(row[end - begin :]) <= {-1}


@pytest.mark.parametrize(("window", "stride", "scored"), [(4, 0, 1), (4, 4, 1), (4, 2, 0), (4, 2, 4)])
def test_windows_that_would_leave_a_position_without_context_are_refused(window, stride, scored):
    with pytest.raises(ValueError, match="window"):
        windows.cut(np.array([9]), window, stride, scored)
