"""Our trainer of classifiers beside official fastText: CPU time and held-out AUC, each at settings chosen for it.

    python benchmarks/quality_train.py [--repeats 3] [--json]

Three tasks of English documents. Six tenths are learned from, two choose the hyper-parameters of each trainer out of a
grid, two judge; none of the judging part chooses anything. Where labels are wrong, they are so in the first two parts,
and the judging part has the true ones. Timed is one training at the chosen settings, text in, model out; official
fastText with 2 M buckets and 100 dimensions, as PreSelect publishes it, and once more with our number of buckets. It
trains on uninitialised memory with fewer than eleven threads, so it gets twelve; CPU time adds them up. Its AUC is the
median of its runs, which differ.

Needs the package `fasttext` (extra `fasttext` or `test`).
"""

import hashlib
import statistics
import sys
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from harness import MB, Sample, arguments, finish, interleaved, measured, median, ratio, shared, table

from pipeline.errors import DataError
from pipeline.kernels.fasttext_model import Model, serialise
from pipeline.kernels.hashing import draw, fractions, murmur128
from pipeline.quality import official
from pipeline.quality.fit import Documents, Parts, calibrated, fit, probabilities
from pipeline.quality.judge import auc, brier
from pipeline.quality.train_params import TrainParams
from pipeline.schemas import doc_id_array, text_buffers

TASKS = {
    "reference against web": ("reference", "web", 0.0),
    "forum against web": ("forum", "web", 0.0),
    "forum against web, 30 % of labels wrong": ("forum", "web", 0.3),
}
LABELS = {"positive": ("a",), "negative": ("b",)}
GRID = {"learning_rate": (0.1, 0.5, 1.0), "epochs": (5, 15)}  # of official fastText; ours is the default


def texts_of(domain: str) -> pa.ChunkedArray:
    """Return the documents of a domain in the order of their ids."""
    paths = sorted((shared() / "data/small").glob(f"{domain}-*.parquet"))
    return pa.concat_tables([pq.read_table(path, columns=["id", "text"]) for path in paths]).sort_by("id")["text"]


def parts_of(positive: str, negative: str, noise: float) -> Parts:
    """Return the three parts of a task, the classes of one size."""
    classes = texts_of(positive), texts_of(negative)
    texts = pa.chunked_array([*classes[0].chunks, *classes[1].chunks]).cast(pa.large_string()).combine_chunks()
    truth = np.arange(len(texts)) < len(classes[0])
    ids_N2 = murmur128(*text_buffers(texts))
    ranks = np.lexsort((draw(0, ids_N2, 1), truth))
    size = min(int(truth.sum()), int((~truth).sum()))
    chosen = np.concatenate([side[:size] for side in (ranks[: int((~truth).sum())], ranks[int((~truth).sum()) :])])
    texts, truth, ids_N2 = texts.take(pa.array(chosen)), truth[chosen], ids_N2[chosen]
    wrong = fractions(draw(0, ids_N2, 2)) < noise
    place = fractions(draw(0, ids_N2, 3))
    kinds = (place < 0.6, truth ^ wrong), ((place >= 0.6) & (place < 0.8), truth ^ wrong), (place >= 0.8, truth)
    return Parts(*(documents(texts, ids_N2, labels, rows) for rows, labels in kinds))


def documents(texts: pa.Array, ids_N2: np.ndarray, labels: np.ndarray, rows: np.ndarray) -> Documents:
    chosen = texts.filter(pa.array(rows))
    return Documents(pa.table({"doc_id": doc_id_array(ids_N2[rows]), "text": chosen}), chosen, labels[rows])


def train(parts: Parts, params: TrainParams) -> Model:
    """Return the chosen model; ours calibrated."""
    candidate, _ = fit(parts, params)
    return calibrated(candidate, parts.validation)[0] if params.calibrate else candidate.model


def chosen_params(parts: Parts, params: TrainParams) -> TrainParams:
    """Return the params with the setting that the validation part chooses out of them."""
    return params.model_copy(update={name: (value,) for name, value in fit(parts, params)[0].setting._asdict().items()})


def run(task: str, repeats: int) -> list[dict[str, Any]]:
    """Return the figures of every trainer on one task."""
    parts = parts_of(*TASKS[task])
    searched = TrainParams(**LABELS)
    fit(parts, searched)  # compiles
    search = measured(lambda: fit(parts, searched))
    published = chosen_params(parts, TrainParams(**LABELS, backend="official", **GRID))
    trainers = {
        "ours": chosen_params(parts, searched),
        "official fastText": published,
        "official, our buckets": published.model_copy(update={"bucket": searched.bucket}),
    }
    last: dict[str, Model] = {}
    variants = {
        name: lambda name=name, params=params: last.update({name: train(parts, params)})
        for name, params in trainers.items()
    }
    samples: dict[str, list[Sample]] = {name: [] for name in trainers}
    verdicts: dict[str, list[tuple[float, float, str]]] = {name: [] for name in trainers}
    for _ in range(repeats):
        for name, (sample,) in interleaved(variants, 1).items():
            samples[name].append(sample)
            verdicts[name].append(judged(last.pop(name), parts.held_out))  # an official model takes most of a gigabyte
    rows = []
    for name, params in trainers.items():
        areas, briers, prints = zip(*verdicts[name], strict=True)
        rows.append(
            {
                "task": task,
                "trainer": name,
                "documents": len(parts.learned.positive),
                "mb": float(np.ptp(parts.learned.buffers[1]) / MB),
                "setting": next(params.settings())._asdict(),
                "cpu_s": median(samples[name]),
                "cpu_over_ours": ratio(samples[name], samples["ours"]),
                "held_out_auc": statistics.median(areas),
                "held_out_brier": statistics.median(briers),
                "bit_identical": len(set(prints)) == 1,
            }
        )
    rows[0]["cpu_s_of_search"] = search.cpu_s
    return rows


def judged(model: Model, held_out: Documents) -> tuple[float, float, str]:
    """Return AUC and Brier score on the held-out part, and a checksum of the model's file."""
    scores = probabilities(model, held_out)
    area, score = auc(scores, held_out.positive), brier(scores, held_out.positive)
    assert area is not None
    assert score is not None
    return area, score, hashlib.sha256(serialise(model)).hexdigest()


def show(rows: list[Mapping[str, Any]]) -> None:
    first = rows[0]
    table(
        f"{first['task']}: {first['documents']:,} documents learned from, {first['mb']:.1f} MB; "
        f"our whole search takes {first['cpu_s_of_search']:.2f} CPU s",
        ("trainer", "rate", "epochs", "CPU s", "x ours", "held-out AUC", "Brier", "reruns bit-identical"),
        [
            (
                row["trainer"],
                row["setting"]["learning_rate"],
                row["setting"]["epochs"],
                row["cpu_s"],
                row["cpu_over_ours"],
                f"{row['held_out_auc']:.4f}",
                f"{row['held_out_brier']:.4f}",
                "yes" if row["bit_identical"] else "no",
            )
            for row in rows
        ],
    )


def main() -> None:
    options = arguments(__doc__.splitlines()[0], repeats=3).parse_args()
    try:
        official.require()
    except DataError as error:
        sys.exit(str(error))
    found = []
    for task in TASKS:
        rows = run(task, max(options.repeats, 2))
        show(rows)
        found += rows
    finish(options, {"train": found})


if __name__ == "__main__":
    main()
