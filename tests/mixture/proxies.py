"""A made-up corpus of two domains, and the training of proxies on mixtures of them."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline import store
from pipeline.mixture.train import TRAIN
from pipeline.mixture.train_params import TrainParams
from tests.conftest import run_stage, write_documents
from tests.corpora import vocabulary

COUNT = 240
SMALLEST = {"setting": "smoke", "vocabulary": 400, "budget_tokens": 5_120, "evaluations": 2, "held_out_bytes": 3_000}
"""Twenty steps."""
MIXTURES = {"a": (0.9, 0.1, 0), "b": (0.1, 0.9, 0), "prior-1": (0.5, 0.5, 1), "prior-2": (0.5, 0.5, 2)}


def rows(seed=0):
    """Return (text, domain) rows of two languages of invented words."""
    rng = np.random.default_rng(seed)
    words = vocabulary(rng, 500)
    made = []
    for domain, own in (("alpha", words[::2]), ("beta", words[1::2])):
        made += [(" ".join(rng.choice(own, rng.integers(30, 60))) + ".", domain) for _ in range(COUNT)]
    return [made[place] for place in rng.permutation(len(made))]


def write_mixtures(path: Path, mixtures=MIXTURES) -> Path:
    columns = list(zip(*mixtures.values(), strict=True))
    names = ("weight/alpha", "weight/beta", "seed")
    pq.write_table(pa.table({"run": list(mixtures), **dict(zip(names, columns, strict=True))}), path)
    return path


class World:
    """Documents in two shards, and stages run on them."""

    def __init__(self, root: Path):
        self.root = root
        made = rows()
        shards = [made[: COUNT // 2], made[COUNT // 2 :]]
        self.documents = store.open_corpus(root / "documents") or write_documents(root / "documents", shards)
        self.mixtures = write_mixtures(root / "mixtures.parquet")

    def train(self, name, runner=None, wired=None, **params):
        given = TrainParams(**SMALLEST | params)
        roles = {"documents": self.documents, "mixtures": self.mixtures} | (wired or {})
        return run_stage(self.root / name, TRAIN, given, runner, **roles)
