"""Text to shingles: normalise, cut into words, hash every run of n words or of n bytes.

Letters: N documents, D bytes in all of them, S shingles in all of them. Document i is data[offsets[i]:offsets[i + 1]].

The words of a text are, by definition (and `tests/kernels/reference_dedup.py` says it in these very terms):

    text = unicodedata.normalize("NFC", text).lower(), each character of `unicode_table.ALONE_RANGES` between spaces
    words = re.findall(r"\\w+", text)

unit "word"   a shingle is n words in a row; a text of 1 to n - 1 words has one shingle, all its words
unit "byte"   a shingle is n bytes in a row of " ".join(words) in UTF-8; a text of 1 to n - 1 bytes has one, all of them

A text without words has none. `plain` brings the few texts whose NFC or lower case depends on the context into normal
form with Python's own functions; all others pass as they are. The rest is done one character at a time with a frozen
table. The hash of a shingle is by `hashing`:

native        of b bytes, b <= 16:  m(x ^ K0, (y + b) ^ K1),  x the first 8 and y the last bytes, filled with zeros
              of more:  h = b ^ K1;  h = m(h ^ 8 bytes, K2) for each 8 with more behind;  m(the last 8 bytes ^ K0, h)
              of words:  the sum over j of rotl(hash of word j, 11 j)
              m(u, v) is the upper half of the 128-bit product u v, exclusive or its lower half; bytes little-endian
datasketch    the first four bytes of the SHA-1 of the words joined by one space, or of the n bytes, little-endian:
              what datasketch's `sha1_hash32` returns; the upper half is 0

The native hash is the shape of wyhash's (Wang Yi, public domain): quick and even, not cryptographic.

A document is worked off in chunks of 16 KiB that end behind a character no word goes through, so the scratch grows with
the longest word only. What the next chunk's first shingles begin with is carried over as text.
"""

import unicodedata
from itertools import pairwise
from typing import Literal, get_args

import numpy as np

from pipeline.kernels import shingle_kernel, unicode_table
from pipeline.kernels.hashing import check_offsets, read_only
from pipeline.kernels.shingle_kernel import ASKED, CARRIED, CHUNK_BYTES, CONTEXT_BYTES, DOCUMENT, SLACK, Kind, Scratch

Unit = Literal["word", "byte"]
Hashing = Literal["native", "datasketch"]

_ROOM = 48 * 1024
_CARRIED_ROOM = 8 * 1024
_MOST_SCRATCH = 2**32


