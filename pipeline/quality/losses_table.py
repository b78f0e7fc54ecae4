"""The table of losses: its columns, and the sums by model and domain that are told of it.

Letters: N rows. Sums are whole numbers, thousandths of a nat, so that they do not tell in which order they were added.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline import ledger
from pipeline.ledger import Tally
from pipeline.schemas import DOC_ID

NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"
"""What a model may be called: it is part of the names of files."""

SCHEMA = pa.schema(
    [
        pa.field("doc_id", DOC_ID, nullable=False),
        pa.field("model", pa.string(), nullable=False),
        pa.field("nats", pa.float64(), nullable=False),
        pa.field("bytes", pa.int64(), nullable=False),
        pa.field("tokens", pa.int64(), nullable=False),
    ]
)

_SUMS = ("documents", "bytes", "tokens", "millinats")


def rounded(nats_N: np.ndarray) -> np.ndarray:
    """Return nats float64 [N] to a thousandth: below it, a cost depends on the order of additions."""
    return np.round(nats_N, 3)


def sums(rows: pa.RecordBatch, domains: pa.Array) -> Tally:
    """Return {model: {domain: {documents, bytes, tokens, millinats}}} of rows of the table."""
    millinats = pa.array(np.rint(rows["nats"].to_numpy() * 1000).astype(np.int64))
    columns = {name: rows[name] for name in ("model", "bytes", "tokens")} | {"domain": domains, "millinats": millinats}
    aggregations = [("bytes", "count"), *((name, "sum") for name in _SUMS[1:])]
    groups = pa.table(columns).group_by(["model", "domain"], use_threads=False).aggregate(aggregations)
    found: Tally = {}
    for row in groups.to_pylist():
        values = (row["bytes_count"], *(row[f"{name}_sum"] for name in _SUMS[1:]))
        found.setdefault(row["model"], {})[row["domain"]] = dict(zip(_SUMS, values, strict=True))
    return found


def told(by_domain: Mapping[str, Mapping[str, int]]) -> dict[str, Any]:
    """Return what a manifest says of one model: its totals, and its bits per byte over all and in every domain."""
    total: Tally = {}
    for part in by_domain.values():
        ledger.add(total, dict(part))
    domains = {domain: bits_per_byte(part) for domain, part in sorted(by_domain.items())}
    counts = {name: total[name] for name in ("documents", "bytes", "tokens")}
    return counts | {"bits_per_byte": bits_per_byte(total), "bits_per_byte_by_domain": domains}


def bits_per_byte(part: Mapping[str, int]) -> float:
    """Return nats / (ln 2 * bytes) of summed rows."""
    return round(part["millinats"] / 1000 / math.log(2) / part["bytes"], 6)
