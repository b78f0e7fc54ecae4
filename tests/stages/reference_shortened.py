"""Slow and obvious twins of the stages that shorten documents: dicts of strings."""

from collections import defaultdict

from tests.kernels import reference_passages as twin
from tests.stages.dedup import Rows
from tests.stages.shortened import doc_keys


def passages_left(rows: Rows, unit: str, params) -> list[tuple[bool, list[str]]]:
    """Return of every document whether it is kept, and the passages that stay in it."""
    split = twin.lines if unit == "line" else twin.paragraphs
    rank = {domain: place for place, domain in enumerate(params.priority)}
    places = defaultdict(list)
    for number, ((text, domain), ids) in enumerate(zip(rows, doc_keys(rows), strict=True)):
        for position, passage in enumerate(split(text)):
            if len(" ".join(passage.split()).encode()) >= params.min_bytes:
                key = (" ".join(passage.split()), domain if params.scope == "domain" else "")
                places[key].append((rank.get(domain, len(rank)), ids, number, position))
    drop = set()
    for found in places.values():
        if len({number for _, _, number, _ in found}) > params.most:
            stays = min(found) if params.keep == "first" else None
            drop |= {place[2:] for place in found if place != stays}
    answers = []
    for number, (text, _) in enumerate(rows):
        kept = [p for position, p in enumerate(split(text)) if (number, position) not in drop]
        shorter = any(place[0] == number for place in drop)
        size = sum(len(" ".join(p.split()).encode()) for p in kept)
        answers.append((not shorter or size >= params.min_left_bytes, kept))
    return answers


def substrings_left(rows: Rows, width: int, first_stays: bool) -> list[str]:
    """Return what is left of every document when all are one group."""
    order = sorted(range(len(rows)), key=lambda number: doc_keys(rows)[number])
    marked = twin.repeats([rows[number][0].encode() for number in order], width, first_stays)
    answers = [""] * len(rows)
    for number, marks in zip(order, marked, strict=True):
        answers[number] = twin.windows(rows[number][0], marks, width)
    return answers
