"""The torch IterableDataset: the order of one process, however many workers the DataLoader has."""

import importlib.util
import sys
from contextlib import nullcontext
from itertools import islice, pairwise
from pathlib import Path

import numpy as np
import pytest

from pipeline.tokens.loader import PackedDataset
from pipeline.tokens.mixed import MixedDataset
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
        "max_seqlen": torch.int32,
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


@pytest.mark.parametrize("workers", [0, 2])
def test_a_mixture_is_read_in_the_order_of_one_process(folder, workers):
    from pipeline.tokens.torch_dataset import TorchPackedDataset

    def mixed():
        return MixedDataset({"a": folder, "b": folder}, weights={"a": 3, "b": 1}, block=8, seed=2)

    expected = [batch["tokens"].tolist() for batch in islice(mixed().batches(3), 6)]
    batches = loaded(TorchPackedDataset(mixed(), batch_size=3), workers, 6)
    assert [batch["tokens"].tolist() for batch in batches] == expected
    with pytest.raises(ValueError, match="seed: give options to the MixedDataset"):
        TorchPackedDataset(mixed(), batch_size=3, seed=1)


def test_batches_can_be_pinned_as_they_are(folder):
    """Pinning itself needs a GPU; what it needs of a batch is a dict of contiguous tensors.

    A worker sends the memory behind each: that of the tensor alone, though some share a block of numpy's.
    """
    import torch

    from pipeline.tokens.torch_dataset import TorchPackedDataset

    batch = next(iter(TorchPackedDataset(folder, batch_size=4)))
    assert type(batch) is dict
    assert all(tensor.is_contiguous() for tensor in batch.values())
    assert {batch[name].dtype for name in ("tokens", "targets", "position_ids")} == {torch.int64}
    assert all(tensor.untyped_storage().nbytes() == tensor.nbytes for tensor in batch.values())


@pytest.mark.parametrize("workers", [0, 1])
def test_batches_are_pinned_where_they_can_be_and_elsewhere_the_same_with_a_warning(folder, workers):
    import torch
    from torch.utils.data import DataLoader

    from pipeline.tokens.torch_dataset import TorchPackedDataset

    pinned = torch.accelerator.is_available()
    dataset = TorchPackedDataset(folder, batch_size=3, epochs=1)
    with nullcontext() if pinned else pytest.warns(UserWarning, match="no accelerator is found"):
        batches = list(DataLoader(dataset, batch_size=None, num_workers=workers, pin_memory=True))
    whole = list(PackedDataset(folder).batches(3))
    assert [{name: t.tolist() for name, t in batch.items()} for batch in batches] == [
        {name: a.tolist() for name, a in batch.items()} for batch in whole
    ]
    assert all(tensor.is_pinned() == pinned for batch in batches for tensor in batch.values())


def documented():
    """The function that the guide to packing shows."""
    text = (Path(__file__).parents[2] / "docs/packing.md").read_text(encoding="utf-8")
    block = next(part for part in text.split("```python\n")[1:] if "flex_attention" in part).split("```")[0]
    names = {}
    exec(compile(block, "docs/packing.md", "exec"), names)
    return names["attention"]


def test_the_documented_block_mask_keeps_attention_within_documents(folder):
    """Equal to attention computed for each segment alone, between the bounds that FlashAttention takes."""
    import torch

    batch = {name: torch.from_numpy(a) for name, a in PackedDataset(folder).batch(np.array([0, 4, 11])).items()}
    torch.manual_seed(0)
    rows, length = batch["tokens"].shape
    q, k, v = (torch.randn(rows, 2, length, 16) for _ in range(3))
    found = documented()(q, k, v, batch["document_ids"])
    flat = [part.transpose(1, 2).reshape(1, rows * length, 2, 16).transpose(1, 2) for part in (q, k, v)]
    bounds = batch["cu_seqlens"].tolist()
    alone = [
        torch.nn.functional.scaled_dot_product_attention(*(part[:, :, a:b] for part in flat), is_causal=True)
        for a, b in pairwise(bounds)
    ]
    assert batch["max_seqlen"].item() == max(b - a for a, b in pairwise(bounds))
    expected = torch.cat(alone, 2).transpose(1, 2).reshape(rows, length, 2, 16).transpose(1, 2)
    torch.testing.assert_close(found, expected)


def example():
    """The training that the guide to packing names."""
    path = Path(__file__).parents[2] / "benchmarks/train_gpt.py"
    spec = importlib.util.spec_from_file_location("train_gpt", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules["train_gpt"] = module  # where dataclasses look for it
    spec.loader.exec_module(module)
    return module


def test_in_the_example_a_token_sees_its_own_document_only(folder):
    """A segment has the logits that it has where it is alone."""
    import torch

    torch.manual_seed(0)
    model = example().GPT(1000, 16, width=32, layers=2, heads=2).eval()
    batch = {name: torch.from_numpy(a) for name, a in PackedDataset(folder).batch(np.array([0, 4, 11])).items()}
    names = ("tokens", "position_ids", "document_ids")
    with torch.no_grad():
        found = model(batch).reshape(-1, 1000)
        for start, end in pairwise(batch["cu_seqlens"].tolist()):
            alone = model({name: batch[name].reshape(1, -1)[:, start:end] for name in names})
            torch.testing.assert_close(found[start:end], alone[0])


def test_the_example_learns(folder):
    import torch

    train_gpt = example()
    torch.manual_seed(0)
    batches = list(islice(train_gpt.TorchPackedDataset(folder, batch_size=4), 40))
    model = train_gpt.GPT(1000, 16, width=32, layers=2, heads=2)
    losses = train_gpt.train(train_gpt.windows(batches, 8), model, seconds=1e6).losses
    assert len(losses) == 80
    assert sum(losses[-10:]) < sum(losses[:10]) - 10
