"""Features of documents, as fastText's supervised models see them.

They are fastText's, to the bit (fastText 0.9.3, `Dictionary::getLine`): tokens are runs of bytes without whitespace
(space, \t \n \v \f \r and NUL); `</s>` is appended to every document; a literal `</s>` ends it; labels, and
unknown words that begin with `__label__`, are skipped. A word n-gram is hashed as h = h * 116049371 + hash(next), with
the 32-bit hashes sign-extended, modulo `bucket`; character n-grams (`minn`..`maxn` code points of `<token>`) are FNV-1a
modulo `bucket`. One policy is ours: fastText reads lines, here a newline is whitespace like any other, in training and
in scoring. The official program gives the same features when "\n" is replaced by " ".

Shapes: N documents, F features of all of them. `data` is uint8, `offsets` int64 [N + 1].
"""

import math
from typing import NamedTuple

import numpy as np
from numba import njit, uint8, uint32, uint64

from pipeline.kernels.fasttext_hash import BASIS, GRAM, SPACE, hash32, key_of, modulo, slot, step
from pipeline.kernels.fasttext_model import Model

LABEL = np.frombuffer(b"__label__", np.uint8)
EOS = np.frombuffer(b"</s>", np.uint8)


class Lookup(NamedTuple):
    """What turns text into feature numbers: a hash table of all entries, and the n-gram settings."""

    keys: np.ndarray  # uint64 [slots]
    entries: np.ndarray  # int32 [slots], -1 empty
    shift: int  # 32 - log2(slots)
    n_words: int  # entries from here on are labels
    bucket: int
    word_ngrams: int
    minn: int
    maxn: int
    pruned_rows: np.ndarray  # int32 [bucket], or empty: every bucket has its own row
    parts: np.ndarray  # int32: the rows of the known words' character n-grams, back to back; empty if there are none
    part_offsets: np.ndarray  # int64 [n_words + 1]


@njit(cache=True, nogil=True)
def _table(data, offsets, bits):
    """Hash table of all entries: keys and numbers by slot, and the number of an entry whose key was there already."""
    keys = np.zeros(1 << bits, np.uint64)
    entries = np.full(1 << bits, -1, np.int32)
    shift = uint64(32 - bits)
    twin = -1
    for e in range(len(offsets) - 1):
        key = key_of(data, offsets[e], offsets[e + 1])
        p = slot(key, shift)
        while entries[p] >= 0 and keys[p] != key:
            p = (p + 1) & (len(keys) - 1)
        if entries[p] >= 0:
            twin = e
        keys[p] = key
        entries[p] = e
    return keys, entries, twin


@njit(cache=True, nogil=True)
def find(lookup, key, shift):
    """The number of the entry with `key`, or -1."""
    p = slot(key, shift)
    while lookup.entries[p] >= 0:
        if lookup.keys[p] == key:
            return lookup.entries[p]
        p = (p + 1) & (len(lookup.keys) - 1)
    return np.int32(-1)


def lookup_of(model: Model) -> Lookup:
    """The tables that turn text into the feature numbers of `model`.

    Raises:
        ValueError: the dictionary has an entry twice.
    """
    bits = _bits(len(model.entry_counts))
    keys, entries, twin = _table(model.entry_bytes, model.entry_offsets, bits)
    if twin >= 0:
        raise ValueError(f"its dictionary is damaged: the entry {model.entry(twin)!r} is there twice")
    rows = np.empty(0, np.int32) if model.pruned_rows is None else model.pruned_rows
    nothing = np.empty(0, np.int32), np.zeros(1, np.int64)
    sizes = 32 - bits, model.n_words, model.bucket, model.word_ngrams, model.minn, model.maxn
    lookup = Lookup(keys, entries, *sizes, rows, *nothing)
    if model.maxn <= 0:
        return lookup
    parts, part_offsets = _known_parts(model.entry_bytes, model.entry_offsets, lookup)
    return lookup._replace(parts=parts, part_offsets=part_offsets)


def frozen(array: np.ndarray) -> np.ndarray:
    """A read-only view: Arrow's buffers are read-only, and numba compiles every function once for each kind."""
    view = array.view(np.ndarray)  # a memory map, too
    view.flags.writeable = False
    return view


def _bits(n: int) -> int:
    """log2 of the slots for a table of `n` keys, at most two thirds full."""
    return max(4, math.ceil(math.log2(max(n, 1) * 1.5)))


