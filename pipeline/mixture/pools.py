"""What the proxies read: a vocabulary, and of every domain a pool of tokens, each written once and mapped by all runs.

A pool is the beginning of its domain's documents in the order of their draws, so a smaller pool lies within a larger
one. That a proxy repeats a domain as often as the target will, a pool has

    A_d x B / T   tokens,   at most B

with B tokens of the proxy's budget, T of the target's, and A_d available of the domain: by the plan, or else its bytes
over the bytes a token has in the sample that the vocabulary was learned from. With T unknown, a pool is the whole
domain up to B tokens, more than which no run can read.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from tokenizers import Tokenizer

from pipeline.corpus import DATA
from pipeline.errors import DataError
from pipeline.histogram import Histogram
from pipeline.kernels.hashing import draw
from pipeline.ledger import Tally
from pipeline.mixture.draws import Draw, by_domain, columns, surveyed, texts
from pipeline.mixture.held_out import Open
from pipeline.mixture.rows import Pool
from pipeline.mixture.train_params import TrainParams
from pipeline.proxy import vocabulary
from pipeline.schemas import doc_ids
from pipeline.shuffle import Blocks
from pipeline.stage import Step
from pipeline.store import Attempt
from pipeline.tasks import Task

STREAM = 0x9001
"""The draws of the pools' documents."""
SAMPLE_BYTES_A_TOKEN = 1000
"""The vocabulary is learned from so many bytes of text for each of its tokens, the domains alike."""
MARGIN = 1.5
"""So much more text is sent than the sample says is needed, since bytes a token vary."""
ROUND = "scratch/pools"
TOKENIZER = "tokenizer.json"
ENCODED_AT_ONCE = 512


@dataclass(frozen=True)
class Budgets:
    """The tokens of the target's training, and what it has of every domain; None if not known."""

    target: int | None = None
    available: Mapping[str, int] | None = None


@dataclass(frozen=True)
class Amount:
    """A domain's tokens available, those its pool was to have and has, its documents, and whether it is the domain."""

    available_tokens: int
    wanted_tokens: int
    pool_tokens: int
    pool_documents: int
    whole: bool

    @property
    def short(self) -> bool:
        """True if the pool is smaller than it was to be, and not because the domain is."""
        return self.pool_tokens < self.wanted_tokens and not self.whole

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Pools:
    """Where the pools lie, of which domains, how large they are, and how many tokens the vocabulary has."""

    folder: Path
    domains: tuple[str, ...]
    amounts: Mapping[str, Amount]
    vocabulary: int


def budgets(params: TrainParams, plan: Path | None) -> Budgets:
    """Return what a plan of mixture.plan and the params say of the target.

    Raises:
        DataError: the file is no plan.
    """
    if plan is None:
        return Budgets(params.target_tokens)
    try:
        content = json.loads(plan.read_text(encoding="utf-8"))
        available = {name: int(entry["available_tokens"]) for name, entry in content["domains"].items()}
        return Budgets(params.target_tokens or int(content["tokens"]), available)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"{plan} is no plan of mixture.plan, with `tokens` and the `available_tokens` of `domains`: {error}"
        ) from None


def made(step: Step, params: TrainParams, eligible: Open, target: Budgets) -> Pools:
    """Learn the vocabulary, draw the pools, encode each in a task of its own.

    Raises:
        DataError: there is no document, or the plan lacks a domain.
    """
    drawing = Draw(params.seed, STREAM)
    found = surveyed(step, drawing, eligible.rows)
    if not found:
        raise DataError(f"{step.name}: no document is kept; look at what the steps before dropped")
    domains = tuple(sorted(found))
    tokenizer, bytes_a_token = _learned(step, params, drawing, found, eligible)
    available = _available(step, target, found, bytes_a_token)
    wanted = [_wanted(params.budget, target, available[domain]) for domain in domains]
    last, whole = {}, {}
    for domain, tokens in zip(domains, wanted, strict=True):
        place = found[domain].reaching_weight(int(tokens * bytes_a_token[domain] * MARGIN))
        last[domain], whole[domain] = int(found[domain].bins[place]), place + 1 == len(found[domain].bins)
    send = partial(_sent, drawing=drawing, last=last, eligible=eligible, domains=domains)
    blocks = step.scatter(send, columns=columns(step, "text"), partitions=len(domains))
    work = partial(_encode, blocks=blocks, drawing=drawing, wanted=wanted, tokenizer=step.root / DATA / TOKENIZER)
    # In a round of its own, swept with the scratch: what a run reads is no part of what the stage makes.
    told = step.foreman.run(work, [Task(_name(i), payload=i) for i in range(len(domains))], round_name=ROUND)
    amounts = {}
    for place, (domain, tokens) in enumerate(zip(domains, wanted, strict=True)):
        counted = told[_name(place)]
        all_of_it = whole[domain] and bool(counted["left"])
        amounts[domain] = Amount(
            available[domain], tokens, int(counted["tokens"]), int(counted["documents"]), all_of_it
        )
    return Pools(step.root / ROUND, domains, amounts, tokenizer.get_vocab_size())


