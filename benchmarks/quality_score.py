"""Our fastText scorer and trainer beside official fastText, on English documents.

    python benchmarks/quality_score.py [--repeats 5] [--bucket 2000000] [--json]

Scoring: one official model (bigrams, 100 dimensions, 2 M buckets, as PreSelect publishes it), the same documents in one
thread, ours from Arrow buffers and official fastText from Python strings; loading not counted; and the largest
difference between two probabilities. Training: CPU time (official fastText trains on uninitialised memory with fewer
than eleven threads, so it gets twelve; CPU time adds them up) and AUC on a fifth of the documents that neither saw, for
three tasks; official fastText with the published settings and with a higher learning rate.

Needs the package `fasttext` (extra `test`).
"""

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from harness import MB, arguments, finish, interleaved, measured, median, ratio, shared, table

from pipeline.kernels import fasttext_train
from pipeline.kernels.fasttext import Scorer
from pipeline.kernels.fasttext_model import parse, serialise
from pipeline.kernels.hashing import draw, murmur128
from pipeline.quality.train import TrainParams, auc
from pipeline.schemas import text_buffers

try:
    import fasttext
except ImportError:
    sys.exit("this compares with official fastText: pip install 'corpusmill[test]' (it wants a C++ compiler)")

THREADS = 12
PUBLISHED = {"lr": 0.1, "epoch": 3, "wordNgrams": 2, "dim": 100}
TASKS = {
    "reference against web": ("reference", "web", 0.0),
    "docs against forum": ("docs", "forum", 0.0),
    "reference against web, 30 % of labels wrong": ("reference", "web", 0.3),
}


def texts_of(domain: str) -> list[str]:
    """Return the documents of a domain in the order of their ids."""
    paths = sorted((shared() / "data/small").glob(f"{domain}-*.parquet"))
    tables = [pq.read_table(path, columns=["id", "text"]) for path in paths]
    found: list[str] = pa.concat_tables(tables).sort_by("id")["text"].to_pylist()
    return found


def task_data(positive: str, negative: str, noise: float) -> tuple[list[str], np.ndarray, np.ndarray, np.ndarray]:
    """Return texts, true labels, labels to learn from, and which documents are held out."""
    classes = texts_of(positive), texts_of(negative)
    texts = [*classes[0], *classes[1]]
    truth = np.arange(len(texts)) < len(classes[0])
    ids_N2 = murmur128(*buffers(texts))
    wrong = draw(0, ids_N2, 1) < np.uint64(noise * 2**64)
    return texts, truth, truth ^ wrong, draw(0, ids_N2, 2) < np.uint64(0.2 * 2**64)


