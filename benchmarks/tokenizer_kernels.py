"""Kernels of vocabularies beside peers: merges beside `tokenizers`' trainer, fewest tokens beside plain Python.

    python benchmarks/tokenizer_kernels.py [--mb 2] [--merges 4096] [--json]

Texts are the first of every domain of `data/small`, `--mb` of them together.

merges  Both learn `--merges` merges from bytes: within words (split llama3), where words repeat and the trainer counts
        each once, and across words (the pieces of SuperBPE's second stage), which is what the kernel is for. It has no
        limit on words here, and colons are replaced, since it merges none with the space behind it. Cutting the text
        into pieces is in both times. Every merge must be equal.
fewest  The kernel and the dynamic programme of PathPiece (Schmidt et al. 2024, section 3) in plain Python cut the same
        pieces with a vocabulary of 16,384. Every id must be equal.
pieces  Cutting text into pieces by the fast engine and by `tokenizers`. Every byte and every end must be equal.
minimum The encoder as a whole beside `tokenizers`, which encodes with merges.
"""

import os

os.environ |= {"RAYON_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}

import json
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from harness import MB, Sample, arguments, finish, interleaved, median, ratio, table
from tokenizer import small
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from pipeline.kernels import fewest, merges
from pipeline.tokens import bytelevel, engine, minimum, split
from pipeline.tokens import pieces as cutters
from pipeline.tokens.train import TrainParams, train_tokenizer

UNLIMITED = 1 << 30
ALPHABET = sorted(pre_tokenizers.ByteLevel.alphabet())
"""Names of the 256 bytes in the order of their ids in what the trainer makes."""

Way = Callable[[], Any]


def compared(name: str, ours: Way, theirs: Way, repeats: int, size: int) -> tuple[dict[str, Any], Any, Any]:
    """Return (the row of a comparison, what our way and what theirs returned last)."""
    made: dict[str, Any] = {}

    def run(way: str, call: Way) -> Callable[[], None]:
        return lambda: made.update({way: call()})

    samples: dict[str, list[Sample]] = interleaved(
        {"ours": run("ours", ours), "theirs": run("theirs", theirs)}, repeats
    )
    row = {
        "what": name,
        "mb": size / MB,
        "cpu_s": median(samples["ours"]),
        "peer_cpu_s": median(samples["theirs"]),
        "mb_s": size / median(samples["ours"]) / MB,
        "times_as_fast": ratio(samples["theirs"], samples["ours"]),
    }
    return row, made["ours"], made["theirs"]


def untrained(expression: str) -> Tokenizer:
    """Return a byte-level tokenizer that cuts by an expression and has no merges."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = split.pre_tokenizer(expression)
    return tokenizer


def by_trainer(texts: Sequence[str], expression: str, count: int) -> list[tuple[str, str]]:
    """Return the merges of the trainer of `tokenizers`."""
    tokenizer = untrained(expression)
    settings = {"initial_alphabet": ALPHABET, "show_progress": False, "min_frequency": 2}
    tokenizer.train_from_iterator(texts, trainers.BpeTrainer(vocab_size=len(ALPHABET) + count, **settings))
    return [tuple(merge) for merge in json.loads(tokenizer.to_str())["model"]["merges"]]


def by_kernel(texts: list[str], expression: str, count: int) -> list[tuple[str, str]]:
    """Return the merges of the kernel."""
    cut = cutters.by_engine(untrained(expression).to_str())
    order = np.array([bytelevel.to_bytes(name)[0] for name in ALPHABET], np.uint8)  # type: ignore[index]
    ids = np.argsort(order).astype(np.int32)
    pieces = cut(texts)
    nothing_banned = np.zeros(len(order), bool)
    found, data, offsets = merges.learn(
        ids[pieces.data], pieces.ends, order, np.arange(len(order) + 1), nothing_banned, count, UNLIMITED
    )
    names = [bytelevel.to_name(data[start:end].tobytes()) for start, end in pairwise(offsets)]
    return [(names[left], names[right]) for left, right, _ in found.tolist()]


def merging(texts: list[str], options: Any) -> list[dict[str, Any]]:
    """Return the rows on merges."""
    params, rows = TrainParams(), []
    for name, expression in (("merges within words", params.narrow()), ("merges across words", params.wide())):
        plain = [text.replace(":", ";") for text in texts]
        by_kernel(plain[:1], expression, 2)  # compiles
        row, ours, theirs = compared(
            f"{name}, beside tokenizers",
            lambda t=plain, e=expression: by_kernel(t, e, options.merges),
            lambda t=plain, e=expression: by_trainer(t, e, options.merges),
            options.repeats,
            size_of(plain),
        )
        assert ours == theirs, next((a, b) for a, b in zip(ours, theirs, strict=False) if a != b)
        rows.append(row | {"merges": len(ours)})
    return rows


def plainly(data: bytes, ends: Sequence[int], tokens: dict[bytes, int], longest: int) -> list[int]:
    """Return the ids of the fewest tokens of every piece, of equals those whose first token is the longest."""
    ids = []
    for start, end in pairwise(ends):
        least, after = [0] * (end - start + 1), [0] * (end - start)
        for at in range(end - start - 1, -1, -1):
            least[at] = end - start + 1
            for stop in range(at + 1, min(at + longest, end - start) + 1):
                if least[stop] < least[at] and data[start + at : start + stop] in tokens:
                    least[at], after[at] = least[stop] + 1, stop
        at = 0
        while at < end - start:
            ids.append(tokens[data[start + at : start + after[at]]])
            at = after[at]
    return ids


def cutting(texts: list[str], options: Any) -> list[dict[str, Any]]:
    """Return the rows on fewest tokens, pieces and the encoder as a whole."""
    specification = train_tokenizer(texts, TrainParams()).to_str()
    slow, fast = cutters.by_reference(specification), cutters.by_engine(specification)
    words = minimum.words(specification)
    encoder, reference = minimum.MinimumEncoder(specification), engine.ReferenceEncoder(specification)
    encoder.encode(texts[:1])  # compiles
    pieces = slow(texts)
    tokens = {word: token for token, word in words.items()}
    data = np.frombuffer(b"".join(words.values()), np.uint8)
    trie = fewest.trie(data, bytelevel.bounds(map(len, words.values())), np.array([*words]))
    longest = max(map(len, tokens))
    plain, ends = pieces.data.tobytes(), pieces.ends.tolist()
    rows = []
    row, ours, theirs = compared(
        "fewest tokens of pieces, beside plain Python",
        lambda: fewest.cut(pieces.data, pieces.ends, trie)[0],
        lambda: plainly(plain, ends, tokens, longest),
        options.repeats,
        len(plain),
    )
    assert ours.tolist() == theirs
    rows.append(row)
    row, ours, theirs = compared(
        "pieces, beside tokenizers", lambda: fast(texts), lambda: slow(texts), options.repeats, size_of(texts)
    )
    assert all(np.array_equal(a, b) for a, b in zip(ours, theirs, strict=True))
    rows.append(row)
    row, (ours, _), (theirs, _) = compared(
        "encoding with the fewest tokens, beside tokenizers with merges",
        lambda: encoder.encode(texts),
        lambda: reference.encode(texts),
        options.repeats,
        size_of(texts),
    )
    assert len(ours) <= len(theirs)
    return [*rows, row | {"tokens_of_merges": len(ours) / len(theirs)}]


def size_of(texts: Sequence[str]) -> int:
    """Return the bytes of texts."""
    return sum(len(text.encode()) for text in texts)


def main() -> None:
    """Measure and print."""
    parser = arguments(__doc__.splitlines()[0], repeats=3)
    parser.add_argument("--mb", type=float, default=2)
    parser.add_argument("--merges", type=int, default=4096)
    options = parser.parse_args()
    texts = [text for some in small(0, options.mb * MB).values() for text in some]
    rows = [*merging(texts, options), *cutting(texts, options)]
    told = ("what", "mb", "mb_s", "cpu_s", "peer_cpu_s", "times_as_fast")
    table("beside peers, equal results", told, [[row[name] for name in told] for row in rows])
    finish(options, {"rows": rows})


if __name__ == "__main__":
    main()
