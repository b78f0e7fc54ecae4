"""The ranking of a selection and where it is cut: exact to one document, without a sort.

Documents are ranked by score, or by what a temperature makes of it, the highest first, equal ones by doc_id. The
shortest head that reaches the quota is kept. Each pass over the narrow columns adds up the weights by 16 bits of the
ranking key, below the bits that are known already, and finds the next 16 bits of the key at which the quota is reached
(a radix select over merged histograms; mostly two passes).
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.corpus import Frozen
from pipeline.histogram import Histogram, merged
from pipeline.quality import candidates, ensemble, sampling
from pipeline.quality.candidates import Candidates
from pipeline.quality.quantiles import Name
from pipeline.quality.scores import from_bits, rising
from pipeline.quality.select_params import Quota, SelectParams
from pipeline.schemas import doc_ids

# The 16-bit digits of a ranking key, first to last: (word, shift); word 0 is the score's 32 bits, 1 and 2 the doc_id's.
DIGITS = ((0, 16), (0, 0), *((word, shift) for word in (1, 2) for shift in (48, 32, 16, 0)))
DIGIT = np.uint64(0xFFFF)

Key = tuple[int, int, int]
Known = Mapping[str, tuple[int, ...]]


class Learned(Frozen):
    """What the passes before have found: an ensemble's edges, the scale of the scores, where rankings are cut.

    `points` are column -> scope -> edges, `edges` those of the buckets by scope, `cuts` the last key kept by scope.
    """

    points: dict[str, dict[str, tuple[float, ...]]] = {}
    scale: sampling.Scale = sampling.Scale()
    cuts: dict[str, Key] = {}
    edges: dict[str, tuple[float, ...]] = {}


@dataclass
class Cut:
    """The key at which one ranking is cut, as far as it is known."""

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

    def narrow(self, histogram: Histogram, quota: Quota) -> None:
        """Find the next digit, from the weights by it of all documents whose keys begin with the known ones."""
        if self.missing is None:
            self.total, self.documents = histogram.total_weight, histogram.total_documents
            self.missing = quota.of(self.total)
            if self.missing == self.total:  # all of it, with those that weigh nothing
                self.done = True
                return
        place = histogram.reaching_weight(self.missing)
        before = int(histogram.weights[:place].sum())
        self.digits += (int(histogram.bins[place]),)
        self.missing -= before
        single = int(histogram.documents[place]) == 1 or int(histogram.weights[place]) == self.missing
        self.done = single or len(self.digits) == len(DIGITS)


NOTHING: Key = (0, 0, 0)
"""The cut of a ranking of which nothing is kept, or that has no document: no key is as small."""


def keys(batch: pa.RecordBatch, found: Candidates, params: SelectParams, learned: Learned) -> np.ndarray:
    """Return uint64 [3, N], the ranking keys of all documents of a batch, smaller for the better; NaN is the worst."""
    ids_N2 = doc_ids(batch["doc_id"])
    ranks = found.scores
    if params.samples:
        ranks = sampling.perturbed(ranks, ids_N2, params.temperature, params.seed, learned.scale)
    ranks = np.where(np.isnan(ranks), np.float32(-np.inf), ranks)
    return np.stack([(~rising(ranks)).astype(np.uint64), ids_N2[:, 0], ids_N2[:, 1]])


def histograms(
    batches: Iterable[pa.RecordBatch], *, params: SelectParams, learned: Learned, known: Known | None
) -> dict[str, Histogram]:
    """Return by scope the weights by the next digit, of the documents whose keys begin with the scope's known digits.

    `known` names the scopes that are still open; None is the first pass, with all scopes and no digit known.
    """
    total: dict[str, Histogram] = {}
    for batch in batches:
        found = candidates.rated(batch, params, learned.points)
        keys_3N, weights_N = keys(batch, found, params, learned), candidates.weights(batch, params.by)
        for scope, chosen in _by_scope(batch, params.by_domain, found.ranked):
            if known is not None and scope not in known:
                continue
            digits = known[scope] if known is not None else ()
            for place, digit in enumerate(digits):
                chosen &= _digit(keys_3N, place) == digit
            part = Histogram.of(_digit(keys_3N, len(digits))[chosen], weights_N[chosen])
            total = merged(total, {scope: part})
    return total


def solve(fold: Callable[[Known | None], dict[str, Histogram] | None], params: SelectParams) -> dict[str, Cut]:
    """Return the cut of every ranking.

    Args:
        fold: runs `histograms` over everything, for the digits given.
    """
    found = fold(None) or {}
    cuts = {scope: Cut() for scope in found}
    while found:
        for scope, histogram in found.items():
            cuts[scope].narrow(histogram, params.quota(scope))
        known = {scope: cut.digits for scope, cut in cuts.items() if not cut.done}
        found = (fold(known) or {}) if known else {}
    return cuts


def good(batch: pa.RecordBatch, found: Candidates, params: SelectParams, learned: Learned) -> np.ndarray:
    """Return bool [N], whether a document that is ranked is among those that stay."""
    if params.threshold is not None:
        return np.asarray(found.scores >= np.float32(params.threshold))
    if not params.cuts:
        return np.ones(batch.num_rows, bool)
    scopes_N = candidates.scopes(batch, params.by_domain)
    last = np.array([learned.cuts.get(scope, NOTHING) for scope in scopes_N.dictionary.to_pylist()], np.uint64)
    last_N3 = last.reshape(-1, 3)[scopes_N.indices.to_numpy()]
    keys_3N = keys(batch, found, params, learned)
    result = keys_3N[2] <= last_N3[:, 2]
    for word in (1, 0):
        result = (keys_3N[word] < last_N3[:, word]) | ((keys_3N[word] == last_N3[:, word]) & result)
    return result


def moments(batches: Iterable[pa.RecordBatch], *, params: SelectParams, learned: Learned) -> sampling.Moments:
    """Return the moments of the scores of all documents that are ranked."""
    judged = (candidates.rated(batch, params, learned.points) for batch in batches)
    return sampling.total(sampling.Moments.of(found.scores[found.ranked]) for found in judged)


def view_of_voices(batch: pa.RecordBatch, *, params: SelectParams) -> Iterator[tuple[Name, np.ndarray, np.ndarray]]:
    """Yield the scores of every scorer of the ensemble, of the documents that meet all criteria."""
    found = candidates.judged(batch, params)
    weights_N = candidates.weights(batch, params.by)
    for column, values_N in candidates.voices(batch, params, found).items():
        for scope, chosen in _by_scope(batch, params.scope == "domain", found.ranked & ~np.isnan(values_N)):
            yield (column, scope), values_N[chosen], weights_N[chosen]


def view_of_kept(
    batch: pa.RecordBatch, *, params: SelectParams, learned: Learned
) -> Iterator[tuple[Name, np.ndarray, np.ndarray]]:
    """Yield the scores of the documents that are kept, by ranking."""
    found = candidates.rated(batch, params, learned.points)
    kept_N = found.ranked & good(batch, found, params, learned)
    weights_N = candidates.weights(batch, params.by)
    for scope, chosen in _by_scope(batch, params.by_domain, kept_N):
        yield ("", scope), found.scores[chosen], weights_N[chosen]


def bucket_numbers(batch: pa.RecordBatch, found: Candidates, params: SelectParams, learned: Learned) -> np.ndarray:
    """Return int64 [N], the number of each document's bucket by its score."""
    return ensemble.placed(found.scores, candidates.scopes(batch, params.by_domain), learned.edges)


def lowest(key: int) -> float | None:
    """Return what the first word of a ranking key was made of; None if everything is kept."""
    value = float(from_bits(0xFFFFFFFF ^ key))
    return value if math.isfinite(value) else None


def _by_scope(batch: pa.RecordBatch, by_domain: bool, among_N: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """Yield each scope of which there are documents, and which they are."""
    scopes_N = candidates.scopes(batch, by_domain)
    codes = scopes_N.indices.to_numpy()
    for code in np.unique(codes[among_N]).tolist():
        yield scopes_N.dictionary[code].as_py(), among_N & (codes == code)


def _digit(keys_3N: np.ndarray, place: int) -> Any:
    word, shift = DIGITS[place]
    return (keys_3N[word] >> np.uint64(shift)) & DIGIT
