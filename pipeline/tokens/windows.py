"""One window packed: its documents cut to pieces, the pieces put into sequences, the sequences laid out and written."""

import shutil
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from pipeline.kernels import hashing, packed_rows, packing
from pipeline.kernels.document_cost import cost
from pipeline.kernels.packing import Pieces
from pipeline.kernels.permutation import key_of, mix64
from pipeline.ledger import Tally
from pipeline.schemas import doc_ids, text_buffers
from pipeline.shuffle import Blocks
from pipeline.store import Attempt
from pipeline.tasks import Task
from pipeline.tokens import selection, weights
from pipeline.tokens.column import token_values
from pipeline.tokens.format import PADDING, SEGMENT, WEIGHT, write_part
from pipeline.tokens.pack_params import PackParams
from pipeline.tokens.selection import Share
from pipeline.tokens.uses import CARRIED, Chosen, no_uses

TOKENIZER = "tokenizer"
_ORDER_KEY = 2


class Shape(NamedTuple):
    """How the sequences look, how documents share them, and whether weights are laid out beside the tokens."""

    row: packed_rows.Shape
    params: PackParams
    weighted: bool


def pack_window(task: Task, attempt: Attempt, *, blocks: Blocks, chosen: Chosen, shape: Shape) -> Tally:
    """Pack one window; return what it holds by domain, and what was cut."""
    if task.key == TOKENIZER:
        return copy_tokenizer(task, attempt)
    table = blocks.read(task.payload)
    table = no_uses() if table is None else table.combine_chunks()
    order = _order(table)
    uses = table.drop_columns([name for name in CARRIED if name in table.column_names]).take(pa.array(order))
    tokens, first, plain = token_values(table["tokens"], shape.row.dtype)
    first, plain = first[order], plain[order]
    costs = cost(plain, chosen.rule)
    taken = _taken(uses, costs.packed, chosen)
    pieces, placed = _arranged(taken, uses["domain"].to_numpy(), shape.params)
    bins = packing.group(placed)
    seed = key_of(shape.params.seed, _ORDER_KEY, task.payload)
    bins = packing.bins_in_order(bins, _shuffled(len(bins.offsets) - 1, seed))
    rows = packed_rows.lay_out(tokens, first, plain, pieces, bins, shape.row)
    beside = _weights(table, order, pieces, bins, shape) if shape.weighted else None
    name = write_part(attempt.path, task.key, rows.tokens, rows.offsets, _segments(rows, pieces, uses), beside)
    attempt.rows(name, len(rows.tokens))
    return _tally(chosen.shares, uses["domain"].to_numpy(), costs.packed, taken, pieces, rows)


def _order(table: pa.Table) -> np.ndarray:
    """Return the order of the uses by their hash; uses with equal keys are equal in all that is written of them.

    Copies of a document may be in different buckets, which are domains here, and weigh differently.
    """
    ids = doc_ids(table["doc_id"])
    keys = [table["domain"].to_numpy(), table["pass"].to_numpy(), ids[:, 1], ids[:, 0], table["hash"].to_numpy()]
    if weights.WEIGHTS in table.column_names:
        keys = [hashing.murmur128(*text_buffers(table[weights.WEIGHTS].combine_chunks()))[:, 0], *keys]
    return np.lexsort(keys)


def _shuffled(count: int, key: int) -> np.ndarray:
    return np.argsort(mix64(np.arange(count, dtype=np.uint64) ^ np.uint64(key)), kind="stable")


def _taken(uses: pa.Table, whole: np.ndarray, chosen: Chosen) -> np.ndarray:
    """Return [N] int64, the tokens taken of each use: all, or up to its domain's cut in the last pass."""
    taken, left = whole.copy(), chosen.cuts["tokens"].copy()
    domain, draws = uses["domain"].to_numpy(), uses["draw"].to_numpy()
    cut = uses["last"].to_numpy() & selection.at(chosen.cuts[domain], draws, doc_ids(uses["doc_id"]))
    for row in np.flatnonzero(cut).tolist():  # one a domain, or as many as are equal to it
        taken[row] = min(left[domain[row]], whole[row])
        left[domain[row]] -= taken[row]
    return taken