def buffers(texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    return text_buffers(pa.array(texts, pa.large_string()))


def one_line(text: str) -> str:
    return " ".join(text.split())


def train_official(folder: Path, texts: Sequence[str], labels: Sequence[bool], bucket: int, **settings: Any) -> Any:
    """Return the model of official fastText on these documents."""
    lines = folder / "lines.txt"
    rows = [f"__label__{int(label)} {one_line(text)}\n" for text, label in zip(texts, labels, strict=True)]
    lines.write_text("".join(rows[i] for i in np.random.default_rng(0).permutation(len(rows))))
    return fasttext.train_supervised(str(lines), thread=THREADS, bucket=bucket, verbose=0, **settings)


def predict_official(model: Any, lines: Sequence[str]) -> list[list[tuple[float, str]]]:
    predict = model.f.predict
    return [predict(line, 2, 0.0, "strict") for line in lines]


def positive_probabilities(model: Any, texts: Sequence[str]) -> np.ndarray:
    found = predict_official(model, [text.replace("\n", " ") + "\n" for text in texts])
    return np.array([next((p for p, label in pairs if label == "__label__1"), 0.0) for pairs in found])


def score(folder: Path, bucket: int, repeats: int) -> dict[str, Any]:
    """Return throughput of both scorers and how far apart they are."""
    first_half = len(texts_of("web")) + len(texts_of("reference"))
    texts = [text for domain in ("web", "reference", "docs", "forum") for text in texts_of(domain)]
    labels = [i < first_half for i in range(len(texts))]
    path = folder / "model.bin"
    official = train_official(folder, texts, labels, bucket, **PUBLISHED)
    official.save_model(str(path))
    ours = Scorer(parse(np.memmap(path, np.uint8, "r")))
    data, offsets = buffers(texts)
    lines = [text.replace("\n", " ") + "\n" for text in texts]
    place = ours.labels.index("__label__1")
    differences = np.abs(ours.probabilities(data, offsets)[:, place] - positive_probabilities(official, texts))
    variants = {
        "ours": lambda: ours.probabilities(data, offsets),
        "official fastText": lambda: predict_official(official, lines),
    }
    samples = interleaved(variants, repeats)
    size = offsets[-1] / MB
    return {
        "documents": len(texts),
        "mb": size,
        "bucket": bucket,
        "ours_mb_s": size / median(samples["ours"]),
        "official_mb_s": size / median(samples["official fastText"]),
        "ratio": ratio(samples["official fastText"], samples["ours"]),
        "max_difference": float(differences.max()),
        "share_above_1e_6": float((differences > 1e-6).mean()),
    }


def train(folder: Path, task: str, bucket: int, repeats: int) -> list[dict[str, Any]]:
    """Return CPU seconds and held-out AUC of every trainer on one task."""
    texts, truth, labels, held_out = task_data(*TASKS[task])
    learned = [text for text, out in zip(texts, held_out, strict=True) if not out]
    judged = [text for text, out in zip(texts, held_out, strict=True) if out]
    data, offsets = buffers(learned)
    ids_N2 = murmur128(data, offsets)
    params = TrainParams(positive=("a",), negative=("b",))
    order_EN = np.stack([np.argsort(draw(0, ids_N2, 100 + epoch), kind="stable") for epoch in range(params.epochs)])
    models: dict[str, Any] = {}

    def ours() -> None:
        models["ours"] = fasttext_train.train(
            data,
            offsets,
            labels[~held_out],
            order_EN,
            word_ngrams=params.word_ngrams,
            bucket=params.bucket,
            min_count=params.min_count,
            learning_rate=params.learning_rate,
        )[0]

    def official(name: str, **settings: Any) -> None:
        models[name] = train_official(folder, learned, labels[~held_out].tolist(), bucket, **PUBLISHED | settings)

    variants = {
        "ours": ours,
        "official, lr 0.1, 3 epochs": lambda: official("official, lr 0.1, 3 epochs"),
        "official, lr 0.5, 5 epochs": lambda: official("official, lr 0.5, 5 epochs", lr=0.5, epoch=5),
    }
    measured(ours)  # compiles
    samples = interleaved(variants, repeats)
    rows = []
    for name, model in models.items():
        scores = (
            Scorer(model).probabilities(*buffers(judged))[:, 0]
            if name == "ours"
            else positive_probabilities(model, judged)
        )
        rows.append(
            {
                "task": task,
                "trainer": name,
                "cpu_s": median(samples[name]),
                "cpu_over_ours": ratio(samples[name], samples["ours"]),
                "auc": auc(scores, truth[held_out]),
                "mb": offsets[-1] / MB,
            }
        )
    again = fasttext_train.train(
        data, offsets, labels[~held_out], order_EN, bucket=params.bucket, min_count=params.min_count
    )[0]
    rows[0]["bit_identical"] = serialise(again) == serialise(models["ours"])
    return rows


def main() -> None:
    parser = arguments(__doc__.splitlines()[0])
    parser.add_argument("--bucket", type=int, default=2_000_000, help="of official fastText (default %(default)s)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        scored = score(Path(folder), options.bucket, options.repeats)
        trained = [row for task in TASKS for row in train(Path(folder), task, options.bucket, min(options.repeats, 3))]
    table(
        f"Scoring {scored['documents']:,} documents, {scored['mb']:.0f} MB, one thread",
        ("scorer", "MB/s of CPU time", "ratio"),
        [("ours", scored["ours_mb_s"], scored["ratio"]), ("official fastText", scored["official_mb_s"], 1.0)],
    )
    print(f"  largest difference of P {scored['max_difference']:.1e}; above 1e-6: {scored['share_above_1e_6']:.2%}")
    for task in TASKS:
        rows = [row for row in trained if row["task"] == task]
        table(
            f"Training, {task}, {rows[0]['mb']:.0f} MB; our reruns are bit-identical: {rows[0]['bit_identical']}",
            ("trainer", "CPU s", "x ours", "held-out AUC"),
            [(row["trainer"], row["cpu_s"], row["cpu_over_ours"], f"{row['auc']:.4f}") for row in rows],
        )
    finish(options, {"score": scored, "train": trained})


if __name__ == "__main__":
    main()
