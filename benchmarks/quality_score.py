"""Our fastText scorer beside official fastText.

    python benchmarks/quality_score.py [--repeats 5] [--bucket 2000000] [--json]

Scoring, in one thread, ours from Arrow buffers and official fastText from Python strings, loading not counted: an
official model of two labels (bigrams, 100 dimensions, 2 M buckets, as PreSelect publishes it) and the same with 18
labels of random vectors, under softmax and one-vs-all, on English documents; language identification by lid.176.ftz
(where the package that has it is installed) on all sorts. How far apart the probabilities are, on all documents of a
larger corpus and on fuzzed ones. What two processes that score with the large model hold in memory. (Official fastText
trains on uninitialised memory with fewer than eleven threads, so it gets twelve.)

Needs the package `fasttext` (extra `test`).
"""

import multiprocessing
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from harness import MB, arguments, finish, interleaved, median, ratio, shared, table

from pipeline.errors import DataError
from pipeline.kernels.fasttext import Scorer
from pipeline.kernels.fasttext_model import Model, parse, serialise
from pipeline.quality.model import language_model, load, prepare, scorer
from pipeline.schemas import text_buffers

try:
    import fasttext
except ImportError:
    sys.exit("this compares with official fastText: pip install 'corpusmill[test]' (it wants a C++ compiler)")

THREADS = 12
ENGLISH = ("web", "reference", "docs", "forum")
LABELS = 18
SPREAD = 0.9  # of the values of output vectors: what training gives the model of two labels
FUZZED = 10_000
PUBLISHED = {"lr": 0.1, "epoch": 3, "wordNgrams": 2, "dim": 100}


def texts_of(domain: str) -> list[str]:
    """Return the documents of a domain in the order of their ids."""
    paths = sorted((shared() / "data/small").glob(f"{domain}-*.parquet"))
    tables = [pq.read_table(path, columns=["id", "text"]) for path in paths]
    found: list[str] = pa.concat_tables(tables).sort_by("id")["text"].to_pylist()
    return found


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


def predict_official(model: Any, lines: Sequence[str], k: int) -> list[list[tuple[float, str]]]:
    predict = model.f.predict
    return [predict(line, k, 0.0, "strict") for line in lines]


def lines_of(texts: Sequence[str]) -> list[str]:
    return [text.replace("\n", " ") + "\n" for text in texts]


def with_labels(model: Model, loss: str) -> Model:
    """Return the model with `LABELS` labels of random vectors instead of its two."""
    names = [b"__label__%02d" % n for n in range(LABELS)]
    words = model.entry_offsets[model.n_words]
    sizes = np.cumsum([len(name) for name in names])
    vectors_LD = np.random.default_rng(0).normal(0, SPREAD, (LABELS, model.inputs_RD.shape[1]))
    return replace(
        model,
        loss=loss,
        entry_bytes=np.concatenate([model.entry_bytes[:words], np.frombuffer(b"".join(names), np.uint8)]),
        entry_offsets=np.concatenate([model.entry_offsets[: model.n_words + 1], words + sizes]),
        entry_counts=np.concatenate([model.entry_counts[: model.n_words], np.arange(LABELS, 0, -1)]),
        outputs_LD=vectors_LD.astype(np.float32),
    )


def model_files(folder: Path, bucket: int) -> dict[str, Path]:
    """Train or write the models that are scored with; return their files by name."""
    texts = [text for domain in ENGLISH for text in texts_of(domain)]
    first_half = sum(len(texts_of(domain)) for domain in ENGLISH[:2])
    two = folder / "two.bin"
    train_official(folder, texts, [i < first_half for i in range(len(texts))], bucket, **PUBLISHED).save_model(str(two))
    files = {"two labels": two}
    for name, loss in ((f"{LABELS} labels", "softmax"), (f"{LABELS} labels, one-vs-all", "one-vs-all")):
        files[name] = folder / f"{loss}.bin"
        files[name].write_bytes(serialise(with_labels(parse(np.memmap(two, np.uint8, "r")), loss)))
    try:
        files["lid.176.ftz, best label"] = language_model()
    except DataError as error:
        print(f"language identification is left out: {error}")
    return files


def speed(path: Path, texts: Sequence[str], repeats: int) -> dict[str, Any]:
    """Return the throughput of both scorers; of the best label alone for a model of very many."""
    ours, official = Scorer(load(path)), fasttext.load_model(str(path))
    data, offsets = buffers(texts)
    lines = lines_of(texts)
    best = len(ours.labels) > LABELS
    run = ours.best if best else ours.probabilities
    run(data, offsets[:9])  # compiles
    variants = {
        "ours": lambda: run(data, offsets),
        "official fastText": lambda: predict_official(official, lines, 1 if best else LABELS),
    }
    samples = interleaved(variants, repeats)
    size = offsets[-1] / MB
    return {
        "documents": len(texts),
        "mb": size,
        "ours_mb_s": size / median(samples["ours"]),
        "official_mb_s": size / median(samples["official fastText"]),
        "ratio": ratio(samples["official fastText"], samples["ours"]),
    }


