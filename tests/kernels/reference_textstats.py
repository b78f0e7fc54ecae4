"""Slow twin of the text statistics: plain Python on strings, in the words of datatrove's filters."""

import re
from collections import Counter

from pipeline.kernels.character_kinds import ALONE, PUNCT, TERMINAL, WHITE, kinds
from pipeline.kernels.textstats import COUNTS


def is_kind(character: str, kind: int, stops: str | None = None) -> bool:
    return bool(kinds(stops)[ord(character)] & kind)


def words_of(text: str) -> list[str]:
    """Words as the kernel's docstring says: pieces between white space and characters that stand alone, peeled."""
    words = []
    for chunk in text.split():
        piece = ""
        for character in chunk:
            if is_kind(character, ALONE):
                words += [*peeled(piece), character]
                piece = ""
            else:
                piece += character
        words += peeled(piece)
    return words


def peeled(piece: str) -> list[str]:
    marks = [is_kind(character, PUNCT) for character in piece]
    if all(marks):
        return list(piece)
    begin, end = marks.index(False), len(piece) - marks[::-1].index(False)
    return [*piece[:begin], piece[begin:end], *piece[end:]]


def repeated(parts: list[str]) -> tuple[int, int]:
    """How many parts came before, and their characters."""
    seen, count, characters = set(), 0, 0
    for part in parts:
        if part in seen:
            count, characters = count + 1, characters + len(part)
        seen.add(part)
    return count, characters


def top_gram(words: list[str], n: int) -> int:
    grams = Counter(" ".join(words[i : i + n]) for i in range(len(words) - n + 1))
    return max((count * len(gram) for gram, count in grams.most_common(1)), default=0)


def repeated_grams(words: list[str], n: int) -> int:
    seen, characters, at = set(), 0, 0
    while at <= len(words) - n:
        gram = "".join(words[at : at + n])
        if gram in seen:
            characters, at = characters + len(gram), at + n
        else:
            seen.add(gram)
            at += 1
    return characters


def counts(
    text: str, stop_words: tuple[str, ...] = (), stops: str | None = None, short: int = 30, repetitions: bool = True
) -> list[int]:
    if not text:
        return [0] * len(COUNTS)
    words, lines = words_of(text), text.splitlines()
    plain = [word for word in words if not all(is_kind(c, PUNCT) for c in word)]
    full = [line for line in text.split("\n") if line.strip()]
    paragraphs, runs = re.split(r"\n{2,}", text.strip()), re.split(r"\n+", text)
    found = {
        "characters": len(text),
        "words": len(words),
        "plain_words": len(plain),
        "plain_characters": sum(map(len, plain)),
        "alpha_words": sum(any(c.isalpha() for c in word) for word in words),
        "stop_words": len(set(stop_words) & set(words)),
        "hashes": text.count("#"),
        "ellipses": text.count("...") + text.count("…"),
        "lines": len(lines),
        "bullet_lines": sum(line.lstrip().startswith(("-", "•")) for line in lines),
        "ellipsis_lines": sum(line.rstrip().endswith(("...", "…")) for line in lines),
        "newlines": text.count("\n"),
        "full_lines": len(full),
        "ended_lines": sum(is_kind(line[-1], TERMINAL, stops) for line in full),
        "short_lines": sum(len(line) <= short for line in full),
        "repeated_line_characters": repeated(full)[1],
        "line_characters": len(text) - text.count("\n"),
        "paragraphs": len(paragraphs),
        "runs": len(runs),
    }
    found["repeated_paragraphs"], found["repeated_paragraph_characters"] = repeated(paragraphs)
    found["repeated_runs"], found["repeated_run_characters"] = repeated(runs)
    found |= {f"top_{n}_gram": top_gram(words, n) * repetitions for n in (2, 3, 4)}
    found |= {f"repeated_{n}_grams": repeated_grams(words, n) * repetitions for n in range(5, 11)}
    assert is_kind(" ", WHITE)
    return [found[name] for name in COUNTS]
