"""The rules of C4 (Raffel et al. 2020, section 2.2, and the code that came with it), as datatrove applies them.

Some are about lines, which go and leave a shorter text; the others are about the document. Reasons are `c4_` and the
field, or `c4_empty` for a document of which no line stays. See `kernels.c4_lines` for lines and sentences.
"""

import numpy as np
from pydantic import Field, field_validator

from pipeline.kernels import c4_lines
from pipeline.kernels.c4_lines import POLICY
from pipeline.quality.rules import Group, Rule


class C4(Group):
    """Which lines go, and which documents.

    `bad_words` names the list with which a document must have nothing in common: "en" is the file bad_words.en, a
    phrase a line. They count between characters that are in no word, unless `bad_words_anywhere`: for scripts without
    spaces. FineWeb leaves `terminal_punctuation` out.
    """

    word_length: int | None = Field(1000, ge=1)
    citations: bool = True
    terminal_punctuation: bool = True
    line_words: int | None = Field(3, ge=1)
    javascript: bool = True
    policy: tuple[str, ...] = POLICY
    lorem_ipsum: bool = True
    curly_bracket: bool = True
    too_few_sentences: int | None = Field(5, ge=1)
    bad_words: str | None = None
    bad_words_anywhere: bool = False

    @field_validator("policy")
    @classmethod
    def _of_two_characters(cls, policy: tuple[str, ...]) -> tuple[str, ...]:
        if short := [phrase for phrase in policy if len(phrase.encode()) < 2]:
            raise ValueError(f"the phrase {short[0]!r} has fewer than two characters")
        return policy

    def rules(self) -> c4_lines.Rules:
        """Return the rules about lines as the kernel takes them."""
        return c4_lines.Rules(
            terminal_punctuation=self.terminal_punctuation,
            line_words=self.line_words or 0,
            word_length=self.word_length or 0,
            citations=self.citations,
            javascript=self.javascript,
            flanked=not self.bad_words_anywhere,
        )

    def limit(self, rule: Rule) -> float | None:
        """Return the limit of a rule that is on; a list of bad words allows none."""
        return (0.0 if self.bad_words else None) if rule.field == "bad_words" else super().limit(rule)


C4_RULES = (
    Rule("lorem_ipsum", "most", "lorem_ipsum"),
    Rule("curly_bracket", "most", "curly_bracket"),
    Rule("too_few_sentences", "least", "sentences"),
    Rule("bad_words", "most", "bad_words"),
)
EMPTY = "empty"


def counts(found_NC: np.ndarray) -> dict[str, np.ndarray]:
    """Return the kernel's counts by name."""
    return {name: found_NC[:, place] for place, name in enumerate(c4_lines.COUNTS)}
