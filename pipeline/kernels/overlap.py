"""Which texts share runs of words with known passages: an index of the passages' word n-grams, and the search in it.

Letters: P passages, N documents, W words, K distinct n-grams of the index (its keys), G pairs of a key and a passage
that has it, H hits, M pairs of a document and a passage it shares a key with. A text's words are hashes, as
`shingles.hashes` with n = 1 returns them: words[firsts[i]:firsts[i + 1]] are those of text i.

A passage of n words or more has as keys all runs of n words in it, each counted once; one of `least` to n - 1 words has
a single key, all its words; a shorter one has none. A key that more than `most_items` items share, an item being one or
more passages, is a matter of form ("answer the following question ...") and is no key of theirs.

The hash of a run of m words w is mix64(w[0] b**(m - 1) + ... + w[m - 1] + m g) with odd constants b and g, modulo
2**64: it rolls on by one multiplication (Karp and Rabin, "Efficient randomized pattern-matching algorithms", 1987) and
is asked of two Bloom filters, with two bits in one word of 64, before the table: of a small one that stays near the
processor, then of a larger one. Two runs are taken for equal with probability 2**-64.
"""

from typing import NamedTuple

import numpy as np
from numba import njit

from pipeline.kernels.hashing import mix64, read_only

_BASE, _GOLDEN = np.uint64(0x9E6C63D0876A9A63), np.uint64(0x9E3779B97F4A7C15)
_U0, _U1, _U6, _U12, _U20, _U32, _U63 = (np.uint64(n) for n in (0, 1, 6, 12, 20, 32, 63))
_BITS_A_KEY, _MORE_BITS_A_KEY = 8, 16
_BLOCK = 1024


class Index(NamedTuple):
    """What is known of the passages; arrays are read-only.

    totals[p] is how many keys passage p has, sizes[k] how many words key k is, and passages[starts[k]:starts[k + 1]]
    are those that have it.
    """

    ngram: int
    least: int
    hashes: np.ndarray  # uint64 [K]
    sizes: np.ndarray  # int64 [K]
    starts: np.ndarray  # int64 [K + 1]
    passages: np.ndarray  # int64 [G]
    totals: np.ndarray  # int64 [P]
    lengths: np.ndarray  # int64, how many words the passages shorter than n that are keys have, distinct
    slots: np.ndarray  # int64, key + 1 in an open table, 0 where free
    bits: np.ndarray  # uint64, the small filter of all keys
    more: np.ndarray  # uint64, the larger one
    heads: np.ndarray  # uint64, a filter of the first `least` words of the passages shorter than n
    form: int  # keys that too many items share


def build(
    words_W: np.ndarray, firsts: np.ndarray, items_P: np.ndarray, ngram: int, least: int, most_items: int
) -> Index:
    """Return the index of passages; items int64 [P] says of which item each is.

    words uint64 [W], firsts int64 [P + 1].

    Raises:
        ValueError: `least` is not from 1 to ngram.
    """
    if not 1 <= least <= ngram:
        raise ValueError(f"least must be from 1 to ngram ({ngram}); got {least}")
    counts_P = np.diff(firsts)
    pairs = int(np.where(counts_P >= ngram, counts_P - ngram + 1, counts_P >= least).sum())
    hashes_G, owners_G, sizes_G = np.empty(pairs, np.uint64), np.empty(pairs, np.int64), np.empty(pairs, np.int64)
    _keys_all(words_W, firsts, ngram, least, hashes_G, owners_G, sizes_G)
    order = np.argsort(hashes_G, kind="stable")  # and so by passage among equal ones
    hashes_G, owners_G, sizes_G = hashes_G[order], owners_G[order], sizes_G[order]
    new_G = _changes(hashes_G)
    once_G = new_G | _changes(owners_G)
    keys_G = np.cumsum(new_G) - 1
    # Passages of one item stand together, so an item's passages of a key do, too.
    items_G = items_P[owners_G]
    items_K = np.bincount(keys_G, new_G | _changes(items_G))
    stay_K = items_K <= most_items
    stay_G = once_G & stay_K[keys_G]
    firsts_K = np.flatnonzero(new_G)[stay_K]
    counts_K = np.bincount(keys_G[stay_G], minlength=len(stay_K))[stay_K]
    hashes_K, sizes_K = hashes_G[firsts_K], sizes_G[firsts_K]
    short_P = np.flatnonzero((counts_P < ngram) & (counts_P >= least))
    slots = np.zeros(1 << max(4, (2 * len(hashes_K)).bit_length()), np.int64)
    bits, more = _filter(_BITS_A_KEY * len(hashes_K)), _filter(_MORE_BITS_A_KEY * len(hashes_K))
    heads = _filter(_MORE_BITS_A_KEY * len(short_P))
    _fill(hashes_K, slots, bits, more)
    _mark_heads(words_W, firsts, short_P, least, heads)
    return Index(
        ngram,
        least,
        hashes=read_only(hashes_K),
        sizes=read_only(sizes_K),
        starts=read_only(np.concatenate([np.zeros(1, np.int64), np.cumsum(counts_K)])),
        passages=read_only(owners_G[stay_G]),
        totals=read_only(np.bincount(owners_G[stay_G], minlength=len(counts_P))),
        lengths=read_only(np.unique(counts_P[short_P])),
        slots=read_only(slots),
        bits=read_only(bits),
        more=read_only(more),
        heads=read_only(heads),
        form=int(len(stay_K) - np.count_nonzero(stay_K)),
    )


