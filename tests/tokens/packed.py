"""Packed sequences made by hand, without any stage: what the tests of the loader and of the formats read."""

import hashlib
import json
from pathlib import Path

import numpy as np

from pipeline.tokens.format import PADDING, SEGMENT, write_part

EOS, PAD = 1, 0


def write_packed(
    root: Path,
    parts: int = 3,
    rows: int = 7,
    length: int = 16,
    vocab_size: int = 1000,
    seed: int = 0,
    weighted: bool = False,
    tokenizer: bytes | None = None,
):
    """Write packed sequences of random documents; return [(tokens, segments) of each row]."""
    rng = np.random.default_rng(seed)
    (root / "data").mkdir(parents=True)
    written, tokens = [], 0
    names, sizes = [], []
    for part in range(parts):
        made = [_row(rng, length, vocab_size) for _ in range(rows)]
        offsets = np.cumsum([0, *(len(segments) for _, segments in made)])
        dtype = np.uint16 if vocab_size <= 1 << 16 else np.uint32
        array = np.array([row for row, _ in made], dtype).reshape(rows, length)
        segments = np.concatenate([s for _, s in made]) if made else np.zeros(0, SEGMENT)
        weights = (array % 7 / 4).astype(np.float16) if weighted else None
        stem = f"part-{part:05d}"
        names.append(write_part(lambda name: root / "data" / name, stem, array, offsets, segments, weights))
        written += made
    if tokenizer is not None:
        (root / "data/tokenizer.json").write_bytes(tokenizer)
    files = sorted(path.name for path in (root / "data").iterdir())
    tokens = sum(token != PAD for row, _ in written for token in row)
    sizes = {name: (root / "data" / name).stat().st_size for name in files}
    others = [name for name in files if name not in names]
    prints = [hashlib.sha256((root / "data" / name).read_bytes()).hexdigest()[:32] for name in others]
    manifest = {
        "stage": "tokens.pack",
        "fingerprint": f"{seed:064x}",
        "facts": {
            "sequence_length": length,
            "dtype": "uint16" if vocab_size <= 1 << 16 else "uint32",
            "eos_id": EOS,
            "bos_id": None,
            "token_weights": weighted,
            "pad_id": PAD,
            "vocab_size": vocab_size,
            "domains": ["books", "code"],
            "tokens": tokens,
        },
        "shards": {"name": names, "rows": [rows] * parts, "bytes": [sizes[name] for name in names]},
        "files": {
            "name": others,
            "rows": [0] * len(others),
            "bytes": [sizes[name] for name in others],
            "checksum": prints,
        },
    }
    (root / "manifest.json").write_text(json.dumps(manifest))
    return written


def _row(rng: np.random.Generator, length: int, vocab_size: int):
    """A row of documents, some of them going on from another row, and padding at the end of some rows."""
    row, segments = [], []
    while len(row) < length and rng.random() < 0.9:
        size = int(rng.integers(1, length - len(row) + 1))
        row += [*rng.integers(2, vocab_size, size - 1).tolist(), EOS]
        start = int(rng.integers(0, 2)) * length
        segments.append((rng.integers(1, 1 << 60, 2).tolist(), start, len(row), int(rng.integers(0, 2)), 0))
    if len(row) < length:
        row += [PAD] * (length - len(row))
        segments.append(([0, 0], 0, length, PADDING, 0))
    return row, np.array([tuple(s) for s in segments], SEGMENT)