@njit(cache=True, nogil=True)
def next_token(data, at, end):
    """Start, end and key of the first token in `data[at:end]`; start == end: there is none."""
    while at < end and SPACE[data[at]]:
        at += 1
    start = at
    key = BASIS
    while at < end and not SPACE[data[at]]:
        key = step(key, data[at])
        at += 1
    return start, at, key


@njit(cache=True, nogil=True)
def is_label(data, start, end):
    """Whether the token begins with `__label__`."""
    k = 0
    while k < len(LABEL) and start + k < end and data[start + k] == LABEL[k]:
        k += 1
    return k == len(LABEL)


@njit(cache=True, nogil=True)
def push(lookup, bucket_number, features, n):
    """Append the row of a bucket, unless it was pruned; returns the new length."""
    row = np.int64(bucket_number)
    if len(lookup.pruned_rows):
        row = np.int64(lookup.pruned_rows[row])
        if row < 0:
            return n
    features[n] = lookup.n_words + row
    return n + 1


@njit(cache=True, nogil=True)
def subwords(lookup, data, start, end, entry, features, n):
    """Append the character n-grams of `<` + data[start:end] + `>`, which is the word `entry` or unknown (-1).

    Returns the new length. Those of known words are read off a list, as in fastText.
    """
    if entry >= 0 and len(lookup.part_offsets) > 1:
        for p in range(lookup.part_offsets[entry], lookup.part_offsets[entry + 1]):
            features[n] = lookup.parts[p]
            n += 1
        return n
    bucket = uint64(lookup.bucket)
    inverse = uint64(0xFFFFFFFFFFFFFFFF) // bucket
    length = end - start + 2
    for i in range(length):
        if 0 < i < length - 1 and data[start + i - 1] & 0xC0 == 0x80:
            continue
        state, j, points = BASIS, i, 1
        while j < length and points <= lookup.maxn:
            more = True
            while more:
                byte = uint8(60) if j == 0 else (uint8(62) if j == length - 1 else data[start + j - 1])
                state = step(state, byte)
                j += 1
                more = j < length - 1 and data[start + j - 1] & 0xC0 == 0x80
            if points >= lookup.minn and not (points == 1 and (i == 0 or j == length)):
                n = push(lookup, modulo(uint64(uint32(state)), bucket, inverse), features, n)
            points += 1
    return n


@njit(cache=True, nogil=True)
def _longer(array, used, size):
    """The first `used` values in an array of `size`."""
    longer = np.empty(size, array.dtype)
    longer[:used] = array[:used]
    return longer


@njit(cache=True, nogil=True)
def _known_parts(data, offsets, lookup):
    """The rows of the character n-grams of every known word, back to back, and their offsets [n_words + 1]."""
    part_offsets = np.zeros(lookup.n_words + 1, np.int64)
    parts = np.empty(1 << 12, np.int32)
    features = np.empty(1 << 12, np.int64)
    total = 0
    for e in range(lookup.n_words):
        start, end = offsets[e], offsets[e + 1]
        n = 0
        if key_of(data, start, end) != key_of(EOS, 0, len(EOS)):
            if (end - start + 2) * lookup.maxn > len(features):
                features = np.empty((end - start + 2) * lookup.maxn, np.int64)
            n = subwords(lookup, data, start, end, -1, features, 0)
        if total + n > len(parts):
            parts = _longer(parts, total, 2 * (total + n))
        parts[total : total + n] = features[:n]
        total += n
        part_offsets[e + 1] = total
    return parts[:total].copy(), part_offsets


@njit(cache=True, nogil=True)
def without_newlines(data, offsets):
    """The documents without their `\\n` bytes: data, at least one byte long, and offsets."""
    out = np.empty(max(offsets[-1] - offsets[0], 1), np.uint8)
    out_offsets = np.zeros(len(offsets), np.int64)
    n = 0
    for d in range(len(offsets) - 1):
        for i in range(offsets[d], offsets[d + 1]):
            out[n] = data[i]
            n += data[i] != 10
        out_offsets[d + 1] = n
    return out, out_offsets


