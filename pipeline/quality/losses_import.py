"""Losses that were made elsewhere: a Parquet file read, checked against the documents and written as a table of losses.

The file has the columns `doc_id` (16 bytes, or 32 hexadecimal digits), `nats` and `bytes`, what the document cost and
of how many bytes; and, if they are known, `model` (else the role's name is the model's) and `tokens` (else 0). Rows of
documents that the build has not, or that the mask drops, are counted and left out, and so are rows that come again.
"""

import re
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline import ledger
from pipeline.errors import DataError
from pipeline.kernels import lsh
from pipeline.ledger import Tally
from pipeline.parquet import write_table
from pipeline.quality import losses_table
from pipeline.quality.losses_table import SCHEMA
from pipeline.schemas import DOC_ID, doc_ids
from pipeline.shuffle import Blocks
from pipeline.stage import Step
from pipeline.store import Attempt
from pipeline.tasks import Sent, Task

NEEDED = ("doc_id", "nats", "bytes")
ROW_BYTES = 64
_HEX = re.compile(r"[0-9a-fA-F]{32}")


def check_file(path: Path) -> None:
    """Refuse a file that is no Parquet, or lacks a column.

    Raises:
        DataError: says what was found.
    """
    try:
        names = pq.read_schema(path).names
    except (OSError, pa.ArrowInvalid) as error:
        raise DataError(f"{path} cannot be read as Parquet: {error}") from None
    if missing := [name for name in NEEDED if name not in names]:
        raise DataError(f"{path} has no column {missing[0]!r}; it has {', '.join(names)}, and losses need {NEEDED}")


def read_group(payload: tuple[Path, str, int]) -> Iterator[pa.RecordBatch]:
    """Yield the rows of one row group of a file as rows of the table.

    Raises:
        DataError: a value is missing or makes no sense; names the file, the row group and the row.
    """
    path, name, group = payload
    with pq.ParquetFile(path) as file:
        names = [field for field in SCHEMA.names if field in file.schema_arrow.names]
        for batch in file.iter_batches(row_groups=[group], columns=names, use_threads=False):
            yield _as_rows(batch, name, f"{path}, row group {group}")


def _as_rows(batch: pa.RecordBatch, name: str, where: str) -> pa.RecordBatch:
    for column in batch.schema.names:
        _refuse(pc.is_null(batch[column]), batch, where, f"has no {column}")
    try:
        columns = {
            "model": pa.array([name] * len(batch)) if "model" not in batch.schema.names else batch["model"],
            "nats": pa.array(losses_table.rounded(batch["nats"].cast(pa.float64()).to_numpy(zero_copy_only=False))),
            "bytes": batch["bytes"].cast(pa.int64()),
            "tokens": pa.array(np.zeros(len(batch), np.int64))
            if "tokens" not in batch.schema.names
            else batch["tokens"].cast(pa.int64()),
        }
    except pa.ArrowInvalid as error:
        raise DataError(f"{where}: {error}") from None
    _refuse(pc.invert(pc.is_finite(columns["nats"])), batch, where, "has nats that are no finite number")
    _refuse(pc.less(columns["nats"], 0), batch, where, "has negative nats: a loss is -log p")
    _refuse(pc.less_equal(columns["bytes"], 0), batch, where, "has no positive number of bytes")
    rows = {"doc_id": _identities(batch["doc_id"], batch, where)} | columns
    return pa.RecordBatch.from_arrays([rows[field.name].cast(field.type) for field in SCHEMA], schema=SCHEMA)


def _identities(given: pa.Array, batch: pa.RecordBatch, where: str) -> pa.Array:
    if pa.types.is_string(given.type) or pa.types.is_large_string(given.type):
        plain = pc.match_substring_regex(given, f"^{_HEX.pattern}$")
        _refuse(pc.invert(plain), batch, where, "has a doc_id that is not 32 hexadecimal digits")
        return pa.array([bytes.fromhex(text) for text in given.to_pylist()], DOC_ID)
    if given.type != DOC_ID:
        lengths = pc.binary_length(given)
        _refuse(pc.not_equal(lengths, DOC_ID.byte_width), batch, where, "has a doc_id that is not 16 bytes")
    return given.cast(DOC_ID)


