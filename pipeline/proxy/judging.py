"""What documents cost a small model, in bits; by the byte it is a measure that knows no vocabulary. Imports torch."""

import math
from collections.abc import Sequence

import numpy as np

from pipeline.proxy import training, vocabulary
from pipeline.proxy.lm import document_losses
from pipeline.proxy.model import Decoder


def bits_of(model: Decoder, documents: Sequence[np.ndarray], context: int) -> float:
    """Return what all documents cost; each is read alone, and its first token predicted from the start token.

    Args:
        documents: ids of each, the start token first (see `vocabulary.encoded`).
        context: positions of the windows in which a document is read.
    """
    offsets = np.cumsum([0, *(len(ids) - 1 for ids in documents)])
    tokens = np.concatenate([ids[1:] for ids in documents])
    prefix = (vocabulary.START_ID,)
    where = training.device()
    nats_N, _ = document_losses(
        training.halved(model, where), tokens, offsets, window=context, prefix=prefix, device=where
    )
    return float(nats_N.sum()) / math.log(2)
