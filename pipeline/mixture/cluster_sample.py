"""The documents that clusters are learned from: drawn by their ids, as bags of words, in an order that is their own.

A document is in the sample when its draw lies under the share of its scope, which is all documents or its domain. The
sample is put into the order of the draws, so files, shards and workers cannot be told from it.
"""

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa

from pipeline import ledger, schemas
from pipeline.kernels import bags as kernel
from pipeline.kernels.bags import Bags
from pipeline.kernels.hashing import draw, fractions
from pipeline.ledger import Tally
from pipeline.mixture.static import averages
from pipeline.stage import Step

STREAM = 0xC1057
"""The draws of this sample; no other purpose uses this stream."""
COLUMNS = {"documents": ("doc_id", "text", "domain", "bytes"), "mask": ("keep",)}


def census(batches: Iterator[pa.RecordBatch]) -> Tally:
    """Return, by domain, the kept documents of a shard and their bytes."""
    counts: Tally = {}
    for batch in batches:
        rows = pa.table(batch.select(["domain", "bytes"]).filter(batch["keep"]))
        groups = rows.group_by("domain", use_threads=False).aggregate([("bytes", "count"), ("bytes", "sum")])
        for row in groups.to_pylist():
            found = {"documents": row["bytes_count"], "bytes": row["bytes_sum"]}
            ledger.add(counts, {row["domain"]: found})
    return counts


def drawn(batch: pa.RecordBatch, shares: Mapping[str, float], seed: int) -> pa.RecordBatch:
    """Return the kept rows of a batch whose draw lies under their domain's share."""
    lucky_N = fractions(draw(seed, schemas.doc_ids(batch["doc_id"]), STREAM))
    domains = batch["domain"].dictionary_encode()
    shares_D = np.array([shares.get(domain, 0.0) for domain in domains.dictionary.to_pylist()])
    keep_N = batch["keep"].to_numpy(zero_copy_only=False)
    chosen_N = keep_N & (lucky_N < shares_D[domains.indices.to_numpy()]) if len(shares_D) else keep_N
    return batch.filter(pa.array(chosen_N))


def gather(
    batches: Iterator[pa.RecordBatch], *, shares: Mapping[str, float], seed: int, vectors: str | None
) -> list[pa.Table]:
    """Return the sampled documents of a shard: doc_id, domain, bytes, bag of words and, with vectors, direction."""
    found = []
    for batch in batches:
        rows = drawn(batch, shares, seed)
        if not rows.num_rows:
            continue
        buffers = schemas.text_buffers(rows["text"])
        table = pa.table(rows.select(["doc_id", "domain", "bytes"]))
        bags = kernel.bags(*buffers)
        table = table.append_column("words", _lists(bags.offsets, bags.buckets))
        table = table.append_column("counts", _lists(bags.offsets, bags.counts))
        if vectors is not None:
            points_ND = averages(Path(vectors), *buffers)
            flat = pa.array(points_ND.reshape(-1))
            table = table.append_column("direction", pa.FixedSizeListArray.from_arrays(flat, points_ND.shape[1]))
        found.append(table)
    return found


def sampled(step: Step, shares: Mapping[str, float], seed: int, vectors: Path | None) -> pa.Table | None:
    """Return the sample in the order of the draws, equal ones by doc_id; None where nobody is drawn."""
    work = partial(gather, shares=shares, seed=seed, vectors=None if vectors is None else str(vectors))
    found = step.fold(work, lambda a, b: a + b, columns=COLUMNS)
    if not found:
        return None
    table = pa.concat_tables(found).combine_chunks()
    ids_N2 = schemas.doc_ids(table["doc_id"])
    return table.take(np.lexsort((ids_N2[:, 1], ids_N2[:, 0], draw(seed, ids_N2, STREAM)))).combine_chunks()


def bags_of(sample: pa.Table) -> Bags:
    """Return the bags of sampled documents."""
    words, counts = (sample[name].combine_chunks() for name in ("words", "counts"))
    offsets = words.offsets.to_numpy()
    return Bags(words.flatten().to_numpy(), counts.flatten().to_numpy(), offsets - offsets[0])


def directions_of(sample: pa.Table) -> np.ndarray:
    """Return the directions of sampled documents, int16 [N, D]."""
    column = sample["direction"].combine_chunks()
    return column.flatten().to_numpy().reshape(len(column), -1)


def spell(batches: Iterator[pa.RecordBatch], *, shares: Mapping[str, float], seed: int, wanted: np.ndarray) -> Tally:
    """Return, by wanted bucket, the words in it that the sampled documents of a shard have, and how often they come."""
    wanted_V = np.zeros(kernel.BUCKETS, np.bool_)
    wanted_V[wanted] = True
    counts: Tally = {}
    for batch in batches:
        found = kernel.spellings(*schemas.text_buffers(drawn(batch, shares, seed)["text"]), wanted_V)
        text, ends = found.data.tobytes(), found.offsets.tolist()
        for place, (bucket, count) in enumerate(zip(found.buckets.tolist(), found.counts.tolist(), strict=True)):
            ledger.add(counts, {str(bucket): {text[ends[place] : ends[place + 1]].decode("utf-8", "replace"): count}})
    return counts


def spelled(step: Step, shares: Mapping[str, float], seed: int, wanted: np.ndarray) -> dict[int, str]:
    """Return for each wanted bucket the word that is in it most often, of equals the first by the alphabet."""
    work = partial(spell, shares=shares, seed=seed, wanted=np.unique(wanted).astype(np.int32))
    found: Tally = step.fold(work, ledger.add, columns=COLUMNS) or {}
    return {int(bucket): min(words, key=lambda word: (-words[word], word)) for bucket, words in found.items()}


def _lists(offsets: np.ndarray, values: np.ndarray) -> pa.LargeListArray:
    return pa.LargeListArray.from_arrays(pa.array(offsets, pa.int64()), pa.array(values))
