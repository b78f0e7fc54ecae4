"""What `corpusmill duplicates` tells of one document: whether it stayed, as whose copy it went, who went as its copy.

Reads the masks and the narrow columns of the documents, shard by shard, and of the texts only the row groups of the two
documents that are compared.
"""

import heapq
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline import describe_earlier, kept, parquet, places, schemas, word_diff
from pipeline.builds import Build
from pipeline.description import Description
from pipeline.errors import ConfigError, DataError
from pipeline.places import Place
from pipeline.word_diff import Change

EXACT, KEEP = "dedup.exact", "dedup.keep"
COPY = "exact_duplicate"
LISTED = 20
"""Members of a cluster, and documents that went as copies of one, that are listed."""
LEAST_DIGITS, ALL_DIGITS = 8, 32
LINES = 24
OF_DOCUMENTS = ("doc_id", "domain", "bytes", "source_id")
OF_MASKS = (
    *("keep", "reason", "keeper", "similarity", "containment", "cluster", "cluster_size", "copies", "supersedes"),
)

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Duplicates:
    """A document and its duplicates; documents are plain JSON objects, the same fields everywhere.

    `step` and `reason` say where and why it was dropped, None where it stayed. `cluster` has its doc_id, size and
    members; `shadows` are the documents that went as copies of this one. `differences` lead from the keeper's words to
    this document's; they are shortened unless the whole was asked for.
    """

    build: str
    document: Row
    step: str | None
    reason: str | None
    keeper: Row | None
    cluster: Row | None
    shadows: Row
    differences: tuple[Change, ...] = ()
    whole: bool = False

    def to_json(self) -> dict[str, Any]:
        """Return all of it as plain JSON."""
        return {
            "build": self.build,
            "document": dict(self.document),
            "kept": self.step is None,
            "step": self.step,
            "reason": self.reason,
            "keeper": None if self.keeper is None else dict(self.keeper),
            "cluster": None if self.cluster is None else dict(self.cluster),
            "shadows": dict(self.shadows),
            "differences": [change._asdict() for change in self.differences],
        }

    def to_text(self, width: int | None = None) -> str:
        """Return it for a screen of so many columns; that of the terminal if None."""
        width = width or max(60, shutil.get_terminal_size((120, 40)).columns)
        verdict = "kept" if self.step is None else f"dropped by {self.step} ({self.reason})"
        summary = {"verdict": verdict} | {
            name: value for name, value in self.document.items() if name not in ("keep", "reason")
        }
        tables = {}
        if self.cluster:
            size, members = self.cluster["size"], self.cluster["members"]
            tables[f"its cluster: {size:,} documents{_first_of(size)}"] = members
        if count := self.shadows["count"]:
            title = f"dropped as copies of this one: {count:,}{_first_of(count)}"
            tables[title] = self.shadows["documents"]
        details = {"its keeper": self.keeper} if self.keeper else {}
        text = Description("document", self.build, summary, tables, details).to_text(width)
        return f"{text}\n\n{self._differences(width)}" if self.keeper else text

    def _differences(self, width: int) -> str:
        if not self.differences:
            return "the two texts cannot be compared: the keeper's is neither in this build nor in an earlier one"
        if all(change.kind == "same" for change in self.differences):
            return "the two texts have the same words in the same order; at most their white space differs"
        told = word_diff.rendered(self.differences, width - 4, None if self.whole else LINES)
        note = "" if self.whole else "; --full shows it whole"
        head = f"from its keeper's text to its own: [-only the keeper-] {{+only this document+}}{note}"
        return "\n".join([head, *(f"    {line}" for line in told.splitlines())])


def _first_of(count: int) -> str:
    return f", the first {LISTED}" if count > LISTED else ""


def duplicates(build: Build, name: str, *, source_id: bool = False, full: bool = False) -> Duplicates:
    """Return what happened to the document called `name`, and to those like it.

    Args:
        name: the doc_id in hex, or at least its first 8 digits.
        source_id: `name` is the id that the document had in its source.
        full: the differences of the two texts are not shortened.

    Raises:
        ConfigError: no document or more than one is called so, or the build removes no duplicates.
        DataError: what the build has written cannot be read.
    """
    search = _Search(build)
    try:
        return _told(search, search.named(name, source_id), full)
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{build.folder}: a shard cannot be read ({error}); build again") from None


