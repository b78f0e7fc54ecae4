"""Train a tiny GPT on packed sequences, on a CPU: the loader at work, with attention within documents.

    python benchmarks/train_gpt.py data/build/corpora/tokens.pack-... [--seconds 120] [--batch 1] [--json]

The folder is one that tokens.pack wrote. A token sees the tokens of its own document before it: the mask comes from
`document_ids`, positions begin anew with every document, and no document's last token is asked for the next one's
first. The loss of what was learned is printed as it falls; a uniform guess has log(vocabulary).
"""

import argparse
import json
import math
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional

from pipeline.kernels.row_arrays import IGNORE
from pipeline.tokens.loader import PackedDataset
from pipeline.tokens.torch_dataset import Batch, TorchPackedDataset

WIDTH, LAYERS, HEADS = 64, 2, 2
LEARNING_RATE, WARM_UP_STEPS = 5e-3, 10
LINES = 20


class Block(nn.Module):
    """Masked attention and a feed-forward layer, each added to what it reads."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.before_attention, self.before_feeding = nn.LayerNorm(width), nn.LayerNorm(width)
        self.reads, self.attends = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.feeds = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: torch.Tensor, visible: torch.Tensor) -> torch.Tensor:
        """Return [B, L, width] for the same; visible [B, 1, L, L] is True where a token (row) sees one (column)."""
        rows, length, width = x.shape
        parts = self.reads(self.before_attention(x)).view(rows, length, 3, self.heads, width // self.heads)
        query, key, value = parts.permute(2, 0, 3, 1, 4)
        seen = functional.scaled_dot_product_attention(query, key, value, attn_mask=visible)
        x = x + self.attends(seen.transpose(1, 2).reshape(rows, length, width))
        return x + self.feeds(self.before_feeding(x))


class GPT(nn.Module):
    """A decoder with learned positions and one embedding for input and output."""

    def __init__(self, vocabulary: int, length: int, width: int = WIDTH, layers: int = LAYERS, heads: int = HEADS):
        super().__init__()
        self.tokens, self.places = nn.Embedding(vocabulary, width), nn.Embedding(length, width)
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(layers))
        self.last_norm = nn.LayerNorm(width)
        for embedding in (self.tokens, self.places):
            nn.init.normal_(embedding.weight, std=0.02)

    def forward(self, batch: Batch) -> torch.Tensor:
        """Return the logits of the token after each, [B, L, V]."""
        visible = within_documents(batch["document_ids"])
        x = self.tokens(batch["tokens"]) + self.places(batch["position_ids"])
        for block in self.blocks:
            x = block(x, visible)
        return functional.linear(self.last_norm(x), self.tokens.weight)


def within_documents(document_ids: torch.Tensor) -> torch.Tensor:
    """Return [B, 1, L, L], True where the column is in the row's document and not after it; ids are [B, L]."""
    same = document_ids[:, :, None] == document_ids[:, None, :]
    return same.tril()[:, None]


@dataclass
class Curve:
    """The mean loss of a token, in nats, between one printed line and the next."""

    every_s: float
    lines: list[dict[str, float]] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)

    def add(self, loss: float, elapsed_s: float, read: int) -> None:
        """Count a step's loss; print a line when it is time, `read` tokens after the start."""
        self.losses.append(loss)
        if elapsed_s >= self.every_s * (len(self.lines) + 1):
            mean = sum(self.losses) / len(self.losses)
            self.lines.append({"seconds": round(elapsed_s, 1), "tokens": read, "loss": round(mean, 4)})
            print(f"{elapsed_s:6.0f} s {read:11,} tokens   loss {mean:6.3f}  {'#' * round(6 * mean)}", flush=True)
            self.losses.clear()


def windows(batches: Iterable[Batch], context: int) -> Iterator[Batch]:
    """Yield what a step learns: [B, context] of each batch from left to right, if there is anything to learn."""
    names = ("tokens", "targets", "position_ids", "document_ids")
    for batch in batches:
        for start in range(0, batch["tokens"].shape[1], context):
            if batch["loss_mask"][:, start : start + context].any():
                yield {name: batch[name][:, start : start + context] for name in names}


def train(steps: Iterable[Batch], model: GPT, seconds: float) -> Curve:
    """Return the curve of a training that takes so many seconds."""
    optimizer = torch.optim.AdamW(model.parameters(), LEARNING_RATE, betas=(0.9, 0.95), weight_decay=0.1, fused=True)
    curve, start, read = Curve(seconds / LINES), time.perf_counter(), 0
    for step, batch in enumerate(steps):
        elapsed = time.perf_counter() - start
        if elapsed >= seconds:
            break
        rise, fall = min(1.0, (step + 1) / WARM_UP_STEPS), 0.5 * (1 + math.cos(math.pi * elapsed / seconds))
        optimizer.param_groups[0]["lr"] = LEARNING_RATE * rise * max(0.1, fall)
        targets = batch["targets"].flatten()
        loss = functional.cross_entropy(model(batch).flatten(0, 1), targets, ignore_index=IGNORE)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        read += targets.numel()
        curve.add(loss.item(), time.perf_counter() - start, read)
    return curve


def main() -> None:
    """Train and print the curve."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="packed sequences")
    parser.add_argument("--seconds", type=float, default=120, help="how long to train (default %(default)s)")
    parser.add_argument("--batch", type=int, default=1, help="sequences a step (default %(default)s)")
    parser.add_argument("--context", type=int, default=512, help="tokens of them a step sees (default %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the order and of the weights (default %(default)s)")
    parser.add_argument("--json", action="store_true", help="print one JSON object as the last line")
    options = parser.parse_args()
    torch.manual_seed(options.seed)
    data = PackedDataset(options.folder, seed=options.seed, epochs=None)
    model = GPT(data.packed.vocab_size, data.sequence_length)
    size = sum(weight.numel() for weight in model.parameters())
    print(f"{len(data):,} sequences of {data.sequence_length:,} tokens; {size / 1e6:.1f} million weights")
    steps = windows(TorchPackedDataset(data, batch_size=options.batch), options.context)
    curve = train(steps, model, options.seconds)
    if options.json:
        print(json.dumps({"weights": size, "curve": curve.lines}))


if __name__ == "__main__":
    main()
