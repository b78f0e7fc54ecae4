"""Encoding: our engine beside Hugging Face `tokenizers`, by domain; and the whole stage beside a loop of the engine.

    python benchmarks/encode.py [--tokenizer FILE] [--mb 8] [--reference-mb 1] [--json]

One thread each, every run with a tokenizer just loaded, whose caches are cold. Texts are `data/bench`: the first `--mb`
of every domain for the engine and the first `--reference-mb` of those for `tokenizers`, whose ids are all compared.
Without `--tokenizer` one of 16,384 entries is trained here, as builds train it. The second table is of all of
`data/bench`: `Arrow to files` encodes batches that lie in memory and writes token files, with checksums and commit; the
stage reads Parquet documents, checks the engine (some 0.5 s a job, whatever its size) and counts the vocabulary's use.
"""

import os

os.environ |= {"RAYON_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}

import tempfile
from collections.abc import Iterator
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from harness import MB, arguments, finish, interleaved, median, ratio, shared, table, write_shard

from pipeline.corpus import Corpus, Manifest, Shards
from pipeline.execution.local import LocalRunner
from pipeline.parquet import ShardWriter, read_batches
from pipeline.stage import Step
from pipeline.store import Attempt
from pipeline.tasks import Foreman
from pipeline.tokens import engine
from pipeline.tokens.encode import SCHEMA, EncodeParams, encode, encode_batch
from pipeline.tokens.train import TrainParams, train_tokenizer

TRAINED_BYTES = 10_000_000
WAYS = {"bare": "bare engine", "arrow": "Arrow to files", "stage": "the stage, Parquet to Parquet"}


def texts_by_domain() -> dict[str, list[str]]:
    """Return all texts by domain."""
    texts: dict[str, list[str]] = {}
    for path in sorted((shared() / "data" / "bench").glob("*.parquet")):
        for row in pq.read_table(path, columns=["source", "text"]).to_pylist():
            texts.setdefault(row["source"], []).append(row["text"])
    return texts


def first(texts: list[str], size: int) -> list[str]:
    """Return the first texts of at least `size` bytes."""
    sums = np.cumsum([len(text.encode()) for text in texts])
    return texts[: int(np.searchsorted(sums, size)) + 1]


def by_domain(path: Path, texts: dict[str, list[str]], options: Any) -> list[dict[str, Any]]:
    """Return MB/s of both engines and the number of documents whose ids differ."""
    eos = engine.vocabulary(path).eos
    slow = engine.encoder(path, eos, engine.REFERENCE)
    rows = []
    for domain, everything in texts.items():
        many, few = first(everything, int(options.mb * MB)), first(everything, int(options.reference_mb * MB))
        fresh = iter(_loaded(path, eos, options.repeats))
        ways = {"fast": lambda f=fresh, t=many: next(f).encode(t), "slow": lambda t=few: slow.encode(t)}
        samples = interleaved(ways, options.repeats)
        rates = {"fast": _size(many) / median(samples["fast"]), "slow": _size(few) / median(samples["slow"])}
        fast = engine.encoder(path, eos, engine.FAST)
        differing = sum(not np.array_equal(fast.encode([t])[0], slow.encode([t])[0]) for t in few)
        rows.append(
            {
                "domain": domain,
                "mb": _size(many) / MB,
                "mb_s": rates["fast"] / MB,
                "tokenizers_mb_s": rates["slow"] / MB,
                "ratio": rates["fast"] / rates["slow"],
                "compared": len(few),
                "differing": differing,
            }
        )
    return rows


def _loaded(path: Path, eos: str, number: int) -> list[engine.Encoder]:
    return [engine.FastEncoder(engine.specification(path, eos)) for _ in range(number)]


def _size(texts: list[str]) -> int:
    return sum(len(text.encode()) for text in texts)


def documents_of(root: Path, texts: dict[str, list[str]]) -> Corpus:
    """Write the texts as a corpus of documents, a shard a domain."""
    shards = Shards()
    for number, (domain, values) in enumerate(texts.items()):
        attempt = Attempt(root, f"part-{number:05d}")
        for shard in write_shard(attempt, pa.array(values, pa.large_string()), pa.array([domain] * len(values))).shards:
            shards.append(shard)
    manifest = Manifest(stage="ingest", version=1, fingerprint="bench", params={}, inputs={}, shards=shards)
    return Corpus(root=root, manifest=manifest)


def whole_stage(path: Path, texts: dict[str, list[str]], repeats: int) -> dict[str, Any]:
    """Return MB/s of a bare loop of the engine over texts, of Arrow to token files, and of the stage on files."""
    vocabulary = engine.vocabulary(path)
    fresh = iter(_loaded(path, vocabulary.eos, repeats))
    numbers = count()
    encoded = partial(encode_batch, path=str(path), vocabulary=vocabulary, using=engine.FAST)
    with tempfile.TemporaryDirectory() as folder:
        corpus = documents_of(Path(folder, "documents"), texts)
        held = [[*_batches(shard)] for shard in corpus.paths()]

        def stage() -> None:
            os.utime(path)  # so it is loaded anew
            root = Path(folder, f"tokens-{next(numbers)}")
            foreman = Foreman("tokens.encode", root, LocalRunner(1))
            identities = {"documents": "bench", "tokenizer": "bench"}
            step = Step("tokens.encode", root, {"documents": corpus}, foreman, identities, {"tokenizer": path})
            encode(step, EncodeParams())

        def arrow() -> None:
            os.utime(path)
            root = Path(folder, f"tokens-{next(numbers)}")
            for number, batches in enumerate(held):
                attempt = Attempt(root, f"part-{number:05d}")
                with ShardWriter(attempt.path(f"{attempt.key}.parquet"), SCHEMA) as writer:
                    for batch in batches:
                        writer.write(encoded(batch))
                attempt.rows(f"{attempt.key}.parquet", writer.rows)
                attempt.commit({})

        def bare() -> None:
            fast = next(fresh)
            for values in texts.values():
                fast.encode(values)

        samples = interleaved({"bare": bare, "arrow": arrow, "stage": stage}, repeats)
    size = sum(map(_size, texts.values()))
    return {"mb": size / MB} | {
        key: value
        for way in samples
        for key, value in (
            (f"{way}_mb_s", size / MB / median(samples[way])),
            (f"{way}_of_bare", 1 / ratio(samples[way], samples["bare"])),
        )
    }


def _batches(shard: Path) -> Iterator[pa.RecordBatch]:
    for batch in read_batches(shard, ("doc_id", "text", "domain", "bytes")):
        yield batch.append_column("keep", pa.array(np.ones(batch.num_rows, bool)))


def main() -> None:
    """Measure and print."""
    parser = arguments(__doc__.splitlines()[0], repeats=3)
    parser.add_argument("--tokenizer", type=Path)
    parser.add_argument("--mb", type=float, default=8)
    parser.add_argument("--reference-mb", type=float, default=1)
    options = parser.parse_args()
    texts = texts_by_domain()
    with tempfile.TemporaryDirectory() as folder:
        path = options.tokenizer or Path(folder, "tokenizer.json")
        if not options.tokenizer:
            sample = [t for many in texts.values() for t in first(many, TRAINED_BYTES // len(texts))]
            train_tokenizer(sample, TrainParams()).save(str(path))
        result = {
            "domains": by_domain(path, texts, options),
            "stage": whole_stage(path, texts, options.repeats),
        }
    table(
        "one thread, MB of text a CPU second",
        ("domain", "MB", "fastokens", "tokenizers", "ratio", "compared", "differing"),
        [tuple(row.values()) for row in result["domains"]],
    )
    found = result["stage"]
    table(
        f"{found['mb']:.0f} MB of text to tokens",
        ("way", "MB a CPU second", "of bare"),
        [(way, found[f"{key}_mb_s"], found[f"{key}_of_bare"]) for key, way in WAYS.items()],
    )
    finish(options, result)


if __name__ == "__main__":
    main()
