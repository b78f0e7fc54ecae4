"""Losses of documents under a language model, beside the plain loop that scores one document after the other.

    python benchmarks/quality_losses.py [--repeats 3] [--documents 60] [--width 128] [--json]

A Llama of random weights (four layers, a vocabulary of 8,192 trained on the same text, 1,024 positions) reads documents
of several domains in one thread: whole, and only their first 400 characters. The loop is the recipe for perplexity in
the documentation of Hugging Face transformers: a call a document, or a window of it, with labels. Peers in the same
run: that loop, and batches of 16 documents as they come, padded and masked. Ours is what `quality.losses` calls for a
batch of texts, tokens made anew each time, as in the loop. And the largest relative difference between two losses.

Predictive strength: what the kernel makes of a million documents and six models, and what `scipy.stats` does.

Needs the packages of the extra `lm`.
"""

import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from harness import MB, arguments, finish, interleaved, measured, median, ratio, shared, table

from pipeline.kernels import strength

try:
    import torch
    import transformers
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM
except ImportError:
    sys.exit("this needs torch and transformers: pip install 'corpusmill[lm]'")

from pipeline.quality import lm_models

WINDOW, STRIDE, TOGETHER, SHORT = 1024, 512, 16, 400
DOMAINS = ("web", "docs", "forum", "code")


