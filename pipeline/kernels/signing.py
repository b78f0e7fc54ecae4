"""Text to LSH band keys in one pass: shingles are made a roomful at a time and taken into the minima while in cache.

Letters: N documents, P permutations, B bands. Neither the text in normal form nor the shingles of a document are ever
held as a whole, so memory grows with the number of documents only, not with their length.
"""

import numpy as np

from pipeline.kernels import minhash, shingles
from pipeline.kernels.shingles import Hashing, Unit


def sign(
    data: np.ndarray,
    offsets: np.ndarray,
    permutations_2P: np.ndarray,
    bands: int,
    ngram: int,
    unit: Unit = "word",
    hashing: Hashing = "native",
) -> tuple[np.ndarray, np.ndarray]:
    """Return (keys uint64 [N, B], number of shingles int64 [N]) of any valid UTF-8, in normal form or not.

    data uint8, offsets int64 [N + 1]. The keys of a document without shingles are those of the empty signature.

    Raises:
        ValueError: the offsets fall or leave the data, the permutations do not split into bands, or no such shingles.
    """
    work = shingles.Work(data, offsets, ngram, unit, hashing, strict=True)
    keys_NB = _signed(work, permutations_2P, bands)
    rows = np.flatnonzero(work.needed_N)
    if len(rows):
        again = shingles.Work(*shingles.in_context(data, offsets, rows), ngram, unit, hashing)
        keys_NB[rows], work.counts_N[rows] = _signed(again, permutations_2P, bands), again.counts_N
    return keys_NB, work.counts_N


def _signed(work: shingles.Work, permutations_2P: np.ndarray, bands: int) -> np.ndarray:
    signer = minhash.Signer(len(work.counts_N), permutations_2P, bands)
    while (first := work.document) < len(work.counts_N):
        before = int(work.counts_N[first])
        found_S = work.go_on()
        signer.take(found_S, work.counts_N, first, before, work.document)
    return signer.signed_N
