"""Columns as numbers: which input offers which column, and the user's own text columns read as numbers."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.corpus import Corpus
from pipeline.errors import DataError
from pipeline.stage import Step

SCORES = "scores"
SOURCE = "source_id"
"""It helps to find a document whose number cannot be read; asked for where its own columns are read as numbers."""


def located(step: Step, wanted: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    """Return by role the columns to ask of it; a corpus of scores goes before the documents.

    Raises:
        DataError: no input has a column, or two corpora of scores have it.
    """
    roles = sorted(role for role in step.inputs if role == SCORES or role.startswith(f"{SCORES}."))
    offers = {role: _names(step.inputs[role], wanted) for role in (*roles, "documents")}
    found: dict[str, tuple[str, ...]] = {}
    for column in wanted:
        there = [role for role in roles if column in offers[role]]
        if len(there) > 1:
            raise DataError(
                f"{step.name}: {' and '.join(there)} both have a column {column!r}; give the models of quality.score "
                "names of their own, or leave out one input"
            )
        if not there and column not in offers["documents"]:
            raise DataError(f"{step.name}: no input has a column {column!r}; there are {_listed(offers)}")
        role = there[0] if there else "documents"
        found[role] = (*found.get(role, ()), column)
    return found


def _names(corpus: Corpus, wanted: tuple[str, ...]) -> tuple[str, ...]:
    """The columns of a corpus; one without a shard has none that could be wrong, so it has all."""
    first = next(iter(corpus.paths()), None)
    return wanted if first is None else tuple(pq.read_schema(first).names)


def _listed(offers: dict[str, tuple[str, ...]]) -> str:
    return "; ".join(f"{', '.join(names)} in {role}" for role, names in offers.items())


def numbers(batch: pa.RecordBatch, column: str, among_N: np.ndarray) -> np.ndarray:
    """Return [N] the numbers of a column, NaN where there is none: float32 if it is of that type, else float64.

    Of a text column only the rows `among_N` are read; an empty text is no number.

    Raises:
        DataError: one of the rows holds a word, or an infinite number; says which.
    """
    array = batch[column]
    if pa.types.is_string(array.type) or pa.types.is_large_string(array.type):
        array = _parsed(batch, column, among_N)
    elif not pa.types.is_float32(array.type):
        array = _cast(array, column)
    values = np.asarray(array.fill_null(np.nan))
    if len(infinite := np.flatnonzero(np.isinf(values) & among_N)):
        raise _refused(batch, column, int(infinite[0]))
    return values


def _parsed(batch: pa.RecordBatch, column: str, among_N: np.ndarray) -> pa.Array:
    texts = pc.utf8_trim_whitespace(batch[column])
    texts = pc.if_else(pc.and_(pa.array(among_N), pc.not_equal(texts, "")), texts, pa.scalar(None, texts.type))
    try:
        return pc.cast(texts, pa.float64())
    except pa.ArrowInvalid:
        row = next(row for row in range(len(texts)) if not _is_number(texts[row]))
        raise _refused(batch, column, row) from None


def _is_number(text: pa.Scalar) -> bool:
    try:
        text.cast(pa.float64())
    except pa.ArrowInvalid:
        return False
    return True


def _cast(array: pa.Array, column: str) -> pa.Array:
    try:
        return pc.cast(array, pa.float64(), safe=False)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        raise DataError(f"quality.select: the column {column!r} is of type {array.type}, not of numbers") from None


def _refused(batch: pa.RecordBatch, column: str, row: int) -> DataError:
    doc_id, domain = batch["doc_id"][row].as_py().hex(), batch["domain"][row].as_py()
    source = f" (source id {batch[SOURCE][row].as_py()!r})" if SOURCE in batch.schema.names else ""
    return DataError(
        f"quality.select: document {doc_id} of {domain!r}{source} has {column} = "
        f"{batch[column][row].as_py()!r}, which is no finite number; mend the source, or judge by another column"
    )
