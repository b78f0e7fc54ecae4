"""Decontamination: what is found of planted benchmark items, what is taken for one, and MB of text a CPU-second.

    python benchmarks/quality_decontaminate.py [--repeats 3] [--peers DIR] [--without-peers] [--json]

recall     `data/evals/contaminated`: 300 of 1,500 documents hold an item of 29,929 in one of six disguises; the share
           that is found, under three settings, and of the other documents the share that is found, too
elsewhere  the same share of `data/small` and `data/bench`, in which nothing was planted (some do hold items)
search     from texts in memory to their n-grams in the index, one thread
stage      `data/bench` from Parquet to mask, one worker in this process, writing and syncing included
index      seconds to read the items and index them; does not count for the stage, nor for the peer

The peer is datatrove's NGramsDecontFilter (12-grams of query and answer, words by `str.split`) in an environment and a
process of its own, on the contaminated documents in memory.
"""

import json
import os
import shutil
import subprocess
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from dedup_sign import ONE_THREAD, TROVE, python_of, size_of
from harness import MB, Sample, arguments, finish, measured, median, shared, table, texts, write_shard

from pipeline.corpus import Corpus, Manifest
from pipeline.execution.local import LocalRunner
from pipeline.kernels import overlap
from pipeline.quality import benchmarks
from pipeline.quality.decontaminate import DECONTAMINATE, DecontaminateParams
from pipeline.stage import Step
from pipeline.store import Attempt
from pipeline.store import finish as finished
from pipeline.tasks import Foreman

SETTINGS = {
    "default: 20 % of 8-grams or 13 words in a row": DecontaminateParams(),
    "any 13-gram (GPT-3)": DecontaminateParams(ngram=13, run_words=13, least_words=13, texts=("text",)),
    "70 % of 8-grams (PaLM)": DecontaminateParams(overlap=0.7, run_words=None, least_words=8, texts=("text",)),
}
NOT_SOUGHT = ("clean", "paraphrase_numbers")
SHARD = 4_000
PEER = """
import json, sys, time
from datatrove.data import Document
from datatrove.pipeline.decont import NGramsDecontConfig, NGramsDecontFilter, NGramsDecontIndexer
from datatrove.utils.word_tokenizers import WordTokenizer
class Split(WordTokenizer):
    def word_tokenize(self, text): return text.split()
    def sent_tokenize(self, text): raise NotImplementedError
    def span_tokenize(self, text): raise NotImplementedError
config = NGramsDecontConfig(find_query_ngrams=True)
found = NGramsDecontFilter(sys.argv[2], config, language=Split())
maker = object.__new__(NGramsDecontIndexer)
maker.config, maker.tokenizer, maker.hash_func = config, found.tokenizer, found.hash_func
given = json.load(open(sys.argv[1]))
found._index_hashes = {h: "t" for query, answer in given["items"] for h in maker.compute_hashes(answer, query)}
documents = [Document(text=text, id=str(i)) for i, text in enumerate(given["texts"])]
start = time.process_time()
hits = [found.filter(document) is not True for document in documents]
print(json.dumps([time.process_time() - start, hits]))
"""


def written(root: Path, folder: Path, domain: str = "source") -> tuple[Corpus, list[str]]:
    """Return the documents of a folder as a corpus, and their own ids."""
    rows = pa.concat_tables(
        [pq.read_table(p, columns=["id", "text", domain]) for p in sorted(folder.glob("*.parquet"))]
    )
    rows = rows.combine_chunks()
    keys = []
    for start in range(0, len(rows), SHARD):
        keys.append(f"part-{start // SHARD:05d}")
        part = rows.slice(start, SHARD)
        text = part["text"].combine_chunks().cast(pa.large_string())
        write_shard(Attempt(root, keys[-1]), text, part[domain].combine_chunks())

    def manifest(shards: Any, files: Any) -> Manifest:
        return Manifest(stage="ingest", version=1, fingerprint="0", params={}, inputs={}, shards=shards, files=files)

    return finished(root, manifest, keys), rows["id"].to_pylist()


def decided(root: Path, corpus: Corpus, items: Path, params: DecontaminateParams) -> tuple[np.ndarray, Sample]:
    """Return which documents an item was found in, and what it took."""
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir()
    foreman = Foreman("benchmark", root, LocalRunner(1))
    step = Step(DECONTAMINATE.name, root, {"documents": corpus}, foreman, files={"benchmarks.0": items})
    benchmarks.load((items,), params.items())
    sample = measured(lambda: DECONTAMINATE.run(step, params))
    made = finished(root, lambda shards, files: corpus.manifest.model_copy(update={"shards": shards}), step.keys)
    names = pa.concat_tables([pq.read_table(path, columns=["benchmark"]) for path in made.paths()])["benchmark"]
    return np.asarray(names.is_valid()), sample


