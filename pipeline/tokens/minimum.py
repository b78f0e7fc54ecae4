"""An encoder that cuts each piece of a text into the fewest tokens of the vocabulary, in place of by merges.

Pieces are those of the tokenizer's own pre-tokenizer. Added tokens, the special ones among them, are never made.
"""

import json
from functools import lru_cache
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from pipeline.errors import ConfigError
from pipeline.kernels import fewest
from pipeline.tokens import bytelevel, engine

NAME = "minimum"


class MinimumEncoder:
    """Minimum-token segmentation (Schmidt et al. 2024, PathPiece) with a byte-level vocabulary."""

    def __init__(self, specification: str):
        """Load a tokenizer.json.

        Raises:
            ConfigError: its tokens or its pieces are not byte-level, or a byte is no token.
        """
        tokenizer = Tokenizer.from_str(specification)
        strings = words(specification)
        self._normalizer, self._cut = tokenizer.normalizer, tokenizer.pre_tokenizer
        if self._cut is None or '"ByteLevel"' not in json.dumps(json.loads(specification)["pre_tokenizer"]):
            raise ConfigError(
                "minimum segmentation wants a byte-level tokenizer; this one does not cut text into bytes"
            )
        offsets = bytelevel.bounds(map(len, strings.values()))
        try:
            self._trie = fewest.trie(np.frombuffer(b"".join(strings.values()), np.uint8), offsets, np.array([*strings]))
        except ValueError as error:
            raise ConfigError(f"minimum segmentation wants a byte-level vocabulary: {error}") from None

    def encode(self, texts: list[str]) -> tuple[np.ndarray, np.ndarray]:
        """Return (ids [T] uint32 of all texts back to back, offsets [N + 1] int64 into them)."""
        pieces: list[str] = []
        numbers = []
        for text in texts:
            plain = self._normalizer.normalize_str(text) if self._normalizer else text
            found = self._cut.pre_tokenize_str(plain)
            pieces += [piece for piece, _ in found]
            numbers.append(len(found))
        ids, counts = fewest.cut(*bytelevel.flat(pieces), self._trie)
        return ids, bytelevel.bounds(counts.tolist())[bytelevel.bounds(numbers)]


def words(specification: str) -> dict[int, bytes]:
    """Return the bytes of every token by its id, but for added tokens and those that stand for no bytes."""
    plain = json.loads(specification)
    added = {token["id"] for token in plain.get("added_tokens", [])}
    vocabulary = plain["model"].get("vocab", {})
    if not isinstance(vocabulary, dict):  # a Unigram model lists its tokens with their scores
        return {}
    found = {token: bytelevel.to_bytes(name) for name, token in vocabulary.items() if token not in added}
    return {token: text for token, text in sorted(found.items()) if text}


def minimum_encoder(path: Path) -> MinimumEncoder:
    """Return the encoder of the tokenizer.json at `path`; once a process, unless the file is written anew."""
    return _encoder(path, engine.stamp(path))


@lru_cache(maxsize=4)
def _encoder(path: Path, _written: tuple[int, ...]) -> MinimumEncoder:
    return MinimumEncoder(engine.specification(path, ""))
