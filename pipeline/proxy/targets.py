"""Texts that models are judged on: read from files, one document a text, and drawn to a size.

A file is Parquet or JSON Lines with a column of text, each row a document, or plain UTF-8 text (.txt, .md), one
document. JSON Lines and text may be compressed (.gz, .zst).
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline import schemas
from pipeline.errors import DataError
from pipeline.kernels import hashing, whitespace
from pipeline.stage import Step

ROLE = "targets."
"""Begins the name of every role that is played by a file of texts: `targets.NAME: file:PATH`."""
STREAM = 0x7A46
"""The draws of target documents."""
LINES, TEXTS = (".jsonl", ".ndjson"), (".txt", ".md")
PACKED = (".gz", ".zst")
HELD_AT_MOST = 4
"""Drawn texts are cut back to the size asked for when they are so many times larger."""

Hash = tuple[int, int]


class Drawn(NamedTuple):
    """A target document: its draw, the hash of its words, and its text."""

    draw: int
    hash: Hash
    text: str


def wired(step: Step, column: str, most_bytes: int, seed: int) -> dict[str, list[Drawn]]:
    """Return the documents of every target that is wired, each as `drawn`, in the order of their names.

    Raises:
        DataError: a step plays one of them, or as `drawn`.
    """
    if steps := [role for role in step.inputs if role.startswith(ROLE)]:
        raise DataError(f"{step.name}: a step plays {steps[0]}; targets are files: `{steps[0]}: file:PATH`")
    paths = {role.removeprefix(ROLE): path for role, path in step.files.items() if role.startswith(ROLE)}
    return {name: drawn(path, column, most_bytes, seed) for name, path in sorted(paths.items())}


def drawn(path: Path, column: str, most_bytes: int, seed: int) -> list[Drawn]:
    """Return different documents of a file in the order of their draws, with at most so many bytes of text.

    The last one is cut to fit. Texts that differ in white space only are one.

    Raises:
        DataError: the file cannot be read, has no such column, or holds no text.
    """
    held: dict[Hash, Drawn] = {}
    size = 0
    for texts in batches(path, column):
        for document in _documents(texts, seed):
            size += 0 if document.hash in held else len(document.text.encode())
            held.setdefault(document.hash, document)
        if size > HELD_AT_MOST * most_bytes:
            held = {document.hash: document for document in within(held.values(), most_bytes)}
            size = most_bytes
    if not held:
        raise DataError(f"{path}: no text in column {column!r}; name other targets")
    return within(held.values(), most_bytes)


def to_parquet(texts: Mapping[str, Sequence[str]]) -> bytes:
    """Return the texts of all targets as a Parquet file: `target` and `text`."""
    rows = [(name, text) for name, documents in texts.items() for text in documents]
    sink = pa.BufferOutputStream()
    columns = {
        "target": pa.array([name for name, _ in rows]),
        "text": pa.array([text for _, text in rows], pa.large_string()),
    }
    pq.write_table(pa.table(columns), sink, compression="zstd", write_statistics=False)
    return sink.getvalue().to_pybytes()


def from_parquet(path: Path) -> dict[str, list[str]]:
    """Return what `to_parquet` made, in the order of the targets' names."""
    table = pq.read_table(path)
    names = sorted(set(table["target"].to_pylist()))
    return {name: table.filter(pc.equal(table["target"], name))["text"].to_pylist() for name in names}


def hashes(texts: pa.Array) -> np.ndarray:
    """Return uint64 [N, 2], equal for texts with the same words in the same order."""
    return hashing.murmur128(*whitespace.collapse(*schemas.text_buffers(texts)))


def within(documents: Iterable[Drawn], most_bytes: int) -> list[Drawn]:
    """Return the documents with the smallest draws that fit; the last one is cut between two characters."""
    chosen: list[Drawn] = []
    left = most_bytes
    for document in sorted(documents):
        if left <= 0:
            break
        text = document.text.encode()[:left].decode(errors="ignore")
        left -= len(document.text.encode())
        if text.strip():
            chosen.append(document._replace(text=text))
    return chosen


def among(texts: pa.Array, wanted: frozenset[Hash]) -> frozenset[Hash]:
    """Return those of the wanted hashes that a text has."""
    words_N2 = hashes(texts)
    lows = np.array([low for low, _ in wanted], np.uint64)
    near = words_N2[np.isin(words_N2[:, 0], lows)]
    return frozenset((low, high) for low, high in near.tolist()) & wanted


def batches(path: Path, column: str) -> Iterator[pa.Array]:
    """Yield the texts of a file in batches.

    Raises:
        DataError: as `drawn`.
    """
    name = path.name.lower().removesuffix(PACKED[0]).removesuffix(PACKED[1])
    try:
        if name.endswith(LINES):
            yield from _lines(path, column)
        elif name.endswith(TEXTS):
            yield pa.array([_opened(path).read().decode()], pa.large_string())
        else:
            yield from _rows(path, column)
    except (OSError, ValueError) as error:  # Arrow's errors and those of decoding are ValueErrors
        raise DataError(f"{path} cannot be read: {error}. Targets are Parquet, JSON Lines or UTF-8 text") from None


def _rows(path: Path, column: str) -> Iterator[pa.Array]:
    with pq.ParquetFile(path, page_checksum_verification=True) as file:
        names = file.schema_arrow.names
        if column not in names:
            raise DataError(f"{path} has no column {column!r}; it has {', '.join(names)}. Name the column of the text")
        for batch in file.iter_batches(1024, columns=[column]):
            texts = batch[column]
            if not (pa.types.is_string(texts.type) or pa.types.is_large_string(texts.type)):
                raise DataError(f"{path}: column {column!r} is {texts.type}, not text. Name the column of the text")
            texts.validate(full=True)
            yield texts.cast(pa.large_string())


def _lines(path: Path, column: str) -> Iterator[pa.Array]:
    for number, line in enumerate(_opened(path).read().decode().split("\n"), 1):
        if not line.strip():
            continue
        row = json.loads(line)
        text = row.get(column) if isinstance(row, dict) else None
        if not isinstance(text, str):
            raise DataError(f"{path}, line {number}: no text under {column!r}. Name the key of the text")
        yield pa.array([text], pa.large_string())


def _opened(path: Path) -> pa.NativeFile:
    return pa.input_stream(path, compression="detect")


def _documents(texts: pa.Array, seed: int) -> Iterator[Drawn]:
    """Yield the texts that are not blank."""
    texts = texts.drop_null()
    filled = ~whitespace.blank(*schemas.text_buffers(texts))
    hashes_N2 = hashes(texts)
    draws = hashing.draw(seed, hashes_N2, STREAM)
    for place in np.flatnonzero(filled).tolist():
        low, high = hashes_N2[place].tolist()
        yield Drawn(int(draws[place]), (low, high), texts[place].as_py())
