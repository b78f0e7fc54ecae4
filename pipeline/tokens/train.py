"""Train a byte-level BPE on a sample of the kept documents.

Reads documents (doc_id, text, domain, bytes); writes tokenizer.json. A document is in the sample when its draw lies
under max_bytes / kept bytes, so every domain has its natural share and the sample does not depend on files; it is read
in the order of doc_id, so neither do the merges. The split is Llama 3's: contractions, words with the character before
them, up to three digits, runs of signs, line ends, white space.
"""

from collections.abc import Iterator
from functools import partial
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from pydantic import Field, field_validator
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from pipeline.errors import DataError
from pipeline.kernels import hashing
from pipeline.schemas import doc_ids
from pipeline.stage import Params, Stage, Step

SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
BYTES = 256
LARGEST_VOCABULARY = 1 << 20
"""Four times that of any model; the trainer makes room for all of it at once, and aborts where it cannot."""
STREAM = 0x70B1
"""The draws of this sample; no other purpose uses this stream."""
MAX_DOCUMENT_CHARACTERS = 1 << 20
"""A longer document counts with its beginning: one book of 100 MB must not be the sample."""


class TrainParams(Params):
    """`vocab_size` counts the 256 bytes and the special tokens; `max_bytes` is the size of the sample."""

    vocab_size: int = Field(16384, ge=BYTES + 1, le=LARGEST_VOCABULARY)
    max_bytes: int = Field(10_000_000, gt=0)
    seed: int = 0
    special_tokens: tuple[str, ...] = ("<|endoftext|>",)

    @field_validator("special_tokens")
    @classmethod
    def _are_distinct(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if not names or len(set(names)) != len(names) or "" in names:
            raise ValueError("special_tokens must be distinct and not empty; the first ends a document")
        return names


class Drawn(NamedTuple):
    """A document of the sample."""

    doc_id: bytes
    domain: str
    text: str


def kept_bytes(batches: Iterator[pa.RecordBatch]) -> int:
    """Return the bytes of text that a shard's mask keeps."""
    return sum(int(np.sum(batch["bytes"].filter(batch["keep"]).to_numpy())) for batch in batches)


def drawn(batches: Iterator[pa.RecordBatch], *, seed: int, share: float) -> list[Drawn]:
    """Return the documents of a shard that are in the sample."""
    sample: list[Drawn] = []
    for batch in batches:
        lucky = hashing.fractions(hashing.draw(seed, doc_ids(batch["doc_id"]), STREAM)) < share
        chosen = batch.filter(pa.array(lucky & batch["keep"].to_numpy(zero_copy_only=False)))
        columns = (chosen[name].to_pylist() for name in ("doc_id", "domain", "text"))
        sample += [
            Drawn(doc_id, domain, text[:MAX_DOCUMENT_CHARACTERS]) for doc_id, domain, text in zip(*columns, strict=True)
        ]
    return sample


def train_tokenizer(texts: list[str], params: TrainParams) -> Tokenizer:
    """Return a byte-level BPE; special tokens have the first ids. It may be smaller than asked on a small sample."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(SPLIT), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=params.vocab_size,
        special_tokens=list(params.special_tokens),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer, length=len(texts))
    return tokenizer


def train(step: Step, params: TrainParams) -> None:
    """Fold the size, fold the sample, train in this process."""
    narrow = {"documents": ("bytes",), "mask": ("keep",)}
    size = step.fold(kept_bytes, lambda a, b: a + b, columns=narrow) or 0
    if not size:
        raise DataError(
            f"{step.name}: no document is kept, so there is nothing to train a tokenizer on; look at what the steps "
            "before dropped, or name a tokenizer.json in the recipe"
        )
    wide = {"documents": ("doc_id", "domain", "text"), "mask": ("keep",)}
    fn = partial(drawn, seed=params.seed, share=params.max_bytes / size)
    sample = sorted(step.fold(fn, lambda a, b: a + b, columns=wide) or [])
    tokenizer = train_tokenizer([document.text for document in sample], params)
    domains: dict[str, int] = {}
    for document in sample:
        domains[document.domain] = domains.get(document.domain, 0) + len(document.text.encode())
    step.write_file("tokenizer.json", tokenizer.to_str(pretty=True).encode())
    step.note(
        vocab_size=tokenizer.get_vocab_size(),
        eos=params.special_tokens[0],
        sample_documents=len(sample),
        sample_bytes_by_domain=dict(sorted(domains.items())),
    )


TRAIN = Stage(name="tokens.train", version=1, params=TrainParams, inputs=("documents",), optional=("mask",), run=train)
