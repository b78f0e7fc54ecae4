"""TorchPackedDataset: PackedDataset as an IterableDataset of batches of tensors; needs the extra `torch`.

Use it with `DataLoader(dataset, batch_size=None, num_workers=k)`: the dataset makes the batches, worker i of k makes
the batches i, i + k, ..., and the DataLoader takes them in turn, so the order is that of one process whatever k is.
"""

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import IterableDataset, get_worker_info

from pipeline.tokens.loader import PackedDataset

Batch = dict[str, torch.Tensor]


class TorchPackedDataset(IterableDataset[Batch]):
    """Batches of packed sequences as tensors, in the order of `PackedDataset.batches`; endless unless told `epochs`."""

    def __init__(self, path: Path | str, *, batch_size: int, epochs: int | None = None, **options: Any):
        """Open packed sequences; `options` are those of PackedDataset (seed, rank, world_size, shuffle, positions)."""
        super().__init__()
        self.batch_size = batch_size
        self.dataset = PackedDataset(path, epochs=epochs, **options)

    def __iter__(self) -> Iterator[Batch]:
        """Yield dicts of tensors: see PackedDataset for their names, PackedDataset.batch for their shapes.

        Every iteration begins where the state stands: with workers, the process that trains does not see them read.
        """
        info = get_worker_info()
        worker, workers = (info.id, info.num_workers) if info else (0, 1)
        dataset = copy.copy(self.dataset)
        for step, rows in enumerate(dataset.steps(self.batch_size)):
            if step % workers == worker:
                yield {name: torch.from_numpy(array) for name, array in dataset.batch(rows).items()}

    def state_dict(self, batches: int) -> dict[str, Any]:
        """Return the state after `batches` batches of this iteration.

        The count is the trainer's, because a DataLoader fetches ahead of it.
        """
        state = self.dataset.state_dict()
        return state | {"consumed": state["consumed"] + batches * self.batch_size * self.dataset.world_size}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where a state was taken; do it before the DataLoader begins to iterate."""
        self.dataset.load_state_dict(state)
