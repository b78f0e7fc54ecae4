"""Encoders: a text becomes token ids, by fastokens where it proves equal to Hugging Face `tokenizers`, else by those.

Both are given the same tokenizer.json with what must not act while a corpus is encoded taken out: truncation, padding
and the template that adds special tokens. The literal text of a special token (`<|endoftext|>`) stays ordinary text, so
no document can forge a boundary; EOS is made special for this even where the file forgot to say so.
"""

from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import fastokens
import numpy as np
import orjson
import tokenizers

from pipeline.errors import ConfigError
from pipeline.tokens.fuzz import fuzz

FAST, REFERENCE = "fastokens", "tokenizers"
EOS_NAMES = ("<|endoftext|>", "</s>", "<|end_of_text|>", "<eos>")
FUZZED = 1000
LETTERS = ("é", "ж", "中", "𒀀")
"""Ever rarer ones: a vocabulary of characters most likely lacks the last."""
AT_ONCE = 1 << 20


class Vocabulary(NamedTuple):
    """What packing has to know of a tokenizer."""

    size: int
    """One more than the largest id."""
    eos: str
    eos_id: int


class Encoder(Protocol):
    """A loaded tokenizer."""

    def encode(self, texts: list[str]) -> tuple[np.ndarray, np.ndarray]:
        """Return (ids [T] uint32 of all texts back to back, offsets [N + 1] int64 into them)."""


class FastEncoder:
    """fastokens: one flat buffer, no Python object per token."""

    def __init__(self, specification: str):
        self._tokenizer = fastokens.Tokenizer.from_json_str(specification)

    def encode(self, texts: list[str]) -> tuple[np.ndarray, np.ndarray]:
        ids, offsets = self._tokenizer.encode_batch_flat(texts, False, True)
        return np.frombuffer(ids, np.uint32), np.frombuffer(offsets, np.uint64).astype(np.int64)


class ReferenceEncoder:
    """Hugging Face `tokenizers`: what everybody compares with, some fifty times slower."""

    def __init__(self, specification: str):
        self._tokenizer = tokenizers.Tokenizer.from_str(specification)
        self._tokenizer.encode_special_tokens = True

    def encode(self, texts: list[str]) -> tuple[np.ndarray, np.ndarray]:
        parts: list[np.ndarray] = []
        for some in groups(texts, AT_ONCE):  # an encoding takes some 130 bytes for every byte of its text
            encodings = self._tokenizer.encode_batch_fast(some, add_special_tokens=False)
            parts += [np.array(encoding.ids, np.uint32) for encoding in encodings]
        offsets = np.cumsum([0, *(len(part) for part in parts)], dtype=np.int64)
        return np.concatenate(parts) if parts else np.zeros(0, np.uint32), offsets


def groups(texts: Iterable[str], characters: int) -> Iterator[list[str]]:
    """Yield texts in their order, as many at a time as have at least so many characters; fewer at the end."""
    some: list[str] = []
    held = 0
    for text in texts:
        some.append(text)
        held += len(text)
        if held >= characters:
            yield some
            some, held = [], 0
    if some:
        yield some


def encoder(path: Path, eos: str, engine: str) -> Encoder:
    """Return the tokenizer.json at `path` loaded by `engine`; once a process, unless the file is written anew."""
    return _encoder(path, stamp(path), eos, engine)


@lru_cache(maxsize=4)
def _encoder(path: Path, _written: tuple[int, ...], eos: str, engine: str) -> Encoder:
    made = specification(path, eos)
    return FastEncoder(made) if engine == FAST else ReferenceEncoder(made)


def stamp(path: Path) -> tuple[int, ...]:
    """Return what differs once a file has been written anew; () where there is none."""
    try:
        found = path.stat()
    except OSError:
        return ()
    return found.st_mtime_ns, found.st_size, found.st_ino


def specification(path: Path, eos: str) -> str:
    """Return the JSON of a tokenizer without truncation, padding and template, its EOS marked special."""
    plain = _json(path)
    for token in plain.get("added_tokens", []):
        token["special"] = token["special"] or token["content"] == eos
    return orjson.dumps(plain | {"truncation": None, "padding": None, "post_processor": None}).decode()


