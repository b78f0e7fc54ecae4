"""Packed sequences described: shape, fill, tokens by domain, and one sequence with its segments as text again.

The tokenizer lies beside the sequences, or is found by identity: their manifest names the tokens it packed, theirs the
tokenizer, which is a corpus beside them or a file that some recipe on this root names and whose checksum is the same.
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pipeline import describe_provenance, records, store
from pipeline.corpus import DATA, Corpus
from pipeline.description import Description, split
from pipeline.errors import ConfigError, DataError
from pipeline.identity import SHORT
from pipeline.tokens.format import PADDING, TOKENIZER, Packed, Part, begins, read_packed

TEXT = 600
"""Characters of a segment's text that an example holds."""
SEGMENTS = 12
SUMMARISED = (
    *("sequence_length", "dtype", "eos_id", "pad_id", "vocab_size", "domains", "tokens"),
    *("sequences", "padding", "fill"),
)

Decoder = Callable[[Sequence[int]], str]


def sequences(corpus: Corpus, row: int | None, damage: tuple[str, ...] | None) -> Description:
    """Return the description of packed sequences.

    Raises:
        ConfigError: there is no such row.
        DataError: the manifest does not describe packed sequences, or a file is missing.
    """
    packed = read_packed(corpus.root)
    places = packed.rows * packed.sequence_length
    summary = {
        "fingerprint": packed.fingerprint,
        "shape": f"{packed.rows:,} sequences of {packed.sequence_length:,}",
        "dtype": packed.dtype.name,
        "tokens": packed.tokens,
        "padding": places - packed.tokens,
        "fill": f"{100 * packed.tokens / places:.3f} %" if places else None,
        "vocabulary": packed.vocab_size,
        "eos_id": packed.eos_id,
        "pad_id": packed.pad_id,
        "bytes": corpus.manifest.bytes + corpus.manifest.files.bytes,
        "parts": len(packed.parts),
    }
    noted, facts = split({name: value for name, value in corpus.manifest.facts.items() if name not in SUMMARISED})
    return Description(
        kind="sequences",
        path=str(corpus.root),
        summary=summary,
        tables={"domains": by_domain(packed)} | noted,
        details={"params": corpus.manifest.params, "facts": facts},
        example=example(corpus, row),
        damage=damage,
    )


def by_domain(packed: Packed) -> list[dict[str, Any]]:
    """Return tokens, segments and share of each domain, counted from the segments."""
    tokens, pieces = np.zeros(PADDING + 1, np.int64), np.zeros(PADDING + 1, np.int64)
    for part in packed.parts:
        _, offsets, segments = part.open()
        lengths = segments["end"] - begins(offsets, segments)
        # Exact: a float64 holds every whole number that a part can reach.
        tokens += np.bincount(segments["domain"], lengths, minlength=len(tokens)).astype(np.int64)
        pieces += np.bincount(segments["domain"], minlength=len(pieces))
    whole = int(tokens[:PADDING].sum())
    rows = []
    for domain, name in [*enumerate(packed.domains), (PADDING, "(padding)")]:
        share = None if domain == PADDING or not whole else f"{100 * tokens[domain] / whole:.1f} %"
        rows.append({"domain": name, "tokens": int(tokens[domain]), "share": share, "segments": int(pieces[domain])})
    return rows


