"""The file format of fastText's supervised models: `.bin` (versions 11 and 12) and quantised `.ftz`.

`parse` turns the bytes of such a file into a `Model`, `serialise` turns an unquantised `Model` back into bytes that
official fastText loads. Layout as in fastText 0.9.3 (`FastText::loadModel`, `Dictionary::load`, `QuantMatrix::load`),
little-endian throughout:

    int32 magic, version | int32 x 12 arguments, double t | int32 entries, words, labels; int64 tokens, pruned
    entries: bytes, NUL, int64 count, int8 type (0 word, 1 label) | pruned x (int32 bucket, int32 row)
    bool quantised, input matrix | bool quantised, output matrix

Shapes: E entries (W words first, then L labels), R rows of the input matrix, D dimensions.
"""

import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit

MAGIC = 793712314
LOSSES = {1: "hierarchical softmax", 2: "negative sampling", 3: "softmax", 4: "one-vs-all"}
KINDS = {1: "cbow", 2: "skipgram", 3: "supervised"}
CENTROIDS = 256  # of a product quantiser: one code is one byte


@dataclass(frozen=True)
class Quantised:
    """A product-quantised matrix, expanded where it is asked: a row is its norm x the centroids of its P codes."""

    codes_RP: np.ndarray  # uint8
    centroids: tuple[np.ndarray, ...]  # of each part, float32 [256, its width]
    norms_R: np.ndarray  # float32, or empty: every norm is 1

    @property
    def shape(self) -> tuple[int, int]:
        return len(self.codes_RP), sum(table.shape[1] for table in self.centroids)

    def __len__(self) -> int:
        return len(self.codes_RP)

    def directions(self, rows: Any) -> np.ndarray:
        """float32 [..., D]: what the codes of `rows` (an index or a slice) stand for, without the norms."""
        codes = self.codes_RP[rows]
        return np.concatenate([table[codes[..., part]] for part, table in enumerate(self.centroids)], axis=-1)

    def __getitem__(self, rows: Any) -> np.ndarray:
        """float32 [..., D]: the rows of the matrix."""
        directions = self.directions(rows)
        return directions * self.norms_R[rows][..., None] if len(self.norms_R) else directions


