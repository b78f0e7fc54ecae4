"""Slow and obvious twins of the deduplication kernels: sets, loops and Python's own Unicode."""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Mapping, Sequence

from pipeline.kernels.unicode_table import ALONE_RANGES

ALONE = re.compile("[" + "".join(f"{chr(first)}-{chr(last)}" for first, last in ALONE_RANGES) + "]")
MASK = (1 << 64) - 1


def words(text: str) -> list[str]:
    text = unicodedata.normalize("NFC", text).lower()
    return re.findall(r"\w+", ALONE.sub(lambda match: f" {match[0]} ", text))


def shingles(text: str, n: int) -> list[tuple[str, ...]]:
    found = words(text)
    n = min(n, len(found))
    return [tuple(found[i : i + n]) for i in range(len(found) - n + 1)] if found else []


def mix(x: int) -> int:
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9 & MASK
    x = (x ^ (x >> 27)) * 0x94D049BB133111EB & MASK
    return x ^ (x >> 31)


def word_hash(word: str) -> int:
    data = word.encode()
    h = mix(len(data))
    for i in range(0, len(data), 8):
        h = mix(h ^ int.from_bytes(data[i : i + 8], "little"))
    return h


def shingle_hash(shingle: Sequence[str]) -> int:
    total = 0
    for j, word in enumerate(shingle):
        turn = 11 * j % 64
        h = word_hash(word)
        total += (h << turn | h >> (64 - turn)) & MASK
    return mix(total & MASK)


def fold32(shingle: int) -> int:
    return (shingle ^ (shingle >> 32)) & 0xFFFFFFFF


def jaccard(a: set, b: set) -> float:
    return len(a & b) / len(a | b) if a | b else 0.0


def pairs(buckets: Sequence[Sequence[int]], run: int, hubs: int = 4) -> set[tuple[int, int]]:
    """Return the (better, worse) pairs of buckets that name documents best first: all of a small one, else a star."""
    return {
        (x, y)
        for bucket in buckets
        for j, y in enumerate(bucket)
        for x in bucket[: j if len(bucket) <= run else min(j, hubs)]
    }


def greedy(
    order: Sequence[int], like: Mapping[int, Sequence[tuple[int, float]]]
) -> dict[int, tuple[int, float] | None]:
    """Return the (keeper, similarity) of each document, None if it stays; `order` is best first.

    `like` names the better documents each one is like, the best of them first.
    """
    answers: dict[int, tuple[int, float] | None] = {}
    for document in order:
        kept = [(other, similarity) for other, similarity in like.get(document, ()) if answers[other] is None]
        answers[document] = max(kept, key=lambda pair: pair[1]) if kept else None
    return answers


def components(edges: Sequence[tuple[int, int]]) -> dict[int, int]:
    """Return each node's smallest companion."""
    neighbours = defaultdict(set)
    for a, b in edges:
        neighbours[a].add(b)
        neighbours[b].add(a)
    smallest: dict[int, int] = {}
    for node in sorted(neighbours):
        waiting = [node] if node not in smallest else []
        while waiting:
            here = waiting.pop()
            if here not in smallest:
                smallest[here] = node
                waiting += neighbours[here]
    return smallest
