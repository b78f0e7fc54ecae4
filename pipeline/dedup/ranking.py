"""Which of several like documents is the better one: the one total order by which copies and keepers are chosen.

    key = (rank by `keep`, doc_id, address)

    longest          bytes, most first
    source_priority  place of the domain in `priority`, then bytes, most first
    oldest, newest   the time in the documents' extra `column`; documents without one come last
    best_score       the number in the extra `column`, or in a corpus of scores, highest first; without one last

The doc_id, two unsigned numbers of 64 bits, decides between documents of equal rank. The address, a place, is asked
last: only rows of one doc_id, so of one text and domain, come to it.
"""

from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field, model_validator

from pipeline.errors import DataError
from pipeline.stage import Params

LAST = np.iinfo(np.int64).max
"""The rank of a document that has no time or score: no other is worse."""

_LONGEST_BYTES = 40
_DIGITS = r"^\s*[+-]?\d+(\.\d*)?\s*$"


class Keeper(Params):
    """Which of several like documents stays."""

    keep: Literal["longest", "best_score", "oldest", "newest", "source_priority"] = "longest"
    priority: tuple[str, ...] = Field((), max_length=1 << 20)
    column: str | None = None

    @model_validator(mode="after")
    def _what_it_needs_is_given(self) -> "Keeper":
        if self.keep == "source_priority" and not self.priority:
            raise ValueError("keep: source_priority needs `priority`, the domains from the best to the worst")
        if self.keep in ("oldest", "newest") and self.column is None:
            raise ValueError(f"keep: {self.keep} needs `column`, the extra column of the documents that holds a time")
        if self.keep in ("longest", "source_priority") and self.column is not None:
            raise ValueError(f"keep: {self.keep} reads no column; leave `column` to oldest, newest and best_score")
        if self.keep != "source_priority" and self.priority:
            raise ValueError(f"keep: {self.keep} does not look at `priority`; say keep: source_priority")
        return self

    def columns(self) -> tuple[str, ...]:
        """Return the columns of documents that the order needs."""
        return ("doc_id", "domain", "bytes", *((self.column,) if self.column else ()))

    def scores(self) -> dict[str, tuple[str, ...]]:
        """Return the columns asked of the role `scores`, none unless a corpus of scores decides."""
        return {"scores": ("score",)} if self.keep == "best_score" and self.column is None else {}


def only(params: Keeper) -> Keeper:
    """Return the part of a stage's params that ranks documents."""
    return Keeper(**params.model_dump(include=set(Keeper.model_fields)))


def ranks(batch: pa.RecordBatch, keeper: Keeper) -> np.ndarray:
    """Return int64 [N], smaller for the better document; ties are for the doc_id to break.

    Raises:
        DataError: the column holds a word that is neither a time nor a number.
    """
    if keeper.keep == "longest":
        return -batch["bytes"].to_numpy()
    if keeper.keep == "source_priority":
        shorter = (1 << _LONGEST_BYTES) - 1 - np.minimum(batch["bytes"].to_numpy(), (1 << _LONGEST_BYTES) - 1)
        return priority(batch["domain"], keeper.priority).astype(np.int64) << _LONGEST_BYTES | shorter
    if keeper.keep == "best_score":
        values = batch["score"] if keeper.column is None else _parsed(batch[keeper.column], keeper.column, _numbers)
        values = pc.if_else(pc.is_nan(values), pa.scalar(None, values.type), values)
        return _or_last(-_ordered(np.asarray(pc.fill_null(pc.cast(values, pa.float64()), 0.0))), values)
    times = _parsed(batch[keeper.column], str(keeper.column), _times)
    microseconds = np.asarray(pc.fill_null(times, 0))
    return _or_last(microseconds if keeper.keep == "oldest" else -microseconds, times)


def priority(domains: pa.Array, order: Sequence[str]) -> np.ndarray:
    """Return int32 [N], the place of each document's domain in `order`; a domain that is not in it comes behind all."""
    places = pc.index_in(domains, value_set=pa.array(order, pa.string()))
    return pc.fill_null(places, len(order)).to_numpy(zero_copy_only=False).astype(np.int32)


def best_first(*keys: np.ndarray) -> np.ndarray:
    """Return the order (int64 [N]) that sorts by the keys, the first key first."""
    return np.lexsort(keys[::-1])


def _or_last(ranks_N: np.ndarray, values: pa.Array) -> np.ndarray:
    return np.where(np.asarray(values.is_valid()), ranks_N, LAST)


def _ordered(values_N: np.ndarray) -> np.ndarray:
    """Return floats as int64 in the same order: the bits of a negative one are turned round."""
    bits = (values_N + 0.0).view(np.int64)  # -0.0 becomes 0.0
    return np.where(bits < 0, ~bits ^ np.int64(-(2**63)), bits)


def _parsed(texts: pa.Array, column: str, parse: Callable[[pa.Array], pa.Array]) -> pa.Array:
    try:
        texts = pc.utf8_trim_whitespace(texts)
        return parse(pc.if_else(pc.equal(texts, ""), pa.scalar(None, texts.type), texts))
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise DataError(
            f"the column {column!r} shall tell which of several like documents stays. It holds what is neither empty "
            f"nor a {'number' if parse is _numbers else 'time (ISO 8601, or seconds since 1970)'}: "
            f"{str(error).partition('. ')[0]}. Mend the source, or choose another `column` or `keep`."
        ) from None


def _numbers(texts: pa.Array) -> pa.Array:
    return pc.cast(texts, pa.float64())


def _times(texts: pa.Array) -> pa.Array:
    """Return microseconds since 1970 as int64: of ISO 8601, without a zone taken as UTC, or of a number of seconds."""
    numeric = pc.fill_null(pc.match_substring_regex(texts, _DIGITS), False)
    seconds = pc.cast(pc.if_else(numeric, texts, pa.scalar(None, texts.type)), pa.float64())
    words = pc.if_else(numeric, pa.scalar(None, texts.type), texts)
    words = pc.replace_substring_regex(words, r"(\.\d{6})\d+", r"\1")
    zoned = pc.fill_null(pc.match_substring_regex(words, r":\d\d.*(Z|[+-]\d\d:?\d\d)$"), False)
    with_zone = pc.if_else(zoned, words, pa.scalar(None, texts.type))
    without = pc.if_else(zoned, pa.scalar(None, texts.type), words)
    return pc.coalesce(
        pc.cast(pc.cast(with_zone, pa.timestamp("us", "UTC")), pa.int64()),
        pc.cast(pc.cast(without, pa.timestamp("us")), pa.int64()),
        pc.cast(pc.round(pc.multiply(seconds, 1e6)), pa.int64()),
    )
