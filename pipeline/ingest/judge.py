"""Judge the rows of a batch: documents on one side, the quarantine with a reason on the other.

Text is taken byte for byte; nothing is normalised. Reasons, in the order in which they are asked: null_text,
invalid_utf8 (RFC 3629), blank_text (nothing but white space, controls, zero-width characters). Columns that are carried
along become text: numbers, times and the like as Arrow prints them, nested values as JSON, bytes that are not UTF-8
with U+FFFD where they are not; they are never a reason to lose a document.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import orjson
import pyarrow as pa

from pipeline import ledger
from pipeline.ingest.inspect import is_textual, storage
from pipeline.ingest.rows import RAW_BYTES, Lost, Rows
from pipeline.kernels import hashing, utf8
from pipeline.ledger import Tally
from pipeline.schemas import doc_id_array, documents, text_buffers

QUARANTINE = pa.schema(
    [
        pa.field("domain", pa.string(), nullable=False),
        pa.field("file", pa.string(), nullable=False),
        pa.field("row", pa.int64()),
        pa.field("byte", pa.int64()),
        pa.field("rows", pa.int64(), nullable=False),
        pa.field("reason", pa.string(), nullable=False),
        pa.field("detail", pa.string()),
        pa.field("raw", pa.large_binary()),
    ]
)
"""row: in the file, from 0; byte: in the decompressed stream of lines; rows: how many rows this line stands for."""

REASONS = {utf8.INVALID: "invalid_utf8", utf8.BLANK: "blank_text"}


@dataclass
class Judge:
    """Turns the rows of one domain into documents; keeps the books and the quarantine of what it refuses."""

    domain: str
    extra: tuple[str, ...]
    books: Tally = field(default_factory=dict)
    refused: list[dict[str, object]] = field(default_factory=list)
    _raw_left: int = 64 << 20

    def __post_init__(self) -> None:
        self.schema = documents(self.extra)
        self._seed = domain_seed(self.domain)
        ledger.add(self.books, ledger.entry(0, 0))

    def documents(self, rows: Rows, file: str) -> pa.RecordBatch:
        """Return the documents among the rows, in their order; the others go into the quarantine."""
        data, offsets = text_buffers(rows.text)
        states = utf8.text_states(data, offsets)
        is_null = np.asarray(rows.text.is_null()) if rows.text.null_count else np.zeros(len(rows.text), bool)
        good = (states == utf8.READABLE) & ~is_null
        for i in np.flatnonzero(~good).tolist():
            self._refuse_row(rows, i, "null_text" if is_null[i] else REASONS[states[i]], file)
        if not good.all():
            rows = _chosen(rows, good)
            data, offsets = text_buffers(rows.text)
        return self._batch(rows, data, offsets)

    def lose(self, lost: Lost, file: str) -> None:
        """Put rows that could not be read into the quarantine and the books."""
        size = len(lost.raw) if lost.raw else 0
        ledger.add(self.books, ledger.entry(lost.rows, size, lost.reason))
        self._note(file, lost)

    def _refuse_row(self, rows: Rows, i: int, reason: str, file: str) -> None:
        raw = rows.text[i].as_buffer()
        ledger.add(self.books, ledger.entry(1, raw.size if raw else 0, reason))
        row = int(rows.row_N[i])
        byte = None if rows.byte_N is None else int(rows.byte_N[i])
        content = raw.slice(0, min(raw.size, RAW_BYTES)).to_pybytes() if raw else None
        self._note(file, Lost(reason, 1, row if row >= 0 else None, byte, raw=content))

    def _note(self, file: str, lost: Lost) -> None:
        # A file of a million bad lines must not be copied whole: after 64 MiB a task keeps places and reasons only.
        raw = lost.raw if lost.raw is not None and self._raw_left >= len(lost.raw) else None
        self._raw_left -= len(raw) if raw else 0
        self.refused.append(
            {
                "domain": self.domain,
                "file": file,
                "row": lost.row,
                "byte": lost.byte,
                "rows": lost.rows,
                "reason": lost.reason,
                "detail": lost.detail or None,
                "raw": raw,
            }
        )

    def take_refused(self) -> pa.RecordBatch:
        """Return what was refused since the last call, as rows of the quarantine."""
        batch = pa.RecordBatch.from_pylist(self.refused, schema=QUARANTINE)
        self.refused = []
        return batch

    def _batch(self, rows: Rows, data: np.ndarray, offsets: np.ndarray) -> pa.RecordBatch:
        count = len(rows.text)
        sizes = np.diff(offsets)
        ledger.add(self.books, ledger.entry(count, int(sizes.sum())))
        ids = doc_id_array(hashing.murmur128(data, offsets, self._seed))
        # The kernel has judged every byte, so the buffers may be called text without another pass over them.
        _, ends, content = rows.text.buffers()
        text = pa.LargeStringArray.from_buffers(count, ends, content, offset=rows.text.offset)
        domain = pa.array([self.domain], pa.string()).take(pa.array(np.zeros(count, np.int64)))
        nulls = pa.nulls(count, pa.string())
        carried = [as_text(rows.columns.get(name, nulls)) for name in ("source_id", *self.extra)]
        return pa.RecordBatch.from_arrays(
            [ids, text, domain, pa.array(sizes, pa.int64()), *carried], schema=self.schema
        )


def domain_seed(domain: str) -> int:
    """Return the seed of a domain's document ids: the lower half of the hash of its name."""
    return hashing.murmur128_bytes(domain.encode()) & (1 << 64) - 1


def _chosen(rows: Rows, good: np.ndarray) -> Rows:
    mask = pa.array(good)
    columns = {name: column.filter(mask) for name, column in rows.columns.items()}
    byte_N = None if rows.byte_N is None else rows.byte_N[good]
    return Rows(rows.text.filter(mask), columns, rows.row_N[good], byte_N)


def as_text(array: pa.Array) -> pa.Array:
    """Return a column of any type as nullable string, in the same order."""
    if isinstance(array, pa.ExtensionArray):
        return as_text(array.storage)
    if pa.types.is_dictionary(array.type):
        return as_text(array.dictionary).take(array.indices)
    kind = storage(array.type)
    if pa.types.is_nested(kind):
        return pa.array([_json(value) for value in array], pa.string())
    if pa.types.is_fixed_size_binary(kind):
        return pa.array([None if value is None else value.hex() for value in array.to_pylist()], pa.string())
    if is_textual(kind):
        return _decoded(array.cast(pa.large_binary()))
    return array.cast(pa.string())


def _decoded(array: pa.Array) -> pa.Array:
    """Return large_binary as string, with U+FFFD for what is not UTF-8: the column is for people, the text decides."""
    states = utf8.text_states(*text_buffers(array))
    if (states == utf8.INVALID).any():
        values = (None if value is None else value.decode("utf-8", "replace") for value in array.to_pylist())
        return pa.array(values, pa.string())
    return array.cast(pa.string())


def _json(value: pa.Scalar) -> str | None:
    if not value.is_valid:
        return None
    try:
        return orjson.dumps(value.as_py(), default=str, option=orjson.OPT_NON_STR_KEYS).decode()
    except (ValueError, TypeError):  # strings that are not UTF-8, numbers beyond JSON's
        return "(cannot be written as JSON)"


def reasons(books: Iterable[Tally]) -> dict[str, int]:
    """Return rows by reason over the books of all domains, the most frequent first."""
    total: dict[str, int] = {}
    for book in books:
        for reason, rows in book.get("dropped", {}).items():
            total[reason] = total.get(reason, 0) + rows
    return dict(sorted(total.items(), key=lambda pair: (-pair[1], pair[0])))
