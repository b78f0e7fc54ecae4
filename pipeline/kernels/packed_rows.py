"""The layout of packed rows: tokens copied to where their bins say, with BOS, EOS and padding between them.

Letters: N documents, P pieces, B bins (= rows), L tokens a row, S segments (pieces and paddings), T tokens.
"""

from typing import NamedTuple

import numpy as np
from numba import njit

from pipeline.kernels.packing import Bins, Pieces


class Rows(NamedTuple):
    """Packed sequences: rows of tokens, and the segments of each row from left to right, padding last."""

    tokens: np.ndarray
    """[B, L], the dtype asked for."""
    offsets: np.ndarray
    """[B + 1] int64 into the segments."""
    end: np.ndarray
    """[S] uint32, end of the segment within its row."""
    piece: np.ndarray
    """[S] int64, the piece that fills the segment; -1 for padding."""


class Shape(NamedTuple):
    """How packed rows look. Without a BOS, `bos_id` is None."""

    sequence_length: int
    dtype: np.dtype
    eos_id: int
    pad_id: int
    bos_id: int | None = None


def lay_out(
    tokens_T: np.ndarray, first_N: np.ndarray, plain_N: np.ndarray, pieces: Pieces, bins: Bins, shape: Shape
) -> Rows:
    """Return the rows of the bins, copied from a flat array of tokens.

    Args:
        tokens_T: tokens of all documents, end of one to start of the next in any order.
        first_N: int64, where each document starts in `tokens_T`.
        plain_N: int64, tokens of each document in `tokens_T`; a piece that reaches further ends in EOS.
        pieces: pieces of these documents; their starts and lengths count BOS and EOS.
        bins: the rows, in the order wanted.
        shape: sequence length, dtype and the ids of BOS, EOS and padding.
    """
    rows = np.empty((len(bins.offsets) - 1, shape.sequence_length), shape.dtype)
    marks = (shape.dtype.type(mark or 0) for mark in (shape.eos_id, shape.pad_id, shape.bos_id))
    lead = 0 if shape.bos_id is None else 1
    return Rows(rows, *_lay_out(tokens_T, first_N, plain_N, *pieces, *bins, rows, *marks, lead))


@njit(cache=True, nogil=True)
def _lay_out(tokens, first, plain, document, start, length, bin_offsets, bin_pieces, rows, eos, pad, bos, lead):
    count = len(rows)
    most = len(bin_pieces) + count  # a row has at most one padding
    offsets = np.zeros(count + 1, np.int64)
    end = np.empty(most, np.uint32)
    piece = np.empty(most, np.int64)
    s = 0
    for b in range(count):
        at = 0
        for k in range(bin_offsets[b], bin_offsets[b + 1]):
            p = bin_pieces[k]
            d, stop = document[p], at + length[p]
            if start[p] < lead:
                rows[b, at] = bos
                at += 1
            inner = max(start[p] - lead, 0)
            copied = min(np.int64(stop - at), plain[d] - inner)
            source = first[d] + inner
            for i in range(copied):
                rows[b, at + i] = tokens[source + i]
            at += copied
            if at < stop:
                rows[b, at] = eos
                at += 1
            end[s], piece[s] = at, p
            s += 1
        if at < rows.shape[1]:
            rows[b, at:] = pad
            end[s], piece[s] = rows.shape[1], -1
            s += 1
        offsets[b + 1] = s
    return offsets, end[:s], piece[:s]
