"""The road from documents to sequences on small text, for the tests of the stages on it."""

import json
import random
from pathlib import Path

import numpy as np

from pipeline.corpus import Corpus
from pipeline.mixture.plan import PLAN, PlanParams
from pipeline.tokens.encode import ENCODE, EncodeParams
from pipeline.tokens.pack import PACK, PackParams
from pipeline.tokens.train import TRAIN, TrainParams
from tests.conftest import read, run_stage, write_documents

PROSE = "the a of river mountain parser lexer token value returns quick brown fox élan straße 数据 ответ 1984 3.14"
WORDS = PROSE.split()


def some_documents(count: int = 300, seed: int = 0, longest: int = 120) -> list[tuple[str, str]]:
    """Random (text, domain) rows of three domains; the longest have `longest` words."""
    chance = random.Random(seed)
    domains = chance.choices(["books", "code", "web"], [5, 3, 1], k=count)
    return [(" ".join(chance.choices(WORDS, k=chance.randint(1, longest))), domain) for domain in domains]


def in_shards(rows: list, shards: int, seed: int | None = None) -> list[list]:
    """Cut rows into shards; with a seed, shuffled before."""
    rows = list(rows)
    if seed is not None:
        random.Random(seed).shuffle(rows)
    return [rows[i::shards] for i in range(shards)]


def token_lists(tokens: Corpus) -> list[list[int] | None]:
    """Return the ids of every document of an encoded corpus, null where it was not encoded."""
    dtype = tokens.manifest.facts["dtype"]
    column = read(tokens)["tokens"].to_pylist()
    return [None if raw is None else np.frombuffer(raw, dtype).tolist() for raw in column]


class Road:
    """The corpora of a road, made one after the other under one root."""

    def __init__(
        self, root: Path, shards: list[list[tuple[str, str]]], vocab_size: int = 400, tokenizer: Path | None = None
    ):
        self.root = root
        self.documents = write_documents(root / "documents", shards)
        size = TrainParams(vocab_size=vocab_size)
        self.tokenizer = tokenizer or run_stage(root / "tokenizer", TRAIN, size, documents=self.documents)
        self.tokens: Corpus | None = None
        self.mask: dict[str, Corpus] = {}

    @property
    def tokenizer_file(self) -> Path:
        return self.tokenizer if isinstance(self.tokenizer, Path) else self.tokenizer.root / "data/tokenizer.json"

    def encode(self, **params) -> Corpus:
        roles = {"documents": self.documents, "tokenizer": self.tokenizer} | self.mask
        self.tokens = run_stage(self.root / "tokens", ENCODE, EncodeParams(**params), **roles)
        return self.tokens

    def plan(self, **params) -> dict:
        tokens = self.tokens or self.encode()
        self.plan_corpus = run_stage(self.root / "plan", PLAN, PlanParams(**params), tokens=tokens, **self.mask)
        return json.loads((self.plan_corpus.root / "data/plan.json").read_text())

    def pack(self, **params) -> Corpus:
        roles = {"tokens": self.tokens, "plan": self.plan_corpus, "tokenizer": self.tokenizer} | self.mask
        return run_stage(self.root / "sequences", PACK, PackParams(**params), **roles)
