"""MixedDataset: several folders of packed sequences in one stream whose every block holds each in its exact share.

The endless global stream is cut into blocks of B positions. A block holds counts[s] rows of source s, the same in every
block: weights * B, rounded by largest remainder. Within block b, position k is place permuted(k) under the key of
(seed, b); the places are dealt to the sources in the order of their names. So the row of source s that stands there is
number b * counts[s] + (place - first place of s) of that source's own endless stream, which PackedDataset shuffles.
Any position costs the same, however far it is.

numpy and the standard library only: the trainer imports this.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.errors import DataError
from pipeline.kernels.permutation import key_of, keys_of, permuted
from pipeline.tokens.format import Packed
from pipeline.tokens.loader import PackedDataset
from pipeline.tokens.stream import Opened, Positions, Stream

ALIKE = ("sequence_length", "dtype", "vocab_size", "eos_id", "bos_id", "pad_id", "token_weights")
"""What sources that are read as one must have in common."""


class MixedDataset(Stream):
    """Packed sequences of several sources, endless, with the exact mixture in every block of the stream.

    A row is numbered through the sources in the order of their names: `located` says whose it is. The domains of
    `segments` are those of its source's manifest. `Stream` says what an item holds.
    """

    def __init__(
        self,
        paths: Mapping[str, Path | str],
        *,
        weights: Mapping[str, float],
        block: int = 2048,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
        positions: Positions = "restart",
    ):
        """Open folders of packed sequences; nothing is read yet but their manifests.

        Args:
            paths: the folders that tokens.pack wrote, by name. The order of a source depends on its name and the seed,
                not on the other sources.
            weights: the share of rows of each name; only their ratios count.
            block: rows in which the shares are exact. A multiple of what is learned in a step makes them exact in
                whole steps.
            seed: of the order.
            rank: 0..world_size-1, this process' place among those that train together.
            world_size: how many there are. It may change from one resume to the next.
            positions: "restart" counts position_ids from the start of each segment, "continue" through the whole row.

        Raises:
            DataError: a folder does not hold finished packed sequences or has no rows, or they do not fit together.
            ValueError: weights do not name the sources, or a source would have no row in a block.
        """
        super().__init__(seed, rank, world_size, positions)
        self.names = tuple(sorted(paths))
        self.counts = block_counts(self.names, weights, block)
        self.block = block
        self.sources = tuple(PackedDataset(paths[name], seed=_source_seed(seed, name)) for name in self.names)
        self._check()
        self._first_place = np.cumsum([0, *self.counts])
        self._first_row = np.cumsum([0, *map(len, self.sources)])

    def _check(self) -> None:
        first = self.sources[0].packed
        for name, source in zip(self.names, self.sources, strict=True):
            if not len(source):
                raise DataError(f"source {name!r}, {source.packed.root}, has no rows; leave it out of the mixture")
            for fact in ALIKE:
                found, expected = getattr(source.packed, fact), getattr(first, fact)
                if found != expected:
                    raise DataError(
                        f"source {name!r} was packed with {fact} {found}, source {self.names[0]!r} with {expected}: "
                        "they cannot be read as one. Pack them with the same tokenizer and the same options."
                    )
        pairs = zip(self.names, self.sources, strict=True)
        told = {source.packed.tokenizer: name for name, source in pairs if source.packed.tokenizer is not None}
        if len(told) > 1:
            one, other, *_ = told
            raise DataError(
                f"source {told[one]!r} was packed with tokenizer {one[:12]}, source {told[other]!r} with {other[:12]}: "
                "one id would mean two things. Pack them with the same one, which `tokens.tokenizer` of a recipe names."
            )

    def __len__(self) -> int:
        """Return the number of rows of all sources, over all ranks."""
        return int(self._first_row[-1])

    @property
    def form(self) -> Packed:
        """Return what the manifest of the first source says: the others are like it in what rows have in common."""
        return self.sources[0].packed

    @property
    def passes(self) -> dict[str, float]:
        """Return how often each source has been read so far, to within a block."""
        pairs = zip(self.names, self.counts, self.sources, strict=True)
        return {name: self.consumed / self.block * count / len(source) for name, count, source in pairs}

    def located(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return [B] the place in `names` of each row's source, and [B] its row there."""
        source = np.searchsorted(self._first_row, rows, "right") - 1
        return source, rows - self._first_row[source]

    def places(self, rows: np.ndarray) -> Iterator[tuple[int, Opened, int]]:
        """Yield, for each of `rows`, its index among them, the part it lies in, and its row there."""
        for source, indices, within in self._by_source(rows):
            for i, (_, part, at) in zip(indices.tolist(), source.places(within), strict=True):
                yield i, part, at

    def rows_at(self, positions: np.ndarray) -> np.ndarray:
        """Return the rows at positions of the endless global stream."""
        blocks, within = np.divmod(np.asarray(positions, np.int64), self.block)
        places = permuted(within, self.block, keys_of(self.seed, last=blocks))
        number = np.searchsorted(self._first_place, places, "right") - 1
        rows = np.empty_like(places)
        for s, source in enumerate(self.sources):
            chosen = np.flatnonzero(number == s)
            at = blocks[chosen] * self.counts[s] + places[chosen] - self._first_place[s]
            rows[chosen] = self._first_row[s] + source.rows_at(at)
        return rows

    def order(self) -> dict[str, Any]:
        """Return all that the order depends on."""
        counts = dict(zip(self.names, self.counts, strict=True))
        prints = {name: source.packed.fingerprint for name, source in zip(self.names, self.sources, strict=True)}
        fingerprint = hashlib.sha256(json.dumps(prints, sort_keys=True).encode()).hexdigest()
        return {"fingerprint": fingerprint, "seed": self.seed, "rows of a block": counts}

    @property
    def rows_ahead(self) -> int:
        """Return how many rows it pays to tell `expect` before they are read; 0 where they are at hand."""
        return max(source.rows_ahead for source in self.sources)

    def expect(self, rows: np.ndarray) -> None:
        """Begin to fetch rows that will be read soon."""
        for source, _, within in self._by_source(rows):
            source.expect(within)

    def _by_source(self, rows: np.ndarray) -> list[tuple[PackedDataset, np.ndarray, np.ndarray]]:
        """Return, for each source that rows are of: itself, their places among `rows`, and its own rows there."""
        number, within = self.located(rows)
        chosen = ((s, np.flatnonzero(number == s)) for s in np.unique(number).tolist())
        return [(self.sources[s], places, within[places]) for s, places in chosen]

    def _end(self) -> None:
        return None


