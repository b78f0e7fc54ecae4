"""Export packed sequences to MosaicML's MDS, which llm-foundry trains on.

Reads packed sequences; writes part-00000.mds ... and index.json. A sample is a packed row, padding and all:

    tokens         ndarray:uint16:L or ndarray:uint32:L
    segment_ends   ndarray:uint32, where the row's pieces of documents end; behind the last one is padding

    .mds = u32 samples n, u32 byte offsets [n + 1] in the file, JSON of the columns, the samples
    a sample = u32 size of each column that has no fixed one, then the columns by name: here the size of segment_ends;
               one byte (1 dimension << 2 | 0, 1 or 2 for a shape of 1, 2 or 4 bytes), its shape, its values; the tokens

(mosaicml-streaming 0.13.0, base/format/mds/{writer,encodings}.py; index.json version 2. A file of the same rows is
byte for byte what MDSWriter writes without a size limit.)
"""

import json
from typing import Any

import numpy as np

from pipeline.ledger import Tally
from pipeline.stage import Stage, Step
from pipeline.store import Attempt
from pipeline.tasks import Task
from pipeline.tokens.exports import parts
from pipeline.tokens.exports.parts import ExportParams, Slice
from pipeline.tokens.format import Packed, Part

FILE_BYTES = 1 << 26
"""Bytes of tokens a file: the size that the library recommends, and one that a node fetches whole."""


def columns(sequence_length: int, dtype: np.dtype) -> dict[str, Any]:
    """Return the columns of a file, as it and the index tell them."""
    return {
        "version": 2,
        "format": "mds",
        "compression": None,
        "hashes": [],
        "size_limit": None,
        "column_names": ["segment_ends", "tokens"],
        "column_encodings": ["ndarray:uint32", f"ndarray:{dtype.name}:{sequence_length}"],
        "column_sizes": [None, sequence_length * dtype.itemsize],
    }


def sample(tokens: np.ndarray, ends: np.ndarray) -> bytes:
    """Return one sample: a row of tokens and the ends [K] uint32 of its pieces, K >= 1."""
    kind, width = next((kind, width) for kind, width in enumerate((1, 2, 4)) if len(ends) < 1 << 8 * width)
    shape = bytes([1 << 2 | kind]) + len(ends).to_bytes(width, "little")
    size = (len(shape) + ends.nbytes).to_bytes(4, "little")
    return b"".join((size, shape, ends.data, tokens.data))


def samples(part: Part, cut: Slice) -> list[bytes]:
    """Return the samples of a slice of a part."""
    rows, offsets, segments = part.open()
    chosen = slice(cut.first, cut.first + cut.rows)
    bounds = offsets[cut.first : cut.first + cut.rows + 1]
    counts, ends = parts.filled_ends(segments[bounds[0] : bounds[-1]], bounds - bounds[0])
    return [sample(row, its) for row, its in zip(rows[chosen], np.split(ends, np.cumsum(counts)[:-1]), strict=True)]


def export(task: Task, attempt: Attempt) -> Tally:
    """Write the files of one part."""
    part: Part = task.payload
    rows = part.open()[0]
    head = json.dumps(columns(rows.shape[1], rows.dtype), sort_keys=True).encode()
    for cut in cuts(part, rows.shape[1] * rows.itemsize):
        made = samples(part, cut)
        first = 4 + 4 * (cut.rows + 1) + len(head)
        offsets = first + np.cumsum([0, *map(len, made)])
        with attempt.path(cut.name).open("wb") as file:
            file.write(np.uint32(cut.rows).tobytes() + offsets.astype("<u4").tobytes() + head)
            file.writelines(made)
        attempt.rows(cut.name, cut.rows)
    return {}


def cuts(part: Part, row_bytes: int) -> list[Slice]:
    """Return the files of a part."""
    return parts.slices(part, row_bytes, FILE_BYTES, "mds")


def index(step: Step, packed: Packed) -> dict[str, Any]:
    """Return what index.json says of the files written."""
    files = [cut for part in parts.filled(packed) for cut in cuts(part, packed.sequence_length * packed.dtype.itemsize)]
    told = columns(packed.sequence_length, packed.dtype)
    sizes = parts.sizes(step, [cut.name for cut in files])
    raw = [{"basename": cut.name, "bytes": size, "hashes": {}} for cut, size in zip(files, sizes, strict=True)]
    shards = [told | {"samples": c.rows, "raw_data": r, "zip_data": None} for c, r in zip(files, raw, strict=True)]
    return {"version": 2, "shards": shards}


def mds(step: Step, params: ExportParams) -> None:
    """Write the rows of every part, then the index."""
    packed = parts.opened(step)
    parts.by_part(step, packed, export)
    parts.write_plain(step, "index.json", index(step, packed))
    step.note(**parts.rows_told(packed))


MDS = Stage(name="tokens.mds", version=1, params=ExportParams, inputs=("sequences",), run=mds)
