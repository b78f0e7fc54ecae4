"""Sign every document: MinHash over its shingles, cut into LSH bands.

Reads documents (and a mask); writes, shard for shard, one 64-bit key a band. Two documents are candidates when they
share a key; with Jaccard similarity s of their shingle sets that happens with probability 1 - (1 - s**rows)**bands:
0.998 at s = 0.8 and 0.92 at 0.7 for the default 20 bands of 6 rows. Candidates are only proposed here, `dedup.keep`
decides by the true similarity; so the bands may be generous.
"""

from functools import lru_cache, partial

import numpy as np
import pyarrow as pa
from pydantic import Field, model_validator

from pipeline.dedup import bands
from pipeline.kernels import minhash, signing
from pipeline.kernels.shingles import Hashing, Unit
from pipeline.schemas import text_buffers
from pipeline.stage import Params, Stage, Step

_MOST_VALUES = 4096
_LEAST_BYTES = 4
_MOSTLY = 0.8


class SignParams(Params):
    """What decides the bands: what a shingle is, bands, MinHash values a band, and the seed of the permutations.

    unit     a shingle is `ngram` words, or `ngram` bytes of the words joined by single spaces
    hashing  `native`, or `datasketch`: the SHA-1 that datasketch takes of the joined words, several times slower
    """

    ngram: int = Field(5, ge=1, le=64)
    unit: Unit = "word"
    hashing: Hashing = "native"
    bands: int = Field(20, ge=1, le=1024)
    rows: int = Field(6, ge=1, le=1024)
    seed: int = Field(1, ge=0, lt=2**32)

    @model_validator(mode="after")
    def _makes_sense(self) -> "SignParams":
        if self.bands * self.rows > _MOST_VALUES:
            raise ValueError(
                f"bands x rows is {self.bands:,} x {self.rows:,} = {self.bands * self.rows:,} values a document, more "
                f"than {_MOST_VALUES:,}; 20 bands of 6 rows find pairs at a similarity of 0.8"
            )
        if self.unit == "byte" and self.ngram < _LEAST_BYTES:
            raise ValueError(
                f"shingles of {self.ngram} bytes are in every text, so all texts would look alike; "
                f"set ngram to {_LEAST_BYTES} or more (25 bytes are about 5 words), or unit to word"
            )
        return self


def sign_batch(batch: pa.RecordBatch, params: SignParams) -> pa.RecordBatch:
    """Return bands and shingles of each row, in order."""
    keep_N = np.asarray(batch["keep"])
    # To copy the kept texts out costs more than to sign a few that nobody asked for.
    signed_N = np.full(len(keep_N), True) if keep_N.mean() > _MOSTLY else keep_N
    texts = batch["text"] if signed_N.all() else batch["text"].filter(batch["keep"])
    keys_NB, counts_N = np.zeros((len(keep_N), params.bands), np.uint64), np.zeros(len(keep_N), np.int32)
    keys_NB[signed_N], counts_N[signed_N] = sign_texts(texts, params)
    counts_N[~keep_N] = 0
    columns = [bands.column(keys_NB, counts_N == 0), pa.array(counts_N)]
    return pa.record_batch(columns, schema=bands.schema(params.bands))


def sign_texts(texts: pa.Array, params: SignParams) -> tuple[np.ndarray, np.ndarray]:
    """Return (keys uint64 [N, B], number of shingles int64 [N])."""
    permutations_2P = _permutations(params.bands * params.rows, params.seed)
    return signing.sign(*text_buffers(texts), permutations_2P, params.bands, params.ngram, params.unit, params.hashing)


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


SIGN = Stage("dedup.sign", version=2, params=SignParams, inputs=("documents",), run=sign, optional=("mask",))
