"""SuperBPE: merges within words first, then merges across them, as one plain byte-pair encoding.

Liu et al. 2025, "SuperBPE: Space Travel for Language Models". The second stage encodes the same text with the first
stage's merges, cut only where no superword may reach, and goes on merging (`kernels.merges`).
"""

import json
from collections.abc import Callable, Sequence

import numpy as np
from tokenizers import Tokenizer

from pipeline.kernels import merges
from pipeline.tokens import bytelevel, engine, pieces, split
from pipeline.tokens.train_params import TrainParams

BATCH = 256
"""Documents encoded at once: an encoding of `tokenizers` takes some 300 bytes a token."""

Cut = Callable[[list[str]], tuple[np.ndarray, np.ndarray]]


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
    tokens, ends = _pieces(first, strings, texts)
    data, offsets = np.frombuffer(b"".join(strings), np.uint8), bytelevel.bounds(map(len, strings))
    wanted = params.vocab_size - len(names)
    found, data, offsets = merges.learn(tokens, ends, data, offsets, banned, wanted, params.most_words)
    for token in range(len(names), len(offsets) - 1):
        names.append(bytelevel.to_name(data[offsets[token] : offsets[token + 1]].tobytes()))
    return _made(first, names, [[names[left], names[right]] for left, right, _ in found.tolist()])


def _pieces(first: Tokenizer, strings: Sequence[bytes], texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Return (ids int32 [T], ends int64 [P + 1]) of all pieces of the texts; strings are the tokens' bytes."""
    way, _ = pieces.proved(lambda: by_engine(first, strings), by_reference(first))
    ids, lengths = [np.zeros(0, np.int32)], [np.zeros(0, np.int64)]
    for start in range(0, len(texts), BATCH):
        some, ends = way(list(texts[start : start + BATCH]))
        ids.append(some)
        lengths.append(np.diff(ends))
    return np.concatenate(ids), np.concatenate([np.zeros(1, np.int64), np.cumsum(np.concatenate(lengths))])


def by_reference(first: Tokenizer) -> Cut:
    """Return what cuts texts into (ids int32 [T], ends int64 [P + 1]), as `tokenizers` does."""

    def cut(texts: list[str]) -> tuple[np.ndarray, np.ndarray]:
        ids, lengths = [np.zeros(0, np.int32)], [np.zeros(1, np.int64)]
        for encoding in first.encode_batch(texts, add_special_tokens=False):
            ids.append(np.array(encoding.ids, np.int32))
            lengths.append(np.unique(np.array(encoding.word_ids, np.int64), return_counts=True)[1])
        return np.concatenate(ids), np.cumsum(np.concatenate(lengths))

    return cut


def by_engine(first: Tokenizer, strings: Sequence[bytes]) -> Cut:
    """Return what does the same with fastokens: a piece ends with the token that ends at its last byte."""
    specification = first.to_str()
    encoder, split = engine.FastEncoder(specification), pieces.by_engine(specification)
    sizes_V = np.array([len(string) for string in strings], np.int64)

    def cut(texts: list[str]) -> tuple[np.ndarray, np.ndarray]:
        ids, _ = encoder.encode(texts)
        return ids.astype(np.int32), np.searchsorted(np.cumsum(sizes_V[ids]), split(texts).ends, "right")

    return cut


def _made(first: Tokenizer, names: Sequence[str], more: list[list[str]]) -> Tokenizer:
    """Return the tokenizer with these tokens and further merges; a merge that is known already stays where it is."""
    made = json.loads(first.to_str())
    every = {tuple(merge): None for merge in [*made["model"]["merges"], *more]}
    made["model"] |= {"vocab": {name: token for token, name in enumerate(names)}, "merges": [*every]}
    return Tokenizer.from_str(json.dumps(made, ensure_ascii=False))
