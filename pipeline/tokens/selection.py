"""Which documents a mixture plan takes, exactly: whole passes over a domain, then a part of one more.

In pass e a domain's documents stand in the order of (draw(seed, doc_id, e), doc_id). The last pass takes them from the
front until the plan's tokens are reached; the last one taken is cut. Where that is, is found with little memory: one
fold over the draws' upper bits, one over the documents of the single bin in which the cut lies.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.errors import DataError
from pipeline.kernels import hashing
from pipeline.kernels.document_cost import Cost, Rule, cost
from pipeline.schemas import BUCKET, doc_ids, mixed_domains
from pipeline.stage import Step

STREAM = 0x9AC00000
"""The draws of pass e are of stream STREAM + e; no other purpose uses these streams."""
BIN_BITS = 10
SURVEYED = 1 << 20
"""Bins of all domains together at the most: every shard sends two numbers for each."""


@dataclass(frozen=True, slots=True)
class Share:
    """What the plan takes of one domain: `passes` whole passes, then `rest` tokens of one more."""

    domain: str
    available: int
    passes: int
    rest: int

    @property
    def tokens(self) -> int:
        return self.passes * self.available + self.rest


CUT = np.dtype([("draw", "<u8"), ("low", "<u8"), ("high", "<u8"), ("tokens", "<i8")])
"""Where the last pass of a domain ends: documents below (draw, doc_id) are taken whole, this one gives `tokens`.

Equal documents have equal keys: they are taken one after the other until `tokens` are reached. Zeros are the cut of a
domain that has no part of a pass: no document lies below it.
"""


def shares_of(plan: Mapping[str, Any]) -> list[Share]:
    """Return the plan's domains in the order of their names."""
    domains = sorted(plan["domains"].items())
    parts = ((name, entry["available_tokens"], entry["tokens"]) for name, entry in domains)
    return [Share(name, have, *(divmod(take, have) if have else (0, 0))) for name, have, take in parts]


def columns(step: Step, *more: str) -> dict[str, tuple[str, ...]]:
    """Return by role the columns that tell which documents are taken, and `more` of the tokens."""
    buckets = {"buckets": (BUCKET,)} if "buckets" in step.inputs else {}
    return {"tokens": ("doc_id", "domain", "length", *more), "mask": ("keep",), **buckets}


def codes(batch: pa.RecordBatch, shares: list[Share]) -> np.ndarray:
    """Return [N] int64, the place of each row's domain, or bucket of it, in `shares`; 0 of a dropped row of another.

    Raises:
        DataError: the plan has no such domain.
    """
    domains = mixed_domains(batch)
    found = pc.index_in(domains, pa.array([share.domain for share in shares], pa.string()))
    if (unknown := pc.and_(found.is_null(), batch["keep"])).true_count:
        name = domains.filter(unknown)[0].as_py()
        raise DataError(f"the plan knows no domain {name!r}: it was made from other documents; make it again")
    return found.fill_null(0).to_numpy().astype(np.int64)


def last_draws(batch: pa.RecordBatch, code: np.ndarray, shares: list[Share], seed: int) -> np.ndarray:
    """Return [N] uint64, the draw of each row in the last, partial pass of its domain."""
    draws, ids = np.zeros(batch.num_rows, np.uint64), doc_ids(batch["doc_id"])
    passes = np.array([share.passes for share in shares])[code]
    for number in np.unique(passes).tolist():
        rows = passes == number
        draws[rows] = hashing.draw(seed, ids[rows], STREAM + number)
    return draws


def _bins(draws: np.ndarray, domains: int) -> np.ndarray:
    """Return [N] int64, the bin of each draw: its upper bits, as many as so many domains may have."""
    bits = _bin_bits(domains)
    return (draws >> np.uint64(64 - bits)).astype(np.int64)


def _bin_bits(domains: int) -> int:
    return min(BIN_BITS, SURVEYED.bit_length() - 1 - (domains - 1).bit_length())


def costs(batch: pa.RecordBatch, rule: Rule) -> Cost:
    """Return what each row costs; a dropped one costs nothing."""
    keep = batch["keep"].to_numpy(zero_copy_only=False)
    return cost(np.where(keep, batch["length"].to_numpy(), 0), rule)


LEFT_OUT = ("no_tokens", "longer_than_a_sequence", "short_rest")
"""Why documents, or tokens of them, are never packed."""


@dataclass(slots=True)
class Survey:
    """By domain and bin of the last pass' draws: documents and tokens, both [D, bins].

    And what is left out, by domain and reason of LEFT_OUT: documents and tokens, [D, 3, 2].
    """

    documents: np.ndarray
    tokens: np.ndarray
    left_out: np.ndarray

    def __add__(self, other: "Survey") -> "Survey":
        return Survey(self.documents + other.documents, self.tokens + other.tokens, self.left_out + other.left_out)


def survey(batches: Iterator[pa.RecordBatch], *, shares: list[Share], rule: Rule, seed: int) -> Survey:
    """Return the survey of one shard."""
    shape = (len(shares), 1 << _bin_bits(len(shares)))
    left_out = np.zeros((len(shares), len(LEFT_OUT), 2), np.int64)
    total = Survey(np.zeros(shape, np.int64), np.zeros(shape, np.int64), left_out)
    for batch in batches:
        code, found = codes(batch, shares), costs(batch, rule)
        some = found.packed > 0
        bins = _bins(last_draws(batch, code, shares, seed), len(shares))
        np.add.at(total.documents, (code[some], bins[some]), 1)
        np.add.at(total.tokens, (code[some], bins[some]), found.packed[some])
        _count_left_out(total.left_out, code, batch["keep"].to_numpy(zero_copy_only=False), found)
    return total