def _filter(bits: int) -> np.ndarray:
    """Return an empty filter of at least so many bits: a power of two of words."""
    return np.zeros(1 << max(0, (bits >> 6).bit_length()), np.uint64)


def _changes(values: np.ndarray) -> np.ndarray:
    """Return bool, where a value is not the one before it."""
    changed = np.ones(len(values), bool)
    changed[1:] = values[1:] != values[:-1]
    return changed


def seek(words_W: np.ndarray, firsts: np.ndarray, index: Index) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return (documents, places, keys), each int64 [H]: where in which document which key begins, in reading order.

    A place is the number of the word in its document. words uint64 [W], firsts int64 [N + 1].
    """
    room = max(1024, len(words_W) // 16)
    while True:
        hits_H3 = np.empty((room, 3), np.int64)
        total = _seek_all(words_W, firsts, *_sought(index), hits_H3)
        if total <= room:
            found = np.ascontiguousarray(hits_H3[:total].T)
            return found[0], found[1], found[2]
        room = total


def _sought(index: Index) -> tuple:
    return (
        index.ngram,
        index.least,
        index.hashes,
        index.sizes,
        index.lengths,
        index.slots,
        index.bits,
        index.more,
        index.heads,
    )


def weigh(
    documents_H: np.ndarray, places_H: np.ndarray, keys_H: np.ndarray, index: Index
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return (documents, passages, found, run), each int64 [M]: how much of each passage its documents have.

    found is how many of the passage's keys are in the document, run the most words in a row that are covered by keys of
    the passage at one place after the other. Hits are in reading order; pairs come in the order of their first hit.
    """
    room = int((index.starts[keys_H + 1] - index.starts[keys_H]).sum())
    pairs_M4 = np.empty((room, 4), np.int64)
    total = _weigh_all(documents_H, places_H, keys_H, index.starts, index.passages, index.sizes, index.totals, pairs_M4)
    found = np.ascontiguousarray(pairs_M4[:total].T)
    return found[0], found[1], found[2], found[3]


def within(
    documents_H: np.ndarray, keys_H: np.ndarray, documents_M: np.ndarray, passages_M: np.ndarray, index: Index
) -> np.ndarray:
    """Return bool [H], whether a hit's key is one of a passage that is paired with its document.

    Both hits and pairs are in the order of the documents.
    """
    inside_H = np.zeros(len(keys_H), np.bool_)
    stamps_P = np.full(len(index.totals), -1, np.int64)
    _within_all(documents_H, keys_H, documents_M, passages_M, index.starts, index.passages, stamps_P, inside_H)
    return inside_H


@njit(cache=True, nogil=True)
def _run_hash(words, at, size):
    h = _U0
    for k in range(at, at + size):
        h = h * _BASE + words[k]
    return _finished(h, size)


@njit(cache=True, nogil=True)
def _finished(h, size):
    return mix64(h + np.uint64(size) * _GOLDEN)


@njit(cache=True, nogil=True)
def _power(n):
    power = _U1
    for _ in range(n):
        power *= _BASE
    return power


@njit(cache=True, nogil=True)
def _keys_all(words, firsts, ngram, least, hashes, owners, sizes):
    g = 0
    for p in range(len(firsts) - 1):
        count = firsts[p + 1] - firsts[p]
        size = min(ngram, count)
        if count >= least:
            for at in range(firsts[p], firsts[p + 1] - size + 1):
                hashes[g], owners[g], sizes[g] = _run_hash(words, at, size), p, size
                g += 1


@njit(cache=True, nogil=True)
def _place_of(hash_, bits):
    """Return (word, its two bits) of a hash in a filter of a power of two of words."""
    word = (hash_ >> _U12) & (np.uint64(len(bits)) - _U1)
    return word, _U1 << (hash_ & _U63) | _U1 << ((hash_ >> _U6) & _U63)


@njit(cache=True, nogil=True)
def _turned(hash_):
    """Return the hash with its halves exchanged: what the larger filter looks at, so that it does not ask the same."""
    return hash_ << _U32 | hash_ >> _U32


@njit(cache=True, nogil=True)
def _fill(hashes, slots, bits, more):
    mask = np.uint64(len(slots) - 1)
    for k in range(len(hashes)):
        slot = (hashes[k] >> _U20) & mask
        while slots[slot]:
            slot = (slot + _U1) & mask
        slots[slot] = k + 1
        word, two = _place_of(hashes[k], bits)
        bits[word] |= two
        word, two = _place_of(_turned(hashes[k]), more)
        more[word] |= two


@njit(cache=True, nogil=True)
def _mark_heads(words, firsts, short, least, heads):
    for p in short:
        word, two = _place_of(_run_hash(words, firsts[p], least), heads)
        heads[word] |= two


