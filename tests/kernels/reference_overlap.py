"""Slow and obvious twins of `overlap` and `pieces`: tuples of words, dicts and strings."""

from collections import defaultdict
from collections.abc import Sequence

Words = Sequence[str]
Run = tuple[str, ...]


def keys(passage: Words, ngram: int, least: int) -> list[Run]:
    if len(passage) >= ngram:
        return [tuple(passage[i : i + ngram]) for i in range(len(passage) - ngram + 1)]
    return [tuple(passage)] if len(passage) >= least else []


def built(passages: Sequence[Words], items: Sequence[int], ngram: int, least: int, most: int) -> dict[Run, set[int]]:
    """Return the passages of every key."""
    found = defaultdict(set)
    for number, passage in enumerate(passages):
        for key in keys(passage, ngram, least):
            found[key].add(number)
    return {key: own for key, own in found.items() if len({items[p] for p in own}) <= most}


def sought(document: Words, index: dict[Run, set[int]]) -> list[tuple[int, Run]]:
    """Return (place, key), at one place the shorter one first, as the whole passages come before the n-grams."""
    sizes = sorted({len(key) for key in index})
    runs = [(at, tuple(document[at : at + size])) for at in range(len(document)) for size in sizes]
    return [(at, run) for at, run in dict.fromkeys(runs) if run in index]


def weighed(hits: list[tuple[int, Run]], index: dict[Run, set[int]]) -> dict[int, tuple[int, int]]:
    """Return of every passage met how many of its keys are there, and its longest run of words."""
    found, places = defaultdict(set), defaultdict(dict)
    for at, key in hits:
        for passage in index[key]:
            found[passage].add(key)
            places[passage][at] = len(key)
    return {passage: (len(found[passage]), longest(places[passage])) for passage in found}


def longest(places: dict[int, int]) -> int:
    most = 0
    for at, size in places.items():
        end = at
        while end + 1 in places:
            end += 1
        most = max(most, end - at + size)
    return most


def around(text: str, spans: Sequence[tuple[int, int]], margin: int, least: int) -> list[str]:
    """Return the pieces that stay; spans are in characters."""
    gone = [False] * len(text)
    for start, end in spans:
        for i in range(max(0, start - margin), min(len(text), end + margin)):
            gone[i] = True
    pieces = [""]
    for character, away in zip(text, gone, strict=True):
        if away:
            pieces.append("")
        else:
            pieces[-1] += character
    return [piece for piece in pieces if piece and (not spans or len(piece) >= least)]
