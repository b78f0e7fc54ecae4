"""What is told of clusters: size, likeness, words, which other one is the nearest, and how they fit the domains."""

import math
from collections.abc import Mapping
from typing import Any

from pipeline.kernels.spherical import ONE, nearest
from pipeline.ledger import Tally
from pipeline.mixture.cluster_model import Clusters

DIGITS = 4


def facts(clusters: Clusters, counts: Tally, told: Mapping[str | None, Mapping[str, Any]], unit: int) -> dict[str, Any]:
    """Return the facts of the stage.

    Args:
        counts: by cluster as a mixture calls it, by domain: documents, bytes, cosines.
        told: by scope the words of each cluster, and the mean cosine by iteration.
        unit: what a cosine of 1 is in `counts`.
    """
    found: dict[str, Any] = {}
    for domain, scope in clusters.scopes.items():
        names = [name if domain is None else f"{domain}/{name}" for name in clusters.names[domain]]
        for place, name in enumerate(names):
            found[name] = _cluster(counts.get(name, {}), unit) | {"words": told[domain]["words"][place]}
            others = [other for other in range(len(names)) if other != place]
            if others:
                best, dots = nearest(scope.means_GD[place : place + 1], scope.means_GD[others])
                near = {"name": names[others[int(best[0])]], "similarity": round(int(dots[0]) / ONE, DIGITS)}
                found[name]["nearest"] = near
    tables = {name: {domain: part["documents"] for domain, part in counts.get(name, {}).items()} for name in found}
    fine = {domain or "all": len(scope.centres_KD) for domain, scope in clusters.scopes.items()}
    cosines = {domain or "all": part["cosines"] for domain, part in told.items()}
    agreement = {"purity": purity(tables), "nmi": mutual_information(tables)}
    return {"clusters": found, "fine": fine, "mean_cosines": cosines, "agreement_with_domains": agreement}


def _cluster(by_domain: Mapping[str, Mapping[str, int]], unit: int) -> dict[str, Any]:
    documents, size, cosines = (
        sum(part[name] for part in by_domain.values()) for name in ("documents", "bytes", "cosines")
    )
    main = max(sorted(by_domain), key=lambda domain: by_domain[domain]["documents"], default=None)
    return {
        "documents": documents,
        "bytes": size,
        "cohesion": round(cosines / unit / documents, DIGITS) if documents else 0.0,
        "main_domain": main,
        "main_domain_share": round(by_domain[main]["documents"] / documents, DIGITS) if main is not None else 0.0,
    }


def purity(tables: Mapping[str, Mapping[str, int]]) -> float:
    """Return the share of documents that are of the main domain of their cluster; 0 where there are none."""
    total = sum(sum(counts.values()) for counts in tables.values())
    return round(sum(max(counts.values(), default=0) for counts in tables.values()) / max(total, 1), DIGITS)


def mutual_information(tables: Mapping[str, Mapping[str, int]]) -> float:
    """Return what cluster and domain say of each other, over the mean of their entropies (scikit-learn's NMI).

    It is 1 where either tells the other, and where there is one of each.
    """
    rows = [sum(counts.values()) for counts in tables.values()]
    columns: dict[str, int] = {}
    for counts in tables.values():
        for domain, count in counts.items():
            columns[domain] = columns.get(domain, 0) + count
    cells = [count for counts in tables.values() for count in counts.values()]
    parts = _entropy(rows), _entropy(list(columns.values()))
    if not sum(parts):
        return 1.0
    return round(max(0.0, 2 * (sum(parts) - _entropy(cells)) / sum(parts)), DIGITS)


def _entropy(counts: list[int]) -> float:
    total = sum(counts)
    return math.fsum(-count / total * math.log(count / total) for count in counts if count)
