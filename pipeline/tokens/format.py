"""Packed sequences on disk: plain `.npy` files that any language can map, and a manifest that lists them.

A corpus folder holds `manifest.json` and, under `data/`, three files a part, or four:

    part-00000.rows.npy      [n, L] uint16 or uint32   tokens; a document ends in EOS, the rest of a row is padding
    part-00000.offsets.npy   [n + 1] int64             row i's segments are segments[offsets[i]:offsets[i + 1]]
    part-00000.segments.npy  [S] SEGMENT               what lies where in a row, from left to right
    part-00000.weights.npy   [n, L] float16            where tokens have weights: that of each token, 0 for padding

A segment is one piece of one document, or the padding at a row's end (`domain` = PADDING, doc_id zeros). A document
longer than L is cut, and each piece is a segment that says where in the document it starts, its BOS counted. EOS stands
once, at a document's end; a document cut short by the token budget, or without its rest, has none. BOS stands once, at
a document's beginning, where one is asked for.

Facts of the manifest: sequence_length, dtype, eos_id, bos_id (null without BOS), pad_id, vocab_size, domains (the names
behind `domain`), tokens (all that is not padding), token_weights (whether there are weights).

numpy and the standard library only: the trainer imports this.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.errors import DataError

PADDING = 0xFFFF
MAX_DOMAINS = PADDING

SEGMENT = np.dtype(
    [
        ("doc_id", "<u8", (2,)),  # the document; zeros for padding
        ("start", "<u8"),  # offset of the segment's first token in its document
        ("end", "<u4"),  # offset behind the segment's last token in its row
        ("domain", "<u2"),  # index into the manifest's domains; PADDING for padding
        ("epoch", "<u2"),  # 0 for the first time a document is used
    ]
)

WEIGHT = np.dtype("<f2")

TOKENIZER = "tokenizer.json"
ROWS, OFFSETS, SEGMENTS, WEIGHTS = ".rows.npy", ".offsets.npy", ".segments.npy", ".weights.npy"
_FACTS = (
    *("sequence_length", "dtype", "eos_id", "bos_id", "pad_id", "vocab_size", "domains", "tokens", "token_weights"),
)


def token_dtype(vocab_size: int) -> np.dtype:
    """Return the narrowest dtype that holds every token id of a vocabulary."""
    return np.dtype("<u2") if vocab_size <= 1 << 16 else np.dtype("<u4")


@dataclass(frozen=True)
class Part:
    """One part of packed sequences: where it lies, how many rows it holds, and the sizes its files must have."""

    stem: Path
    rows: int
    bytes: tuple[int, ...]

    def paths(self) -> tuple[Path, ...]:
        """Return the files of rows, offsets and segments, and of weights where there are any."""
        kinds = (ROWS, OFFSETS, SEGMENTS, WEIGHTS)[: len(self.bytes)]
        return tuple(self.stem.with_name(self.stem.name + kind) for kind in kinds)

    def check(self) -> None:
        """Raise DataError unless the files are there, as long as the manifest says."""
        for path, expected in zip(self.paths(), self.bytes, strict=True):
            found = self.size(path)
            if found != expected:
                state = "is missing" if found is None else f"has {found:,} bytes"
                raise DataError(
                    f"{path} {state}; the manifest says {expected:,} bytes. Copy the folder again, or build it again."
                )

    def size(self, path: Path) -> int | None:
        """Return the bytes that a file of this part has; None if it is not there."""
        return path.stat().st_size if path.exists() else None

    def open(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return rows [n, L], offsets [n + 1] and segments [S], mapped and not read."""
        rows, offsets, segments = (_mapped(path) for path in self.paths()[:3])
        return rows, offsets, segments

    def weights(self) -> np.ndarray | None:
        """Return the weights [n, L] of the tokens, mapped and not read; None where there are none."""
        return _mapped(self.paths()[3]) if len(self.bytes) > 3 else None


@dataclass(frozen=True)
class Packed:
    """What the manifest of packed sequences says; `root` is a folder or a URL.

    `tokenizer` is the checksum of the tokenizer.json beside them, None where there is none.
    """

    root: Path | str
    fingerprint: str
    sequence_length: int
    dtype: np.dtype
    eos_id: int
    bos_id: int | None
    pad_id: int
    vocab_size: int
    domains: tuple[str, ...]
    tokens: int
    token_weights: bool
    tokenizer: str | None
    parts: tuple[Part, ...]

    @property
    def rows(self) -> int:
        return sum(part.rows for part in self.parts)


def write_part(
    path: Callable[[str], Path],
    stem: str,
    rows: np.ndarray,
    offsets: np.ndarray,
    segments: np.ndarray,
    weights: np.ndarray | None = None,
) -> str:
    """Write the files of a part where `path` says; return the name of the file of rows."""
    arrays = {ROWS: rows, OFFSETS: offsets.astype("<i8"), SEGMENTS: segments.astype(SEGMENT)}
    for kind, array in (arrays | ({} if weights is None else {WEIGHTS: weights})).items():
        with path(stem + kind).open("wb") as file:
            np.lib.format.write_array(file, np.ascontiguousarray(array), version=(1, 0), allow_pickle=False)
    return stem + ROWS