@dataclass(frozen=True)
class Model:
    """A supervised fastText model, whole; quantised matrices stay so.

    `entry_bytes` holds the entries' text back to back, entry e at `entry_offsets[e]:entry_offsets[e + 1]`. A word's
    row in `inputs` is its number; the n-gram bucket b has row W + b, or W + `pruned_rows[b]` if the model was pruned
    (-1: the bucket has no row). `pruned_rows` is None for models that were not pruned.
    """

    loss: str
    word_ngrams: int
    bucket: int
    minn: int
    maxn: int
    epochs: int
    min_count: int
    n_tokens: int
    n_words: int
    entry_bytes: np.ndarray  # uint8
    entry_offsets: np.ndarray  # int64 [E + 1]
    entry_counts: np.ndarray  # int64 [E]
    pruned_rows: np.ndarray | None  # int32 [bucket]
    inputs_RD: "np.ndarray | Quantised"  # float32
    outputs_LD: "np.ndarray | Quantised"  # float32

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels as text, prefix and all, in the order of the rows of `outputs_LD`."""
        return tuple(self.entry(e).decode("utf-8", "replace") for e in range(self.n_words, len(self.entry_counts)))

    def entry(self, number: int) -> bytes:
        """The text of one dictionary entry."""
        return self.entry_bytes[self.entry_offsets[number] : self.entry_offsets[number + 1]].tobytes()


def parse(content: Any) -> Model:
    """Return the supervised model in `content`, any contiguous buffer (bytes, a memory map).

    Unquantised matrices are views of `content`, so a memory-mapped file costs no copy.

    Raises:
        ValueError: not a fastText file, an unknown version, truncated, not supervised, or inconsistent in itself.
    """
    cursor = _Cursor(content)
    magic, version = cursor.numbers("ii", "its first eight bytes")
    if magic != MAGIC:
        raise ValueError(f"it starts with {magic & 0xFFFFFFFF:#010x}, a fastText model with {MAGIC:#010x}")
    if version not in (11, 12):
        raise ValueError(f"its format version is {version}; versions 11 and 12 can be read")
    arguments = cursor.numbers("12id", "its arguments")
    dim, _, epochs, min_count, _, word_ngrams, loss, kind, bucket, minn, maxn, _, _ = arguments
    if KINDS.get(kind) != "supervised":
        raise ValueError(f"it is a {KINDS.get(kind, kind)} model; only supervised models have labels")
    if loss not in LOSSES or bucket < 0 or dim < 1:
        raise ValueError(f"its arguments make no sense: loss {loss}, bucket {bucket}, dim {dim}")
    if version == 11:
        maxn = 0  # fastText does the same: supervised models of version 11 have no character n-grams
    n_entries, n_words, n_labels, n_tokens, n_pruned = cursor.numbers("iiiqq", "the sizes of its dictionary")
    if min(n_words, n_labels) < 0 or n_words + n_labels != n_entries:
        raise ValueError(f"its dictionary of {n_entries} entries claims {n_words} words and {n_labels} labels")
    entry_bytes, entry_offsets, entry_counts = _entries(cursor, n_entries, n_words)
    pruned_rows = _pruned_rows(cursor, n_pruned, bucket)
    quantised = bool(cursor.numbers("B", "the kind of its input matrix")[0])
    if n_pruned >= 0 and not quantised:
        raise ValueError("its dictionary is pruned but its input matrix is not quantised; fastText refuses it, too")
    inputs_RD = _quantised_matrix(cursor) if quantised else _dense_matrix(cursor, "input")
    quantised_outputs = bool(cursor.numbers("B", "the kind of its output matrix")[0]) and quantised
    outputs_LD = _quantised_matrix(cursor) if quantised_outputs else _dense_matrix(cursor, "output")
    model = Model(
        loss=LOSSES[loss],
        word_ngrams=word_ngrams,
        bucket=bucket,
        minn=minn,
        maxn=max(maxn, 0),
        epochs=epochs,
        min_count=min_count,
        n_tokens=n_tokens,
        n_words=n_words,
        entry_bytes=entry_bytes,
        entry_offsets=entry_offsets,
        entry_counts=entry_counts,
        pruned_rows=pruned_rows,
        inputs_RD=inputs_RD,
        outputs_LD=outputs_LD,
    )
    _check_shapes(model, dim, n_labels)
    return model


def serialise(model: Model) -> bytes:
    """Return the bytes of a version 12 `.bin` file that holds `model`, equal for equal models.

    Raises:
        ValueError: the model is pruned or quantised.
    """
    if model.pruned_rows is not None or isinstance(model.inputs_RD, Quantised):
        raise ValueError("a model that is quantised or pruned cannot be written")
    loss = next(code for code, name in LOSSES.items() if name == model.loss)
    n_entries = len(model.entry_counts)
    n_labels, dim = model.outputs_LD.shape
    parts = [
        struct.pack("<ii", MAGIC, 12),
        struct.pack("<6i", dim, 5, model.epochs, model.min_count, 5, model.word_ngrams),
        struct.pack("<6id", loss, 3, model.bucket, model.minn, model.maxn, 100, 1e-4),
        struct.pack("<iiiqq", n_entries, model.n_words, n_labels, model.n_tokens, -1),
    ]
    for number, count in enumerate(model.entry_counts.tolist()):
        parts.append(model.entry(number) + b"\0" + struct.pack("<qb", count, number >= model.n_words))
    for matrix in (model.inputs_RD[:], model.outputs_LD[:]):
        parts += [b"\0", struct.pack("<qq", *matrix.shape), matrix.astype("<f4", copy=False).tobytes()]
    return b"".join(parts)


class _Cursor:
    """Reads one buffer from front to back and says where it ended too early."""

    def __init__(self, content: Any) -> None:
        self.bytes = np.frombuffer(content, np.uint8)
        self.at = 0

    def numbers(self, layout: str, what: str) -> tuple[Any, ...]:
        return struct.unpack("<" + layout, self.array("u1", struct.calcsize("<" + layout), what).tobytes())

    def array(self, dtype: str, length: int, what: str) -> np.ndarray:
        end = self.at + length * np.dtype(dtype).itemsize
        if length < 0 or end > len(self.bytes):
            raise ValueError(f"it is truncated or damaged: {len(self.bytes):,} bytes end inside {what}")
        self.at, start = end, self.at
        return self.bytes[start:end].view("<" + dtype)


def _entries(cursor: _Cursor, n_entries: int, n_words: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Text, offsets and counts of the dictionary's entries."""
    fits = 10 * n_entries <= len(cursor.bytes) - cursor.at  # before memory for a damaged number is asked for
    starts, offsets, counts, types, after = _scan_entries(cursor.bytes, cursor.at, n_entries if fits else 0)
    if after < 0 or not fits:
        raise ValueError(f"it is truncated or damaged: {len(cursor.bytes):,} bytes end inside its dictionary")
    if not np.array_equal(types, np.arange(n_entries) >= n_words):
        raise ValueError("its dictionary is damaged: words must come first, then labels")
    text = _gather(cursor.bytes, starts, offsets)
    cursor.at = after
    return text, offsets, counts