def example(corpus: Corpus, row: int | None) -> dict[str, Any]:
    """Return one sequence: its segments with their document, domain and text. {} if there are none.

    Of a row that was asked for, each document's source is told as well: that reads the doc_ids of all documents.

    Raises:
        ConfigError: there is no such sequence.
    """
    packed = read_packed(corpus.root)
    if not packed.rows and not row:
        return {}
    asked, row = row is not None, row or 0
    if not 0 <= row < packed.rows:
        raise ConfigError(f"row {row:,}: {corpus.root} has sequences 0 to {packed.rows - 1:,}")
    part, place = _part_of(packed, row)
    rows, offsets, segments = part.open()
    tokens, mine = rows[place], segments[offsets[place] : offsets[place + 1]]
    text, source = decoder(corpus)
    found = {"sequence": row, "tokenizer": source, "segments": []}
    shown = mine if asked else mine[:SEGMENTS]
    ids = [segment["doc_id"].tobytes() for segment in shown if segment["domain"] != PADDING]
    sources = describe_provenance.sources(corpus, ids) if asked else {}
    listed = [_segment(packed, tokens, *pair, text) for pair in _bounds(shown)]
    listed = [segment | sources.get(bytes.fromhex(segment.get("doc_id", "")), {}) for segment in listed]
    more = [{"more": f"{len(mine) - SEGMENTS} more segments"}] if len(mine) > len(shown) else []
    return found | {"segments": listed + more}


def _part_of(packed: Packed, row: int) -> tuple[Part, int]:
    for part in packed.parts:
        if row < part.rows:
            return part, row
        row -= part.rows
    raise AssertionError("the caller has checked the row")


def _bounds(segments: np.ndarray) -> Iterator[tuple[int, np.void]]:
    start = 0
    for segment in segments:
        yield start, segment
        start = int(segment["end"])


def _segment(packed: Packed, tokens: np.ndarray, start: int, segment: np.void, text: Decoder) -> dict[str, Any]:
    end, domain = int(segment["end"]), int(segment["domain"])
    if domain == PADDING:
        return {"places": f"{start}..{end}", "padding": end - start}
    decoded = text(tokens[start:end].tolist())
    return {
        "places": f"{start}..{end}",
        "domain": packed.domains[domain],
        "doc_id": segment["doc_id"].tobytes().hex(),
        "from_token": int(segment["start"]),
        "epoch": int(segment["epoch"]),
        "text": decoded if len(decoded) <= TEXT else f"{decoded[:TEXT]}…",
    }


def decoder(corpus: Corpus) -> tuple[Decoder, str]:
    """Return what turns token ids of a corpus into text, and where its tokenizer was found.

    Without a tokenizer it returns the ids themselves, as text.
    """
    path = find_tokenizer(corpus)
    if path is None:
        return _ids, "not found: ids are shown"
    import tokenizers

    try:
        tokenizer = tokenizers.Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises a bare Exception
        return _ids, f"{path} cannot be read: {error}"
    return lambda ids: tokenizer.decode(list(ids), skip_special_tokens=False), str(path)


def _ids(ids: Sequence[int]) -> str:
    return " ".join(map(str, ids[:100]))


def find_tokenizer(corpus: Corpus) -> Path | None:
    """Return the tokenizer.json that made a corpus of tokens, or one packed from it; None if it is nowhere."""
    beside = corpus.root / DATA / TOKENIZER
    if beside.is_file():
        return beside
    print_ = _identity(corpus)
    if print_ is None:
        return None
    for root in corpus.root.parent.glob(f"*-{print_[:SHORT]}"):
        if (path := root / DATA / TOKENIZER).is_file():
            return path
    return next((path for path in _named(corpus.root.parent.parent) if _is_it(path, print_)), None)


def _identity(corpus: Corpus) -> str | None:
    inputs = corpus.manifest.inputs
    if "tokenizer" in inputs:
        return inputs["tokenizer"]
    tokens = describe_provenance.beside(corpus, "tokens")
    return tokens.manifest.inputs.get("tokenizer") if tokens else None


def _named(root: Path) -> Iterator[Path]:
    """Yield every tokenizer file that a recipe built on `root` names."""
    for record in sorted(root.glob(f"builds/*/{records.BUILD}")):
        try:
            recipe = (records.read_record(record.parent) or {}).get("recipe", {})
        except DataError:
            continue
        given = [(recipe.get("tokens") or {}).get("tokenizer")]
        given += [step.get("inputs", {}).get("tokenizer") for step in (recipe.get("steps") or {}).values()]
        yield from (Path(path.removeprefix("file:")) for path in given if path)


def _is_it(path: Path, print_: str) -> bool:
    return path.is_file() and store.checksum(path) == print_
