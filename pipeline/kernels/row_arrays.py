"""What a trainer wants of every position of packed rows, from the bounds of their segments.

B rows of L positions hold S segments, which fill each row from left to right; padding, if any, is its last one. What
all positions of a segment share is repeated by its length, and what is learned nowhere is struck out where it is known
to be: each array is written once, and none is compared or looked up position by position.

numpy only: the trainer imports this.
"""

import numpy as np

IGNORE = -100
"""The target of a position that is not learned: the last of a segment, and padding."""


def row_arrays(
    block_3BL: np.ndarray,
    ends_S: np.ndarray,
    behind_B: np.ndarray,
    padded_B: np.ndarray,
    *,
    restart: bool,
    weights_BL: np.ndarray | None = None,
) -> dict[str, np.ndarray]:
    """Return tokens and all that is said of them by name, as `tokens.stream.Stream` promises for a batch.

    Args:
        block_3BL: int64, the tokens in [0]; [1] and [2] are filled with targets and positions, and all three given
            back as they lie.
        ends_S: int64, behind the last position of each segment in its row; those of a row rise to L.
        behind_B: int64, behind the last segment of each row among all of them; a row has one at least.
        padded_B: whether the last segment of each row is padding.
        restart: count positions from the start of each segment, else through the row.
        weights_BL: those of the tokens; None leaves `loss_weights` out.
    """
    tokens_BL, targets_BL, positions_BL = block_3BL
    rows, length = tokens_BL.shape
    starts_S = np.zeros_like(ends_S)
    starts_S[1:] = ends_S[:-1]
    starts_S[behind_B[:-1]] = 0
    lengths_S = ends_S - starts_S
    bounds = np.zeros(len(ends_S) + 1, np.int32)
    lengths_S.cumsum(out=bounds[1:])
    origins = starts_S.repeat(lengths_S).reshape(rows, length) if restart else 0
    np.subtract(np.arange(length), origins, out=positions_BL)
    padded = padded_B.nonzero()[0]
    unlearned = bounds[1:] - 1, list(zip(padded.tolist(), starts_S[behind_B[padded] - 1].tolist(), strict=True))
    arrays = {
        "tokens": tokens_BL,
        "targets": _struck(_following(tokens_BL, targets_BL), IGNORE, *unlearned),
        "loss_mask": _struck(np.ones((rows, length), np.bool_), False, *unlearned),
        "position_ids": positions_BL,
        "document_ids": _numbers(behind_B, padded, len(ends_S)).repeat(lengths_S).reshape(rows, length),
        "cu_seqlens": bounds,
        "max_seqlen": np.array(lengths_S.max(initial=0), np.int32),
    }
    if weights_BL is not None:
        following_BL = _following(weights_BL, np.empty((rows, length), np.float32))
        arrays["loss_weights"] = _struck(following_BL, 0, *unlearned)
    return arrays


def _numbers(behind_B: np.ndarray, padded: np.ndarray, segments: int) -> np.ndarray:
    """Return [S] int32, which of its row's segments each is; -1 for the padding of the rows that are `padded`."""
    numbers_S = np.arange(segments, dtype=np.int32)
    if len(behind_B) > 1:
        numbers_S[behind_B[0] :] -= behind_B[:-1].astype(np.int32).repeat(np.diff(behind_B))
    numbers_S[behind_B[padded] - 1] = -1
    return numbers_S


def _following(values_BL: np.ndarray, out_BL: np.ndarray) -> np.ndarray:
    """Write into `out_BL` the value of the position after each; at the very last it is left as it was."""
    out_BL.reshape(-1)[:-1] = values_BL.reshape(-1)[1:]
    return out_BL


def _struck(values_BL: np.ndarray, value: int, last_S: np.ndarray, padding: list[tuple[int, int]]) -> np.ndarray:
    """Write `value` at the last position of every segment, and in each (row, start) of padding to the row's end."""
    values_BL.reshape(-1)[last_S] = value
    for row, start in padding:
        values_BL[row, start:] = value
    return values_BL
