"""Best-fit packing: how fast, how full, how many documents are cut; beside concatenation and beside other packers.

    python benchmarks/packing.py [--peers] [--stage] [--documents 10000000] [--json]

Documents are lognormal (median 493 tokens, sigma 1.2), one EOS each. `concat` is concatenate-and-chunk, computed from
the same lengths: how many documents its chunk borders cut. The second table packs the lengths of BERT's Wikipedia data
(Krell et al., "Efficient Sequence Packing without Cross-contamination"), whose published best is 99.9494 %, and their
shortest-pack-first (SPFHP) at its depths. `--peers` installs lightbinpack 0.1.1 (C++, optimised best-fit-decreasing)
and the packer of OLMo-core 3.0.0 (Python, best-fit-decreasing) into an environment of its own and packs the same pieces
with each. `--stage` takes the documents of the corpus `bench` from Parquet to packed sequences: encode, plan and pack,
in one process; and one of its twenty files, to tell what every process pays for its start (imports, compiled code read
back, the engine's check) from what each further MB costs.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from harness import MB, Clock, Sample, arguments, finish, in_child, interleaved, median, peak_mb, shared, table

import pipeline
from pipeline.config import Profile
from pipeline.kernels import packing
from pipeline.recipe import Recipe, Source, Tokens

LENGTHS = (2048, 4096, 8192)
DEPTHS = {1: 49.9668, 2: 80.5249, 3: 89.4408, 4: 93.9412, 8: 98.9020, 12: 99.6040}
"""Published efficiency of SPFHP by depth, in percent."""
ONE_FILE, ALL_FILES = "part-00000-of-00020.parquet", "part-*.parquet"
STAGE_FIGURES = {
    "mb_per_cpu_s": "MB a core-second",
    "further_mb_per_cpu_s": "each further MB",
    "peak_mb": "peak MB",
}
PIECES = {"lightbinpack": 1_000_000, "olmo_core": 100_000}
LIGHTBINPACK = """
import json, sys, time
import numpy as np
from lightbinpack import obfd
lengths, limit = np.load(sys.argv[1]), int(sys.argv[2])
values = lengths.tolist()
start = time.process_time()
bins = obfd(values, limit)
print(json.dumps({"cpu_s": time.process_time() - start, "bins": len(bins)}))
"""
# The package wants torch and more; its packer needs none of it, so its classes are taken out of their file.
OLMO_CORE = """
import ast, dataclasses, importlib.metadata, json, math, sys, time, typing
from collections import defaultdict, deque
import numpy as np
path = importlib.metadata.distribution("ai2-olmo-core").locate_file("olmo_core/data/utils.py")
wanted = ("SegmentTreeNode", "SegmentTree", "InstancePacker")
tree = ast.parse(open(path).read())
tree.body = [node for node in tree.body if getattr(node, "name", None) in wanted]
names = vars(typing) | {"np": np, "math": math, "defaultdict": defaultdict, "deque": deque, "__name__": "packer"}
sys.modules["packer"] = type(sys)("packer")
names["dataclass"] = dataclasses.dataclass
exec(compile(tree, path, "exec"), names)
lengths, limit = np.load(sys.argv[1]), int(sys.argv[2])
ends = np.cumsum(lengths.astype(np.int64))
indices = np.stack([ends - lengths, ends], axis=1)
packer = names["InstancePacker"](limit)
start = time.process_time()
bins, _, _ = packer.pack_documents(indices)
print(json.dumps({"cpu_s": time.process_time() - start, "bins": len(bins)}))
"""
OURS = 5
"""Our packings beside one of a peer's, for their mean: one is too short to be timed."""
PEERS = {"lightbinpack": LIGHTBINPACK, "olmo_core": OLMO_CORE}


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
        "spfhp": [_spfhp(lengths, depth, published) for depth, published in DEPTHS.items()],
        "sequences": len(lengths),
        "packs": packs,
        "efficiency_percent": efficiency,
        "cpu_s": median(samples["wikipedia"]),
    }


def _spfhp(lengths: np.ndarray, depth: int, published: float) -> dict[str, Any]:
    bins = packing.shortest_first(lengths, 512, depth)
    efficiency = 100 * int(lengths.sum(dtype=np.int64)) / ((int(bins.max()) + 1) * 512)
    return {"depth": depth, "efficiency_percent": efficiency, "published_percent": published}


def stage(root: Path, repeats: int) -> dict[str, Any]:
    """Return what it takes to encode, plan and pack the documents of `bench`, each build in a process of its own.

    The first build trains the vocabulary and compiles; the others bring it along and are those that are measured.
    """
    in_child(__file__, "--one-build", str(root / "before"))
    tokenizer = str(next((root / "before").glob("corpora/tokens.train-*/data/tokenizer.json")))
    builds = [
        [
            in_child(
                __file__, "--one-build", str(root / f"{n}-{len(files)}"), "--tokenizer", tokenizer, "--files", files
            )
            for files in (ONE_FILE, ALL_FILES)
        ]
        for n in range(repeats)
    ]
    few, all_ = ([pair[i] for pair in builds] for i in (0, 1))
    seconds = [(sum(a["cpu_s"].values()), sum(b["cpu_s"].values())) for a, b in builds]
    text_mb, few_mb = all_[0]["text_mb"], few[0]["text_mb"]
    return {
        "text_mb": text_mb,
        "cpu_s": {step: statistics.median(run["cpu_s"][step] for run in all_) for step in all_[0]["cpu_s"]},
        "mb_per_cpu_s": text_mb / statistics.median(whole for _, whole in seconds),
        "further_mb_per_cpu_s": statistics.median((text_mb - few_mb) / (whole - part) for part, whole in seconds),
        "peak_mb": max(run["peak_mb"] for run in all_),
    }


