"""The pieces that a byte-level tokenizer cuts texts into before its model sees them; by fastokens where it is equal.

Letters: B bytes of all texts, P pieces, N texts.
"""

import json
from collections.abc import Callable
from typing import NamedTuple, TypeVar

import numpy as np
from tokenizers import Tokenizer

from pipeline.tokens import bytelevel, engine
from pipeline.tokens.fuzz import fuzz

BYTES = 256
INSIDE = "@"
"""What stands before a byte that does not begin a piece, in the vocabulary of `splitting`."""

Arrays = TypeVar("Arrays", bound=tuple[np.ndarray, ...])
Way = Callable[[list[str]], Arrays]


class Pieces(NamedTuple):
    """Texts cut into pieces, which lie back to back."""

    data: np.ndarray
    """uint8 [B]."""
    ends: np.ndarray
    """int64 [P + 1]: piece p is data[ends[p]:ends[p + 1]]."""
    firsts: np.ndarray
    """int64 [N + 1]: text n is the pieces from firsts[n] up to firsts[n + 1]."""


def proved(make: Callable[[], Way[Arrays]], slow: Way[Arrays]) -> tuple[Way[Arrays], str]:
    """Return the fast way that `make` returns or, where it gives other arrays of a fuzz set, the slow one and why."""
    texts = fuzz(engine.FUZZED)
    try:
        fast = make()
        if all(np.array_equal(found, expected) for found, expected in zip(fast(texts), slow(texts), strict=True)):
            return fast, ""
        return slow, f"{engine.FAST} does not cut text into the pieces of {engine.REFERENCE}, which cuts in its place"
    except BaseException as error:  # a Rust panic arrives as BaseException
        if isinstance(error, KeyboardInterrupt | SystemExit | MemoryError):
            raise
        return slow, f"{engine.FAST} cannot cut as this tokenizer does: {type(error).__name__}: {error}"


def splitter(specification: str) -> tuple[Way[Pieces], str]:
    """Return what cuts texts into pieces and, if it is not the fast engine, why."""
    return proved(lambda: by_engine(specification), by_reference(specification))


def by_reference(specification: str) -> Way[Pieces]:
    """Return the pre-tokenizer as `tokenizers` runs it, some five times slower."""
    tokenizer = Tokenizer.from_str(specification)
    normalizer, pre_tokenizer = tokenizer.normalizer, tokenizer.pre_tokenizer

    def split(texts: list[str]) -> Pieces:
        found: list[str] = []
        numbers = []
        for text in texts:
            cut = pre_tokenizer.pre_tokenize_str(normalizer.normalize_str(text) if normalizer else text)
            found += [piece for piece, _ in cut]
            numbers.append(len(cut))
        return Pieces(*bytelevel.flat(found), bytelevel.bounds(numbers))

    return split


def by_engine(specification: str) -> Way[Pieces]:
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
