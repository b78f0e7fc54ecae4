"""Stream: what every loader of packed sequences shares: items, batches, steps by rank, and a state of one integer.

A loader says which row lies at a position of its endless global stream, and what is in a row. Rank r of w takes
positions r, r + w, r + 2w, ...; so ranks together read the same stream, whatever w is, and all a trainer saves is how
much of it is read.

numpy and the standard library only: the trainer imports this.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

import numpy as np

from pipeline.errors import DataError
from pipeline.kernels.row_arrays import row_arrays
from pipeline.tokens.format import PADDING, SEGMENT, WEIGHT, Packed

Item = dict[str, np.ndarray]
Positions = Literal["restart", "continue"]
ITEM_TOKENS = 1 << 16
"""How many positions of items are made together."""
LOOKAHEAD = 1024


class Opened(NamedTuple):
    """The arrays of one part, as `tokens.format` has them: mapped, or fetched where they are indexed."""

    rows: np.ndarray
    offsets: np.ndarray
    segments: np.ndarray
    weights: np.ndarray | None


class Stream(ABC):
    """Packed sequences in a global order that any number of ranks read together.

    An item is a dict of arrays, L = `sequence_length`, K = segments of the row:

        tokens        [L] int64      the row
        targets       [L] int64      the next token; IGNORE (-100) at the last position of a segment and in padding
        loss_mask     [L] bool       where targets is not IGNORE
        loss_weights  [L] float32    where tokens have weights: that of the target, 0 where nothing is learned
        position_ids  [L] int64      0, 1, 2, ... from the start of each segment, or of the row: see `positions`
        document_ids  [L] int32      0..K-1, which segment a position belongs to; -1 in padding
        cu_seqlens    [K + 1] int32  segment bounds 0..L, padding being a segment of its own (FlashAttention varlen)
        max_seqlen    [] int32       the longest segment, padding included (FlashAttention varlen)
    """

    def __init__(self, seed: int, rank: int, world_size: int, positions: Positions):
        """Begin at the start of the stream.

        Args:
            seed: of the order.
            rank: 0..world_size-1, this process' place among those that train together.
            world_size: how many there are. It may change from one resume to the next.
            positions: "restart" counts position_ids from the start of each segment, "continue" through the whole row.

        Raises:
            ValueError: rank or world_size is out of range, or positions is neither.
        """
        if world_size < 1 or not 0 <= rank < world_size:
            raise ValueError(f"rank {rank} of {world_size}: rank must be 0..world_size-1")
        if positions not in ("restart", "continue"):
            raise ValueError(f"positions is {positions!r}; give 'restart' or 'continue'")
        self.seed, self.rank, self.world_size, self.positions = seed, rank, world_size, positions
        self.consumed = 0

    @property
    @abstractmethod
    def form(self) -> Packed:
        """Return what a manifest says of all rows: their length, the dtype of tokens, whether they have weights."""

    @property
    def sequence_length(self) -> int:
        """Return L, the tokens of a row."""
        return self.form.sequence_length

    @property
    def weighted(self) -> bool:
        """Return whether tokens have weights."""
        return self.form.token_weights

    @abstractmethod
    def __len__(self) -> int:
        """Return the number of rows, over all ranks."""

    @abstractmethod
    def places(self, rows: np.ndarray) -> Iterator[tuple[int, Opened, int]]:
        """Yield, for each of `rows` and in any order, its index among them, the part it lies in, and its row there."""

    def tokens(self, rows: np.ndarray) -> np.ndarray:
        """Return [B, L], the tokens of rows alone, in the dtype of the files."""
        out = np.empty((len(rows), self.sequence_length), self.form.dtype)
        for i, part, at in self.places(rows):
            out[i] = part.rows[at]
        return out

    def token_weights(self, rows: np.ndarray) -> np.ndarray:
        """Return [B, L] float16, the weight of each token of rows.

        Raises:
            DataError: these sequences were packed without weights.
        """
        out = np.empty((len(rows), self.sequence_length), WEIGHT)
        for i, part, at in self.places(rows):
            if part.weights is None:
                raise DataError(f"{self.form.root} has no weights of tokens; wire `weights` where they are packed")
            out[i] = part.weights[at]
        return out

    def segments(self, row: int) -> np.ndarray:
        """Return what lies in a row from left to right, as `tokens.format.SEGMENT`: document, start, end, domain."""
        _, part, at = next(self.places(np.array([row])))
        return part.segments[part.offsets[at] : part.offsets[at + 1]]

    @abstractmethod
    def rows_at(self, positions: np.ndarray) -> np.ndarray:
        """Return the rows at positions of the endless global stream."""

    @abstractmethod
    def order(self) -> dict[str, Any]:
        """Return all that the order depends on, by name, ready for JSON."""

    @abstractmethod
    def _end(self) -> int | None:
        """Return the position at which iteration ends, None for never."""

    def __getitem__(self, row: int) -> Item:
        """Return the item of one row, by its place in the files."""
        if not -len(self) <= row < len(self):
            raise IndexError(f"row {row} of {len(self):,}")
        return self._items(np.array([row % len(self)]))[0]

    def _items(self, rows: np.ndarray) -> list[Item]:
        """Return the items of rows, views of their batch."""
        batch = self.batch(rows)
        bounds, _ = batch.pop("cu_seqlens"), batch.pop("max_seqlen")
        cuts = bounds.searchsorted(self.sequence_length * np.arange(len(rows) + 1))
        longest = np.maximum.reduceat(bounds[1:] - bounds[:-1], cuts[:-1])
        items = [dict(zip(batch, arrays, strict=True)) for arrays in zip(*batch.values(), strict=True)]
        for i, (item, first, behind) in enumerate(zip(items, cuts[:-1].tolist(), cuts[1:].tolist(), strict=True)):
            item["cu_seqlens"] = bounds[first : behind + 1] - bounds[first]
            item["max_seqlen"] = longest[i : i + 1].reshape(())
        return items

    def batch(self, rows: np.ndarray) -> Item:
        """Return B rows at once: [B, L] arrays; cu_seqlens and max_seqlen are of the flattened B * L positions.

        tokens, targets and position_ids lie in one block of memory: who keeps one of them keeps all three.

        Raises:
            DataError: the segments of a row do not fill it.
        """
        # One block for the three widest arrays: allocators give smaller ones back to the system when a batch is let go,
        # and touching fresh pages for the next one takes longer than all that is done here.
        block = np.empty((3, len(rows), self.sequence_length), np.int64)
        weights = np.empty(block.shape[1:], WEIGHT) if self.weighted else None
        pieces = [b""] * len(rows)
        for i, part, at in self.places(rows):
            block[0, i] = part.rows[at]
            # As bytes: numpy joins arrays of records field by field, which takes longer than the rows.
            pieces[i] = part.segments[part.offsets[at] : part.offsets[at + 1]].tobytes()
            if weights is not None and part.weights is not None:
                weights[i] = part.weights[at]
        segments = np.frombuffer(b"".join(pieces), SEGMENT)
        behind = np.array([len(piece) for piece in pieces], np.int64).cumsum() // SEGMENT.itemsize
        ends, last = segments["end"].astype(np.int64), behind - 1
        if b"" in pieces or (ends[last] != self.sequence_length).any():
            raise self._unfilled(rows)
        padded = segments["domain"][last] == PADDING
        return row_arrays(block, ends, behind, padded, restart=self.positions == "restart", weights_BL=weights)

    def _unfilled(self, rows: np.ndarray) -> DataError:
        ends = ((row, self.segments(row)["end"].tolist()) for row in map(int, rows))
        row, found = next((row, found) for row, found in ends if found[-1:] != [self.sequence_length])
        return DataError(
            f"row {row:,} of {self.form.root} has segments that end at {found}; the last must end with the row, at "
            f"{self.sequence_length:,}. Build it again."
        )

    def __iter__(self) -> Iterator[Item]:
        """Yield this rank's items from where the state stands to the end of the last pass.

        Some are made together: whoever keeps few of many items copies them, since each keeps all of those in memory.
        """
        together, stride, end = max(1, ITEM_TOKENS // self.sequence_length), self.world_size, self._end()
        made: list[Item] = []
        begun = 0
        for _ in self.steps(1):
            at, rest = divmod(self.consumed - begun, stride)
            if rest or not 0 <= at < len(made):  # all are given out, or another state has been loaded
                begun, at = self.consumed, 0
                count = together if end is None else min(together, 1 + (end - begun) // stride)
                made = self._items(self.rows_at(begun - stride + self.rank + stride * np.arange(count)))
            yield made[at]

    def batches(self, batch_size: int) -> Iterator[Item]:
        """Yield this rank's items in batches, see `batch`; an incomplete last batch is skipped.

        Step s reads positions s * B * w to (s + 1) * B * w of the stream, so batch_size * world_size alone decides
        what is learned in a step.
        """
        return (self.batch(rows) for rows in self.steps(batch_size))

    def state_dict(self) -> dict[str, Any]:
        """Return where in the global stream the last item given out lies: the same on every rank in step."""
        return {"consumed": self.consumed, **self.order()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where a state was taken; the world size may be another.

        Raises:
            DataError: the state belongs to other sequences, or to another order of them, or tells no place in it.
        """
        for name, own in self.order().items():
            if state.get(name) != own:
                raise DataError(
                    f"this state was saved with {name} {state.get(name)!r}, but here it is {own!r}: "
                    "it would go on somewhere else. Open the same sequences with the same seed, or begin anew."
                )
        consumed = state.get("consumed")
        if not isinstance(consumed, int) or consumed < 0:
            raise DataError(
                f"this state has consumed {consumed!r}; it must be a whole number from 0. Load a state that "
                "`state_dict` made."
            )
        self.consumed = consumed

    def steps(self, batch_size: int, worker: int = 0, workers: int = 1) -> Iterator[np.ndarray]:
        """Yield the rows [B] of each step of this rank, and count the step as read by all ranks before it is given.

        Of `workers` processes that make the batches of one rank, each yields the steps worker, worker + workers, ...
        and counts them all.

        Raises:
            ValueError: batch_size is below 1, or so large that all the rows to read would make no step.
        """
        if batch_size < 1:
            raise ValueError(f"a batch of {batch_size} rows: give 1 or more")
        stride = batch_size * self.world_size
        end, reach = self._end(), -(-self.rows_ahead // batch_size) * workers
        self._check_step(stride, end)
        first, made, ahead = 0, 0, np.zeros((0, batch_size), np.int64)
        while len(self) and (end is None or self.consumed + stride <= end):
            step = (self.consumed - first) // stride
            if not 0 <= step < len(ahead) - reach or (self.consumed - first) % stride:
                first, step = self.consumed, 0
                many = max(1, LOOKAHEAD // batch_size) + reach
                mine = first + self.rank + self.world_size * np.arange(many * batch_size)
                ahead = self.rows_at(mine).reshape(many, batch_size)
            self.consumed += stride
            if made % workers == worker:
                if reach:
                    left = reach if end is None else min(reach, (end - self.consumed) // stride)
                    self.expect(ahead[step : step + left + 1 : workers].ravel())
                yield ahead[step]
            made += 1
        if end is not None:
            self.consumed = max(self.consumed, end)  # a state of a later pass may have been loaded

    def _check_step(self, stride: int, end: int | None) -> None:
        """Refuse a step that none of the passes holds: a training would end before it began, and say nothing."""
        if end is not None and len(self) and self.consumed == 0 and stride > end:
            raise ValueError(
                f"{len(self):,} rows, {end // len(self):,} times, make no step of {stride:,}, the rows that all ranks "
                "read together: give a smaller batch, or more epochs (None for ever)"
            )

    @property
    def rows_ahead(self) -> int:
        """Return how many rows it pays to tell `expect` before they are read; 0 where they are at hand."""
        return 0

    @abstractmethod
    def expect(self, rows: np.ndarray) -> None:
        """Begin to fetch rows that will be read soon, in this order."""
