"""The slow twin of `kernels.fewest`: all cuts of a piece."""


def cuts(text, tokens):
    """Yield every way to cut a byte string into tokens."""
    if not text:
        yield []
    for length in range(1, len(text) + 1):
        if text[:length] in tokens:
            yield from ([text[:length], *rest] for rest in cuts(text[length:], tokens))


def cut(text, tokens):
    """Return the shortest cut; of several the one with the longest first token, then second, and so on."""
    return min(cuts(text, tokens), key=lambda found: (len(found), [-len(token) for token in found]))
