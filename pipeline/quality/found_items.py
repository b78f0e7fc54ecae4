"""Which benchmark items documents have, weighed from the n-grams they share, and what is told of it.

Letters: N documents of a batch, H hits, M pairs of a document and a passage that share an n-gram.
"""

import json
from collections import Counter
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from pipeline import places
from pipeline.corpus import Corpus
from pipeline.kernels import overlap, word_places
from pipeline.ledger import Tally
from pipeline.places import Place
from pipeline.quality import benchmarks
from pipeline.quality.benchmarks import Known, Sought
from pipeline.schemas import text_buffers

SHOWN = 20
EXAMPLES = 12
CHARACTERS = 300


class Hits(NamedTuple):
    """N-grams of the index in documents, in reading order; each int64 [H]."""

    documents: np.ndarray  # rows of the batch
    places: np.ndarray  # number of the first word
    keys: np.ndarray
    starts: np.ndarray  # bytes of the document
    ends: np.ndarray


class Pairs(NamedTuple):
    """How much of a passage a document has, by document; each [M]."""

    documents: np.ndarray
    passages: np.ndarray
    items: np.ndarray
    shares: np.ndarray  # of the passage's n-grams
    runs: np.ndarray  # words in a row
    found: np.ndarray  # bool


def pairs(hits: Hits, known: Sought, least_share: float, least_run: int | None) -> Pairs:
    """Return all pairs of hits in reading order."""
    index = known.index
    documents, passages, counts, runs = overlap.weigh(hits.documents, hits.places, hits.keys, index)
    shares = counts / index.totals[passages]
    found = shares >= least_share
    if least_run is not None:
        # The words "1, 2, 1, 2, 1 ..." run on with two n-grams: as many different ones as the run needs must be there.
        runs = np.minimum(runs, counts + index.ngram - 1)
        found |= runs >= least_run
    return Pairs(documents, passages, known.items[passages], shares, runs, found)


def best(pairs: Pairs, documents: int) -> tuple[np.ndarray, np.ndarray]:
    """Return (items int64 [N], shares float64 [N]): the item found that a document has most of, and its share.

    Where none is found the item is -1 and the share the largest there is. Of equal shares the longer run is more, then
    the item that comes first.
    """
    items_N, shares_N = np.full(documents, -1, np.int64), np.zeros(documents)
    np.maximum.at(shares_N, pairs.documents, pairs.shares)
    order = np.lexsort((-pairs.passages, pairs.runs, pairs.shares, pairs.documents))
    order = order[pairs.found[order]]
    # The last one written stays.
    items_N[pairs.documents[order]] = pairs.items[order]
    shares_N[pairs.documents[order]] = pairs.shares[order]
    return items_N, shares_N


def counted(batch: pa.RecordBatch, result: pa.RecordBatch) -> Tally:
    """Return how many documents an item was found in, by domain and by item, and an example of each task."""
    found = np.asarray(result["benchmark"].is_valid())
    rows = pa.table(
        {
            "domain": batch["domain"],
            "item": result["benchmark"],
            "doc_id": batch["doc_id"],
            "address": batch["address"],
            "overlap": result["overlap"],
        }
    ).filter(pa.array(found))
    tally: Tally = {"domains": Counter(rows["domain"].to_pylist()), "documents": Counter(rows["item"].to_pylist())}
    firsts: dict[str, dict[str, Any]] = {}
    for row in sorted(rows.to_pylist(), key=lambda row: (row["doc_id"], row["address"])):
        firsts.setdefault(row["item"].partition("/")[0], row)
    # A tally's leaves are numbers that add up, so an example is a key that comes once.
    keys = {json.dumps([row["doc_id"].hex(), row["address"], row["item"]]): row for row in firsts.values()}
    return tally | {"examples": {key: row["overlap"] for key, row in keys.items()}}


def noted(documents: Corpus, known: Known, tally: Tally) -> dict[str, Any]:
    """Return the facts: documents by domain and by task, the items most often found, examples with their texts."""
    by_item = tally.get("documents", {})
    number_of = {name: number for number, name in enumerate(known.names.to_pylist())}
    tasks: dict[str, dict[str, int]] = {
        task: {"items": 0, "items_found": 0, "documents": 0} for task in known.tasks.unique().to_pylist()
    }
    for task in known.tasks.to_pylist():
        tasks[task]["items"] += 1
    for name, count in by_item.items():
        books = tasks[known.tasks[number_of[name]].as_py()]
        books["items_found"] += 1
        books["documents"] += count
    most = sorted(by_item.items(), key=lambda pair: (-pair[1], number_of[pair[0]]))[:SHOWN]
    return {
        "found_by_domain": tally.get("domains", {}),
        "found_by_task": tasks,
        "most_found": [{"benchmark": name, "documents": count} for name, count in most],
        "examples": _examples(documents, known, number_of, tally.get("examples", {})),
    }


def _examples(
    documents: Corpus, known: Known, number_of: dict[str, int], found: dict[str, float]
) -> list[dict[str, Any]]:
    """Return one example a task, the document with the smallest id: what it says where the item says it, too."""
    examples: dict[str, dict[str, Any]] = {}
    for key, share in sorted(found.items()):
        doc_id, address, name = json.loads(key)
        task = known.tasks[number_of[name]].as_py()
        if task not in examples and len(examples) < EXAMPLES:
            place = Place(documents.manifest.shards[address >> 32].name, address & 0xFFFFFFFF)
            _, row = next(places.values(documents, [place], ("text", "domain")))
            text, said = excerpts(row["text"], number_of[name], known)
            example = {"task": task, "benchmark": name, "doc_id": doc_id, "domain": row["domain"], "overlap": share}
            examples[task] = example | {"text": text, "item": said}
    return list(examples.values())


def excerpts(text: str, item: int, known: Known) -> tuple[str, str]:
    """Return what a document says from the first n-gram of an item on, and the item from that n-gram on."""
    index, texts = known.index, pa.array([text], pa.large_string())
    _, spots, keys = overlap.seek(*benchmarks.words(texts), index)
    for spot, key in zip(spots.tolist(), keys.tolist(), strict=True):
        for passage in index.passages[index.starts[key] : index.starts[key + 1]].tolist():
            if known.items[passage] == item:
                own = known.texts.slice(passage, 1)
                _, there, own_keys = overlap.seek(*benchmarks.words(own), index)
                at = there[own_keys == key][0]
                return _from(texts, spot), _from(own, at)
    return "", ""


def _from(texts: pa.Array, word: int) -> str:
    """Return the characters of a text from a word on."""
    one = np.zeros(1, np.int64)
    start = word_places.locate(*text_buffers(texts), one, one + word, one + 1)[0, 0]
    said = texts[0].as_py().encode()[start : start + 8 * CHARACTERS].decode(errors="ignore")
    return " ".join(said.split())[:CHARACTERS]
