"""The loader: tokens a CPU second in seeded random order, and how long it takes to go on at any step.

    python benchmarks/loader.py [--rows 65536] [--length 2048] [--batch 32] [--json]

Sequences are made here: random tokens, documents of 50 to L tokens, 16 parts. `tokens` reads the rows of a batch alone,
`mixed tokens` those of a mixture of two folders,
`batch` makes everything a trainer wants (targets, mask, positions, document ids, bounds; int64), `item` the same row by
row. Beside them what the flat-file trainers do (nanoGPT's get_batch): random offsets into one memory-mapped uint16
file, no documents, no order, no state; and `copy`, the plain copying of the same rows in file order.
"""

import json
import tempfile
import time
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from harness import arguments, finish, interleaved, median, table

from pipeline.tokens.format import SEGMENT, write_part
from pipeline.tokens.loader import PackedDataset
from pipeline.tokens.mixed import MixedDataset

PARTS = 16
TOKENS = {
    "tokens": 1 << 28,
    "mixed tokens": 1 << 28,
    "batch": 1 << 25,
    "item": 1 << 23,
    "flat file": 1 << 26,
    "copy in file order": 1 << 28,
}
"""How many tokens each way reads: about a second's worth, since CPU time is counted in steps of 10 ms."""


def make(root: Path, rows: int, length: int) -> None:
    """Write packed sequences of random tokens."""
    rng = np.random.default_rng(0)
    (root / "data").mkdir(parents=True)
    names, counts = [], [rows // PARTS] * PARTS
    for number, count in enumerate(counts):
        tokens = rng.integers(1, 50_000, (count, length), dtype=np.uint16)
        ends = [_ends(rng, length) for _ in range(count)]
        segments = np.zeros(sum(map(len, ends)), SEGMENT)
        segments["end"] = np.concatenate(ends)
        segments["doc_id"] = rng.integers(1, 1 << 60, (len(segments), 2))
        offsets = np.cumsum([0, *map(len, ends)])
        names.append(write_part(lambda name: root / "data" / name, f"part-{number:05d}", tokens, offsets, segments))
    files = {path.name: path.stat().st_size for path in sorted((root / "data").iterdir())}
    others = [name for name in files if name not in names]
    facts = {
        "sequence_length": length,
        "dtype": "uint16",
        "eos_id": 0,
        "bos_id": None,
        "pad_id": 0,
        "vocab_size": 50_000,
        "domains": ["web"],
        "tokens": rows * length,
        "token_weights": False,
    }
    manifest = {
        "stage": "tokens.pack",
        "fingerprint": "bench",
        "facts": facts,
        "shards": {"name": names, "rows": counts, "bytes": [files[name] for name in names]},
        "files": {"name": others, "bytes": [files[name] for name in others], "checksum": [""] * len(others)},
    }
    (root / "manifest.json").write_text(json.dumps(manifest))


def _ends(rng: np.random.Generator, length: int) -> np.ndarray:
    cuts = np.cumsum(np.clip(rng.lognormal(6.2, 1.2, 64).astype(np.int64), 50, length))
    return np.append(cuts[cuts < length], length)


def figures(root: Path, options: Any) -> dict[str, Any]:
    """Return millions of tokens a CPU second of every way to read, and the time to go on at a far step."""
    length, size = options.length, options.batch
    dataset = PackedDataset(root, seed=1, epochs=None)
    mixed = MixedDataset({"a": root, "b": root}, weights={"a": 0.7, "b": 0.3}, seed=1)
    flat = np.memmap(root / "data/part-00000.rows.npy", np.uint16, "r", 128)
    batches = {name: tokens // (size * length) for name, tokens in TOKENS.items()}
    offsets = np.random.default_rng(1).integers(0, len(flat) - length - 1, (batches["flat file"], size))

    def tokens() -> None:
        for rows in islice(dataset.steps(size), batches["tokens"]):
            dataset.tokens(rows)

    def mixed_tokens() -> None:
        for rows in islice(mixed.steps(size), batches["mixed tokens"]):
            mixed.tokens(rows)

    def batch() -> None:
        for _ in islice(dataset.batches(size), batches["batch"]):
            pass

    def item() -> None:
        for _ in islice(dataset, batches["item"] * size):
            pass

    def flat_file() -> None:
        for row in offsets.tolist():
            np.stack([flat[i : i + length].astype(np.int64) for i in row])
            np.stack([flat[i + 1 : i + 1 + length].astype(np.int64) for i in row])

    def copy() -> None:
        for step in range(batches["copy in file order"]):
            dataset.tokens(np.arange(step * size, (step + 1) * size) % len(dataset))

    ways = {
        "tokens": tokens,
        "mixed tokens": mixed_tokens,
        "batch": batch,
        "item": item,
        "flat file": flat_file,
        "copy in file order": copy,
    }
    tokens()
    samples = interleaved(ways, options.repeats)
    return {
        "mtok_s": {name: batches[name] * size * length / 1e6 / median(samples[name]) for name in ways},
        "resume_ms": resume_ms(root),
        "rows": len(dataset),
    }


def resume_ms(root: Path) -> float:
    """Return how long an open dataset takes from a state in the billionth pass to its next item."""
    dataset = PackedDataset(root, seed=1, epochs=None)
    _ = dataset[0]
    return 1e3 * float(np.median([_resumed_s(dataset, step) for step in range(1, 200)]))


def _resumed_s(dataset: PackedDataset, step: int) -> float:
    state = dataset.state_dict() | {"consumed": step * 1_234_567_891}
    # Not `measured`: reading the CPU time of all children takes longer than this.
    start = time.perf_counter()
    dataset.load_state_dict(state)
    next(dataset.steps(1))
    return time.perf_counter() - start


def main() -> None:
    """Measure and print."""
    parser = arguments(__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=65536)
    parser.add_argument("--length", type=int, default=2048)
    parser.add_argument("--batch", type=int, default=32)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        make(Path(folder), options.rows, options.length)
        result = figures(Path(folder), options)
    table(
        f"{options.rows:,} rows of {options.length:,} tokens, batches of {options.batch}",
        ("reading", "million tokens a CPU second"),
        list(result["mtok_s"].items()),
    )
    print(f"\nfrom a state to the next step: {result['resume_ms']:.3f} ms")
    finish(options, result)


if __name__ == "__main__":
    main()
