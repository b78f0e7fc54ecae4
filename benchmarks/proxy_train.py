"""Training proxies beside a plain PyTorch loop of the same model, weights, batches and learning rates.

    python benchmarks/proxy_train.py [--settings micro tiny] [--steps 10] [--json]

Both run on one thread, in turns; printed are tokens per CPU second, the ratio, and how far
the learned weights are apart. The plain loop has its batches at hand; ours draws them from mapped pools by a mixture.

Needs the extra `lm`.
"""

from typing import Any

import numpy as np
import torch
from harness import arguments, finish, interleaved, median, ratio, table
from torch.nn import functional

from pipeline.mixture.rows import Pool, Reader, allotted
from pipeline.proxy.model import Decoder
from pipeline.proxy.settings import SETTINGS, Setting
from pipeline.proxy.training import BETAS, CLIP, DECAY, Training, rate, repeatable

WEIGHTS = {"code": 0.2, "docs": 0.3, "web": 0.5}
POOL_DOCUMENTS, MEAN_TOKENS = 200, 300


def reader(setting: Setting, steps: int) -> Reader:
    """Return the rows of a run on pools of random tokens."""
    rng = np.random.default_rng(0)
    pools = []
    for _ in WEIGHTS:
        bounds = np.cumsum([0, *rng.integers(1, 2 * MEAN_TOKENS, POOL_DOCUMENTS)])
        pools.append(Pool(rng.integers(0, setting.vocabulary, bounds[-1]).astype(np.uint16), bounds))
    return Reader(pools, list(allotted(WEIGHTS, steps * setting.batch).values()), setting.context, 0)


def plain_loop(setting: Setting, batches: list[torch.Tensor]) -> torch.Tensor:
    """Train as a textbook does; return the weights of the embedding."""
    model = Decoder(setting, setting.vocabulary, 0)
    optimizer = torch.optim.AdamW(model.parameters(), setting.learning_rate, betas=BETAS, weight_decay=DECAY)
    for step, rows in enumerate(batches):
        for group in optimizer.param_groups:
            group["lr"] = setting.learning_rate * rate(step, len(batches))
        logits = model(rows[:, :-1])
        loss = functional.cross_entropy(logits.reshape(-1, logits.shape[-1]), rows[:, 1:].reshape(-1))
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        optimizer.step()
    return model.embedding.weight.detach()


def ours(setting: Setting, rows: Reader, steps: int) -> torch.Tensor:
    """Train as mixture.train does; return the weights of the embedding."""
    work = Training(setting, setting.vocabulary, 0, steps)
    while work.done < steps:
        work.learn(rows.rows(work.done * setting.batch, (work.done + 1) * setting.batch))
    return work.model.embedding.weight.detach()


def compared(setting: Setting, steps: int, repeats: int) -> dict[str, Any]:
    """Return tokens per CPU second of both, their ratio, and how far their weights are apart."""
    rows = reader(setting, steps)
    batches = [
        torch.from_numpy(rows.rows(step * setting.batch, (step + 1) * setting.batch).astype(np.int64))
        for step in range(steps)
    ]
    found: dict[str, torch.Tensor] = {}
    variants = {
        "ours": lambda: found.update(ours=ours(setting, reader(setting, steps), steps)),
        "plain": lambda: found.update(plain=plain_loop(setting, batches)),
    }
    with repeatable():
        plain_loop(setting, batches[:2])  # what is loaded at the first call
        samples = interleaved(variants, repeats)
    tokens = steps * setting.step_tokens
    return {
        "parameters": setting.parameters(setting.vocabulary),
        "tokens_s": {name: tokens / median(runs) for name, runs in samples.items()},
        "plain_over_ours_cpu": ratio(samples["plain"], samples["ours"]),
        "largest_difference": float((found["ours"] - found["plain"]).abs().max()),
    }


def main() -> None:
    parser = arguments(__doc__.splitlines()[0])
    parser.add_argument("--settings", nargs="+", default=["micro", "tiny"], choices=list(SETTINGS))
    parser.add_argument("--steps", type=int, default=10)
    options = parser.parse_args()
    figures = {name: compared(SETTINGS[name], options.steps, options.repeats) for name in options.settings}
    rows = [
        [
            name,
            f"{found['parameters'] / 1e6:.2f} M",
            *(f"{found['tokens_s'][kind]:,.0f}" for kind in ("ours", "plain")),
            f"{found['plain_over_ours_cpu']:.2f}x",
            f"{found['largest_difference']:.1e}",
        ]
        for name, found in figures.items()
    ]
    head = ("setting", "parameters", "ours, tokens/s", "plain loop", "ratio", "weights apart")
    table("training a proxy, tokens per CPU second of one thread", head, rows)
    finish(options, figures)


if __name__ == "__main__":
    main()
