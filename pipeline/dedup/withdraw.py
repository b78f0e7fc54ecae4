"""Take documents out that must not be used any more: a list of doc_ids, and every exact copy of their texts.

Reads documents, the file `ids` (and the latest mask, and the mask of `dedup.exact`); writes a mask. In the file a line
is the doc_id of a document in hexadecimal, 32 digits; what follows a `#` is a comment. Ids of no document of this build
are counted and told, and are no error: one list serves many builds.

It stands behind `dedup.exact`, whose mask tells whose copy a document is: if the listed document was dropped as a copy,
the one that was kept for it goes, since it is the same text. It stands before the bands, so all that a withdrawn
document shadowed as a near duplicate is decided anew, as if the text had never been there.
"""

import binascii
from collections.abc import Iterator, Mapping
from functools import lru_cache, partial
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from pipeline import schemas
from pipeline.errors import ConfigError
from pipeline.stage import Params, Stage, Step

REASON = "withdrawn"
SCHEMA = schemas.mask()


class WithdrawParams(Params):
    """Nothing is to be chosen here: the list is an input, identified by its content."""


@lru_cache(maxsize=4)
def read_ids(path: Path) -> pa.Array:
    """Return the ids of a list, distinct.

    Raises:
        ConfigError: a line is no doc_id; names the file and the line.
    """
    ids: dict[bytes, None] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
        word = line.partition("#")[0].strip()
        if not word:
            continue
        try:
            value = binascii.unhexlify(word)
        except ValueError:
            value = b""
        if len(value) != schemas.DOC_ID.byte_width:
            raise ConfigError(
                f"{path}, line {number}: {word[:40]!r} is no doc_id (32 hexadecimal digits, as `corpusmill duplicates` "
                "prints them)"
            )
        ids[value] = None
    return pa.array(list(ids), schemas.DOC_ID)


Found = tuple[set[bytes], set[bytes]]


def listed(batches: Iterator[pa.RecordBatch], path: Path) -> Found:
    """Return the ids of the list that a shard has, and of those that are exact copies there whose copies they are."""
    ids: set[bytes] = set()
    keepers: set[bytes] = set()
    for batch in batches:
        rows = batch.filter(pc.is_in(batch["doc_id"], value_set=read_ids(path)))
        ids |= set(rows["doc_id"].to_pylist())
        if "keeper" in rows.schema.names:
            keepers |= set(rows["keeper"].drop_null().to_pylist())
    return ids, keepers


def withdraw_batch(batch: pa.RecordBatch, path: Path, more: tuple[str, ...]) -> pa.RecordBatch:
    """Return the mask of a batch; `more` are doc_ids in hexadecimal that go with those of the list."""
    gone = pa.concat_arrays([read_ids(path), pa.array([bytes.fromhex(i) for i in more], schemas.DOC_ID)])
    drop = pc.is_in(batch["doc_id"], value_set=gone)
    return pa.record_batch(schemas.decide(batch, drop, REASON), schema=SCHEMA)


def withdraw(step: Step, params: WithdrawParams) -> None:
    """Find whose copies the listed documents are, then drop both."""
    path = step.file("ids", "ids.txt")
    exact = {"exact": ("keeper",)} if "exact" in step.inputs else {}
    columns = {"documents": ("doc_id",), **exact}
    ids, keepers = step.fold(partial(listed, path=path), _union, columns=columns) or (set(), set())
    more = tuple(sorted(keeper.hex() for keeper in keepers))
    step.map_shards(
        partial(withdraw_batch, path=path, more=more),
        columns={"documents": ("doc_id", "domain", "bytes"), "mask": schemas.MASK},
        schema=SCHEMA,
    )
    number = len(read_ids(path))
    step.note(ids_listed=number, ids_found=len(ids), same_text_kept_for_them=len(keepers - ids))
    if missing := number - len(ids):
        step.note(notes=[f"{missing:,} of {number:,} listed ids are of no document of this build"])
    elif not number:
        step.note(notes=["the list names no id, so nothing is withdrawn"])


def _union(left: Found, right: Found) -> Found:
    return left[0] | right[0], left[1] | right[1]


def check(params: WithdrawParams, files: Mapping[str, Path]) -> None:
    """Refuse a list that cannot be read, before anything runs."""
    if "ids" in files:
        read_ids(files["ids"])


WITHDRAW = Stage(
    "dedup.withdraw",
    version=1,
    params=WithdrawParams,
    inputs=("documents", "ids"),
    run=withdraw,
    optional=("mask", "exact"),
    check=check,
)