def block_counts(names: tuple[str, ...], weights: Mapping[str, float], block: int) -> tuple[int, ...]:
    """Return how many rows of each name a block holds: the shares of the weights by largest remainder.

    Equal remainders are settled by the order of names.

    Raises:
        ValueError: weights name others than `names`, one is not a number above 0, or a source would have no row.
    """
    if not names or set(weights) != set(names):
        raise ValueError(f"weights are given for {sorted(weights)}, sources are {list(names)}; give one for each")
    given = np.array([weights[name] for name in names], np.float64)
    if not np.isfinite(given).all() or (given <= 0).any():
        raise ValueError(
            f"weights are {dict(weights)}; each must be a number above 0. Leave out what is not to be read"
        )
    exact = given / given.sum() * block
    counts = np.floor(exact).astype(np.int64)
    # Rounded, so that remainders which are equal on paper are equal here, whatever the machine adds up first.
    order = np.argsort(-np.round(exact - counts, 9), kind="stable")
    counts[order[: block - counts.sum()]] += 1
    for name, count in zip(names, counts.tolist(), strict=True):
        if count < 1:
            raise ValueError(
                f"a block of {block} rows has none of {name!r} (weight {weights[name]}); use a larger block"
            )
    return tuple(counts.tolist())


def _source_seed(seed: int, name: str) -> int:
    """Return the seed of a source's own order: that of another source in the same mixture is another."""
    return key_of(seed, int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little"))
