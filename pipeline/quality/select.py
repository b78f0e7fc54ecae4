"""Select documents by score: the best share of bytes, tokens or documents, or all from a threshold upwards.

Reads documents (doc_id, domain, bytes), their scores and, where wired, token counts and the earlier mask; writes the
mask (`low_quality`, `label_only`) and each document's score.

With `share`, documents are ranked by score, equal scores by doc_id, and the shortest head of the ranking that has at
least the share is kept: overall, or in each domain. The cut is exact to one document and needs no sort: each pass over
the narrow columns adds up the weights by 16 bits of the ranking key, below the bits that are known already, and finds
the next 16 bits of the key at which the share is reached (a radix select over merged histograms; mostly two passes).
Exempt domains are always kept and do not count; nor do `label_only` domains, which are dropped.
"""

import math
import operator
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field, model_validator

from pipeline.errors import DataError
from pipeline.quality.histogram import Histogram
from pipeline.schemas import MASK, decide, doc_ids, mask
from pipeline.stage import Params, Stage, Step

SCHEMA = mask(pa.field("score", pa.float32()))
LOW_QUALITY, LABEL_ONLY = "low_quality", "label_only"
OVERALL = ""
# The 16-bit digits of a ranking key, first to last: (word, shift); word 0 is the score's 32 bits, 1 and 2 the doc_id's.
DIGITS = ((0, 16), (0, 0), *((word, shift) for word in (1, 2) for shift in (48, 32, 16, 0)))
DIGIT = np.uint64(0xFFFF)

Key = tuple[int, int, int]


class SelectParams(Params):
    """How much of the ranking is kept, counted by what, and which domains stand outside of it."""

    share: float | None = Field(None, gt=0, le=1)
    threshold: float | None = Field(None, ge=0, le=1)
    by: Literal["bytes", "tokens", "documents"] = "bytes"
    scope: Literal["overall", "domain"] = "overall"
    exempt: tuple[str, ...] = ()
    label_only: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _one_rule(self) -> "SelectParams":
        if (self.share is None) == (self.threshold is None):
            raise ValueError("give exactly one of `share` (how much is kept) and `threshold` (the lowest score kept)")
        if both := sorted(set(self.exempt) & set(self.label_only)):
            raise ValueError(f"the domains {both} are both exempt (kept) and label_only (dropped); choose one")
        return self


@dataclass(frozen=True)
class Ranked:
    """The documents that are ranked, as arrays over them: keys [3, N] (smaller is better), weights and scopes."""

    keys: np.ndarray  # uint64
    weights: np.ndarray  # int64
    scopes: pa.Array  # string


@dataclass
class Cut:
    """The key at which one scope is cut, as far as it is known."""

    digits: tuple[int, ...] = ()
    missing: int | None = None  # the weight still to be kept among keys that begin with these digits; None: not begun
    total: int = 0
    documents: int = 0
    done: bool = False

    @property
    def key(self) -> Key:
        """The last key that is kept; digits that need not be known are as large as can be."""
        words = [0, 0, 0]
        for place, (word, shift) in enumerate(DIGITS):
            words[word] |= (self.digits[place] if place < len(self.digits) else int(DIGIT)) << shift
        return words[0], words[1], words[2]

    def narrow(self, histogram: Histogram, share: float) -> None:
        """Find the next digit, from the weights by it of all documents whose keys begin with the known ones."""
        if self.missing is None:
            self.total, self.documents = histogram.total_weight, histogram.total_documents
            self.missing = math.ceil(Fraction(str(share)) * self.total)
            if self.missing == self.total:  # all of it, with those that weigh nothing
                self.done = True
                return
        place = histogram.reaching_weight(self.missing)
        before = int(histogram.weights[:place].sum())
        self.digits += (int(histogram.bins[place]),)
        self.missing -= before
        single = int(histogram.documents[place]) == 1 or int(histogram.weights[place]) == self.missing
        self.done = single or len(self.digits) == len(DIGITS)


