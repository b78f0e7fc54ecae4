"""SuperBPE: merges within words first, then merges across them, as one plain byte-pair encoding.

Liu et al. 2025, "SuperBPE: Space Travel for Language Models". The second stage encodes the same text with the first
stage's merges, cut only where no superword may reach, and goes on merging (`kernels.merges`).
"""

import json
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from pipeline.kernels import merges
from pipeline.tokens import bytelevel, split
from pipeline.tokens.train_params import TrainParams

BATCH = 256
"""Documents encoded at once: an encoding takes some 300 bytes a token."""


def extend(first: Tokenizer, texts: Sequence[str], params: TrainParams) -> Tokenizer:
    """Return the tokenizer whose vocabulary goes on from that of `first` with superwords, up to params.vocab_size."""
    cut = split.pre_tokenizer(params.wide())
    first.pre_tokenizer = cut
    first.encode_special_tokens = True
    model = json.loads(first.to_str())["model"]
    names = sorted(model["vocab"], key=model["vocab"].get)
    strings = [bytelevel.to_bytes(name) or b"" for name in names]
    banned = np.array([name in params.special_tokens for name in names])
    strings = [name.encode() if no else text for name, text, no in zip(names, strings, banned, strict=True)]
    tokens, ends = _pieces(first, texts)
    data, offsets = np.frombuffer(b"".join(strings), np.uint8), bytelevel.bounds(map(len, strings))
    wanted = params.vocab_size - len(names)
    found, data, offsets = merges.learn(tokens, ends, data, offsets, banned, wanted, params.most_words)
    for token in range(len(names), len(offsets) - 1):
        names.append(bytelevel.to_name(data[offsets[token] : offsets[token + 1]].tobytes()))
    return _made(first, names, [[names[left], names[right]] for left, right, _ in found.tolist()])


def _pieces(first: Tokenizer, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Return (ids int32 [T], ends int64 [P + 1]) of all pieces of the texts."""
    ids, lengths = [np.zeros(0, np.int32)], [np.zeros(0, np.int64)]
    for encoding in _encodings(first, texts):
        ids.append(np.array(encoding.ids, np.int32))
        lengths.append(np.unique(np.array(encoding.word_ids, np.int64), return_counts=True)[1])
    return np.concatenate(ids), bytelevel.bounds(np.concatenate(lengths).tolist())


def _encodings(first: Tokenizer, texts: Sequence[str]) -> Iterator[Any]:
    for start in range(0, len(texts), BATCH):
        yield from first.encode_batch(texts[start : start + BATCH], add_special_tokens=False)


def _made(first: Tokenizer, names: Sequence[str], more: list[list[str]]) -> Tokenizer:
    """Return the tokenizer with these tokens and further merges; a merge that is known already stays where it is."""
    made = json.loads(first.to_str())
    every = {tuple(merge): None for merge in [*made["model"]["merges"], *more]}
    made["model"] |= {"vocab": {name: token for token, name in enumerate(names)}, "merges": [*every]}
    return Tokenizer.from_str(json.dumps(made, ensure_ascii=False))
