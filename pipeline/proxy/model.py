"""A small Llama-like decoder: RMS norms, rotary positions, SwiGLU, one embedding for input and output.

Letters: B rows, T tokens of a row, H heads, D width of a head, V vocabulary. Written out, not taken from a library: a
worker starts in two seconds, and every weight is drawn from the seed given here (Touvron et al. 2023, section 2.2).
"""

import torch
from torch import nn
from torch.nn import functional

from pipeline.proxy.settings import Setting

ROTARY_BASE = 10_000.0
INITIAL_DEVIATION = 0.02


class Block(nn.Module):
    """Attention and a feed-forward layer, each added to what it reads."""

    def __init__(self, setting: Setting):
        super().__init__()
        width, self.heads = setting.width, setting.heads
        self.before_attention, self.before_feeding = nn.RMSNorm(width), nn.RMSNorm(width)
        self.reads = nn.Linear(width, 3 * width, bias=False)
        self.attends = nn.Linear(width, width, bias=False)
        self.gates = nn.Linear(width, 2 * setting.hidden, bias=False)
        self.feeds = nn.Linear(setting.hidden, width, bias=False)

    def forward(self, x: torch.Tensor, cos_TD: torch.Tensor, sin_TD: torch.Tensor) -> torch.Tensor:
        """Return [B, T, width] for the same."""
        rows, tokens, width = x.shape
        parts = self.reads(self.before_attention(x)).view(rows, tokens, 3, self.heads, width // self.heads)
        query, key, value = parts.permute(2, 0, 3, 1, 4)
        query, key = rotated(query, cos_TD, sin_TD), rotated(key, cos_TD, sin_TD)
        seen = functional.scaled_dot_product_attention(query, key, value, is_causal=True)
        x = x + self.attends(seen.transpose(1, 2).reshape(rows, tokens, width))
        gate, up = self.gates(self.before_feeding(x)).chunk(2, -1)
        return x + self.feeds(functional.silu(gate) * up)


class Decoder(nn.Module):
    """The whole model; its weights depend on the setting, the vocabulary and the seed only."""

    def __init__(self, setting: Setting, vocabulary: int, seed: int):
        super().__init__()
        self.head_width = setting.width // setting.heads
        self.embedding = nn.Embedding(vocabulary, setting.width)
        self.blocks = nn.ModuleList(Block(setting) for _ in range(setting.layers))
        self.last_norm = nn.RMSNorm(setting.width)
        self._initialise(seed)

    def _initialise(self, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        into_stream = INITIAL_DEVIATION / (2 * len(self.blocks)) ** 0.5  # so that depth does not swell the stream
        for name, weight in self.named_parameters():
            if weight.dim() == 2:
                deviation = into_stream if name.endswith(("attends.weight", "feeds.weight")) else INITIAL_DEVIATION
                nn.init.normal_(weight, std=deviation, generator=generator)

    def forward(self, ids_BT: torch.Tensor) -> torch.Tensor:
        """Return the logits of the token after each, [B, T, V]."""
        cos_TD, sin_TD = rotations(ids_BT.shape[1], self.head_width, ids_BT.device)
        x = self.embedding(ids_BT)
        for block in self.blocks:
            x = block(x, cos_TD, sin_TD)
        return functional.linear(self.last_norm(x), self.embedding.weight)


def rotations(tokens: int, head_width: int, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the cosines and sines of the rotary angles, [T, D / 2] each (Su et al. 2021, section 3.2.2)."""
    half = head_width // 2
    speeds = ROTARY_BASE ** (-torch.arange(half, device=device, dtype=torch.float32) / half)
    angles = torch.arange(tokens, device=device, dtype=torch.float32)[:, None] * speeds
    return angles.cos(), angles.sin()


def rotated(x: torch.Tensor, cos_TD: torch.Tensor, sin_TD: torch.Tensor) -> torch.Tensor:
    """Return [B, H, T, D] with each pair of halves turned by its position's angle."""
    first, second = x.chunk(2, -1)
    return torch.cat((first * cos_TD - second * sin_TD, second * cos_TD + first * sin_TD), -1).type_as(x)
