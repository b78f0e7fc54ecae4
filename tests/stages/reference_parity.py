"""The slow twin of parity-aware BPE (Foroutan et al. 2025, algorithm 1): every pair of a language counted anew.

Before each merge, the language whose side of the parallel text has the most tokens is chosen, the first of equals; of
its text the pair that comes most often is merged, everywhere; of equals the last by the alphabet.
"""

from collections import Counter
from itertools import pairwise


def learn(words, parallel, merges, together=0, least=2):
    """Return [(left, right)] for words by language, a Counter of strings each, and the same of the parallel text.

    The first `together` merges are those of all languages counted as one.
    """
    words, parallel = ([split_of(counts) for counts in side] for side in (words, parallel))
    found = []
    for turn in range(merges):
        lengths = [sum(len(word) * count for word, count in language) for language in parallel]
        serving = words if turn < together else [words[lengths.index(max(lengths))]]
        pairs = Counter()
        for word, count in (entry for language in serving for entry in language):
            for pair in pairwise(word):
                pairs[pair] += count
        if not pairs or max(pairs.values()) < least:
            break
        left, right = max(pairs, key=lambda pair: (pairs[pair], pair))
        found.append((left, right))
        words, parallel = (
            [[(merged(word, left, right), count) for word, count in language] for language in side]
            for side in (words, parallel)
        )
    return found


def split_of(counts):
    return [(tuple(word), count) for word, count in sorted(counts.items())]


def merged(word, left, right):
    out, at = [], 0
    while at < len(word):
        together = word[at : at + 2] == (left, right)
        out.append(left + right if together else word[at])
        at += 1 + together
    return tuple(out)
