"""Export the documents of packed sequences to the flat arrays of OLMo-core (and of the Dolma toolkit).

Reads packed sequences; writes, part for part, PART.npy: the tokens of the documents end to end, little-endian uint16 or
uint32, documents ended by EOS, padding left out (`exports.documents`), and in spite of its name no NumPy header; and
PART.csv.gz: a line `start,end` a document, in tokens. `NumpyFSLDataset` cuts the stream into sequences and drops what
is left at the end of a file. The datasets that keep documents whole guess their bounds from EOS unless told to read the
second file, which is right for a document without EOS too.

(OLMo-core 3.0.0, data/numpy_dataset.py, and write_document_indices and iter_document_indices of data/utils.py.)
"""

import gzip
import io

import numpy as np

from pipeline.ledger import Tally
from pipeline.stage import Stage, Step
from pipeline.store import Attempt
from pipeline.tasks import Task
from pipeline.tokens.exports import documents, parts
from pipeline.tokens.exports.parts import ExportParams


def export(task: Task, attempt: Attempt) -> Tally:
    """Write the stream of one part, and its bounds."""
    name = f"{task.key}.npy"
    with attempt.path(name).open("wb") as file:
        ends = documents.write(file, task.payload)
    attempt.path(f"{task.key}.csv.gz").write_bytes(zipped(ends))
    attempt.rows(name, len(ends))
    return documents.counted(ends)


def zipped(ends: np.ndarray) -> bytes:
    """Return `start,end` lines, compressed; gzip's time and name are left out, so that equal bounds are equal bytes."""
    bounds = np.stack([np.concatenate([[0], ends[:-1]])[: len(ends)], ends], axis=1)
    text = io.StringIO()
    np.savetxt(text, bounds, fmt="%d", delimiter=",")
    return gzip.compress(text.getvalue().encode(), compresslevel=6, mtime=0)


def olmo(step: Step, params: ExportParams) -> None:
    """Write the documents of every part."""
    packed = parts.opened(step)
    made = parts.by_part(step, packed, export)
    step.note(
        paths="data/*.npy",
        dtype=packed.dtype.name,
        vocab_size=packed.vocab_size,
        eos_id=packed.eos_id,
        pad_id=packed.pad_id,
        **documents.checked(made, packed),
    )


OLMO = Stage(name="tokens.olmo", version=2, params=ExportParams, inputs=("sequences",), run=olmo)
