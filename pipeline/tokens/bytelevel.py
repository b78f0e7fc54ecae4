"""The characters that stand for bytes in a byte-level tokenizer.json, and vocabularies as byte strings.

Printable bytes of Latin-1 stand for themselves, the others for the characters from 256 on, in order (OpenAI's GPT-2,
encoder.py, `bytes_to_unicode`).
"""

from collections.abc import Iterable, Sequence

import numpy as np

_PLAIN = [*range(33, 127), *range(161, 173), *range(174, 256)]
_OTHER = [byte for byte in range(256) if byte not in _PLAIN]
CHARACTERS = {byte: chr(byte) for byte in _PLAIN} | {byte: chr(256 + n) for n, byte in enumerate(_OTHER)}
"""Byte -> its character."""
_BYTES = np.full(256 + len(_OTHER), -1, np.int16)
_BYTES[[ord(character) for character in CHARACTERS.values()]] = list(CHARACTERS)


def to_bytes(name: str) -> bytes | None:
    """Return the bytes that a token's characters stand for; None if one of them stands for none."""
    codes = np.array([ord(character) for character in name], np.int64)
    if (codes >= len(_BYTES)).any() or (found := _BYTES[codes]).min(initial=0) < 0:
        return None
    return found.astype(np.uint8).tobytes()


def to_name(text: bytes) -> str:
    """Return the characters that stand for bytes."""
    return "".join(CHARACTERS[byte] for byte in text)


def flat(pieces: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Return (data uint8 [B], offsets int64 [N + 1]) of strings of such characters, one after the other."""
    codes = np.frombuffer("".join(pieces).encode("utf-32-le"), np.uint32)
    return _BYTES[codes].astype(np.uint8), bounds(len(piece) for piece in pieces)


def bounds(lengths: Iterable[int]) -> np.ndarray:
    """Return int64 [N + 1]: where things of these lengths begin and the last one ends."""
    return np.cumsum([0, *lengths], dtype=np.int64)
