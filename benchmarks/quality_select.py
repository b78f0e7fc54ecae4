"""Select from 2 M documents by every method of quality.select; the same by sorting everything in memory beside it.

    python benchmarks/quality_select.py [--documents 2000000] [--json]

The stage reads narrow columns from Parquet shards, as often as it must, and writes a mask; it never holds more than a
batch and histograms. The peer reads the same columns once, holds all of them, sorts with numpy and writes nothing.
Printed are the CPU time of both, the documents about which they differ, and how far the weight kept is from the share
asked for, which no cut can bring below half a document. Of an ensemble: the quantiles' largest distance from k/20.
"""

import math
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from harness import arguments, finish, interleaved, median, ratio, table

from pipeline.corpus import DATA, Corpus, Manifest, Shard, Shards
from pipeline.execution import LocalRunner
from pipeline.kernels.gumbel import gumbel
from pipeline.kernels.hashing import draw
from pipeline.parquet import write_table
from pipeline.quality.sampling import STREAM
from pipeline.quality.select import select
from pipeline.quality.select_params import SelectParams
from pipeline.schemas import doc_id_array, doc_ids
from pipeline.stage import Step
from pipeline.tasks import Foreman

SHARDS, SCORERS, SHARE = 16, ("edu", "ft", "asklm"), 0.3
DOMAINS = ("books", "code", "forum", "web")
METHODS: dict[str, dict[str, Any]] = {
    "share": {"rank": "edu", "share": SHARE},
    "share in each domain": {"rank": "edu", "share": SHARE, "scope": "domain"},
    "drawn at temperature 2": {"rank": "edu", "share": SHARE, "temperature": 2.0},
    "ensemble of three": {"ensemble": SCORERS, "share": SHARE},
    "share, five buckets": {"rank": "edu", "share": SHARE, "buckets": 5},
}


def write_corpora(root: Path, documents: int) -> dict[str, Corpus]:
    """Write documents without text and the scores of three scorers, one of which gives few different ones."""
    rng, made = np.random.default_rng(0), {"documents": [], "scores": []}
    for shard in range(SHARDS):
        count = documents * (shard + 1) // SHARDS - documents * shard // SHARDS
        ids = rng.integers(0, 1 << 64, (count, 2), dtype=np.uint64)
        sizes = rng.lognormal(7.5, 1.2, count).astype(np.int64) + 1
        domains = np.array(DOMAINS)[rng.choice(len(DOMAINS), count, p=(0.1, 0.2, 0.2, 0.5))]
        columns = {"doc_id": doc_id_array(ids), "domain": pa.array(domains), "bytes": pa.array(sizes)}
        scores = (rng.beta(1, 4, count), 1 / (1 + np.exp(-rng.normal(-2, 3, count))), rng.integers(0, 50, count) / 49)
        made["documents"].append(pa.table(columns))
        made["scores"].append(pa.table({n: s.astype(np.float32) for n, s in zip(SCORERS, scores, strict=True)}))
    return {name: _written(root / name, tables) for name, tables in made.items()}


def _written(root: Path, tables: list[pa.Table]) -> Corpus:
    (root / DATA).mkdir(parents=True)
    shards = []
    for number, shard in enumerate(tables):
        name = f"part-{number:05d}.parquet"
        shards.append(Shard(name, write_table(root / DATA / name, shard), 0, ""))
    whole = Manifest(stage=root.name, version=1, fingerprint=root.name, params={}, inputs={}, shards=Shards(shards))
    return Corpus(root=root, manifest=whole)


@dataclass
class Whole:
    """All columns in memory, as the peer has them."""

    ids: np.ndarray
    domains: np.ndarray
    sizes: np.ndarray
    scores: dict[str, np.ndarray]

    @classmethod
    def read(cls, inputs: dict[str, Corpus], names: tuple[str, ...]) -> "Whole":
        """Read the columns a method needs."""
        documents, scores = (pa.concat_tables(pq.read_table(p) for p in inputs[r].paths()) for r in inputs)
        codes = documents["domain"].combine_chunks().dictionary_encode().indices.to_numpy()
        columns = {name: scores[name].to_numpy() for name in names}
        return cls(doc_ids(documents["doc_id"]), codes, documents["bytes"].to_numpy(), columns)


