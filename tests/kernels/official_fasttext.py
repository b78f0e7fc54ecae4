"""Models trained by the official fastText, and its predictions: the oracle."""

import random
from pathlib import Path

import fasttext
import numpy as np

from pipeline.kernels.fasttext_model import Model, serialise

WORDS = ["the", "a", "of", "über", "naïve", "слово", "日本", "x", "return", "{", "}", "1.5", "<b>", "__lambda", "é"]
WORDS += [f"w{n}" for n in range(60)]
THREADS = 12  # with fewer than eleven, 0.9.3 trains on memory it never initialised

MODELS = {
    "bigrams": {"wordNgrams": 2, "dim": 8, "bucket": 5000},
    "unigrams": {"wordNgrams": 1, "dim": 4},
    "trigrams": {"wordNgrams": 3, "dim": 4, "bucket": 1 << 12},
    "characters": {"wordNgrams": 1, "minn": 2, "maxn": 4, "dim": 6, "bucket": 3001},
    "everything": {"wordNgrams": 3, "minn": 1, "maxn": 3, "dim": 6, "bucket": 997},
    "many labels": {"wordNgrams": 2, "dim": 10, "bucket": 4096, "labels": 7},
    "more labels than dimensions": {"wordNgrams": 5, "dim": 3, "bucket": 2000, "labels": 7},
    "own prefix": {"wordNgrams": 2, "dim": 4, "bucket": 1000, "label": "__class__"},
    "rare words": {"wordNgrams": 1, "dim": 4, "minCount": 400},
    "quantised": {"wordNgrams": 2, "dim": 8, "bucket": 2000, "quantise": {"qnorm": True}},
    "pruned": {"wordNgrams": 2, "minn": 2, "maxn": 3, "dim": 8, "bucket": 2000, "quantise": {"cutoff": 400}},
    "one against all": {"loss": "ova", "wordNgrams": 2, "dim": 10, "bucket": 3000, "labels": 7},
    "two against each other": {"loss": "ova", "wordNgrams": 3, "dim": 16, "bucket": 3000},
    "sampled": {"loss": "ns", "wordNgrams": 2, "dim": 8, "bucket": 3000, "labels": 5},
    "tree": {"loss": "hs", "wordNgrams": 2, "dim": 10, "bucket": 3000, "labels": 20},
    "tree of two": {"loss": "hs", "wordNgrams": 1, "minn": 2, "maxn": 3, "dim": 5, "bucket": 3000},
    "quantised one against all": {"loss": "ova", "dim": 7, "minn": 2, "maxn": 3, "bucket": 2000, "quantise": {}},
    "pruned tree": {
        **{"loss": "hs", "wordNgrams": 2, "minn": 2, "maxn": 4, "dim": 16, "bucket": 5000, "labels": 30},
        "quantise": {"cutoff": 500, "qnorm": True, "retrain": True, "epoch": 1},
    },
    "all quantised": {
        "wordNgrams": 2,
        "dim": 6,
        "bucket": 1000,
        "labels": 300,
        "quantise": {"qnorm": True, "qout": True},
    },
    "all quantised tree": {
        "loss": "hs",
        "wordNgrams": 2,
        "bucket": 1000,
        "dim": 6,
        "labels": 300,
        "quantise": {"qout": True},
    },
    "all quantised with norms": {
        **{"loss": "ova", "wordNgrams": 2, "bucket": 999, "dim": 6, "labels": 300},
        "quantise": {"qout": True, "qnorm": True},
    },
    "all quantised one against all": {
        "loss": "ova",
        "wordNgrams": 2,
        "bucket": 999,
        "dim": 6,
        "labels": 300,
        "quantise": {"qout": True},
    },
}


def train(folder: Path, name: str, **more) -> Path:
    """Train one of `MODELS` on invented lines and return its file."""
    settings = {**MODELS[name], **more}
    quantise = settings.pop("quantise", None)
    path = folder / f"{name}.{'bin' if quantise is None else 'ftz'}"
    count = settings.pop("labels", 2)
    labels = ["1", "0"] if count == 2 else list("abcdefg") if count == 7 else [f"l{n}" for n in range(count)]
    lines = folder / f"{name}.txt"
    lines.write_text("\n".join(_lines(settings.get("label", "__label__"), labels)))
    model = fasttext.train_supervised(
        str(lines), **({"thread": THREADS, "epoch": 8, "lr": 0.8, "verbose": 0} | settings)
    )
    if quantise is not None:
        needs_lines = {"input": str(lines), "thread": THREADS} if "cutoff" in quantise else {}
        model.quantize(**needs_lines, **quantise)
    model.save_model(str(path))
    return path


def written(path: Path, *, loss: str, words: list[bytes], counts: list[int], inputs_RD, outputs_LD) -> Path:
    """Write a model of words alone, with labels `__label__0` ... that occurred `counts` times, and these matrices."""
    entries = [*words, *(b"__label__%d" % label for label in range(len(counts)))]
    model = Model(
        loss=loss,
        word_ngrams=1,
        bucket=0,
        minn=0,
        maxn=0,
        epochs=1,
        min_count=1,
        n_tokens=len(words),
        n_words=len(words),
        entry_bytes=np.frombuffer(b"".join(entries), np.uint8),
        entry_offsets=np.cumsum([0, *map(len, entries)]),
        entry_counts=np.array([*[1] * len(words), *counts], np.int64),
        pruned_rows=None,
        inputs_RD=np.array(inputs_RD, np.float32),
        outputs_LD=np.array(outputs_LD, np.float32),
    )
    path.write_bytes(serialise(model))
    return path


def without_eos(folder: Path) -> Path:
    """Write a model that knows one word, `the`, and no end of text, so that most texts have no feature at all."""
    matrices = {"inputs_RD": [[2.0]], "outputs_LD": [[-0.5], [0.5]]}
    return written(folder / "without-eos.bin", loss="softmax", words=[b"the"], counts=[1, 1], **matrices)


def _lines(prefix: str, labels: list[str]) -> list[str]:
    rng = random.Random(5)
    lines = []
    for n in range(600):
        number = n % len(labels)
        place = number * 7 % len(WORDS)
        favoured = WORDS[place : place + 12]
        words = [rng.choice(favoured if rng.random() < 0.4 else WORDS) for _ in range(rng.randint(1, 30))]
        lines.append(f"{prefix}{labels[number]} {' '.join(words)}")
    return lines


def predict(path: Path, texts: list[str], k: int = 1000) -> list[dict[str, float]]:
    """Return label -> probability of each text, the `k` best; empty where fastText predicts nothing."""
    model = fasttext.load_model(str(path))
    # predict(str) raises on numpy 2; a newline would end the text.
    found = (model.f.predict(text.replace("\n", " ") + "\n", k, 0.0, "strict") for text in texts)
    return [{label: p for p, label in predictions} for predictions in found]
