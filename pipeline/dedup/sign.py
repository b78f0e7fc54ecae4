"""Sign every document: MinHash over word shingles, cut into LSH bands.

Reads documents (and a mask); writes, shard for shard, one 64-bit key a band. Two documents are candidates when they
share a key; with Jaccard similarity s of their shingle sets that happens with probability 1 - (1 - s**rows)**bands:
0.998 at s = 0.8 and 0.92 at 0.7 for the default 20 bands of 6 rows. Candidates are only proposed here, `dedup.keep`
decides by the true similarity; so the bands may be generous.
"""

from functools import lru_cache, partial

import numpy as np
import pyarrow as pa
from pydantic import Field

from pipeline.dedup import bands
from pipeline.kernels import minhash, shingles
from pipeline.schemas import text_buffers
from pipeline.stage import Params, Stage, Step

_RUN_BYTES = 256 * 1024


class SignParams(Params):
    """What decides the bands: words a shingle, bands, MinHash values a band, and the seed of the permutations."""

    ngram: int = Field(5, ge=1, le=64)
    bands: int = Field(20, ge=1, le=1024)
    rows: int = Field(6, ge=1, le=1024)
    seed: int = Field(1, ge=0, lt=2**32)


def sign_batch(batch: pa.RecordBatch, params: SignParams) -> pa.RecordBatch:
    """Return bands and shingles of each row, in order."""
    keep_N = np.asarray(batch["keep"])
    keys_NB = np.zeros((batch.num_rows, params.bands), np.uint64)
    counts_N = np.zeros(batch.num_rows, np.int32)
    keys_NB[keep_N], counts_N[keep_N] = sign_texts(batch["text"].filter(batch["keep"]), params)
    columns = [bands.column(keys_NB, counts_N == 0), pa.array(counts_N)]
    return pa.record_batch(columns, schema=bands.schema(params.bands))


def sign_texts(texts: pa.Array, params: SignParams) -> tuple[np.ndarray, np.ndarray]:
    """Return (keys uint64 [N, B], number of shingles int32 [N])."""
    data, offsets = shingles.plain(*text_buffers(texts))
    permutations_2P = _permutations(params.bands * params.rows, params.seed)
    keys_NB = np.empty((len(texts), params.bands), np.uint64)
    counts_N = np.empty(len(texts), np.int32)
    for first, end in shingles.runs(offsets, _RUN_BYTES):
        hashes_S, ends = shingles.hashes(data, offsets[first : end + 1], params.ngram)
        keys_NB[first:end] = minhash.band_keys(minhash.signatures(hashes_S, ends, permutations_2P), params.bands)
        counts_N[first:end] = np.diff(ends)
    return keys_NB, counts_N


@lru_cache
def _permutations(count: int, seed: int) -> np.ndarray:
    return minhash.permutations(count, seed)


def sign(step: Step, params: SignParams) -> None:
    """Run on every shard; nothing is shuffled and nothing is held between shards."""
    step.map_shards(
        partial(sign_batch, params=params),
        columns={"documents": ("text",), "mask": ("keep",)},
        schema=bands.schema(params.bands),
    )


SIGN = Stage("dedup.sign", version=1, params=SignParams, inputs=("documents",), run=sign, optional=("mask",))