def _told(search: "_Search", document: Row, full: bool) -> Duplicates:
    step, reason = search.decided(document["place"])
    own = document["doc_id"]
    keeper, old = None, None
    if document["keeper"] is not None:
        others = [row for row in search.rows(own_ids=document["keeper"]) if row["place"] != document["place"]]
        keeper = min(others, key=_kept_first, default=None)
        old = describe_earlier.find(search.build, document["keeper"]) if keeper is None else None
    cluster = document["cluster"] or (keeper or document)["cluster"]
    members, size = _best(search.rows(cluster=cluster)) if cluster else ([], 0)
    # Rows that have one text and domain have one doc_id, and a copy must not pass for the one that stands for it.
    alone = document["reason"] == COPY
    shadows, count = ([], 0) if alone else _best(search.rows(keeper=own))
    return Duplicates(
        build=str(search.build.folder),
        document=_plain(document),
        step=step,
        reason=reason,
        keeper=_keeper(document, keeper, old),
        cluster={"doc_id": cluster.hex(), "size": size, "members": _listed(members)} if cluster else None,
        shadows={"count": count, "documents": _listed(shadows)},
        differences=_differences(search, keeper, old, document, full) if keeper or old else (),
        whole=full,
    )


def _keeper(document: Row, keeper: Row | None, old: Row | None) -> Row | None:
    """Return the keeper as plain JSON, be it of this build or an old one; of one that is gone, its doc_id."""
    if document["keeper"] is None:
        return None
    like = {name: document[name] for name in ("similarity", "containment") if document[name] is not None}
    if keeper is not None:
        return {name: value for name, value in _plain(keeper).items() if name not in like} | like
    own = {"doc_id": document["keeper"].hex()}
    if old is None:
        return own | {"found": "not in this build"} | like
    told = {name: old[name] for name in ("domain", "bytes", "source_id") if old[name] is not None}
    return own | told | {"found": f"in an earlier build, {old['folder']}"} | like


def _differences(
    search: "_Search", keeper: Row | None, old: Row | None, document: Row, full: bool
) -> tuple[Change, ...]:
    wanted = [row["place"] for row in (keeper, document) if row is not None]
    texts = {place: row["text"] for place, row in places.values(search.documents, wanted, ("text",))}
    first = old["text"] if old is not None else texts[wanted[0]]
    runs = word_diff.changes(first, texts[document["place"]])
    return tuple(runs if full else word_diff.shortened(runs))


def _kept_first(row: Row) -> tuple[bool, bool, float, bytes, Place]:
    similarity = row["similarity"] if row["similarity"] is not None else 0.0
    return not row["keep"], row["reason"] == COPY, -similarity, row["doc_id"], row["place"]


def _best(rows: Iterable[Row]) -> tuple[list[Row], int]:
    """Return those of the rows that are listed, the kept ones and the most similar first, and how many there are."""
    best: list[Row] = []
    count = 0
    for row in rows:
        count += 1
        best.append(row)
        if len(best) > 50 * LISTED:
            best = heapq.nsmallest(LISTED, best, key=_kept_first)
    return heapq.nsmallest(LISTED, best, key=_kept_first), count


def _plain(row: Row) -> dict[str, Any]:
    """Return a row as plain JSON, without what says nothing of it."""
    values = {"keep": row["keep"]} | {name: row[name] for name in (*OF_DOCUMENTS, *OF_MASKS)}
    plain = {name: _hex(value) for name, value in values.items()}
    return {name: value for name, value in plain.items() if value is not None and name not in ("cluster_size",)}


def _hex(value: Any) -> Any:
    """Return doc_ids, one or a list of them, in hex."""
    if isinstance(value, list):
        return [_hex(each) for each in value] or None
    return value.hex() if isinstance(value, bytes) else value


def _listed(rows: Iterable[Row]) -> list[dict[str, Any]]:
    """Return rows for a table: what differs between the documents of one cluster."""
    return [
        {
            "doc_id": row["doc_id"].hex(),
            "kept": row["keep"],
            "reason": row["reason"],
            "domain": row["domain"],
            "bytes": row["bytes"],
            "similarity": row["similarity"],
            "containment": row["containment"],
        }
        for row in rows
    ]