def rank(batch: pa.RecordBatch, params: SelectParams) -> Ranked:
    """Return the documents of `batch` that take part in the ranking, in its order.

    Raises:
        DataError: a document that is kept has no score, so the scores come from another mask.
    """
    outside = pc.is_in(batch["domain"], value_set=pa.array([*params.exempt, *params.label_only], pa.string()))
    inside = batch.filter(pc.and_not(batch["keep"], outside))
    scores = inside["score"]
    if unscored := pc.unique(inside["domain"].filter(pc.is_null(scores, nan_is_null=True))).to_pylist():
        raise DataError(
            f"documents of the domains {unscored} are kept by the mask but have no score: "
            "score them under the same mask, or exempt the domains."
        )
    ids_N2 = doc_ids(inside["doc_id"])
    keys = np.stack([_descending(scores.to_numpy()), ids_N2[:, 0], ids_N2[:, 1]])
    return Ranked(keys, _weights(inside, params.by), _scopes(inside, params.scope))


def histograms(
    batches: Iterator[pa.RecordBatch], params: SelectParams, known: dict[str, tuple[int, ...]] | None
) -> dict[str, Histogram]:
    """Return by scope the weights by the next digit, of the documents whose keys begin with the scope's known digits.

    `known` names the scopes that are still open; None is the first pass, with all scopes and no digit known.
    """
    total: dict[str, Histogram] = {}
    for batch in batches:
        ranked = rank(batch, params)
        for scope in pc.unique(ranked.scopes).to_pylist():
            if known is not None and scope not in known:
                continue
            digits = known[scope] if known is not None else ()
            chosen = pc.equal(ranked.scopes, scope).to_numpy(zero_copy_only=False)
            for place, digit in enumerate(digits):
                chosen &= _digit(ranked.keys, place) == digit
            part = Histogram.of(_digit(ranked.keys, len(digits))[chosen], ranked.weights[chosen])
            total = merged(total, {scope: part})
    return total


def merged(first: dict[str, Histogram], second: dict[str, Histogram]) -> dict[str, Histogram]:
    """Return the sums of two results, scope by scope."""
    return first | {scope: first[scope] + h if scope in first else h for scope, h in second.items()}


def select_batch(batch: pa.RecordBatch, params: SelectParams, cuts: dict[str, Key]) -> pa.RecordBatch:
    """Return keep, reason and score of each row of `batch`, in its order.

    `cuts` holds the last key that is kept by scope; it is empty when there is a threshold instead.
    """
    label_only = _among(batch["domain"], params.label_only)
    low = ~_good_enough(batch, params, cuts) & ~_among(batch["domain"], params.exempt) & ~label_only
    first = decide(batch, label_only, LABEL_ONLY)
    second = decide(pa.record_batch([first["keep"], first["reason"]], names=list(MASK)), low, LOW_QUALITY)
    return pa.record_batch([second["keep"], second["reason"], batch["score"]], schema=SCHEMA)


def select(step: Step, params: SelectParams) -> None:
    """Find the cuts, one pass for each digit of the key that is needed, then decide about every document."""
    _check_roles(step, params)
    narrow = {
        "documents": ("doc_id", "domain", "bytes"),
        "scores": ("score",),
        **({"tokens": ("length",)} if params.by == "tokens" else {}),
        "mask": MASK,
    }
    present: set[str] = step.fold(domains, operator.or_, columns={"documents": ("domain",)}) or set()
    _check_domains(present, params)
    cuts = _cuts(step, params, narrow)
    keys = {scope: cut.key for scope, cut in cuts.items()}
    step.map_shards(partial(select_batch, params=params, cuts=keys), columns=narrow, schema=SCHEMA)
    step.note(
        by=params.by,
        cuts={
            scope or "overall": {"threshold": _score(cut.key[0]), "documents": cut.documents, params.by: cut.total}
            for scope, cut in sorted(cuts.items())
        },
    )


def domains(batches: Iterator[pa.RecordBatch]) -> set[str]:
    """Return the domains of a shard."""
    return {domain for batch in batches for domain in pc.unique(batch["domain"]).to_pylist()}


