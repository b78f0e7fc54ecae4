"""An encoder that cuts each piece of a text into the fewest tokens of the vocabulary, in place of by merges.

Pieces are those of the tokenizer's own pre-tokenizer. Added tokens, the special ones among them, are never made.

Letters: B bytes of all texts, P pieces, N texts.
"""

import json
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tokenizers import Tokenizer

from pipeline.errors import ConfigError
from pipeline.kernels import fewest
from pipeline.tokens import bytelevel, engine

NAME = "minimum"
BYTES = 256
INSIDE = "@"
"""What stands before a byte that does not begin a piece, in the vocabulary of `splitting`."""


class Pieces(NamedTuple):
    """Texts cut into pieces, which lie back to back."""

    data: np.ndarray
    """uint8 [B]."""
    ends: np.ndarray
    """int64 [P + 1]: piece p is data[ends[p]:ends[p + 1]]."""
    firsts: np.ndarray
    """int64 [N + 1]: text n is the pieces from firsts[n] up to firsts[n + 1]."""


Splitter = Callable[[list[str]], Pieces]


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
                "minimum segmentation wants a byte-level tokenizer; this one does not cut text into bytes"
            )
        try:
            self._trie = fewest.trie(np.frombuffer(b"".join(strings.values()), np.uint8), offsets, np.array([*strings]))
        except ValueError as error:
            raise ConfigError(f"minimum segmentation wants a byte-level vocabulary: {error}") from None
        self._split, self.note = splitter(specification)

    def encode(self, texts: list[str]) -> tuple[np.ndarray, np.ndarray]:
        """Return (ids [T] uint32 of all texts back to back, offsets [N + 1] int64 into them)."""
        pieces = self._split(texts)
        ids, counts = fewest.cut(pieces.data, pieces.ends, self._trie)
        return ids, np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)])[pieces.firsts]


def splitter(specification: str) -> tuple[Splitter, str]:
    """Return what cuts texts into pieces and, if it is not the fast engine, why: both are asked to cut a fuzz set."""
    slow, texts = by_reference(specification), engine.fuzz(engine.FUZZED)
    try:
        fast = by_engine(specification)
        if all(np.array_equal(found, expected) for found, expected in zip(fast(texts), slow(texts), strict=True)):
            return fast, ""
        return slow, f"{engine.FAST} does not cut text into the pieces of {engine.REFERENCE}, which cuts in its place"
    except BaseException as error:  # a Rust panic arrives as BaseException
        if isinstance(error, KeyboardInterrupt | SystemExit | MemoryError):
            raise
        return slow, f"{engine.FAST} cannot cut as this tokenizer does: {type(error).__name__}: {error}"


def by_reference(specification: str) -> Splitter:
    """Return the pre-tokenizer as `tokenizers` runs it, some five times slower."""
    tokenizer = Tokenizer.from_str(specification)
    normalizer, pre_tokenizer = tokenizer.normalizer, tokenizer.pre_tokenizer

    def split(texts: list[str]) -> Pieces:
        pieces: list[str] = []
        numbers = []
        for text in texts:
            found = pre_tokenizer.pre_tokenize_str(normalizer.normalize_str(text) if normalizer else text)
            pieces += [piece for piece, _ in found]
            numbers.append(len(found))
        return Pieces(*bytelevel.flat(pieces), bytelevel.bounds(numbers))

    return split


def by_engine(specification: str) -> Splitter:
    """Return the pre-tokenizer as fastokens runs it: it encodes with a vocabulary whose ids tell where pieces begin."""
    encoder = engine.FastEncoder(splitting(specification))

    def split(texts: list[str]) -> Pieces:
        ids_B, offsets = encoder.encode(texts)
        begins_P = np.flatnonzero(ids_B < BYTES)
        return Pieces(
            ids_B.astype(np.uint8), np.append(begins_P, len(ids_B)), np.searchsorted(begins_P, offsets).astype(np.int64)
        )

    return split


def splitting(specification: str) -> str:
    """Return a tokenizer.json that makes one token of each byte: the byte itself where a piece begins, else + 256.

    Its model is a byte-pair encoding without merges, whose tokens inside a piece have a prefix.
    """
    bytes_ = {character: byte for byte, character in bytelevel.CHARACTERS.items()}
    inside = {INSIDE + character: BYTES + byte for character, byte in bytes_.items()}
    model = {"type": "BPE", "continuing_subword_prefix": INSIDE, "vocab": bytes_ | inside, "merges": []}
    return json.dumps(json.loads(specification) | {"model": model, "added_tokens": []}, ensure_ascii=False)


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
