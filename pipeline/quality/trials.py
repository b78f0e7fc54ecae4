"""One run of a verification: documents in, a trained model, its bits per byte of every target out. Imports torch."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from tokenizers import Tokenizer

from pipeline.parquet import write_table
from pipeline.proxy import training, vocabulary
from pipeline.proxy.judging import bits_of
from pipeline.proxy.model import Decoder
from pipeline.proxy.targets import from_parquet
from pipeline.quality.subsets import Run, in_order
from pipeline.quality.verify_params import VerifyParams
from pipeline.store import Attempt

ORDER = 0x5F0000
"""The order of epoch e is drawn from stream ORDER + e."""
DIGITS = 6

SCHEMA = pa.schema(
    [
        pa.field("run", pa.string(), nullable=False),
        pa.field("kind", pa.string(), nullable=False),
        pa.field("seed", pa.int64(), nullable=False),
        pa.field("documents", pa.int64(), nullable=False),
        pa.field("bytes", pa.int64(), nullable=False),
        pa.field("tokens", pa.int64(), nullable=False),
        pa.field("epochs", pa.float64(), nullable=False),
        pa.field("target", pa.string(), nullable=False),
        pa.field("target_documents", pa.int64(), nullable=False),
        pa.field("target_bytes", pa.int64(), nullable=False),
        pa.field("bits_per_byte", pa.float64(), nullable=False),
    ]
)


def trial(
    run: Run, table: pa.Table, attempt: Attempt, words: Path, targets: Path, params: VerifyParams
) -> dict[str, Any]:
    """Write one row a target, and return by run the bits per byte of each and how often the subset was read."""
    tokenizer = vocabulary.opened(words)
    documents = vocabulary.encoded(tokenizer, table["text"].to_pylist())
    length = params.model.steps(params.budget) * params.model.step_tokens
    tokens = training.stream(documents, length + 1, partial(_order, table, run.draw.seed))
    with training.repeatable():
        model = training.fitted(tokens, params.model, tokenizer.get_vocab_size(), run.draw.seed)
        judged = _judged(model, from_parquet(targets), tokenizer, params.model.context)
    share = pc.sum(pc.binary_length(table["text"])).as_py() / run.cut.subset.bytes
    epochs = round(length * share / sum(map(len, documents)), DIGITS)
    about = {
        "run": run.name,
        "kind": run.draw.kind,
        "seed": run.draw.seed,
        "documents": run.cut.subset.documents,
        "bytes": run.cut.subset.bytes,
        "tokens": length,
        "epochs": epochs,
    }
    name = f"{run.name}.parquet"
    rows = pa.Table.from_pylist([about | row for row in judged], SCHEMA)
    attempt.rows(name, write_table(attempt.path(name), rows))
    bits = {row["target"]: row["bits_per_byte"] for row in judged}
    return {run.name: {"bits_per_byte": bits, "epochs": epochs, "tokens": length}}


def _order(table: pa.Table, seed: int, epoch: int) -> np.ndarray:
    return in_order(table, seed, ORDER + epoch)


def _judged(
    model: Decoder, wanted: Mapping[str, list[str]], tokenizer: Tokenizer, context: int
) -> list[dict[str, Any]]:
    """Return a row for every target, in the order of their names."""
    rows = []
    for name, texts in wanted.items():
        size = sum(len(text.encode()) for text in texts)
        bits = round(bits_of(model, vocabulary.encoded(tokenizer, texts), context) / size, DIGITS)
        rows.append({"target": name, "target_documents": len(texts), "target_bytes": size, "bits_per_byte": bits})
    return rows
