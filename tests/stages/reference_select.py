"""The slow twin of quality.select: whole lists, sorted; one document at a time."""

import math
from fractions import Fraction
from itertools import accumulate

import numpy as np

from pipeline.kernels.hashing import draw
from pipeline.quality.sampling import STREAM
from tests.kernels.reference_gumbel import gumbel


def edges(pairs, count):
    """The least float32 above the lowest value up to which (value, weight) pairs weigh k/count of all, for each k."""
    pairs, total = sorted(pairs), sum(weight for _, weight in pairs)
    result = []
    for k in range(1, count):
        goal = math.ceil(Fraction(k, count) * total)
        sums = accumulate(weight for _, weight in pairs)
        cut = next(value for (value, _), sum_ in zip(pairs, sums, strict=True) if sum_ >= goal)
        result.append(np.nextafter(np.float32(cut), np.float32(np.inf)))
    return result


def bucket(value, its_edges):
    return sum(value >= edge for edge in its_edges)


def words(doc_id):
    return int.from_bytes(doc_id[:8], "little"), int.from_bytes(doc_id[8:], "little")


def perturbed(documents, scores, temperature, seed):
    known = [Fraction(float(score)) for score in scores]
    mean = sum(known) / len(known)
    deviation = math.sqrt(sum((s - mean) ** 2 for s in known) / len(known))
    result = []
    for document, score in zip(documents, scores, strict=True):
        ids = np.array([words(document["doc_id"])], np.uint64)
        z = 0 if temperature == "infinite" or not deviation else (float(score) - float(mean)) / deviation / temperature
        result.append(z + gumbel(int(draw(seed, ids, STREAM)[0])))
    return result


def head(documents, ranks, weight, quota):
    """The ids of the shortest head of the ranking that weighs what the quota asks for."""
    total = sum(weight(d) for d in documents)
    goal = quota.of(total)
    order = sorted(range(len(documents)), key=lambda i: (-ranks[i], words(documents[i]["doc_id"])))
    kept, sum_ = set(), 0
    for i in order:
        if sum_ >= goal and goal < total:
            break
        kept.add(documents[i]["doc_id"])
        sum_ += weight(documents[i])
    return kept


def select(documents, params):
    """(keep, reason, score, bucket) by doc_id, of dicts with doc_id, domain, keep, reason, bytes, tokens, columns."""
    decided = {d["doc_id"]: (d["keep"], d["reason"], None, None) for d in documents}

    def drop(document, reason):
        decided[document["doc_id"]] = (False, reason, None, None)

    def weight(document):
        return 1 if params.by == "documents" else document[params.by]

    open_ = []
    for d in documents:
        if not d["keep"] or d["domain"] in params.exempt:
            continue
        if d["domain"] in params.label_only:
            drop(d, "label_only")
            continue
        for criterion in params.criteria:
            value = d[criterion.column]
            if value is None:
                fails = criterion.missing == "drop"
            else:
                low, high = (None if b is None else np.float32(b) for b in (criterion.min, criterion.max))
                fails = (low is not None and value < low) or (high is not None and value > high)
            if fails:
                drop(d, f"criterion_{criterion.column}")
                break
        else:
            open_.append(d)
    scores = _scores(open_, params, weight)
    unrated = [d for d in open_ if scores[d["doc_id"]] is None]
    if params.missing == "drop":
        for d in unrated:
            drop(d, "low_quality")
    ranked = [d for d in open_ if scores[d["doc_id"]] is not None]
    kept = _kept(ranked, scores, params, weight)
    for d in ranked:
        if d["doc_id"] not in kept:
            drop(d, _reason(params))
    if params.buckets:
        _put_in_buckets([d for d in ranked if d["doc_id"] in kept], scores, params, weight, decided)
    for d in ranked:
        keep, reason, _, name = decided[d["doc_id"]]
        decided[d["doc_id"]] = (keep, reason, float(scores[d["doc_id"]]), name)
    return decided


def _scores(documents, params, weight):
    if params.ensemble is None:
        return {d["doc_id"]: d[params.ranking] for d in documents}
    result = {d["doc_id"]: None for d in documents}
    for column in params.ensemble.columns:
        for domain in {d["domain"] for d in documents} if params.scope == "domain" else {None}:
            mine = [d for d in documents if domain in (None, d["domain"]) and d[column] is not None]
            if not mine:
                continue
            its_edges = edges([(d[column], weight(d)) for d in mine], params.ensemble.buckets)
            for d in mine:
                best = result[d["doc_id"]]
                place = bucket(d[column], its_edges)
                result[d["doc_id"]] = place if best is None else max(best, place)
    return result


def _kept(ranked, scores, params, weight):
    if params.threshold is not None:
        return {d["doc_id"] for d in ranked if scores[d["doc_id"]] >= np.float32(params.threshold)}
    if not params.cuts:
        return {d["doc_id"] for d in ranked}
    values = [scores[d["doc_id"]] for d in ranked]
    if params.temperature and ranked:
        values = perturbed(ranked, values, params.temperature, params.seed)
    kept = set()
    for domain in {d["domain"] for d in ranked} if params.by_domain else {""}:
        mine = [i for i, d in enumerate(ranked) if domain in ("", d["domain"])]
        kept |= head([ranked[i] for i in mine], [values[i] for i in mine], weight, params.quota(domain))
    return kept


def _reason(params):
    return "not_sampled" if params.temperature else "over_quota" if params.quotas else "low_quality"


def _put_in_buckets(documents, scores, params, weight, decided):
    for domain in {d["domain"] for d in documents} if params.by_domain else {""}:
        mine = [d for d in documents if domain in ("", d["domain"])]
        count = params.buckets.count
        its = edges([(scores[d["doc_id"]], weight(d)) for d in mine], count) if count else params.buckets.edges
        for d in mine:
            name = params.buckets.labels[bucket(scores[d["doc_id"]], [np.float32(e) for e in its])]
            decided[d["doc_id"]] = (True, None, None, name)
