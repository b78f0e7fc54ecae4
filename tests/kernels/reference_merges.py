"""The slow twin of `kernels.merges`: all neighbours counted anew before every merge."""

from collections import Counter
from itertools import pairwise


def learn(pieces, vocabulary, banned, wanted, most_words, least=2):
    """Return ([(left, right, made)], vocabulary) for pieces of ids and a vocabulary of byte strings."""
    pieces, vocabulary, merges = [list(piece) for piece in pieces], list(vocabulary), []
    goal = len(vocabulary) + wanted
    while len(vocabulary) < goal:
        counts = Counter(pair for piece in pieces for pair in pairwise(piece))
        allowed = [
            (-count, pair)
            for pair, count in counts.items()
            if count >= least and may(vocabulary[pair[0]], vocabulary[pair[1]], banned, most_words)
        ]
        if not allowed:
            break
        (left, right) = min(allowed)[1]
        text = vocabulary[left] + vocabulary[right]
        if text not in vocabulary:
            vocabulary.append(text)
        made = vocabulary.index(text)
        merges.append((left, right, made))
        pieces = [merged(piece, left, right, made) for piece in pieces]
    return merges, vocabulary


def may(left, right, banned, most_words):
    text = left + right
    return len(text.split()) <= most_words and not (left.endswith(b":") and right[:1] == b" ") and text not in banned


def merged(piece, left, right, made):
    out = []
    for token in piece:
        # The token before is one of the text only if it has not just been made.
        if out and out[-1] == (left, False) and token == right:
            out[-1] = (made, True)
        else:
            out.append((token, False))
    return [token for token, _ in out]
