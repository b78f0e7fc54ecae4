"""How documents are packed: what a recipe may say of it, and what that makes a document cost."""

from typing import Literal

from pydantic import Field, model_validator

from pipeline.kernels.document_cost import Rule
from pipeline.stage import Params


class PackingParams(Params):
    """How documents share sequences.

    `mode`: "best_fit" puts the longest document first, each into the fullest sequence with room; "concat_chunk" puts
    documents end to end and cuts every sequence_length tokens; "pad" gives each a sequence of its own; "spfhp" is
    shortest-pack-first with at most `depth` documents a sequence, the published reference. A document longer than a
    sequence is cut into full pieces and a rest; a rest of fewer than `least_rest` tokens is left out, and without
    `split` the document is. With `one_domain` a sequence holds documents of one domain. `bos` names a token that is
    put before every document. Windows of about `window_tokens`, some 64 MiB of them by default, are packed one by one.
    """

    mode: Literal["best_fit", "concat_chunk", "pad", "spfhp"] = "best_fit"
    depth: int | None = Field(None, ge=1)
    split: bool = True
    least_rest: int = Field(1, ge=1)
    one_domain: bool = False
    bos: str | None = Field(None, min_length=1)
    window_tokens: int | None = Field(None, ge=1)

    @model_validator(mode="after")
    def _no_key_is_without_effect(self) -> "PackingParams":
        if self.depth is not None and self.mode != "spfhp":
            raise ValueError(f"`depth` is of mode spfhp, and the mode is {self.mode}; leave out either")
        if self.limited() and self.mode == "concat_chunk":
            raise ValueError(
                "concat_chunk cuts wherever a sequence ends; leave out `split` and `least_rest`, or the mode"
            )
        if self.one_domain and self.mode == "pad":
            raise ValueError(
                "in mode pad a sequence holds one document, so `one_domain` is without effect; leave it out"
            )
        if not self.split and self.least_rest > 1:
            raise ValueError("with `split: false` no document has a rest; leave out `least_rest`")
        return self

    def limited(self) -> bool:
        """Tell whether something of a document may be left out because of the sequence length."""
        return not self.split or self.least_rest > 1


class PackParams(PackingParams):
    """How documents share sequences (see PackingParams), how long these are, and the `seed` of choice and order."""

    sequence_length: int = Field(2048, ge=8, le=1 << 30)
    seed: int = 0

    @model_validator(mode="after")
    def _a_rest_is_shorter_than_a_sequence(self) -> "PackParams":
        if self.least_rest > self.sequence_length:
            raise ValueError(
                f"least_rest is {self.least_rest:,}; a rest is shorter than {self.sequence_length:,} tokens"
            )
        return self

    def rule(self) -> Rule:
        """Return what a document costs."""
        return Rule(self.bos is not None, self.sequence_length if self.limited() else None, self.split, self.least_rest)
