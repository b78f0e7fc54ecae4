"""A made-up pool of three domains, masks that select some of it, and the verification of such a selection."""

import json
from pathlib import Path

import numpy as np

from pipeline.quality.verify import VERIFY
from pipeline.quality.verify_params import VerifyParams
from tests.conftest import run_stage, write_documents
from tests.corpora import vocabulary
from tests.stages.masks import masked

BUDGET = 15_360
"""Sixty steps of the smallest setting."""
COUNT = 240


def texts(rng, words, count):
    return [" ".join(rng.choice(words, rng.integers(30, 60))) + "." for _ in range(count)]


def languages(seed=0):
    """Return domain -> texts: two languages of invented words, and the first one with its characters shuffled."""
    rng = np.random.default_rng(seed)
    words = vocabulary(rng, 500)
    made = {"alpha": texts(rng, words[::2], COUNT), "beta": texts(rng, words[1::2], COUNT)}
    made["junk"] = ["".join(rng.permutation(list(text))) for text in texts(rng, words[::2], COUNT)]
    return made, texts(rng, words[::2], 30)


class Pool:
    """Documents in two shards, and a file of held-out texts of the first domain."""

    def __init__(self, root: Path):
        made, held_out = languages()
        rows = [(text, domain) for domain, found in made.items() for text in found]
        rng = np.random.default_rng(1)
        shards = [[rows[i] for i in part] for part in np.array_split(rng.permutation(len(rows)), 2)]
        self.root = root
        self.shards = shards
        self.documents = write_documents(root / "documents", shards)
        self.targets = root / "held_out.jsonl"
        self.targets.write_text("".join(json.dumps({"text": text}) + "\n" for text in held_out))

    def masked(self, name, keep):
        """Return the mask that keeps the rows of which `keep(text, domain)` is true."""
        return masked(self.root / name, self.documents, [[keep(*row) for row in shard] for shard in self.shards])

    def verify(self, name, keep, runner=None, targets=None, **params):
        """Return the verification of a selection."""
        given = VerifyParams(**{"setting": "smoke", "budget_tokens": BUDGET, "target_bytes": 8_000} | params)
        selected = keep if not callable(keep) else self.masked(f"{name}-mask", keep)
        wired = {"documents": self.documents, "selected": selected, "targets.alpha": targets or self.targets}
        return run_stage(self.root / name, VERIFY, given, runner, **wired)
