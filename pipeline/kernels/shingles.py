"""Text to shingles: normalise, cut into words, hash the words, hash every run of n words.

Letters: N documents, D bytes in all of them, S shingles in all of them. Document i is data[offsets[i]:offsets[i + 1]].

The words of a text are, by definition (and `tests/kernels/reference_dedup.py` says it in these very terms):

    text = unicodedata.normalize("NFC", text).lower(), each character of `unicode_table.ALONE_RANGES` between spaces
    words = re.findall(r"\\w+", text)

A shingle is n words in a row; a text of 1 to n - 1 words has one shingle, all its words; a text without words has none.

`plain` brings the few texts whose NFC or lower case depends on the context into normal form with Python's own
functions; all others pass as they are. `hashes` does the rest one character at a time with a frozen table:

    word     of its UTF-8:  h = mix(length);  for each 8 bytes b, the last filled with zeros:  h = mix(h ^ b)
    shingle  mix(sum over j of rotl(word_j, 11 j));  mix is the finaliser of splitmix64, a bijection

A document is worked off in chunks of 64 KiB that end at a separator, so the scratch does not grow with the document.
"""

import unicodedata
from itertools import pairwise

import numpy as np
from numba import njit

from pipeline.kernels import unicode_table
from pipeline.kernels.hashing import check_offsets, read_only

_CHUNK_BYTES = 64 * 1024
_SPACE = np.uint8(0x20)
_LOWER = np.uint32(unicode_table.LOWER)
_WORD, _ALONE = np.uint32(unicode_table.WORD), np.uint32(unicode_table.ALONE)
_CONTEXT = np.uint32(unicode_table.CONTEXT)
_ALL_ONES = np.uint64(0xFFFFFFFFFFFFFFFF)
_HIGH_BITS = np.uint64(0x8080808080808080)


