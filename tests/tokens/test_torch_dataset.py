"""The torch IterableDataset: the order of one process, however many workers the DataLoader has."""

import pytest

from pipeline.tokens.loader import PackedDataset
from tests.tokens.packed import write_packed

pytestmark = pytest.mark.torch


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("packed") / "sequences"
    write_packed(root)
    return root


def loaded(dataset, workers, batches):
    from torch.utils.data import DataLoader

    items = iter(DataLoader(dataset, batch_size=None, num_workers=workers))
    return [next(items) for _ in range(batches)]


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_batches_come_in_the_order_of_one_process(folder, workers):
    from pipeline.tokens.torch_dataset import TorchPackedDataset

    expected = PackedDataset(folder, seed=2, rank=1, world_size=2, epochs=None).batches(3)
    batches = loaded(TorchPackedDataset(folder, batch_size=3, seed=2, rank=1, world_size=2), workers, 8)
    for batch in batches:
        whole = next(expected)
        assert {name: tensor.tolist() for name, tensor in batch.items()} == {n: a.tolist() for n, a in whole.items()}


def test_tensors_have_the_types_that_models_take(folder):
    import torch

    from pipeline.tokens.torch_dataset import TorchPackedDataset

    batch = next(iter(TorchPackedDataset(folder, batch_size=2)))
    assert {name: tensor.dtype for name, tensor in batch.items()} == {
        "tokens": torch.int64,
        "targets": torch.int64,
        "loss_mask": torch.bool,
        "position_ids": torch.int64,
        "document_ids": torch.int32,
        "cu_seqlens": torch.int32,
    }
    logits = torch.zeros(batch["tokens"].numel(), 1000)
    assert torch.nn.functional.cross_entropy(logits, batch["targets"].ravel()).item() == pytest.approx(6.9078, abs=1e-3)


@pytest.mark.parametrize("workers", [0, 2])
def test_training_goes_on_after_the_batches_that_were_learned(folder, workers):
    from pipeline.tokens.torch_dataset import TorchPackedDataset

    dataset = TorchPackedDataset(folder, batch_size=2, seed=7)
    whole = [batch["tokens"].tolist() for batch in loaded(dataset, workers, 9)]
    again = TorchPackedDataset(folder, batch_size=2, seed=7)
    again.load_state_dict(dataset.state_dict(batches=4))
    assert [batch["tokens"].tolist() for batch in loaded(again, workers, 5)] == whole[4:]
