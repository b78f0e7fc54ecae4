"""Encoding beside datatrove and Megatron-LM: the same texts, from files to files of tokens, equal ids.

    python benchmarks/encode_peers.py [--mb 16] [--domains docs code] [--repeats 3] [--json]

The first `--mb` of every domain of `data/bench`, one vocabulary of 16,384 entries, trained here as builds train it.
Every run is a process of its own on one core, interleaved; what counts is its CPU and that of what it starts, once its
modules are imported, which takes Megatron seconds and is told beside. Ours, twice: the step that encodes, with its
check of the engine; and the whole build around it, from the same raw Parquet as datatrove reads: ingest, encoding, the
count of the vocabulary's use, plan, packed sequences and Megatron files of those.

datatrove 0.10.1: ParquetReader and DocumentTokenizer, its shuffle left out. Megatron-LM: the loop of its script
`tools/preprocess_data.py`, which megatron-core 0.16.1 does not ship, around that package's own tokenizer and builder:
a pool of one process parses and encodes lines of JSON, 32 at a time, and appends the end of text; its parent writes.
Both are installed, without what they depend on, into a folder that is thrown away; torch and transformers are the
extra `lm`. All three give every document the same ids and one EOS, or this stops; but where a text has the letters of a
special token, the peers make that token of them, and these documents are counted.
"""

import os

os.environ |= {"RAYON_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false", "OMP_NUM_THREADS": "1"}

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
import pyarrow as pa
import pyarrow.parquet as pq
from encode import TRAINED_BYTES, first, texts_by_domain
from harness import MB, Clock, arguments, finish, in_child, table

import pipeline
from pipeline import store
from pipeline.config import Profile
from pipeline.recipe import Recipe, Source, Tokens
from pipeline.tokens import engine
from pipeline.tokens.column import token_values
from pipeline.tokens.train import TrainParams, train_tokenizer

Ids = tuple[np.ndarray, np.ndarray]
"""Ids [T] of all documents back to back, an EOS behind each, and the end [N] of each."""

PACKAGES = {
    "datatrove": ["datatrove==0.10.1", "loguru==0.7.3", "humanize==4.17.0", "multiprocess==0.70.19", "dill==0.4.1"],
    "megatron": ["megatron-core==0.16.1"],
}
TOLD = """
def cpu():
    return sum(os.times()[:4])
def tell(start):
    print("\\n" + json.dumps({"start_s": start, "cpu_s": cpu() - start}))
"""
SCRIPTS = {
    "datatrove": f"""
import json, os, sys
from datatrove.executor import LocalPipelineExecutor
from datatrove.pipeline.readers import ParquetReader
from datatrove.pipeline.tokens import DocumentTokenizer
{TOLD}
folder, out, eos = sys.argv[1:]
start = cpu()
reader = ParquetReader(folder + "/parquet", read_metadata=False)
writer = DocumentTokenizer(out, folder + "/tokenizer/tokenizer.json", eos_token=eos, shuffle_documents=False)
LocalPipelineExecutor([reader, writer], logging_dir=out + "-logs").run()
tell(start)
""",
    "megatron": f"""
import json, multiprocessing, os, sys
from megatron.core.datasets.indexed_dataset import DType, IndexedDatasetBuilder
from megatron.core.tokenizers import MegatronTokenizer
{TOLD}
folder, out, eos = sys.argv[1:]
def load():
    return MegatronTokenizer.from_pretrained(
        folder + "/tokenizer", {{"library": "huggingface"}}, use_fast=True, include_special_tokens=True
    )
def prepare():
    global tokenizer
    tokenizer = load()
def encode(line):
    ids = list(tokenizer.tokenize(json.loads(line)["text"]))
    if ids:
        ids.append(tokenizer.eod)
    return ids, [len(ids)] if ids else [], len(line)
if __name__ == "__main__":
    dtype = DType.optimal_dtype(load().vocab_size)
    start = cpu()
    os.makedirs(out)
    builder = IndexedDatasetBuilder(out + "/text_document.bin", dtype=dtype)
    with open(folder + "/documents.jsonl", encoding="utf-8") as lines:
        pool = multiprocessing.Pool(1, initializer=prepare)
        for ids, lengths, _ in pool.imap(encode, lines, 32):
            builder.add_document(ids, lengths)
        builder.finalize(out + "/text_document.idx")
        pool.close()
        pool.join()
    tell(start)
""",
}


