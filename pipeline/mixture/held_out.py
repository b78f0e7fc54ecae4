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

from pipeline import schemas
from pipeline.errors import DataError
from pipeline.histogram import Histogram, merged
from pipeline.kernels.hashing import draw
from pipeline.proxy import targets
from pipeline.proxy.targets import ROLE, Drawn, Hash
from pipeline.stage import Params, Step

STREAM = 0x4E1D
"""The draws of documents that are held out."""
BIN_SHIFT = np.uint64(48)
MOST_SHARE = 10
"""At most one part in so many of a domain is held out, up to the document that reaches it."""

Texts = dict[str, list[Drawn]]


class HeldOutParams(Params):
    """How much text a target has at most, the column of text in the targets' files, and the seed of all draws."""

    held_out_bytes: int = Field(50_000, gt=0)
    text: str = "text"
    seed: int = Field(0, ge=0)


@dataclass(frozen=True)
class HeldOut:
    """The texts of every target, and which documents are held out for them.

    `last` is, by domain, the last of the 65,536 bins of draws that is held out; no domain is in it where the targets
    are files. `left_out` counts the texts of a target that are documents as well.
    """

    seed: int
    texts: Mapping[str, tuple[str, ...]]
    last: Mapping[str, int] = field(default_factory=dict)
    left_out: Mapping[str, int] = field(default_factory=dict)

    def open_rows(self, batch: pa.RecordBatch) -> np.ndarray:
        """Return which rows may be trained on, bool [N]: kept by the mask, and not held out.

        Args:
            batch: see `columns`; doc_id and domain are among them.
        """
        keep_N: np.ndarray = batch["keep"].to_numpy(zero_copy_only=False)
        return keep_N & ~_held_rows(batch, self.last, self.seed) if self.last else keep_N


def columns(step: Step, *names: str) -> dict[str, tuple[str, ...]]:
    """Return what to ask of the documents, the mask and the buckets, for `mixed_domains` and `open_rows`."""
    buckets = {"buckets": (schemas.BUCKET,)} if "buckets" in step.inputs else {}
    return {"documents": ("doc_id", "domain", *names), "mask": ("keep",), **buckets}


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
    texts = {name: tuple(d.text for d in documents if d.hash not in known) for name, documents in wired.items()}
    if empty := [name for name, found in texts.items() if not found]:
        raise DataError(
            f"{step.name}: every text of the targets {empty} is also a document; give texts that were held out"
        )
    return HeldOut(seed, texts, left_out={name: len(wired[name]) - len(found) for name, found in texts.items()})


def _known(batches: Iterator[pa.RecordBatch], wanted: frozenset[Hash]) -> frozenset[Hash]:
    parts = [targets.among(batch["text"].filter(batch["keep"]), wanted) for batch in batches]
    return frozenset().union(*parts)


def _of_documents(step: Step, params: HeldOutParams) -> HeldOut:
    work = partial(_surveyed, seed=params.seed)
    found: dict[str, Histogram] | None = step.fold(work, merged, columns=columns(step, "bytes"))
    if not found:
        raise DataError(f"{step.name}: no document is kept; look at what the steps before dropped")
    last = {domain: _last_bin(step, domain, found[domain], params.held_out_bytes) for domain in sorted(found)}
    reading = partial(_read, last=last, params=params)
    texts: Texts | None = step.fold(
        reading, partial(_joined, most_bytes=params.held_out_bytes), columns=columns(step, "text")
    )
    assert texts is not None
    return HeldOut(params.seed, {name: tuple(d.text for d in texts[name]) for name in last}, last)


def _surveyed(batches: Iterator[pa.RecordBatch], seed: int) -> dict[str, Histogram]:
    """Return, by domain, the bytes of the kept documents of a shard by the bin of their draws."""
    found: dict[str, Histogram] = {}
    for batch in batches:
        batch = batch.filter(batch["keep"])
        bins_N, sizes_N = _bins(batch, seed), batch["bytes"].to_numpy()
        for domain, rows in by_domain(batch):
            found = merged(found, {domain: Histogram.of(bins_N[rows], sizes_N[rows])})
    return found


def by_domain(batch: pa.RecordBatch) -> Iterator[tuple[str, np.ndarray]]:
    """Yield every domain of a batch as a mixture sees it, with its rows (int64), in the order of their names."""
    codes = schemas.mixed_domains(batch).dictionary_encode()
    names, code_N = codes.dictionary.to_pylist(), codes.indices.to_numpy()
    for name in sorted(names):
        yield name, np.flatnonzero(code_N == names.index(name))


def _last_bin(step: Step, domain: str, histogram: Histogram, most_bytes: int) -> int:
    place = histogram.reaching_weight(min(most_bytes, histogram.total_weight // MOST_SHARE))
    if place + 1 == len(histogram.bins):
        raise DataError(
            f"{step.name}: the domain {domain} has {histogram.total_documents:,} documents, too few to hold some out "
            f"and train on the others; wire texts as targets (`{ROLE}NAME: file:PATH`), or leave the domain out"
        )
    return int(histogram.bins[place])


def _bins(batch: pa.RecordBatch, seed: int) -> np.ndarray:
    return draw(seed, schemas.doc_ids(batch["doc_id"]), STREAM) >> BIN_SHIFT


def _held_rows(batch: pa.RecordBatch, last: Mapping[str, int], seed: int) -> np.ndarray:
    """Return which rows have a draw that is held out, bool [N], whatever the mask says of them."""
    held_N, bins_N = np.zeros(batch.num_rows, bool), _bins(batch, seed)
    for domain, rows in by_domain(batch):
        if domain in last:
            held_N[rows] = bins_N[rows] <= np.uint64(last[domain])
    return held_N


def _read(batches: Iterator[pa.RecordBatch], last: Mapping[str, int], params: HeldOutParams) -> Texts:
    """Return, by domain, the held-out documents of a shard, as many as a target has at most."""
    found: Texts = {}
    for batch in batches:
        batch = batch.filter(pa.array(_held_rows(batch, last, params.seed)))
        batch = batch.filter(batch["keep"])
        draws_N = draw(params.seed, schemas.doc_ids(batch["doc_id"]), STREAM).tolist()
        words_N2 = targets.hashes(batch["text"]).tolist()
        for domain, rows in by_domain(batch):
            read = [Drawn(draws_N[row], tuple(words_N2[row]), batch["text"][row].as_py()) for row in rows.tolist()]
            found = _joined(found, {domain: read}, params.held_out_bytes)
    return found


def _joined(first: Texts, second: Texts, most_bytes: int) -> Texts:
    """Return the documents of both, by domain, as many as a target has at most; equal ones once."""
    both = {name: first.get(name, []) + second.get(name, []) for name in first.keys() | second.keys()}
    return {name: targets.within(sorted(set(documents)), most_bytes) for name, documents in both.items()}
