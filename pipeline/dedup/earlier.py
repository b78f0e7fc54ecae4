"""What earlier builds know: their indexes opened, looked up and checked, and the texts they point to.

An index holds, sorted and cut by ranges of 64-bit keys,

    bands-*.parquet   key, rank, address     a row for every band of every document that was compared, best first a key
    texts-*.parquet   key, high, doc_id, domain, address    a row for every distinct text: its hash, 64 bits twice

An address counts in the shards of the builds that the index was made of, one after the other (`sources` in its facts);
here it is moved behind the shards of the new build's documents, and behind those of the indexes before it. So a
document of an earlier build is one whose shard ordinal is not below the number of new shards. It stays or has gone
already, and nothing new decides about it.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline import store
from pipeline.corpus import DATA, Corpus
from pipeline.errors import ConfigError, DataError
from pipeline.stage import Step, stem

ROLE = "earlier"
BANDS, TEXTS = "bands", "texts"
BANDS_SCHEMA = pa.schema(
    [
        pa.field("key", pa.uint64(), nullable=False),
        pa.field("rank", pa.int64(), nullable=False),
        pa.field("address", pa.uint64(), nullable=False),
    ]
)
TEXTS_SCHEMA = pa.schema(
    [
        pa.field("key", pa.uint64(), nullable=False),
        pa.field("high", pa.uint64(), nullable=False),
        pa.field("doc_id", pa.binary(16), nullable=False),
        pa.field("domain", pa.string(), nullable=False),
        pa.field("address", pa.uint64(), nullable=False),
    ]
)
_HALF = np.uint64(32)


@dataclass(frozen=True, slots=True)
class Index:
    """One index on disk: its folder, in how many ranges each kind is cut, and the ordinal of its first shard."""

    folder: Path
    ranges: Mapping[str, int]
    first_ordinal: int

    def rows(self, kind: str, part: int, parts: int, wanted: np.ndarray | None = None) -> Iterator[pa.Table]:
        """Yield the rows of the index with a key in range `part` of `parts`, by key, with addresses of the new build.

        Args:
            wanted: sorted uint64; only these keys then.
        """
        ranges = self.ranges[kind]
        for number in range(part * ranges // parts, -(-(part + 1) * ranges // parts)):
            for table in _filtered(self.folder / f"{kind}-{number:05d}.parquet", part, parts, wanted):
                moved = table["address"].to_numpy() + (np.uint64(self.first_ordinal) << _HALF)
                yield table.set_column(table.schema.get_field_index("address"), "address", pa.array(moved))


def range_of(keys: np.ndarray, parts: int) -> np.ndarray:
    """Return the range (uint32) of each key when all keys are cut into `parts` ranges of equal length."""
    return ((keys >> _HALF) * np.uint64(parts) >> _HALF).astype(np.uint32)


def _filtered(path: Path, part: int, parts: int, wanted: np.ndarray | None) -> Iterator[pa.Table]:
    with pq.ParquetFile(path, pre_buffer=False, page_checksum_verification=True) as file:
        for group in range(file.metadata.num_row_groups):
            statistics = file.metadata.row_group(group).column(0).statistics
            if not _meets(statistics, part, parts, wanted):
                continue
            for batch in file.iter_batches(1 << 16, row_groups=[group], use_threads=False):
                keys = batch["key"].to_numpy()
                chosen = range_of(keys, parts) == part
                if wanted is not None:
                    chosen &= _among(keys, wanted)
                if chosen.any():
                    yield pa.Table.from_batches([batch.filter(pa.array(chosen))])


def _meets(statistics: Any, part: int, parts: int, wanted: np.ndarray | None) -> bool:
    """Tell whether a row group may hold what is looked for, by its smallest and largest key."""
    if statistics is None or not statistics.has_min_max:
        return True
    least, most = np.array([statistics.min, statistics.max], np.uint64)
    low, high = range_of(np.array([least, most]), parts)
    if high < part or low > part:
        return False
    return wanted is None or bool(np.searchsorted(wanted, least) < np.searchsorted(wanted, most, side="right"))


def _among(keys: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    if not len(wanted):
        return np.zeros(len(keys), bool)
    return wanted[np.minimum(np.searchsorted(wanted, keys), len(wanted) - 1)] == keys


def roles(names: Sequence[str]) -> list[str]:
    """Return the roles that indexes play, in the order of their numbers: the earliest first."""
    return sorted((n for n in names if n.partition(".")[0] == ROLE), key=lambda n: int(n.partition(".")[2]))


def indexes(step: Step) -> tuple[Index, ...]:
    """Return the indexes a step was given."""
    found, ordinal = [], new_shards(step)
    for role in roles(list(step.inputs)):
        corpus = step.inputs[role]
        names = [shard.name for shard in corpus.manifest.shards]
        ranges = {kind: sum(name.startswith(f"{kind}-") for name in names) for kind in (BANDS, TEXTS)}
        found.append(Index(corpus.root / DATA, ranges, ordinal))
        ordinal += sum(source["shards"] for source in corpus.manifest.facts["sources"])
    return tuple(found)


def index_rows(step: Step, kind: str) -> int:
    """Return how many rows of a kind all indexes of a step have."""
    shards = (shard for role in roles(list(step.inputs)) for shard in step.inputs[role].manifest.shards)
    return sum(shard.rows for shard in shards if shard.name.startswith(f"{kind}-"))


def new_shards(step: Step) -> int:
    """Return how many shards the documents of this build have: documents with a higher ordinal are earlier ones."""
    return len(step.inputs["documents"].manifest.shards)


@dataclass(frozen=True, slots=True)
class OldShard:
    """Where the documents of one shard of an earlier build lie, and the mask beside them."""

    ordinal: int
    documents: Path
    mask: Path


def old_shards(step: Step) -> list[OldShard]:
    """Return the shards of all earlier builds, in the order of their ordinals.

    Raises:
        DataError: a corpus that an index points to is gone.
    """
    found: list[OldShard] = []
    for role in roles(list(step.inputs)):
        index = step.inputs[role]
        opened = pointed_to(index)
        for documents, mask in zip(opened[::2], opened[1::2], strict=True):
            for ours, theirs in zip(documents.manifest.shards, mask.manifest.shards, strict=True):
                if stem(ours) != stem(theirs):
                    raise DataError(f"{mask.root} is not the mask of {documents.root}; build its index again")
                ordinal = new_shards(step) + len(found)
                found.append(OldShard(ordinal, documents.path(ours), mask.path(theirs)))
    return found


def pointed_to(index: Corpus) -> list[Corpus]:
    """Return the documents and the mask of every build that an index was made of, one after the other."""
    return [
        _opened(index, source[name]) for source in index.manifest.facts["sources"] for name in ("documents", "mask")
    ]


def _opened(index: Corpus, name: str) -> Corpus:
    corpus = store.open_corpus(index.root.parent / name)
    if corpus is None:
        raise DataError(
            f"the index {index.root} points to documents in {index.root.parent / name}, where no finished corpus is; "
            "run the build that made it again"
        )
    return corpus


def read_kept(shard: OldShard, rows: np.ndarray) -> pa.Table:
    """Return (address, doc_id, domain, text) of those of the rows (int64, ascending) of an old shard that were kept.

    Only the row groups that hold one of them are read.
    """
    with pq.ParquetFile(shard.mask, pre_buffer=False, page_checksum_verification=True) as file:
        kept = np.asarray(file.read(columns=["keep"], use_threads=False)["keep"].combine_chunks())
    rows = rows[kept[rows]]
    parts, start = [], 0
    with pq.ParquetFile(shard.documents, pre_buffer=False, page_checksum_verification=True) as file:
        for group in range(file.metadata.num_row_groups):
            end = start + file.metadata.row_group(group).num_rows
            here = rows[(rows >= start) & (rows < end)]
            if len(here):
                table = file.read_row_group(group, columns=["doc_id", "domain", "text"], use_threads=False)
                parts.append(table.take(pa.array(here - start)))
            start = end
        schema = pa.schema([file.schema_arrow.field(name) for name in ("doc_id", "domain", "text")])
    table = pa.concat_tables(parts) if parts else schema.empty_table()
    addresses = (np.uint64(shard.ordinal) << _HALF) + rows.astype(np.uint64)
    return table.add_column(0, "address", pa.array(addresses, pa.uint64()))


def agree_on_bands(params: Any, inputs: Mapping[str, Any], outside: Mapping[str, Corpus]) -> None:
    """Refuse an index that was made with other shingles, bands or seeds than the bands it would be compared with.

    Where its ranks are compared with ours, because earlier documents do not win anyway or indexes are merged, the order
    of the documents must be the same as well.

    Args:
        params: those of `dedup.match` or `dedup.index`.
        inputs: role -> (version, params) of the step that plays it.
        outside: role -> corpus of an earlier build.

    Raises:
        ConfigError: names the index and every parameter that differs.
    """
    if not outside:
        return
    ours = sketch(*inputs["bands"])
    if not getattr(params, "earlier_wins", False):
        ours |= order(params)
    _agree(ours, outside, "the same document would not have the same bands, or not the same rank")


def agree_on_likeness(params: Any, inputs: Mapping[str, Any], outside: Mapping[str, Corpus]) -> None:
    """Refuse an index of a build in which other documents were like each other, or whose documents are gone.

    Its exact hashes name texts that it has dropped as near copies; by another measure nothing kept is like them. And
    the texts that it points to are compared with those of the new documents.

    Raises:
        ConfigError: as `agree_on_bands`; or names the corpus that is missing or damaged.
    """
    _agree(likeness(params), outside, "a text that was dropped there need not be like a document that is kept")
    for role in roles(list(outside)):
        for corpus in pointed_to(outside[role]):
            if damage := store.damage(corpus):
                raise ConfigError(
                    f"{role}: the index {outside[role].root} points to documents that are not whole: "
                    f"{damage[0]}; run the build that made it again"
                )


def _agree(ours: Mapping[str, Any], outside: Mapping[str, Corpus], why: str) -> None:
    for role in roles(list(outside)):
        corpus = outside[role]
        theirs = corpus.manifest.facts.get("made_with")
        if theirs is None:
            raise ConfigError(f"{role}: {corpus.root} is no index of dedup.index")
        differing = [f"{n} {theirs.get(n)!r} there, {v!r} here" for n, v in ours.items() if theirs.get(n) != v]
        if differing:
            raise ConfigError(
                f"{role}: the index {corpus.root} was made with other parameters: {'; '.join(differing)}: {why}. Give "
                "this recipe the same values, or build the index again with these."
            )


def order(params: Any) -> dict[str, Any]:
    """Return what must be equal for the ranks of two builds to be comparable."""
    return {"keep": params.keep, "priority": list(params.priority), "column": params.column}


def likeness(params: Any) -> dict[str, Any]:
    """Return what must be equal for two builds to take the same documents for like."""
    return {"threshold": params.threshold, "containment": params.containment}


def sketch(version: int, params: Mapping[str, Any]) -> dict[str, Any]:
    """Return what must be equal for the bands of two builds to be comparable."""
    return {"version of dedup.sign": version, **params}
