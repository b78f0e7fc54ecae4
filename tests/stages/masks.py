"""Masks made by hand."""

from pathlib import Path

import pyarrow as pa

from pipeline import schemas
from pipeline.corpus import Corpus
from tests.conftest import write_corpus


def masked(root: Path, documents: Corpus, keep: list[list[bool]]) -> Corpus:
    """Write a mask beside `documents`, one list a shard."""
    tables = [
        pa.Table.from_arrays(
            [pa.array(part), pa.array([None if k else "by hand" for k in part], pa.string())], schema=schemas.mask()
        )
        for part in keep
    ]
    return write_corpus(root, tables, stage="mask")
