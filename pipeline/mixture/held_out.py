"""The texts that mixtures are judged on: given ones, or a part of every domain that no mixture is trained on.

Where files are wired (`targets.NAME: file:PATH`), they are the targets; a text whose words are those of a document is
left out. Otherwise every domain is a target of its own name: the documents with the smallest draws, as a hash of (seed,
doc_id), until `held_out_bytes` or a tenth of the domain's bytes are reached. All documents with these draws are kept
out of training; of a domain with very many documents these are some more than are read as targets.

Copies of a held-out document in another domain, or with other white space, are no business of this module: remove
duplicates first.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import pyarrow as pa
from pydantic import Field

from pipeline.errors import DataError
from pipeline.histogram import Histogram
from pipeline.mixture.draws import Draw, Texts, columns, surveyed, texts
from pipeline.proxy import targets
from pipeline.proxy.targets import ROLE, Hash
from pipeline.stage import Params, Step

STREAM = 0x4E1D
"""The draws of documents that are held out."""
MOST_SHARE = 10
"""At most one part in so many of a domain is held out, up to the document that reaches it."""


class HeldOutParams(Params):
    """How much text a target has at most, the column of text in the targets' files, and the seed of all draws."""

    held_out_bytes: int = Field(50_000, gt=0)
    text: str = "text"
    seed: int = Field(0, ge=0)


@dataclass(frozen=True)
class Open:
    """Which documents may be trained on: those that the mask keeps and that are not held out.

    `last` is, by domain, the last bin of draws that is held out; no domain is in it where the targets are files.
    """

    seed: int
    last: Mapping[str, int] = field(default_factory=dict)

    def rows(self, batch: pa.RecordBatch) -> np.ndarray:
        """Return which rows may be trained on, bool [N].

        Args:
            batch: has the columns of `draws.columns`.
        """
        keep_N = kept(batch)
        return keep_N & ~Draw(self.seed, STREAM).rows(batch, self.last) if self.last else keep_N


@dataclass(frozen=True)
class HeldOut:
    """The texts of every target in the order of their draws, and which documents are open to training.

    `left_out` counts the texts of a target that are documents as well.
    """

    texts: Mapping[str, tuple[str, ...]]
    open: Open
    left_out: Mapping[str, int] = field(default_factory=dict)

    def open_rows(self, batch: pa.RecordBatch) -> np.ndarray:
        """Return which rows may be trained on; a task should be given `open.rows` instead, which carries no text."""
        return self.open.rows(batch)


def kept(batch: pa.RecordBatch) -> np.ndarray:
    """Return which rows the mask keeps, bool [N]."""
    keep_N: np.ndarray = batch["keep"].to_numpy(zero_copy_only=False)
    return keep_N


def held_out(step: Step, params: HeldOutParams) -> HeldOut:
    """Return the targets of a step with the roles documents, mask, buckets and targets.*.

    Raises:
        DataError: there is no document, a domain is one document only, or all texts of a file are documents too.
    """
    wired = targets.wired(step, params.text, params.held_out_bytes, params.seed)
    return _of_files(step, wired, params.seed) if wired else _of_documents(step, params)


def _of_files(step: Step, wired: Texts, seed: int) -> HeldOut:
    wanted = frozenset(document.hash for documents in wired.values() for document in documents)
    known: frozenset[Hash] = (
        step.fold(partial(_known, wanted=wanted), frozenset.union, columns=columns(step, "text")) or frozenset()
    )
    unknown = {name: tuple(d.text for d in documents if d.hash not in known) for name, documents in wired.items()}
    if empty := [name for name, found in unknown.items() if not found]:
        raise DataError(
            f"{step.name}: every text of the targets {empty} is also a document; give texts that were held out"
        )
    return HeldOut(unknown, Open(seed), {name: len(wired[name]) - len(found) for name, found in unknown.items()})


def _known(batches: Iterator[pa.RecordBatch], wanted: frozenset[Hash]) -> frozenset[Hash]:
    return frozenset().union(*(targets.among(batch["text"].filter(batch["keep"]), wanted) for batch in batches))


def _of_documents(step: Step, params: HeldOutParams) -> HeldOut:
    drawing = Draw(params.seed, STREAM)
    found = surveyed(step, drawing, kept)
    if not found:
        raise DataError(f"{step.name}: no document is kept; look at what the steps before dropped")
    last = {domain: _last_bin(step, domain, found[domain], params.held_out_bytes) for domain in sorted(found)}
    drawn = texts(step, drawing, last, kept, params.held_out_bytes)
    return HeldOut({name: tuple(d.text for d in drawn[name]) for name in last}, Open(params.seed, last))


def _last_bin(step: Step, domain: str, histogram: Histogram, most_bytes: int) -> int:
    place = histogram.reaching_weight(min(most_bytes, histogram.total_weight // MOST_SHARE))
    if place + 1 == len(histogram.bins):
        raise DataError(
            f"{step.name}: the domain {domain} has {histogram.total_documents:,} documents, too few to hold some out "
            f"and train on the others; wire texts as targets (`{ROLE}NAME: file:PATH`), or leave the domain out"
        )
    return int(histogram.bins[place])