def texts_of(count: int) -> list[str]:
    """Return documents of all domains in turn."""
    columns = []
    for domain in DOMAINS:
        path = min((shared() / "data/small").glob(f"{domain}-*.parquet"))
        columns.append(pq.read_table(path, columns=["text"])["text"].to_pylist()[: -(-count // len(DOMAINS))])
    return [text for row in zip(*columns, strict=True) for text in row][:count]


def write_model(folder: Path, texts: list[str], width: int) -> int:
    """Write a model and the tokenizer that goes with it; return its parameters."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    special = ["<s>", "</s>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=8192, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(
        '{"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<s>", "eos_token": "</s>", "pad_token": "</s>"}'
    )
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=8192,
        hidden_size=width,
        intermediate_size=4 * width,
        num_hidden_layers=4,
        num_attention_heads=4,
        max_position_embeddings=WINDOW,
        bos_token_id=0,
        eos_token_id=1,
    )
    model = LlamaForCausalLM(config)
    model.save_pretrained(folder)
    return sum(parameter.numel() for parameter in model.parameters())


def plain_loop(model: Any, tokenizer: Any, texts: list[str]) -> list[float]:
    """Return the nats of every text by the recipe: one call a window."""
    found = []
    for text in texts:
        ids, nats, previous = tokenizer(text, return_tensors="pt").input_ids, 0.0, 0
        for begin in range(0, ids.shape[1], STRIDE):
            end = min(begin + WINDOW, ids.shape[1])
            labels = ids[:, begin:end].clone()
            labels[:, : previous - begin if previous else 1] = -100
            with torch.no_grad():
                loss = model(ids[:, begin:end], labels=labels, use_cache=False).loss
            nats += float(loss) * int((labels[:, 1:] != -100).sum())
            previous = end
            if end == ids.shape[1]:
                break
        found.append(nats)
    return found


def padded_batches(model: Any, tokenizer: Any, texts: list[str]) -> list[float]:
    """Return the nats of the first window of every text, in padded batches as the texts come."""
    found: list[float] = []
    for at in range(0, len(texts), TOGETHER):
        batch = tokenizer(
            texts[at : at + TOGETHER], return_tensors="pt", padding=True, truncation=True, max_length=WINDOW
        )
        with torch.no_grad():
            logits = model(batch.input_ids, attention_mask=batch.attention_mask, use_cache=False).logits[:, :-1]
        targets = batch.input_ids[:, 1:].masked_fill(batch.attention_mask[:, 1:] == 0, -100)
        costs = torch.nn.functional.cross_entropy(logits.transpose(1, 2), targets, reduction="none", ignore_index=-100)
        found += costs.double().sum(1).tolist()
    return found


def score(folder: Path, texts: list[str], repeats: int) -> dict[str, Any]:
    """Return documents and tokens a second of every way, and how far apart ours and the loop are."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder).eval()
    ours = lm_models.load(lm_models.Source(str(folder), "benchmark"), "float32", "auto")
    column = pa.array(texts, pa.large_string())
    found: dict[str, Any] = {}

    def run_ours() -> None:
        found["ours"] = lm_models.losses(ours, column, window=WINDOW, stride=STRIDE, batch_tokens=1024)

    def run_loop() -> None:
        found["loop"] = plain_loop(model, tokenizer, texts)

    variants = {
        "ours": run_ours,
        "plain loop": run_loop,
        "padded as they come": lambda: padded_batches(model, tokenizer, texts),
    }
    samples = interleaved(variants, repeats)
    nats_N, _, tokens_N = found["ours"]
    loop_N = np.array(found["loop"])
    tokens = int(tokens_N.sum())
    cut = int(sum(np.minimum(tokens_N, WINDOW - 1)))
    counts = {"ours": tokens, "plain loop": tokens, "padded as they come": cut}
    return {
        "documents": len(texts),
        "mb": sum(len(text.encode()) for text in texts) / MB,
        "tokens": tokens,
        "longer_than_the_window": int((tokens_N >= WINDOW).sum()),
        "documents_s": {name: len(texts) / median(runs) for name, runs in samples.items()},
        "tokens_s": {name: counts[name] / median(runs) for name, runs in samples.items()},
        "cpu_over_ours": {name: ratio(runs, samples["ours"]) for name, runs in samples.items()},
        "max_relative_difference": float((np.abs(nats_N - loop_N) / loop_N).max()),
    }


def rank(repeats: int) -> dict[str, Any]:
    """Return documents a second of the kernel, and of SciPy on a thousandth of them."""
    from scipy.stats import kendalltau

    rng = np.random.default_rng(0)
    losses_NM, scores_M = rng.random((1_000_000, 6)), np.arange(6.0)
    strength.agreement(losses_NM[:1], scores_M)  # compiles
    ours = median([measured(lambda: strength.agreement(losses_NM, scores_M)) for _ in range(repeats)])
    few = losses_NM[:1000]
    scipys = median([measured(lambda: [kendalltau(row, scores_M).statistic for row in few]) for _ in range(repeats)])
    return {"documents_s": len(losses_NM) / ours, "scipy_documents_s": len(few) / scipys}


def main() -> None:
    parser = arguments(__doc__.splitlines()[0], repeats=3)
    parser.add_argument("--documents", type=int, default=60, help="documents to score (default %(default)s)")
    parser.add_argument("--width", type=int, default=128, help="of the model's layers (default %(default)s)")
    options = parser.parse_args()
    torch.set_num_threads(1)
    transformers.utils.logging.disable_progress_bar()
    with tempfile.TemporaryDirectory() as folder:
        whole = texts_of(options.documents)
        short = [text[:SHORT] for text in texts_of(10 * options.documents)]
        parameters = write_model(Path(folder), whole, options.width)
        scored = {
            name: score(Path(folder), texts, options.repeats) for name, texts in (("whole", whole), ("short", short))
        }
    ranked = rank(options.repeats)
    for name, found in scored.items():
        table(
            f"{found['documents']:,} {name} documents, {found['mb']:.2f} MB, {found['tokens']:,} tokens, "
            f"{found['longer_than_the_window']:,} longer than a window; a model of {parameters / 1e6:.1f} M parameters",
            ("way", "documents/s of CPU", "tokens/s of CPU", "x ours"),
            [
                (way, found["documents_s"][way], found["tokens_s"][way], found["cpu_over_ours"][way])
                for way in found["documents_s"]
            ],
        )
        print(
            f"  largest relative difference of two losses, ours and the loop's: {found['max_relative_difference']:.1e}"
        )
    print("  padded as they come: the first window of each document only, so fewer tokens where documents are long")
    table(
        "Predictive strength of six models' losses",
        ("way", "documents/s of CPU"),
        [("ours", ranked["documents_s"]), ("scipy.stats.kendalltau", ranked["scipy_documents_s"])],
    )
    finish(options, {"parameters": parameters, "score": scored, "rank": ranked})


if __name__ == "__main__":
    main()