def write_inputs(folder: Path, texts: dict[str, list[str]], sample: list[str]) -> None:
    """Write the texts as Parquet, a file a domain, and as lines of JSON; and the vocabulary, trained on a sample."""
    (folder / "parquet").mkdir()
    with (folder / "documents.jsonl").open("w", encoding="utf-8") as lines:
        for domain, values in texts.items():
            columns = {"id": [f"{domain}-{row}" for row in range(len(values))], "text": values}
            pq.write_table(pa.table(columns), folder / f"parquet/{domain}.parquet", compression="zstd")
            lines.writelines(f"{json.dumps({'text': text}, ensure_ascii=False)}\n" for text in values)
    (folder / "tokenizer").mkdir()
    train_tokenizer(sample, TrainParams()).save(str(folder / "tokenizer/tokenizer.json"))
    eos = engine.vocabulary(folder / "tokenizer/tokenizer.json").eos
    told = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": eos, "clean_up_tokenization_spaces": False}
    (folder / "tokenizer/tokenizer_config.json").write_text(json.dumps(told))


def install(folder: Path, name: str) -> None:
    """Put the packages of a peer into a folder of their own."""
    command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--only-binary", ":all:"]
    subprocess.run([*command, "--target", str(folder / name), *PACKAGES[name]], check=True)


def our_build(folder: Path, out: Path) -> dict[str, float]:
    """Build from raw Parquet to packed sequences and Megatron files; return CPU seconds of start, encoding and all."""
    start = time.process_time()
    paths = sorted((folder / "parquet").glob("*.parquet"))
    recipe = Recipe(
        name="peers",
        sources={path.stem: Source(paths=(str(path),)) for path in paths},
        tokens=Tokens(tokenizer=str(folder / "tokenizer/tokenizer.json"), export=("megatron",)),
    )
    clock = Clock()
    pipeline.build(recipe, Profile(root=out, workers=1), watcher=clock)
    return {"start_s": start, "encode_s": clock.cpu_s["tokens"], "cpu_s": time.process_time() - start}


def their_run(name: str, folder: Path, out: Path, eos: str) -> dict[str, float]:
    """Run a peer; return CPU seconds of its start and of the rest."""
    command = [sys.executable, "-W", "ignore", "-c", SCRIPTS[name], str(folder), str(out), eos]
    environment = os.environ | {"PYTHONPATH": str(folder / name), "HF_HUB_OFFLINE": "1"}
    run = subprocess.run(command, env=environment, capture_output=True, text=True)
    if run.returncode:
        sys.exit(f"{name} failed:\n{run.stderr}")
    found: dict[str, float] = json.loads(run.stdout.splitlines()[-1])
    return found


def our_ids(out: Path, eos_id: int) -> Ids:
    """Return what our Parquet of tokens holds, an EOS put behind each document, in the order of the shards."""
    corpus = store.open_corpus(next(out.glob("corpora/tokens.encode-*")))
    assert corpus is not None
    column = pa.concat_tables(pq.read_table(path, columns=["tokens"]) for path in corpus.paths())["tokens"]
    ids, _, lengths = token_values(column, np.dtype(corpus.manifest.facts["dtype"]))
    ends = np.cumsum(lengths)
    return np.insert(ids, ends, eos_id), ends + np.arange(1, len(ends) + 1)


def datatrove_ids(out: Path) -> Ids:
    """Return what a .ds file of datatrove and its index hold."""
    (path,) = out.glob("*.ds")
    return np.fromfile(path, "<u2"), np.fromfile(f"{path}.index", "<u8").astype(np.int64)


def megatron_ids(out: Path) -> Ids:
    """Return what a .bin of Megatron holds, and the ends its .idx tells: behind 34 bytes, the lengths as int32."""
    index = (out / "text_document.idx").read_bytes()
    count = int(np.frombuffer(index, "<u8", 1, 18)[0])
    return np.fromfile(out / "text_document.bin", "<u2"), np.cumsum(np.frombuffer(index, "<i4", count, 34))


