"""Deduplication below the document, beside the plain way to do it: lines, paragraphs, substrings, a Bloom filter.

    python benchmarks/dedup_passages.py [--mb 120] [--repeats 3] [--peers] [--json]

The first `--mb` of `data/bench` as Parquet documents; every stage runs in this process with one worker, from Parquet to
mask. Beside it runs a loop that reads the same files and decides the same in plain Python, writing nothing:

lines, paragraphs  a dict of the hashes of all passages with how many documents have one, then a second pass
bloom              a set of the hashes of the texts
substrings         no plain way; with `--peers` a suffix array of 64 MiB by pydivsufsort beside ours of the same bytes,
                   in a virtual environment made for it

removed            share of the bytes that goes; of passages the loop counts those without what separates them
CPU                seconds of this process, compiled; MB/s of text
"""

import hashlib
import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from harness import MB, arguments, finish, interleaved, median, peak_mb, ratio, shared, table, texts, write_shard

from pipeline.corpus import Corpus, Manifest
from pipeline.execution.local import LocalRunner
from pipeline.kernels import suffix
from pipeline.schemas import text_buffers
from pipeline.stage import Step
from pipeline.stages import find
from pipeline.store import Attempt
from pipeline.store import finish as finished
from pipeline.tasks import Foreman

MIN_BYTES = 30
PEER = "pydivsufsort==0.0.20"
SHARD = 2_000
"""Documents of a shard."""


def written(root: Path, size: int) -> Corpus:
    """Return the first `size` bytes of the texts as a corpus of documents."""
    tables = [pq.read_table(p, columns=["text", "source"]) for p in sorted((shared() / "data/bench").glob("*.parquet"))]
    rows = pa.concat_tables(tables).combine_chunks()
    text = rows["text"].chunk(0).cast(pa.large_string())
    _, offsets = text_buffers(text)
    count = int(np.searchsorted(offsets, size))
    keys = []
    for start in range(0, count, SHARD):
        keys.append(f"part-{start // SHARD:05d}")
        stop = min(start + SHARD, count)
        write_shard(
            Attempt(root, keys[-1]), text.slice(start, stop - start), rows["source"].chunk(0).slice(start, stop - start)
        )

    def manifest(shards: Any, files: Any) -> Manifest:
        return Manifest(stage="ingest", version=1, fingerprint="0", params={}, inputs={}, shards=shards, files=files)

    return finished(root, manifest, keys)


class Run:
    """One stage on the documents, each time into a new folder; keeps how many bytes went in the last one."""

    def __init__(self, home: Path, corpus: Corpus, stage: str, **params: Any):
        self.home, self.corpus, self.removed = home, corpus, 0
        self.stage = find(stage, None, "benchmark")
        self.params = self.stage.params.model_validate(params)

    def __call__(self) -> None:
        root = self.home / self.stage.name
        shutil.rmtree(root, ignore_errors=True)
        root.mkdir()
        step = Step(self.stage.name, root, {"documents": self.corpus}, Foreman("benchmark", root, LocalRunner(1)))
        self.stage.run(step, self.params)
        gone = sum(sum(books.get("dropped_bytes", {}).values()) for books in step.ledger.values())
        self.removed = gone + sum(step.facts["removed_bytes"].values())


def digest(text: str) -> bytes:
    """Return 128 bits of a text without surplus white space; nothing for one that is too short to count."""
    plain = " ".join(text.split()).encode()
    return hashlib.blake2b(plain, digest_size=16).digest() if len(plain) >= MIN_BYTES else b""


def counted(corpus: Corpus, split: Callable[[str], list[str]]) -> int:
    """Return the bytes of passages that more than one document has, without what separates them."""
    counts: Counter[bytes] = Counter()
    for text in texts(corpus):
        counts.update({digest(part) for part in split(text)})
    counts[b""] = 0
    return sum(len(part.encode()) for text in texts(corpus) for part in split(text) if counts[digest(part)] > 1)


def lines(text: str) -> list[str]:
    """Return the lines of a text."""
    return text.split("\n")


def paragraphs(text: str) -> list[str]:
    """Return the paragraphs of a text."""
    return re.split(r"\n(?:[^\S\n]*\n)+", text)


