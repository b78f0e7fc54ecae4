"""Corpora to select from: documents with columns of numbers, cut into shards in any order."""

import numpy as np
import pyarrow as pa

from pipeline.quality.select import SELECT
from pipeline.quality.select_params import SelectParams
from pipeline.schemas import mask
from tests.conftest import documents_table, read, run_stage, write_corpus

DOMAINS = ("web", "forum", "books")


def rows(count, seed=0, levels=None, missing=0.0):
    """Dicts of text, domain, keep, tokens and the columns good, fine (float32) and rating (text of a number)."""
    rng = np.random.default_rng(seed)

    def numbers():
        drawn = rng.random(count, np.float32) if levels is None else rng.choice(np.float32(levels), count)
        return [None if gone else value for value, gone in zip(drawn, rng.random(count) < missing, strict=True)]

    columns = {"good": numbers(), "fine": numbers(), "rating": rng.integers(1, 6, count).astype(np.float32)}
    result = []
    for i in range(count):
        row = {"text": f"text {i} " + "x" * int(rng.integers(0, 200)), "domain": str(rng.choice(DOMAINS))}
        row |= {"keep": bool(rng.random() < 0.9), "tokens": int(rng.integers(0, 90))}
        result.append(row | {name: values[i] for name, values in columns.items()})
    return result


def corpora(root, given, shards=3, order=None):
    """Write the rows: `good` and `fine` in corpora of scores, `rating` in a text column of the documents."""
    order = list(range(len(given)) if order is None else order)
    cuts = [[given[i] for i in order[len(order) * s // shards : len(order) * (s + 1) // shards]] for s in range(shards)]

    def write(name, schema, columns):
        tables = [pa.table([[row[c] for row in cut] for c in columns], schema=schema) for cut in cuts]
        return write_corpus(root / name, tables)

    documents = [
        documents_table([(r["text"], r["domain"]) for r in cut], rating=[_text(r["rating"]) for r in cut])
        for cut in cuts
    ]
    kept = [{"keep": r["keep"], "reason": None if r["keep"] else "exact_duplicate"} for cut in cuts for r in cut]
    for row, state in zip([r for cut in cuts for r in cut], kept, strict=True):
        row |= state
    return {
        "documents": write_corpus(root / "documents", documents),
        "scores": write("good", pa.schema([("good", pa.float32())]), ["good"]),
        "scores.1": write("fine", pa.schema([("fine", pa.float32())]), ["fine"]),
        "tokens": write("tokens", pa.schema([("length", pa.int64())]), ["tokens"]),
        "mask": write("mask", mask(), ["keep", "reason"]),
    }


def _text(value):
    return "" if value is None else f" {value:g}"


def select(root, inputs, **params):
    return run_stage(root, SELECT, SelectParams(**params), **inputs)


def documents_of(inputs, given):
    """The rows as the twin takes them, with doc_id and bytes."""
    table = read(inputs["documents"])
    by_text = {row["text"]: row for row in given}
    names = zip(table["doc_id"].to_pylist(), table["text"].to_pylist(), table["bytes"].to_pylist(), strict=True)
    return [by_text[text] | {"doc_id": doc_id, "bytes": size} for doc_id, text, size in names]


def decisions(corpus, documents, *more):
    """(keep, reason, ...) by doc_id."""
    ids, table = read(documents)["doc_id"].to_pylist(), read(corpus)
    columns = [table[name].to_pylist() for name in ("keep", "reason", *more)]
    return dict(zip(ids, zip(*columns, strict=True), strict=True))
