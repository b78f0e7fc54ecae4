"""Pack the documents that a plan takes into sequences of one length.

Reads encoded documents, the plan, the mask and, where wired, the `buckets` that the plan knows as domains; writes the
files of `tokens.format`, and beside them the tokenizer.json if one is wired. Documents are chosen by
`tokens.selection`; every use of a document (pass, doc_id) goes to a window by hash, windows are packed best-fit one by
one (`kernels.packing`), and a window's sequences are shuffled by hash. So the bytes depend on the documents, the plan,
the length and the seed, and on no file or worker.
"""

import json
import shutil
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from pipeline import ledger
from pipeline.errors import DataError
from pipeline.kernels import packing
from pipeline.kernels.permutation import key_of, mix64
from pipeline.ledger import Tally
from pipeline.schemas import DOC_ID, doc_ids
from pipeline.shuffle import Blocks, part
from pipeline.stage import Params, Stage, Step
from pipeline.store import Attempt
from pipeline.tasks import Task
from pipeline.tokens import selection
from pipeline.tokens.column import TOKENS, token_values
from pipeline.tokens.format import MAX_DOMAINS, PADDING, SEGMENT, token_dtype, write_part
from pipeline.tokens.selection import Cut, Selection, Share

MAX_PASSES = 1 << 16
TOKENIZER = "tokenizer"
_WINDOW_KEY, _ORDER_KEY = 1, 2


class PackParams(Params):
    """`sequence_length` in tokens; `seed` of the choice of documents and of their order."""

    sequence_length: int = Field(2048, ge=8, le=1 << 30)
    seed: int = 0


class Chosen(NamedTuple):
    """What every worker needs to know about the choice."""

    shares: list[Share]
    cuts: list[Cut]
    seed: int
    windows: int


def scatter_uses(batch: pa.RecordBatch, *, chosen: Chosen) -> tuple[pa.RecordBatch, np.ndarray]:
    """Return one row per use of a document of `batch`, and the window it goes to.

    Raises:
        DataError: the mask keeps a document that was not encoded.
    """
    kept = selection.kept(batch)
    _refuse_unencoded(batch)
    code, ids = selection.codes(batch, chosen.shares), doc_ids(batch["doc_id"])
    draws = selection.last_draws(batch, code, chosen.shares, chosen.seed)
    passes = np.array([share.passes for share in chosen.shares])[code]
    in_last = np.zeros(len(code), bool)
    for number, cut in enumerate(chosen.cuts):
        in_last |= (code == number) & (selection.below(cut, draws, ids) | selection.at(cut, draws, ids))
    uses = np.where(kept, passes + in_last, 0)
    row = np.repeat(np.arange(len(code)), uses)
    use = np.arange(len(row)) - np.repeat(np.cumsum(uses) - uses, uses)
    hashes = _hashes(ids[row], use, key_of(chosen.seed, _WINDOW_KEY))
    # Most often every document is used once: then the tokens, nearly all of the bytes, need no copy here.
    taken = batch if np.array_equal(row, np.arange(len(code))) else batch.take(pa.array(row))
    out = pa.record_batch(
        {
            "doc_id": taken["doc_id"],
            "pass": pa.array(use.astype(np.uint16)),
            "domain": pa.array(code[row].astype(np.uint16)),
            "last": pa.array(use == passes[row]),
            "draw": pa.array(draws[row]),
            "hash": pa.array(hashes),
            "tokens": taken["tokens"],
        }
    )
    return out, (mix64(hashes) % np.uint64(chosen.windows)).astype(np.uint32)


def _hashes(ids: np.ndarray, use: np.ndarray, key: int) -> np.ndarray:
    return mix64(mix64(mix64(ids[:, 0] ^ np.uint64(key)) ^ ids[:, 1]) + use.astype(np.uint64))


def _refuse_unencoded(batch: pa.RecordBatch) -> None:
    lost = pc.and_(batch["keep"], batch["tokens"].is_null())
    if lost.true_count:
        doc_id = batch["doc_id"].filter(lost)[0].as_py().hex()
        raise DataError(
            f"the mask keeps document {doc_id}, which was not encoded: the tokens were made under a stricter mask. "
            "Encode under this mask, or an earlier one"
        )


class Shape(NamedTuple):
    """How the sequences look, and how they are ordered."""

    row: packing.Shape
    seed: int


def pack_window(task: Task, attempt: Attempt, *, blocks: Blocks, chosen: Chosen, shape: Shape) -> Tally:
    """Pack one window; return what it holds by domain, and what was cut."""
    if task.key == TOKENIZER:
        return copy_tokenizer(task, attempt)
    table = blocks.read(task.payload)
    table = _empty() if table is None else table.combine_chunks()
    order = _order(table)
    uses = table.drop_columns("tokens").take(pa.array(order))
    tokens, first, plain = token_values(table["tokens"], shape.row.dtype)
    first, plain = first[order], plain[order]
    cost = _taken(uses, plain + 1, chosen)
    pieces = packing.split(cost, shape.row.sequence_length)
    bins = packing.group(packing.best_fit(pieces.length, shape.row.sequence_length))
    bins = packing.bins_in_order(bins, _shuffled(len(bins.offsets) - 1, key_of(shape.seed, _ORDER_KEY, task.payload)))
    rows = packing.lay_out(tokens, first, np.minimum(plain, cost), pieces, bins, shape.row)
    name = write_part(attempt.path, task.key, rows.tokens, rows.offsets, _segments(rows, pieces, uses))
    attempt.rows(name, len(rows.tokens))
    return _tally(chosen.shares, uses["domain"].to_numpy(), plain + 1, cost, rows)


