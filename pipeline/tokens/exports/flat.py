"""Export the documents of packed sequences to one flat file of 16-bit tokens, as nanoGPT and its kin read it.

Reads packed sequences; writes train.bin: the tokens of all documents end to end as little-endian uint16, no header,
documents ended by EOS, padding left out (`exports.documents`). These trainers map it as uint16, so a vocabulary of more
than 65,536 is refused.

(nanoGPT, data/openwebtext/prepare.py and get_batch of train.py at 3adf61e.)
"""

from pathlib import Path

import numpy as np

from pipeline.ledger import Tally, add
from pipeline.stage import Stage, Step
from pipeline.store import Attempt
from pipeline.tasks import Task
from pipeline.tokens.exports import documents, parts
from pipeline.tokens.exports.parts import ExportParams
from pipeline.tokens.format import read_packed

DTYPE = np.dtype("<u2")
FILE = "train.bin"


def export(task: Task, attempt: Attempt) -> Tally:
    """Write the file; one task, because it is one file."""
    made: Tally = {}
    with attempt.path(FILE).open("wb") as file:
        for part in parts.filled(read_packed(Path(task.payload))):
            add(made, documents.counted(documents.write(file, part)))
    attempt.rows(FILE, made.get("documents", 0))
    return made


def flat(step: Step, params: ExportParams) -> None:
    """Write the documents of all parts into one file."""
    packed = parts.opened(step)
    parts.refuse_wide(packed, "a flat file", DTYPE)
    made = step.produce(export, [Task(Path(FILE).stem, payload=str(packed.root))])
    step.note(
        file=f"data/{FILE}",
        dtype=DTYPE.name,
        vocab_size=packed.vocab_size,
        eos_id=packed.eos_id,
        **documents.checked(made, packed),
    )


FLAT = Stage(name="tokens.flat", version=2, params=ExportParams, inputs=("sequences",), run=flat)
