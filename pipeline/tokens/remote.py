"""Packed sequences behind a URL: rows are read by byte range, ahead of their use, and no file is copied.

The manifest and the sizes of the files are read when a folder is opened, the offsets of a part when its first row is
wanted. A row then takes two ranges, its tokens and its segments (three with weights), each at a place that the sizes
and offsets tell. Threads fetch what the next steps want while the trainer computes.

s3:// and gs:// are read by pyarrow, as ingestion reads them (`?endpoint_override=...` and the like stand at the end of
the URL); every other scheme by fsspec. Both are imported only here, and here only when a URL is opened.
"""

import io
import json
import math
import os
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np

from pipeline.errors import DataError
from pipeline.tokens.format import SEGMENT, WEIGHT, Packed, Part, packed_of

NATIVE = ("s3", "gs")
THREADS = 32
KEPT_BYTES = 64 << 20
"""What was read last is kept, so much of it: tokens and segments of a row may be asked for more than once."""
LONGEST_HEADER = 4096
DATA, MANIFEST = "data", "manifest.json"

Range = tuple[str, int, int]
"""Name of a file below the folder, first byte, byte behind the last."""


def read_packed(url: str) -> Packed:
    """Return what lies in a folder of packed sequences behind a URL; every file must be there, with its size.

    Raises:
        DataError: no file system reads the URL, there is no manifest, or a file is missing or truncated.
    """
    ranges = Ranges(url.rstrip("/"))
    try:
        manifest = json.loads(ranges.whole(MANIFEST))
    except FileNotFoundError:
        raise DataError(
            f"{url} is not a finished corpus: there is no {MANIFEST} in it. Give the folder that tokens.pack wrote."
        ) from None
    except ValueError as error:
        raise DataError(f"{url}/{MANIFEST} is not JSON ({error}); copy the folder again, or build it again") from None
    sizes = ranges.sizes(DATA)

    def part(stem: str, rows: int, expected: tuple[int, ...], length: int, dtype: np.dtype) -> RemotePart:
        return RemotePart(Path(DATA) / stem, rows, expected, ranges, length, dtype, sizes)

    return packed_of(url, manifest, part)


class Ranges:
    """Byte ranges of the files below a URL: what was asked for ahead is fetched by threads, and a little of it kept.

    One thread asks. A process that gets a copy, by pickling or by forking, opens connections of its own.
    """

    def __init__(self, url: str):
        self.url = url
        self._begin()

    def _begin(self) -> None:
        self._process = os.getpid()
        self._system, self._root, self._native = _connected(self.url)
        self._threads: ThreadPoolExecutor | None = None
        self._handles: dict[str, Any] = {}
        self._asked: dict[Range, Future[bytes]] = {}
        self._kept: OrderedDict[Range, bytes] = OrderedDict()
        self._kept_bytes = 0

    def _pool(self) -> ThreadPoolExecutor:
        if self._process != os.getpid():
            self._begin()
        if self._threads is None:
            self._threads = ThreadPoolExecutor(THREADS, "corpusmill-ranges")
        return self._threads

    def expect(self, wanted: Sequence[Range]) -> None:
        """Begin to fetch all ranges that will be read soon, the first of them first; forget what else was expected."""
        for one in self._asked.keys() - set(wanted):
            self._asked.pop(one).cancel()
        self.begin(wanted)

    def begin(self, wanted: Iterable[Range]) -> None:
        """Begin to fetch ranges unless they are at hand or under way."""
        pool = self._pool()
        for one in wanted:
            if one not in self._asked and one not in self._kept:
                self._asked[one] = pool.submit(self._fetched, *one)

    def read(self, name: str, start: int, end: int) -> bytes:
        """Return the bytes of a range.

        Raises:
            DataError: the file is shorter than that.
        """
        one = (name, start, end)
        self.begin([one])
        if one in self._kept:
            self._kept.move_to_end(one)
            return self._kept[one]
        found = self._asked.pop(one).result()
        if len(found) != end - start:
            raise DataError(
                f"{self.url}/{name} gave {len(found):,} bytes from {start:,} on, {end - start:,} were wanted; has it "
                "been replaced while it was read? Open the folder again."
            )
        self._kept[one] = found
        self._kept_bytes += len(found)
        while self._kept_bytes > KEPT_BYTES and len(self._kept) > 1:
            self._kept_bytes -= len(self._kept.popitem(last=False)[1])
        return found

    def _fetched(self, name: str, start: int, end: int) -> bytes:
        path = f"{self._root}/{name}"
        if self._native is None:
            return cast(bytes, self._system.cat_file(path, start, end))
        # Opening asks for the size; an open file answers many threads with one request each.
        file = self._handles.get(path) or self._handles.setdefault(path, self._native.open_input_file(path))
        return cast(bytes, file.read_at(end - start, start))

    def whole(self, name: str) -> bytes:
        """Return all bytes of a small file; FileNotFoundError if it is not there."""
        return cast(bytes, self._system.cat_file(f"{self._root}/{name}"))

    def sizes(self, folder: str) -> dict[str, int]:
        """Return the bytes of every file of a folder by its name; none if there is no such folder."""
        try:
            found = self._system.ls(f"{self._root}/{folder}", detail=True)
        except FileNotFoundError:
            return {}
        return {str(one["name"]).rpartition("/")[2]: one["size"] for one in found}

    def __reduce__(self) -> tuple[type["Ranges"], tuple[str]]:
        return Ranges, (self.url,)