def begins(offsets: np.ndarray, segments: np.ndarray) -> np.ndarray:
    """Return [S] int64, where in its row each segment of a part begins."""
    begin = np.zeros(len(segments), np.int64)
    begin[1:] = segments["end"][:-1]
    begin[offsets[:-1]] = 0
    return begin


def read_packed(root: Path) -> Packed:
    """Return what lies in a folder of packed sequences; every file must be there, with its size.

    Raises:
        DataError: there is no manifest, it is not one of packed sequences, or a file is missing or truncated.
    """

    def part(stem: str, rows: int, expected: tuple[int, ...], length: int, dtype: np.dtype) -> Part:
        return Part(root / "data" / stem, rows, expected)

    return packed_of(root, _manifest(root), part)


def packed_of(root: Path | str, manifest: dict[str, Any], part: Callable[..., Part]) -> Packed:
    """Return what a manifest says of packed sequences, each part made by `part` (name, rows, bytes, L, dtype).

    Raises:
        DataError: it is not a manifest of packed sequences, or a file is missing or truncated.
    """
    facts = manifest.get("facts", {})
    if missing := [name for name in _FACTS if name not in facts]:
        raise DataError(
            f"{root} holds a corpus of stage {manifest.get('stage')!r}, not packed sequences (its manifest does not "
            f"tell {', '.join(missing)}). Open the folder that tokens.pack wrote."
        )
    length, dtype = facts["sequence_length"], np.dtype(facts["dtype"]).newbyteorder("<")
    packed = Packed(
        root=root,
        fingerprint=manifest["fingerprint"],
        sequence_length=length,
        dtype=dtype,
        eos_id=facts["eos_id"],
        bos_id=facts["bos_id"],
        pad_id=facts["pad_id"],
        vocab_size=facts["vocab_size"],
        domains=tuple(facts["domains"]),
        tokens=facts["tokens"],
        token_weights=facts["token_weights"],
        tokenizer=_column(manifest, "files", "checksum").get(TOKENIZER),
        parts=tuple(part(*one, length, dtype) for one in _parts(manifest, facts["token_weights"])),
    )
    for one in packed.parts:
        one.check()
    return packed


def _manifest(root: Path) -> dict[str, Any]:
    path = root / "manifest.json"
    if not path.is_file():
        near = next(_near(root), None)
        hint = f"Did you mean {near}?" if near else "Give the folder that tokens.pack wrote; it may not be finished."
        raise DataError(f"{root} is not a finished corpus: there is no {path.name} in it. {hint}")
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(f"{path} is not JSON ({error}); copy the folder again, or build it again") from None


def _near(root: Path) -> Iterator[Path]:
    """Yield finished sequences that may have been meant by the folder of their files, of their build, or of many."""
    root = root.absolute()
    try:
        steps = json.loads((root / "build.json").read_text(encoding="utf-8"))["steps"].values()
        built = [root.parent.parent / "corpora" / step["folder"] for step in steps]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):  # no build, or the file of some other tool
        built = []
    many = [*root.glob("tokens.pack-*"), *root.glob("corpora/tokens.pack-*")]
    for folder in [root.parent, *built, *sorted(many)]:
        if folder.name.startswith("tokens.pack-") and (folder / "manifest.json").is_file():
            yield folder


def _parts(manifest: dict[str, Any], weighted: bool) -> Iterator[tuple[str, int, tuple[int, ...]]]:
    """Yield the name, rows and bytes of every part, a byte count being -1 where the manifest has none."""
    sizes = _column(manifest, "shards", "bytes") | _column(manifest, "files", "bytes")
    kinds = (ROWS, OFFSETS, SEGMENTS, WEIGHTS)[: 4 if weighted else 3]
    for name, rows in zip(manifest["shards"]["name"], manifest["shards"]["rows"], strict=True):
        stem = name.removesuffix(ROWS)
        yield stem, rows, tuple(sizes.get(stem + kind, -1) for kind in kinds)


def _column(manifest: dict[str, Any], group: str, name: str) -> dict[str, Any]:
    """Return what a manifest says of the files of a group, by their names; {} where it has no such group."""
    columns = manifest.get(group, {})
    return dict(zip(columns.get("name", []), columns.get(name, []), strict=True))


def _mapped(path: Path) -> np.ndarray:
    # A plain view: np.memmap checks its class on every index, which costs more than the row.
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False).view(np.ndarray)
    except ValueError:
        raise DataError(
            f"{path} is damaged: it has its size, and does not begin as an array file does. Copy the folder again, or "
            "build it again."
        ) from None
