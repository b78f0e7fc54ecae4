"""What deduplication took from which source, whose copies those were, and how much a source may lose.

The keeper of a dropped document may be of another domain: `sources` counts documents and bytes by both, and `examples`
names a dropped document for each pair of domains, the one with the smallest doc_id, and its keeper.
"""

import json
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.corpus import Corpus, Shard
from pipeline.errors import DataError
from pipeline.ledger import Tally, add
from pipeline.stage import Step

REASONS = ("exact_duplicate", "near_duplicate")
EXAMPLES = 200
"""Pairs of domains that get an example; a build of a thousand domains has a million pairs."""


def counted(dropped: pa.Table) -> Tally:
    """Return `sources` and `examples` of dropped documents.

    Args:
        dropped: has domain, keeper_domain, bytes, doc_id, keeper, similarity, address, keeper_address.
    """
    groups = _by_domains(dropped, ("bytes", "sum"), ("bytes", "count"), ("doc_id", "min"))
    sources: Tally = {}
    for row in groups.to_pylist():
        counts = {"documents": row["bytes_count"], "bytes": row["bytes_sum"]}
        add(sources, {row["domain"]: {row["keeper_domain"]: counts}})
    chosen = _among(dropped, "doc_id", groups["doc_id_min"])
    chosen = _among(chosen, "address", _by_domains(chosen, ("address", "min"))["address_min"])  # one of many equal rows
    return {"sources": sources, "examples": {_name(row): row["similarity"] for row in chosen.to_pylist()}}


def _by_domains(dropped: pa.Table, *aggregations: tuple[str, str]) -> pa.Table:
    return dropped.group_by(["domain", "keeper_domain"], use_threads=False).aggregate(list(aggregations))


def _among(table: pa.Table, column: str, values: pa.ChunkedArray) -> pa.Table:
    return table.filter(pc.is_in(table[column], value_set=values.combine_chunks()))


def _name(row: dict[str, Any]) -> str:
    # A tally's leaves are numbers that add up, so an example is a key that comes once.
    ids = row["doc_id"].hex(), row["keeper"].hex(), row["address"], row["keeper_address"]
    return json.dumps([row["domain"], row["keeper_domain"], *ids])


def noted(step: Step, tally: Tally) -> Tally:
    """Return the facts `sources` and `examples` of the sum of what `counted` returned."""
    shards = step.inputs["documents"].manifest.shards
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for name, similarity in sorted(tally.get("examples", {}).items()):
        domain, keeper_domain, doc_id, keeper, address, keeper_address = json.loads(name)
        if (domain, keeper_domain) not in found and len(found) < EXAMPLES:
            example = {"domain": domain, "keeper_domain": keeper_domain, "doc_id": doc_id, "keeper": keeper}
            places = place(shards, address), place(shards, keeper_address, "keeper_")
            found[domain, keeper_domain] = example | {"similarity": similarity} | places[0] | places[1]
    return {"sources": tally.get("sources", {}), "examples": list(found.values())}


def place(shards: Sequence[Shard], address: int, prefix: str = "") -> dict[str, Any]:
    """Return the shard and row of an address; nothing for a document of an earlier build."""
    shard = address >> 32
    return {f"{prefix}shard": shards[shard].name, f"{prefix}row": address & 0xFFFFFFFF} if shard < len(shards) else {}


def lost(batch: pa.RecordBatch, result: pa.RecordBatch) -> Tally:
    """Return, by domain, how many documents there were but for those dropped for other reasons, and how many went."""
    copies = pc.is_in(result["reason"], value_set=pa.array(REASONS))
    there = pc.or_(result["keep"], copies)
    table = pa.table({"domain": batch["domain"].filter(there), "dropped": pc.cast(copies.filter(there), pa.int64())})
    groups = table.group_by("domain", use_threads=False).aggregate([("dropped", "sum"), ("dropped", "count")])
    return {
        "lost": {
            row["domain"]: {"documents": row["dropped_count"], "dropped": row["dropped_sum"]}
            for row in groups.to_pylist()
        }
    }


def within_cap(params: Any, corpus: Corpus) -> None:
    """Stop the build when a source lost more of its documents to deduplication than the recipe allows.

    Raises:
        DataError: names every such source, how much it lost to which others, and what to do.
    """
    if params.source_cap is None:
        return
    facts = corpus.manifest.facts
    over = [
        (domain, books)
        for domain, books in facts.get("lost", {}).items()
        if books["dropped"] / books["documents"] > params.source_cap
    ]
    if not over:
        return
    lines = [
        f"  {domain}: {books['dropped']:,} of {books['documents']:,} documents "
        f"({books['dropped'] / books['documents']:.1%}){_to_whom(facts.get('sources', {}).get(domain, {}))}"
        for domain, books in over
    ]
    raise DataError(
        "\n".join(
            [
                f"{corpus.manifest.stage}: deduplication may take {params.source_cap:.1%} of a source "
                "(dedup.source_cap), and it took:",
                *lines,
                f"  `corpusmill show {corpus.root}` tells more. If that is right raise dedup.source_cap and run the "
                "command again: nothing is done twice.",
            ]
        )
    )


def _to_whom(keepers: dict[str, Any]) -> str:
    most = sorted(keepers.items(), key=lambda pair: (-pair[1]["documents"], pair[0]))[:3]
    return "; in this step as copies in " + ", ".join(f"{n} ({c['documents']:,})" for n, c in most) if most else ""