def _order(table: pa.Table) -> np.ndarray:
    """Return the order of the uses by their hash; uses with equal keys are those of equal documents, and equal."""
    ids = doc_ids(table["doc_id"])
    return np.lexsort((table["pass"].to_numpy(), ids[:, 1], ids[:, 0], table["hash"].to_numpy()))


def _shuffled(count: int, key: int) -> np.ndarray:
    return np.argsort(mix64(np.arange(count, dtype=np.uint64) ^ np.uint64(key)), kind="stable")


def _taken(uses: pa.Table, whole: np.ndarray, chosen: Chosen) -> np.ndarray:
    """Return [N] int64, the tokens taken of each use: all, or up to its domain's cut in the last pass."""
    taken = whole.copy()
    domain, last = uses["domain"].to_numpy(), uses["last"].to_numpy()
    for number, cut in enumerate(chosen.cuts):
        mine = last & (domain == number)
        mine &= selection.at(cut, uses["draw"].to_numpy(), doc_ids(uses["doc_id"]))
        left = cut.tokens
        for row in np.flatnonzero(mine).tolist():
            taken[row] = min(left, int(whole[row]))
            left -= int(taken[row])
    return taken


def _segments(rows: packing.Rows, pieces: packing.Pieces, uses: pa.Table) -> np.ndarray:
    out = np.zeros(len(rows.end), SEGMENT)
    out["end"], out["domain"] = rows.end, PADDING
    filled = rows.piece >= 0
    piece = rows.piece[filled]
    document = pieces.document[piece]
    out["doc_id"][filled] = doc_ids(uses["doc_id"])[document]
    out["start"][filled] = pieces.start[piece]
    out["domain"][filled] = uses["domain"].to_numpy()[document]
    out["epoch"][filled] = uses["pass"].to_numpy()[document]
    return out


def _empty() -> pa.Table:
    names = {"doc_id": DOC_ID, "pass": pa.uint16(), "domain": pa.uint16(), "last": pa.bool_(), "draw": pa.uint64()}
    types = names | {"hash": pa.uint64(), "tokens": TOKENS}
    return pa.schema(list(types.items())).empty_table()


def _tally(shares: list[Share], domain: np.ndarray, whole: np.ndarray, cost: np.ndarray, rows: packing.Rows) -> Tally:
    domains: Tally = {}
    for number in np.unique(domain).tolist():
        mine = (domain == number) & (cost > 0)
        domains[shares[number].domain] = {
            "tokens": int(cost[mine].sum()),
            "uses": int(np.count_nonzero(mine)),
            "longer_than_a_sequence": int(np.count_nonzero(cost[mine] > rows.tokens.shape[1])),
            "cut_by_the_budget": int(np.count_nonzero(cost[mine] < whole[mine])),
            "tokens_cut_by_the_budget": int((whole[mine] - cost[mine]).sum()),
        }
    return {"domains": domains, "sequences": len(rows.tokens), "positions": rows.tokens.size, "segments": len(rows.end)}


def copy_tokenizer(task: Task, attempt: Attempt) -> Tally:
    """Lay the tokenizer beside the sequences, so that they can be read without anything else."""
    shutil.copyfile(task.payload, attempt.path(f"{TOKENIZER}.json"))
    return {}


def pack(step: Step, params: PackParams) -> None:
    """Find the cuts, send every use of a document to its window, pack the windows."""
    plan = json.loads(step.file("plan", "plan.json").read_text(encoding="utf-8"))
    facts = step.inputs["tokens"].manifest.facts
    shares = selection.shares_of(plan)
    _refuse_too_many(shares)
    found = selection.select(step, shares, params.seed)
    dtype = token_dtype(facts["vocab_size"])
    windows = step.partitions(sum(share.tokens for share in shares) * dtype.itemsize)
    chosen = Chosen(shares, found.cuts, params.seed, windows)
    columns = selection.columns(step, "tokens")
    blocks = step.scatter(partial(scatter_uses, chosen=chosen), columns=columns, partitions=windows)
    shape = Shape(packing.Shape(params.sequence_length, dtype, facts["eos_id"], facts["eos_id"]), params.seed)
    todo = [Task(part(window), payload=window) for window in range(windows)]
    if TOKENIZER in step.inputs or TOKENIZER in step.files:
        todo.append(Task(TOKENIZER, payload=str(step.file(TOKENIZER, f"{TOKENIZER}.json"))))
    totals = step.produce(partial(pack_window, blocks=blocks, chosen=chosen, shape=shape), todo)
    _check(step, shares, found, totals)
    step.ledger = books(shares, found, dtype.itemsize)
    step.note(**_facts(params, facts, shares, totals))


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
        if found.empty[number]:
            parts.append(ledger.entry(found.empty[number], 0, "no_tokens"))
        for entry in parts:
            ledger.add(made, {share.domain: entry})
    return made


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
    }


PACK = Stage(
    name="tokens.pack",
    version=1,
    params=PackParams,
    inputs=("tokens", "plan"),
    optional=("mask", "tokenizer", "buckets"),
    run=pack,
)
