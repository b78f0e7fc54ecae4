"""Cut sequences of tokens into the windows a language model can read, and put windows of like length together.

Letters: N sequences, W windows. A window is (sequence, begin, end, scored): the model reads the positions begin..end-1
of the sequence and its predictions of the positions scored..end-1 count. The windows are those of the recipe for the
perplexity of fixed-length models in the documentation of Hugging Face transformers: each begins `stride` behind the one
before, and every position but the first is scored in exactly one of them.
"""

import numpy as np
from numba import njit


def cut(lengths_N: np.ndarray, window: int, stride: int, scored: int = 1) -> np.ndarray:
    """Return the windows int64 [W, 4] of all sequences, in their order.

    A sequence that has nothing to score (at most `scored` positions) has no window. A scored position has at least
    `window - stride` others before it in its window, unless its sequence begins there.

    Args:
        lengths_N: positions of each sequence.
        scored: the first position to score; at least 1, since nothing stands before position 0.

    Raises:
        ValueError: `stride` is not in 1..window - 1, or `scored` not in 1..window - 1.
    """
    if not 1 <= stride < window or not 1 <= scored < window:
        raise ValueError(f"a window of {window:,} with a stride of {stride:,}, scored from {scored:,}")
    lengths_N = np.ascontiguousarray(lengths_N, np.int64)
    beyond_N = np.maximum(lengths_N - window, 0)
    counts_N = np.where(lengths_N > scored, 1 + -(-beyond_N // stride), 0)
    return _cut(lengths_N, counts_N, window, stride, scored)


def batches(lengths_W: np.ndarray, batch_tokens: int) -> list[np.ndarray]:
    """Return batches of windows, the longest first: int64 indexes of W, each window in one batch.

    Padded to its longest window, a batch has at most `batch_tokens` positions; a longer window is a batch of its own.
    """
    order_W = np.argsort(-np.asarray(lengths_W, np.int64), kind="stable")
    bounds = _bounds(np.ascontiguousarray(lengths_W, np.int64)[order_W], batch_tokens)
    return np.split(order_W, bounds[1:-1]) if len(order_W) else []


def padded(
    tokens: np.ndarray, offsets_N: np.ndarray, prefix: np.ndarray, windows_B4: np.ndarray, padding: int = 0
) -> np.ndarray:
    """Return the positions of some windows, int64 [B, L], L being the longest; shorter ones are filled up behind.

    Args:
        tokens: of all sequences, end to end; sequence n has tokens[offsets_N[n] : offsets_N[n + 1]].
        prefix: token ids that stand before every sequence; windows count them as its first positions.
    """
    longest = int((windows_B4[:, 2] - windows_B4[:, 1]).max(initial=0))
    out_BL = np.full((len(windows_B4), longest), padding, np.int64)
    _fill(tokens, offsets_N, np.ascontiguousarray(prefix, np.int64), windows_B4, out_BL)
    return out_BL


@njit(cache=True, nogil=True)
def _cut(lengths, counts, window, stride, scored):
    out = np.empty((counts.sum(), 4), np.int64)
    place = 0
    for n in range(len(lengths)):
        since = scored
        for i in range(counts[n]):
            end = min(i * stride + window, lengths[n])
            out[place, 0], out[place, 1], out[place, 2], out[place, 3] = n, i * stride, end, since
            since = end
            place += 1
    return out


@njit(cache=True, nogil=True)
def _bounds(lengths, batch_tokens):
    bounds = [0]
    longest = 0
    for i in range(len(lengths)):
        if i == bounds[-1]:
            longest = lengths[i]
        elif (i + 1 - bounds[-1]) * longest > batch_tokens:
            bounds.append(i)
            longest = lengths[i]
    bounds.append(len(lengths))
    return np.array(bounds)


@njit(cache=True, nogil=True)
def _fill(tokens, offsets, prefix, windows, out):
    before = len(prefix)
    for b in range(len(windows)):
        first = offsets[windows[b, 0]]
        for position in range(windows[b, 1], windows[b, 2]):
            token = prefix[position] if position < before else tokens[first + position - before]
            out[b, position - windows[b, 1]] = token
