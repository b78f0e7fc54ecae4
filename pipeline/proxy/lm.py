"""What documents cost a causal language model, in nats. Imports torch: others import this module only when they score.

Letters: N documents, B windows of a batch, L positions, V vocabulary.

A document is read alone: `prefix`, then its tokens; nothing of a neighbour is in its context. Every token is scored
once, in windows (see `pipeline.kernels.windows`). A batch holds windows of like length, filled up on the right, where a
causal model cannot look; so it needs no mask, and the numbers are those of one window at a time up to the order in
which a matrix product adds.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from pipeline.kernels import windows

Forward = Callable[[torch.Tensor], torch.Tensor]
"""Token ids int64 [B, L] to logits [B, L, V]; position l sees the positions up to l."""

BATCH_TOKENS = 1024
_POSITIONS_AT_ONCE = 256  # whose softmax is taken: a vocabulary of 128,000 makes 131 MB of them


def document_losses(
    forward: Forward,
    tokens: np.ndarray,
    offsets: np.ndarray,
    *,
    window: int,
    stride: int | None = None,
    prefix: tuple[int, ...] = (),
    batch_tokens: int = BATCH_TOKENS,
    device: "torch.device | str" = "cpu",
) -> tuple[np.ndarray, np.ndarray]:
    """Return (nats float64 [N], scored tokens int64 [N]): the sum of -log p over each document's scored tokens.

    With a prefix (usually the token that begins a text) all tokens of a document are scored, without one all but the
    first. A document without a scored token costs 0 nats.

    Args:
        forward: the model, without dropout; see `Forward`. Gradients are off while it is called.
        tokens: ids of all documents, end to end; document n has tokens[offsets[n] : offsets[n + 1]].
        window: most positions the model reads at once, prefix included.
        stride: how far a window begins behind the one before; half a window by default.
        batch_tokens: positions of a batch, padding included. It may change the last digits.

    Raises:
        ValueError: the window is too small for the prefix or the stride.
    """
    before = len(prefix)
    lengths_N = np.diff(offsets).astype(np.int64)
    sequences_N = np.where(lengths_N > 0, lengths_N + before, 0)
    cut_W4 = windows.cut(sequences_N, window, stride or max(window // 2, 1), max(before, 1))
    nats_N, scored_N = np.zeros(len(lengths_N)), np.maximum(lengths_N - (before == 0), 0)
    ids = np.ascontiguousarray(tokens)
    with torch.inference_mode():
        for rows in windows.batches(cut_W4[:, 2] - cut_W4[:, 1], batch_tokens):
            some_B4 = cut_W4[rows]
            ids_BL = torch.from_numpy(windows.padded(ids, offsets, np.array(prefix, np.int64), some_B4)).to(device)
            np.add.at(nats_N, some_B4[:, 0], _nats(forward(ids_BL), ids_BL, some_B4))
    return nats_N, scored_N


def _nats(logits_BLV: torch.Tensor, ids_BL: torch.Tensor, windows_B4: np.ndarray) -> np.ndarray:
    """Return the nats float64 [B] of the scored positions of each window, whatever the type of the logits."""
    sums_B = torch.zeros(len(windows_B4), dtype=torch.float64, device=logits_BLV.device)
    for row, (_, begin, end, scored) in enumerate(windows_B4.tolist()):
        for low in range(scored - begin, end - begin, _POSITIONS_AT_ONCE):
            high = min(low + _POSITIONS_AT_ONCE, end - begin)
            logits = logits_BLV[row, low - 1 : high - 1].float()
            costs = torch.nn.functional.cross_entropy(logits, ids_BL[row, low:high], reduction="none")
            sums_B[row] += costs.double().sum()
    found: np.ndarray = sums_B.cpu().numpy()
    return found


def forward_of(model: Any) -> Forward:
    """Return the forward function of a causal model of Hugging Face transformers."""
    return lambda ids_BL: model(input_ids=ids_BL, use_cache=False).logits
