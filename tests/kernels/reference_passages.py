"""Slow and obvious twins of the kernels on passages, spans and suffixes: Python strings, dicts and loops."""

from collections import defaultdict
from collections.abc import Sequence


def lines(text: str) -> list[str]:
    return text.split("\n")


def paragraphs(text: str) -> list[str]:
    found: list[list[str]] = [[]]
    for line in text.split("\n"):
        if line.split():
            found[-1].append(line)
        elif found[-1]:
            found.append([])
    return ["\n".join(part) for part in found if part]


def without(text: bytes, spans: Sequence[tuple[int, int]]) -> bytes:
    left, at = b"", 0
    for start, end in spans:
        left, at = left + text[at:start], end
    return left + text[at:]


def lines_left(text: str, drop: Sequence[bool]) -> str:
    """Return the text without the lines in `drop`, by joining those that stay."""
    kept = [line for line, gone in zip(lines(text), drop, strict=True) if not gone]
    return "\n".join(kept)


def repeats(texts: Sequence[bytes], width: int, first_stays: bool) -> list[list[bool]]:
    """Return of every byte whether a window begins there that goes."""
    places = defaultdict(list)
    base = 0
    for text in texts:
        for i in range(len(text) - width + 1):
            places[text[i : i + width]].append(base + i)
        base += len(text)
    goes = [False] * base
    for found in places.values():
        for place in found:
            others = [p for p in found if place - p >= width or (p - place >= width and not first_stays)]
            goes[place] = bool(others)
    answers, base = [], 0
    for text in texts:
        answers.append(goes[base : base + len(text)])
        base += len(text)
    return answers


def windows(text: str, marked: Sequence[bool], width: int) -> str:
    """Return the text without the characters all bytes of which lie in a marked window."""
    data = text.encode()
    gone = [False] * len(data)
    for i, mark in enumerate(marked):
        if mark:
            for j in range(i, min(i + width, len(data))):
                gone[j] = True
    left, at = "", 0
    for character in text:
        size = len(character.encode())
        if not all(gone[at : at + size]):
            left += character
        at += size
    return left
