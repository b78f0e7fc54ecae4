"""The bit masks of texts against the kinds of their characters, one by one."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.kernels import text_masks
from pipeline.kernels.character_kinds import ALONE, BREAK, LETTER, PUNCT, TERMINAL, WHITE, kinds
from pipeline.kernels.hashing import read_only

HARD = [*map(chr, range(128)), *"é…。\u3000\u2028\x85文ไ😀ß•", "..", "....", " " * 70, "x" * 70]
TEXTS = st.lists(st.sampled_from(HARD), max_size=150).map("".join) | st.text(st.characters(codec="utf-8"))


def masks_of(text: str, before: str = "", after: str = "") -> tuple[dict[str, list[bool]], tuple[int, ...]]:
    """Each mask as bools, one a byte of the text and 57 more, and what `fill` returns."""
    data = read_only(np.frombuffer((before + text + after).encode(), np.uint8))
    begin, size = len(before.encode()), len(text.encode())
    room = text_masks.room(size)
    told = text_masks.fill(data, begin, begin + size, kinds(), text_masks.at(room), np.empty(64, np.uint8))
    bits = np.unpackbits(room.view(np.uint8), axis=1, bitorder="little")[:, : size + 57].astype(bool)
    return dict(zip(text_masks.Masks._fields, bits.tolist(), strict=True)), told


def expected(text: str) -> dict[str, list[bool]]:
    found: dict[str, list[bool]] = {name: [] for name in text_masks.Masks._fields}
    for character in text:
        kind, width = int(kinds()[ord(character)]), len(character.encode())
        true = {"white": kind & WHITE, "breaks": kind & BREAK, "letters": kind & LETTER, "alone": kind & ALONE}
        true |= {"stops": kind & TERMINAL, "punct": kind & (PUNCT | WHITE) == PUNCT, "feeds": character == "\n"}
        true |= {"brackets": character == "[", "curlies": character == "{"}
        for name, value in true.items():
            found[name] += [bool(value)] * width
        found["parts"] += [False] + [True] * (width - 1)
    return {name: bits + [name == "white"] * 57 for name, bits in found.items()}


@settings(max_examples=300)
@given(TEXTS, st.sampled_from(["", "a", "é"]), st.sampled_from(["", "[{文" * 40]))
def test_every_byte_has_the_kinds_of_its_character(text, before, after):
    found, (seen, characters, hashes, ellipses) = masks_of(text, before, after)
    assert found == expected(text)
    beyond = [int(kinds()[ord(character)]) for character in text if character >= "\x80"]
    assert seen == np.bitwise_or.reduce(np.array(beyond, np.uint8))
    assert (characters, hashes) == (len(text), text.count("#"))
    assert ellipses == text.count("...") + text.count("…")


@given(st.lists(st.booleans(), min_size=1, max_size=300), st.data())
def test_ones_and_zeros_are_found_and_counted(bits, data):
    room = np.packbits([*bits, *[False] * 128], bitorder="little")
    room = np.concatenate([room, np.zeros(-len(room) % 8 + 8, np.uint8)])
    mask, end = room.ctypes.data, len(bits)
    i = data.draw(st.integers(0, end))
    ones, zeros = ([place for place in range(i, end) if bits[place] == value] for value in (True, False))
    assert text_masks.next_one(mask, i, end) == (ones or [end])[0]
    assert text_masks.next_zero(mask, i, end) == (zeros or [end])[0]
    assert text_masks.last_zero(mask, i, end) == ([i - 1, *zeros])[-1] + 1
    assert text_masks.count_ones(mask, i, end) == len(ones)
