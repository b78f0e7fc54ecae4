"""Short adversarial texts, on which two encoders that differ anywhere most likely differ too."""

import numpy as np

_SPACES = ("\r\n", "\n\n ", "  ", "\t", " ", "\u3000", "\u200b", "\u2028", "\ufeff", "\0", "\x7f")
_SPECIAL = ("<|endoftext|>", "</s>", "<|end_of_text|>", "<eos>", "<s>", "<|im_start|>")
_WORDS = ("'s", "'LL", "\u2019re", "1234567890", "a" * 300, "=" * 90, "__init__", "http://x.y/?q=1&r=%20")
_SCRIPTS = ("٣٤٥", "½Ⅷ", "e\u0301", "\ufb01", "İ", "ß", "漢字かな", "ไทย", "नमस्ते", "שלום", "🏳️‍🌈", "👩‍👩‍👧")
CORNERS = (*_SPACES, *_SPECIAL, *_WORDS, *_SCRIPTS, "def f(x):\n    return x\n")
LETTERS = np.array([*" abcdefghijklmnopqrstuvwxyzABCXYZ0123456789.,;:!?-_'\"\n"])
MOST_PIECES, MOST_LETTERS, CHARACTERS = 12, 20, 8
LATIN, ASTRAL = 0x250, 0x30000
_SURROGATES = (0xD800, 0xE000)


def fuzz(count: int, seed: int = 0) -> list[str]:
    """Return texts of 1 to 12 pieces: odd corners, runs of ASCII, of accented letters, of characters of any plane."""
    rng = np.random.default_rng(seed)
    ends = np.cumsum(rng.integers(1, MOST_PIECES + 1, count)).tolist()
    pieces = _pieces(rng, ends[-1] if ends else 0)
    return ["".join(pieces[begin:end]) for begin, end in zip([0, *ends], ends, strict=False)]


def _pieces(rng: np.random.Generator, count: int) -> list[str]:
    """Return pieces, 35 % of them corners, 25 % ASCII, 15 % Latin and the rest of anything."""
    kinds = rng.random(count)
    corners = rng.integers(len(CORNERS), size=count).tolist()
    letters = ["".join(row) for row in LETTERS[rng.integers(len(LETTERS), size=(count, MOST_LETTERS))].tolist()]
    lengths = rng.integers(1, MOST_LETTERS + 1, count).tolist()
    codes = rng.integers(np.where(kinds < 0.75, LATIN, ASTRAL)[:, None], size=(count, CHARACTERS))
    low, high = _SURROGATES  # no characters of their own: the letters before them stand in
    codes[(codes >= low) & (codes < high)] -= high - low
    odd = codes.astype("<u4").tobytes().decode("utf-32-le")
    made = zip(kinds.tolist(), corners, letters, lengths, range(0, count * CHARACTERS, CHARACTERS), strict=True)
    return [
        CORNERS[corner] if kind < 0.35 else ascii_[:length] if kind < 0.6 else odd[at : at + CHARACTERS]
        for kind, corner, ascii_, length, at in made
    ]
