"""Write what later builds need to find this build's documents again: sorted band keys and text hashes.

Reads documents, bands, the mask that went into the bands and the last mask of deduplication; writes shards

    bands-*.parquet   key, rank, address                    the bands of every document compared, the best first a key
    texts-*.parquet   key, high, doc_id, domain, address    the hash (MurmurHash3 x64 128) of every distinct text

sorted by key, the keys as differences (DELTA_BINARY_PACKED), each file a range of keys of equal length. The facts name
the documents and the mask that the addresses count in; they are read again for candidates only. Documents that were
dropped as near duplicates are in the index as well: how many documents share a key decides how it is worked off, and
that must not depend on what was built in one go.

With `compact`, the indexes of earlier builds (roles earlier.0, earlier.1 ...) are merged in, before this build's own
rows: the result stands for all of them, and a later build names it alone.
"""

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
from pydantic import Field

from pipeline import schemas
from pipeline.corpus import Corpus
from pipeline.dedup import bands, earlier, ranking
from pipeline.dedup.ranking import Keeper
from pipeline.kernels import hashing, whitespace
from pipeline.ledger import Tally
from pipeline.parquet import ShardWriter
from pipeline.shuffle import Blocks
from pipeline.stage import Stage, Step
from pipeline.store import Attempt
from pipeline.tasks import Task

_BAND_BYTES, _TEXT_BYTES = 32, 64


class IndexParams(Keeper):
    """The order of the documents of one key, and when they were like: those of the build's other steps.

    `compact` merges the indexes of earlier builds.
    """

    threshold: float = Field(0.8, gt=0, le=1)
    containment: float | None = Field(None, gt=0, le=1)
    compact: bool = False


def band_rows(batch: pa.RecordBatch, *, keeper: Keeper, partitions: int) -> tuple[pa.RecordBatch, np.ndarray]:
    """Return (key, rank, id, address) of every band, and the range of the key."""
    rows = batch.filter(batch["bands"].is_valid())
    keys_NB = bands.matrix(rows["bands"])
    narrow = {"rank": ranking.ranks(rows, keeper), "id": schemas.doc_ids(rows["doc_id"])[:, 0]}
    narrow["address"] = rows["address"].to_numpy()
    keys_M = keys_NB.reshape(-1)
    columns = {name: np.repeat(column, keys_NB.shape[1]) for name, column in narrow.items()}
    return pa.record_batch({"key": keys_M, **columns}), earlier.range_of(keys_M, partitions)


def text_rows(batch: pa.RecordBatch, *, partitions: int) -> tuple[pa.RecordBatch, np.ndarray]:
    """Return (key, high, doc_id, domain, address) of every kept document, and the range of the key."""
    rows = batch.filter(batch["keep"])
    hashes_N2 = hashing.murmur128(*whitespace.collapse(*schemas.text_buffers(rows["text"])))
    columns = {"key": hashes_N2[:, 0], "high": hashes_N2[:, 1]}
    columns |= {name: rows[name] for name in ("doc_id", "domain", "address")}
    return pa.record_batch(columns), earlier.range_of(hashes_N2[:, 0], partitions)


def write_range(
    task: Task, attempt: Attempt, *, kind: str, blocks: Blocks, indexes: tuple[earlier.Index, ...], moved: int
) -> Tally:
    """Write one range of keys: the rows of the indexes, the earliest first, and this build's own behind them.

    Args:
        moved: by how many shards this build's own addresses lie behind those of the indexes.
    """
    name, part = f"{task.key}.parquet", task.payload
    schema = earlier.BANDS_SCHEMA if kind == earlier.BANDS else earlier.TEXTS_SCHEMA
    tables = [table.select(schema.names) for index in indexes for table in index.rows(kind, part, blocks.partitions)]
    own = blocks.read(part)
    if own is not None:
        addresses = own["address"].to_numpy() + (np.uint64(moved) << np.uint64(32))
        own = own.set_column(own.schema.get_field_index("address"), "address", pa.array(addresses))
        tables.append(own.take(pa.array(_order(own))).select(schema.names))
    with ShardWriter(attempt.path(name), schema) as writer:
        for batch in _by_key(tables, schema):
            writer.write(batch)
    attempt.rows(name, writer.rows)
    return {}


def _order(table: pa.Table) -> np.ndarray:
    names = ("key", "rank", "id", "address") if "rank" in table.schema.names else ("key", "high", "address")
    return ranking.best_first(*(table[name].to_numpy() for name in names))


def _by_key(tables: list[pa.Table], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """Yield all rows by key; those of one key in the order of the tables."""
    if tables:
        table = pa.concat_tables([table.cast(schema) for table in tables])
        order = np.argsort(table["key"].to_numpy(), kind="stable")
        yield from table.take(pa.array(order)).combine_chunks().to_batches()


def index(step: Step, params: IndexParams) -> None:
    """Shuffle both kinds by ranges of keys and write each range."""
    keeper = ranking.only(params)
    given = earlier.indexes(step) if params.compact else ()
    sources = [s for role in earlier.roles(list(step.inputs)) for s in step.inputs[role].manifest.facts["sources"]]
    sources = sources if params.compact else []
    moved = sum(source["shards"] for source in sources)
    # An address of the new index counts from its own first source.
    given = tuple(earlier.Index(i.folder, i.ranges, i.first_ordinal - earlier.new_shards(step)) for i in given)
    source, documents = step.inputs["bands"].manifest, step.inputs["documents"]
    of_bands = step.partitions((source.rows * source.params["bands"] + earlier.index_rows(step, "bands")) * _BAND_BYTES)
    of_texts = step.partitions((source.rows + earlier.index_rows(step, "texts")) * _TEXT_BYTES)
    by_band = step.scatter(
        partial(band_rows, keeper=keeper, partitions=of_bands),
        columns={"documents": (*params.columns(), "address"), "bands": ("bands",), **params.scores()},
        partitions=of_bands,
    )
    by_text = step.scatter(
        partial(text_rows, partitions=of_texts),
        columns={"documents": ("doc_id", "domain", "text", "address"), "compared": ("keep",)},
        partitions=of_texts,
    )
    for kind, blocks in ((earlier.BANDS, by_band), (earlier.TEXTS, by_text)):
        todo = [Task(f"{kind}-{part:05d}", payload=part) for part in range(blocks.partitions)]
        step.produce(partial(write_range, kind=kind, blocks=blocks, indexes=given, moved=moved), todo)
    own = {
        "documents": documents.root.name,
        "mask": step.inputs["mask"].root.name,
        "shards": len(documents.manifest.shards),
        "rows": documents.manifest.rows,
    }
    made_with = earlier.sketch(source.version, source.params) | earlier.order(params) | earlier.likeness(params)
    step.note(made_with=made_with, sources=[*sources, own])


def _agree(params: IndexParams, inputs: Mapping[str, Any], outside: Mapping[str, Corpus]) -> None:
    earlier.agree_on_bands(params, inputs, outside)
    earlier.agree_on_likeness(params, inputs, outside)


INDEX = Stage(
    "dedup.index",
    version=1,
    params=IndexParams,
    inputs=("documents", "bands", "compared", "mask"),
    run=index,
    optional=("scores", "earlier.*"),
    agree=_agree,
)