def _cuts(step: Step, params: SelectParams, columns: dict[str, tuple[str, ...]]) -> dict[str, Cut]:
    """The cut of every scope; empty when there is a threshold."""
    if params.share is None:
        return {}
    found = step.fold(partial(histograms, params=params, known=None), merged, columns=columns) or {}
    cuts = {scope: Cut() for scope in found}
    while found:
        for scope, histogram in found.items():
            cuts[scope].narrow(histogram, params.share)
        known = {scope: cut.digits for scope, cut in cuts.items() if not cut.done}
        found = {}
        if known:
            found = step.fold(partial(histograms, params=params, known=known), merged, columns=columns) or {}
    return cuts


def _check_roles(step: Step, params: SelectParams) -> None:
    if params.by == "tokens" and "tokens" not in step.inputs:
        raise DataError("quality.select: to select by tokens it needs the role `tokens`; wire it, or select by bytes")


def _check_domains(present: set[str], params: SelectParams) -> None:
    for field in ("exempt", "label_only"):
        if unknown := sorted(set(getattr(params, field)) - present):
            raise DataError(
                f"quality.select: {field} names {unknown}, but the domains are {sorted(present)}; correct the name"
            )


def _good_enough(batch: pa.RecordBatch, params: SelectParams, cuts: dict[str, Key]) -> np.ndarray:
    scores = batch["score"].fill_null(-1).to_numpy()
    if params.threshold is not None:
        return np.asarray(scores >= np.float32(params.threshold))
    never = (0, 0, 0)  # of scopes that have no ranked document at all
    scopes = _scopes(batch, params.scope).dictionary_encode()
    last = np.array([cuts.get(scope, never) for scope in scopes.dictionary.to_pylist()], np.uint64).reshape(-1, 3)
    last_N3 = last[scopes.indices.to_numpy()]
    ids_N2 = doc_ids(batch["doc_id"])
    keys = (_descending(scores), ids_N2[:, 0], ids_N2[:, 1])
    good = keys[2] <= last_N3[:, 2]
    for word in (1, 0):
        good = (keys[word] < last_N3[:, word]) | ((keys[word] == last_N3[:, word]) & good)
    return good


def _among(domain: pa.Array, names: tuple[str, ...]) -> np.ndarray:
    found: np.ndarray = pc.is_in(domain, value_set=pa.array(names, pa.string())).to_numpy(zero_copy_only=False)
    return found


def _weights(batch: pa.RecordBatch, by: str) -> np.ndarray:
    if by == "documents":
        return np.ones(batch.num_rows, np.int64)
    column = batch["length" if by == "tokens" else "bytes"]
    return np.asarray(column.fill_null(0).to_numpy(), np.int64)


def _scopes(batch: pa.RecordBatch, scope: str) -> pa.Array:
    return batch["domain"] if scope == "domain" else pa.array([OVERALL] * batch.num_rows, pa.string())


def _descending(scores_N: np.ndarray) -> np.ndarray:
    """32-bit keys that rise as scores fall, as uint64; 0.0 and -0.0 are equal."""
    bits = (scores_N + np.float32(0)).astype(np.float32).view(np.uint32)
    rising = np.where(bits >> np.uint32(31), ~bits, bits | np.uint32(1 << 31))
    return (~rising).astype(np.uint64)


def _score(key: int) -> float | None:
    """The score that `_descending` made `key` of; None if everything is kept."""
    rising = ~np.uint32(key)
    bits = rising & np.uint32(0x7FFFFFFF) if rising >> np.uint32(31) else ~rising
    value = float(np.array([bits], np.uint32).view(np.float32)[0])
    return value if math.isfinite(value) else None


def _digit(keys: np.ndarray, place: int) -> Any:
    word, shift = DIGITS[place]
    return (keys[word] >> np.uint64(shift)) & DIGIT


SELECT = Stage(
    name="quality.select",
    version=1,
    params=SelectParams,
    inputs=("documents", "scores"),
    optional=("tokens", "mask"),
    run=select,
)
