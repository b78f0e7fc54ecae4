"""Slow and obvious twins of the deduplication kernels: sets, loops and Python's own Unicode."""

import hashlib
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


def byte_shingles(text: str, n: int) -> list[bytes]:
    joined = " ".join(words(text)).encode()
    n = min(n, len(joined))
    return [joined[i : i + n] for i in range(len(joined) - n + 1)] if joined else []


K0, K1, K2 = 0xA0761D6478BD642F, 0xE7037ED1A0B428DB, 0x589965CC75374CC3


def folded_product(u: int, v: int) -> int:
    return (u * v >> 64) ^ (u * v & MASK)


def number(data: bytes) -> int:
    return int.from_bytes(data, "little")


def bytes_hash(data: bytes) -> int:
    if len(data) <= 16:
        return folded_product(number(data[:8]) ^ K0, (number(data[8:]) + len(data) & MASK) ^ K1)
    h = len(data) ^ K1
    for i in range(0, len(data) - 8, 8):
        h = folded_product(h ^ number(data[i : i + 8]), K2)
    return folded_product(number(data[-8:]) ^ K0, h)


def shingle_hash(shingle: Sequence[str] | bytes) -> int:
    if isinstance(shingle, bytes):
        return bytes_hash(shingle)
    total = 0
    for j, word in enumerate(shingle):
        turn = 11 * j % 64
        h = bytes_hash(word.encode())
        total += (h << turn | h >> (64 - turn)) & MASK
    return total & MASK


def sha1_hash(shingle: Sequence[str] | bytes) -> int:
    data = shingle if isinstance(shingle, bytes) else " ".join(shingle).encode()
    return number(hashlib.sha1(data).digest()[:4])


def band_key(band: int, values: Sequence[int]) -> int:
    k = band + 1
    for i in range(0, len(values), 2):
        pair = sum(value << 32 * place for place, value in enumerate(values[i : i + 2]))
        k = k + folded_product(k ^ pair, 0x9FB21C651E98DF25) & MASK
    return folded_product(k, 0xD6E8FEB86659FD93)


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
