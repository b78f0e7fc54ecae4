"""What `quality.heuristics` tells of its rules: by domain, by language, and what each would drop alone."""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.ledger import Tally


def counted(before: pa.RecordBatch, after: pa.RecordBatch, rules: list[str]) -> Tally:
    """Return the counts of one batch, of the documents that were kept before.

    `broken` rule -> domain -> documents that break the rule, whatever else they break; `alone` rule -> documents that
    break no other; `languages` language -> {read, kept}; `by_language` language -> reason -> documents dropped for it;
    `shortened` domain -> {documents, bytes} of those kept with spans, before marks are written in.
    """
    alive = np.asarray(before["keep"])
    bits_N = after["broken"].fill_null(0).to_numpy()
    broken_NR = (bits_N[:, None] >> np.arange(len(rules), dtype=np.uint64) & np.uint64(1)).astype(bool)
    single_N = broken_NR.sum(axis=1) == 1
    domains = before["domain"]
    tally: Tally = {"broken": {}, "alone": {}}
    for place in np.flatnonzero(broken_NR.any(axis=0)):
        here_N = broken_NR[:, place]
        tally["broken"][rules[place]] = _tally(domains.filter(pa.array(here_N)))
        if single := int(np.count_nonzero(here_N & single_N)):
            tally["alone"][rules[place]] = single
    if "language" in after.schema.names:
        tally |= _by_language(after, alive)
    if "spans" in after.schema.names:
        tally["shortened"] = _shortened(domains, after["spans"])
    return tally


def _tally(values: pa.Array) -> Tally:
    return {row["values"]: row["counts"] for row in pc.value_counts(values).to_pylist()}


def _by_language(after: pa.RecordBatch, alive: np.ndarray) -> Tally:
    rows = pa.table({"language": after["language"].fill_null("unknown"), "reason": after["reason"].fill_null("")})
    groups = rows.filter(pa.array(alive)).group_by(["language", "reason"], use_threads=False)
    found: Tally = {"languages": {}, "by_language": {}}
    for row in groups.aggregate([([], "count_all")]).to_pylist():
        language, reason, count = row["language"], row["reason"], row["count_all"]
        books = found["languages"].setdefault(language, {"read": 0, "kept": 0})
        books["read"] += count
        books["kept"] += 0 if reason else count
        if reason:
            found["by_language"].setdefault(language, {})[reason] = count
    return found


def _shortened(domains: pa.Array, spans: pa.Array) -> Tally:
    lengths_N = pc.fill_null(pc.list_value_length(spans), 0).to_numpy()
    bounds = spans.flatten().to_numpy().reshape(-1, 2)
    sums = np.concatenate([[0], np.cumsum(bounds[:, 1] - bounds[:, 0])])
    ends = np.concatenate([[0], np.cumsum(lengths_N // 2)])
    table = pa.table({"domain": domains, "bytes": sums[ends[1:]] - sums[ends[:-1]]}).filter(pa.array(lengths_N > 0))
    groups = table.group_by("domain", use_threads=False).aggregate([("bytes", "count"), ("bytes", "sum")])
    return {row["domain"]: {"documents": row["bytes_count"], "bytes": row["bytes_sum"]} for row in groups.to_pylist()}


def told(totals: Tally) -> dict[str, Any]:
    """Return the facts of the step: how many documents break each rule, in all and by domain, and no other one."""
    broken = totals.get("broken", {})
    facts: dict[str, Any] = {
        "would_drop": {rule: sum(domains.values()) for rule, domains in broken.items()},
        "would_drop_by_domain": broken,
        "only_this_rule": totals.get("alone", {}),
    }
    names = {"languages": "languages", "by_language": "dropped_by_language", "shortened": "shortened"}
    return facts | {fact: totals[name] for name, fact in names.items() if totals.get(name)}
