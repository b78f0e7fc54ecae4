"""Slow, obvious twin of pipeline.kernels.utf8: Python's strict decoder and a set of characters."""

import sys
import unicodedata

# Characters of Unicode's White_Space: str.isspace also takes U+001C-001F, which are controls and in the set anyway.
BLANKS = {
    chr(code) for code in range(sys.maxunicode + 1) if chr(code).isspace() or unicodedata.category(chr(code)) == "Cc"
} | set("\u200b\u200c\u200d\ufeff")


def state(value: bytes) -> int:
    try:
        text = value.decode("utf-8", "strict")
    except UnicodeDecodeError:
        return 2
    return 1 if all(character in BLANKS for character in text) else 0
