"""What a character is to the rules of quality: white space, letter, digit, punctuation, end of a sentence.

The answers are frozen in character_kinds.txt beside this file, because Python's own tables move with Python and a rule
would then decide otherwise about a corpus made last year. Kinds are bits of a uint8; a character may have several:

    WHITE     where str.split() splits
    BREAK     where str.splitlines() ends a line; always white
    LETTER    str.isalpha()
    DIGIT     category Nd, what `\\d` matches
    PUNCT     datatrove's PUNCTUATION_SET: its list of marks, the controls but the line feed, and all of TERMINAL
    TERMINAL  ends a sentence: Unicode's Sentence_Terminal with the full stops of other widths, 159 characters
    ALONE     a word of its own, since its script has no spaces (see `ALONE_RANGES`)

`python -m pipeline.kernels.character_kinds` prints the file from the running Python's unicodedata.
"""

import sys
import unicodedata
from collections.abc import Iterator
from functools import lru_cache
from itertools import groupby
from pathlib import Path

import numpy as np
from numba import njit

TABLE = Path(__file__).with_name("character_kinds.txt")
WHITE, BREAK, LETTER, DIGIT, PUNCT, TERMINAL, ALONE = (1 << bit for bit in range(7))
_FLAGS = "wbldpta"
_CODE_POINTS = 0x110000

ALONE_RANGES = (
    (0x0E00, 0x0EFF),  # Thai, Lao
    (0x0F00, 0x0FFF),  # Tibetan
    (0x1000, 0x109F),  # Myanmar
    (0x1780, 0x17FF),  # Khmer
    (0x2E80, 0x2FDF),  # CJK radicals
    (0x3005, 0x3007),  # CJK iteration mark, closing mark, zero
    (0x3021, 0x3029),  # CJK numerals
    (0x3040, 0x30FF),  # kana
    (0x3105, 0x312F),  # bopomofo
    (0x31F0, 0x31FF),  # kana
    (0x3400, 0x4DBF),  # CJK unified ideographs
    (0x4E00, 0x9FFF),
    (0xF900, 0xFAFF),
    (0xFF66, 0xFF9F),  # half-width kana
    (0x20000, 0x3FFFF),
)
"""Scripts without spaces between words. Hangul is not among them: Korean is written with spaces."""

_BREAKS = "\n\v\f\r\x1c\x1d\x1e\x85\u2028\u2029"
_TERMINAL = (
    "21 2E 3F 589 61D-61F 6D4 700-702 7F9 837 839 83D-83E 964-965 104A-104B 1362 1367-1368 166E 1735-1736 17D4-17D6 "
    "17D9-17DA 1803 1809 1944-1945 1AA8-1AAB 1B5A-1B5B 1B5E-1B5F 1B7D-1B7E 1C3B-1C3C 1C7E-1C7F 203C-203D 2047-2049 "
    "2E2E 2E3C 2E53-2E54 3002 A4FF A60E-A60F A6F3 A6F7 A876-A877 A8CE-A8CF A92F A9C8-A9C9 AA5D-AA5F AAF0-AAF1 ABEB "
    "FE52 FE56-FE57 FF01 FF0E FF1F FF61 10A56-10A57 10F55-10F59 10F86-10F89 11047-11048 110BE-110C1 11141-11143 "
    "111C5-111C6 111CD 111DE-111DF 11238-11239 1123B-1123C 112A9 1144B-1144C 115C2-115C3 115C9-115D7 11641-11642 "
    "1173C-1173E 11944 11946 11A42-11A43 11A9B-11A9C 11C41-11C42 11EF7-11EF8 11F43-11F44 16A6E-16A6F 16AF5 16B37-16B38 "
    "16B44 16E98 1BC9F 1DA88"
)
_PUNCT = (
    "0-8 B-1F 22-2D 2F 3A-3E 40 5B-60 7B-9F AB B4 BB 2013-2014 2019 201C-201E 2026 2236 2501 25BA 3001 3008-300D "
    "3010-3011 FF05 FF08-FF09 FF0C FF11 FF1A-FF1B FF5E"
)


@lru_cache(maxsize=4)
def kinds(stops: str | None = None) -> np.ndarray:
    """Return the kinds of every code point: uint8 [0x110000], read-only.

    Args:
        stops: the characters that are TERMINAL, instead of those of the file; what is PUNCT stays so.
    """
    found = np.zeros(_CODE_POINTS, np.uint8)
    for line in TABLE.read_text(encoding="ascii").splitlines():
        if not line.startswith("#"):
            first, last, flags = line.split("\t")
            found[int(first, 16) : int(last, 16) + 1] = sum(1 << _FLAGS.index(flag) for flag in flags)
    if stops is not None:
        found &= np.uint8(~TERMINAL & 0xFF)
        found[[ord(stop) for stop in stops]] |= np.uint8(TERMINAL)
    found.setflags(write=False)
    return found


@njit(cache=True, nogil=True)
def character(data, i):
    """Return (code point, bytes) of the character at i of valid UTF-8; callable from other kernels."""
    a = np.int64(data[i])
    if a < 0x80:
        return a, np.int64(1)
    b = np.int64(data[i + 1]) & 0x3F
    if a < 0xE0:
        return (a & 0x1F) << 6 | b, np.int64(2)
    c = np.int64(data[i + 2]) & 0x3F
    if a < 0xF0:
        return (a & 0xF) << 12 | b << 6 | c, np.int64(3)
    return (a & 7) << 18 | b << 12 | c << 6 | np.int64(data[i + 3]) & 0x3F, np.int64(4)


@njit(cache=True, nogil=True)
def character_before(data, i):
    """Return the code point of the character that ends before i; there must be one."""
    i -= 1
    while data[i] & 0xC0 == 0x80:
        i -= 1
    return character(data, i)[0]


def lines() -> Iterator[str]:
    """Yield the lines of the file as the running Python's unicodedata has them."""
    yield f"# Unicode {unicodedata.unidata_version}: first, last, kinds"
    terminal = _listed(_TERMINAL)
    punct = terminal | _listed(_PUNCT)
    answers = ((code, _answer(chr(code), code in punct, code in terminal)) for code in range(_CODE_POINTS))
    for flags, run in groupby(answers, key=lambda answer: answer[1]):
        codes = [code for code, _ in run]
        if flags:
            yield f"{codes[0]:X}\t{codes[-1]:X}\t{flags}"


def _answer(character: str, punct: bool, terminal: bool) -> str:
    tests = (
        character.isspace(),
        character in _BREAKS,
        character.isalpha(),
        unicodedata.category(character) == "Nd",
        punct,
        terminal,
        any(first <= ord(character) <= last for first, last in ALONE_RANGES) and not punct,
    )
    return "".join(flag for flag, true in zip(_FLAGS, tests, strict=True) if true)


def _listed(ranges: str) -> set[int]:
    ends = [[int(end, 16) for end in part.split("-")] for part in ranges.split()]
    return {code for end in ends for code in range(end[0], end[-1] + 1)}


if __name__ == "__main__":
    sys.stdout.writelines(line + "\n" for line in lines())
