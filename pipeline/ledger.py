"""Rows in = rows kept + rows dropped by reason, for every stage and domain; and the nested sums behind it.

A tally is a nested dict whose leaves are numbers; tallies of batches add up to those of shards, and those to a
stage's. The ledger of a stage is the tally `{domain: {rows_in, rows_kept, bytes_in, bytes_kept, dropped: {reason:
rows}, dropped_bytes: {reason: bytes}}}`.
"""

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.errors import DataError

Tally = dict[str, Any]


def add(total: Tally, part: Tally) -> Tally:
    """Add the numbers of `part` to `total`, place by place, and return `total`."""
    for key, value in part.items():
        if isinstance(value, dict):
            add(total.setdefault(key, {}), value)
        else:
            total[key] = total.get(key, 0) + value
    return total


def ordered(tally: Tally) -> Tally:
    """Return the tally with sorted keys, so that its JSON does not tell who arrived first."""
    return {key: ordered(value) if isinstance(value, dict) else value for key, value in sorted(tally.items())}


def count_decisions(before: pa.RecordBatch, after: pa.RecordBatch) -> Tally:
    """Return the ledger of one batch of a stage that decides.

    Rows in are the rows that `before` still kept; a row that `after` does not keep is dropped for its reason.

    Args:
        before: has domain, bytes and keep.
        after: has keep and reason.
    """
    alive = before["keep"]
    table = pa.table(
        {
            "domain": before["domain"].filter(alive),
            "bytes": before["bytes"].filter(alive),
            "reason": pc.fill_null(after["reason"].filter(alive), ""),
            "keep": after["keep"].filter(alive),
        }
    )
    groups = table.group_by(["domain", "reason", "keep"], use_threads=False).aggregate(
        [("bytes", "sum"), ("bytes", "count")]
    )
    ledger: Tally = {}
    for group in groups.to_pylist():
        rows, size = group["bytes_count"], group["bytes_sum"]
        part = entry(rows, size)
        if not group["keep"]:
            part = entry(rows, size, group["reason"])
        add(ledger, {group["domain"]: part})
    return ledger


def entry(rows: int, size: int, dropped: str | None = None) -> Tally:
    """Return the ledger entry of `rows` rows of `size` bytes that are kept, or dropped for a reason."""
    if dropped is None:
        return {"rows_in": rows, "rows_kept": rows, "bytes_in": size, "bytes_kept": size}
    kept = {"rows_in": rows, "rows_kept": 0, "bytes_in": size, "bytes_kept": 0}
    return kept | {"dropped": {dropped: rows}, "dropped_bytes": {dropped: size}}


def check(ledger: Tally, where: str) -> None:
    """Refuse books that do not balance.

    Raises:
        DataError: in a domain, rows in differ from rows kept plus rows dropped.
    """
    for domain, books in ledger.items():
        dropped = sum(books.get("dropped", {}).values())
        if books["rows_in"] != books["rows_kept"] + dropped:
            raise DataError(
                f"{where}: the books of domain {domain!r} do not balance: {books['rows_in']:,} rows in, "
                f"{books['rows_kept']:,} kept, {dropped:,} dropped ({books.get('dropped', {})}). "
                "Rows were lost or made; no manifest was written. This is a defect of the stage: please report it."
            )


def total(ledger: Tally) -> Tally:
    """Return the sum of a ledger over its domains."""
    books: Tally = {"rows_in": 0, "rows_kept": 0, "bytes_in": 0, "bytes_kept": 0, "dropped": {}}
    for domain_books in ledger.values():
        add(books, domain_books)
    return books
