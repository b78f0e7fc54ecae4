"""What decides how a vocabulary is trained."""

import math
from typing import Literal

from pydantic import Field, field_validator, model_validator

from pipeline.stage import Params
from pipeline.tokens.split import Digits, SplitName, Whitespace, pattern, pre_tokenizer, wide_pattern

BYTES = 256
LARGEST_VOCABULARY = 1 << 20
"""Four times that of any model; the trainer makes room for all of it at once, and aborts where it cannot."""

Kind = Literal["bpe", "superbpe", "parity"]
OF_A_KIND: dict[str, Kind] = {
    "transition": "superbpe",
    "most_words": "superbpe",
    "languages": "parity",
    "ratio": "parity",
    "variant": "parity",
    "global_merges": "parity",
}
"""Parameters that only one kind has."""


class TrainParams(Params):
    """What is learned (`kind`, `vocab_size`), from which sample, and how text is cut before.

    `vocab_size` counts the 256 bytes and the special tokens, of which the first ends a document. `max_bytes` is the
    size of the sample; `weights` are the domains' shares of it: "natural", "uniform", or a number a domain, and none
    for the others. `split`, `digits` and `whitespace` are policies of `tokens.split`; null digits are the split's own.

    superbpe: the share `transition` of the merges is learned within words, the others across words, up to `most_words`
    in a token. parity: `languages` are domains, or a column of the documents; each merge serves the language that is
    encoded worst, by the parallel text in the role `parallel`, or by the `ratio` of bytes a token wanted of each
    language; `variant: window` keeps from serving one language for long; the share `global_merges` of the merges is
    learned first, from all languages alike.
    """

    kind: Kind = "bpe"
    vocab_size: int = Field(16384, ge=BYTES + 1, le=LARGEST_VOCABULARY)
    max_bytes: int = Field(10_000_000, gt=0)
    seed: int = 0
    weights: Literal["natural", "uniform"] | dict[str, float] = "natural"
    special_tokens: tuple[str, ...] = ("<|endoftext|>",)
    split: SplitName = "llama3"
    digits: Digits | None = None
    whitespace: Whitespace = "runs"
    transition: float = Field(0.9, gt=0, lt=1)
    most_words: int = Field(4, ge=2)
    languages: str = Field("domain", min_length=1)
    ratio: dict[str, float] | None = None
    variant: Literal["base", "window"] = "base"
    global_merges: float = Field(0, ge=0, lt=1)

    def narrow(self) -> str:
        """Return the expression that cuts text into pieces within which merges are learned."""
        return pattern(self.split, self.digits, self.whitespace)

    def wide(self) -> str:
        """Return the expression that cuts text into pieces which may span words."""
        return wide_pattern(self.split, self.digits, self.whitespace)

    def merges(self) -> int:
        """Return how many merges fill the vocabulary."""
        return self.vocab_size - BYTES - len(self.special_tokens)

    @field_validator("special_tokens")
    @classmethod
    def _are_distinct(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if not names or len(set(names)) != len(names) or "" in names:
            raise ValueError("special_tokens must be distinct and not empty; the first ends a document")
        return names

    @field_validator("weights", "ratio")
    @classmethod
    def _are_positive(cls, numbers: str | dict[str, float] | None) -> str | dict[str, float] | None:
        for name, number in numbers.items() if isinstance(numbers, dict) else ():
            if not (math.isfinite(number) and number > 0):
                raise ValueError(f"of {name!r} is {number}; give numbers above 0, and leave out what is to have none")
        if numbers == {}:
            raise ValueError("names nothing; leave it out, or give a number by name")
        return numbers

    @model_validator(mode="after")
    def _fit_each_other(self) -> "TrainParams":
        for name in sorted(self.model_fields_set):
            kind = OF_A_KIND.get(name, self.kind)
            if kind != self.kind and getattr(self, name) != type(self).model_fields[name].default:
                raise ValueError(f"`{name}` is of kind {kind}, and kind is {self.kind}: leave out one of the two")
        if self.merges() < 1:
            least = BYTES + len(self.special_tokens)
            raise ValueError(f"vocab_size is {self.vocab_size}; bytes and special tokens alone are {least}")
        cut = pre_tokenizer(self.narrow())
        if plain := [name for name in self.special_tokens if len(cut.pre_tokenize_str(name)) < 2]:
            raise ValueError(
                f"special_tokens: {plain[0]!r} is one piece of ordinary text, so a document could make it; "
                f"put signs around it, such as '<|{plain[0].strip('<|>')}|>'"
            )
        return self
