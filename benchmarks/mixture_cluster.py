"""Clusters as domains: how well they tell the seven sources of the small corpus, and at what cost, beside scikit-learn.

    OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 python benchmarks/mixture_cluster.py [--repeats 3] [--json]

The peer is TfidfVectorizer (sublinear tf, words of two documents and more) and KMeans on the same texts, in this
process and from the same seeds. NMI is the normalised mutual information of clusters and sources. CPU seconds are those
of text to clusters; ours are the kernels that the stage calls, without reading and writing.
"""

import statistics
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from harness import MB, arguments, finish, interleaved, median, ratio, shared, table
from sklearn.cluster import KMeans
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.metrics import normalized_mutual_info_score

from pipeline.kernels import bags as words
from pipeline.kernels import projection
from pipeline.mixture.cluster import DIMENSIONS, FINE
from pipeline.mixture.cluster_model import Wanted, learned
from pipeline.schemas import text_buffers

DOMAINS = ("books", "code", "docs", "forum", "multilingual", "reference", "web")
COUNTS = (7, 21)


def corpus() -> tuple[pa.LargeStringArray, list[str]]:
    """Return the texts of the small corpus and their sources."""
    texts, sources = [], []
    for domain in DOMAINS:
        for path in sorted((shared() / "data/small").glob(f"{domain}-*.parquet")):
            texts += pq.read_table(path, columns=["text"])["text"].cast(pa.large_string()).chunks
            sources += [domain] * pq.read_metadata(path).num_rows
    return pa.concat_arrays(texts), sources


def ours(texts: pa.LargeStringArray, count: int, seed: int) -> np.ndarray:
    """Return our cluster of each text."""
    bags = words.bags(*text_buffers(texts))
    weights_V = projection.rarity(projection.document_counts(bags), len(texts))
    points_ND = projection.project(bags, weights_V, DIMENSIONS, seed)
    sizes_N = np.diff(text_buffers(texts)[1])
    return learned(points_ND, sizes_N, Wanted(count, FINE * count, 20, 0.002, seed))[1]


def theirs(texts: list[str], count: int, seed: int) -> np.ndarray:
    """Return scikit-learn's cluster of each text."""
    weighed = TfidfVectorizer(min_df=2, sublinear_tf=True).fit_transform(texts)
    return np.asarray(KMeans(count, n_init=1, max_iter=20, random_state=seed).fit(weighed).labels_)


def compared(texts: pa.LargeStringArray, sources: list[str], count: int, repeats: int) -> dict[str, Any]:
    """Return NMI (mean, least) and CPU seconds of both, run i from seed i."""
    plain, agreements = texts.to_pylist(), {"ours": [], "sklearn": []}  # type: ignore[var-annotated]

    def run(name: str, clusters: Callable[..., np.ndarray], given: Any) -> Callable[[], None]:
        def once() -> None:
            found_N = clusters(given, count, len(agreements[name]))
            agreements[name].append(normalized_mutual_info_score(sources, found_N))

        return once

    runs = interleaved({"ours": run("ours", ours, texts), "sklearn": run("sklearn", theirs, plain)}, repeats)
    made: dict[str, Any] = {"clusters": count, "cpu_ratio": ratio(runs["sklearn"], runs["ours"])}
    for name, values in agreements.items():
        made |= {f"{name}_nmi": statistics.fmean(values), f"{name}_worst_nmi": min(values)}
        made[f"{name}_cpu_s"] = median(runs[name])
    return made


def speeds(texts: pa.LargeStringArray, repeats: int) -> dict[str, float]:
    """Return MB of text per CPU second of reading words, of projecting, and of both."""
    buffers = text_buffers(texts)
    bags, weights_V = words.bags(*buffers), np.ones(words.BUCKETS)
    runs = interleaved(
        {
            "words": lambda: words.bags(*buffers),
            "projection": lambda: projection.project(bags, weights_V, DIMENSIONS, 0),
            "both": lambda: projection.project(words.bags(*buffers), weights_V, DIMENSIONS, 0),
        },
        repeats,
    )
    return {name: int(buffers[1][-1]) / MB / median(samples) for name, samples in runs.items()}


def main() -> None:
    """Measure and print."""
    options = arguments(__doc__.splitlines()[0], repeats=3).parse_args()
    texts, sources = corpus()
    ours(texts.slice(0, 100), 2, 0)  # compiles
    rows = [compared(texts, sources, count, options.repeats) for count in COUNTS]
    speed = speeds(texts, options.repeats)
    names = (
        "ours_nmi",
        "ours_worst_nmi",
        "sklearn_nmi",
        "sklearn_worst_nmi",
        "ours_cpu_s",
        "sklearn_cpu_s",
        "cpu_ratio",
    )
    table(
        f"{len(texts):,} documents of 7 sources, {options.repeats} seeds",
        ("clusters", "our NMI", "worst", "sklearn's", "worst", "our CPU s", "sklearn's", "sklearn's / ours"),
        [[str(row["clusters"]), *(float(row[name]) for name in names)] for row in rows],
    )
    table("MB of text per CPU second", tuple(speed), [[f"{speed['words']:.0f}", *list(speed.values())[1:]]])
    finish(options, {"compared": rows, "mb_per_cpu_s": speed})


if __name__ == "__main__":
    main()