def met(corpus: Corpus) -> int:
    """Return the bytes of texts that were met before."""
    known: set[bytes] = set()
    gone = 0
    for text in texts(corpus):
        key = hashlib.blake2b(" ".join(text.split()).encode(), digest_size=16).digest()
        gone += len(text.encode()) if key in known else 0
        known.add(key)
    return gone


PEER_SCRIPT = """
import json, sys, time
import numpy as np
from pydivsufsort import divsufsort
data = np.fromfile(sys.argv[1], np.uint8)
took = []
for _ in range(int(sys.argv[2])):
    since = time.process_time()
    places = divsufsort(data)
    took.append(time.process_time() - since)
np.asarray(places, np.int32).tofile(sys.argv[3])
print(json.dumps(sorted(took)[len(took) // 2]))
"""


def beside_pydivsufsort(home: Path, corpus: Corpus, repeats: int) -> dict[str, float]:
    """Return MB/s of both suffix arrays of the same bytes; they must be equal."""
    python = home / "peers" / "bin" / "python"
    subprocess.run([sys.executable, "-m", "venv", str(python.parents[1])], check=True)
    subprocess.run([python, "-m", "pip", "install", "--quiet", "--only-binary", ":all:", PEER, "numpy"], check=True)
    data = np.frombuffer("".join(texts(corpus)).encode()[: 64 << 20], np.uint8)
    data.tofile(home / "text")
    command = [python, "-c", PEER_SCRIPT, home / "text", str(repeats), home / "places"]
    theirs = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
    took = []
    for _ in range(repeats):
        since = time.process_time()
        places = suffix.suffix_array(data)
        took.append(time.process_time() - since)
    assert (places == np.fromfile(home / "places", np.int32)).all(), "the suffix arrays differ"
    ours = float(np.median(took))
    return {
        "mb": len(data) / MB,
        "ours": len(data) / MB / ours,
        "pydivsufsort": len(data) / MB / theirs,
        "ratio": theirs / ours,
    }


def main() -> None:
    parser = arguments(__doc__.splitlines()[0], repeats=3)
    parser.add_argument("--mb", type=float, default=120.0, help="MB of text (%(default)s)")
    parser.add_argument("--peers", action="store_true", help="install pydivsufsort and compare with it, too")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        corpus = written(home / "documents", int(options.mb * MB))
        size = sum(len(text.encode()) for text in texts(corpus)) / MB
        rows = corpus.manifest.rows
        ours = {
            "lines": Run(home, corpus, "dedup.lines", keep="none_above", min_bytes=MIN_BYTES),
            "paragraphs": Run(home, corpus, "dedup.paragraphs", keep="none_above", min_bytes=MIN_BYTES),
            "substrings": Run(home, corpus, "dedup.substrings"),
            "bloom": Run(home, corpus, "dedup.bloom", expected=rows),
        }
        found: dict[str, int] = {}
        peers = {
            "lines": lambda: found.update(lines=counted(corpus, lines)),
            "paragraphs": lambda: found.update(paragraphs=counted(corpus, paragraphs)),
            "bloom": lambda: found.update(bloom=met(corpus)),
        }
        for run in ours.values():
            run()  # compiles
        samples = interleaved({**ours, **{f"plain {name}": run for name, run in peers.items()}}, options.repeats)
        result: dict[str, Any] = {"mb": size, "documents": rows, "stages": {}, "peak_mb": peak_mb()}
        for name, run in ours.items():
            figures = {"mb_per_s": size / median(samples[name]), "removed": run.removed / MB / size}
            if name in peers:
                figures["plain_mb_per_s"] = size / median(samples[f"plain {name}"])
                figures["plain_removed"] = found[name] / MB / size
                figures["ratio"] = ratio(samples[f"plain {name}"], samples[name])
            result["stages"][name] = figures
        if options.peers:
            result["suffix_array"] = beside_pydivsufsort(home, corpus, options.repeats)
    header = ("stage", "MB/s", "removed", "plain MB/s", "removed", "ratio")
    cells = [[name, *figures.values()] for name, figures in result["stages"].items()]
    table(
        f"{size:.1f} MB of text in {rows:,} documents, one core",
        header,
        [row + ["-"] * (6 - len(row)) for row in cells],
    )
    if options.peers:
        table("suffix array, MB/s", tuple(result["suffix_array"]), [tuple(result["suffix_array"].values())])
    finish(options, result)


if __name__ == "__main__":
    main()
