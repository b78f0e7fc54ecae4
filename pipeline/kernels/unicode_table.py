"""What a code point is to the word kernels: letter or separator, its lower case, a word of its own, trouble for NFC.

The answers are frozen in unicode_words.txt beside this file, because Python's own tables move with Python: a letter
that becomes known would change the words, the shingles and in the end the decisions of a corpus made last year.

A character is of these kinds:

    w  matches \\w, that is, alphanumeric by Python's str.isalnum, or the underscore; all others separate words
    a  a word of its own although written without spaces (see `ALONE_RANGES`)
    c  lower case or NFC of a text with this character cannot be told one character at a time: Quick_Check of NFC is not
       Yes; a capital sigma (its lower case depends on the place in the word); a dotted capital I (its lower case is two
       characters)

An entry of the table is a uint64, what a kernel writes in the place of the character:

    bits  0-47  the UTF-8 of its lower case, first byte lowest; between spaces for `a`; a space for a separator
    bits 48-50  the number of these bytes, 1 to 5
    bit   63    CONTEXT: the kind `c`

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

LENGTH_AT = 48
CONTEXT = 1 << 63
_CODE_POINTS = 0x110000
_SPACE = 0x20


@lru_cache(maxsize=1)
def table() -> np.ndarray:
    """Return the entry of every code point: uint64 [0x110000], read-only."""
    lower, kinds = np.zeros(_CODE_POINTS, np.uint32), np.zeros(_CODE_POINTS, np.uint8)
    for first, last, delta, flags in _runs_of_file():
        lower[first : last + 1] = np.arange(first + delta, last + delta + 1)
        kinds[first : last + 1] = sum(1 << "wac".index(flag) for flag in flags if flag != "-")
    entries = np.full(_CODE_POINTS, _SPACE | 1 << LENGTH_AT, np.uint64)
    words = np.flatnonzero(kinds & 1)
    entries[words] = _written(lower[words].astype(np.uint64), kinds[words] & 2 != 0)
    entries[kinds & 4 != 0] |= np.uint64(CONTEXT)
    entries.setflags(write=False)
    return entries


def _written(codes: np.ndarray, alone: np.ndarray) -> np.ndarray:
    text, length = _utf8(codes)
    between = _SPACE | text << 8 | np.uint64(_SPACE) << (8 * length + 8)
    return np.where(alone, between | length + 2 << LENGTH_AT, text | length << LENGTH_AT)


def _utf8(codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the UTF-8 of each code point as a little-endian number, and its length in bytes; all of uint64."""
    length = 1 + (codes >= 0x80).astype(np.uint64) + (codes >= 0x800) + (codes >= 0x10000)
    text = np.zeros_like(codes)
    for size, head in ((1, 0), (2, 0xC0), (3, 0xE0), (4, 0xF0)):
        here = codes[length == size]
        bytes_ = [head | here >> 6 * (size - 1), *(0x80 | here >> 6 * k & 0x3F for k in reversed(range(size - 1)))]
        text[length == size] = sum(byte << 8 * place for place, byte in enumerate(bytes_))
    return text, length


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
