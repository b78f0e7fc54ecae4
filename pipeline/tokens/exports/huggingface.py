"""Export packed sequences to a data set of Hugging Face `datasets`, as `save_to_disk` writes one.

Reads packed sequences; writes part-00000.arrow ... (Arrow IPC streams, mapped by the reader), dataset_info.json and
state.json. A row is a packed row, padding and all:

    input_ids      fixed_size_list<uint16 or uint32>[L]
    segment_ends   list<uint32>, where the row's pieces of documents end; behind the last one is padding

(datasets 5.2.0, Dataset.save_to_disk and load_from_disk of arrow_dataset.py. Lists are called `Sequence` here, which
every version reads. With the format "torch" both columns come out as int64.)
"""

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.ledger import Tally
from pipeline.stage import Stage, Step
from pipeline.store import Attempt
from pipeline.tasks import Task
from pipeline.tokens.exports import parts
from pipeline.tokens.exports.parts import ExportParams
from pipeline.tokens.format import Packed, Part


def features(sequence_length: int, dtype: np.dtype) -> dict[str, Any]:
    """Return the columns in the words of `datasets`."""

    def listed(name: str, length: int) -> dict[str, Any]:
        return {"feature": {"dtype": name, "_type": "Value"}, "length": length, "_type": "Sequence"}

    return {"input_ids": listed(dtype.name, sequence_length), "segment_ends": listed("uint32", -1)}


def schema(sequence_length: int, dtype: np.dtype) -> pa.Schema:
    """Return the columns in the words of Arrow, with those of `datasets` as metadata."""
    told = {"info": {"features": features(sequence_length, dtype)}}
    row = pa.list_(pa.from_numpy_dtype(dtype), sequence_length)
    columns = [pa.field("input_ids", row), pa.field("segment_ends", pa.list_(pa.uint32()))]
    return pa.schema(columns, metadata={"huggingface": json.dumps(told)})


def batches(part: Part) -> Iterator[pa.RecordBatch]:
    """Yield the rows of a part, some BLOCK_TOKENS at a time."""
    rows, offsets, segments = part.open()
    length = rows.shape[1]
    block = max(1, parts.BLOCK_TOKENS // length)
    for at in range(0, len(rows), block):
        taken, bounds = rows[at : at + block], offsets[at : at + block + 1]
        counts, ends = parts.filled_ends(segments[bounds[0] : bounds[-1]], bounds - bounds[0])
        first = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
        columns = [
            pa.FixedSizeListArray.from_arrays(pa.array(taken.reshape(-1)), length),
            pa.ListArray.from_arrays(pa.array(first), pa.array(ends)),
        ]
        yield pa.RecordBatch.from_arrays(columns, schema=schema(length, rows.dtype))


def export(task: Task, attempt: Attempt) -> Tally:
    """Write one part."""
    name, rows = f"{task.key}.arrow", task.payload.open()[0]
    with (
        pa.OSFile(str(attempt.path(name)), "wb") as file,
        pa.ipc.new_stream(file, schema(rows.shape[1], rows.dtype)) as out,
    ):
        for batch in batches(task.payload):
            out.write_batch(batch)
    attempt.rows(name, len(rows))
    return {}


def state(packed: Packed) -> dict[str, Any]:
    """Return what state.json says: the files, and a fingerprint, by which the library names what it caches."""
    return {
        "_data_files": [{"filename": f"{part.stem.name}.arrow"} for part in parts.filled(packed)],
        "_fingerprint": packed.fingerprint[:16],
        "_format_columns": None,
        "_format_kwargs": {},
        "_format_type": None,
        "_output_all_columns": False,
        "_split": None,
    }


def info(packed: Packed) -> dict[str, Any]:
    """Return what dataset_info.json says."""
    told = {"citation": "", "description": "", "homepage": "", "license": ""}
    return told | {"features": features(packed.sequence_length, packed.dtype)}


def huggingface(step: Step, params: ExportParams) -> None:
    """Write the rows of every part, then the files that tell of them."""
    packed = parts.opened(step)
    parts.by_part(step, packed, export)
    parts.write_plain(step, "dataset_info.json", info(packed))
    parts.write_plain(step, "state.json", state(packed))
    step.note(**parts.rows_told(packed))


HUGGINGFACE = Stage(name="tokens.huggingface", version=1, params=ExportParams, inputs=("sequences",), run=huggingface)
