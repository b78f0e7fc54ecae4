"""Text from outside, made harmless to look at: no control characters, no turned writing direction, then escaped."""

import re
from html import escape

_UNSEEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]")


def visible(text: str) -> str:
    """Return text in which what a screen would obey and not show is `�`; newline and tab stay."""
    return _UNSEEN.sub("�", text)


def escaped(text: str) -> str:
    """Return visible text for HTML and SVG, inside and outside of attributes."""
    return escape(visible(text))
