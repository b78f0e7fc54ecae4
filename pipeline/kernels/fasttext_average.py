"""Averages of the rows that a document's features name: what fastText calls the hidden vector of a text.

The rows are added in fastText's order, words and their character n-grams first, then word n-grams, so that sums in
float32 are fastText's own to the bit: thousands of roundings are what sets two programs apart on a long document.

Shapes: N documents, R rows of a matrix, D its columns. `data` is uint8, `offsets` int64 [N + 1].
"""

import numpy as np
from numba import njit, uint32, uint64

from pipeline.kernels.fasttext_features import EOS, find, is_label, next_token, push, subwords
from pipeline.kernels.fasttext_hash import GRAM, key_of, modulo, prefetch

AHEAD = 8  # rows that are asked for before they are added: about as many lines as a core can wait for at once
LINE = 16  # float32 in a cache line
ROOM = 4096  # features that are collected before their rows are added


@njit(cache=True, nogil=True)
def _add(matrix_RD, norms_R, features, n, total_D):
    """Add the rows of the first `n` features to `total_D`, each times its norm where there are norms."""
    width = matrix_RD.shape[1]
    for t in range(min(AHEAD, n)):
        for k in range(0, width, LINE):
            prefetch(matrix_RD, features[t] * width + k)
    for t in range(n):
        if t + AHEAD < n:
            for k in range(0, width, LINE):
                prefetch(matrix_RD, features[t + AHEAD] * width + k)
        row_D = matrix_RD[features[t]]
        if len(norms_R):
            norm = norms_R[features[t]]
            for k in range(width):
                total_D[k] += norm * row_D[k]
        else:
            for k in range(width):
                total_D[k] += row_D[k]


@njit(cache=True, nogil=True, error_model="numpy")
def averages(data, offsets, rows, lookup, matrix_RD, norms_R, out_ND):
    """Write the average of the rows of each document in `rows`; a document without any feature is left as it was.

    Sums are as wide as `out_ND`; norms go with float32 only.
    """
    total_D = np.zeros(matrix_RD.shape[1], out_ND.dtype)
    scale = np.zeros(1, out_ND.dtype)
    features = np.empty(ROOM, np.int64)
    hashes = np.empty(ROOM, np.int32)
    for d in rows:
        total_D[:] = 0
        features, hashes, n_tokens, count = _words(
            data, offsets[d], offsets[d + 1], lookup, matrix_RD, norms_R, features, hashes, total_D
        )
        count += _grams(hashes[:n_tokens], lookup, matrix_RD, norms_R, features, total_D)
        if count:
            scale[0] = 1.0 / count
            for k in range(len(total_D)):
                out_ND[d, k] = total_D[k] * scale[0]


@njit(cache=True, nogil=True)
def _words(data, at, end, lookup, matrix_RD, norms_R, features, hashes, total_D):
    """Add the rows of words and character n-grams; returns both buffers, the number of tokens and of features.

    The buffers come back larger where a token or the document needs it; `hashes` holds the tokens' for their n-grams.
    """
    shift = uint64(lookup.shift)
    eos = key_of(EOS, 0, len(EOS))
    n, n_tokens, count, ended = 0, 0, 0, False
    while not ended:
        start, at, key = next_token(data, at, end)
        if start == at:
            key = eos
        ended = key == eos
        entry = find(lookup, key, shift)
        if entry >= lookup.n_words or (entry < 0 and is_label(data, start, at)):
            continue
        need = 1 + (at - start + 2) * lookup.maxn
        if n + need > len(features):
            _add(matrix_RD, norms_R, features, n, total_D)
            count += n
            n = 0
            if need > len(features):
                features = np.empty(need, np.int64)
        if entry >= 0:
            features[n] = entry
            n += 1
        if lookup.maxn > 0 and not ended:
            n = subwords(lookup, data, start, at, entry, features, n)
        if n_tokens == len(hashes):
            more = np.empty(2 * n_tokens, np.int32)
            more[:n_tokens] = hashes
            hashes = more
        hashes[n_tokens] = np.int32(uint32(key))
        n_tokens += 1
    _add(matrix_RD, norms_R, features, n, total_D)
    return features, hashes, n_tokens, count + n


@njit(cache=True, nogil=True)
def _grams(hashes, lookup, matrix_RD, norms_R, features, total_D):
    """Add the rows of the n-grams of the tokens with these hashes; returns how many there are."""
    if lookup.word_ngrams < 2:
        return 0
    bucket = uint64(lookup.bucket)
    inverse = uint64(0xFFFFFFFFFFFFFFFF) // bucket
    n, count = 0, 0
    for i in range(len(hashes)):
        value = uint64(np.int64(hashes[i]))
        for j in range(i + 1, min(i + lookup.word_ngrams, len(hashes))):
            value = value * GRAM + uint64(np.int64(hashes[j]))
            n = push(lookup, modulo(value, bucket, inverse), features, n)
            if n == len(features):
                _add(matrix_RD, norms_R, features, n, total_D)
                count += n
                n = 0
    _add(matrix_RD, norms_R, features, n, total_D)
    return count + n
