"""The loader beside those of litdata, MosaicML streaming and datatrove, on the same rows in random order.

    python benchmarks/loader_peers.py CORPORA [--batch 32] [--json]

CORPORA is the folder `corpora` of a build with `export: [mds, litdata, datatrove]`. A peer that is not installed, or
not exported, is left out and named: `pip install litdata==0.2.76 mosaicml-streaming==0.13.0 datatrove==0.10.1`. Each is
opened once and reads every row, pass after pass, in an order it shuffles (datatrove: one that is drawn here, as its
trainer does), and batches of int64 tokens are stacked. What a peer does at the beginning of a pass counts, so small
corpora do it no favour. `ours, all` adds what only ours has: targets, mask, positions and documents.
"""

from collections.abc import Callable, Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from harness import arguments, finish, interleaved, median, table

from pipeline.tokens.loader import PackedDataset

PEERS = {"litdata": ("litdata", "litdata"), "mds": ("streaming", "mds"), "datatrove": ("datatrove", "datatrove")}
"""Name: the module, and the export."""
PASSES, PEER_PASSES = {"ours": 40, "ours, all": 5}, 3


def stacked(rows: Iterable[Any], size: int) -> int:
    """Stack rows into batches of int64 tokens; return how many rows there were."""
    count, held = 0, []
    for row in rows:
        held.append(np.asarray(row))
        count += 1
        if len(held) == size:
            np.stack(held).astype(np.int64)
            held = []
    return count


def litdata(folder: Path, length: int, size: int) -> Callable[[], int]:
    """Open rows with litdata; return what reads them all and tells how many they are."""
    from litdata import StreamingDataset, TokensLoader

    data = StreamingDataset(str(folder), item_loader=TokensLoader(block_size=length), shuffle=True, seed=1)
    return lambda: stacked(data, size)


def mds(folder: Path, length: int, size: int) -> Callable[[], int]:
    """Open rows with MosaicML streaming; return what reads them all and tells how many they are."""
    from streaming import StreamingDataset
    from streaming.base.util import clean_stale_shared_memory

    clean_stale_shared_memory()
    data = StreamingDataset(local=str(folder), batch_size=1, shuffle=True, shuffle_seed=1)
    return lambda: stacked((sample["tokens"] for sample in data), size)


def datatrove(folder: Path, length: int, size: int) -> Callable[[], int]:
    """Open windows with datatrove; return what reads them all and tells how many they are."""
    from datatrove.utils.dataset import DatatroveFolderDataset

    data = DatatroveFolderDataset(str(folder), seq_len=length, token_size=2, return_positions=False)
    order = np.random.default_rng(1).permutation(len(data)).tolist()
    return lambda: stacked((data[i]["input_ids"][:length] for i in order), size)


def repeated(read: Callable[[], int]) -> Callable[[], int]:
    """Return what reads everything PEER_PASSES times."""
    return lambda: sum(read() for _ in range(PEER_PASSES))


def ways(corpora: Path, size: int) -> tuple[dict[str, Callable[[], int]], int, list[str]]:
    """Return how to read by name, each returning its rows; the sequence length; and the peers that are left out."""
    packed = next(corpora.glob("tokens.pack-*"))
    data = PackedDataset(packed, seed=1, epochs=1)
    length = data.sequence_length

    def ours() -> int:
        return sum(len(data.tokens(rows).astype(np.int64)) for _ in range(PASSES["ours"]) for rows in data.steps(size))

    def ours_all() -> int:
        return sum(len(b["tokens"]) for _ in range(PASSES["ours, all"]) for b in data.batches(size))

    found: dict[str, Callable[[], int]] = {"ours": ours, "ours, all": ours_all}
    missing = []
    readers = {"litdata": litdata, "mds": mds, "datatrove": datatrove}
    for name, (module, export) in PEERS.items():
        folder = next(corpora.glob(f"tokens.{export}-*"), None)
        if folder is None or find_spec(module) is None:
            missing.append(name)
        else:
            found[name] = repeated(readers[name](folder / "data", length, size))
    return found, length, missing


def main() -> None:
    """Measure and print."""
    parser = arguments(__doc__.splitlines()[0], repeats=3)
    parser.add_argument("corpora", type=Path)
    parser.add_argument("--batch", type=int, default=32)
    options = parser.parse_args()
    readers, length, missing = ways(options.corpora, options.batch)
    rows = {name: read() for name, read in readers.items()}  # and everything is warm
    samples = interleaved(readers, options.repeats)
    speed = {name: rows[name] * length / 1e6 / median(samples[name]) for name in readers}
    header = ("reading", "million tokens a CPU second", "ours is faster by")
    lines = [(name, figure, speed["ours"] / figure) for name, figure in speed.items()]
    table(f"rows of {length:,} tokens in random order, batches of {options.batch}", header, lines)
    if missing:
        print(f"\nleft out, not installed or not exported: {', '.join(missing)}")
    finish(options, {"mtok_s": speed, "rows": rows, "missing": missing})


if __name__ == "__main__":
    main()
