"""Texts cut into the units whose copies are looked for, each with its identity: documents, paragraphs or lines.

A unit's identity is the MurmurHash3 x64 128 of " ".join(unit.split()): case and punctuation count, white space does
not. With the scope `domain` the hash of the domain's name is its seed, so that units of two domains are never equal.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline import schemas
from pipeline.kernels import hashing, passages, whitespace

Unit = Literal["document", "paragraph", "line"]
Scope = Literal["corpus", "domain"]


@dataclass(frozen=True)
class Units:
    """The P units of N texts; the units of text i are those from firsts[i] up to firsts[i + 1]."""

    offsets: np.ndarray  # int64 [N + 1], of the texts in their buffer
    begins: np.ndarray  # int64 [P], in the buffer
    ends: np.ndarray  # int64 [P]
    firsts: np.ndarray  # int64 [N + 1]
    hashes: np.ndarray  # uint64 [P, 2]
    sizes: np.ndarray  # int64 [P], bytes without surplus white space; 0 is a blank one

    def sums(self, values_P: np.ndarray) -> np.ndarray:
        """Return int64 [N], the sum of a number of every unit over the units of each text."""
        return np.diff(np.concatenate([np.zeros(1, np.int64), np.cumsum(values_P, dtype=np.int64)])[self.firsts])

    def owners(self) -> np.ndarray:
        """Return int64 [P], the text of every unit."""
        return np.repeat(np.arange(len(self.firsts) - 1), np.diff(self.firsts))


def units(texts: pa.Array, domains: pa.Array, unit: Unit, scope: Scope) -> Units:
    """Return the units of texts that are valid UTF-8; `domains` has one for each text."""
    data, offsets = schemas.text_buffers(texts)
    if unit == "document":
        begins_P, ends_P, firsts = offsets[:-1], offsets[1:], np.arange(len(offsets))
    else:
        begins_P, ends_P, firsts = (passages.lines if unit == "line" else passages.paragraphs)(data, offsets)
    plain, widths = whitespace.collapse(data, passages.bounds(begins_P, offsets))
    seeds_P: int | np.ndarray = 0
    if scope == "domain":
        seeds_P = np.repeat(domain_seeds(domains), np.diff(firsts))
    return Units(offsets, begins_P, ends_P, firsts, hashing.murmur128(plain, widths, seeds_P), np.diff(widths))


def domain_seeds(domains: pa.Array) -> np.ndarray:
    """Return uint64 [N], the lower half of the hash of each one's name: the seed of the domain's document ids, too."""
    names = pc.unique(domains)
    seeds = hashing.murmur128(*schemas.text_buffers(names))[:, 0]
    return seeds[pc.index_in(domains, value_set=names).to_numpy(zero_copy_only=False)]


def placed(batch: pa.RecordBatch, columns: Sequence[str]) -> tuple[np.ndarray, pa.RecordBatch]:
    """Return (rows int64 [N], those rows with `columns`): the rows of a batch that its mask keeps."""
    return np.flatnonzero(np.asarray(batch["keep"])), batch.select(list(columns)).filter(batch["keep"])
