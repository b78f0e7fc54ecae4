"""Pack the documents that a plan takes into sequences of one length.

Reads encoded documents, the plan, the mask and, where wired, the `buckets` that the plan knows as domains and the
`weights` of tokens; writes the files of `tokens.format`, and beside them the tokenizer.json if one is wired. Documents
are chosen by `tokens.selection`; every use of a document (pass, doc_id) goes to a window by hash (`tokens.uses`),
windows are packed one by one (`tokens.windows`), and a window's sequences are shuffled by hash. So the bytes depend on
the documents, the plan, the params and the seed, and on no file or worker.
"""

import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from pipeline import ledger
from pipeline.corpus import Corpus
from pipeline.errors import ConfigError, DataError
from pipeline.files import checksum
from pipeline.identity import SHORT
from pipeline.kernels import packed_rows
from pipeline.kernels.document_cost import Rule
from pipeline.ledger import Tally
from pipeline.shuffle import part
from pipeline.stage import MAX_PARTITIONS, Stage, Step
from pipeline.tasks import Task
from pipeline.tokens import bos, selection
from pipeline.tokens.format import MAX_DOMAINS, token_dtype
from pipeline.tokens.pack_params import PackParams
from pipeline.tokens.selection import LEFT_OUT, Selection, Share
from pipeline.tokens.uses import Chosen, scatter_uses
from pipeline.tokens.weights import WEIGHTS
from pipeline.tokens.windows import TOKENIZER, Shape, pack_window, pieces_by_sequence

MAX_PASSES = 1 << 16


def check(params: PackParams, files: Mapping[str, Path]) -> None:
    """Refuse a given tokenizer.json that has not the token to begin documents with, before anything runs."""
    if params.bos is not None and TOKENIZER in files:
        bos.token_id(files[TOKENIZER], params.bos)


def agree(params: PackParams, inputs: Mapping[str, tuple[int, Mapping[str, Any]]], _: Mapping[str, Corpus]) -> None:
    """Refuse a plan that will count documents otherwise, and a vocabulary that will be trained without `bos`."""
    if "plan" in inputs and "packing" in (planned := inputs["plan"][1]):
        _refuse_another_rule(planned["packing"], params.rule())
    special = inputs["tokenizer"][1].get("special_tokens") if TOKENIZER in inputs else None
    if params.bos is not None and special is not None and params.bos not in special:
        raise ConfigError(
            f"bos is {params.bos!r}, and the vocabulary is trained with {', '.join(special)}: name it as "
            "`tokens.packing.bos`, or among the `special_tokens` of tokens.train"
        )


def _refuse_another_rule(counted: Mapping[str, Any], rule: Rule) -> None:
    if Rule(**counted) != rule:
        raise DataError(
            f"the plan counts documents by {dict(counted)}, and this packing by {rule._asdict()}: set `packing` of "
            "mixture.plan to the latter, or the plan would not be met to the token. In a recipe `tokens.packing` sets "
            "both"
        )


def pack(step: Step, params: PackParams) -> None:
    """Find the cuts, send every use of a document to its window, pack the windows."""
    plan = json.loads(step.file("plan", "plan.json").read_text(encoding="utf-8"))
    facts = step.inputs["tokens"].manifest.facts
    shares = selection.shares_of(plan)
    _refuse_too_many(shares)
    _refuse_another_rule(plan["packing"], params.rule())
    _refuse_another_tokenizer(step)
    bos_id, weighted = _bos_id(step, params), WEIGHTS in step.inputs
    found = selection.select(step, shares, params.rule(), params.seed)
    dtype = token_dtype(facts["vocab_size"])
    windows = _windows(step, params, sum(share.tokens for share in shares), dtype)
    chosen = Chosen(shares, found.cuts, params.rule(), params.seed, windows, dtype, bos_id)
    columns = selection.columns(step, "tokens") | ({WEIGHTS: (WEIGHTS,)} if weighted else {})
    blocks = step.scatter(partial(scatter_uses, chosen=chosen), columns=columns, partitions=windows)
    row = packed_rows.Shape(params.sequence_length, dtype, facts["eos_id"], facts["eos_id"], bos_id)
    todo = [Task(part(window), payload=window) for window in range(windows)]
    if TOKENIZER in step.inputs or TOKENIZER in step.files:
        todo.append(Task(TOKENIZER, payload=str(step.file(TOKENIZER, f"{TOKENIZER}.json"))))
    shape = Shape(row, params, weighted)
    totals = step.produce(partial(pack_window, blocks=blocks, chosen=chosen, shape=shape), todo)
    _check(step, shares, found, totals)
    step.ledger = books(shares, found, dtype.itemsize)
    step.note(**_facts(params, facts, shares, totals), bos_id=bos_id, token_weights=weighted)
    step.note(left_out=_left_out(shares, found))


def _refuse_another_tokenizer(step: Step) -> None:
    """Raise DataError where the tokens came from another tokenizer: BOS would be a word of theirs, or no id at all."""
    made_by, wired = step.inputs["tokens"].manifest.inputs.get(TOKENIZER), step.identities.get(TOKENIZER)
    if wired is None or made_by in (None, wired, checksum(step.file(TOKENIZER, f"{TOKENIZER}.json"))):
        return
    raise DataError(
        f"{step.name}: the tokenizer wired is {wired[:SHORT]}, the tokens in {step.inputs['tokens'].root} were made "
        f"with {made_by[:SHORT]}: wire the tokenizer that tokens.encode was given"
    )


