"""What deduplication finds, what it wrongly drops, and what it costs, on a corpus whose near duplicates are known.

    python benchmarks/dedup_quality.py [--threshold 0.8] [--repeats 3] [--json]

`data/dups`: 9,976 documents, 42.8 MB, and every pair of them with Jaccard >= 0.2 of their word 5-grams, computed over
all pairs without hashing (`pairs.parquet`). The whole road is built from the Parquet files (ingest, exact, sign, match,
cluster, keep) by `pipeline.build` with one worker in this process.

recall       share of the pairs with J >= threshold of which at least one document is dropped, or both are in one
             cluster, that is, were compared directly or through others
violations   dropped documents without a kept one at J >= threshold; by `pairs.parquet`, not by our own kernel
left over    pairs with J >= threshold of which both documents are kept
optimum      documents that the same greedy rule drops when it knows every pair
CPU          seconds of this process for a step, compiled; MB/s of input text
"""

import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from harness import MB, arguments, finish, shared, table

import pipeline
from pipeline.api import Silent
from pipeline.config import Profile
from pipeline.corpus import Corpus
from pipeline.recipe import Recipe
from pipeline.schemas import doc_ids


@dataclass
class Clock(Silent):
    """Notes the CPU seconds of every step."""

    cpu_s: dict[str, float] = field(default_factory=dict)
    _since: float = 0.0

    def begin(self, step: Any, index: int, total: int) -> None:
        self._since = time.process_time()

    def end(self, step: Any, corpus: Any, *, kept: bool, seconds: float) -> None:
        self.cpu_s[step.name] = time.process_time() - self._since


@dataclass(frozen=True)
class Outcome:
    """What became of each document, in the order of the documents corpus."""

    names: list[str]
    order: np.ndarray
    kept: np.ndarray
    exact: int
    cluster: list[bytes | None]


def build(folder: Path, root: Path, threshold: float) -> tuple[Outcome, dict[str, float]]:
    """Build the corpus under `root`; return what became of the documents and the CPU seconds of the steps."""
    recipe = Recipe.model_validate(
        {
            "name": "dups",
            "sources": {"dups": {"paths": [str(folder / "docs-*.parquet")], "id": "id"}},
            "dedup": {"threshold": threshold},
        }
    )
    clock = Clock()
    built = pipeline.build(recipe, Profile(root=root, workers=1), watcher=clock)
    documents, mask = rows(built["documents"], "source_id", "doc_id", "bytes"), rows(built["near"], "keep", "cluster")
    ids = doc_ids(documents["doc_id"])
    outcome = Outcome(
        names=documents["source_id"].to_pylist(),
        order=np.lexsort((ids[:, 1], ids[:, 0], -documents["bytes"].to_numpy())),
        kept=np.asarray(mask["keep"].combine_chunks()),
        exact=pc.sum(pc.invert(rows(built["exact"], "keep")["keep"])).as_py(),
        cluster=mask["cluster"].to_pylist(),
    )
    return outcome, clock.cpu_s


def rows(corpus: Corpus, *columns: str) -> pa.Table:
    """Return columns of all shards."""
    return pa.concat_tables(pq.read_table(path, columns=list(columns)) for path in corpus.paths()).combine_chunks()


def true_pairs(folder: Path, names: Iterable[str], threshold: float) -> list[tuple[int, int]]:
    """Return the places of the documents of every pair at or above the threshold."""
    places = {name: place for place, name in enumerate(names)}
    pairs = pq.read_table(folder / "pairs.parquet", columns=["id_a", "id_b", "jaccard"])
    pairs = pairs.filter(pc.greater_equal(pairs["jaccard"], threshold))
    return [(places[a], places[b]) for a, b in zip(*(pairs[c].to_pylist() for c in ("id_a", "id_b")), strict=True)]


def optimum(pairs: Iterable[tuple[int, int]], order: np.ndarray) -> int:
    """Return how many documents the greedy rule drops, best first, when it sees every pair."""
    like = neighbours(pairs)
    kept: set[int] = set()
    for document in order.tolist():
        if kept.isdisjoint(like[document]):
            kept.add(document)
    return len(order) - len(kept)


def neighbours(pairs: Iterable[tuple[int, int]]) -> dict[int, set[int]]:
    """Return who is in a pair with whom."""
    like: dict[int, set[int]] = defaultdict(set)
    for a, b in pairs:
        like[a].add(b)
        like[b].add(a)
    return like


def judge(outcome: Outcome, pairs: list[tuple[int, int]]) -> dict[str, Any]:
    """Return the figures of merit."""
    kept, cluster, like = outcome.kept, outcome.cluster, neighbours(pairs)
    dropped = np.flatnonzero(~kept).tolist()
    found = sum(not (kept[a] and kept[b]) or (cluster[a] is not None and cluster[a] == cluster[b]) for a, b in pairs)
    return {
        "documents": len(kept),
        "true_pairs": len(pairs),
        "recall": found / len(pairs),
        "violations": sum(not any(kept[other] for other in like[document]) for document in dropped),
        "left_over": sum(bool(kept[a] and kept[b]) for a, b in pairs),
        "dropped": len(dropped),
        "dropped_exact": outcome.exact,
        "optimum": optimum(pairs, outcome.order),
    }


def main() -> int:
    parser = arguments(__doc__.splitlines()[0], repeats=3)
    parser.add_argument(
        "--threshold", type=float, default=0.8, help="Jaccard similarity of near duplicates (%(default)s)"
    )
    options = parser.parse_args()
    folder = shared() / "data" / "dups"
    samples: list[dict[str, float]] = []
    for _ in range(options.repeats + 1):  # the first one compiles
        with tempfile.TemporaryDirectory() as root:
            outcome, cpu_s = build(folder, Path(root), options.threshold)
        samples.append(cpu_s)
    result = judge(outcome, true_pairs(folder, outcome.names, options.threshold))
    seconds = {step: float(np.median([sample[step] for sample in samples[1:]])) for step in samples[0]}
    size = sum(pc.sum(pc.binary_length(pq.read_table(p)["text"])).as_py() for p in folder.glob("docs-*.parquet")) / MB
    near = sum(seconds[step] for step in ("bands", "candidates", "similar", "near"))
    table(f"threshold {options.threshold}", ["figure", "value"], [[name, value] for name, value in result.items()])
    costs = [*seconds.items(), ("near duplicates together", near)]
    table(f"{size:.1f} MB of text", ["step", "CPU s", "MB/s"], [[name, cost, size / cost] for name, cost in costs])
    finish(options, result | {"threshold": options.threshold, "cpu_s": seconds, "near_mb_per_cpu_s": size / near})
    return 0 if result["violations"] == 0 else 1


if __name__ == "__main__":
    sys.exit(main())
