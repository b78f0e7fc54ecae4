"""What a model makes of texts: the nats it spends on each document, read alone.

A document longer than the context is read in windows half a context apart: each token is predicted once, with at least
half a context before it, except at the document's beginning. The first token is predicted from the start token, so the
nats are of all bytes.
"""

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch.nn import functional

from pipeline.proxy.model import Decoder
from pipeline.proxy.training import device, in_half_precision

BATCH_TOKENS = 8192


class Window(NamedTuple):
    """Tokens `begin`..`end` of a document are predicted from those before them, from `first` on."""

    document: int
    first: int
    begin: int
    end: int


def windows(length: int, context: int, document: int = 0) -> Iterator[Window]:
    """Yield the windows that predict the tokens 1..length-1 of a document, each once."""
    begin = 1
    while begin < length:
        first = max(0, begin - 1 - (0 if begin == 1 else context // 2))
        end = min(length, first + context + 1)
        yield Window(document, first, begin, end)
        begin = end


def nats(model: Decoder, documents: Sequence[np.ndarray], context: int) -> np.ndarray:
    """Return float64 [N], the nats of each document's tokens behind its first; 0 for a document without such."""
    todo = [window for at, ids in enumerate(documents) for window in windows(len(ids), context, at)]
    todo.sort(key=lambda window: (window.end - window.first, window.document, window.begin))
    spent_N, where = np.zeros(len(documents)), device()
    with torch.inference_mode():
        for batch in _batches(todo):
            losses_BT = _losses(model, [documents[w.document][w.first : w.end] for w in batch], where)
            for window, losses in zip(batch, losses_BT, strict=True):
                new = losses[window.begin - 1 - window.first : window.end - 1 - window.first]
                spent_N[window.document] += new.sum(dtype=np.float64)
    return spent_N


def bits_per_byte(nats_N: np.ndarray, size_bytes: int) -> float:
    """Return the bits that all documents together cost, by their bytes of text."""
    return float(nats_N.sum() / math.log(2) / size_bytes)


def _batches(todo: Sequence[Window]) -> Iterator[Sequence[Window]]:
    """Yield windows of about one length, so that little is padding."""
    begin = 0
    while begin < len(todo):
        end = begin + 1
        while end < len(todo) and (end + 1 - begin) * (todo[end].end - todo[end].first) <= BATCH_TOKENS:
            end += 1
        yield todo[begin:end]
        begin = end


def _losses(model: Decoder, rows: Sequence[np.ndarray], where: torch.device) -> np.ndarray:
    """Return the nats of each token behind the first of each row, float32 [B, T]; padding is last, so none sees it."""
    padded = np.zeros((len(rows), max(map(len, rows))), np.int64)
    for at, row in enumerate(rows):
        padded[at, : len(row)] = row
    row_BT = torch.from_numpy(padded).to(where)
    with in_half_precision(where):
        logits = model(row_BT[:, :-1])
    losses = functional.cross_entropy(logits.float().flatten(0, 1), row_BT[:, 1:].flatten(), reduction="none")
    found: np.ndarray = losses.view(len(rows), -1).cpu().numpy()
    return found
