"""Export the documents of packed sequences to datatrove's token files, which nanotron trains on.

Reads packed sequences; writes, part for part, PART.ds: the tokens of the documents end to end, little-endian uint16 or
uint32, no header, documents ended by EOS, padding left out (`exports.documents`); and PART.ds.index: where each
document ends, uint64 tokens from the beginning of the file. A reader cuts the stream into windows of its sequence
length + 1 and drops what is left at the end of a file.

(datatrove 0.10.1, TokenizedFile of pipeline/tokens/tokenizer.py and DatatroveFolderDataset of utils/dataset.py.)
"""

from pipeline.ledger import Tally
from pipeline.stage import Stage, Step
from pipeline.store import Attempt
from pipeline.tasks import Task
from pipeline.tokens.exports import documents, parts
from pipeline.tokens.exports.parts import ExportParams


def export(task: Task, attempt: Attempt) -> Tally:
    """Write the stream of one part, and its index."""
    name = f"{task.key}.ds"
    with attempt.path(name).open("wb") as file:
        ends = documents.write(file, task.payload)
    attempt.path(f"{name}.index").write_bytes(ends.astype("<u8").tobytes())
    attempt.rows(name, len(ends))
    return documents.counted(ends)


def datatrove(step: Step, params: ExportParams) -> None:
    """Write the documents of every part."""
    packed = parts.opened(step)
    made = parts.by_part(step, packed, export)
    step.note(
        folder="data",
        token_size=packed.dtype.itemsize,
        vocab_size=packed.vocab_size,
        eos_id=packed.eos_id,
        **documents.checked(made, packed),
    )


DATATROVE = Stage(name="tokens.datatrove", version=2, params=ExportParams, inputs=("sequences",), run=datatrove)