def hashes(data: np.ndarray, offsets: np.ndarray, ngram: int) -> tuple[np.ndarray, np.ndarray]:
    """Return (shingles uint64 [S], offsets int64 [N + 1]): the shingles of each document in order, repeats and all.

    data uint8 [D] holds valid UTF-8, offsets int64 [N + 1]. The text must have passed `plain`.

    Raises:
        ValueError: the offsets fall or leave the data, or ngram is below 1.
    """
    if ngram < 1:
        raise ValueError(f"ngram must be at least 1; got {ngram}")
    offsets = np.ascontiguousarray(offsets, np.int64)
    check_offsets(data, offsets)
    documents = len(offsets) - 1
    # Every word but the last is followed by a separator, or is one character of three bytes.
    out_S = np.empty((int(offsets[-1] - offsets[0]) + 1) // 2 + documents, np.uint64)
    out_offsets = np.zeros(documents + 1, np.int64)
    table = unicode_table.table()
    _shingle_all(read_only(np.ascontiguousarray(data)), read_only(offsets), table, ngram, out_S, out_offsets)
    return out_S[: out_offsets[-1]], out_offsets


def runs(offsets: np.ndarray, bytes_: int) -> list[tuple[int, int]]:
    """Return (first, end) of consecutive documents of about `bytes_` together; a longer document is alone.

    Working off a batch in such runs keeps the shingles (8 bytes each) in the processor's cache.
    """
    cuts, documents = [0], len(offsets) - 1
    while cuts[-1] < documents:
        end = int(np.searchsorted(offsets, offsets[cuts[-1]] + bytes_, side="right")) - 1
        cuts.append(min(max(end, cuts[-1] + 1), documents))
    return list(pairwise(cuts))


def plain(data: np.ndarray, offsets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return (data, offsets) with the documents that need their context replaced by their NFC in lower case.

    Usually that is none of them and the arguments come back as they are. What Unicode did not know when the table was
    frozen is kept as it is, whatever Python has learnt since.
    """
    offsets = np.ascontiguousarray(offsets, np.int64)
    check_offsets(data, offsets)
    needed_N = np.zeros(len(offsets) - 1, np.bool_)
    _need_context(read_only(np.ascontiguousarray(data)), read_only(offsets), unicode_table.table(), needed_N)
    if not needed_N.any():
        return data, offsets
    pieces, lengths_N, start = [], np.diff(offsets), 0
    for row in np.flatnonzero(needed_N).tolist():
        text = _in_context(bytes(data[offsets[row] : offsets[row + 1]]).decode())
        pieces += [data[offsets[start] : offsets[row]], np.frombuffer(text.encode(), np.uint8)]
        lengths_N[row], start = len(pieces[-1]), row + 1
    pieces.append(data[offsets[start] : offsets[-1]])
    return np.concatenate(pieces), np.concatenate([[0], np.cumsum(lengths_N)])


def _in_context(text: str) -> str:
    if unicodedata.unidata_version != unicode_table.UNICODE:
        # An unknown code point composes with nothing and has no case: the text may be normalised between them.
        unknown = unicode_table.unassigned()
        kept = [*unknown.findall(text), ""]
        parts = (unicodedata.normalize("NFC", part).lower() for part in unknown.split(text))
        return "".join(part + hole for part, hole in zip(parts, kept, strict=True))
    return unicodedata.normalize("NFC", text).lower()


@njit(cache=True, nogil=True)
def _load64(data, at):
    """Return 8 bytes as one little-endian number; LLVM makes one load of it. An unsigned index is not wrapped."""
    i = np.uint64(at)
    word = np.uint64(0)
    for k in range(8):
        word |= np.uint64(data[i + np.uint64(k)]) << np.uint64(8 * k)
    return word


@njit(cache=True, nogil=True)
def _mix(x):
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


@njit(cache=True, nogil=True)
def _shingle_all(data, offsets, table, ngram, out, out_offsets):
    size = _CHUNK_BYTES
    plain_text = np.empty(2 * size + 16, np.uint8)
    edges = np.empty(2 * size + 16, np.int32)
    words = np.empty(size + ngram + 16, np.uint64)
    total = 0
    for document in range(len(offsets) - 1):
        start, end, held, before = offsets[document], offsets[document + 1], 0, total
        while start < end:
            stop = _chunk_end(data, start, end, table)
            if stop - start > size:
                size = stop - start
                plain_text = np.empty(2 * size + 16, np.uint8)
                edges = np.empty(2 * size + 16, np.int32)
                grown = np.empty(size + ngram + 16, np.uint64)
                grown[:held] = words[:held]
                words = grown
            length = _normalise(data, start, stop, table, plain_text)
            count = held + _hash_words(plain_text, _word_edges(plain_text, length, edges), edges, words, held)
            total += _hash_shingles(words, count, ngram, out, total)
            # The last n - 1 words begin the shingles that reach into the next chunk.
            held = min(count, ngram - 1)
            for i in range(held):
                words[i] = words[count - held + i]
            start = stop
        if total == before and held:
            total += _hash_shingles(words, held, held, out, total)
        out_offsets[document + 1] = total


@njit(cache=True, nogil=True)
def _chunk_end(data, start, end, table):
    """Return where the chunk that begins at start ends: at the end, or behind an ASCII separator."""
    limit = start + _CHUNK_BYTES
    if end <= limit:
        return end
    for stop in range(limit, start, -1):
        if data[stop - 1] < 0x80 and not table[data[stop - 1]] & _WORD:
            return stop
    for stop in range(limit + 1, end):
        if data[stop - 1] < 0x80 and not table[data[stop - 1]] & _WORD:
            return stop
    return end


@njit(cache=True, nogil=True)
def _normalise(data, start, stop, table, out):
    """Write words in lower case and spaces for all between them; return the length, at most twice the input's."""
    ascii_ = np.empty(128, np.uint8)
    for code in range(128):
        ascii_[code] = table[code] & _LOWER if table[code] & _WORD else _SPACE
    o = 0
    i = start
    while i < stop:
        if i + 8 <= stop and not _load64(data, i) & _HIGH_BITS:
            for k in range(8):
                out[o + k] = ascii_[data[i + k] & np.uint8(0x7F)]
            o += 8
            i += 8
            continue
        if data[i] < 0x80:
            out[o] = ascii_[data[i]]
            o += 1
            i += 1
            continue
        code, i = _decode(data, i, stop)
        entry = table[code]
        if not entry & _WORD:
            out[o] = _SPACE
            o += 1
        elif entry & _ALONE:
            out[o] = _SPACE
            o = _encode(entry & _LOWER, out, o + 1)
            out[o] = _SPACE
            o += 1
        else:
            o = _encode(entry & _LOWER, out, o)
    return o


@njit(cache=True, nogil=True)
def _decode(data, i, stop):
    """Return (code point, index of the next) of a character that is not ASCII; a cut one is U+FFFD."""
    byte = np.int64(data[i])
    length = 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4
    if i + length > stop:
        return np.int64(0xFFFD), stop
    code = byte & (0x7F >> length)
    for k in range(1, length):
        code = (code << 6) | (np.int64(data[i + k]) & 0x3F)
    return min(code, np.int64(0x10FFFF)), i + length


@njit(cache=True, nogil=True)
def _encode(code, out, o):
    """Write a code point as UTF-8 and return the index behind it."""
    code = np.int64(code)
    if code < 0x80:
        out[o] = code
        return o + 1
    if code < 0x800:
        out[o] = 0xC0 | code >> 6
    else:
        if code < 0x10000:
            out[o] = 0xE0 | code >> 12
        else:
            out[o] = 0xF0 | code >> 18
            o += 1
            out[o] = 0x80 | (code >> 12) & 0x3F
        o += 1
        out[o] = 0x80 | (code >> 6) & 0x3F
    out[o + 1] = 0x80 | code & 0x3F
    return o + 2


@njit(cache=True, nogil=True)
def _word_edges(text, length, edges):
    """Write where each word begins and ends, in turn; return the number of words. Without a branch on the text."""
    count = 0
    inside = False
    for i in range(length):
        now = text[i] != _SPACE
        edges[count] = i
        count += now != inside
        inside = now
    edges[count] = length
    return (count + inside) >> 1


@njit(cache=True, nogil=True)
def _hash_words(text, count, edges, words, held):
    """Write the hash of each word behind the `held` ones that are there; return count."""
    for w in range(count):
        start = np.int64(edges[2 * w])
        left = np.int64(edges[2 * w + 1]) - start
        h = _mix(np.uint64(left))
        while left > 8:
            h = _mix(h ^ _load64(text, start))
            start += 8
            left -= 8
        words[held + w] = _mix(h ^ (_load64(text, start) & (_ALL_ONES >> np.uint64(64 - 8 * left))))
    return count


@njit(cache=True, nogil=True)
def _hash_shingles(words, count, ngram, out, total):
    """Write the hash of each run of `ngram` of the `count` words to out[total:]; return their number."""
    number = max(count - ngram + 1, 0)
    shingles = out[total : total + number]
    for k in range(number):
        shingles[k] = words[k]
    for j in range(1, ngram):
        left = np.uint64(11 * j % 64)
        right = np.uint64((64 - 11 * j % 64) % 64)
        for k in range(number):
            word = words[k + j]
            shingles[k] += (word << left) | (word >> right)
    for k in range(number):
        shingles[k] = _mix(shingles[k])
    return number


@njit(cache=True, nogil=True)
def _need_context(data, offsets, table, needed):
    for document in range(len(offsets) - 1):
        i, stop = offsets[document], offsets[document + 1]
        while i < stop:
            if i + 8 <= stop and not _load64(data, i) & _HIGH_BITS:
                i += 8
                continue
            code, following = np.int64(data[i]), i + 1
            if code >= 0x80:
                code, following = _decode(data, i, stop)
            if table[code] & _CONTEXT:
                needed[document] = True
                break
            i = following