@njit(cache=True, nogil=True)
def _scan_entries(content, at, n_entries):
    """Start in `content`, offsets of the texts put back to back, count and type of each entry, and the byte after
    the last one (-1: truncated)."""
    starts = np.empty(n_entries, np.int64)
    offsets = np.zeros(n_entries + 1, np.int64)
    counts = np.zeros(n_entries, np.int64)
    types = np.empty(n_entries, np.uint8)
    for e in range(n_entries):
        starts[e] = at
        while at < len(content) and content[at] != 0:
            at += 1
        offsets[e + 1] = offsets[e] + at - starts[e]
        if at + 10 > len(content):
            return starts, offsets, counts, types, -1
        for k in range(8):
            counts[e] |= np.int64(content[at + 1 + k]) << (8 * k)
        types[e] = content[at + 9]
        at += 10
    return starts, offsets, counts, types, at


@njit(cache=True, nogil=True)
def _gather(content, starts, offsets):
    """The texts that begin at `starts`, back to back at `offsets`."""
    out = np.empty(offsets[-1], np.uint8)
    for e in range(len(starts)):
        for k in range(offsets[e + 1] - offsets[e]):
            out[offsets[e] + k] = content[starts[e] + k]
    return out


def _pruned_rows(cursor: _Cursor, n_pruned: int, bucket: int) -> np.ndarray | None:
    """For each bucket its row after the words, -1 for none; None if the model was never pruned (`n_pruned` < 0)."""
    if n_pruned < 0:
        return None
    pairs = cursor.array("i4", 2 * n_pruned, "its table of pruned buckets").reshape(-1, 2)
    if n_pruned and not (pairs[:, 0].min() >= 0 and pairs[:, 0].max() < bucket):
        raise ValueError(f"its table of pruned buckets is damaged: buckets go from 0 to {bucket - 1}")
    rows = np.full(bucket, -1, np.int32)
    rows[pairs[:, 0]] = pairs[:, 1]
    return rows


def _dense_matrix(cursor: _Cursor, which: str) -> np.ndarray:
    rows, columns = cursor.numbers("qq", f"the shape of its {which} matrix")
    return cursor.array("f4", rows * columns, f"its {which} matrix").reshape(rows, columns)


def _quantised_matrix(cursor: _Cursor) -> Quantised:
    has_norms, rows, columns, n_codes = cursor.numbers("Bqqi", "the shape of a quantised matrix")
    codes = cursor.array("u1", n_codes, "the codes of a quantised matrix")
    centroids = _centroids(cursor, rows, columns, n_codes)
    norms_R = np.empty(0, np.float32)
    if has_norms:
        norm_codes = cursor.array("u1", rows, "the norms of a quantised matrix")
        norms_R = _centroids(cursor, rows, 1, rows)[0][norm_codes, 0]
    return Quantised(codes.reshape(rows, len(centroids)), centroids, norms_R)


def _centroids(cursor: _Cursor, rows: int, columns: int, n_codes: int) -> tuple[np.ndarray, ...]:
    """Read the quantiser that follows in the file: the centroids of each part of its rows."""
    dim, parts, width, last_width = cursor.numbers("4i", "a quantiser")
    values = cursor.array("f4", dim * CENTROIDS, "the centroids of a quantiser").copy()  # the file's may be unaligned
    whole = parts >= 1 and width >= 1 and last_width >= 1 and (parts - 1) * width + last_width == dim
    if dim != columns or not whole or n_codes != rows * parts:
        raise ValueError(f"a quantised matrix is damaged: {rows} x {columns}, {n_codes} codes, quantiser of {dim}")
    first = (parts - 1) * CENTROIDS * width
    return (*values[:first].reshape(parts - 1, CENTROIDS, width), values[first:].reshape(CENTROIDS, last_width))


def _check_shapes(model: Model, dim: int, n_labels: int) -> None:
    """Refuse what would make a kernel read outside of the matrices."""
    hashed = model.word_ngrams > 1 or model.maxn > 0
    needed = model.n_words
    if model.pruned_rows is not None:
        needed += int(model.pruned_rows.max(initial=-1)) + 1
    elif hashed:
        needed += model.bucket
    if hashed and model.bucket == 0:
        raise ValueError("it has n-grams but no buckets to hash them into")
    if model.inputs_RD.shape[0] < needed or model.inputs_RD.shape[1] != dim:
        raise ValueError(f"its input matrix is {model.inputs_RD.shape}, but {needed} rows of {dim} are needed")
    if model.outputs_LD.shape != (n_labels, dim):
        raise ValueError(f"its output matrix is {model.outputs_LD.shape}, but {n_labels} rows of {dim} are needed")
