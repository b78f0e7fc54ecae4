"""Best-fit packing: how fast, how full, how many documents are cut; beside concatenation and beside other packers.

    python benchmarks/packing.py [--peers] [--documents 10000000] [--json]

Documents are lognormal (median 493 tokens, sigma 1.2), one EOS each. `concat` is concatenate-and-chunk, computed from
the same lengths: how many documents its chunk borders cut. The second table packs the lengths of BERT's Wikipedia data
(Krell et al., "Efficient Sequence Packing without Cross-contamination"), whose published best is 99.9494 %. `--peers`
installs lightbinpack 0.1.1 (C++, optimised best-fit-decreasing) into an environment of its own and packs the first
million pieces with both.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from harness import Sample, arguments, finish, interleaved, median, shared, table

from pipeline.kernels import packing

LENGTHS = (2048, 4096, 8192)
PEER_PIECES = 1_000_000
PEER = """
import json, sys, time
import numpy as np
from lightbinpack import obfd
lengths, limit = np.load(sys.argv[1]), int(sys.argv[2])
values = lengths.tolist()
start = time.process_time()
bins = obfd(values, limit)
print(json.dumps({"cpu_s": time.process_time() - start, "bins": len(bins)}))
"""


def documents(count: int) -> np.ndarray:
    """Return lengths in tokens, EOS included."""
    return np.random.default_rng(0).lognormal(6.2, 1.2, count).astype(np.int64) + 1


def packed(lengths: np.ndarray, limit: int) -> packing.Bins:
    """Split, pack and group: what the stage does with a window's lengths."""
    return packing.group(packing.best_fit(packing.split(lengths, limit).length, limit))


def concatenated(lengths: np.ndarray, limit: int) -> int:
    """Return how many documents concatenate-and-chunk cuts."""
    ends = np.cumsum(lengths)
    return int(np.count_nonzero((ends - lengths) // limit != (ends - 1) // limit))


def lognormal(count: int, repeats: int) -> list[dict[str, Any]]:
    """Return the figures of one global pass over all documents, by sequence length."""
    lengths = documents(count)
    packed(lengths[:1000], LENGTHS[0])
    samples = interleaved({str(limit): _packing(lengths, limit) for limit in LENGTHS}, repeats)
    return [_figures(lengths, limit, samples[str(limit)]) for limit in LENGTHS]


def _packing(lengths: np.ndarray, limit: int) -> Any:
    return lambda: packed(lengths, limit)


def _figures(lengths: np.ndarray, limit: int, samples: list[Sample]) -> dict[str, Any]:
    sequences = len(packed(lengths, limit).offsets) - 1
    return {
        "sequence_length": limit,
        "cpu_s": median(samples),
        "fill_percent": 100 * float(lengths.sum()) / (sequences * limit),
        "sequences": sequences,
        "lower_bound": -(-int(lengths.sum()) // limit),
        "cut_percent": 100 * float(np.mean(lengths > limit)),
        "concat_cut_percent": 100 * concatenated(lengths, limit) / len(lengths),
        "window_fill_percent": _window_fill(lengths, limit),
    }


def _window_fill(lengths: np.ndarray, limit: int, window: int = 100_000) -> float:
    windows = [lengths[at : at + window] for at in range(0, min(len(lengths), 10 * window), window)]
    sequences = sum(len(packed(part, limit).offsets) - 1 for part in windows)
    return 100 * float(sum(part.sum() for part in windows)) / (sequences * limit)


def wikipedia() -> dict[str, Any]:
    """Return the packing of BERT's Wikipedia lengths."""
    path = shared() / "data/evals/packing/bert_wikipedia_length_histogram.csv"
    histogram = np.loadtxt(path, delimiter=",", skiprows=1, dtype=np.int64)
    lengths = np.repeat(histogram[:, 0], histogram[:, 1]).astype(np.int32)
    np.random.default_rng(0).shuffle(lengths)
    samples = interleaved({"wikipedia": lambda: packing.best_fit(lengths, 512)}, 1)
    packs = int(packing.best_fit(lengths, 512).max()) + 1
    efficiency = 100 * int(lengths.sum(dtype=np.int64)) / (packs * 512)
    return {
        "sequences": len(lengths),
        "packs": packs,
        "efficiency_percent": efficiency,
        "cpu_s": median(samples["wikipedia"]),
    }


def peers(repeats: int) -> list[dict[str, Any]]:
    """Return our CPU seconds and lightbinpack's on the same pieces, interleaved."""
    with tempfile.TemporaryDirectory() as folder:
        python = Path(folder, "venv/bin/python")
        subprocess.run([sys.executable, "-m", "venv", Path(folder, "venv")], check=True)
        subprocess.run([python, "-m", "pip", "install", "-q", "numpy", "lightbinpack==0.1.1"], check=True)
        return [_against(python, Path(folder, "lengths.npy"), limit, repeats) for limit in LENGTHS]


def _against(python: Path, path: Path, limit: int, repeats: int) -> dict[str, Any]:
    pieces = packing.split(documents(PEER_PIECES), limit).length[:PEER_PIECES]
    np.save(path, pieces)
    ours, theirs, bins = [], [], 0
    for _ in range(repeats):
        ours += interleaved({"ours": lambda: packing.group(packing.best_fit(pieces, limit))}, 1)["ours"]
        run = subprocess.run([python, "-c", PEER, path, str(limit)], check=True, capture_output=True, text=True)
        found = json.loads(run.stdout)
        theirs.append(found["cpu_s"])
        bins = found["bins"]
    return {
        "sequence_length": limit,
        "bins": int(packing.best_fit(pieces, limit).max()) + 1,
        "lightbinpack_bins": bins,
        "cpu_s": median(ours),
        "lightbinpack_cpu_s": float(np.median(theirs)),
    }


def main() -> None:
    """Measure and print."""
    parser = arguments(__doc__.splitlines()[0], repeats=3)
    parser.add_argument("--documents", type=int, default=10_000_000)
    parser.add_argument("--peers", action="store_true", help="compare with lightbinpack, in an environment of its own")
    options = parser.parse_args()
    result: dict[str, Any] = {
        "lognormal": lognormal(options.documents, options.repeats),
        "wikipedia": wikipedia(),
        "peers": peers(options.repeats) if options.peers else [],
    }
    table(
        f"{options.documents:,} lognormal documents, one pass over all",
        ("sequence length", "CPU s", "fill %", "fill % in windows of 100,000", "cut %", "cut % by concat"),
        [
            (
                f"{row['sequence_length']:,}",
                row["cpu_s"],
                f"{row['fill_percent']:.4f}",
                f"{row['window_fill_percent']:.4f}",
                row["cut_percent"],
                row["concat_cut_percent"],
            )
            for row in result["lognormal"]
        ],
    )
    found = result["wikipedia"]
    table(
        "BERT's Wikipedia, 512 tokens",
        ("sequences", "packs", "efficiency %", "CPU s"),
        [(f"{found['sequences']:,}", found["packs"], f"{found['efficiency_percent']:.4f}", found["cpu_s"])],
    )
    if result["peers"]:
        table(
            f"{PEER_PIECES:,} pieces, beside lightbinpack",
            ("sequence length", "bins", "its bins", "CPU s", "its CPU s", "ratio"),
            [
                (
                    f"{row['sequence_length']:,}",
                    row["bins"],
                    row["lightbinpack_bins"],
                    row["cpu_s"],
                    row["lightbinpack_cpu_s"],
                    row["lightbinpack_cpu_s"] / row["cpu_s"],
                )
                for row in result["peers"]
            ],
        )
    finish(options, result)


if __name__ == "__main__":
    main()