class _Search:
    """Rows of the documents of a build and of the mask of its last deduplication, side by side."""

    def __init__(self, build: Build):
        self.build = build
        steps = [c for stage in (EXACT, KEEP) for c in build.corpora.values() if c.manifest.stage == stage]
        if not steps:
            raise ConfigError(
                f"{build.folder} removes no duplicates: it has no step of {EXACT} or {KEEP}; a recipe asks for them "
                "with a section `dedup:`"
            )
        self.mask = steps[-1]
        self.documents = kept.played(build, self.mask, "documents")

    @cached_property
    def _columns(self) -> tuple[str, ...]:
        """The columns of the mask; that of exact copies alone has fewer."""
        first = next((path for path in self.mask.paths()), None)
        names = set(pq.read_schema(first).names) if first else set()
        return tuple(name for name in OF_MASKS if name in names)

    def _batches(
        self, of_documents: tuple[str, ...], of_mask: tuple[str, ...] = ()
    ) -> Iterator[tuple[str, int, pa.RecordBatch]]:
        """Yield (shard, its row at which the batch begins, batch)."""
        for shard in self.documents.manifest.shards:
            wanted = {self.documents.path(shard): of_documents} | ({self.mask.path(shard): of_mask} if of_mask else {})
            row = 0
            for batch in parquet.read_zipped(wanted):
                yield shard.name, row, batch
                row += batch.num_rows

    def rows(
        self, *, own_ids: bytes | None = None, keeper: bytes | None = None, cluster: bytes | None = None
    ) -> Iterator[Row]:
        """Yield the rows whose doc_id, keeper or cluster is the given one."""
        name, value = next(
            (n, v) for n, v in (("doc_id", own_ids), ("keeper", keeper), ("cluster", cluster)) if v is not None
        )
        if name not in (*OF_DOCUMENTS, *self._columns):
            return
        for shard, first, batch in self._batches(OF_DOCUMENTS, self._columns):
            if len(found := np.flatnonzero(_equal(batch[name], value))):
                picked = batch.take(pa.array(found)).to_pylist()
                for at, row in zip(found.tolist(), picked, strict=True):
                    yield dict.fromkeys(OF_MASKS) | row | {"place": Place(shard, first + at)}

    def named(self, name: str, source_id: bool) -> Row:
        """Return the one document of this name; of rows with one doc_id, the one that stayed before its copies.

        Raises:
            ConfigError: there is none or more than one.
        """
        found = list(self._of_source(name) if source_id else self._of_prefix(_digits(name)))
        ids = sorted({doc_id for doc_id, _ in found})
        if not ids:
            kind = "source_id" if source_id else "doc_id"
            raise ConfigError(
                f"no document of {self.documents.root} has the {kind} {name}. `corpusmill show {self.documents.root}` "
                f"shows one{'' if source_id else '; for the id that a document had in its source add --source-id'}"
            )
        if len(ids) > 1:
            listed = "\n".join(f"  {doc_id.hex()}" for doc_id in ids[:LISTED])
            more = f"\n  … {len(ids) - LISTED:,} more" if len(ids) > LISTED else ""
            raise ConfigError(f"{name} names {len(ids):,} documents; give one of their doc_ids:\n{listed}{more}")
        places_ = {place for _, place in found}
        return min((row for row in self.rows(own_ids=ids[0]) if row["place"] in places_), key=_kept_first)

    def _of_prefix(self, digits: str) -> Iterator[tuple[bytes, Place]]:
        known = np.frombuffer(bytes.fromhex(digits[: len(digits) // 2 * 2]), np.uint8)
        for shard, first, batch in self._batches(("doc_id",)):
            ids_N16 = np.ascontiguousarray(schemas.doc_ids(batch["doc_id"])).view(np.uint8).reshape(-1, 16)
            alike = (ids_N16[:, : len(known)] == known).all(axis=1)
            for at in np.flatnonzero(alike).tolist():
                doc_id = ids_N16[at].tobytes()
                if doc_id.hex().startswith(digits):
                    yield doc_id, Place(shard, first + at)

    def _of_source(self, name: str) -> Iterator[tuple[bytes, Place]]:
        for shard, first, batch in self._batches(("doc_id", "source_id")):
            for at in np.flatnonzero(_equal(batch["source_id"], name)).tolist():
                yield batch["doc_id"][at].as_py(), Place(shard, first + at)

    def decided(self, place: Place) -> tuple[str | None, str | None]:
        """Return (step, reason) of the step that dropped the row; (None, None) if it stayed to the end.

        A step before passages were cut out had other documents, in the same shards and rows.
        """
        for name, corpus in self.build.corpora.items():
            if kept.is_mask(corpus):
                ((_, row),) = places.values(corpus, [place], schemas.MASK)
                if not row["keep"]:
                    return name, row["reason"]
        return None, None


def _equal(column: pa.Array, value: bytes | str) -> np.ndarray:
    return np.asarray(pc.fill_null(pc.equal(column, pa.scalar(value, column.type)), False))


def _digits(name: str) -> str:
    digits = name.lower()
    if not re.fullmatch(rf"[0-9a-f]{{{LEAST_DIGITS},{ALL_DIGITS}}}", digits):
        raise ConfigError(
            f"{name!r} is no doc_id: that has {ALL_DIGITS} hexadecimal digits, of which the first {LEAST_DIGITS} or "
            "more are enough. For the id that a document had in its source add --source-id"
        )
    return digits