def differing(ours: Ids, theirs: Ids, texts: list[str], special: list[str]) -> int:
    """Return how many documents have other ids: all of them must have a special token's letters in their text."""
    if len(ours[1]) != len(theirs[1]):
        sys.exit(f"we have {len(ours[1]):,} documents, the peer {len(theirs[1]):,}")
    count = 0
    for text, mine, its in zip(texts, *(np.split(ids, ends[:-1]) for ids, ends in (ours, theirs)), strict=True):
        if not np.array_equal(mine, its):
            count += 1
            if not any(name in text for name in special):
                sys.exit(f"the ids of a document differ, without a special token in it: {text[:200]!r}")
    return count


def measure(folder: Path, texts: list[str], repeats: int) -> tuple[dict[str, list[dict[str, float]]], dict[str, int]]:
    """Return the runs of every way, interleaved, and by peer the documents whose ids differ. Run 0 of ours warms up."""
    path = folder / "tokenizer/tokenizer.json"
    vocabulary = engine.vocabulary(path)
    special = [token["content"] for token in json.loads(path.read_text())["added_tokens"]]
    readers = {"datatrove": datatrove_ids, "megatron": megatron_ids}
    runs: dict[str, list[dict[str, float]]] = {"ours": [], **{name: [] for name in readers}}
    in_child(__file__, "--build", str(folder), str(folder / "warm"))
    for turn in range(repeats):
        out = folder / f"run-{turn}"
        runs["ours"].append(in_child(__file__, "--build", str(folder), str(out / "ours")))
        for name in readers:
            runs[name].append(their_run(name, folder, out / name, vocabulary.eos))
    mine = our_ids(out / "ours", vocabulary.eos_id)
    return runs, {name: differing(mine, read(out / name), texts, special) for name, read in readers.items()}


def lines(runs: dict[str, list[dict[str, float]]], mb: float) -> list[dict[str, Any]]:
    """Return one row a way: CPU seconds, start, MB a CPU second, and how many times that the peers' CPU is."""
    rows = []
    ways = {"tokens.encode": ("ours", "encode_s"), "whole build": ("ours", "cpu_s")}
    for label, (name, field) in (ways | {name: (name, "cpu_s") for name in PACKAGES}).items():
        seconds = [run[field] for run in runs[name]]
        ratios = {
            peer: statistics.median(run["cpu_s"] / mine for run, mine in zip(runs[peer], seconds, strict=True))
            for peer in PACKAGES
        }
        median = statistics.median(seconds)
        start = statistics.median(run["start_s"] for run in runs[name])
        rows.append({"way": label, "start_s": start, "cpu_s": median, "mb_s": mb / median, **ratios})
    return rows


def main() -> None:
    """Measure and print."""
    parser = arguments(__doc__.splitlines()[0], repeats=3)
    parser.add_argument("--mb", type=float, default=16, help="of every domain")
    parser.add_argument("--domains", nargs="+", help="default: all")
    parser.add_argument("--build", type=Path, nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.build:
        print(json.dumps(our_build(*options.build)))
        return
    everything = texts_by_domain()
    chosen = {name: first(everything[name], int(options.mb * MB)) for name in sorted(options.domains or everything)}
    sample = [text for values in everything.values() for text in first(values, TRAINED_BYTES // len(everything))]
    texts = [text for values in chosen.values() for text in values]
    mb = sum(len(text.encode()) for text in texts) / MB
    with tempfile.TemporaryDirectory() as folder:
        write_inputs(Path(folder), chosen, sample)
        for name in PACKAGES:
            install(Path(folder), name)
        runs, others = measure(Path(folder), texts, options.repeats)
    rows = lines(runs, mb)
    table(
        f"{mb:.0f} MB of text, {len(texts):,} documents, from files to files of tokens",
        ("", "start CPU s", "CPU s", "MB/s", "datatrove's CPU / it", "Megatron's CPU / it"),
        [tuple(row.values()) for row in rows],
    )
    for name, count in others.items():
        print(f"{name}: {count} documents with other ids, all with a special token's letters in their text")
    finish(options, {"mb": mb, "documents": len(texts), "ways": rows, "differing": others})


if __name__ == "__main__":
    main()
