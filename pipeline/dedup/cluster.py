"""Join candidate pairs to clusters: connected components.

Reads pairs, and bands for their shards; writes, co-partitioned with bands, `cluster`: the smallest address among the
documents a document is connected with, null for one that has no pair.

A cluster is a working set, not a verdict: it holds all that a document may have to be compared with, so `dedup.keep`
can work off one cluster without looking at another. The pairs are joined twice: within the partitions of a shuffle,
where most of them turn out to be repeats (like documents share many bands), and then what is left in one task.
"""

from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.kernels import lsh, unionfind
from pipeline.ledger import Tally
from pipeline.stage import Params, Stage, Step

SCHEMA = pa.schema([pa.field("cluster", pa.uint64())])
_PAIR_BYTES = 16


class ClusterParams(Params):
    """Nothing is to be chosen here."""


def spread_pairs(batch: pa.RecordBatch, *, partitions: int) -> tuple[pa.RecordBatch, np.ndarray]:
    """Return the pairs with a partition for each: those of one centre go together, as they repeat."""
    return batch, lsh.spread(batch["a"].to_numpy(), partitions)


def forest(table: pa.Table) -> tuple[pa.Table, np.ndarray]:
    """Return an edge from each document of a partition to the smallest it is connected with; all to partition 0."""
    nodes, roots = unionfind.components(table["a"].to_numpy(), table["b"].to_numpy())
    inner = nodes != roots
    return pa.table({"a": roots[inner], "b": nodes[inner]}), np.zeros(int(inner.sum()), np.uint32)


def members(table: pa.Table) -> pa.Table:
    """Return (address, cluster) of every document that has an edge, by address."""
    nodes, roots = unionfind.components(table["a"].to_numpy(), table["b"].to_numpy())
    return pa.table({"address": nodes, "cluster": roots})


def label_batch(batch: pa.RecordBatch, rows: pa.Table | None) -> pa.RecordBatch:
    """Return the cluster of each row, null for those that are in none."""
    clusters_N, none_N = np.zeros(batch.num_rows, np.uint64), np.ones(batch.num_rows, bool)
    if rows is not None:
        places = (rows["address"].to_numpy() - batch["address"][0].as_py()).astype(np.int64)
        clusters_N[places], none_N[places] = rows["cluster"].to_numpy(), False
    return pa.record_batch([pa.array(clusters_N, mask=none_N)], schema=SCHEMA)


def count_members(batch: pa.RecordBatch, result: pa.RecordBatch) -> Tally:
    """Return how many documents are in clusters, and how many clusters begin in this batch."""
    heads = pc.sum(pc.equal(result["cluster"], batch["address"])).as_py() or 0
    return {"clusters": heads, "documents_in_clusters": batch.num_rows - result["cluster"].null_count}


def cluster(step: Step, params: ClusterParams) -> None:
    """Join the pairs part by part, then all of them, and send every document its cluster."""
    partitions = step.partitions(step.inputs["pairs"].manifest.rows * _PAIR_BYTES)
    blocks = step.scatter(
        partial(spread_pairs, partitions=partitions), columns={"pairs": ("a", "b")}, partitions=partitions
    )
    joined = step.regroup(blocks, forest, partitions=1)
    totals = step.map_shards(
        label_batch,
        columns={"bands": ("shingles", "address")},
        schema=SCHEMA,
        addressed=step.to_shards(joined, members, role="bands"),
        tally=count_members,
    )
    step.note(**totals)


CLUSTER = Stage("dedup.cluster", version=1, params=ClusterParams, inputs=("bands", "pairs"), run=cluster)
