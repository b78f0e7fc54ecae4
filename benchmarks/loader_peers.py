"""The loader beside those of litdata, MosaicML streaming and datatrove, on the same rows in random order.

    python benchmarks/loader_peers.py CORPORA [--batch 32] [--json]

CORPORA is the folder `corpora` of a build with `export: [mds, litdata, datatrove]`. A peer that is not installed, or
not exported, is left out and named: `pip install litdata==0.2.76 mosaicml-streaming==0.13.0`, and then, since it asks
for another fsspec, `pip install --no-deps datatrove==0.10.1`. Each is opened once and reads every row, pass after pass,
in an order it shuffles (datatrove: one that is drawn here, as its trainer does), and batches of int64 tokens are
stacked. A pass is timed from its second batch on: what a peer does at the beginning of one, which in a small corpus
would be most of it, does not count. `ours, all` adds what only ours has: targets, mask, positions and documents.
"""

import json
import time
from collections.abc import Callable, Iterable, Iterator
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from harness import arguments, finish, table

from pipeline.tokens.loader import PackedDataset

PEERS = {"litdata": ("litdata", "litdata"), "mds": ("streaming", "mds"), "datatrove": ("datatrove", "datatrove")}
"""Name: the module, and the export."""
SECONDS = 1.0
"""How much CPU time a way to read takes before the next one has its turn."""

Pass = Callable[[], Iterator[np.ndarray]]
"""Begins a pass, and gives its batches of tokens."""


def stacked(rows: Iterable[Any], size: int) -> Iterator[np.ndarray]:
    """Yield whole batches of rows as int64."""
    rows = iter(rows)
    while len(held := list(islice(rows, size))) == size:
        yield np.stack(held, dtype=np.int64, casting="unsafe")


def litdata(folder: Path, length: int, size: int) -> Pass:
    """Open rows with litdata."""
    from litdata import StreamingDataset, TokensLoader

    data = StreamingDataset(str(folder), item_loader=TokensLoader(block_size=length), shuffle=True, seed=1)
    return lambda: stacked(map(np.asarray, data), size)


def mds(folder: Path, length: int, size: int) -> Pass:
    """Open rows with MosaicML streaming."""
    from streaming import StreamingDataset
    from streaming.base.util import clean_stale_shared_memory

    clean_stale_shared_memory()
    # Left alone it looks no more than eight batches ahead, and its threads wake and sleep by turns.
    ahead = sum(shard["samples"] for shard in json.loads((folder / "index.json").read_text())["shards"])
    data = StreamingDataset(local=str(folder), batch_size=size, predownload=ahead, shuffle=True, shuffle_seed=1)
    return lambda: stacked((sample["tokens"] for sample in data), size)


def datatrove(folder: Path, length: int, size: int) -> Pass:
    """Open windows with datatrove."""
    from datatrove.utils.dataset import DatatroveFolderDataset

    data = DatatroveFolderDataset(str(folder), seq_len=length, token_size=2, return_positions=False)
    order = np.random.default_rng(1).permutation(len(data)).tolist()
    return lambda: stacked((data[i]["input_ids"][:length] for i in order), size)


def ours(data: PackedDataset, size: int) -> Pass:
    """Read rows alone."""
    return lambda: (data.tokens(rows).astype(np.int64) for rows in data.steps(size))


def ours_all(data: PackedDataset, size: int) -> Pass:
    """Read rows with all arrays."""
    return lambda: (batch["tokens"] for batch in data.batches(size))


def ways(corpora: Path, size: int) -> tuple[dict[str, Pass], list[str]]:
    """Return how to read by name, and the peers that are left out."""
    data = PackedDataset(next(corpora.glob("tokens.pack-*")), seed=1)
    found, missing = {"ours": ours(data, size), "ours, all": ours_all(data, size)}, []
    readers = {"litdata": litdata, "mds": mds, "datatrove": datatrove}
    for name, (module, export) in PEERS.items():
        folder = next(corpora.glob(f"tokens.{export}-*"), None)
        if folder is None or find_spec(module) is None:
            missing.append(name)
        else:
            found[name] = readers[name](folder / "data", data.sequence_length, size)
    return found, missing


def speed(begin: Pass) -> float:
    """Return millions of tokens a second of CPU, of all threads, over the second batches and those after them."""
    tokens, seconds = 0, 0.0
    while seconds < SECONDS:
        batches = begin()
        next(batches)
        start = time.process_time()
        tokens += sum(batch.size for batch in batches)
        seconds += time.process_time() - start
    return tokens / 1e6 / seconds


def main() -> None:
    """Measure and print."""
    parser = arguments(__doc__.splitlines()[0])
    parser.add_argument("corpora", type=Path)
    parser.add_argument("--batch", type=int, default=32)
    options = parser.parse_args()
    readers, missing = ways(options.corpora, options.batch)
    for begin in readers.values():
        speed(begin)  # and everything is warm
    runs = [{name: speed(begin) for name, begin in readers.items()} for _ in range(options.repeats)]
    result = {name: float(np.median([run[name] for run in runs])) for name in readers}
    ratios = {
        name: [float(np.median([run[own] / run[name] for run in runs])) for own in ("ours", "ours, all")]
        for name in readers
    }
    header = ("reading", "million tokens a CPU second", "ours is faster by", "ours, all by")
    table(
        f"rows in random order, batches of {options.batch}",
        header,
        [(name, figure, *ratios[name]) for name, figure in result.items()],
    )
    if missing:
        print(f"\nleft out, not installed or not exported: {', '.join(missing)}")
    finish(options, {"mtok_s": result, "ratios": ratios, "missing": missing})


if __name__ == "__main__":
    main()
