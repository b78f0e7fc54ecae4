"""A reader of Megatron's .bin/.idx, written from the published layout and knowing nothing of our writer."""

import struct
from pathlib import Path

import numpy as np

DTYPES = {1: "u1", 2: "i1", 3: "<i2", 4: "<i4", 5: "<i8", 6: "<f8", 7: "<f4", 8: "<u2"}


def read(prefix):
    """The sequences, and the index of the first sequence of each document."""
    index = Path(f"{prefix}.idx").read_bytes()
    assert index[:9] == b"MMIDIDX\x00\x00"
    assert struct.unpack("<Q", index[9:17]) == (1,)
    dtype = np.dtype(DTYPES[index[17]])
    sequences, documents = struct.unpack("<QQ", index[18:34])
    at = 34
    lengths = np.frombuffer(index, "<i4", sequences, at)
    pointers = np.frombuffer(index, "<i8", sequences, at + 4 * sequences)
    document_indices = np.frombuffer(index, "<i8", documents, at + 12 * sequences)
    assert at + 12 * sequences + 8 * documents == len(index)
    data = Path(f"{prefix}.bin").read_bytes()
    rows = [np.frombuffer(data, dtype, n, p).tolist() for n, p in zip(lengths, pointers.tolist(), strict=True)]
    assert sum(map(len, rows)) * dtype.itemsize == len(data)
    return rows, document_indices.tolist()