def fuzzed(seed: int, texts: Sequence[str]) -> Iterator[str]:
    """Yield short documents of words, pieces of words, labels, ends of text, all sorts of space, and other bytes."""
    rng = np.random.default_rng(seed)
    words = [word for text in texts[:: len(texts) // 200] for word in text.split(" ")[:50]]
    odd = ["</s>", "__label__1", "__label__", "</s>x", "\u00a0", "日本", "\x00", "é", "\x7f", "a" * 300, ""]
    spaces = [" ", "\n", "\t", "\r", "\v", "\f", "\0", "  ", ""]
    for _ in range(FUZZED):
        size = int(rng.integers(0, 80))
        taken = rng.integers(0, len(words), size)
        strange, gaps = rng.integers(0, 12 * len(odd), size), rng.integers(0, 4 * len(spaces), size)
        yield "".join(
            (odd[s] if s < len(odd) else words[w]) + (spaces[g] if g < len(spaces) else " ")
            for w, s, g in zip(taken, strange, gaps, strict=True)
        )


def differences(path: Path, texts: Sequence[str]) -> dict[str, Any]:
    """Return how far apart the best labels' or all labels' probabilities are, by document.

    Our best label is the same if none is more probable in the eyes of official fastText.
    """
    ours, official = Scorer(load(path)), fasttext.load_model(str(path))
    places = {label: place for place, label in enumerate(ours.labels)}
    best = len(places) > LABELS
    worst, parity, same = np.zeros(len(texts)), 0, 0
    for start in range(0, len(texts), 2000):
        part = texts[start : start + 2000]
        found = predict_official(official, lines_of(part), 1 if best else LABELS)
        theirs = np.full((len(part), len(places)), np.nan)
        for row, pairs in zip(theirs, found, strict=True):
            for p, label in pairs:
                row[places[label]] = p
        labels, p = ours.best(*buffers(part))
        same += int((np.nan_to_num(theirs)[np.arange(len(part)), labels] == np.nanmax(theirs, axis=1)).sum())
        if best:
            theirs, given = np.nanmax(theirs, axis=1, keepdims=True), p[:, None]
        else:
            given = ours.probabilities(*buffers(part))
        parity += int((np.isnan(given) != np.isnan(theirs)).any(axis=1).sum())
        worst[start : start + 2000] = np.nan_to_num(np.abs(given - theirs)).max(axis=1)
    return {
        "documents": len(texts),
        "largest": float(worst.max()),
        "share_within_1e_6": float((worst <= 1e-6).mean()),
        "predicted_by_one_only": parity,
        "same_best_label": same / len(texts),
    }


def bench_texts() -> list[str]:
    paths = sorted((shared() / "data/bench").glob("*.parquet"))
    return [text for path in paths for text in pq.read_table(path, columns=["text"])["text"].to_pylist()]


def _memory(path: Path, prepared: Path, texts: list[str], barrier: Any, results: Any) -> None:
    """Score, wait until all have, and tell what this process holds, alone and as its share, in MB of 2^20 bytes."""
    made = scorer(path, prepared, "space")
    made.probabilities(*buffers(texts))
    barrier.wait()
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    kb = {line.split(":")[0]: int(line.split()[1]) for line in lines[1:]}
    of_weights, inside = 0, False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if "-" in line.split(" ")[0]:
            inside = str(prepared) in line or str(path) in line
        elif inside and line.startswith("Pss:"):
            of_weights += int(line.split()[1])
    results.put({"rss": kb["Rss"] / 1024, "pss": kb["Pss"] / 1024, "weights_pss": of_weights / 1024})
    barrier.wait()


def memory(folder: Path, path: Path, texts: list[str], processes: int) -> list[dict[str, float]]:
    """Return what each of some processes holds that score with one model at the same time."""
    prepared = prepare(path, folder)
    context = multiprocessing.get_context("spawn")
    barrier, results = context.Barrier(processes), context.Queue()
    workers = [
        context.Process(target=_memory, args=(path, prepared, texts, barrier, results)) for _ in range(processes)
    ]
    for worker in workers:
        worker.start()
    found = [results.get() for _ in workers]
    for worker in workers:
        worker.join()
    return found


def score(folder: Path, bucket: int, repeats: int) -> dict[str, Any]:
    """Return speed, difference and memory of every model."""
    files = model_files(folder, bucket)
    english, everything = [text for domain in ENGLISH for text in texts_of(domain)], bench_texts()
    odd = list(fuzzed(1, everything))
    report: dict[str, Any] = {"bucket": bucket, "speed": {}, "difference": {}, "memory": {}}
    for name, path in files.items():
        report["speed"][name] = speed(path, everything[::8] if path.suffix == ".ftz" else english, repeats)
        report["difference"][name] = {"real": differences(path, everything), "fuzzed": differences(path, odd)}
    for processes in (1, 2):
        report["memory"][processes] = memory(folder, files["two labels"], english[:3000], processes)
    return report


def main() -> None:
    parser = arguments(__doc__.splitlines()[0])
    parser.add_argument("--bucket", type=int, default=2_000_000, help="of official fastText (default %(default)s)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        scored = score(Path(folder), options.bucket, options.repeats)
    table(
        "Scoring, one thread",
        ("model", "documents", "MB", "ours MB/s of CPU", "official", "ratio"),
        [
            (name, r["documents"], r["mb"], r["ours_mb_s"], r["official_mb_s"], r["ratio"])
            for name, r in scored["speed"].items()
        ],
    )
    table(
        "Differences of P from official fastText",
        ("model", "texts", "documents", "largest", "within 1e-6", "predicted by one only", "best label agrees"),
        [
            (
                name,
                kind,
                d["documents"],
                f"{d['largest']:.1e}",
                f"{d['share_within_1e_6']:.3%}",
                d["predicted_by_one_only"],
                f"{d['same_best_label']:.3%}",
            )
            for name, kinds in scored["difference"].items()
            for kind, d in kinds.items()
        ],
    )
    table(
        "Memory of each process that scores with the model of two labels, MB",
        ("processes", "resident", "its share", "its share of the model and what was prepared of it"),
        [(str(n), p["rss"], p["pss"], p["weights_pss"]) for n, found in scored["memory"].items() for p in found],
    )
    finish(options, {"score": scored})


if __name__ == "__main__":
    main()
