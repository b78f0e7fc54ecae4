"""Export packed sequences to Megatron-LM's indexed dataset: one `.bin` of tokens, one `.idx` that says where they are.

Reads packed sequences; writes sequences.bin and sequences.idx. Every row, padding and all, is one Megatron sequence and
one Megatron document: trained with `--seq-length` L, a sample of Megatron's is then exactly one packed row, and nothing
is cut (its `--eod-mask-loss` leaves out EOS and padding, which carries the same id).

    .idx = "MMIDIDX\\0\\0", u64 version 1, u8 dtype (8: uint16, 4: int32), u64 sequences n, u64 documents + 1,
           int32 lengths [n], int64 byte offsets [n], int64 first sequence of each document [n + 1]

(Megatron-LM, megatron/core/datasets/indexed_dataset.py. It has no code for uint32, so wide tokens become int32.)
"""

import struct
from pathlib import Path
from typing import BinaryIO

import numpy as np

from pipeline.ledger import Tally
from pipeline.stage import Stage, Step
from pipeline.store import Attempt
from pipeline.tasks import Task
from pipeline.tokens.exports import parts
from pipeline.tokens.exports.parts import ExportParams
from pipeline.tokens.format import read_packed

MAGIC = b"MMIDIDX\x00\x00"
DTYPE_CODES = {np.dtype("<u2"): 8, np.dtype("<i4"): 4}
KEY = "sequences"


def write_index(file: BinaryIO, rows: int, sequence_length: int, dtype: np.dtype) -> None:
    """Write the index of `rows` sequences of one length, each a document of its own."""
    file.write(MAGIC + struct.pack("<QBQQ", 1, DTYPE_CODES[dtype], rows, rows + 1))
    file.write(np.full(rows, sequence_length, "<i4").data)
    file.write((np.arange(rows, dtype="<i8") * (sequence_length * dtype.itemsize)).data)
    file.write(np.arange(rows + 1, dtype="<i8").data)


def export(task: Task, attempt: Attempt) -> Tally:
    """Write both files; one task, because they are one file each."""
    packed = read_packed(Path(task.payload))
    with attempt.path(f"{KEY}.bin").open("wb") as file:
        for part in parts.filled(packed):
            file.write(part.open()[0].data)
    with attempt.path(f"{KEY}.idx").open("wb") as file:
        write_index(file, packed.rows, packed.sequence_length, parts.without_uint32(packed.dtype))
    attempt.rows(f"{KEY}.bin", packed.rows)
    return {}


def megatron(step: Step, params: ExportParams) -> None:
    """Copy the rows of all parts into one pair of files."""
    packed = parts.opened(step)
    step.produce(export, [Task(KEY, payload=str(packed.root))])
    step.note(
        sequence_length=packed.sequence_length,
        dtype=parts.without_uint32(packed.dtype).name,
        vocab_size=packed.vocab_size,
        eos_id=packed.eos_id,
        prefix=f"data/{KEY}",
    )


MEGATRON = Stage(name="tokens.megatron", version=1, params=ExportParams, inputs=("sequences",), run=megatron)
