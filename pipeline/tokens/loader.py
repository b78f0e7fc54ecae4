"""PackedDataset: packed sequences in a seeded global order, resumable at any step from one integer.

The order is a keyed permutation that is never written down (`kernels.permutation`): position g of the endless
global stream lies in epoch g // n, at row permuted(g % n) under the key of (seed, epoch). How ranks share it, and what
an item holds, is in `tokens.stream`.

numpy and the standard library only: the trainer imports this.
"""

from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.errors import DataError
from pipeline.kernels.permutation import keys_of, permuted
from pipeline.tokens.format import WEIGHT, Packed, Part, read_packed
from pipeline.tokens.stream import Opened, Positions, Stream

OPEN_PARTS = 128
"""Parts mapped at a time: each takes up to four file descriptors, and a process may often have 1,024."""
OPEN_REMOTE_PARTS = 4096
"""Parts behind a URL whose offsets are held at a time: 8 bytes a row, and a request to get them."""
ROWS_AHEAD, BYTES_AHEAD = 256, 128 << 20
"""Rows behind a URL that are fetched before they are read: so many, or one at least of so many bytes."""


class PackedDataset(Stream):
    """Packed sequences of one corpus, by row or in a seeded order.

    Indexing goes by row, in the order of the files; iterating goes in the shuffled order, through `epochs` passes.
    `Stream` says what an item holds.
    """

    def __init__(
        self,
        path: Path | str,
        *,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
        shuffle: bool = True,
        epochs: int | None = 1,
        positions: Positions = "restart",
    ):
        """Open a folder of packed sequences; nothing is read yet but its manifest.

        Args:
            path: the folder that tokens.pack wrote, or a URL of it (s3://, gs://, or any that fsspec knows), whose rows
                are fetched by byte range, ahead of their use.
            seed: of the order; every epoch is shuffled anew.
            rank: 0..world_size-1, this process' place among those that train together.
            world_size: how many there are. It may change from one resume to the next.
            shuffle: False reads the rows in the order of the files, every epoch the same.
            epochs: passes after which iteration ends, None for never. When too few rows for a step are left of the
                last pass they are skipped, so that every rank makes the same number of steps. Iterating again goes on
                with the following passes.
            positions: "restart" counts position_ids from the start of each segment, "continue" through the whole row.

        Raises:
            DataError: the folder does not hold finished packed sequences, or a file is missing or truncated.
            ValueError: rank, world_size or epochs is out of range, or positions is neither.
        """
        super().__init__(seed, rank, world_size, positions)
        if epochs is not None and epochs < 1:
            raise ValueError(f"epochs is {epochs}; give 1 or more, or None to iterate for ever")
        self.packed = _packed(path)
        self.shuffle, self.epochs = shuffle, epochs
        self._first_row = np.cumsum([0, *(part.rows for part in self.packed.parts)])
        self._open: OrderedDict[int, Opened] = OrderedDict()

    def __len__(self) -> int:
        """Return the number of rows, over all ranks."""
        return int(self._first_row[-1])

    @property
    def form(self) -> Packed:
        """Return what the manifest says."""
        return self.packed

    @property
    def epoch(self) -> int:
        """How many whole passes have been read."""
        return self.consumed // max(1, len(self))

    def places(self, rows: np.ndarray) -> Iterator[tuple[int, Opened, int]]:
        """Yield, for each of `rows` in their order, its index among them, the part it lies in, and its row there."""
        for i, (part, at) in enumerate(self._located(rows)):
            yield i, self._part(part), at

    def _located(self, rows: np.ndarray) -> Iterator[tuple[int, int]]:
        """Yield the number of the part that each row lies in, and its row there."""
        parts = self._first_row.searchsorted(rows, "right") - 1
        return zip(parts.tolist(), (rows - self._first_row[parts]).tolist(), strict=True)

    def rows_at(self, positions: np.ndarray) -> np.ndarray:
        """Return the rows at positions of the endless global stream."""
        positions = np.asarray(positions, np.int64)
        n = len(self)
        if not self.shuffle or not len(positions):
            return positions % max(1, n)
        epochs, within = np.divmod(positions, n)
        return permuted(within, n, keys_of(self.seed, last=epochs))

    def order(self) -> dict[str, Any]:
        """Return all that the order depends on."""
        return {"fingerprint": self.packed.fingerprint, "seed": self.seed, "shuffle": self.shuffle}

    @property
    def remote(self) -> bool:
        """Return whether the rows are behind a URL."""
        return isinstance(self.packed.root, str)

    @property
    def rows_ahead(self) -> int:
        """Return how many rows it pays to tell `expect` before they are read; 0 where they are at hand."""
        row_bytes = self.sequence_length * (self.packed.dtype.itemsize + WEIGHT.itemsize * self.weighted)
        return max(1, min(ROWS_AHEAD, BYTES_AHEAD // row_bytes)) if self.remote else 0

    def expect(self, rows: np.ndarray) -> None:
        """Begin to fetch rows that will be read soon, in this order; rows of mapped files need no fetching."""
        if not self.remote:
            return
        from pipeline.tokens import remote

        located = list(self._located(rows))
        unopened = sorted({part for part, _ in located} - self._open.keys())
        remote.begin_offsets(self.packed.parts[part] for part in unopened)
        remote.expect_rows((self._part(part), at) for part, at in located)

    def _end(self) -> int | None:
        if self.epochs is None:
            return None
        run = self.epochs * len(self)
        return (self.consumed // run + 1) * run if run else 0

    def _part(self, index: int) -> Opened:
        arrays = self._open.get(index)
        if arrays is None:
            arrays = self._opened(self.packed.parts[index])
            self._open[index] = arrays
            if len(self._open) > (OPEN_REMOTE_PARTS if self.remote else OPEN_PARTS):
                self._open.popitem(last=False)
        else:
            self._open.move_to_end(index)
        return arrays

    def _opened(self, part: Part) -> Opened:
        rows, offsets, segments = part.open()
        if rows.shape != (part.rows, self.sequence_length) or rows.dtype != self.packed.dtype:
            raise DataError(
                f"{part.paths()[0]} holds {rows.dtype} {rows.shape}, the manifest says {self.packed.dtype} "
                f"{(part.rows, self.sequence_length)}: build it again"
            )
        return Opened(rows, offsets, segments, part.weights())

    def __getstate__(self) -> dict[str, Any]:
        """Leave the mapped files behind: a process that gets this dataset maps its own."""
        return self.__dict__ | {"_open": OrderedDict()}


def _packed(path: Path | str) -> Packed:
    if "://" not in str(path):
        return read_packed(Path(path))
    from pipeline.tokens import remote  # a trainer on local files needs none of it

    return remote.read_packed(str(path))
