"""What a code point is to the word kernels: letter or separator, its lower case, a word of its own, trouble for NFC.

The answers are frozen in unicode_words.txt beside this file, because Python's own tables move with Python: a letter
that becomes known would change the words, the shingles and in the end the decisions of a corpus made last year.

An entry is a uint32:

    bits  0-20  the code point in lower case
    bit   21    WORD: matches \\w, that is, alphanumeric by Python's str.isalnum, or the underscore
    bit   22    ALONE: a word of its own although written without spaces (see `ALONE_RANGES`)
    bit   23    CONTEXT: lower case or NFC of a text with this character cannot be told one character at a time:
                Quick_Check of NFC is not Yes; a capital sigma (its lower case depends on the place in the word); a
                dotted capital I (its lower case is two characters)

(A text is out of NFC also where marks stand in the wrong order. A mark is in no word, so for words that is no matter.)
The file has a line for each run of code points with equal answers: first, last (hexadecimal), difference of the lower
case, flags; code points in no run are separators. Unassigned ones are separators too; they are named by the flag `-` so
that a newer Python can be kept from knowing better (see `shingles.plain`).
`python -m pipeline.kernels.unicode_table` prints the file from the running Python's unicodedata.
"""

import re
import sys
import unicodedata
from collections.abc import Iterator
from functools import lru_cache
from itertools import groupby
from pathlib import Path

import numpy as np

TABLE = Path(__file__).with_name("unicode_words.txt")
UNICODE = "14.0.0"
"""Version of Unicode in the file: the oldest of the Pythons we run on (3.11)."""

ALONE_RANGES = (
    (0x0E00, 0x0EFF),  # Thai, Lao
    (0x1100, 0x11FF),  # Hangul letters
    (0x1780, 0x17FF),  # Khmer
    (0x2E80, 0x9FFF),  # CJK radicals, punctuation, kana, bopomofo, CJK unified ideographs and extension A
    (0xA960, 0xA97F),  # Hangul letters
    (0xAC00, 0xD7FF),  # Hangul syllables and letters
    (0xF900, 0xFAFF),  # CJK compatibility ideographs
    (0xFF66, 0xFFDC),  # half-width kana and Hangul
)
"""Scripts without spaces between words: each character is a word. The planes above U+FFFF are not among them."""

LOWER = 0x1FFFFF
WORD, ALONE, CONTEXT = 1 << 21, 1 << 22, 1 << 23
_CODE_POINTS = 0x110000
_FLAGS = {"w": WORD, "a": ALONE, "c": CONTEXT}


@lru_cache(maxsize=1)
def table() -> np.ndarray:
    """Return the entry of every code point: uint32 [0x110000], read-only."""
    entries = np.arange(_CODE_POINTS, dtype=np.uint32)
    for first, last, delta, flags in _runs_of_file():
        bits = sum(_FLAGS.get(flag, 0) for flag in flags)
        entries[first : last + 1] = (np.arange(first, last + 1) + delta) | bits
    entries.setflags(write=False)
    return entries


@lru_cache(maxsize=1)
def unassigned() -> re.Pattern[str]:
    """Return a pattern that matches a run of code points without a character in the frozen version."""
    holes = (f"\\U{first:08x}-\\U{last:08x}" for first, last, _, flags in _runs_of_file() if flags == "-")
    return re.compile("[" + "".join(holes) + "]+")


def _runs_of_file() -> Iterator[tuple[int, int, int, str]]:
    for line in TABLE.read_text(encoding="ascii").splitlines():
        if line and not line.startswith("#"):
            first, last, delta, flags = line.split("\t")
            yield int(first, 16), int(last, 16), int(delta), flags


def lines() -> Iterator[str]:
    """Yield the lines of the file as the running Python's unicodedata has them."""
    yield f"# Unicode {unicodedata.unidata_version}: first, last, lower case - code point, flags"
    maybe = _second_of_a_composition()
    answers = ((code, *_answer(code, maybe)) for code in range(_CODE_POINTS) if not 0xD800 <= code < 0xE000)
    for (_, *answer), run in groupby(answers, key=lambda a: (a[0] >= 0xE000, *a[1:])):
        codes = [code for code, *_ in run]
        if answer != [0, ""]:
            delta, flags = answer
            yield f"{codes[0]:X}\t{codes[-1]:X}\t{delta}\t{flags}"


def _answer(code: int, maybe: set[str]) -> tuple[int, str]:
    character = chr(code)
    if unicodedata.category(character) == "Cn":
        return 0, "-"
    lower = character.lower()
    context = (
        character in maybe or character == "Σ" or len(lower) > 1 or not unicodedata.is_normalized("NFC", character)
    )
    delta = 0 if len(lower) > 1 else ord(lower) - code
    word = lower[0].isalnum() or lower == "_"
    alone = any(first <= ord(lower[0]) <= last for first, last in ALONE_RANGES)
    flags = ("w" if word else "") + ("a" if word and alone else "") + ("c" if context else "")
    return delta, flags


def _second_of_a_composition() -> set[str]:
    """Return the characters whose NFC Quick_Check is Maybe: they compose with something before them."""
    second = {chr(code) for code in (*range(0x1161, 0x1176), *range(0x11A8, 0x11C3))}  # Hangul vowels, finals
    for code in range(_CODE_POINTS):
        parts = unicodedata.decomposition(chr(code)).split()
        if len(parts) == 2 and parts[0][0] != "<" and unicodedata.is_normalized("NFC", chr(code)):
            second.add(chr(int(parts[1], 16)))
    return second


if __name__ == "__main__":
    sys.stdout.writelines(line + "\n" for line in lines())
