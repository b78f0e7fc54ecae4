"""PackedDataset: packed sequences in a seeded global order, resumable at any step from one integer.

The order is a keyed permutation that is never written down (`kernels.permutation`): position g of the endless
global stream lies in epoch g // n, at row permuted(g % n) under the key of (seed, epoch). Rank r of w takes positions
r, r + w, r + 2w, ...; so ranks together read the same stream, whatever w is, and all a trainer saves is how much of
it is read.

numpy and the standard library only: the trainer imports this.
"""

from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np

from pipeline.errors import DataError
from pipeline.kernels.permutation import key_of, permuted
from pipeline.tokens.format import PADDING, Part, read_packed

IGNORE = -100
"""The target of a position that is not learned: the last of a segment, and padding."""

Item = dict[str, np.ndarray]
FLAT = ("cu_seqlens", "max_seqlen")
"""What is said of all positions of a batch together."""
OPEN_PARTS = 128
"""Parts mapped at a time: each takes up to four file descriptors, and a process may often have 1,024."""
LOOKAHEAD = 1024


class PackedDataset:
    """Packed sequences of one corpus, by row or in a seeded order.

    Indexing goes by row, in the order of the files; iterating goes in the shuffled order, through `epochs` passes. An
    item is a dict of arrays, L = `sequence_length`, K = segments of the row:

        tokens        [L] int64      the row
        targets       [L] int64      the next token; IGNORE (-100) at the last position of a segment and in padding
        loss_mask     [L] bool       where targets is not IGNORE
        loss_weights  [L] float32    where tokens have weights: that of the target, 0 where nothing is learned
        position_ids  [L] int64      0, 1, 2, ... from the start of each segment, or of the row: see `positions`
        document_ids  [L] int32      0..K-1, which segment a position belongs to; -1 in padding
        cu_seqlens    [K + 1] int32  segment bounds 0..L, padding being a segment of its own (FlashAttention varlen)
        max_seqlen    [] int32       the longest segment, padding included (FlashAttention varlen)
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
        positions: Literal["restart", "continue"] = "restart",
    ):
        """Open a folder of packed sequences; nothing is read yet but its manifest.

        Args:
            path: the folder that tokens.pack wrote.
            seed: of the order; every epoch is shuffled anew.
            rank: 0..world_size-1, this process' place among those that train together.
            world_size: how many there are. It may change from one resume to the next.
            shuffle: False reads the rows in the order of the files, every epoch the same.
            epochs: passes after which iteration ends, None for never. When fewer than world_size rows are left of the
                last pass they are skipped, so that every rank makes the same number of steps. Iterating again goes on
                with the following passes.
            positions: "restart" counts position_ids from the start of each segment, "continue" through the whole row.

        Raises:
            DataError: the folder does not hold finished packed sequences, or a file is missing or truncated.
            ValueError: rank, world_size or epochs is out of range, or positions is neither.
        """
        if world_size < 1 or not 0 <= rank < world_size:
            raise ValueError(f"rank {rank} of {world_size}: rank must be 0..world_size-1")
        if epochs is not None and epochs < 1:
            raise ValueError(f"epochs is {epochs}; give 1 or more, or None to iterate for ever")
        if positions not in ("restart", "continue"):
            raise ValueError(f"positions is {positions!r}; give 'restart' or 'continue'")
        self.packed = read_packed(path)
        self.positions = positions
        self.seed, self.rank, self.world_size, self.shuffle, self.epochs = seed, rank, world_size, shuffle, epochs
        self.consumed = 0
        self._first_row = np.cumsum([0, *(part.rows for part in self.packed.parts)])
        self._open: OrderedDict[int, tuple[Any, ...]] = OrderedDict()

    def __len__(self) -> int:
        """Return the number of rows, over all ranks."""
        return int(self._first_row[-1])

    @property
    def sequence_length(self) -> int:
        return self.packed.sequence_length

    @property
    def epoch(self) -> int:
        """How many whole passes have been read."""
        return self.consumed // max(1, len(self))

    def __getitem__(self, row: int) -> Item:
        """Return the item of one row, by its place in the files."""
        if not -len(self) <= row < len(self):
            raise IndexError(f"row {row} of {len(self):,}")
        batch = self.batch(np.array([row % len(self)]))
        return {name: array if name in FLAT else array[0] for name, array in batch.items()}

    def batch(self, rows: np.ndarray) -> Item:
        """Return B rows at once: [B, L] arrays; cu_seqlens and max_seqlen are of the flattened B * L positions."""
        tokens = self.tokens(rows).astype(np.int64)
        segments = [self.segments(int(row)) for row in rows]
        ends = np.concatenate([s["end"] + np.int64(i * self.sequence_length) for i, s in enumerate(segments)])
        padding = np.concatenate([s["domain"] == PADDING for s in segments])
        number = np.concatenate([np.arange(len(s), dtype=np.int32) for s in segments])
        starts = np.concatenate([[0], ends[:-1]])
        lengths = ends - starts
        targets = np.empty(tokens.size, np.int64)
        targets[:-1] = tokens.ravel()[1:]
        targets[ends - 1] = IGNORE
        for i in np.flatnonzero(padding):
            targets[starts[i] : ends[i]] = IGNORE
        learned, places = targets != IGNORE, np.arange(tokens.size)
        restart = self.positions == "restart"
        flat = {
            "tokens": tokens,
            "targets": targets,
            "loss_mask": learned,
            "position_ids": places - np.repeat(starts, lengths) if restart else places % self.sequence_length,
            "document_ids": np.repeat(np.where(padding, np.int32(-1), number), lengths),
        }
        if self.packed.token_weights:
            flat["loss_weights"] = _of_targets(self.token_weights(rows).ravel(), learned)
        item = {name: array.reshape(tokens.shape) for name, array in flat.items()}
        bounds = np.concatenate([[0], ends]).astype(np.int32)
        return item | {"cu_seqlens": bounds, "max_seqlen": np.array(lengths.max(initial=0), np.int32)}

    def tokens(self, rows: np.ndarray) -> np.ndarray:
        """Return [B, L], the tokens of rows alone, in the dtype of the files."""
        return self._rows(rows, 0, self.packed.dtype)

    def token_weights(self, rows: np.ndarray) -> np.ndarray:
        """Return [B, L] float16, the weight of each token of rows.

        Raises:
            DataError: these sequences were packed without weights.
        """
        if not self.packed.token_weights:
            raise DataError(f"{self.packed.root} has no weights of tokens; wire `weights` where they are packed")
        return self._rows(rows, 3, np.dtype("<f2"))

    def _rows(self, rows: np.ndarray, kind: int, dtype: np.dtype) -> np.ndarray:
        out = np.empty((len(rows), self.sequence_length), dtype)
        parts = np.searchsorted(self._first_row, rows, "right") - 1
        for i, (part, row) in enumerate(zip(parts.tolist(), (rows - self._first_row[parts]).tolist(), strict=True)):
            out[i] = self._part(part)[kind][row]
        return out

    def segments(self, row: int) -> np.ndarray:
        """Return what lies in a row from left to right, as `tokens.format.SEGMENT`: document, start, end, domain."""
        part = int(np.searchsorted(self._first_row, row, "right")) - 1
        _, offsets, segments, _ = self._part(part)
        at = row - int(self._first_row[part])
        return segments[offsets[at] : offsets[at + 1]]

    def rows_at(self, positions: np.ndarray) -> np.ndarray:
        """Return the rows at positions of the endless global stream."""
        positions = np.asarray(positions, np.int64)
        n = len(self)
        if not self.shuffle or not len(positions):
            return positions % max(1, n)
        epochs, within = positions // n, positions % n
        rows = np.empty_like(within)
        for epoch in np.unique(epochs).tolist():
            chosen = epochs == epoch
            rows[chosen] = permuted(within[chosen], n, key_of(self.seed, epoch))
        return rows

    def __iter__(self) -> Iterator[Item]:
        """Yield this rank's items from where the state stands to the end of the last pass."""
        return (self[int(rows[0])] for rows in self.steps(1))

    def batches(self, batch_size: int) -> Iterator[Item]:
        """Yield this rank's items in batches, see `batch`; an incomplete last batch is skipped.

        Step s reads positions s * B * w to (s + 1) * B * w of the stream, so batch_size * world_size alone decides
        what is learned in a step.
        """
        return (self.batch(rows) for rows in self.steps(batch_size))

    def state_dict(self) -> dict[str, Any]:
        """Return where in the global stream the last item given out lies: the same on every rank in step."""
        return {
            "consumed": self.consumed,
            "seed": self.seed,
            "shuffle": self.shuffle,
            "fingerprint": self.packed.fingerprint,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where a state was taken; the world size may be another.

        Raises:
            DataError: the state belongs to other sequences, or to another order of them.
        """
        own = self.state_dict()
        for name in ("fingerprint", "seed", "shuffle"):
            if state.get(name) != own[name]:
                raise DataError(
                    f"this state was saved with {name} {state.get(name)!r}, but {self.packed.root} has {own[name]!r}: "
                    "it would go on somewhere else. Open the same sequences with the same seed, or begin anew."
                )
        self.consumed = int(state["consumed"])

    def steps(self, batch_size: int) -> Iterator[np.ndarray]:
        """Yield the rows [B] of each step of this rank, and count the step as read by all ranks before it is given."""
        stride = batch_size * self.world_size
        end = self._end()
        first, ahead = 0, np.zeros((0, batch_size), np.int64)
        while len(self) and (end is None or self.consumed + stride <= end):
            step = (self.consumed - first) // stride
            if not 0 <= step < len(ahead) or (self.consumed - first) % stride:
                first, step = self.consumed, 0
                many = max(1, LOOKAHEAD // batch_size)
                mine = first + self.rank + self.world_size * np.arange(many * batch_size)
                ahead = self.rows_at(mine).reshape(many, batch_size)
            self.consumed += stride
            yield ahead[step]
        if end is not None:
            self.consumed = end

    def _end(self) -> int | None:
        if self.epochs is None:
            return None
        run = self.epochs * len(self)
        return (self.consumed // run + 1) * run if run else 0

    def _part(self, index: int) -> tuple[Any, ...]:
        arrays = self._open.get(index)
        if arrays is None:
            arrays = self._opened(self.packed.parts[index])
            self._open[index] = arrays
            if len(self._open) > OPEN_PARTS:
                self._open.popitem(last=False)
        else:
            self._open.move_to_end(index)
        return arrays

    def _opened(self, part: Part) -> tuple[Any, ...]:
        """Return rows, offsets, segments and weights, None where there are none."""
        rows, offsets, segments = part.open()
        if rows.shape != (part.rows, self.sequence_length) or rows.dtype != self.packed.dtype:
            raise DataError(
                f"{part.paths()[0]} holds {rows.dtype} {rows.shape}, the manifest says {self.packed.dtype} "
                f"{(part.rows, self.sequence_length)}: build it again"
            )
        return rows, offsets, segments, part.weights()

    def __getstate__(self) -> dict[str, Any]:
        """Leave the mapped files behind: a process that gets this dataset maps its own."""
        return self.__dict__ | {"_open": OrderedDict()}


def _of_targets(weights: np.ndarray, learned: np.ndarray) -> np.ndarray:
    """Return [T] float32, the weight of the token after each position, 0 where none is learned."""
    out = np.zeros(len(weights), np.float32)
    out[:-1] = weights[1:]
    out[~learned] = 0
    return out
