"""Find benchmark items in documents, and drop or cut the documents, or report them only.

Reads documents (text), an earlier mask, and the files `benchmarks.*` (see `pipeline.quality.benchmarks`). Writes a mask
with

    benchmark  task/id of the item that a document has most of; null where it has none, or was dropped earlier
    overlap    the largest share of a passage's n-grams that the document has, found or not; null if dropped earlier
    spans      only with `action: cut`: what `dedup.cut` is to take out; null where the document is not kept

A passage is found in a document that has at least the share `overlap` of its n-grams, or `run_words` of its words in a
row (n-grams that repeat count once). Words are those of `kernels.shingles`: lower case, no punctuation, white space or
line breaks, one a character in scripts without spaces. A passage shorter than an n-gram is found whole or not at all.

An n-gram that more than `most_documents` documents have is common speech and is in none of them (Brown et al. 2020,
appendix C: 13-grams, more than 10 documents). Ours are not counted where half of a passage of 2 n words or more stands
around them: an item that many pages copy is no common speech.

`cut` takes the n-grams of found passages out, with `margin` characters on both sides and with pieces shorter than
`min_piece`; a document that falls into more than `most_pieces`, or of which nothing is left, is dropped (Brown et al.:
200, 200, 10).

Texts are read once: a batch sends what it has of the index, by n-gram, to be counted, and what is uncommon comes home.
"""

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field, model_validator

from pipeline import schemas
from pipeline.errors import ConfigError, DataError
from pipeline.kernels import overlap, pieces, word_places
from pipeline.ledger import Tally
from pipeline.quality import benchmarks, found_items
from pipeline.quality.benchmarks import BenchmarkParams, Sought
from pipeline.shuffle import Part
from pipeline.stage import Stage, Step

REASON = "contaminated"
ROLES = "benchmarks.*"
# Hits are few beside the text they are of.
_TEXT_BYTES_A_HIT_BYTE = 8


class DecontaminateParams(BenchmarkParams):
    """When an item is found, and what is then done."""

    ngram: int = Field(8, ge=2, le=64)
    least_words: int = Field(3, ge=1)
    most_items: int = Field(10, ge=1)
    texts: tuple[str, ...] = Field(("text", "question"), min_length=1)
    overlap: float = Field(0.2, gt=0, le=1)
    run_words: int | None = Field(13, ge=2)
    most_documents: int = Field(10, ge=1)
    action: Literal["drop", "cut", "report"] = "drop"
    margin: int = Field(200, ge=0)
    min_piece: int = Field(200, ge=1)
    most_pieces: int = Field(10, ge=1)

    @model_validator(mode="after")
    def _lengths_agree(self) -> "DecontaminateParams":
        if self.least_words > self.ngram:
            raise ValueError(f"least_words ({self.least_words}) must be at most ngram ({self.ngram})")
        if self.run_words is not None and self.run_words < self.ngram:
            raise ValueError(
                f"run_words ({self.run_words}) must be at least ngram ({self.ngram}), which is the shortest run; "
                "null leaves the decision to overlap"
            )
        return self

    def items(self) -> BenchmarkParams:
        """Return what the index depends on."""
        return BenchmarkParams.model_validate(self.model_dump(include=set(BenchmarkParams.model_fields)))


def schema(params: DecontaminateParams) -> pa.Schema:
    """Return the columns of the mask."""
    spans = [pa.field("spans", pa.list_(pa.int64()))] if params.action == "cut" else []
    return schemas.mask(pa.field("benchmark", pa.string()), pa.field("overlap", pa.float32()), *spans)


def hits(
    batch: pa.RecordBatch, *, prepared: Path, params: DecontaminateParams, partitions: int
) -> tuple[pa.RecordBatch, np.ndarray]:
    """Return where the kept documents of a batch have keys of the index, and the partition of each key.

    `place` is the number of the key's first word, `start` and `end` are its bytes, `counts` is false where half of a
    long passage with the key is in the document.
    """
    index = benchmarks.opened(prepared).index
    rows = batch.select(["text", "address"]).filter(batch["keep"])
    documents_H, places_H, keys_H = overlap.seek(*benchmarks.words(rows["text"]), index)
    documents_M, passages_M, found_M, _ = overlap.weigh(documents_H, places_H, keys_H, index)
    totals_M = index.totals[passages_M]
    half_M = (2 * found_M >= totals_M) & (totals_M > params.ngram)
    counts_H = ~overlap.within(documents_H, keys_H, documents_M[half_M], passages_M[half_M], index)
    spans_H2 = word_places.locate(*schemas.text_buffers(rows["text"]), documents_H, places_H, index.sizes[keys_H])
    columns = {
        "address": rows["address"].take(pa.array(documents_H)),
        "key": pa.array(keys_H),
        "place": pa.array(places_H),
        "start": pa.array(spans_H2[:, 0]),
        "end": pa.array(spans_H2[:, 1]),
        "counts": pa.array(counts_H),
    }
    return pa.record_batch(columns), (keys_H % partitions).astype(np.uint32)


def uncommon(part: Part, *, most: int) -> Iterator[pa.Table | Tally]:
    """Yield the hits of the keys that at most `most` documents have, and how many keys are common."""
    if (table := part.table()) is None:
        return
    counted = table.filter(table["counts"]).group_by(["key", "address"], use_threads=False).aggregate([])
    documents = counted.group_by("key", use_threads=False).aggregate([("address", "count")])
    common = documents.filter(pc.greater(documents["address_count"], most))["key"].combine_chunks()
    yield {"common": len(common)}
    yield table.drop_columns("counts").filter(pc.invert(pc.is_in(table["key"], value_set=common)))


