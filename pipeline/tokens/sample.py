"""The documents a vocabulary is trained on: drawn by a hash of their ids, with the asked share of every domain."""

import difflib
from collections.abc import Iterator, Mapping
from functools import partial
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from pipeline.errors import DataError
from pipeline.kernels import hashing
from pipeline.ledger import Tally, add
from pipeline.schemas import doc_ids
from pipeline.stage import Step
from pipeline.tokens.train_params import TrainParams

STREAM = 0x70B1
"""The draws of this sample; no other purpose uses this stream."""
MAX_DOCUMENT_CHARACTERS = 1 << 20
"""A longer document counts with its beginning: one book of 100 MB must not be the sample."""


class Drawn(NamedTuple):
    """A document of the sample; `language` is what its column of languages says, "" where none is asked for."""

    doc_id: bytes
    domain: str
    language: str
    text: str


class Sample(NamedTuple):
    """The documents in the order of their ids, and sentences on what could not be as asked."""

    documents: list[Drawn]
    notes: list[str]

    def sizes(self, field: str) -> dict[str, int]:
        """Return the bytes of text by domain or language."""
        sizes: dict[str, int] = {}
        for document in self.documents:
            name = getattr(document, field)
            sizes[name] = sizes.get(name, 0) + len(document.text.encode())
        return dict(sorted(sizes.items()))


def kept_bytes(batches: Iterator[pa.RecordBatch]) -> Tally:
    """Return the bytes of text that a shard's mask keeps, by domain; one without any is not there."""
    sizes: Tally = {}
    for batch in batches:
        table = pa.table({"domain": batch["domain"], "bytes": batch["bytes"]}).filter(batch["keep"])
        for group in table.group_by("domain", use_threads=False).aggregate([("bytes", "sum")]).to_pylist():
            if group["bytes_sum"]:
                add(sizes, {group["domain"]: group["bytes_sum"]})
    return sizes


def drawn(
    batches: Iterator[pa.RecordBatch], *, seed: int, shares: Mapping[str, float], language: str | None
) -> list[Drawn]:
    """Return the documents of a shard that are in the sample; shares are by domain, none for one not named."""
    sample: list[Drawn] = []
    for batch in batches:
        domains = batch["domain"].dictionary_encode()
        share_D = np.array([shares.get(domain, 0.0) for domain in domains.dictionary.to_pylist()])
        luck = hashing.fractions(hashing.draw(seed, doc_ids(batch["doc_id"]), STREAM))
        lucky = luck < share_D[domains.indices.to_numpy()] if len(share_D) else luck < 0
        chosen = batch.filter(pa.array(lucky & batch["keep"].to_numpy(zero_copy_only=False)))
        columns = [chosen[name].to_pylist() for name in ("doc_id", "domain", language or "domain", "text")]
        sample += [
            Drawn(doc_id, domain, (named or "") if language else "", text[:MAX_DOCUMENT_CHARACTERS])
            for doc_id, domain, named, text in zip(*columns, strict=True)
        ]
    return sample


def shares_of(params: TrainParams, sizes: Mapping[str, int]) -> tuple[dict[str, float], list[str]]:
    """Return the share of each domain's documents that is drawn, and notes on domains with too little text.

    Raises:
        DataError: a weight is of a domain in which no document with text is kept.
    """
    if params.weights == "natural":
        return dict.fromkeys(sizes, params.max_bytes / sum(sizes.values())), []
    weights = dict.fromkeys(sizes, 1.0) if params.weights == "uniform" else params.weights
    for name in weights:
        if name not in sizes:
            near = difflib.get_close_matches(name, sizes, 1, 0.5)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise DataError(
                f"tokens.train: weights name a domain {name!r} of which no document with text is kept.{hint} "
                f"There are {', '.join(sorted(sizes))}."
            )
    wanted = {name: params.max_bytes * weight / sum(weights.values()) for name, weight in weights.items()}
    notes = [
        f"domain {name!r} has {sizes[name]:,} bytes, its share of the sample is {size:,.0f}: it is taken whole"
        for name, size in sorted(wanted.items())
        if size > sizes[name]
    ]
    return {name: size / sizes[name] for name, size in wanted.items()}, notes


def draw(step: Step, params: TrainParams) -> Sample:
    """Fold the sizes of the domains, then the documents drawn.

    Raises:
        DataError: no document is kept that has text, or a weight is of a domain that none has.
    """
    narrow = {"documents": ("domain", "bytes"), "mask": ("keep",)}
    sizes = step.fold(kept_bytes, add, columns=narrow) or {}
    if not sizes:
        raise DataError(
            f"{step.name}: no document is kept that has text, so there is nothing to train a tokenizer on; look at "
            "what the steps before dropped, or name a tokenizer.json in the recipe"
        )
    shares, notes = shares_of(params, sizes)
    language = params.languages if params.kind == "parity" else None
    columns = dict.fromkeys(("doc_id", "domain", "text", *([language] if language else [])))
    fn = partial(drawn, seed=params.seed, shares=shares, language=language)
    found = step.fold(fn, lambda a, b: a + b, columns={"documents": tuple(columns), "mask": ("keep",)}) or []
    return Sample(sorted(found), notes)