def _refuse(bad: pa.Array, batch: pa.RecordBatch, where: str, why: str) -> None:
    if pc.any(bad).as_py():
        row = pc.index(bad, True).as_py()
        shown = {name: batch[name][row].as_py() for name in batch.schema.names}
        raise DataError(f"{where}: the row {shown} {why}")


def sent(payload: tuple[Path, str, int], *, partitions: int) -> Iterator[tuple[pa.RecordBatch, np.ndarray]]:
    """Yield the rows of a row group and the partition of each document."""
    for rows in read_group(payload):
        yield rows, lsh.spread(doc_ids(rows["doc_id"])[:, 0], partitions)


def asked_for(batch: pa.RecordBatch, *, partitions: int) -> Sent:
    """Return the kept documents of a batch, (doc_id, domain), and the partition of each."""
    rows = batch.filter(batch["keep"]).select(["doc_id", "domain"])
    return rows, lsh.spread(doc_ids(rows["doc_id"])[:, 0], partitions)


def write_part(task: Task, attempt: Attempt, *, given: Blocks, documents: Blocks) -> Tally:
    """Write the losses of one partition's documents; count what is left out.

    Raises:
        DataError: one document has two different losses under one model.
    """
    name, losses, kept = f"{task.key}.parquet", given.read(task.payload), documents.read(task.payload)
    told: Tally = {}
    table = SCHEMA.empty_table()
    if losses is not None:
        once = losses.group_by(SCHEMA.names, use_threads=False).aggregate([])
        _refuse_contradictions(once)
        table = once.join(_distinct(kept), "doc_id", join_type="inner") if kept is not None else once.slice(0, 0)
        told = {"imported": _by_model(losses), "repeated": losses.num_rows - once.num_rows}
        told["of_no_kept_document"] = once.num_rows - table.num_rows
        table = table.sort_by([("model", "ascending"), ("doc_id", "ascending")]).combine_chunks()
    if table.num_rows:
        rows = table.to_batches()[0]
        told["models"] = losses_table.sums(rows, rows["domain"])
    attempt.rows(name, write_table(attempt.path(name), table.select(SCHEMA.names).cast(SCHEMA), SCHEMA))
    return told


def _distinct(kept: pa.Table) -> pa.Table:
    """Return every document once: one text of one domain may be there in several rows."""
    return kept.group_by(["doc_id", "domain"], use_threads=False).aggregate([])


def _by_model(losses: pa.Table) -> dict[str, int]:
    return {row["values"]: row["counts"] for row in losses["model"].value_counts().to_pylist()}


def _refuse_contradictions(once: pa.Table) -> None:
    counts = once.group_by(["doc_id", "model"], use_threads=False).aggregate([("nats", "count")])
    twice = counts.filter(pc.greater(counts["nats_count"], 1))
    if twice.num_rows:
        first = twice.slice(0, 1).to_pylist()[0]
        raise DataError(
            f"the imported losses give document {first['doc_id'].hex()} {first['nats_count']} different losses under "
            f"the model {first['model']!r}, and {twice.num_rows - 1:,} more documents of this part so; keep one of each"
        )


def bring_in(step: Step, files: Mapping[str, Path]) -> dict[str, Any]:
    """Write the losses of every file, name -> path, and return what was counted.

    Raises:
        DataError: a file is not what it should be, or has no loss of any document of this build.
    """
    groups = [(path, name, at) for name, path in sorted(files.items()) for at in range(_groups(path))]
    partitions = step.partitions(sum(pq.read_metadata(path).num_rows for path in files.values()) * ROW_BYTES)
    given = step.send(partial(sent, partitions=partitions), groups, partitions=partitions)
    documents = step.scatter(
        partial(asked_for, partitions=partitions),
        columns={"documents": ("doc_id", "domain"), "mask": ("keep",)},
        partitions=partitions,
    )
    todo = [Task(f"import-{at:05d}", payload=at) for at in range(partitions)]
    counts = ledger.ordered(step.produce(partial(write_part, given=given, documents=documents), todo))
    for model, rows in counts.get("imported", {}).items():
        if model not in counts.get("models", {}):
            raise DataError(
                f"none of the {rows:,} imported losses of the model {model!r} is of a kept document of this build: "
                "their doc_ids are of other documents, or of these in other domains"
            )
    return counts


def _groups(path: Path) -> int:
    check_file(path)
    return int(pq.read_metadata(path).num_row_groups)
