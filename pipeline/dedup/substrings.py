"""Cut out byte sequences that occur more than once, wherever in the texts they lie, by suffix arrays.

Reads documents (and an earlier mask); writes a mask with `spans` and `removed_bytes` (see `dedup.spans`). The documents
stay as they are: `dedup.cut` writes them shortened, and this mask is the mask of those as well.

After Lee et al., "Deduplicating Training Data Makes Language Models Better" (ACL 2022), which takes 50 tokens: a window
of `min_bytes` bytes that occurs more than once goes (`keep: none`), or goes wherever it is not the first one (`first`);
first is what comes first by (doc_id, place in the document). A longer repeat is many windows and goes whole. Places of
a window that overlap count once, so of a line of 1,000 dashes the first `min_bytes` stay. Spans are made smaller where
they would cut a character. A document of which only white space would be left is dropped as `repeated_text`.

Copies are seen within a group of documents only. Documents are spread over groups of about `group_bytes` of text by
their doc_id (scope `corpus`), or over groups of their domain; how many groups there are depends on the bytes of the
kept documents (of the domain) alone. So a decision does not depend on files, shards or workers; with more than one
group it does depend on which documents share one, and copies in two groups both stay. One group sees every copy: raise
`group_bytes`, at some 7 bytes of memory a byte of a group, or 16 where all of it is repeated, for each worker.
"""

from collections.abc import Iterator
from functools import partial
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from pipeline import ledger, schemas
from pipeline.dedup import ranking, spans
from pipeline.dedup.units import Scope
from pipeline.errors import DataError
from pipeline.kernels import hashing, suffix, whitespace
from pipeline.kernels import spans as kernel
from pipeline.stage import Params, Stage, Step

REASON = "repeated_text"
_EVERYTHING = ""
_STREAM = 0x5355_4253  # the draw that spreads documents over groups


class SubstringParams(Params):
    """How long a repeat must be, which of its occurrences stays, and among how much text it is looked for."""

    min_bytes: int = Field(200, ge=16)
    keep: Literal["first", "none"] = "first"
    scope: Scope = "corpus"
    group_bytes: int = Field(64 << 20, ge=1 << 10, le=1 << 30)


SCHEMA = schemas.mask(spans.SPANS, spans.REMOVED)


def text_bytes(batches: Iterator[pa.RecordBatch], scope: Scope) -> dict[str, int]:
    """Return the bytes of a shard's kept texts, by domain or under one name."""
    sums: dict[str, int] = {}
    for batch in batches:
        rows = pa.table({"domain": batch["domain"], "bytes": batch["bytes"]}).filter(batch["keep"])
        for row in rows.group_by("domain", use_threads=False).aggregate([("bytes", "sum")]).to_pylist():
            ledger.add(sums, {row["domain"] if scope == "domain" else _EVERYTHING: row["bytes_sum"]})
    return sums


def layout(sizes: dict[str, int], group_bytes: int) -> dict[str, tuple[int, int]]:
    """Return (first group, number of groups) of each domain, or of the one name for all."""
    places, first = {}, 0
    for domain, size in sorted(sizes.items()):
        count = max(1, -(-size // group_bytes))
        places[domain] = (first, count)
        first += count
    return places


def grouped(
    batch: pa.RecordBatch, *, scope: Scope, groups: dict[str, tuple[int, int]]
) -> tuple[pa.RecordBatch, np.ndarray]:
    """Return the kept documents and the group of each."""
    rows = batch.select(["doc_id", "text", "address"]).filter(batch["keep"])
    draws_N = hashing.draw(0, schemas.doc_ids(rows["doc_id"]), _STREAM)
    domains = (
        batch["domain"].filter(batch["keep"])
        if scope == "domain"
        else pa.array([_EVERYTHING] * len(draws_N), pa.string())
    )
    places = pc.index_in(domains, value_set=pa.array(list(groups), pa.string())).to_numpy(zero_copy_only=False)
    groups_N2 = np.array(list(groups.values()), np.uint64).reshape(-1, 2)[places.astype(np.int64)]
    return rows, (groups_N2[:, 0] + draws_N % groups_N2[:, 1]).astype(np.uint32)


def repeats(table: pa.Table, params: SubstringParams) -> pa.Table:
    """Return address, spans and `left` of the documents of a group that have repeats; left is what is not white space.

    Raises:
        DataError: the group is too large to be sorted.
    """
    order = _best_first(table)
    text = table["text"].combine_chunks().take(pa.array(order))
    data, offsets = schemas.text_buffers(text)
    try:
        marked = suffix.repeats(data, offsets, params.min_bytes, first_stays=params.keep == "first")
    except ValueError as error:
        raise DataError(f"{error}. A document or a group is too large; lower `group_bytes`.") from None
    spans_S2, ends = kernel.windows(data, offsets, marked, params.min_bytes)
    has_N = np.diff(ends) > 0
    plain = whitespace.collapse(*kernel.cut(data, offsets, spans_S2, ends))
    lists = pa.ListArray.from_arrays(pa.array((2 * ends).astype(np.int32)), pa.array(spans_S2.ravel()))
    made = {"address": table["address"].take(pa.array(order)), "spans": lists, "left": np.diff(plain[1])}
    return pa.table(made).filter(pa.array(has_N))


def _best_first(table: pa.Table) -> np.ndarray:
    ids_N2 = schemas.doc_ids(table["doc_id"])
    return ranking.best_first(ids_N2[:, 0], ids_N2[:, 1], table["address"].to_numpy())


def mask_batch(batch: pa.RecordBatch, rows: pa.Table | None) -> pa.RecordBatch:
    """Return the decisions about a batch, given the documents of it that have repeats."""
    places, gone = np.zeros(0, np.int64), np.zeros(0, bool)
    spans_S2, ends = np.zeros((0, 2), np.int64), np.zeros(1, np.int64)
    if rows is not None and rows.num_rows:
        places = (rows["address"].to_numpy() - batch["address"][0].as_py()).astype(np.int64)
        gone = rows["left"].to_numpy() == 0
        lists = rows.filter(pa.array(~gone))["spans"].combine_chunks()
        spans_S2 = lists.flatten().to_numpy().reshape(-1, 2)
        counts = np.zeros(len(places), np.int64)
        counts[~gone] = lists.value_lengths().to_numpy() // 2
        ends = np.concatenate([ends, np.cumsum(counts)])
    return pa.record_batch(spans.columns(batch, places, spans_S2, ends, gone, REASON), schema=SCHEMA)


def substrings(step: Step, params: SubstringParams) -> None:
    """Shuffle the texts into groups, find the repeats of each, send the spans home."""
    measure = partial(text_bytes, scope=params.scope)
    sizes = step.fold(measure, ledger.add, columns={"documents": ("domain", "bytes"), "mask": ("keep",)}) or {}
    groups = layout(sizes, params.group_bytes)
    total = sum(count for _, count in groups.values())
    blocks = step.scatter(
        partial(grouped, scope=params.scope, groups=groups),
        columns={"documents": ("doc_id", "text", "domain", "address"), "mask": ("keep",)},
        partitions=max(total, 1),
    )
    totals = step.map_shards(
        mask_batch,
        columns={"documents": ("domain", "bytes", "address"), "mask": schemas.MASK},
        schema=SCHEMA,
        addressed=step.to_shards(blocks, partial(repeats, params=params)),
        tally=spans.shortened,
    )
    step.note(groups=total, sees="copies within a group; those in two groups both stay", **totals)


SUBSTRINGS = Stage(
    "dedup.substrings", version=1, params=SubstringParams, inputs=("documents",), run=substrings, optional=("mask",)
)
