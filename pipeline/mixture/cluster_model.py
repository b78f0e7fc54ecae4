"""Clusters as they are learned and used: many fine ones, merged into those that are wanted.

First `fine` clusters by spherical k-means, then the merging of those that lie together (Diao et al. 2025, "CLIMB",
3.1): a merged cluster need not be round. Directions are taken from the mean of their scope, since all texts share the
common words. A document is in the cluster of the fine centre that is nearest; how like its cluster it is, is the
cosine with the mean direction of the cluster. Documents without a direction go to the largest cluster, with a
likeness of 0.

Letters: N documents, D dimensions, K fine clusters, G clusters, S scopes.
"""

import json
import os
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.kernels import spherical


@dataclass(frozen=True)
class Scope:
    """The clusters of all documents, or of a domain's."""

    sum_D: np.ndarray  # int64, of the directions learned from
    count: int
    centres_KD: np.ndarray  # int16
    groups_K: np.ndarray  # int32
    means_GD: np.ndarray  # int16
    largest: int

    def assigned(self, points_ND: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the cluster of each document, int32 [N], and its likeness times 2^30, int64 [N]."""
        turned_ND = spherical.centred(points_ND, self.sum_D, self.count)
        groups_N = self.groups_K[spherical.nearest(turned_ND, self.centres_KD)[0]]
        groups_N[~turned_ND.any(1)] = self.largest
        return groups_N, spherical.paired(turned_ND, self.means_GD, groups_N)


@dataclass(frozen=True)
class Clusters:
    """What tells the clusters of documents: the words' weights and the scopes, by domain or of all (None)."""

    weights_V: np.ndarray
    dimensions: int
    seed: int
    scopes: dict[str | None, Scope]
    names: dict[str | None, list[str]]

    def save(self, folder: Path) -> Path:
        """Return the file under `folder` that holds this; its name tells the content, so that equal ones are equal."""
        arrays: dict[str, Any] = {"weights": self.weights_V}
        for place, scope in enumerate(self.scopes.values()):
            arrays |= {f"{place}.{name}": np.asarray(value) for name, value in vars(scope).items()}
        told = [[domain, self.names[domain]] for domain in self.scopes]
        arrays["told"] = np.frombuffer(json.dumps([self.dimensions, self.seed, told]).encode(), np.uint8)
        print_ = sha256(b"".join(name.encode() + array.tobytes() for name, array in arrays.items())).hexdigest()[:32]
        target, content = folder / f"clusters-{print_}.npz", BytesIO()
        np.savez(content, **arrays)
        folder.mkdir(parents=True, exist_ok=True)
        draft = folder / f".{uuid.uuid4().hex}"
        draft.write_bytes(content.getvalue())
        os.replace(draft, target)
        return target


@lru_cache(maxsize=2)
def load(path: Path) -> Clusters:
    """Return what `Clusters.save` wrote."""
    with np.load(path) as arrays:
        dimensions, seed, told = json.loads(arrays["told"].tobytes())
        scopes: dict[str | None, Scope] = {}
        for place, (domain, _) in enumerate(told):
            own = {name: arrays[f"{place}.{name}"] for name in Scope.__dataclass_fields__}
            own |= {name: int(own[name]) for name in ("count", "largest")}
            scopes[domain] = Scope(**own)
        return Clusters(arrays["weights"], dimensions, seed, scopes, dict(told))


@dataclass(frozen=True)
class Wanted:
    """How many clusters of a scope, of how many fine ones, and the least share of its bytes."""

    count: int
    fine: int
    iterations: int
    minimum_share: float
    seed: int


def learned(points_ND: np.ndarray, bytes_N: np.ndarray, wanted: Wanted) -> tuple[Scope, np.ndarray, Sequence[float]]:
    """Return the clusters of a sample, that of each document, int32 [N], and the mean cosine by iteration.

    There is a single cluster where no two documents differ in direction.
    """
    sum_D, dimensions = points_ND.sum(0, dtype=np.int64), points_ND.shape[1]
    turned_ND = spherical.centred(points_ND, sum_D, len(points_ND))
    there_N = turned_ND.any(1)
    if not there_N.any():
        nothing = np.zeros((1, dimensions), np.int16)
        scope = Scope(sum_D, max(len(points_ND), 1), nothing, np.zeros(1, np.int32), nothing, 0)
        return scope, np.zeros(len(points_ND), np.int32), ()
    fitted = spherical.fit(turned_ND[there_N], wanted.fine, wanted.iterations, wanted.seed)
    nearest_N, fine = fitted.nearest_N, len(fitted.centres_KD)
    sums_KD = spherical.sums(turned_ND[there_N], nearest_N, fine)
    sizes_K = np.bincount(nearest_N, bytes_N[there_N], fine)
    groups_K = spherical.merged(sums_KD, sizes_K, wanted.count, wanted.minimum_share * sizes_K.sum())
    groups = int(groups_K.max()) + 1
    means_GD = spherical.directions(_by_group(sums_KD, groups_K, groups))
    largest = int(np.argmax(np.bincount(groups_K, sizes_K, groups)))
    scope = Scope(sum_D, len(points_ND), fitted.centres_KD, groups_K, means_GD, largest)
    found_N = np.full(len(points_ND), largest, np.int32)
    found_N[there_N] = groups_K[nearest_N]
    return scope, found_N, [round(total / int(there_N.sum()), 6) for total in fitted.cosines]


def _by_group(sums_KD: np.ndarray, groups_K: np.ndarray, groups: int) -> np.ndarray:
    out_GD = np.zeros((groups, sums_KD.shape[1]), np.int64)
    np.add.at(out_GD, groups_K, sums_KD)
    return out_GD