def _connected(url: str) -> tuple[Any, str, Any]:
    """Return the file system of a URL, as fsspec has them; the folder's path in it; and pyarrow's own, if it is one.

    Raises:
        DataError: no file system reads the URL.
    """
    import fsspec

    try:
        if url.split("://")[0] not in NATIVE:
            system, root = fsspec.core.url_to_fs(url)
            return system, root.rstrip("/"), None
        from fsspec.implementations.arrow import ArrowFSWrapper
        from pyarrow import fs

        native, root = fs.FileSystem.from_uri(url)
        return ArrowFSWrapper(native), root.rstrip("/"), native
    except (ImportError, ValueError, OSError) as error:
        raise DataError(
            f"{url}: no file system reads it ({error}); give a folder, or a URL that fsspec knows"
        ) from None


@dataclass(frozen=True)
class RemotePart(Part):
    """One part of packed sequences behind a URL; `stem` is relative to it."""

    ranges: Ranges
    sequence_length: int
    dtype: np.dtype
    sizes: dict[str, int]

    def size(self, path: Path) -> int | None:
        """Return the bytes that a file of this part has; None if it is not there."""
        return self.sizes.get(path.name)

    def open(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return rows [n, L] and segments [S] that fetch what is indexed, and offsets [n + 1], which are fetched."""
        rows, offsets, segments = self.paths()[:3]
        found = np.load(io.BytesIO(self.ranges.read(offsets.as_posix(), 0, self.bytes[1])), allow_pickle=False)
        shapes = ((self.rows, self.sequence_length), self.dtype), ((int(found[-1]),), SEGMENT)
        remote = [
            RemoteArray(self.ranges, path.as_posix(), size, shape, dtype)
            for path, size, (shape, dtype) in zip((rows, segments), self.bytes[::2], shapes, strict=False)
        ]
        return cast(np.ndarray, remote[0]), found, cast(np.ndarray, remote[1])

    def weights(self) -> np.ndarray | None:
        """Return the weights [n, L] of the tokens, fetched where they are indexed; None where there are none."""
        if len(self.bytes) < 4:
            return None
        shape, path = (self.rows, self.sequence_length), self.paths()[3].as_posix()
        return cast(np.ndarray, RemoteArray(self.ranges, path, self.bytes[3], shape, WEIGHT))


class RemoteArray:
    """As much of an array as the loader needs: its shape and dtype, and [row] or [start:end] of the first axis."""

    def __init__(self, ranges: Ranges, name: str, size: int, shape: tuple[int, ...], dtype: np.dtype):
        """Find where the numbers begin: a `.npy` file ends with them.

        Raises:
            DataError: the file has not the size of such an array.
        """
        self.ranges, self.name, self.shape, self.dtype = ranges, name, shape, dtype
        self.row_bytes = math.prod(shape[1:]) * dtype.itemsize
        self.first = size - shape[0] * self.row_bytes
        if not 0 < self.first <= LONGEST_HEADER:
            raise DataError(
                f"{ranges.url}/{name} has {size:,} bytes, the manifest says {dtype} {shape}: build it again"
            )

    def range(self, start: int, end: int) -> Range:
        """Return the bytes of [start:end]."""
        return self.name, self.first + start * self.row_bytes, self.first + end * self.row_bytes

    def __getitem__(self, key: int | slice) -> np.ndarray:
        """Return one row, or some in a row, fetched now unless they were expected."""
        start, end = (key.start, key.stop) if isinstance(key, slice) else (key, key + 1)
        if start == end:
            return np.zeros((0, *self.shape[1:]), self.dtype)
        found = np.frombuffer(self.ranges.read(*self.range(int(start), int(end))), self.dtype)
        rows = found.reshape(end - start, *self.shape[1:])
        return rows if isinstance(key, slice) else rows[0]


def begin_offsets(parts: Iterable[Part]) -> None:
    """Begin to fetch the offsets of parts, all at once; then opening one waits for none of the others."""
    for part in parts:
        if isinstance(part, RemotePart):
            part.ranges.begin([(part.paths()[1].as_posix(), 0, part.bytes[1])])


def expect_rows(rows: Iterable[tuple[tuple[Any, ...], int]]) -> None:
    """Begin to fetch all of each row, given as what `RemotePart.open` and `weights` gave and its place there."""
    wanted: list[Range] = []
    ranges: Ranges | None = None
    for (tokens, offsets, segments, weights), row in rows:
        ranges = tokens.ranges
        wanted += [tokens.range(row, row + 1), segments.range(int(offsets[row]), int(offsets[row + 1]))]
        wanted += [] if weights is None else [weights.range(row, row + 1)]
    if ranges is not None:
        ranges.expect(wanted)
