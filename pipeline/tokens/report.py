"""How well vocabularies fit a corpus: figures of several tokenizers side by side, by merges and by fewest tokens.

V ids of a vocabulary, D domains.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline import parquet
from pipeline.errors import ConfigError, DataError
from pipeline.kernels import hashing
from pipeline.schemas import text_buffers
from pipeline.tokens import bytelevel, engine, minimum

ALPHA = 2.5
"""The order of Renyi entropy whose efficiency tells translation quality best (Zouhar et al. 2023, section 4)."""
SHOWN = 10
HELD_AT_MOST = 4
"""Texts are cut back to the size asked for when they are so many times larger."""
AT_ONCE = 4 << 20
NO_EOS = ""
TEXTS = (pa.string(), pa.large_string(), pa.string_view(), pa.binary(), pa.large_binary())
"""Types of a column of texts; bytes are texts if they are UTF-8."""

Texts = dict[str, list[str]]


@dataclass(frozen=True)
class Columns:
    """Where a Parquet file has its text and its domain.

    A file without the latter is a domain, called by its stem, unless a column was named that is not the usual one.
    """

    text: str = "text"
    domain: str = "domain"


class Source(NamedTuple):
    """A Parquet file of texts; where a mask lies beside it, row for row, only rows that its `keep` keeps are read."""

    path: Path
    mask: Path | None = None


def texts_of(sources: Sequence[Source], columns: Columns, most_bytes: int) -> Texts:
    """Return texts by domain, at most about so many bytes: those whose hashes are the smallest, whatever their files.

    Raises:
        DataError: a file cannot be read or has no such column, or there is no text.
    """
    held: list[Held] = []
    size = 0
    for row in _rows(sources, columns):
        held.append(row)
        size += row.bytes
        if size > HELD_AT_MOST * most_bytes:
            held, size = _smallest(held, most_bytes)
    held, _ = _smallest(held, most_bytes)
    if not held:
        kept = " of a document that is kept" if any(source.mask for source in sources) else ""
        raise DataError(
            f"no text{kept} in column {columns.text!r} of {', '.join(str(source.path) for source in sources)}"
        )
    texts: Texts = {}
    for row in held:
        texts.setdefault(row.domain, []).append(row.text)
    return dict(sorted(texts.items()))


class Held(NamedTuple):
    """A text, in the order in which texts are taken."""

    hash: int
    domain: str
    text: str
    bytes: int


def _smallest(held: list[Held], most_bytes: int) -> tuple[list[Held], int]:
    held = sorted(held)
    sums = np.cumsum([row.bytes for row in held])
    some = held[: int(np.searchsorted(sums, most_bytes)) + 1]
    return some, sum(row.bytes for row in some)


def _rows(sources: Sequence[Source], columns: Columns) -> Iterator[Held]:
    """Yield every document that is kept and has a text."""
    for path, mask in sources:
        try:
            read = {path: _names(path, columns)} | ({mask: ("keep",)} if mask else {})
            for batch in parquet.read_zipped(read):
                yield from _held(batch.filter(batch["keep"]) if mask else batch, path, columns)
        except (OSError, pa.ArrowException, UnicodeError) as error:
            raise DataError(f"{path} is not readable Parquet with texts in {columns.text!r}: {error}") from None


def _names(path: Path, columns: Columns) -> tuple[str, ...]:
    """Return the columns that are there: that of texts, and that of domains if the file has it."""
    schema = pq.read_schema(path)
    if columns.text not in schema.names:
        raise DataError(f"{path} has no column {columns.text!r}; it has {', '.join(schema.names)}. Name it by --text")
    if columns.domain not in (*schema.names, Columns.domain):
        raise DataError(
            f"{path} has no column {columns.domain!r}; it has {', '.join(schema.names)}. Name it by --domain, or leave "
            "that out: the file is one domain then"
        )
    kind = schema.field(columns.text).type
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if kind not in TEXTS:
        raise DataError(f"{path}: column {columns.text!r} holds {kind}, not text. Name the column of texts by --text")
    return tuple(dict.fromkeys(name for name in (columns.text, columns.domain) if name in schema.names))


def _held(batch: pa.RecordBatch, path: Path, columns: Columns) -> Iterator[Held]:
    found = batch[columns.text].cast(pa.large_string())
    data, offsets = text_buffers(found)
    hashes, sizes = hashing.murmur128(data, offsets)[:, 0].tolist(), np.diff(offsets).tolist()
    named = batch[columns.domain].to_pylist() if columns.domain in batch.schema.names else [path.stem] * len(found)
    for hash_, domain, text, size in zip(hashes, named, found.to_pylist(), sizes, strict=True):
        if text:
            yield Held(hash_, "(none)" if domain is None else str(domain), text, size)


def report(
    files: Sequence[Path], texts: Texts, sentences: Mapping[str, list[str]] | None = None, least: int = 10
) -> dict[str, Any]:
    """Return the figures of every tokenizer, by merges and, where it is of bytes, by the fewest tokens.

    Args:
        sentences: parallel text; the premium of a language is over the first one, or over `en` if there is one.
        least: a token that comes less often is under-trained.
    """
    sizes = {domain: sum(len(text.encode()) for text in some) for domain, some in texts.items()}
    words = {domain: sum(len(text.split()) for text in some) for domain, some in texts.items()}
    rows = [
        {"tokenizer": str(path), **figures(path, way, texts, sizes, words, least), **_paid(path, way, sentences)}
        for path in files
        for way in ways(path)
    ]
    told = {"bytes": sizes, "words": words, "documents": {d: len(t) for d, t in texts.items()}, "rows": rows}
    return told | ({"sentences": len(next(iter(sentences.values())))} if sentences else {})


def ways(path: Path) -> list[str]:
    """Return the segmentations that a tokenizer can do."""
    vocabulary(path)
    try:
        minimum.minimum_encoder(path)
    except ConfigError:
        return ["bpe"]
    return ["bpe", minimum.NAME]


def encoder(path: Path, way: str, texts: Sequence[str]) -> engine.Encoder:
    """Return what encodes with a tokenizer: the fast engine where it proves equal on `texts`.

    Raises:
        ConfigError: no engine can encode with it.
    """
    if way == minimum.NAME:
        return minimum.minimum_encoder(path)
    return engine.encoder(path, NO_EOS, engine.choose(path, NO_EOS, texts)[0])


def figures(
    path: Path, way: str, texts: Texts, sizes: Mapping[str, int], words: Mapping[str, int], least: int
) -> dict[str, Any]:
    """Return how a tokenizer cuts the corpus, as a whole and by domain, and which of its tokens it hardly has."""
    chosen = encoder(path, way, [text[:10_000] for some in texts.values() for text in some[:20]])
    names, ordinary = vocabulary(path)
    counts_D = {domain: count(chosen, some, len(ordinary)) for domain, some in texts.items()}
    counts_V = np.sum([*counts_D.values()], axis=0)
    rare = ordinary & (counts_V < least)
    return {
        "segmentation": way,
        "vocabulary": len(names),
        **_fit(counts_V, sum(sizes.values()), sum(words.values()), ordinary, least),
        "domains": {d: _fit(c, sizes[d], words[d], ordinary, least) for d, c in counts_D.items()},
        "longest": _longest(names, counts_V),
        "rare": [shown(names.get(int(i), "")) for i in np.flatnonzero(rare)[-SHOWN:]],
    }


def count(chosen: engine.Encoder, texts: Iterable[str], size: int) -> np.ndarray:
    """Return int64 [V], how often each id comes in the texts."""
    counts_V = np.zeros(size, np.int64)
    for some in engine.groups(texts, AT_ONCE):
        counts_V += np.bincount(chosen.encode(some)[0], minlength=size)
    return counts_V


def vocabulary(path: Path) -> tuple[dict[int, str], np.ndarray]:
    """Return (name by id, bool [V] whether an id is a token of the model and not an added one).

    Raises:
        ConfigError: the file is not a tokenizer.json.
    """
    engine.ids(path)  # it can be loaded
    plain = orjson.loads(engine.specification(path, NO_EOS))
    added = {token["id"]: token["content"] for token in plain.get("added_tokens", [])}
    model = plain["model"].get("vocab", {})
    own = {token: name for name, token in model.items()} if isinstance(model, dict) else dict(enumerate(_first(model)))
    ordinary = np.zeros(max([*own, *added], default=-1) + 1, bool)
    ordinary[[token for token in own if token not in added]] = True
    return own | added, ordinary


def _first(model: Iterable[Sequence[Any]]) -> list[str]:
    return [entry[0] for entry in model]


def _fit(counts_V: np.ndarray, size: int, words: int, ordinary: np.ndarray, least: int) -> dict[str, Any]:
    tokens = int(counts_V.sum())
    return {
        "tokens": tokens,
        "bytes_a_token": size / tokens if tokens else 0.0,
        "fertility": tokens / words if words else 0.0,
        "renyi_efficiency": renyi_efficiency(counts_V),
        "unused": int((ordinary & (counts_V == 0)).sum()),
        "under_trained": int((ordinary & (counts_V < least)).sum()),
    }


def renyi_efficiency(counts_V: np.ndarray, alpha: float = ALPHA) -> float:
    """Return H_alpha(p) / log V for the shares p of the ids: 1 where all come equally often, 0 where one alone comes.

    Zouhar et al. 2023, "Tokenization and the Noiseless Channel", definition 3.4: H_alpha = log(sum p^alpha) /
    (1 - alpha). No ids at all, or a vocabulary of one: 0.
    """
    total = counts_V.sum()
    if not total or len(counts_V) < 2:
        return 0.0
    shares = counts_V[counts_V > 0] / total
    return max(0.0, float(np.log((shares**alpha).sum()) / (1 - alpha) / np.log(len(counts_V))))


def _paid(path: Path, way: str, sentences: Mapping[str, list[str]] | None) -> dict[str, Any]:
    """Return what languages pay for the same sentences: tokens over those of the reference, and how unequal that is."""
    if not sentences:
        return {}
    chosen = encoder(path, way, [text for some in sentences.values() for text in some[:20]])
    tokens = {name: len(chosen.encode(some)[0]) for name, some in sentences.items()}
    reference = "en" if "en" in tokens else next(iter(tokens))
    if not tokens[reference]:
        raise DataError(f"the parallel text of {reference!r} is empty, so nothing can be compared with it")
    return {
        "reference": reference,
        "premiums": {name: number / tokens[reference] for name, number in tokens.items()},
        "gini": gini(list(tokens.values())),
    }


def gini(costs: Sequence[float]) -> float:
    """Return the Gini coefficient: 0 where all are equal, (n - 1) / n where one of n has everything; 0 of nothing."""
    values = np.sort(np.asarray(costs, float))
    if not values.sum():
        return 0.0
    ranks = np.arange(1, len(values) + 1)
    return float((2 * ranks - len(values) - 1) @ values / (len(values) * values.sum()))


def _longest(names: Mapping[int, str], counts_V: np.ndarray) -> list[dict[str, Any]]:
    used = [int(token) for token in np.flatnonzero(counts_V)]
    long = sorted(used, key=lambda token: (-len(names.get(token, "")), token))[:SHOWN]
    return [{"token": shown(names.get(token, "")), "count": int(counts_V[token])} for token in long]


def shown(name: str) -> str:
    """Return a token as text, where it is of bytes."""
    text = bytelevel.to_bytes(name)
    return name if text is None else text.decode(errors="replace")
