"""TorchPackedDataset: packed sequences as an IterableDataset of batches of tensors; needs the extra `torch`.

Use it with `DataLoader(dataset, batch_size=None, num_workers=k)`: the dataset makes the batches, worker i of k makes
the batches i, i + k, ..., and the DataLoader takes them in turn, so the order is that of one process whatever k is.
Every batch is a dict of contiguous tensors, which is what `pin_memory=True` asks for before it copies them for a GPU.
"""

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import IterableDataset, get_worker_info

from pipeline.tokens.loader import PackedDataset
from pipeline.tokens.stream import Stream

Batch = dict[str, torch.Tensor]


class TorchPackedDataset(IterableDataset[Batch]):
    """Batches of packed sequences as tensors, in the order of `Stream.batches`; endless unless told `epochs`."""

    def __init__(self, source: Stream | Path | str, *, batch_size: int, **options: Any):
        """Take an open dataset, packed or mixed, or open a folder with the `options` of PackedDataset.

        Raises:
            ValueError: an open dataset is given options: it has its own.
        """
        super().__init__()
        if isinstance(source, Stream) and options:
            raise ValueError(f"{', '.join(options)}: give options to the {type(source).__name__} when you open it")
        self.batch_size = batch_size
        opened = source if isinstance(source, Stream) else PackedDataset(source, **{"epochs": None} | options)
        self.dataset: Stream = opened

    def __iter__(self) -> Iterator[Batch]:
        """Yield dicts of tensors: see Stream for their names, Stream.batch for their shapes.

        Every iteration begins where the state stands: with workers, the process that trains does not see them read.
        """
        info = get_worker_info()
        worker, workers = (info.id, info.num_workers) if info else (0, 1)
        dataset = copy.copy(self.dataset)
        for rows in dataset.steps(self.batch_size, worker, workers):
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
