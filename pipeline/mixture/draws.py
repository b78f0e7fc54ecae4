"""Documents drawn from every domain, the first so many bytes of them, by a hash of (seed, doc_id).

A draw lies in one of 65,536 bins. What a domain gives is all documents up to a bin, so a worker needs a number a domain
to tell who is drawn, and a smaller part lies within a larger one.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
import pyarrow as pa

from pipeline import schemas
from pipeline.histogram import Histogram, merged
from pipeline.kernels.hashing import draw
from pipeline.proxy import targets
from pipeline.proxy.targets import Drawn
from pipeline.stage import Step

BIN_SHIFT = np.uint64(48)

Texts = dict[str, list[Drawn]]
Rows = Callable[[pa.RecordBatch], np.ndarray]
"""Which rows of a batch may be drawn, bool [N]."""


@dataclass(frozen=True)
class Draw:
    """One purpose for which documents are drawn: the recipe's seed and a stream number of its own."""

    seed: int
    stream: int

    def of(self, batch: pa.RecordBatch) -> np.ndarray:
        """Return the draw of every row, uint64 [N]."""
        return draw(self.seed, schemas.doc_ids(batch["doc_id"]), self.stream)

    def rows(self, batch: pa.RecordBatch, last: Mapping[str, int]) -> np.ndarray:
        """Return which rows lie within the last bin of their domain, bool [N]; none of a domain that has no bin."""
        drawn_N, bins_N = np.zeros(batch.num_rows, bool), self.of(batch) >> BIN_SHIFT
        for domain, rows in by_domain(batch):
            if domain in last:
                drawn_N[rows] = bins_N[rows] <= np.uint64(last[domain])
        return drawn_N


def columns(step: Step, *names: str) -> dict[str, tuple[str, ...]]:
    """Return what to ask of documents, mask and buckets, so that domains are known as a mixture sees them."""
    buckets = {"buckets": (schemas.BUCKET,)} if "buckets" in step.inputs else {}
    return {"documents": ("doc_id", "domain", *names), "mask": ("keep",), **buckets}


def by_domain(batch: pa.RecordBatch) -> Iterator[tuple[str, np.ndarray]]:
    """Yield every domain of a batch as a mixture sees it, with its rows (int64), in the order of their names."""
    codes = schemas.mixed_domains(batch).dictionary_encode()
    names, code_N = codes.dictionary.to_pylist(), codes.indices.to_numpy()
    for name in sorted(names):
        yield name, np.flatnonzero(code_N == names.index(name))


def surveyed(step: Step, drawing: Draw, eligible: Rows) -> dict[str, Histogram]:
    """Return, by domain, the bytes of all eligible documents by the bin of their draws."""
    work = partial(_survey, drawing=drawing, eligible=eligible)
    return step.fold(work, merged, columns=columns(step, "bytes")) or {}


def _survey(batches: Iterator[pa.RecordBatch], drawing: Draw, eligible: Rows) -> dict[str, Histogram]:
    found: dict[str, Histogram] = {}
    for batch in batches:
        batch = batch.filter(pa.array(eligible(batch)))
        bins_N, sizes_N = drawing.of(batch) >> BIN_SHIFT, batch["bytes"].to_numpy()
        for domain, rows in by_domain(batch):
            found = merged(found, {domain: Histogram.of(bins_N[rows], sizes_N[rows])})
    return found


def texts(step: Step, drawing: Draw, last: Mapping[str, int], eligible: Rows, most_bytes: int) -> Texts:
    """Return, by domain, the drawn documents in the order of their draws, at most so many bytes of each domain.

    The last document of a domain is cut to fit. The texts come to the caller, so they must be few.
    """
    work = partial(_read, drawing=drawing, last=last, eligible=eligible, most_bytes=most_bytes)
    return step.fold(work, partial(_joined, most_bytes=most_bytes), columns=columns(step, "text")) or {}


def _read(
    batches: Iterator[pa.RecordBatch], drawing: Draw, last: Mapping[str, int], eligible: Rows, most_bytes: int
) -> Texts:
    found: Texts = {}
    for batch in batches:
        batch = batch.filter(pa.array(eligible(batch) & drawing.rows(batch, last)))
        draws_N, words_N2 = drawing.of(batch).tolist(), targets.hashes(batch["text"]).tolist()
        for domain, rows in by_domain(batch):
            read = [Drawn(draws_N[row], tuple(words_N2[row]), batch["text"][row].as_py()) for row in rows.tolist()]
            found = _joined(found, {domain: read}, most_bytes)
    return found


def _joined(first: Texts, second: Texts, most_bytes: int) -> Texts:
    """Return the documents of both, by domain, as many as there may be; equal ones once."""
    both = {name: first.get(name, []) + second.get(name, []) for name in sorted(first.keys() | second.keys())}
    return {name: targets.within(sorted(set(documents)), most_bytes) for name, documents in both.items()}