@njit(cache=True, nogil=True)
def _find(hash_, size, hashes, sizes, slots):
    """Return the key with this hash, -1 if there is none."""
    mask = np.uint64(len(slots) - 1)
    slot = (hash_ >> _U20) & mask
    while slots[slot]:
        key = slots[slot] - 1
        if hashes[key] == hash_ and sizes[key] == size:
            return key
        slot = (slot + _U1) & mask
    return np.int64(-1)


@njit(cache=True, nogil=True)
def _add(hits, total, document, place, key):
    """Write a hit if there is room; return how many there are then."""
    if key < 0:
        return total
    if total < len(hits):
        hits[total, 0], hits[total, 1], hits[total, 2] = document, place, key
    return total + 1


@njit(cache=True, nogil=True)
def _seek_all(words, firsts, ngram, least, hashes, sizes, lengths, slots, bits, more, heads, hits):
    total = 0
    mixed, maybe = np.empty(_BLOCK, np.uint64), np.empty(2 * _BLOCK, np.int64)
    for document in range(len(firsts) - 1):
        start, stop = firsts[document], firsts[document + 1]
        for begin in range(start, stop - least + 1, _BLOCK):
            end = min(begin + _BLOCK, stop - least + 1)
            # A loop for each part of the work has no branch that is hard to foresee, so the filter's words are waited
            # for together.
            count = 0
            if len(lengths):
                _roll(words, begin, end, least, mixed)
                count = _passing(mixed, end - begin, heads, False, maybe, count)
            end, short = min(end, stop - ngram + 1), count
            if begin < end:
                _roll(words, begin, end, ngram, mixed)
                count = _passing(mixed, end - begin, bits, True, maybe, count)
                count = _passing_twice(mixed, more, maybe, short, count)
            for at in np.sort(maybe[:count]):
                place = begin + (at >> 1)
                if at & 1:
                    key = _find(mixed[at >> 1], ngram, hashes, sizes, slots)
                    total = _add(hits, total, document, place - start, key)
                else:
                    for size in lengths:
                        if place + size <= stop:
                            run = _run_hash(words, place, size)
                            word, two = _place_of(run, bits)
                            if bits[word] & two == two:
                                key = _find(run, size, hashes, sizes, slots)
                                total = _add(hits, total, document, place - start, key)
    return total


@njit(cache=True, nogil=True)
def _roll(words, begin, end, size, mixed):
    """Write the hashes of the runs of `size` words that begin at words begin to end - 1."""
    h, leaves = _U0, _power(size)
    for k in range(begin, begin + size):
        h = h * _BASE + words[k]
    mixed[0] = _finished(h, size)
    for at in range(begin + 1, end):
        h = h * _BASE + (words[at + size - 1] - words[at - 1] * leaves)
        mixed[at - begin] = _finished(h, size)


@njit(cache=True, nogil=True)
def _passing(mixed, number, bits, whole, maybe, count):
    """Append 2 i, or 2 i + 1 for runs of n words, for each hash i that passes the filter; return how many there are."""
    for i in range(number):
        word, two = _place_of(mixed[i], bits)
        maybe[count] = 2 * i + whole
        count += bits[word] & two == two
    return count


@njit(cache=True, nogil=True)
def _passing_twice(mixed, more, maybe, first, count):
    """Leave those runs of n words that pass the larger filter, too; return how many there are then."""
    left = first
    for i in range(first, count):
        word, two = _place_of(_turned(mixed[maybe[i] >> 1]), more)
        maybe[left] = maybe[i]
        left += more[word] & two == two
    return left


@njit(cache=True, nogil=True)
def _weigh_all(documents, places, keys, starts, passages, sizes, totals, pairs):
    pair_of, last = np.full(len(totals), -1, np.int64), np.empty(len(totals), np.int64)
    current, counted = np.empty(len(totals), np.int64), np.full(len(sizes), -1, np.int64)
    total, first = 0, 0
    for h in range(len(keys)):
        document, place, key = documents[h], places[h], keys[h]
        if h > 0 and document != documents[h - 1]:
            first = total
        fresh = counted[key] != document
        counted[key] = document
        for g in range(starts[key], starts[key + 1]):
            p = passages[g]
            m = pair_of[p]
            if m < first:
                m = pair_of[p] = total
                pairs[m, 0], pairs[m, 1], pairs[m, 2], pairs[m, 3] = document, p, 0, 0
                last[p], total = -2, total + 1
            current[p] = current[p] + 1 if place == last[p] + 1 else sizes[key]
            last[p] = place
            pairs[m, 2] += 1 if fresh else 0
            pairs[m, 3] = max(pairs[m, 3], current[p])
    return total


@njit(cache=True, nogil=True)
def _within_all(documents, keys, paired_documents, paired_passages, starts, passages, stamps, inside):
    m = 0
    for h in range(len(keys)):
        document = documents[h]
        while m < len(paired_documents) and paired_documents[m] <= document:
            stamps[paired_passages[m]] = paired_documents[m]
            m += 1
        for g in range(starts[keys[h]], starts[keys[h] + 1]):
            inside[h] |= stamps[passages[g]] == document
