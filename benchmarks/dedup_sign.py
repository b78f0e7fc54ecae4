"""Signing: MB of text a CPU-second beside four peers, and what threads, Parquet and long documents do to it.

    python benchmarks/dedup_sign.py [--peers DIR] [--without-peers]

All make MinHash signatures of 5-word shingles, 120 values (datatrove: 112, as it is shipped). The peers get virtual
environments of their own in DIR, run on one thread each in a child process, on the same texts as ours in the same run;
the slow ones on fewer. Ours begins with Arrow buffers and ends with band keys, theirs begins with a list of Python
strings and ends with a signature (gaoya: with the document in its index, the only way to its hashing from Python).
"""

import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from harness import MB, arguments, finish, in_child, interleaved, peak_mb, ratio, resident_mb, table
from harness import shared as shared_folder

from pipeline.dedup.sign import SignParams, sign_texts
from pipeline.kernels import jaccard, shingles
from pipeline.schemas import text_buffers

WORD, BYTE = SignParams(), SignParams(ngram=25, unit="byte")
SHA1 = SignParams(hashing="datasketch")
LEAST_SECONDS = 0.3
ONE_THREAD = dict.fromkeys(("RAYON_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")

READ = "import json, sys, time\ntexts = json.load(open(sys.argv[1]))\n"
TIMED = """
for text in texts[:3]: work([text])
start = time.process_time()
work(texts)
print(json.dumps(time.process_time() - start))
"""
GAOYA = """
import gaoya
index = gaoya.minhash.MinHashStringIndex(32, 0.8, 20, 6, None, "word", True, (5, 5), "vec")
def work(texts):
    for number, text in enumerate(texts): index.insert_document(number, text)
"""
JOINED = """
def joined(text):
    words = text.lower().split()
    return [" ".join(words[i : i + 5]) for i in range(max(len(words) - 4, 1))]
"""
RENSA = f"""
import rensa
{JOINED}
def work(texts):
    rensa.RMinHash.digest_matrix_from_token_sets([joined(text) for text in texts], 120, 1)
"""
DATASKETCH = f"""
import datasketch
{JOINED}
def work(texts):
    for text in texts:
        datasketch.MinHash(120, seed=1, scheme="affine32").update_batch([s.encode() for s in joined(text)])
"""
DATATROVE = """
import logging, tempfile
from datatrove.pipeline.dedup.minhash import MinhashDedupSignature
from datatrove.utils.word_tokenizers import WordTokenizer
class Split(WordTokenizer):
    def word_tokenize(self, text): return text.split()
    def sent_tokenize(self, text): raise NotImplementedError
    def span_tokenize(self, text): raise NotImplementedError
signer = MinhashDedupSignature(tempfile.mkdtemp(), {language})
def work(texts):
    for text in texts:
        found = signer.get_shingles(text)
        if found.size: signer.get_signature(found)
"""
SHIPPED, SPLIT = "language='eng'", "language=Split()"
TROVE = ("datatrove==0.10.1", "spacy==3.8.18", "tokenizers", "nltk", "regex", "xxhash<4")
# name -> (environment, packages, script, MB of text, wanted ratio)
PEERS: dict[str, tuple[str, tuple[str, ...], str, float, int]] = {
    "gaoya": ("gaoya", ("gaoya==0.2.2",), GAOYA, 12, 12),
    "rensa": ("rensa", ("rensa==0.5.0",), RENSA, 6, 30),
    "datasketch": ("datasketch", ("datasketch==2.0.0",), DATASKETCH, 6, 60),
    "datatrove, str.split": ("datatrove", TROVE, DATATROVE.format(language=SPLIT), 3, 150),
    "datatrove as shipped": ("datatrove", TROVE, DATATROVE.format(language=SHIPPED), 1, 1000),
}


def corpus(paths: list[Path]) -> pa.Table:
    """Return text and source of these files."""
    found = pa.concat_tables([pq.read_table(path, columns=["text", "source"]) for path in paths])
    return found.set_column(0, "text", found["text"].cast(pa.large_string())).combine_chunks()


def size_of(texts: pa.Array) -> int:
    """Return the bytes of the texts."""
    _, offsets = text_buffers(texts)
    return int(offsets[-1] - offsets[0])


def first_of(texts: pa.Array, size: float) -> pa.Array:
    """Return the first texts of about so many bytes together."""
    _, offsets = text_buffers(texts)
    return texts.slice(0, int(np.searchsorted(offsets, offsets[0] + size)))


def sign_all(texts: pa.Array, params: SignParams = WORD) -> None:
    """Sign."""
    sign_texts(texts, params)


def sets_of(texts: pa.Array) -> None:
    """Make the exact shingle sets that `dedup.keep` compares."""
    data, offsets = shingles.plain(*text_buffers(texts))
    for first, end in shingles.runs(offsets, 1 << 20):
        jaccard.distinct(*shingles.hashes(data, offsets[first : end + 1], 5))


def hash_all(texts: pa.Array) -> None:
    """Make the hashes of all shingles."""
    data, offsets = shingles.plain(*text_buffers(texts))
    for first, end in shingles.runs(offsets, 1 << 20):
        shingles.hashes(data, offsets[first : end + 1], 5)


def domains(found: pa.Table, repeats: int) -> dict[str, dict[str, float]]:
    """Return MB/s a core of each domain and each kind of work."""
    parts = {name: found.filter(pc.equal(found["source"], name)) for name in found["source"].unique().to_pylist()}
    columns = {name: part["text"].combine_chunks() for name, part in sorted(parts.items())}
    columns["all"] = found["text"].combine_chunks()
    works: dict[str, Callable[[pa.Array], None]] = {
        "sign": sign_all,
        "shingle hashes": hash_all,
        "shingle sets": sets_of,
        "sign, 25 bytes": partial(sign_all, params=BYTE),
        "sign, SHA-1": partial(sign_all, params=SHA1),
    }
    samples: dict[tuple[str, str], list[float]] = {(name, work): [] for name in columns for work in works}
    for _ in range(repeats):
        for name, work in samples:
            samples[name, work].append(seconds_of(partial(works[work], columns[name])))
    return {
        name: {"mb": size_of(texts) / MB}
        | {work: size_of(texts) / MB / float(np.median(samples[name, work])) for work in works}
        for name, texts in columns.items()
    }


def threads(texts: pa.Array, repeats: int) -> dict[str, float]:
    """Return how many times as fast two threads are as one, by the clock: ours, and SHA-1, which shares nothing."""
    half = len(first_of(texts, size_of(texts) / 2))
    parts, block = [texts.slice(0, half), texts.slice(half)] * 4, bytes(30_000_000)
    works: dict[str, Callable[[int], object]] = {
        "ours": lambda i: sign_all(parts[i]),
        "hashlib": lambda _: hashlib.sha1(block).digest(),
    }
    gains = {}
    with ThreadPoolExecutor(2) as pool:
        for name, work in works.items():
            one, two = partial(apply, map, work), partial(apply, pool.map, work)
            found = interleaved({"one": one, "two": two}, 2 * repeats)
            gains[name] = ratio(found["one"], found["two"], "wall_s")
    return gains


def apply(mapping: Callable[..., Any], work: Callable[[int], object]) -> None:
    """Do eight parts of the work."""
    list(mapping(work, range(8)))


def from_parquet(paths: list[Path]) -> None:
    """Read the texts of files a batch at a time and sign them."""
    for path in paths:
        for batch in pq.ParquetFile(path).iter_batches(columns=["text"], use_threads=False):
            sign_all(batch["text"])


def memory_of_one(size_mb: int) -> dict[str, float]:
    """Return what signing one document adds to the memory of this process, in MB of 2^20 bytes."""
    sign_all(pa.array(["warm up"], pa.large_string()))
    words = np.random.default_rng(0).integers(0, 10**6, size_mb * 10**6 // 7)
    text = pa.array([" ".join(map(str, words.tolist()))], pa.large_string())
    del words
    sign_all(first_of(text, 0))
    before = resident_mb()
    Path("/proc/self/clear_refs").write_text("5")
    sign_all(text)
    return {"over_mb": peak_mb() - before}


def python_of(folder: Path, packages: tuple[str, ...]) -> Path:
    """Return the Python of a virtual environment with these packages, made if it is not there."""
    python = folder / "bin/python"
    mark = folder / "packages.json"
    if not mark.exists() or json.loads(mark.read_text()) != list(packages):
        subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True, capture_output=True, text=True)
        install = [python, "-m", "pip", "install", "-q", *packages]
        subprocess.run(install, check=True, capture_output=True, text=True)
        mark.write_text(json.dumps(packages))
    return python


def beside(name: str, texts: pa.Array, folder: Path, repeats: int) -> dict[str, Any]:
    """Return MB/s of a peer and of ours on the same texts, turn by turn, or why there is no peer."""
    environment, packages, script, size, wanted = PEERS[name]
    texts = first_of(texts, size * MB)
    mb = size_of(texts) / MB
    path = folder / f"{size}.json"
    ours, theirs = [], []
    try:
        python = python_of(folder / environment, packages)
        path.write_text(json.dumps(texts.to_pylist()))
        for _ in range(repeats):
            ours.append(seconds_of(partial(sign_all, texts)))
            command = [python, "-c", READ + script + TIMED, path]
            run = subprocess.run(command, check=True, capture_output=True, text=True, env=os.environ | ONE_THREAD)
            theirs.append(float(run.stdout.splitlines()[-1]))
    except subprocess.CalledProcessError as error:
        return {"peer": name, "reason": (error.stderr.strip().splitlines() or ["no reason given"])[-1]}
    times = float(np.median(np.array(theirs) / np.array(ours)))
    figures = {"mb": mb, "ours": mb / float(np.median(ours)), "theirs": mb / float(np.median(theirs))}
    return {"peer": name, **figures, "ratio": times, "wanted": wanted}


def seconds_of(work: Callable[[], object]) -> float:
    """Return the CPU seconds one call takes, out of as many as last a while."""
    start, calls = time.process_time(), 0
    while time.process_time() - start < LEAST_SECONDS:
        work()
        calls += 1
    return (time.process_time() - start) / calls


def print_all(result: dict[str, Any]) -> None:
    """Print the tables."""
    kinds = list(result["domains"]["all"])
    rows = [(name, *row.values()) for name, row in result["domains"].items()]
    table("MB of text a CPU-second, one thread, from buffers in memory", ("domain", *kinds), rows)
    table(
        "and beyond",
        ("what", "figure"),
        [
            ("two threads beside one, by the clock", f"{result['threads']['ours']:.2f}x"),
            ("  the same of hashlib's SHA-1", f"{result['threads']['hashlib']:.2f}x"),
            ("Parquet to band keys, MB/s a core", result["parquet"]),
            *((f"memory added by a document of {name} MB, MB", value) for name, value in result["memory"].items()),
        ],
    )
    found = [row for row in result["peers"] if "ratio" in row]
    if found:
        rows = [(r["peer"], r["mb"], r["theirs"], r["ours"], r["ratio"], f"{r['wanted']}x") for r in found]
        table("beside peers, one thread", ("peer", "MB", "its MB/s", "our MB/s", "ratio", "target"), rows)
    for row in result["peers"]:
        if "reason" in row:
            print(f"\n{row['peer']}: did not run: {row['reason']}")


def main() -> None:
    """Measure and print."""
    parser = arguments(__doc__.splitlines()[0], repeats=5)
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"), "corpusmill-peers")
    parser.add_argument("--peers", type=Path, default=cache, help="folder of their environments (default %(default)s)")
    parser.add_argument("--without-peers", action="store_true", help="measure ours only")
    parser.add_argument("--memory", type=int, help=f"only measure a document of so many MB; {__file__} calls itself")
    options = parser.parse_args()
    if options.memory:
        print(json.dumps(memory_of_one(options.memory)))
        return
    paths = sorted((shared_folder() / "data/bench").glob("*.parquet"))[::4]
    found = corpus(paths)
    texts = found["text"].combine_chunks()
    for params in (WORD, BYTE, SHA1):
        sign_all(texts.slice(0, 10), params)
    sets_of(texts.slice(0, 10))
    reading = [seconds_of(partial(from_parquet, paths)) for _ in range(options.repeats)]
    result: dict[str, Any] = {
        "domains": domains(found, options.repeats),
        "threads": threads(texts, options.repeats),
        "parquet": size_of(texts) / MB / float(np.median(reading)),
        "memory": {size: in_child(__file__, "--memory", str(size))["over_mb"] for size in (10, 100)},
    }
    options.peers.mkdir(parents=True, exist_ok=True)
    names = () if options.without_peers else PEERS
    mixed = texts.take(pa.array(np.random.default_rng(0).permutation(len(texts))))
    result["peers"] = [beside(name, mixed, options.peers, min(options.repeats, 3)) for name in names]
    print_all(result)
    finish(options, result)


if __name__ == "__main__":
    main()