def vocabulary(path: Path, eos: str | None = None) -> Vocabulary:
    """Return the size of a vocabulary and its EOS: the one named, or the first of EOS_NAMES it has.

    Raises:
        ConfigError: the file is not a tokenizer.json, or has no such token; says which special tokens it has.
    """
    known = ids(path)
    found = [name for name in ((eos,) if eos else EOS_NAMES) if name in known]
    if not found:
        missing = f"no token {eos!r}" if eos else f"none of the tokens {', '.join(EOS_NAMES)}"
        raise ConfigError(f"{path} has {missing}; name its end of text with `tokens.eos`. It adds: {added(path)}")
    return Vocabulary(max(known.values()) + 1, found[0], known[found[0]])


def ids(path: Path) -> dict[str, int]:
    """Return the id of every token of a tokenizer.json, the added ones too; it is not the caller's to change.

    Raises:
        ConfigError: the file is not a tokenizer.json.
    """
    return _ids(path, stamp(path))


@lru_cache(maxsize=4)
def _ids(path: Path, _written: tuple[int, ...]) -> dict[str, int]:
    text = orjson.dumps(_json(path)).decode()
    try:
        found: dict[str, int] = tokenizers.Tokenizer.from_str(text).get_vocab(with_added_tokens=True)
    except Exception as error:  # the library raises bare Exception
        raise ConfigError(f"{path} is not a tokenizer.json that `tokenizers` can load: {error}") from None
    return found


def added(path: Path) -> str:
    """Return the first tokens that a tokenizer.json adds to its model's, for an error that names what there is."""
    names = [token["content"] for token in _json(path).get("added_tokens", [])]
    return ", ".join(names[:12]) or "none"


def unknown(path: Path) -> str | None:
    """Return the token that stands for text which a vocabulary cannot write; None if it has none."""
    model = _json(path)["model"]
    if model.get("unk_id") is not None:  # Unigram
        return str(model["vocab"][model["unk_id"]][0])
    named = model.get("unk_token")
    return named if named in ids(path) else None  # a file may name one that it does not have


def silent(chosen: Encoder) -> list[str]:
    """Return those of some letters that an encoder makes no token of: it drops what its vocabulary cannot write."""
    return [letter for letter in LETTERS if not len(chosen.encode([letter])[0])]


def choose(path: Path, eos: str, texts: Sequence[str]) -> tuple[str, str]:
    """Return the engine to use and, if it is not the fast one, why.

    Both engines encode `texts` and a fuzz set; the fast one is taken if every id is equal.

    Raises:
        ConfigError: the reference cannot encode with it, such as with a model that lacks its token for the unknown.
    """
    everything = [*texts, *fuzz(FUZZED)]
    try:
        expected, bounds = encoder(path, eos, REFERENCE).encode(everything)
    except Exception as error:  # the library raises bare Exception
        raise ConfigError(f"{path} cannot encode text: {error}") from None
    try:
        found, found_bounds = encoder(path, eos, FAST).encode(everything)
        for text, a, b in zip(everything, pairwise(bounds), pairwise(found_bounds), strict=True):
            if not np.array_equal(expected[a[0] : a[1]], found[b[0] : b[1]]):
                return REFERENCE, f"{FAST} differs from {REFERENCE} on {text[:60]!r}"
    except BaseException as error:  # a Rust panic arrives as BaseException
        if isinstance(error, KeyboardInterrupt | SystemExit | MemoryError):
            raise
        return REFERENCE, f"{FAST} cannot use this tokenizer: {type(error).__name__}: {error}"
    return FAST, ""


def _json(path: Path) -> dict[str, Any]:
    try:
        plain = orjson.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} is not a tokenizer.json: {error}") from None
    if not isinstance(plain, dict) or "model" not in plain:
        raise ConfigError(f"{path} is not a tokenizer.json: it has no `model`")
    return plain