def by_sorting(inputs: dict[str, Corpus], params: SelectParams) -> tuple[np.ndarray, float]:
    """Return what is kept by sorting everything, and of an ensemble the largest distance of a quantile."""
    whole = Whole.read(inputs, params.columns)
    distance, ranks = 0.0, next(iter(whole.scores.values()))
    if params.ensemble:
        placed = [_buckets(scores, whole.sizes, 20) for scores in whole.scores.values()]
        ranks = np.max([buckets for buckets, _ in placed], axis=0).astype(np.float32)
        distance = max(far for _, far in placed[:2])  # the third scorer has ties, at which no quantile is exact
    if params.samples:
        z = (ranks - ranks.mean(dtype=float)) / ranks.std(dtype=float) / float(params.temperature or 1)
        ranks = (z + gumbel(draw(params.seed, whole.ids, STREAM))).astype(np.float32)
    keep = np.zeros(len(ranks), bool)
    groups = [whole.domains == code for code in np.unique(whole.domains)] if params.by_domain else [np.ones_like(keep)]
    for mine in groups:
        rows = np.flatnonzero(mine)
        order = rows[np.lexsort((whole.ids[rows, 1], whole.ids[rows, 0], -ranks[rows]))]
        sums = np.cumsum(whole.sizes[order])
        keep[order[: np.searchsorted(sums, math.ceil(SHARE * sums[-1])) + 1]] = True
    if params.buckets:
        _buckets(ranks[keep], whole.sizes[keep], 5)
    return keep, distance


def _buckets(scores: np.ndarray, sizes: np.ndarray, count: int) -> tuple[np.ndarray, float]:
    order = np.argsort(scores, kind="stable")
    sums = np.cumsum(sizes[order])
    places = np.searchsorted(sums, np.ceil(np.arange(1, count) * sums[-1] / count))
    far = np.abs(sums[places] / sums[-1] - np.arange(1, count) / count).max()
    return np.searchsorted(scores[order[places]], scores, side="left"), float(far)


def by_stage(root: Path, inputs: dict[str, Corpus], params: SelectParams) -> Callable[[], np.ndarray]:
    """Return a function that runs the stage once more, in a new folder, and returns what it keeps."""
    runs = iter(range(1 << 30))

    def run() -> np.ndarray:
        out = root / f"{next(runs)}"
        step = Step("quality.select", out, inputs, Foreman("quality.select", out, LocalRunner(1)))
        select(step, params)
        paths = sorted((out / DATA).glob("*.parquet"))
        return pa.concat_tables(pq.read_table(path, columns=["keep"]) for path in paths)["keep"].to_numpy()

    return run


def main() -> None:
    """Measure every method, then the noise alone."""
    parser = arguments(sys.modules[__name__].__doc__ or "", repeats=3)
    parser.add_argument("--documents", type=int, default=2_000_000)
    options = parser.parse_args()
    rows, result = [], {}
    with tempfile.TemporaryDirectory() as folder:
        inputs = write_corpora(Path(folder), options.documents)
        sizes = pa.concat_tables(pq.read_table(p, columns=["bytes"]) for p in inputs["documents"].paths())
        weights = sizes["bytes"].to_numpy()
        for name, given in METHODS.items():
            params = SelectParams(**given)
            run = by_stage(Path(folder) / name, inputs, params)
            keep, (wanted, distance) = run(), by_sorting(inputs, params)
            samples = interleaved({"ours": run, "sort": lambda p=params: by_sorting(inputs, p)}, options.repeats)
            found = {
                "cpu_s": median(samples["ours"]),
                "times_the_sort": ratio(samples["ours"], samples["sort"]),
                "differ": int((keep != wanted).sum()),
                "share_error": abs(float(weights[keep].sum() / weights.sum()) - SHARE),
                "quantile_error": distance,
            }
            result[name] = found
            rows.append([name, *(f"{v:.2e}" if k.endswith("error") else v for k, v in found.items())])
    head = ("method", "CPU s", "times the sort", "documents that differ", "error of the share", "of a quantile")
    table(f"{options.documents:,} documents, {SHARE:.0%} of the bytes, one worker", head, rows)
    draws = np.random.default_rng(0).integers(0, 1 << 64, 1 << 22, dtype=np.uint64)
    uniform = ((draws >> np.uint64(12)) + 0.5) * 2.0**-52
    noise = interleaved({"ours": lambda: gumbel(draws), "numpy": lambda: -np.log(-np.log(uniform))}, options.repeats)
    result["noise"] = {
        "ns": median(noise["ours"]) / len(draws) * 1e9,
        "times_numpy": ratio(noise["ours"], noise["numpy"]),
    }
    cells = [["Gumbel", result["noise"]["ns"], result["noise"]["times_numpy"]]]
    table("Noise", ("of one document", "ns", "times numpy's logarithm"), cells)
    finish(options, result)


if __name__ == "__main__":
    main()
