"""Find the documents that share a band: candidate pairs.

Reads bands; writes pairs (a, b) of addresses, a < b. A key that m documents share gives m - 1 pairs, from the smallest
address to each other one. That connects the same documents as all pairs would, and a key that a million pages share for
their boilerplate costs a million pairs, not half of a billion. The manifest's facts count the stars by their size.
"""

from functools import partial

import numpy as np
import pyarrow as pa

from pipeline.dedup import bands
from pipeline.kernels import lsh
from pipeline.ledger import Tally
from pipeline.stage import Params, Stage, Step

SCHEMA = pa.schema([pa.field("a", pa.uint64(), nullable=False), pa.field("b", pa.uint64(), nullable=False)])
_ROW_BYTES = 16
_SIZES = {"2": 2, "3 to 10": 10, "11 to 100": 100, "101 to 1,000": 1000}


class MatchParams(Params):
    """Nothing is to be chosen here."""


def keyed_rows(batch: pa.RecordBatch, *, partitions: int) -> tuple[pa.RecordBatch, np.ndarray]:
    """Return a row (key, address) for every band of every document that has bands, and the partition of its key."""
    rows = batch.filter(batch["bands"].is_valid())
    keys_NB = bands.matrix(rows["bands"])
    keys_M, addresses_M = keys_NB.reshape(-1), np.repeat(rows["address"].to_numpy(), keys_NB.shape[1])
    # The key is a hash throughout; its upper half leaves the lower one for whoever cuts a partition further.
    destinations = ((keys_M >> np.uint64(32)) % np.uint64(partitions)).astype(np.uint32)
    return pa.record_batch({"key": keys_M, "address": addresses_M}), destinations


def star_pairs(table: pa.Table) -> pa.Table:
    """Return the distinct pairs of one partition, sorted."""
    a, b = lsh.star_edges(table["key"].to_numpy(), table["address"].to_numpy())
    return pa.table({"a": a, "b": b}, schema=SCHEMA)


def star_sizes(pairs: pa.Table) -> Tally:
    """Return how many stars of how many documents a partition's pairs make."""
    _, leaves = np.unique(pairs["a"].to_numpy(), return_counts=True)
    classes = np.searchsorted(list(_SIZES.values()), leaves + 1)
    names = [*_SIZES, "over 1,000"]
    counts = np.bincount(classes, minlength=len(names)).tolist()
    return {"pairs": pairs.num_rows, "stars": dict(zip(names, counts, strict=True))}


def match(step: Step, params: MatchParams) -> None:
    """Shuffle by key, then connect what shares one."""
    source = step.inputs["bands"].manifest
    partitions = step.partitions(source.rows * int(source.params["bands"]) * _ROW_BYTES)
    blocks = step.scatter(
        partial(keyed_rows, partitions=partitions),
        columns={"bands": ("bands", "address")},
        partitions=partitions,
    )
    step.note(**step.gather(blocks, star_pairs, schema=SCHEMA, tally=star_sizes))


MATCH = Stage("dedup.match", version=1, params=MatchParams, inputs=("bands",), run=match)