def _arranged(taken: np.ndarray, domain: np.ndarray, params: PackParams) -> tuple[Pieces, np.ndarray]:
    """Return the pieces of the uses and the bin of each; no bin has two domains where `one_domain` is asked."""
    if not params.one_domain:
        return arranged(taken, params)
    opened, found = 0, []
    line = np.argsort(domain, kind="stable")
    for mine in np.split(line, np.flatnonzero(np.diff(domain[line])) + 1):
        pieces, bins = arranged(taken[mine], params)
        found.append((*pieces._replace(document=mine[pieces.document].astype(np.int32)), bins + opened))
        opened += int(bins.max()) + 1 if len(bins) else 0
    *parts, bins = (np.concatenate(column) for column in zip(*found, strict=True))
    return Pieces(*parts), bins


def arranged(taken: np.ndarray, params: PackParams) -> tuple[Pieces, np.ndarray]:
    """Return the pieces of documents of so many tokens, and [P] int32, the bin of each."""
    length = params.sequence_length
    if params.mode == "concat_chunk":
        return packing.concatenate(taken, length)
    pieces = packing.split(taken, length)
    if params.mode == "pad":
        return pieces, np.arange(len(pieces.length), dtype=np.int32)
    if params.mode == "spfhp":
        return pieces, packing.shortest_first(pieces.length, length, params.depth or length)
    return pieces, packing.best_fit(pieces.length, length)


def _weights(table: pa.Table, order: np.ndarray, pieces: Pieces, bins: packing.Bins, shape: Shape) -> np.ndarray:
    """Return [B, L] float16, the weights laid out as the tokens are."""
    values, first, plain = token_values(table[weights.WEIGHTS], weights.BITS)
    bos = None if shape.row.bos_id is None else weights.ONE
    row = packed_rows.Shape(shape.row.sequence_length, weights.BITS, weights.ONE, 0, bos)
    return packed_rows.lay_out(values, first[order], plain[order], pieces, bins, row).tokens.view(WEIGHT)


def _segments(rows: packed_rows.Rows, pieces: Pieces, uses: pa.Table) -> np.ndarray:
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


def _tally(
    shares: list[Share],
    domain: np.ndarray,
    whole: np.ndarray,
    taken: np.ndarray,
    pieces: Pieces,
    rows: packed_rows.Rows,
) -> Tally:
    lost = np.where(taken > 0, whole - taken, 0)
    counted = {
        "tokens": taken,
        "uses": taken > 0,
        "longer_than_a_sequence": taken > rows.tokens.shape[1],
        "cut_into_pieces": np.bincount(pieces.document, minlength=len(taken)) > 1,
        "cut_by_the_budget": lost > 0,
        "tokens_cut_by_the_budget": lost,
    }
    # Exact: a float64 holds every whole number that a window can reach.
    by_domain = {name: np.bincount(domain, values) for name, values in counted.items()}
    domains: Tally = {
        shares[number].domain: {name: int(sums[number]) for name, sums in by_domain.items()}
        for number in np.unique(domain).tolist()
    }
    sums = {"sequences": len(rows.tokens), "positions": rows.tokens.size, "segments": len(rows.end)}
    return {"domains": domains, "pieces": _by_pieces(rows)} | sums


def _by_pieces(rows: packed_rows.Rows) -> Tally:
    """Return how many sequences hold 2^k to below 2^(k + 1) pieces of documents, by k."""
    real = np.concatenate([[0], np.cumsum(rows.piece >= 0)])[rows.offsets]
    bins, counts = np.unique(np.frexp(np.diff(real))[1] - 1, return_counts=True)
    return {f"{k:02}": count for k, count in zip(bins.tolist(), counts.tolist(), strict=True)}


def copy_tokenizer(task: Task, attempt: Attempt) -> Tally:
    """Lay the tokenizer beside the sequences, so that they can be read without anything else."""
    shutil.copyfile(task.payload, attempt.path(f"{TOKENIZER}.json"))
    return {}


def pieces_by_sequence(totals: Tally) -> list[int]:
    """Return how many sequences hold 2^k <= pieces < 2^(k + 1) at place k."""
    pieces: dict[str, Any] = totals.get("pieces", {})
    top = max((int(place) for place in pieces), default=-1)
    return [pieces.get(f"{k:02}", 0) for k in range(top + 1)]
