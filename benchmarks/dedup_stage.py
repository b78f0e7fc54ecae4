"""Near deduplication as a whole, Parquet documents to verified mask: MB of text a CPU-second, beside datatrove's.

    python benchmarks/dedup_stage.py [--repeats 3] [--peers DIR] [--without-peers] [--json]

`data/bench`: 48,938 documents, 238 MB, built by `pipeline.build` with one worker in this process; CPU seconds of the
steps that sign, match, verify and keep. Each reads its input from disk, and writes and syncs its output. The peer is
datatrove's MinHash pipeline (signatures, buckets, clusters, filter; 14 buckets of 8, words by `str.split`) in an
environment and a process of its own, on a few MB of the same texts; it decides by connected components of shared
buckets and verifies nothing.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from dedup_quality import Clock
from dedup_sign import ONE_THREAD, TROVE, first_of, python_of, size_of
from harness import MB, arguments, finish, shared, table

import pipeline
from pipeline.config import Profile
from pipeline.recipe import Recipe

STEPS = ("bands", "candidates", "similar", "near")
PEER_MB = 8
PEER = """
import json, logging, sys, tempfile, time
from pathlib import Path
from datatrove.executor import LocalPipelineExecutor
from datatrove.pipeline.dedup.minhash import (
    MinhashConfig, MinhashDedupBuckets, MinhashDedupCluster, MinhashDedupFilter, MinhashDedupSignature)
from datatrove.pipeline.readers import JsonlReader
from datatrove.pipeline.writers import JsonlWriter
from datatrove.utils.word_tokenizers import WordTokenizer
from loguru import logger
logger.remove()
class Split(WordTokenizer):
    def word_tokenize(self, text): return text.split()
    def sent_tokenize(self, text): raise NotImplementedError
    def span_tokenize(self, text): raise NotImplementedError
work, config = Path(tempfile.mkdtemp()), MinhashConfig(num_buckets=14, hashes_per_bucket=8)
def folder(name): return str(work / name)
def run(name, steps, tasks=1):
    LocalPipelineExecutor(steps, tasks=tasks, workers=1, logging_dir=folder("logs-" + name)).run()
reader = lambda: JsonlReader(sys.argv[1], compression=None)
start = time.process_time()
run("1", [reader(), MinhashDedupSignature(folder("signatures"), config, language=Split())])
run("2", [MinhashDedupBuckets(folder("signatures"), folder("buckets"), config=config)], config.num_buckets)
run("3", [MinhashDedupCluster(folder("buckets"), folder("remove"), config=config)])
run("4", [reader(), MinhashDedupFilter(folder("remove")), JsonlWriter(folder("kept"))])
print(json.dumps(time.process_time() - start))
"""


def seconds(root: Path, sources: Path) -> dict[str, float]:
    """Build under `root` and return the CPU seconds of the steps."""
    recipe = Recipe.model_validate(
        {"name": "bench", "sources": {"bench": {"paths": [str(sources)], "id": "id"}}, "dedup": {"threshold": 0.8}}
    )
    clock = Clock()
    pipeline.build(recipe, Profile(root=root, workers=1), watcher=clock)
    return clock.cpu_s


def peer(texts: pa.Array, folder: Path) -> dict[str, Any]:
    """Return MB/s of the peer on some of the texts, or why it did not run."""
    texts = first_of(texts, PEER_MB * MB)
    try:
        python = python_of(folder / "datatrove-road", (*TROVE, "orjson"))
        with tempfile.TemporaryDirectory() as work:
            lines = (json.dumps({"id": str(i), "text": text}) for i, text in enumerate(texts.to_pylist()))
            Path(work, "texts.jsonl").write_text("\n".join(lines))
            command = [python, "-c", PEER, work]
            run = subprocess.run(command, check=True, capture_output=True, text=True, env=os.environ | ONE_THREAD)
    except subprocess.CalledProcessError as error:
        return {"reason": (error.stderr.strip().splitlines() or ["no reason given"])[-1]}
    return {"mb_per_cpu_s": size_of(texts) / MB / float(run.stdout.splitlines()[-1])}


def main() -> int:
    parser = arguments(__doc__.splitlines()[0], repeats=3)
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"), "corpusmill-peers")
    parser.add_argument("--peers", type=Path, default=cache, help="folder of its environment (default %(default)s)")
    parser.add_argument("--without-peers", action="store_true", help="measure ours only")
    options = parser.parse_args()
    sources = shared() / "data/bench"
    texts = pa.concat_tables(pq.read_table(path, columns=["text"]) for path in sorted(sources.glob("*.parquet")))[
        "text"
    ]
    size = pc.sum(pc.binary_length(texts)).as_py() / MB
    mixed = texts.take(pa.array(np.random.default_rng(0).permutation(len(texts))[:4000])).combine_chunks()
    options.peers.mkdir(parents=True, exist_ok=True)
    samples, theirs = [], []
    for _ in range(options.repeats + 1):  # the first one compiles
        with tempfile.TemporaryDirectory() as root:
            samples.append(seconds(Path(root), sources))
        if not options.without_peers:
            theirs.append(peer(mixed.cast(pa.large_string()), options.peers))
    cpu_s = {step: float(np.median([sample[step] for sample in samples[1:]])) for step in STEPS}
    whole = float(np.median([sum(sample[step] for step in STEPS) for sample in samples[1:]]))
    rows = [[step, cost, size / cost] for step, cost in [*cpu_s.items(), ("together", whole)]]
    table(f"{size:.1f} MB of text, one worker", ["step", "CPU s", "MB/s"], rows)
    result: dict[str, Any] = {"mb": size, "cpu_s": cpu_s, "mb_per_cpu_s": size / whole}
    rates = [run["mb_per_cpu_s"] for run in theirs[1:] if "mb_per_cpu_s" in run]
    if rates:
        result |= {"peer_mb_per_cpu_s": float(np.median(rates)), "ratio": size / whole / float(np.median(rates))}
        table("beside", ["peer", "its MB/s", "ratio"], [["datatrove", result["peer_mb_per_cpu_s"], result["ratio"]]])
    for run in theirs[:1]:
        if "reason" in run:
            print(f"\ndatatrove did not run: {run['reason']}")
    finish(options, result)
    return 0


if __name__ == "__main__":
    sys.exit(main())
