"""Causal language models of Hugging Face transformers: loaded once a process, with their tokenizer and its habits.

Imports torch and transformers (extra `lm`): others import this module only when they score.

A model is read in the precision asked for, on the GPU if this process sees one, with one thread a worker and PyTorch's
deterministic algorithms where it has them. Code that comes with a model is never run.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from importlib import import_module
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch

from pipeline.errors import DataError
from pipeline.proxy import lm

Bos = Literal["auto", "always", "never"]
_POSITIONS = ("max_position_embeddings", "n_positions", "n_ctx", "max_sequence_length", "max_seq_len")
# transformers brings no types for what is asked of it here.
_transformers: Any = import_module("transformers")


@dataclass(frozen=True)
class Source:
    """Where a model comes from and what it is: a folder and its checksum, or an id of the hub and its revision."""

    place: str
    identity: str
    hub: bool = False

    def __str__(self) -> str:
        return f"{self.place}@{self.identity}" if self.hub else self.place


@dataclass(frozen=True)
class LanguageModel:
    """A model ready to score: what it does to ids, what makes ids of text, and what stands before every text.

    `window` is the most positions that it can read at once, None if its configuration does not say; `vocabulary` how
    many ids it knows.
    """

    forward: lm.Forward
    tokenizer: Any
    prefix: tuple[int, ...]
    window: int | None
    vocabulary: int
    device: torch.device


def load(source: Source, dtype: str, bos: Bos) -> LanguageModel:
    """Return the model; the last one stays in memory for the next batch.

    Raises:
        DataError: it cannot be had, is no causal model, lacks weights, or cannot do what is asked.
    """
    return _loaded(source, dtype, bos)


@lru_cache(maxsize=1)
def _loaded(source: Source, dtype: str, bos: Bos) -> LanguageModel:
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # without it cuBLAS may add in another order each time
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.set_num_threads(1)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if dtype == "bfloat16" and device.type == "cpu":
        raise DataError(f"the model {source} was to be read as bfloat16, and this worker sees no GPU; say float32")
    quietly = _transformers.utils.logging
    quietly.set_verbosity_error()
    quietly.disable_progress_bar()
    tokenizer = _had(_transformers.AutoTokenizer, source)
    model, told = _had(
        _transformers.AutoModelForCausalLM, source, dtype=getattr(torch, dtype), output_loading_info=True
    )
    if lost := sorted([*told["missing_keys"], *map(str, told["mismatched_keys"])]):
        raise DataError(
            f"the model {source} has no weights for {len(lost):,} of its parts, such as {lost[0]}; they would be drawn "
            "at random. Give the whole causal model"
        )
    model.eval().to(device)
    prefix = _prefix(tokenizer, bos, source)  # calls the tokenizer, which sets its plain one anew each time
    return LanguageModel(
        forward=lm.forward_of(model),
        tokenizer=_plain(tokenizer, source),
        prefix=prefix,
        window=next((int(n) for name in _POSITIONS if (n := getattr(model.config, name, None))), None),
        vocabulary=model.get_input_embeddings().num_embeddings,
        device=device,
    )


def _had(kind: Any, source: Source, **how: Any) -> Any:
    """Return what `kind` makes of the source.

    Raises:
        DataError: it makes nothing; says what to do.
    """
    where = {"revision": source.identity} if source.hub else {"local_files_only": True}
    try:
        return kind.from_pretrained(source.place, trust_remote_code=False, **where, **how)
    except MemoryError:  # is tried again with more room
        raise
    except Exception as error:  # whatever a library raises about files that it cannot use
        first = str(error).strip().partition("\n")[0]
        remedy = (
            f"get it on every machine with `hf download {source.place} --revision {source.identity}`, or name a folder "
            "that all see: folder:PATH"
            if source.hub
            else "the folder must be what `save_pretrained` writes: config.json, safetensors, tokenizer.json"
        )
        message = f"the model {source} cannot be loaded: {type(error).__name__}: {first}\n{remedy}"
        raise DataError(message) from None


def _plain(tokenizer: Any, source: Source) -> Any:
    """Return the tokenizer proper, set to read whole texts in which no word is a command."""
    plain = getattr(tokenizer, "backend_tokenizer", None)
    if plain is None or not hasattr(plain, "encode_batch"):
        raise DataError(f"the model {source} has no fast tokenizer; put a tokenizer.json beside it")
    plain.encode_special_tokens = True  # `</s>` in a document is text
    plain.no_truncation()
    plain.no_padding()
    return plain


def _prefix(tokenizer: Any, bos: Bos, source: Source) -> tuple[int, ...]:
    """Return the ids that stand before every text: what the tokenizer itself puts there, all texts alike."""
    if bos == "never":
        return ()
    bare = tokenizer("a", add_special_tokens=False)["input_ids"]
    dressed = tokenizer("a")["input_ids"]
    starts = [at for at in range(len(dressed)) if dressed[at : at + len(bare)] == bare]
    found = tuple(dressed[: starts[0]]) if starts else ()
    if found or bos == "auto":
        return found
    for token in (tokenizer.bos_token_id, tokenizer.eos_token_id):  # GPT-2 and its kin begin a text with the last's end
        if token is not None:
            return (int(token),)
    raise DataError(f"the model {source} has no token that begins or ends a text; say bos: never")


def losses(
    model: LanguageModel, texts: pa.Array, *, window: int, stride: int | None, batch_tokens: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return (nats float64 [N], bytes int64 [N], tokens int64 [N]) of the documents: what was scored, and its cost.

    Without a prefix the first token has no context and is not scored; the bytes of the characters that it reaches into
    do not count either.

    Raises:
        DataError: the tokenizer makes ids that the model does not know, or a batch does not fit on the GPU.
    """
    words = texts.to_pylist()
    fast = model.tokenizer.encode_batch_fast if model.prefix else model.tokenizer.encode_batch  # the first: no offsets
    found = fast(words, add_special_tokens=False)
    tokens, offsets = _ids(found)
    if (highest := int(tokens.max(initial=0))) >= model.vocabulary:
        raise DataError(
            f"its tokenizer makes the id {highest:,} and the model knows {model.vocabulary:,}: they are no pair"
        )
    score = partial(lm.document_losses, model.forward, prefix=model.prefix, device=model.device)
    try:
        nats_N, scored_N = score(tokens, offsets, window=window, stride=stride, batch_tokens=batch_tokens)
    except torch.OutOfMemoryError as error:
        raise DataError(
            f"a batch of {max(batch_tokens, window):,} positions does not fit beside the model on its GPU ({error}); "
            "lower `batch_tokens`, or `window`"
        ) from None
    bytes_N = pc.binary_length(texts).to_numpy().astype(np.int64)
    if not model.prefix:
        skipped = [encoding.offsets[0][1] if len(encoding) else 0 for encoding in found]
        bytes_N = bytes_N - [len(text[:end].encode()) for text, end in zip(words, skipped, strict=True)]
    return nats_N, np.where(scored_N > 0, bytes_N, 0), scored_N


def _ids(encodings: Sequence[Any]) -> tuple[np.ndarray, np.ndarray]:
    rows = [np.array(encoding.ids, np.uint32) for encoding in encodings]
    offsets = np.concatenate([[0], np.cumsum([len(row) for row in rows])]).astype(np.int64)
    return np.concatenate(rows) if rows else np.empty(0, np.uint32), offsets