def _count_left_out(left_out: np.ndarray, code: np.ndarray, keep: np.ndarray, found: Cost) -> None:
    """Add what is left out of the documents of a batch, in the order of LEFT_OUT."""
    gone = found.whole - found.packed
    none = found.packed == 0
    for reason, rows in enumerate((keep & (found.whole == 0), none & (gone > 0), ~none & (gone > 0))):
        np.add.at(left_out, (code[rows], reason, 0), 1)
        np.add.at(left_out, (code[rows], reason, 1), gone[rows])


@dataclass(frozen=True, slots=True)
class Selection:
    """The CUT of every domain [D], how many documents a whole and the last pass take; what is left out as in Survey."""

    cuts: np.ndarray
    available: list[int]
    last_pass: list[int]
    left_out: np.ndarray


def select(step: Step, shares: list[Share], rule: Rule, seed: int) -> Selection:
    """Return where each domain is cut.

    Raises:
        DataError: the tokens are not those that the plan was made from.
    """
    found: Survey | None = step.fold(
        partial(survey, shares=shares, rule=rule, seed=seed), lambda a, b: a + b, columns=columns(step)
    )
    if found is None:
        raise DataError(f"{step.name}: the tokens have no shards; build them again")
    for share, tokens in zip(shares, found.tokens.sum(axis=1).tolist(), strict=True):
        if tokens != share.available:
            raise DataError(
                f"{step.name}: domain {share.domain!r} has {tokens:,} tokens, the plan says {share.available:,}. "
                "The plan and the packing must read the same tokens and the same mask; check the inputs of this step"
            )
    # The bin in which the tokens before it and its own first reach the rest.
    sums = found.tokens.cumsum(axis=1)
    bins = [int(np.searchsorted(row, share.rest)) for row, share in zip(sums, shares, strict=True)]
    fn = partial(_within, shares=shares, rule=rule, seed=seed, bins=bins)
    # Lists, since arrays joined shard after shard would be copied as often as there are shards.
    rows = np.concatenate(step.fold(fn, lambda a, b: a + b, columns=columns(step)) or [])
    rows = rows[np.lexsort((rows["high"], rows["low"], rows["draw"], rows["code"]))]
    bounds = np.searchsorted(rows["code"], np.arange(len(shares) + 1))
    cuts, last_pass = np.zeros(len(shares), CUT), [0] * len(shares)
    for code, share in enumerate(shares):
        if share.rest:
            before = slice(0, bins[code])
            mine = rows[bounds[code] : bounds[code + 1]]
            cuts[code], taken = _cut(mine, share.rest - int(found.tokens[code, before].sum()))
            last_pass[code] = int(found.documents[code, before].sum()) + taken
    return Selection(cuts, found.documents.sum(axis=1).tolist(), last_pass, found.left_out)


_ROW = np.dtype([("code", "<i8"), ("draw", "<u8"), ("low", "<u8"), ("high", "<u8"), ("cost", "<i8")])


def _within(
    batches: Iterator[pa.RecordBatch], *, shares: list[Share], rule: Rule, seed: int, bins: list[int]
) -> list[np.ndarray]:
    """Return the documents of a shard whose draw lies in the bin of their domain's cut, in one array or more."""
    parts = [np.zeros(0, _ROW)]
    wanted, partial_pass = np.array(bins), np.array([share.rest > 0 for share in shares])
    for batch in batches:
        code, packed = codes(batch, shares), costs(batch, rule).packed
        draws = last_draws(batch, code, shares, seed)
        inside = _bins(draws, len(shares)) == wanted[code]
        inside &= (packed > 0) & partial_pass[code]
        part = np.zeros(int(inside.sum()), _ROW)
        ids = doc_ids(batch["doc_id"])[inside]
        part["code"], part["draw"], part["low"], part["high"] = code[inside], draws[inside], ids[:, 0], ids[:, 1]
        part["cost"] = packed[inside]
        parts.append(part)
    return parts


def below(cuts: np.ndarray, draws: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """Return [N] bool, whether a document comes before its cut (CUT [N]), so that the last pass takes it whole."""
    low, high = ids[:, 0], ids[:, 1]
    same_draw = (low < cuts["low"]) | ((low == cuts["low"]) & (high < cuts["high"]))
    return (draws < cuts["draw"]) | ((draws == cuts["draw"]) & same_draw)


def at(cuts: np.ndarray, draws: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """Return [N] bool, whether a document is the one in which its cut lies, or the equal of that."""
    same_id = (ids[:, 0] == cuts["low"]) & (ids[:, 1] == cuts["high"])
    return (draws == cuts["draw"]) & same_id & (cuts["tokens"] > 0)


def _cut(rows: np.ndarray, rest: int) -> tuple[tuple[int, int, int, int], int]:
    """Return the CUT that takes `rest` tokens of these documents, in their order, and how many documents it touches."""
    sums = rows["cost"].cumsum()
    last = int(np.searchsorted(sums, rest))
    key = rows[["draw", "low", "high"]]
    first = int(np.flatnonzero(key == key[last])[0])
    before = int(sums[first - 1]) if first else 0
    return (*key[last].item(), rest - before), last + 1