def _bos_id(step: Step, params: PackParams) -> int | None:
    if params.bos is None:
        return None
    if TOKENIZER not in step.inputs and TOKENIZER not in step.files:
        raise DataError(f"{step.name}: bos is {params.bos!r}, and no tokenizer is wired that tells its id; wire one")
    return bos.token_id(step.file(TOKENIZER, f"{TOKENIZER}.json"), params.bos)


def _windows(step: Step, params: PackParams, tokens: int, dtype: np.dtype) -> int:
    """Return how many windows there are; a matter of the plan and the params, never of workers."""
    if params.window_tokens is None:
        return step.partitions(tokens * dtype.itemsize)
    windows = max(1, -(-tokens // params.window_tokens))
    if windows > MAX_PARTITIONS:
        least = -(-tokens // MAX_PARTITIONS)
        raise DataError(
            f"{step.name}: {tokens:,} tokens make {windows:,} windows of {params.window_tokens:,}; "
            f"{MAX_PARTITIONS:,} are the most: set window_tokens to {least:,} or more"
        )
    return windows


def _refuse_too_many(shares: list[Share]) -> None:
    if len(shares) > MAX_DOMAINS:
        raise DataError(f"{len(shares):,} domains; packed sequences can tell {MAX_DOMAINS:,} apart: merge some")
    for share in shares:
        if share.passes >= MAX_PASSES - 1:
            raise DataError(f"domain {share.domain!r} would be used {share.passes:,} times; lower max_epochs")


def _check(step: Step, shares: list[Share], found: Selection, totals: Tally) -> None:
    """Raise DataError unless what was packed is what the plan says, to the token and to the use."""
    packed = totals.get("domains", {})
    for number, share in enumerate(shares):
        uses = share.passes * found.available[number] + found.last_pass[number]
        got = packed.get(share.domain, {"tokens": 0, "uses": 0})
        if (got["tokens"], got["uses"]) != (share.tokens, uses):
            raise DataError(
                f"{step.name}: domain {share.domain!r} packed {got['tokens']:,} tokens in {got['uses']:,} uses of "
                f"documents, the plan says {share.tokens:,} in {uses:,}. This is a defect: please report it"
            )


def books(shares: list[Share], found: Selection, token_bytes: int) -> Tally:
    """Return the ledger of documents by domain; their bytes are those of their tokens."""
    made: Tally = {}
    for number, share in enumerate(shares):
        available, whole = found.available[number], share.passes > 0
        used = available if whole else found.last_pass[number]
        kept_bytes = token_bytes * (share.available if whole else share.rest)
        parts = [ledger.entry(used, kept_bytes)]
        if available > used:
            parts.append(ledger.entry(available - used, token_bytes * share.available - kept_bytes, "beyond_budget"))
        for reason, (documents, tokens) in zip(LEFT_OUT[:2], found.left_out[number].tolist(), strict=False):
            if documents:
                parts.append(ledger.entry(documents, token_bytes * tokens, reason))
        for entry in parts:
            ledger.add(made, {share.domain: entry})
    return made


def _left_out(shares: list[Share], found: Selection) -> dict[str, dict[str, dict[str, int]]]:
    """Return, by domain and reason, documents that are never packed or packed in part, and their tokens so lost."""
    told: dict[str, dict[str, dict[str, int]]] = {}
    for share, counts in zip(shares, found.left_out.tolist(), strict=True):
        reasons = {
            reason: {"documents": documents, "tokens": tokens}
            for reason, (documents, tokens) in zip(LEFT_OUT, counts, strict=True)
            if documents
        }
        told |= {share.domain: reasons} if reasons else {}
    return told


def _facts(params: PackParams, facts: dict[str, Any], shares: list[Share], totals: Tally) -> dict[str, Any]:
    tokens = sum(share.tokens for share in shares)
    by_domain = {
        share.domain: {"planned_tokens": share.tokens, "share": share.tokens / max(1, tokens)}
        | totals.get("domains", {}).get(share.domain, {})
        for share in shares
    }
    positions = totals.get("positions", 0)
    return {
        "sequence_length": params.sequence_length,
        "mode": params.mode,
        "dtype": token_dtype(facts["vocab_size"]).name,
        "eos_id": facts["eos_id"],
        "pad_id": facts["eos_id"],
        "vocab_size": facts["vocab_size"],
        "domains": [share.domain for share in shares],
        "tokens": tokens,
        "sequences": totals.get("sequences", 0),
        "segments": totals.get("segments", 0),
        "padding": positions - tokens,
        "fill": tokens / positions if positions else 0.0,
        "by_domain": by_domain,
        "pieces_by_sequence": pieces_by_sequence(totals),
    }


PACK = Stage(
    name="tokens.pack",
    version=3,
    params=PackParams,
    inputs=("tokens", "plan"),
    optional=("mask", "tokenizer", "buckets", "weights"),
    run=pack,
    check=check,
    agree=agree,
)
