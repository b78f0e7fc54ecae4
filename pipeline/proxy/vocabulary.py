"""A small byte-level BPE: trained on a list of texts, read from a file, texts to ids.

The split is GPT-2's. Every byte has a token, so no text is lost; id 0 stands before every document.
"""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

START = "<|start|>"
START_ID = 0
BATCH_TEXTS = 512


def trained(texts: Sequence[str], size: int) -> Tokenizer:
    """Return a tokenizer of at most `size` tokens; the same texts in another order may give another one."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=[START],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer, length=len(texts))
    return tokenizer


@lru_cache(maxsize=1)
def opened(path: Path) -> Tokenizer:
    """Return the tokenizer in a file; the last one stays in memory."""
    return Tokenizer.from_file(str(path))


def encoded(tokenizer: Tokenizer, texts: Sequence[str]) -> list[np.ndarray]:
    """Return the ids of each text as uint16, the start token first; an empty text is the start token alone.

    What looks like the start token in a text is spelled out.
    """
    tokenizer.encode_special_tokens = True
    found: list[np.ndarray] = []
    for begin in range(0, len(texts), BATCH_TEXTS):
        batch = list(texts[begin : begin + BATCH_TEXTS])
        encodings = tokenizer.encode_batch_fast(batch, add_special_tokens=False)
        found += [np.array([START_ID, *encoding.ids], np.uint16) for encoding in encodings]
    return found
