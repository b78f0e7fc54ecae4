"""Slow twin of the C4 line rules: plain Python on strings, after datatrove's filter, with our sentences."""

import re

from pipeline.kernels.c4_lines import POLICY, Rules
from pipeline.kernels.character_kinds import TERMINAL, WHITE, kinds

CITATION = re.compile(r"\[\d*]|\[edit]|\[citation needed]")
ALL = Rules()


def sentences(line: str) -> int:
    marks = "".join(re.escape(chr(code)) for code in (kinds() & TERMINAL).nonzero()[0])
    count = 1
    for run in re.finditer(rf"[{marks}][{marks}\"')\]”’»]*", line):
        rest = line[run.end() :]
        wide = any(ord(c) >= 0x80 and kinds()[ord(c)] & TERMINAL for c in run.group())
        count += bool(rest) and (wide or bool(kinds()[ord(rest[0])] & WHITE))
    return count


def lower(text: str) -> str:
    return "".join(c.lower() if c.isascii() else c for c in text)


def filtered(
    text: str, rules: Rules = ALL, policy: tuple[str, ...] = POLICY, bad_words: tuple[str, ...] = ()
) -> tuple[str, dict[str, int]]:
    """The text that is left, and the counts."""
    found = dict.fromkeys(("sentences", "lorem_ipsum", "curly_bracket", "bad_words", "kept_lines"), 0)
    found |= dict.fromkeys(("word_length", "terminal_punctuation", "line_words", "javascript", "policy"), 0)
    kept = []
    for whole in text.splitlines():
        line = whole.strip()
        words = line.split()
        if rules.word_length and any(len(word) > rules.word_length for word in words):
            found["word_length"] += 1
            continue
        line = CITATION.sub("", line) if rules.citations else line
        if rules.terminal_punctuation and (not line.endswith((".", "?", "!", '"', "'")) or line.endswith("...")):
            found["terminal_punctuation"] += 1
            continue
        if len(words) < rules.line_words:
            found["line_words"] += 1
            continue
        small = lower(line)
        found["lorem_ipsum"] |= "lorem ipsum" in small
        if rules.javascript and "javascript" in small:
            found["javascript"] += 1
            continue
        found["curly_bracket"] |= "{" in line
        if any(phrase in small for phrase in policy):
            found["policy"] += 1
            continue
        flank = r"(?:[^\w]|^)({})(?:[^\w]|$)" if rules.flanked else "({})"
        if bad_words:
            found["bad_words"] |= re.search(flank.format("|".join(map(re.escape, bad_words))), small) is not None
        found["sentences"] += sentences(line)
        found["kept_lines"] += 1
        kept.append(line)
    left = "\n".join(kept).strip()
    return left, found | {"bytes_left": len(left.encode())}
