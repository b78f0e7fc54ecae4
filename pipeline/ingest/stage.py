"""Ingest: raw files become documents, byte for byte, and what is not text becomes a counted quarantine.

Reads the files that the build resolved (`step.sources`). Writes documents (doc_id, text, domain, bytes, source_id and
the extra columns) in shards of `shard_bytes` of text; and
`quarantine/<task>.parquet` with file, row, reason and raw bytes.
A task that keeps nothing writes one empty shard, so that even an empty corpus has its columns.

doc_id = MurmurHash3 x64 128 of the text's bytes, with the hash of the domain's name as seed: a document is its content
and its source, never its place. Rows in = rows kept + rows quarantined by reason, for each domain, where rows in are
those of the footers, the lines that are not blank, and one for each stream's lost end and each unreadable file.
"""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Literal

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import Field, field_validator

from pipeline import ledger
from pipeline.corpus import DATA, Corpus
from pipeline.errors import DataError
from pipeline.ingest.jsonl import read_jsonl
from pipeline.ingest.judge import QUARANTINE, Judge, reasons
from pipeline.ingest.parquet import read_parquet
from pipeline.ingest.plan import Job, Piece, plan
from pipeline.ingest.rows import Lost, Rows
from pipeline.ingest.sources import SourceColumns, SourceFile, filesystem
from pipeline.ledger import Tally
from pipeline.parquet import ShardWriter
from pipeline.schemas import ADDRESS, DOCUMENT_FIELDS, MASK
from pipeline.stage import Params, Stage, Step
from pipeline.store import Attempt
from pipeline.tasks import Task

SHARD_BYTES = 64 << 20
EXEMPT = "unreadable_file"
"""Files that the recipe said to go on without do not count against the limit; they are in the books all the same."""

_TAKEN = {field.name for field in DOCUMENT_FIELDS} | {ADDRESS, *MASK}


class IngestParams(Params):
    """How the columns of each domain are called, what is done with what cannot be read, how large a shard is.

    No paths: the same bytes under another name are the same corpus. `quarantine_limit` is a share of all rows; it and
    `unreadable_files` say what is an error and change no byte, so they are not part of the corpus' identity.
    """

    sources: dict[str, SourceColumns] = Field(min_length=1)
    quarantine_limit: float = Field(0.001, ge=0, le=1, exclude=True)
    unreadable_files: Literal["fail", "quarantine"] = Field("fail", exclude=True)
    shard_bytes: int = Field(SHARD_BYTES, gt=0)

    @field_validator("sources")
    @classmethod
    def _extra_names_are_free(cls, sources: dict[str, SourceColumns]) -> dict[str, SourceColumns]:
        for domain, columns in sources.items():
            if taken := sorted(_TAKEN.intersection(columns.extra)):
                raise ValueError(
                    f"{domain}: extra: documents have a {', '.join(taken)} of their own; rename the column"
                )
            if len(set(columns.extra)) != len(columns.extra):
                raise ValueError(f"{domain}: extra: a column is named twice")
        return sources

    def extra(self) -> tuple[str, ...]:
        """Return the extra columns of all domains, each once, in an order that the recipe's order does not change."""
        return tuple(dict.fromkeys(name for domain in sorted(self.sources) for name in self.sources[domain].extra))


def ingest(step: Step, params: IngestParams) -> None:
    """Run one task per group of small files or part of a large one."""
    totals = step.produce(partial(ingest_task, params=params), plan(step.sources, params.shard_bytes))
    nothing = {domain: ledger.entry(0, 0) for domain in params.sources}
    step.ledger = ledger.ordered(ledger.add(nothing, totals))
    step.note(
        files={domain: len(files.files) for domain, files in sorted(step.sources.items())},
        quarantined=reasons(step.ledger.values()),
    )


def ingest_task(task: Task, attempt: Attempt, params: IngestParams) -> Tally:
    """Read the pieces of one job; write its shards and, if anything was refused, its quarantine."""
    job: Job = task.payload
    columns = params.sources[job.domain]
    judge = Judge(job.domain, params.extra())
    with _Shards(task.key, attempt, judge.schema, params.shard_bytes) as shards, _Quarantine(task, attempt) as refused:
        for piece in job.pieces:
            _check_unchanged(piece.file)
            for part in read_piece(piece, columns):
                if isinstance(part, Lost):
                    judge.lose(part, piece.file.url)
                else:
                    shards.write(judge.documents(part, piece.file.url))
                if len(judge.refused) >= 1024:
                    refused.write(judge.take_refused())
        refused.write(judge.take_refused())
    return {job.domain: judge.books}


def read_piece(piece: Piece, columns: SourceColumns) -> Iterator[Rows | Lost]:
    """Yield what a piece of a file holds, whatever its kind."""
    if piece.file.kind == "parquet":
        return read_parquet(piece, columns)
    if piece.file.kind == "jsonl":
        return read_jsonl(piece, columns)
    return iter([Lost(EXEMPT, 1, detail=piece.file.problem)])


