"""Vocabularies: bytes a token of BPE, SuperBPE and parity-aware BPE on held-out text, and what training them costs.

    python benchmarks/tokenizer.py [--vocab-size 16384] [--mb 10] [--json]

Texts are `data/small`: the first file of every domain trains, the second one is held out. Parity-aware BPE and the BPE
beside it train on the multilingual part alone, in the languages that the parallel text (the XQuAD items of
`data/evals`, every second one; the others judge) has; Hindi and Arabic have 8 kB each there. The peer is the trainer of
Hugging Face `tokenizers` called by itself.
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

PEER = "tokenizers"
Training = Callable[[], Tokenizer]


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

    def training(name: str) -> Training:
        return lambda: train_tokenizer(everything, kinds[name])

    train_tokenizer(["a b a b"], TrainParams(kind="superbpe", vocab_size=260))  # compiles
    ways = {PEER: lambda: plain(everything, kinds["bpe"])} | {name: training(name) for name in kinds}
    files, costs = trained(ways, options.repeats, folder)
    return costs | {"report": report.report(files[1:], held_out)}


def parity(options: Any, folder: Path) -> dict[str, Any]:
    """Return premiums and Gini of BPE and of parity-aware BPE on sentences that neither was balanced by."""
    sentences = parallel_text()
    balanced = {name: some[::2] for name, some in sentences.items()}
    judged = {name: some[1::2] for name, some in sentences.items()}
    texts = {name: some for name, some in by_language(0).items() if name in sentences}
    held_out = {name: some for name, some in by_language(1).items() if name in sentences}
    size = {"vocab_size": options.vocab_size, "split": "o200k"}
    balanced = {name: balanced[name] for name in texts}
    everything = [text for some in texts.values() for text in some]

    def training(variant: str) -> Training:
        return lambda: train_parity(texts, TrainParams(kind="parity", variant=variant, **size), balanced)

    ways: dict[str, Training] = {
        PEER: lambda: plain(everything, TrainParams(**size)),
        "bpe": lambda: train_tokenizer(everything, TrainParams(**size)),
        "parity base": training("base"),
        "parity window": training("window"),
    }
    files, costs = trained(ways, options.repeats, folder)
    return costs | {"report": report.report(files[1:], held_out, {name: judged[name] for name in sorted(texts)})}


def trained(ways: dict[str, Training], repeats: int, folder: Path) -> tuple[list[Path], dict[str, Any]]:
    """Return the files of the tokenizers that came out, in order, and the CPU of each way beside the peer."""
    made: dict[str, Tokenizer] = {}

    def run(name: str) -> Callable[[], None]:
        return lambda: made.update({name: ways[name]()})

    samples = interleaved({name: run(name) for name in ways}, repeats)
    folder.mkdir()
    for name, tokenizer in made.items():
        tokenizer.save(str(folder / f"{name}.json"))
    costs = {name: median(some) for name, some in samples.items()}
    ratios = {name: ratio(some, samples[PEER]) for name, some in samples.items()}
    return [folder / f"{name}.json" for name in ways], {"cpu_s": costs, "of_tokenizers": ratios}


def main() -> None:
    """Measure and print."""
    parser = arguments(__doc__.splitlines()[0], repeats=1)
    parser.add_argument("--vocab-size", type=int, default=16384)
    parser.add_argument("--mb", type=float, default=10)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        result = {part.__name__: part(options, Path(folder) / part.__name__) for part in (kinds, parity)}
    rows = result["kinds"]["report"]["rows"]
    domains = list(result["kinds"]["report"]["bytes"])
    cells = [
        (_name(r), r["bytes_a_token"], *(r["domains"][d]["bytes_a_token"] for d in domains), r["unused"]) for r in rows
    ]
    table("bytes a token on held-out text", ("vocabulary", "all", *domains, "unused"), cells)
    _costs("training, CPU seconds", result["kinds"])
    rows = result["parity"]["report"]["rows"]
    languages = list(rows[0]["premiums"])
    cells = [(_name(r), r["bytes_a_token"], *r["premiums"].values(), r["gini"]) for r in rows]
    table("tokens over English, same sentences", ("vocabulary", "bytes a token", *languages, "Gini"), cells)
    _costs("training on the multilingual part, CPU seconds", result["parity"])
    finish(options, result)


def _costs(title: str, part: dict[str, Any]) -> None:
    rows = [(name, cost, part["of_tokenizers"][name]) for name, cost in part["cpu_s"].items()]
    table(title, ("kind", "CPU s", "of tokenizers"), rows)


def _name(row: dict[str, Any]) -> str:
    return f"{Path(row['tokenizer']).stem}, {row['segmentation']}"


if __name__ == "__main__":
    main()