def hashes(
    data: np.ndarray, offsets: np.ndarray, ngram: int, unit: Unit = "word", hashing: Hashing = "native"
) -> tuple[np.ndarray, np.ndarray]:
    """Return (shingles uint64 [S], offsets int64 [N + 1]): the shingles of each document in order, repeats and all.

    data uint8 [D] holds valid UTF-8, offsets int64 [N + 1]. The text must have passed `plain`.

    Raises:
        ValueError: the offsets fall or leave the data, ngram is below 1, or there is no such unit or hashing.
    """
    offsets = np.ascontiguousarray(offsets, np.int64)
    check_offsets(data, offsets)
    documents, size = len(offsets) - 1, int(offsets[-1] - offsets[0])
    # Every word but the last is followed by a separator or is a character of three bytes; a byte becomes two at most.
    most = (2 * size if unit == "byte" else size // 2) + 2 * documents + 2 * (size // CHUNK_BYTES) + 4
    work = Work(data, offsets, ngram, unit, hashing, room=most)
    found_S = work.go_on()
    return found_S, np.concatenate([[0], np.cumsum(work.counts_N)])


class Work:
    """The shingles of a batch, a roomful at a time: what signing reads, so that no document is ever held as shingles.

    document    the one the work stands in, N when all is done
    counts_N    int64, how many shingles of each document have come so far
    needed_N    bool, documents that need their context and were left there; only if `strict`, else none

    Raises:
        ValueError: the offsets fall or leave the data, ngram is below 1, or there is no such unit or hashing.
    """

    def __init__(
        self,
        data: np.ndarray,
        offsets: np.ndarray,
        ngram: int,
        unit: Unit = "word",
        hashing: Hashing = "native",
        *,
        strict: bool = False,
        room: int = _ROOM,
    ):
        offsets = np.ascontiguousarray(offsets, np.int64)
        check_offsets(data, offsets)
        if ngram < 1:
            raise ValueError(f"ngram must be at least 1; got {ngram}")
        for name, value, known in (("unit", unit, get_args(Unit)), ("hashing", hashing, get_args(Hashing))):
            if value not in known:
                raise ValueError(f"{name} must be one of {', '.join(known)}; got {value!r}")
        self._text = read_only(np.ascontiguousarray(data)), read_only(offsets), unicode_table.table()
        self._kind = Kind(ngram, unit == "byte", hashing == "datasketch", strict)
        self._state, self._scratch = np.zeros(5, np.int64), _scratch(2 * CHUNK_BYTES + SLACK + _CARRIED_ROOM)
        self._out = np.empty(max(room, 2 * CHUNK_BYTES + 4), np.uint64)
        self.counts_N = np.zeros(len(offsets) - 1, np.int64)
        self.needed_N = np.zeros(len(offsets) - 1, np.bool_)

    @property
    def document(self) -> int:
        return int(self._state[DOCUMENT])

    @property
    def scratch_bytes(self) -> int:
        """Bytes held beside the shingles: like the room for those, they grow with the longest word only."""
        return sum(array.nbytes for array in self._scratch)

    def go_on(self) -> np.ndarray:
        """Return the next shingles, uint64, valid until the next call; empty only when all is done."""
        found = 0
        while True:
            rest = self._out[found:]
            found += shingle_kernel.fill(
                *self._text, self._kind, self._state, self._scratch, self.counts_N, self.needed_N, rest
            )
            if not self._state[ASKED]:
                if found or self.document == len(self.counts_N):
                    return self._out[:found]
                # A chunk with a word longer than it may have more shingles than there is room for.
                self._out = np.empty(2 * len(self._out), np.uint64)
                continue
            carried, held = int(self._state[CARRIED]), self._scratch
            self._scratch = _scratch(int(self._state[ASKED]) + _CARRIED_ROOM)
            self._scratch.text[:carried], self._scratch.joined[:carried] = held.text[:carried], held.joined[:carried]


def _scratch(size: int) -> Scratch:
    if size > _MOST_SCRATCH:
        raise ValueError(f"a word of about {size // 2:,} bytes is more than shingles are made of; drop its document")
    text, joined = np.empty(size, np.uint8), np.empty(size, np.uint8)
    return Scratch(text, joined, np.empty(2 * size, np.uint32), np.empty(size, np.uint64))


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
    """Return (data, offsets) with the parts of documents that need their context replaced by their NFC in lower case.

    Usually there are none and the arguments come back as they are. What Unicode did not know when the table was
    frozen is kept as it is, whatever Python has learnt since.
    """
    offsets = np.ascontiguousarray(offsets, np.int64)
    check_offsets(data, offsets)
    needed_N = np.zeros(len(offsets) - 1, np.bool_)
    shingle_kernel.need_context(
        read_only(np.ascontiguousarray(data)), read_only(offsets), unicode_table.table(), needed_N
    )
    if not needed_N.any():
        return data, offsets
    pieces, lengths_N, start = [], np.diff(offsets), 0
    rows = np.flatnonzero(needed_N)
    changed, ends = in_context(data, offsets, rows)
    for i, row in enumerate(rows.tolist()):
        pieces += [data[offsets[start] : offsets[row]], changed[ends[i] : ends[i + 1]]]
        start = row + 1
    pieces.append(data[offsets[start] : offsets[-1]])
    lengths_N[rows] = np.diff(ends)
    return np.concatenate(pieces), np.concatenate([[0], np.cumsum(lengths_N)])


def in_context(data: np.ndarray, offsets: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return (data, offsets int64 [len(rows) + 1]) of these documents, what needs its context in NFC and lower case."""
    data, table = read_only(np.ascontiguousarray(data)), unicode_table.table()
    pieces, ends = [b" "], [1]
    for row in rows.tolist():
        first, at, end = len(pieces), int(offsets[row]), int(offsets[row + 1])
        spans = np.empty(2 * ((end - at) // CONTEXT_BYTES + 1), np.int64)
        count = shingle_kernel.context_spans(data, at, end, table, spans)
        for start, stop in spans[: 2 * count].reshape(-1, 2).tolist():
            pieces += [bytes(data[at:start]), _in_context(bytes(data[start:stop]).decode()).encode()]
            at = stop
        pieces.append(bytes(data[at:end]))
        ends.append(ends[-1] + sum(map(len, pieces[first:])))
    return np.frombuffer(b"".join(pieces), np.uint8), np.array(ends, np.int64)


def _in_context(text: str) -> str:
    if unicodedata.unidata_version != unicode_table.UNICODE:
        # An unknown code point composes with nothing and has no case: the text may be normalised between them.
        unknown = unicode_table.unassigned()
        kept = [*unknown.findall(text), ""]
        parts = (unicodedata.normalize("NFC", part).lower() for part in unknown.split(text))
        return "".join(part + hole for part, hole in zip(parts, kept, strict=True))
    return unicodedata.normalize("NFC", text).lower()
