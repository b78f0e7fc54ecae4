"""An encoder that cuts each piece of a text into the fewest tokens of the vocabulary, in place of by merges.

Pieces are those of the tokenizer's own pre-tokenizer. Added tokens, the special ones among them, are never made.
"""

import json
from functools import lru_cache
from pathlib import Path

import numpy as np

from pipeline.errors import ConfigError
from pipeline.kernels import fewest
from pipeline.tokens import bytelevel, engine, pieces

NAME = "minimum"


class MinimumEncoder:
    """Minimum-token segmentation (Schmidt et al. 2024, PathPiece) with a byte-level vocabulary.

    `note` says why text is cut into pieces the slow way; it is empty where it is not.
    """

    def __init__(self, specification: str):
        """Load a tokenizer.json.

        Raises:
            ConfigError: its tokens or its pieces are not byte-level, or a byte is no token.
        """
        strings = words(specification)
        offsets = bytelevel.bounds(map(len, strings.values()))
        if '"ByteLevel"' not in json.dumps(json.loads(specification).get("pre_tokenizer")):
            raise ConfigError(
                "minimum segmentation wants a byte-level tokenizer; this one does not cut text into bytes. Leave out "
                "`segmentation: minimum`"
            )
        try:
            self._trie = fewest.trie(np.frombuffer(b"".join(strings.values()), np.uint8), offsets, np.array([*strings]))
        except ValueError as error:
            raise ConfigError(f"minimum segmentation wants a byte-level vocabulary: {error}") from None
        self._split, self.note = pieces.splitter(specification)

    def encode(self, texts: list[str]) -> tuple[np.ndarray, np.ndarray]:
        """Return (ids [T] uint32 of all texts back to back, offsets [N + 1] int64 into them)."""
        cut = self._split(texts)
        ids, counts = fewest.cut(cut.data, cut.ends, self._trie)
        return ids, np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)])[cut.firsts]


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
