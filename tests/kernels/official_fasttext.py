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
    "many labels": {"wordNgrams": 2, "dim": 10, "bucket": 4096},
    "own prefix": {"wordNgrams": 2, "dim": 4, "bucket": 1000, "label": "__class__"},
    "rare words": {"wordNgrams": 1, "dim": 4, "minCount": 400},
    "quantised": {"wordNgrams": 2, "dim": 8, "bucket": 2000},
    "pruned": {"wordNgrams": 2, "minn": 2, "maxn": 3, "dim": 8, "bucket": 2000},
}


def train(folder: Path, name: str, **more) -> Path:
    """Train one of `MODELS` on invented lines and return its file."""
    path = folder / f"{name}.{'ftz' if name in ('quantised', 'pruned') else 'bin'}"
    labels = ["1", "0"] if name != "many labels" else list("abcdefg")
    settings = {**MODELS[name], **more}
    lines = folder / f"{name}.txt"
    lines.write_text("\n".join(_lines(settings.get("label", "__label__"), labels)))
    model = fasttext.train_supervised(str(lines), thread=THREADS, epoch=8, lr=0.8, verbose=0, **settings)
    if name == "quantised":
        model.quantize(qnorm=True)
    if name == "pruned":
        model.quantize(input=str(lines), cutoff=400, retrain=False, thread=THREADS)
    model.save_model(str(path))
    return path


def without_eos(folder: Path) -> Path:
    """Write a model that knows one word, `the`, and no end of text, so that most texts have no feature at all."""
    model = Model(
        loss="softmax",
        word_ngrams=1,
        bucket=0,
        minn=0,
        maxn=0,
        epochs=1,
        min_count=1,
        n_tokens=1,
        n_words=1,
        entry_bytes=np.frombuffer(b"the__label__1__label__0", np.uint8),
        entry_offsets=np.array([0, 3, 13, 23]),
        entry_counts=np.array([1, 1, 1]),
        pruned_rows=None,
        inputs_RD=np.array([[2.0]], np.float32),
        outputs_LD=np.array([[0.5], [-0.5]], np.float32),
    )
    path = folder / "without-eos.bin"
    path.write_bytes(serialise(model))
    return path


def _lines(prefix: str, labels: list[str]) -> list[str]:
    rng = random.Random(5)
    lines = []
    for n in range(600):
        number = n % len(labels)
        favoured = WORDS[number * 7 : number * 7 + 12]
        words = [rng.choice(favoured if rng.random() < 0.4 else WORDS) for _ in range(rng.randint(1, 30))]
        lines.append(f"{prefix}{labels[number]} {' '.join(words)}")
    return lines


def predict(path: Path, texts: list[str]) -> list[dict[str, float]]:
    """Return label -> probability of each text; empty where fastText predicts nothing."""
    model = fasttext.load_model(str(path))
    # predict(str) raises on numpy 2; a newline would end the text.
    found = (model.f.predict(text.replace("\n", " ") + "\n", 1000, 0.0, "strict") for text in texts)
    return [{label: p for p, label in predictions} for predictions in found]
