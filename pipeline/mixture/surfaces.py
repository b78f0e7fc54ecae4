"""Surfaces from mixture to loss that no run was trained for, and the file that holds them.

Two are told by the n-grams of the targets that each domain has: `ngram`, the loss of the n-gram model counted on the
mixture itself (`kernels.ngrams`), and `mixmin`, that of the mixture of the domains' n-gram models (`mixture.mixmin`).
A domain's counts are taken as if all domains had given as many bytes.

For fits there is also a power law of each: convex, a few numbers, fitted to the surface at some hundreds of mixtures.
MixMin is convex itself; the n-gram surface is not (it is the difference of two concave functions), its law is.

surface.parquet: a row for every n-gram with `order`, `parent` (a row, -1 for none), `times/TARGET`, and by domain
`gram/DOMAIN` and `history/DOMAIN`, how often its domain has the n-gram and its history; all else is in the metadata.

G n-grams, D domains, T targets, K the longest n-gram, M mixtures.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.errors import DataError
from pipeline.kernels import ngrams
from pipeline.kernels.ngrams import Tree
from pipeline.mixture.mixmin import MixMin
from pipeline.mixture.regress.arrays import Array
from pipeline.mixture.regress.power import PowerLaw

FILE = "surface.parquet"
NGRAM, MIXMIN = "ngram", "mixmin"
TIMES, GRAM, HISTORY = "times/", "gram/", "history/"
_KEY = b"corpusmill"

Laws = dict[str, dict[str, PowerLaw]]
"""By target, then by surface."""


@dataclass(frozen=True)
class Surface:
    """What the domains have of the targets' n-grams, and the strengths that these are mixed with.

    `bytes_D` says how many bytes of each domain were counted.
    """

    domains: tuple[str, ...]
    targets: tuple[str, ...]
    tree: Tree
    strengths_K: Array
    bytes_D: Array

    def ngram(self, weights_MD: Array) -> Array:
        """Return bits per byte of the n-gram model counted on each mixture, [M, T]."""
        return ngrams.losses(self.tree, self.strengths_K, weights_MD * self._alike)

    @cached_property
    def mixmin(self) -> MixMin:
        """The mixture of the domains' n-gram models."""
        likely_LD = ngrams.probabilities(self.tree, self.strengths_K, np.diag(self._alike))
        sums_T = np.add.reduceat(self.tree.times, self.tree.firsts[:-1])
        return MixMin(likely_LD, self.tree.times / np.repeat(sums_T, np.diff(self.tree.firsts)), self.tree.firsts)

    def losses(self, weights_MD: Array) -> dict[str, Array]:
        """Return, by surface, bits per byte of every target under every mixture, [M, T]."""
        return {NGRAM: self.ngram(weights_MD), MIXMIN: self.mixmin.losses(weights_MD)}

    @property
    def _alike(self) -> Array:
        """How often each domain's counts are taken, so that all are of as many bytes."""
        alike_D: Array = self.bytes_D.mean() / self.bytes_D
        return alike_D


def to_parquet(surface: Surface, laws: Laws) -> bytes:
    """Return the file of a surface."""
    tree = surface.tree
    columns = {"order": pa.array(tree.orders, pa.int8()), "parent": pa.array(tree.parents, pa.int32())}
    for place, target in enumerate(surface.targets):
        part = slice(tree.firsts[place], tree.firsts[place + 1])
        times_G = np.zeros(len(tree.orders), np.int64)
        times_G[tree.leaves[part]] = tree.times[part]
        columns[TIMES + target] = pa.array(times_G)
    for prefix, counts_GD in ((GRAM, tree.grams), (HISTORY, tree.histories)):
        columns |= {prefix + domain: pa.array(counts_GD[:, place]) for place, domain in enumerate(surface.domains)}
    told = {
        "domains": surface.domains,
        "targets": surface.targets,
        "strengths": surface.strengths_K.tolist(),
        "bytes": surface.bytes_D.tolist(),
        "laws": {target: {name: law.state() for name, law in some.items()} for target, some in laws.items()},
    }
    sink = pa.BufferOutputStream()
    table = pa.table(columns).replace_schema_metadata({_KEY: json.dumps(told, ensure_ascii=False).encode()})
    pq.write_table(table, sink, compression="zstd", write_statistics=False)
    return sink.getvalue().to_pybytes()


def read(path: Path, domains: Sequence[str]) -> Surface:
    """Return the surface in a file, its domains in the order of those given.

    Raises:
        DataError: it is no surface, or one of other domains.
    """
    told = _told(path, domains)
    table = pq.read_table(path)
    grams_GD, histories_GD = (
        np.column_stack([table[prefix + domain].to_numpy() for domain in domains]) for prefix in (GRAM, HISTORY)
    )
    times = [table[TIMES + target].to_numpy() for target in told["targets"]]
    leaves = [np.flatnonzero(times_G) for times_G in times]
    tree = Tree(
        table["order"].to_numpy().astype(np.int64),
        table["parent"].to_numpy().astype(np.int64),
        grams_GD,
        histories_GD,
        np.cumsum([0, *map(len, leaves)]),
        np.concatenate(leaves),
        np.concatenate([times_G[places] for times_G, places in zip(times, leaves, strict=True)]),
    )
    by_domain = dict(zip(told["domains"], told["bytes"], strict=True))
    bytes_D = np.array([by_domain[domain] for domain in domains], float)
    return Surface(tuple(domains), tuple(told["targets"]), tree, np.array(told["strengths"], float), bytes_D)


def read_laws(path: Path, domains: Sequence[str]) -> Laws:
    """Return the power laws of a file's surfaces, their domains in the order of those given.

    Raises:
        DataError: as `read`.
    """
    told = _told(path, domains)
    order = [told["domains"].index(domain) for domain in domains]
    return {target: {name: _law(state, order) for name, state in some.items()} for target, some in told["laws"].items()}


def _law(state: Mapping[str, Any], order: Sequence[int]) -> PowerLaw:
    moved = {name: [state[name][place] for place in order] for name in ("worth", "gain")}
    return PowerLaw.restore({**state, **moved})


def _told(path: Path, domains: Sequence[str]) -> dict[str, Any]:
    try:
        told: dict[str, Any] = json.loads(pq.read_schema(path).metadata[_KEY])
        there = set(told["domains"])
    except (OSError, pa.ArrowInvalid, KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path} is no {FILE} of mixture.surface: {type(error).__name__}: {error}") from None
    if apart := sorted(there ^ set(domains)):
        raise DataError(
            f"{path}: the surface is of the domains {', '.join(sorted(there))}, and {', '.join(sorted(domains))} are "
            f"asked about; {', '.join(apart)} {'is' if len(apart) == 1 else 'are'} in one only. Make the surface of "
            "the documents and buckets that the mixtures are of"
        )
    return told