def _check_unchanged(file: SourceFile) -> None:
    """Refuse a file that is not the one whose checksum names this corpus."""
    if file.kind == "unreadable":
        return
    info = filesystem(file.root).get_file_info(file.path)
    if info.size != file.size or (file.mtime_ns is not None and info.mtime_ns != file.mtime_ns):
        was, now = f"{file.size:,} bytes", "gone" if info.size is None else f"{info.size:,} bytes and touched"
        raise DataError(f"{file.url} changed while the build ran: it was {was}, it is {now}. Run the command again.")


class _Shards:
    """The output files of one task: a new one is begun when the last holds `shard_bytes` of text."""

    def __init__(self, key: str, attempt: Attempt, schema: pa.Schema, shard_bytes: int):
        self.key, self.attempt, self.schema, self.shard_bytes = key, attempt, schema, shard_bytes
        self.count = 0
        self.text_bytes = 0
        self.writer: ShardWriter | None = None

    def write(self, batch: pa.RecordBatch) -> None:
        for part in _portions(batch, self.shard_bytes):
            size = int(part["bytes"].to_numpy().sum())
            if self.writer is not None and self.text_bytes + size > self.shard_bytes:
                self._finish()
            if part.num_rows:
                self._opened().write(part)
                self.text_bytes += size

    def _opened(self) -> ShardWriter:
        if self.writer is None:
            self.writer = ShardWriter(self.attempt.path(self._name()), self.schema)
        return self.writer

    def _name(self) -> str:
        return f"{self.key}-{self.count:03d}.parquet"

    def _finish(self) -> None:
        if self.writer is not None:
            self.writer.close()
            self.attempt.rows(self._name(), self.writer.rows)
            self.count += 1
        self.writer, self.text_bytes = None, 0

    def __enter__(self) -> "_Shards":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            if not self.count:
                self._opened()
            self._finish()
        elif self.writer is not None:
            self.writer.__exit__(kind, None, None)


class _Quarantine:
    """The quarantine file of one task; there is none if nothing was refused."""

    def __init__(self, task: Task, attempt: Attempt):
        self.open: Callable[[], Path] = lambda: attempt.path(f"quarantine/{task.key}.parquet")
        self.writer: ShardWriter | None = None

    def write(self, batch: pa.RecordBatch) -> None:
        if batch.num_rows:
            if self.writer is None:
                self.writer = ShardWriter(self.open(), QUARANTINE)
            self.writer.write(batch)

    def __enter__(self) -> "_Quarantine":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self.writer is not None:
            self.writer.__exit__(kind, None, None)


def within_limit(params: IngestParams, corpus: Corpus) -> None:
    """Stop the build when more rows were refused than the recipe allows; nothing of what was done is lost.

    Raises:
        DataError: with reasons, counts, a place for each, and the option.
    """
    books = ledger.total(corpus.manifest.ledger)
    refused = {reason: rows for reason, rows in reasons([books]).items() if reason != EXEMPT}
    count, rows_in = sum(refused.values()), books["rows_in"]
    if count == 0 or count / rows_in <= params.quarantine_limit:
        return
    folder = corpus.root / DATA / "quarantine"
    places = _places(folder)
    share = count / rows_in
    lines = [f"  {reason:<18} {rows:>10,}  {places.get(reason, '')}" for reason, rows in refused.items()]
    raise DataError(
        "\n".join(
            [
                f"ingest: {count:,} of {rows_in:,} rows ({share:.2%}) cannot be used, "
                f"and the recipe allows {params.quarantine_limit:.2%}:",
                *lines,
                f"  They lie in {folder}. Mend the sources, or set ingest.quarantine_limit to {_rounded_up(share)}.",
            ]
        )
    )


def _rounded_up(share: float) -> str:
    """Return a share as the next larger number of two digits."""
    digits = 2
    while round(share, digits) < share or not round(share, digits):
        digits += 1
        if digits > 6:
            return f"{share * 1.01:.2g}"
    return f"{min(1.0, round(share, digits)):g}"


def _places(folder: Path, files: int = 100) -> dict[str, str]:
    """Return for each reason a place where it was met, from the first quarantine files."""
    places: dict[str, str] = {}
    for path in sorted(folder.glob("*.parquet"))[:files]:
        columns = ["file", "row", "byte", "reason"]
        for row in pq.read_table(path, columns=columns).slice(0, 10_000).to_pylist():
            where = f"row {row['row']:,}" if row["row"] is not None else ""
            where = where or (f"byte {row['byte']:,}" if row["byte"] is not None else "")
            places.setdefault(row["reason"], f"e.g. {row['file']} {where}".strip())
    return places


def _portions(batch: pa.RecordBatch, limit: int) -> Iterator[pa.RecordBatch]:
    """Yield the batch in slices of at most `limit` bytes of text each, or of one row."""
    if batch["bytes"].to_numpy().sum() <= limit:
        yield batch
        return
    start, size = 0, 0
    for row, row_bytes in enumerate(batch["bytes"].to_pylist()):
        if row > start and size + row_bytes > limit:
            yield batch.slice(start, row - start)
            start, size = row, 0
        size += row_bytes
    yield batch.slice(start)


INGEST = Stage(name="ingest", version=1, params=IngestParams, inputs=(), run=ingest, gate=within_limit)
