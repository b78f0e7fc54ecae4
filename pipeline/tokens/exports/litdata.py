"""Export packed sequences to litdata's chunks of tokens, which LitGPT trains on.

Reads packed sequences; writes part-00000.bin ... and index.json. An item is a packed row, padding and all, so read with
`TokensLoader(block_size=L)` a block is exactly one row, and nothing is cut. The format has no place for segments.

    .bin = u32 items n, u32 byte offsets [n + 1] in the file, the rows
    index.json = the files with their bytes, items and tokens, and `no_header_tensor:20` (uint16) or `:16` (int32)

(litdata 0.2.76, streaming/writer.py, streaming/item_loader.py and the table of types of constants.py, which has no
uint32: wide tokens become int32, as in the Megatron export. `updated_at` is 0, which the reader takes for unknown, and
not a time: equal sequences make equal bytes.)
"""

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
"""Bytes a file: the library's own size of a chunk."""
DTYPE_CODES = {np.dtype("<u2"): 20, np.dtype("<i4"): 16}
ONE_LEAF = '[1, {"type": null, "context": null, "children_spec": []}]'
"""The shape of an item, as torch's pytree writes it: a tensor and nothing else."""


def export(task: Task, attempt: Attempt) -> Tally:
    """Write the files of one part."""
    part: Part = task.payload
    rows = part.open()[0]
    row_bytes = rows.shape[1] * rows.itemsize
    for cut in cuts(part, row_bytes):
        offsets = 4 + 4 * (cut.rows + 1) + np.arange(cut.rows + 1) * row_bytes
        with attempt.path(cut.name).open("wb") as file:
            file.write(np.uint32(cut.rows).tobytes() + offsets.astype("<u4").tobytes())
            file.write(rows[cut.first : cut.first + cut.rows].data)
        attempt.rows(cut.name, cut.rows)
    return {}


def cuts(part: Part, row_bytes: int) -> list[Slice]:
    """Return the files of a part."""
    return parts.slices(part, row_bytes, FILE_BYTES, "bin")


def index(packed: Packed) -> dict[str, Any]:
    """Return what index.json says."""
    row_bytes = packed.sequence_length * packed.dtype.itemsize
    files = [cut for part in parts.filled(packed) for cut in cuts(part, row_bytes)]
    chunks = [
        {
            "filename": cut.name,
            "chunk_size": cut.rows,
            "chunk_bytes": 4 + 4 * (cut.rows + 1) + cut.rows * row_bytes,
            "dim": cut.rows * packed.sequence_length,
        }
        for cut in files
    ]
    config = {
        "chunk_bytes": FILE_BYTES,
        "chunk_size": None,
        "compression": None,
        "data_format": [f"no_header_tensor:{DTYPE_CODES[parts.without_uint32(packed.dtype)]}"],
        "data_spec": ONE_LEAF,
        "encryption": None,
        "item_loader": "TokensLoader",
    }
    return {"chunks": chunks, "config": config, "updated_at": "0"}


def litdata(step: Step, params: ExportParams) -> None:
    """Write the rows of every part, and the index."""
    packed = parts.opened(step)
    parts.by_part(step, packed, export)
    parts.write_plain(step, "index.json", index(packed))
    step.note(
        folder="data",
        block_size=packed.sequence_length,
        samples=packed.rows,
        dtype=parts.without_uint32(packed.dtype).name,
        vocab_size=packed.vocab_size,
        eos_id=packed.eos_id,
        pad_id=packed.pad_id,
    )


LITDATA = Stage(name="tokens.litdata", version=1, params=ExportParams, inputs=("sequences",), run=litdata)