def recall(found_N: np.ndarray, kinds: list[str]) -> dict[str, float]:
    """Return the share found of each kind, and of all that is sought."""
    by_kind = defaultdict(list)
    for hit, kind in zip(found_N.tolist(), kinds, strict=True):
        by_kind[kind].append(hit)
        if kind not in NOT_SOUGHT:
            by_kind["sought"].append(hit)
    return {kind: sum(hits) / len(hits) for kind, hits in sorted(by_kind.items())}


def indexed(items: Path) -> None:
    """Read the items and index them anew."""
    benchmarks.load.cache_clear()
    benchmarks.load((items,), DecontaminateParams().items())


def searched(corpus: Corpus, items: Path) -> float:
    """Return MB/s of the search in memory."""
    index = benchmarks.load((items,), DecontaminateParams().items()).index
    batches = [pa.array(list(texts(corpus)), pa.large_string())]
    size = sum(map(size_of, batches)) / MB

    def run() -> None:
        for batch in batches:
            overlap.seek(*benchmarks.words(batch), index)

    run()
    return size / median([measured(run) for _ in range(5)])


def peer(home: Path, folder: Path, corpus: Corpus, items: Path) -> dict[str, Any]:
    """Return what the peer finds and its MB/s, or why it did not run."""
    given = pq.read_table(items, columns=["question", "text", "answer"]).to_pylist()
    pairs = [(row["question"] or row["text"], row["answer"] or "") for row in given]
    path = home / "peer.json"
    path.write_text(json.dumps({"items": pairs, "texts": list(texts(corpus))}))
    try:
        python = python_of(folder / "datatrove", TROVE)
        command = [python, "-c", PEER, path, home]
        run = subprocess.run(command, check=True, capture_output=True, text=True, env=os.environ | ONE_THREAD)
    except subprocess.CalledProcessError as error:
        return {"reason": (error.stderr.strip().splitlines() or ["no reason given"])[-1]}
    took, hits = json.loads(run.stdout.splitlines()[-1])
    size = sum(len(text.encode()) for text in texts(corpus)) / MB
    return {"found": np.array(hits), "mb_per_cpu_s": size / took}


def main() -> None:
    parser = arguments(__doc__.splitlines()[0], repeats=3)
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"), "corpusmill-peers")
    parser.add_argument("--peers", type=Path, default=cache, help="folder of its environment (default %(default)s)")
    parser.add_argument("--without-peers", action="store_true", help="measure ours only")
    options = parser.parse_args()
    evals = shared() / "data/evals"
    items = evals / "benchmarks.parquet"
    labels = {row["id"]: row["kind"] for row in pq.read_table(evals / "contaminated/labels.parquet").to_pylist()}
    result: dict[str, Any] = {"recall": {}, "elsewhere": {}}
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        (home / "planted").mkdir()
        shutil.copy(evals / "contaminated/docs-00000.parquet", home / "planted")
        planted, ids = written(home / "contaminated", home / "planted")
        kinds = [labels[key] for key in ids]
        for setting, params in SETTINGS.items():
            result["recall"][setting] = recall(decided(home / "mask", planted, items, params)[0], kinds)
        for folder in ("small", "bench"):
            corpus, _ = written(home / folder, shared() / "data" / folder)
            result["elsewhere"][folder] = float(decided(home / "mask", corpus, items, DecontaminateParams())[0].mean())
        size = sum(len(text.encode()) for text in texts(corpus)) / MB
        runs = [decided(home / "mask", corpus, items, DecontaminateParams())[1] for _ in range(options.repeats)]
        result |= {
            "mb": size,
            "search_mb_per_cpu_s": searched(corpus, items),
            "stage_mb_per_cpu_s": size / median(runs),
        }
        result["index_s"] = median([measured(lambda: indexed(items)) for _ in range(options.repeats)])
        if not options.without_peers:
            options.peers.mkdir(parents=True, exist_ok=True)
            theirs = peer(home, options.peers, planted, items)
            if "reason" in theirs:
                print(f"\ndatatrove did not run: {theirs['reason']}")
            else:
                result["recall"]["datatrove, any 12-gram"] = recall(theirs["found"], kinds)
                rate = theirs["mb_per_cpu_s"]
                ratios = {f"ratio_{name}": result[f"{name}_per_cpu_s"] / rate for name in ("search_mb", "stage_mb")}
                result["peer"] = {"mb_per_cpu_s": rate, **ratios}
    names = ("verbatim", "case_punct", "reflow", "question_only", "half", "sought", "paraphrase_numbers", "clean")
    rows = [[setting, *(shares[kind] for kind in names)] for setting, shares in result["recall"].items()]
    table("share of the documents found", ("setting", *names), rows)
    table("found where nothing was planted", tuple(result["elsewhere"]), [tuple(result["elsewhere"].values())])
    head = ("MB of text", "search MB/s", "stage MB/s", "index s")
    table(
        "speed, one core",
        head,
        [[f"{size:.1f}", *(result[n] for n in ("search_mb_per_cpu_s", "stage_mb_per_cpu_s", "index_s"))]],
    )
    if "peer" in result:
        table("datatrove's filter", tuple(result["peer"]), [tuple(result["peer"].values())])
    finish(options, result)


if __name__ == "__main__":
    main()
