"""Every use of a document, sent to the window that packs it."""

from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.errors import DataError
from pipeline.kernels.document_cost import Rule
from pipeline.kernels.permutation import key_of, mix64
from pipeline.schemas import DOC_ID, doc_ids
from pipeline.tokens import selection
from pipeline.tokens.column import TOKENS, token_values
from pipeline.tokens.selection import Share
from pipeline.tokens.weights import WEIGHTS, weight_column

_WINDOW_KEY = 1
CARRIED = ("tokens", WEIGHTS)
"""The columns whose values are laid into the rows."""


class Chosen(NamedTuple):
    """What every worker needs to know about the choice; `cuts` are selection.CUT, one a share."""

    shares: list[Share]
    cuts: np.ndarray
    rule: Rule
    seed: int
    windows: int
    dtype: np.dtype
    bos_id: int | None


def scatter_uses(batch: pa.RecordBatch, *, chosen: Chosen) -> tuple[pa.RecordBatch, np.ndarray]:
    """Return one row per use of a document of `batch`, and the window it goes to.

    Raises:
        DataError: the mask keeps a document that was not encoded, a text encodes to BOS, or weights do not fit.
    """
    _refuse_unencoded(batch)
    _refuse_bos(batch, chosen)
    code, ids = selection.codes(batch, chosen.shares), doc_ids(batch["doc_id"])
    draws = selection.last_draws(batch, code, chosen.shares, chosen.seed)
    passes = np.array([share.passes for share in chosen.shares])[code]
    cuts = chosen.cuts[code]
    in_last = selection.below(cuts, draws, ids) | selection.at(cuts, draws, ids)
    uses = np.where(selection.costs(batch, chosen.rule).packed > 0, passes + in_last, 0)
    row = np.repeat(np.arange(len(code)), uses)
    use = np.arange(len(row)) - np.repeat(np.cumsum(uses) - uses, uses)
    hashes = _hashes(ids[row], use, key_of(chosen.seed, _WINDOW_KEY))
    carried = {"doc_id": batch["doc_id"], "tokens": batch["tokens"]}
    if WEIGHTS in batch.schema.names:
        carried[WEIGHTS] = weight_column(batch)
    # Most often every document is used once: then the tokens, nearly all of the bytes, need no copy here.
    if not np.array_equal(row, np.arange(len(code))):
        carried = {name: column.take(pa.array(row)) for name, column in carried.items()}
    columns = {
        "doc_id": carried.pop("doc_id"),
        "pass": pa.array(use.astype(np.uint16)),
        "domain": pa.array(code[row].astype(np.uint16)),
        "last": pa.array(use == passes[row]),
        "draw": pa.array(draws[row]),
        "hash": pa.array(hashes),
    }
    return pa.record_batch(columns | carried), (mix64(hashes) % np.uint64(chosen.windows)).astype(np.uint32)


def no_uses() -> pa.Table:
    """Return the table of a window that no use was sent to."""
    names = {"doc_id": DOC_ID, "pass": pa.uint16(), "domain": pa.uint16(), "last": pa.bool_(), "draw": pa.uint64()}
    types = names | {"hash": pa.uint64()} | dict.fromkeys(CARRIED, TOKENS)
    return pa.schema(list(types.items())).empty_table()


def _hashes(ids: np.ndarray, use: np.ndarray, key: int) -> np.ndarray:
    return mix64(mix64(mix64(ids[:, 0] ^ np.uint64(key)) ^ ids[:, 1]) + use.astype(np.uint64))


def _refuse_unencoded(batch: pa.RecordBatch) -> None:
    lost = pc.and_(batch["keep"], batch["tokens"].is_null())
    if lost.true_count:
        doc_id = batch["doc_id"].filter(lost)[0].as_py().hex()
        raise DataError(
            f"the mask keeps document {doc_id}, which was not encoded: the tokens were made under a stricter mask. "
            "Encode under this mask, or an earlier one"
        )


def _refuse_bos(batch: pa.RecordBatch, chosen: Chosen) -> None:
    if chosen.bos_id is None:
        return
    kept = batch.filter(batch["keep"])
    ids, first, length = token_values(kept["tokens"], chosen.dtype)
    if not len(places := np.flatnonzero(ids[first[0] if len(first) else 0 :] == chosen.bos_id)):
        return
    row = int(np.searchsorted(np.cumsum(length), places[0], "right"))
    raise DataError(
        f"document {kept['doc_id'][row].as_py().hex()}: its text encodes to the BOS ({chosen.bos_id}), so a document "
        "would begin where none begins. Name a token that ordinary text cannot make"
    )
