"""Names of clusters: the words that tell each from the others.

A word's worth for a cluster is its z by `log_odds`, of counts of documents, times its rarity: the first keeps out words
that are rare by chance, the second those that every text has. It must be in a twentieth of the cluster's documents and
have at most 24 characters; of ASCII ones alone at least three. A name is the first two of these words and, where
another cluster is called so, further ones.

Letters: V buckets of words, G clusters.
"""

from collections.abc import Iterable, Sequence

import numpy as np

from pipeline.kernels.bags import BUCKETS, Bags
from pipeline.kernels.log_odds import z_scores

CANDIDATES, TOLD = 40, 8
LEAST_SHARE = 0.05
_LEAST, _MOST = 3, 24


def candidates(bags: Bags, clusters_N: np.ndarray, clusters: int, weights_V: np.ndarray) -> list[list[int]]:
    """Return for each cluster the buckets that tell it best, the best first, at most `CANDIDATES`.

    Of a cluster that is alone they are the rarest words that many of its documents have.
    """
    documents_F = np.repeat(clusters_N, np.diff(bags.offsets))
    everywhere_V = np.bincount(bags.buckets, minlength=BUCKETS)
    found = []
    for cluster in range(clusters):
        inside_V = np.bincount(bags.buckets[documents_F == cluster], minlength=BUCKETS)
        share_V = inside_V / max(int((clusters_N == cluster).sum()), 1)
        worth_V = (z_scores(inside_V, everywhere_V) if clusters > 1 else share_V) * weights_V
        often = np.flatnonzero((share_V >= LEAST_SHARE) & (worth_V > 0))
        found.append(often[np.lexsort((often, -worth_V[often]))][:CANDIDATES].tolist())
    return found


def told(buckets: Iterable[int], spelled: dict[int, str]) -> list[str]:
    """Return the words of the buckets that may stand in a name, in their order, at most `TOLD`."""
    words = (spelled.get(bucket, "") for bucket in buckets)
    return [word for word in words if len(word) <= _MOST and (len(word) >= _LEAST or not word.isascii())][:TOLD]


def named(words: Sequence[Sequence[str]], order: Iterable[int]) -> list[str]:
    """Return a name for each cluster, no two alike and without a slash.

    Args:
        words: of each cluster, the best first.
        order: of the clusters in which they choose.
    """
    names = [""] * len(words)
    for cluster in order:
        own = words[cluster]
        choices = ["-".join(own[:count]) for count in range(min(2, len(own)), len(own) + 1) if count]
        numbered = (f"{'-'.join(own[:2]) or 'cluster'}-{number}" for number in range(1, len(words) + 2))
        names[cluster] = next(name for name in (*choices, *numbered) if name not in names)
    return names
