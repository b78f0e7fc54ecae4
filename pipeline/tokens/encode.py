"""Encode every kept document.

Reads documents (doc_id, text, domain, bytes) and a tokenizer.json; writes, shard for shard, doc_id, domain, tokens and
length. Tokens are raw little-endian ids of the manifest's dtype (see `tokens.column`), null where the mask does not
keep the document; length counts no EOS and is 0 there.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from pydantic import Field

from pipeline.errors import DataError
from pipeline.kernels import utf8
from pipeline.ledger import Tally, add
from pipeline.parquet import read_batches
from pipeline.schemas import DOC_ID, text_buffers
from pipeline.stage import Params, Stage, Step
from pipeline.tokens import engine
from pipeline.tokens.column import TOKENS, token_column
from pipeline.tokens.engine import Vocabulary
from pipeline.tokens.format import token_dtype
from pipeline.tokens.minimum import NAME as MINIMUM
from pipeline.tokens.minimum import minimum_encoder
from pipeline.tokens.vocabulary_use import vocabulary_use

CHECKED_BYTES = 1 << 18
CHECKED_SHARDS = 8


class EncodeParams(Params):
    """Which token ends a document, and how text is cut into tokens.

    `eos` names the token; null takes the first that is known to be one. `segmentation: bpe` applies the merges of the
    vocabulary; `minimum` cuts each piece of a text into the fewest tokens (byte-level vocabularies only).
    """

    eos: str | None = Field(None, min_length=1)
    segmentation: Literal["bpe", "minimum"] = "bpe"


SCHEMA = pa.schema(
    [
        pa.field("doc_id", DOC_ID, nullable=False),
        pa.field("domain", pa.string(), nullable=False),
        pa.field("tokens", TOKENS),
        pa.field("length", pa.int64(), nullable=False),
    ]
)


def encode_batch(batch: pa.RecordBatch, *, path: str, vocabulary: Vocabulary, using: str) -> pa.RecordBatch:
    """Return the tokens of each kept row of `batch`, in its order.

    Raises:
        DataError: the text of a document encodes to the EOS id, so it would forge a boundary.
    """
    keep = batch["keep"].to_numpy(zero_copy_only=False)
    texts = _texts(batch if keep.all() else batch.filter(batch["keep"]))
    chosen = minimum_encoder(Path(path)) if using == MINIMUM else engine.encoder(Path(path), vocabulary.eos, using)
    ids, offsets = chosen.encode(texts)
    _refuse_eos(batch, ids, offsets, vocabulary)
    lengths = np.zeros(batch.num_rows, np.int64)
    lengths[keep] = np.diff(offsets)
    tokens = token_column(ids.astype(token_dtype(vocabulary.size)), lengths, ~keep)
    return pa.RecordBatch.from_arrays([batch["doc_id"], batch["domain"], tokens, pa.array(lengths)], schema=SCHEMA)


def _texts(batch: pa.RecordBatch) -> list[str]:
    """Return the texts of `batch`; raise DataError, with its document, where one is no UTF-8."""
    try:
        found: list[str] = batch["text"].to_pylist()
        return found
    except UnicodeDecodeError:
        states = utf8.text_states(*text_buffers(batch["text"]))
        row = int(np.argmax(states == utf8.INVALID))
        raise DataError(
            f"document {batch['doc_id'][row].as_py().hex()}: its text is no UTF-8. Ingest lets none such pass: build "
            "the documents again, or mend the step that wrote them."
        ) from None


def _refuse_eos(batch: pa.RecordBatch, ids: np.ndarray, offsets: np.ndarray, vocabulary: Vocabulary) -> None:
    if not len(places := np.flatnonzero(ids == vocabulary.eos_id)):
        return
    row = int(np.searchsorted(offsets, places[0], "right")) - 1
    doc_id = batch["doc_id"].filter(batch["keep"])[row].as_py().hex()
    raise DataError(
        f"document {doc_id}: its text encodes to the EOS {vocabulary.eos!r} ({vocabulary.eos_id}) at token "
        f"{places[0] - offsets[row]}, so it would end a document where none ends. Name a token with `tokens.eos` that "
        "ordinary text cannot make."
    )


def count(before: pa.RecordBatch, after: pa.RecordBatch) -> Tally:
    """Return, by domain, the documents encoded, their bytes and tokens, and how many have 2^k to 2^(k+1) tokens."""
    table = pa.table({"domain": after["domain"], "bytes": before["bytes"], "tokens": after["length"]})
    table = table.filter(before["keep"])
    table = table.append_column("bin", pa.array(np.frexp(np.maximum(table["tokens"].to_numpy(), 1))[1] - 1))
    groups = table.group_by(["domain", "bin"], use_threads=False)
    made: Tally = {"domains": {}, "lengths": {}}
    for group in groups.aggregate([("tokens", "count"), ("bytes", "sum"), ("tokens", "sum")]).to_pylist():
        documents = group["tokens_count"]
        sums = {"documents": documents, "bytes": group["bytes_sum"], "tokens": group["tokens_sum"]}
        add(made, {"domains": {group["domain"]: sums}, "lengths": {group["domain"]: {f"{group['bin']:02}": documents}}})
    return made


def by_length(tally: Tally) -> dict[str, list[int]]:
    """Return, by domain, the documents of 2^k <= tokens < 2^(k + 1) at place k, empty ones at place 0."""
    lengths: Tally = tally.get("lengths", {})
    top = max((int(place) for bins in lengths.values() for place in bins), default=-1)
    return {domain: [bins.get(f"{k:02}", 0) for k in range(top + 1)] for domain, bins in lengths.items()}


def sampled_texts(paths: list[Path]) -> list[str]:
    """Return the first texts of some shards spread over all, about CHECKED_BYTES: what the engines are compared on."""
    count = min(len(paths), CHECKED_SHARDS)
    chosen = [paths[len(paths) * place // count] for place in range(count)]
    texts: list[str] = []
    for path in chosen:
        room = CHECKED_BYTES // len(chosen)
        for value in chain.from_iterable(batch["text"] for batch in read_batches(path, ("text",))):
            if room <= 0:
                break
            # The beginning of a huge text, without a str of it all; what is no UTF-8 ends the task that meets it.
            data = value.as_buffer()
            texts.append(bytes(data[:room]).decode("utf-8", "ignore"))
            room -= len(data)
    return texts


def check(params: EncodeParams, files: Mapping[str, Path]) -> None:
    """Refuse a given tokenizer.json that cannot be loaded, or that has no EOS, before anything runs."""
    if "tokenizer" in files:
        engine.vocabulary(files["tokenizer"], params.eos)
        if params.segmentation == MINIMUM:
            minimum_encoder(files["tokenizer"])


def encode(step: Step, params: EncodeParams) -> None:
    """Choose the engine, then encode shard by shard, nothing held between batches; then count the ids of it all."""
    path = step.file("tokenizer", "tokenizer.json")
    vocabulary = engine.vocabulary(path, params.eos)
    using, why = _chosen(step, params, path, vocabulary)
    tally = step.map_shards(
        partial(encode_batch, path=str(path), vocabulary=vocabulary, using=using),
        columns={"documents": ("doc_id", "text", "domain", "bytes"), "mask": ("keep",)},
        schema=SCHEMA,
        tally=count,
    )
    use = vocabulary_use(step, path, vocabulary.size)
    step.note(
        engine=using,
        engine_note=why,
        vocab_size=vocabulary.size,
        eos=vocabulary.eos,
        eos_id=vocabulary.eos_id,
        dtype=token_dtype(vocabulary.size).name,
        domains=tally.get("domains", {}),
        documents_by_length=by_length(tally),
        vocabulary_use=use,
        **_notes(use, [] if using == MINIMUM else engine.silent(engine.encoder(path, vocabulary.eos, using))),
    )


def _chosen(step: Step, params: EncodeParams, path: Path, vocabulary: Vocabulary) -> tuple[str, str]:
    """Return what encodes and, where it is slower than it might be, why."""
    if params.segmentation == MINIMUM:
        return MINIMUM, minimum_encoder(path).note
    return engine.choose(path, vocabulary.eos, sampled_texts(list(step.inputs["documents"].paths())))


def _notes(use: Mapping[str, Any], silent: Sequence[str]) -> dict[str, list[str]]:
    """Return what is to be said of text that the vocabulary could not write."""
    notes = []
    if "unknown" in use and (times := use["unknown"]["count"]):
        token = use["unknown"]["token"]
        notes.append(f"text that this vocabulary cannot write became {token!r} and is lost, {times:,} times")
    if silent:
        notes.append(
            f"text that this vocabulary cannot write, such as {', '.join(silent)}, is lost, and no token in its place "
            "tells how often: its model names none for the unknown"
        )
    return {"notes": notes} if notes else {}


ENCODE = Stage(
    name="tokens.encode",
    version=3,
    params=EncodeParams,
    inputs=("documents", "tokenizer"),
    optional=("mask",),
    run=encode,
    check=check,
)
