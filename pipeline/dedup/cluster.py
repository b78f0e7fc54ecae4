"""Clusters of like documents: the connected components of the verified pairs, in bounded memory.

The pairs are joined within the partitions of a shuffle first, which leaves an edge a document. If these fit into one
partition they are joined in one task; else star operations on all partitions in turn (see `pipeline.kernels.unionfind`)
bring every document to the smallest address of its cluster, and no task ever holds more than its part. Which of the two
ways is taken follows from the data only, and both give the same clusters.
"""

from collections.abc import Iterator
from functools import partial

import numpy as np
import pyarrow as pa

from pipeline.dedup import similar
from pipeline.kernels import lsh, unionfind
from pipeline.ledger import Tally
from pipeline.shuffle import Blocks, Part
from pipeline.stage import Step
from pipeline.tasks import Sent

_EDGE_BYTES = 16


def members(step: Step, partitions: int) -> Blocks:
    """Return (address, cluster) of every document that has a verified pair, sent to its shard."""
    blocks = step.scatter(
        partial(edges, partitions=partitions), columns={"similar": ("similar", "address")}, partitions=partitions
    )
    forest = step.regroup(blocks, partial(joined, partitions=partitions), partitions=partitions)
    large = step.partitions(forest.tally.get("rows", 0) * _EDGE_BYTES) > 1
    return step.to_shards(stars(step, forest) if large else step.regroup(forest, to_one, partitions=1), rooted)


def stars(step: Step, blocks: Blocks) -> Blocks:
    """Return the edges (document, smallest of its cluster) of a graph that is too large for one task."""
    count = blocks.partitions
    while True:
        twice = step.regroup(blocks, partial(both_ways, partitions=count), partitions=count)
        large = step.regroup_parts(twice, partial(large_stars, partitions=count), partitions=count)
        blocks = step.regroup(large, partial(small_stars, partitions=count), partitions=count)
        if not large.tally.get("open", 0):
            return blocks


def edges(batch: pa.RecordBatch, *, partitions: int) -> tuple[pa.RecordBatch, np.ndarray]:
    """Return an edge (a, b) for every entry, and the partition of the better document."""
    offsets, found = similar.entries(batch["similar"])
    better = found.field("address").to_numpy()
    worse = np.repeat(batch["address"].to_numpy(), np.diff(offsets))
    return pa.record_batch({"a": worse, "b": better}), lsh.spread(better, partitions)


def _ends(table: pa.Table) -> tuple[np.ndarray, np.ndarray]:
    return table["a"].to_numpy(), table["b"].to_numpy()


def _sent(a: np.ndarray, b: np.ndarray, partitions: int) -> Sent:
    return pa.table({"a": a, "b": b}), lsh.spread(a, partitions)


def joined(table: pa.Table, *, partitions: int) -> Sent:
    """Return an edge (document, root) from each document of a partition to the smallest it is connected with there."""
    nodes, roots = unionfind.components(*_ends(table))
    inner = nodes != roots
    return _sent(nodes[inner], roots[inner], partitions)


def to_one(table: pa.Table) -> Sent:
    """Return the edges for a single partition."""
    return table, np.zeros(table.num_rows, np.uint32)


def both_ways(table: pa.Table, *, partitions: int) -> Sent:
    """Return every edge from each of its ends."""
    a, b = _ends(table)
    return _sent(np.concatenate([a, b]), np.concatenate([b, a]), partitions)


def large_stars(part: Part, *, partitions: int) -> Iterator[Sent | Tally]:
    """Yield the large stars of a partition's nodes, and whether a node is no star yet."""
    table = part.table()
    if table is not None:
        yield {"open": int(unionfind.is_open(*_ends(table)))}
        yield _sent(*unionfind.large_star(*_ends(table)), partitions)


def small_stars(table: pa.Table, *, partitions: int) -> Sent:
    """Return the small stars of a partition's nodes."""
    return _sent(*unionfind.small_star(*_ends(table)), partitions)


def rooted(table: pa.Table) -> pa.Table:
    """Return (address, cluster) of every document with an edge here; several partitions may give equal rows."""
    nodes, roots = unionfind.components(*_ends(table))
    return pa.table({"address": nodes, "cluster": roots})