def one_build(root: Path, tokenizer: str | None, files: str) -> dict[str, Any]:
    """Build packed sequences; return MB of text, CPU seconds of encoding, plan and packing, and the peak of memory."""
    recipe = Recipe(
        name="bench",
        sources={"bench": Source(paths=(str(shared() / "data/bench" / files),))},
        tokens=Tokens(tokenizer=tokenizer) if tokenizer else Tokens(train_mb=5),
    )
    clock = Clock()
    built = pipeline.build(recipe, Profile(root=root, workers=1), watcher=clock)
    text = sum(books["bytes_in"] for books in built["documents"].manifest.ledger.values())
    seconds = {step: clock.cpu_s[step] for step in ("tokens", "plan", "sequences")}
    return {"text_mb": text / MB, "cpu_s": seconds, "peak_mb": peak_mb()}


def peers(repeats: int) -> list[dict[str, Any]]:
    """Return our CPU seconds and theirs on the same pieces, interleaved."""
    with tempfile.TemporaryDirectory() as folder:
        python = Path(folder, "venv/bin/python")
        install = [python, "-m", "pip", "install", "-q"]
        subprocess.run([sys.executable, "-m", "venv", Path(folder, "venv")], check=True)
        subprocess.run([*install, "numpy", "lightbinpack==0.1.1"], check=True)
        subprocess.run([*install, "--no-deps", "ai2-olmo-core==3.0.0"], check=True)
        place = Path(folder, "lengths.npy")
        return [_against(peer, python, place, limit, repeats) for peer in PEERS for limit in LENGTHS]


def _against(peer: str, python: Path, path: Path, limit: int, repeats: int) -> dict[str, Any]:
    pieces = packing.split(documents(PIECES[peer]), limit).length[: PIECES[peer]]
    np.save(path, pieces)
    ours, theirs, bins = [], [], 0
    for _ in range(repeats):
        ours.append(_ours(pieces, limit))
        run = subprocess.run([python, "-c", PEERS[peer], path, str(limit)], check=True, capture_output=True, text=True)
        found = json.loads(run.stdout)
        theirs.append(found["cpu_s"])
        bins = found["bins"]
    return {
        "peer": peer,
        "pieces": len(pieces),
        "sequence_length": limit,
        "bins": int(packing.best_fit(pieces, limit).max()) + 1,
        "peer_bins": bins,
        "cpu_s": float(np.median(ours)),
        "peer_cpu_s": float(np.median(theirs)),
    }


def _ours(pieces: np.ndarray, limit: int) -> float:
    start = time.process_time()
    for _ in range(OURS):
        packing.group(packing.best_fit(pieces, limit))
    return (time.process_time() - start) / OURS


def _print_peers(rows: list[dict[str, Any]]) -> None:
    table(
        "the same pieces, beside other packers",
        ("packer", "pieces", "sequence length", "bins", "its bins", "CPU s", "its CPU s", "ratio"),
        [
            (
                row["peer"],
                row["pieces"],
                f"{row['sequence_length']:,}",
                row["bins"],
                row["peer_bins"],
                row["cpu_s"],
                row["peer_cpu_s"],
                row["peer_cpu_s"] / row["cpu_s"],
            )
            for row in rows
        ],
    )


def _print_stage(found: dict[str, Any]) -> None:
    table(
        "Parquet to packed sequences, the corpus bench",
        ("MB of text", *(f"{step} CPU s" for step in found["cpu_s"]), *STAGE_FIGURES.values()),
        [(f"{found['text_mb']:.0f}", *found["cpu_s"].values(), *(found[key] for key in STAGE_FIGURES))],
    )


def _staged(repeats: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        return stage(Path(folder), repeats)


def main() -> None:
    """Measure and print."""
    parser = arguments(__doc__.splitlines()[0], repeats=3)
    parser.add_argument("--documents", type=int, default=10_000_000)
    parser.add_argument(
        "--peers", action="store_true", help="compare with two other packers, in an environment of theirs"
    )
    parser.add_argument("--stage", action="store_true", help="encode and pack a corpus, from Parquet to sequences")
    parser.add_argument("--one-build", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--tokenizer", help=argparse.SUPPRESS)
    parser.add_argument("--files", default=ALL_FILES, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one_build:
        print(json.dumps(one_build(options.one_build, options.tokenizer, options.files)))
        return
    result: dict[str, Any] = {
        "lognormal": lognormal(options.documents, options.repeats),
        "wikipedia": wikipedia(),
        "peers": peers(options.repeats) if options.peers else [],
        "stage": _staged(options.repeats) if options.stage else {},
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
    table(
        "SPFHP on the same lengths",
        ("depth", "efficiency %", "published %"),
        [
            (str(row["depth"]), f"{row['efficiency_percent']:.4f}", f"{row['published_percent']:.4f}")
            for row in found["spfhp"]
        ],
    )
    if result["peers"]:
        _print_peers(result["peers"])
    if result["stage"]:
        _print_stage(result["stage"])
    finish(options, result)


if __name__ == "__main__":
    main()