def decide_batch(
    batch: pa.RecordBatch, rows: pa.Table | None, *, prepared: Path, params: DecontaminateParams
) -> pa.RecordBatch:
    """Return the decisions about a batch, given its hits of uncommon keys."""
    known = benchmarks.opened(prepared)
    hits_H = _in_reading_order(batch, rows)
    pairs = found_items.pairs(hits_H, known, params.overlap, params.run_words)
    best, shares_N = found_items.best(pairs, batch.num_rows)
    there_N = best >= 0
    names = known.names.take(pa.array(np.where(there_N, best, 0), mask=~there_N))
    made = {"benchmark": names, "overlap": pa.array(shares_N, pa.float32(), mask=~np.asarray(batch["keep"]))}
    if params.action == "cut":
        made |= _cut(batch, hits_H, pairs, known, params)
    else:
        made |= schemas.decide(batch, there_N & (params.action == "drop"), REASON)
    columns = schema(params)
    return pa.record_batch([made[name] for name in columns.names], schema=columns)


def _in_reading_order(batch: pa.RecordBatch, rows: pa.Table | None) -> found_items.Hits:
    """Return the hits of a batch by document, place and key."""
    if rows is None or not rows.num_rows:
        return found_items.Hits(*np.zeros((5, 0), np.int64))
    document, key, place, start, end = (rows[name].to_numpy() for name in ("address", "key", "place", "start", "end"))
    document = (document - np.uint64(batch["address"][0].as_py())).astype(np.int64)
    order = np.lexsort((key, place, document))
    return found_items.Hits(*(values[order] for values in (document, place, key, start, end)))


def _cut(
    batch: pa.RecordBatch,
    hits_H: found_items.Hits,
    pairs: found_items.Pairs,
    known: Sought,
    params: DecontaminateParams,
) -> dict[str, pa.Array]:
    """Return keep, reason and spans."""
    inside_H = overlap.within(
        hits_H.documents, hits_H.keys, pairs.documents[pairs.found], pairs.passages[pairs.found], known.index
    )
    # A part in normal form holds several words at one place, so the starts may fall.
    order = np.lexsort((hits_H.ends, hits_H.starts, hits_H.documents))
    order = order[inside_H[order]]
    spans_S2 = np.stack([hits_H.starts[order], hits_H.ends[order]], axis=1)
    ends = np.searchsorted(hits_H.documents[order], np.arange(batch.num_rows + 1))
    text = schemas.text_buffers(batch["text"])
    spans_S2, ends, pieces_N = pieces.around(*text, spans_S2, ends, params.margin, params.min_piece)
    made = schemas.decide(batch, (pieces_N == 0) | (pieces_N > params.most_pieces), REASON)
    keep_N = np.asarray(made["keep"])
    lengths_N = np.where(keep_N, np.diff(ends), 0)
    starts = np.concatenate([np.zeros(1, np.int32), np.cumsum(2 * lengths_N)]).astype(np.int32)
    values = spans_S2[np.repeat(keep_N, np.diff(ends))].ravel()
    spans = pa.ListArray.from_arrays(pa.array(starts), pa.array(values), mask=pa.array(~keep_N))
    return made | {"spans": spans}


def decontaminate(step: Step, params: DecontaminateParams) -> None:
    """Send every batch's hits to be counted by key, then decide about the batches with those that come home."""
    known = benchmarks.load(_files(step.files), params.items())
    prepared = benchmarks.prepare(known, step.root / "scratch")
    documents = step.inputs["documents"]
    size = sum(path.stat().st_size for path in documents.paths())
    partitions = step.partitions(size // _TEXT_BYTES_A_HIT_BYTE)
    blocks = step.scatter(
        partial(hits, prepared=prepared, params=params, partitions=partitions),
        columns={"documents": ("text", "address"), "mask": ("keep",)},
        partitions=partitions,
    )
    homes = step.parts_to_shards(blocks, partial(uncommon, most=params.most_documents))
    text = ("text",) if params.action == "cut" else ()
    totals = step.map_shards(
        partial(decide_batch, prepared=prepared, params=params),
        columns={"documents": ("doc_id", "domain", "bytes", "address", *text), "mask": schemas.MASK},
        schema=schema(params),
        tally=found_items.counted,
        addressed=homes,
    )
    index = known.index
    step.note(
        items=len(known.names),
        items_without_ngrams=known.short(),
        ngrams=len(index.hashes),
        ngrams_of_many_items=index.form,
        ngrams_common_in_documents=homes.tally.get("common", 0),
        action=params.action,
        **found_items.noted(documents, known, totals),
    )


def _files(files: Mapping[str, Path]) -> tuple[Path, ...]:
    """Return the files of the benchmark roles, in the order of the roles' names.

    Raises:
        DataError: there are none.
    """
    stem = ROLES.removesuffix("*")
    if found := tuple(files[role] for role in sorted(files) if role.startswith(stem)):
        return found
    raise DataError(
        "quality.decontaminate has no benchmark items to look for; wire files as inputs, such as "
        "`benchmarks.0: file:benchmarks.parquet`"
    )


def check(params: DecontaminateParams, files: Mapping[str, Path]) -> None:
    """Refuse missing or unreadable benchmark files before anything runs."""
    try:
        benchmarks.load(_files(files), params.items())
    except DataError as error:
        raise ConfigError(str(error)) from None


DECONTAMINATE = Stage(
    "quality.decontaminate",
    version=1,
    params=DecontaminateParams,
    inputs=("documents",),
    run=decontaminate,
    optional=("mask", ROLES),
    check=check,
)