def opened(folder: Path, place: int) -> Pool:
    """Return the pool of a domain, mapped, not read."""
    tokens, bounds = (np.load(folder / f"{_name(place)}.{part}.npy", mmap_mode="r") for part in ("tokens", "bounds"))
    return Pool(tokens, bounds)


def _learned(
    step: Step, params: TrainParams, drawing: Draw, found: Mapping[str, Histogram], eligible: Open
) -> tuple[Tokenizer, dict[str, float]]:
    """Write the vocabulary and return it, with the bytes that a token has on average in each domain's sample."""
    each = SAMPLE_BYTES_A_TOKEN * params.model.vocabulary // len(found)
    last = {domain: int(histogram.bins[histogram.reaching_weight(each)]) for domain, histogram in found.items()}
    sample = texts(step, drawing, last, eligible.rows, each)
    words = {domain: [document.text for document in sample[domain]] for domain in sorted(sample)}
    tokenizer = vocabulary.trained([text for some in words.values() for text in some], params.model.vocabulary)
    step.write_file(TOKENIZER, tokenizer.to_str().encode())
    sizes = {domain: sum(len(text.encode()) for text in some) for domain, some in words.items()}
    counts = {domain: sum(map(len, vocabulary.encoded(tokenizer, some))) for domain, some in words.items()}
    return tokenizer, {domain: sizes[domain] / counts[domain] for domain in words}


def _available(
    step: Step, target: Budgets, found: Mapping[str, Histogram], bytes_a_token: Mapping[str, float]
) -> dict[str, int]:
    if target.available is None:
        return {domain: round(found[domain].total_weight / bytes_a_token[domain]) for domain in found}
    if missing := sorted(found.keys() - target.available.keys()):
        raise DataError(
            f"{step.name}: the plan knows no domain {missing[0]!r} (it has {', '.join(target.available)}); wire the "
            "plan of these documents, and `buckets` where the plan has them"
        )
    return {domain: target.available[domain] for domain in found}


def _wanted(budget: int, target: Budgets, available: int) -> int:
    """Return how many tokens a pool is to have; a proxy that sees as much as the target reads whole domains."""
    if target.target is None or target.target <= budget:
        return budget
    return min(budget, max(1, round(available * budget / target.target)))


def _sent(
    batch: pa.RecordBatch, *, drawing: Draw, last: Mapping[str, int], eligible: Open, domains: Sequence[str]
) -> tuple[pa.RecordBatch, np.ndarray]:
    """Return the drawn documents of a batch, each for the partition of its domain."""
    batch = batch.filter(pa.array(eligible.rows(batch) & drawing.rows(batch, last)))
    place_N = np.empty(batch.num_rows, np.uint32)
    for domain, rows in by_domain(batch):
        place_N[rows] = domains.index(domain)
    return batch.select(["doc_id", "text"]), place_N


def _encode(
    task: Task, attempt: Attempt, *, blocks: Blocks, drawing: Draw, wanted: Sequence[int], tokenizer: Path
) -> Tally:
    """Write the first tokens of a domain, its documents in the order of their draws; equal draws by doc_id."""
    table = blocks.read(task.payload)
    assert table is not None  # a domain has a document, or it is none
    ids_N2 = doc_ids(table["doc_id"])
    order = np.lexsort((ids_N2[:, 1], ids_N2[:, 0], draw(drawing.seed, ids_N2, drawing.stream)))
    found: list[np.ndarray] = []
    left, words = wanted[task.payload], vocabulary.opened(tokenizer)
    for begin in range(0, len(order), ENCODED_AT_ONCE):
        some = table["text"].take(pa.array(order[begin : begin + ENCODED_AT_ONCE])).to_pylist()
        for ids in vocabulary.encoded(words, some):
            found.append(ids[:left])
            left -= len(found[-1])
            if not left:
                break
        if not left:
            break
    bounds = np.cumsum([0, *map(len, found)])
    for part, values in (("tokens", np.concatenate(found)), ("bounds", bounds)):
        np.save(attempt.path(f"{task.key}.{part}.npy"), values)
    return {task.key: {"tokens": int(bounds[-1]), "documents": len(found), "left": left}}


def _name(place: int) -> str:
    return f"pool-{place:05d}"
