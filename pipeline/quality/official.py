"""Training by the official fastText, the only module that imports it: an extra that wants a C++ compiler.

It is not deterministic: its threads race, so two runs on the same documents give two models. And version 0.9.3 trains
on memory that it never initialised if it has fewer than eleven threads, so it always gets twelve.
"""

import importlib.util
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa

from pipeline.errors import DataError
from pipeline.kernels.fasttext_model import Model, parse
from pipeline.kernels.fasttext_train import EOS_WORD
from pipeline.quality.train_params import Setting, TrainParams

THREADS = 12
NUL = bytes.maketrans(b"\0", b" ")
LABEL = b"__label__"


def require() -> None:
    """See that the package is there.

    Raises:
        DataError: it is not; says what to install.
    """
    if importlib.util.find_spec("fasttext") is None:
        raise DataError(
            "quality.train: `backend: official` needs the package fasttext, which is not installed: pip install "
            "'corpusmill[fasttext]' (it is built from source and wants a C++ compiler). Or take `backend: ours`."
        )


def train(texts: pa.Array, positive: np.ndarray, order: np.ndarray, params: TrainParams, setting: Setting) -> Model:
    """Return the model of official fastText, from documents in the given order.

    Words that begin with `__label__` are left out: it would take them for further labels.
    """
    import fasttext

    with tempfile.TemporaryDirectory() as folder:
        lines, path = Path(folder) / "lines.txt", Path(folder) / "model.bin"
        with lines.open("wb") as file:
            for row in order.tolist():
                file.write(b"%s%d %s\n" % (LABEL, positive[row], _line(texts[row].as_buffer().to_pybytes())))
        model = fasttext.train_supervised(
            input=str(lines),
            thread=THREADS,
            lr=setting.learning_rate,
            epoch=setting.epochs,
            wordNgrams=setting.word_ngrams,
            dim=params.dim,
            bucket=params.bucket,
            minCount=params.min_count,
            verbose=0,
        )
        model.save_model(str(path))
        return parse(path.read_bytes())


def _line(text: bytes) -> bytes:
    """One line of words up to the end of the document, which a literal `</s>` is."""
    words = text.translate(NUL).split()
    words = words[: words.index(EOS_WORD)] if EOS_WORD in words else words
    return b" ".join(word for word in words if not word.startswith(LABEL))
