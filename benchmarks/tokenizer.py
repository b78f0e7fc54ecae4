"""Vocabularies: bytes a token of BPE, SuperBPE and parity-aware BPE on held-out text, and what training them costs.

    python benchmarks/tokenizer.py [--vocab-size 16384] [--mb 10] [--json]

Texts are `data/small`: the first file of every domain trains, the second one is held out. Parity-aware BPE and the BPE
beside it train on the multilingual part alone, in the languages that the parallel text (the XQuAD items of
`data/evals`, every second one; the others judge) has. The peer is the trainer of Hugging Face `tokenizers` called by
itself.
"""

import os

os.environ |= {"RAYON_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from harness import MB, arguments, finish, interleaved, median, ratio, shared, table
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from pipeline.tokens import report, split
from pipeline.tokens.train import TrainParams, train_parity, train_tokenizer


def small(number: int, most_bytes: float) -> dict[str, list[str]]:
    """Return texts by domain of the files with this number, cut to a size with equal shares."""
    files = sorted((shared() / "data" / "small").glob(f"*-{number:05d}.parquet"))
    texts = {path.stem.split("-")[0]: pq.read_table(path)["text"].to_pylist() for path in files}
    return {domain: first(some, most_bytes / len(files)) for domain, some in texts.items()}


def first(texts: list[str], most_bytes: float) -> list[str]:
    """Return the first texts up to a size."""
    some, size = [], 0
    for text in texts:
        if size >= most_bytes:
            break
        some.append(text)
        size += len(text.encode())
    return some


def by_language(number: int) -> dict[str, list[str]]:
    """Return the multilingual texts of one file by language."""
    texts: dict[str, list[str]] = {}
    path = shared() / "data" / "small" / f"multilingual-{number:05d}.parquet"
    for row in pq.read_table(path, columns=["lang", "text"]).to_pylist():
        texts.setdefault(row["lang"], []).append(row["text"])
    return texts


def parallel_text() -> dict[str, list[str]]:
    """Return the XQuAD passages by language, the same in each."""
    rows = pq.read_table(shared() / "data" / "evals" / "benchmarks.parquet").to_pylist()
    texts: dict[str, dict[str, str]] = {}
    for row in rows:
        if row["task"].startswith("xquad"):
            texts.setdefault(row["lang"], {})[row["id"].rpartition("-")[2]] = row["text"]
    common = sorted(set.intersection(*(set(some) for some in texts.values())))
    return {language: [some[name] for name in common] for language, some in sorted(texts.items())}


def plain(texts: list[str], params: TrainParams) -> Tokenizer:
    """Return what the trainer of `tokenizers` makes, called by itself."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = split.pre_tokenizer(params.narrow())
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    settings = {"special_tokens": list(params.special_tokens), "initial_alphabet": alphabet, "show_progress": False}
    tokenizer.train_from_iterator(texts, trainers.BpeTrainer(vocab_size=params.vocab_size, **settings))
    return tokenizer


def kinds(options: Any, folder: Path) -> dict[str, Any]:
    """Return the figures of BPE and SuperBPE on held-out text, and the CPU of training beside the peer."""
    texts, held_out = small(0, options.mb * MB), small(1, 2 * MB)
    everything = [text for some in texts.values() for text in some]
    size = {"vocab_size": options.vocab_size}
    kinds = {
        "bpe": TrainParams(**size),
        "superbpe 0.9": TrainParams(kind="superbpe", **size),
        "superbpe 0.5": TrainParams(kind="superbpe", transition=0.5, **size),
    }
    made: dict[str, Tokenizer] = {}

    def training(name: str) -> Callable[[], None]:
        return lambda: made.update({name: train_tokenizer(everything, kinds[name])})

    train_tokenizer(["a b a b"], TrainParams(kind="superbpe", vocab_size=260))  # compiles
    ways = {"tokenizers": lambda: made.update({"tokenizers": plain(everything, kinds["bpe"])})}
    samples = interleaved(ways | {name: training(name) for name in kinds}, options.repeats)
    costs = {name: median(some) for name, some in samples.items()}
    ratios = {name: ratio(some, samples["tokenizers"]) for name, some in samples.items()}
    for name in kinds:
        made[name].save(str(folder / f"{name}.json"))
    told = report.report([folder / f"{name}.json" for name in kinds], held_out)
    return {"cpu_s": costs, "of_tokenizers": ratios, "report": told}


def parity(options: Any, folder: Path) -> dict[str, Any]:
    """Return premiums and Gini of BPE and of parity-aware BPE on sentences that neither was balanced by."""
    sentences = parallel_text()
    balanced = {name: some[::2] for name, some in sentences.items()}
    judged = {name: some[1::2] for name, some in sentences.items()}
    texts = {name: some for name, some in by_language(0).items() if name in sentences}
    held_out = {name: some for name, some in by_language(1).items() if name in sentences}
    size = {"vocab_size": options.vocab_size, "split": "o200k"}
    made = {"bpe": train_tokenizer([t for some in texts.values() for t in some], TrainParams(**size))}
    balanced = {name: balanced[name] for name in texts}
    for variant in ("base", "window"):
        params = TrainParams(kind="parity", variant=variant, **size)
        made[f"parity {variant}"] = train_parity(texts, params, balanced)
    for name, tokenizer in made.items():
        tokenizer.save(str(folder / f"{name}.json"))
    return report.report([folder / f"{name}.json" for name in made], held_out, {n: judged[n] for n in sorted(texts)})


def main() -> None:
    """Measure and print."""
    parser = arguments(__doc__.splitlines()[0], repeats=1)
    parser.add_argument("--vocab-size", type=int, default=16384)
    parser.add_argument("--mb", type=float, default=10)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        result = {"kinds": kinds(options, Path(folder)), "parity": parity(options, Path(folder))}
    rows = result["kinds"]["report"]["rows"]
    domains = list(result["kinds"]["report"]["bytes"])
    cells = [
        (f"{_name(r)}", r["bytes_a_token"], *(r["domains"][d]["bytes_a_token"] for d in domains), r["unused"])
        for r in rows
    ]
    table("bytes a token on held-out text", ("vocabulary", "all", *domains, "unused"), cells)
    costs = [(name, cost, result["kinds"]["of_tokenizers"][name]) for name, cost in result["kinds"]["cpu_s"].items()]
    table("training, CPU seconds", ("kind", "CPU s", "of tokenizers"), costs)
    rows = result["parity"]["rows"]
    languages = list(rows[0]["premiums"])
    cells = [(_name(r), r["bytes_a_token"], *r["premiums"].values(), r["gini"]) for r in rows]
    table("tokens over English, same sentences", ("vocabulary", "bytes a token", *languages, "Gini"), cells)
    finish(options, result)


def _name(row: dict[str, Any]) -> str:
    return f"{Path(row['tokenizer']).stem}, {row['segmentation']}"


if __name__ == "__main__":
    main()