@njit(cache=True, nogil=True)
def fill(lookup, data, end, cursor, grams, features):
    """Write the next features of the document that ends at `end` into `features`; returns it and their number.

    Call it until cursor[2] is 1. `cursor` is (next byte, word n-grams open, finished), `grams[m]` the hash of the last
    m + 1 tokens. `features` comes back larger if one token has more features than fit.
    """
    shift = uint64(lookup.shift)
    eos = key_of(EOS, 0, len(EOS))
    n = 0
    while not cursor[2]:
        start, stop, key = next_token(data, cursor[0], end)
        if start == stop:
            key = eos
        need = lookup.word_ngrams + 1 + (stop - start + 2) * lookup.maxn
        if n + need > len(features):
            if n:
                return features, n
            features = np.empty(need, np.int64)
        cursor[0] = stop
        entry = find(lookup, key, shift)
        if entry >= lookup.n_words or (entry < 0 and is_label(data, start, stop)):
            continue
        if entry >= 0:
            features[n] = entry
            n += 1
        if key != eos and lookup.maxn > 0:
            n = subwords(lookup, data, start, stop, entry, features, n)
        value = hash32(key)
        for m in range(min(cursor[1], lookup.word_ngrams - 1), 0, -1):
            grams[m] = grams[m - 1] * GRAM + value
            n = push(lookup, grams[m] % uint64(lookup.bucket), features, n)
        grams[0] = value
        cursor[1] += 1
        cursor[2] = key == eos
    return features, n


@njit(cache=True, nogil=True)
def document_features(data, offsets, lookup):
    """The features of every document: numbers int32 [F], back to back, and their offsets int64 [N + 1]."""
    out = np.empty(1 << 16, np.int32)
    out_offsets = np.zeros(len(offsets), np.int64)
    buffer = np.empty(4096, np.int64)
    grams = np.zeros(max(lookup.word_ngrams, 1), np.uint64)
    total = 0
    for d in range(len(offsets) - 1):
        cursor = np.array([offsets[d], 0, 0])
        while not cursor[2]:
            buffer, n = fill(lookup, data, offsets[d + 1], cursor, grams, buffer)
            if total + n > len(out):
                out = _longer(out, total, 2 * (total + n))
            out[total : total + n] = buffer[:n]
            total += n
        out_offsets[d + 1] = total
    return out[:total].copy(), out_offsets


@njit(cache=True, nogil=True)
def count_words(data, offsets):
    """Every different word: its key, how often it occurs, and where it first starts and ends in `data`.

    In the order of first occurrence; labels and `</s>` are no words, and text after a literal `</s>` does not count.
    """
    keys = np.zeros(1 << 16, np.uint64)
    numbers = np.full(len(keys), -1, np.int64)
    out_keys = np.empty(1 << 15, np.uint64)
    out = np.empty((1 << 15, 3), np.int64)  # count, start, end
    eos = key_of(EOS, 0, len(EOS))
    n = 0
    for d in range(len(offsets) - 1):
        at, end = offsets[d], offsets[d + 1]
        while True:
            start, at, key = next_token(data, at, end)
            if start == at or key == eos:
                break
            if is_label(data, start, at):
                continue
            p = slot(key, uint64(32 - int(math.log2(len(keys)))))
            while numbers[p] >= 0 and keys[p] != key:
                p = (p + 1) & (len(keys) - 1)
            if numbers[p] >= 0:
                out[numbers[p], 0] += 1
                continue
            keys[p], numbers[p] = key, n
            out_keys[n], out[n, 0], out[n, 1], out[n, 2] = key, 1, start, at
            n += 1
            if n == len(out):
                keys, numbers, out_keys, out = _grown(out_keys, out)
    return out_keys[:n].copy(), out[:n, 0].copy(), out[:n, 1].copy(), out[:n, 2].copy()


@njit(cache=True, nogil=True)
def _grown(out_keys, out):
    """The table of `count_words` with twice the room."""
    n = len(out)
    more_keys = np.empty(2 * n, np.uint64)
    more = np.empty((2 * n, 3), np.int64)
    more_keys[:n], more[:n] = out_keys, out
    keys = np.zeros(4 * n, np.uint64)
    numbers = np.full(4 * n, -1, np.int64)
    shift = uint64(32 - int(math.log2(4 * n)))
    for i in range(n):
        p = slot(more_keys[i], shift)
        while numbers[p] >= 0:
            p = (p + 1) & (4 * n - 1)
        keys[p], numbers[p] = more_keys[i], i
    return keys, numbers, more_keys, more
