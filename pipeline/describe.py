"""What `corpusmill show PATH` tells: a corpus, a build, packed sequences, plain Parquet, a plan or a model.

Reads manifests, footers and one row; whatever lies inside a corpus or a build stands for it.
"""

import difflib
import json
from collections.abc import Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline import builds, describe_sequences, ledger, records, store
from pipeline.corpus import Corpus
from pipeline.description import Description, split
from pipeline.errors import ConfigError
from pipeline.identity import SHORT

TEXT = 2_000
"""Characters of a text that an example holds."""
ELEMENTS = 64
UPWARDS = 4
"""Folders, from the path up, that are asked whether they are a corpus or a build."""
FASTTEXT = (793712314).to_bytes(4, "little")
PARQUET = b"PAR1"
PACK = "tokens.pack"
"""The stage whose books count bytes of tokens, not of text."""
PACKED = ".rows.npy"


def show(path: Path, *, row: int | None = None, verify: bool = False) -> Description:
    """Return the description of what lies at `path`.

    Args:
        row: which row or sequence is the example; the first if None.
        verify: read every file of a corpus or build again and compare its checksum.

    Raises:
        ConfigError: there is nothing at the path, nothing we know, or no such row.
        DataError: it says it is one of ours but is broken.
    """
    if not path.exists():
        raise ConfigError(f"there is nothing at {path} (looked in {Path.cwd()}){_near(path)}")
    if path.is_file() and (found := _file(path, row)):
        return found
    for folder in (path, *path.absolute().parents)[:UPWARDS]:
        if found := _ours(folder, row, verify):
            return found
    if path.is_dir() and (found := _folder(path, row, verify)):
        return found
    raise ConfigError(
        f"{path} is nothing that `show` knows. It describes a corpus (a folder with {store.MANIFEST}), a build (with "
        f"{records.BUILD}), the root of builds, a Parquet file or a folder of them, plan.json, tokenizer.json, and a "
        "fastText .bin."
    )


def _near(path: Path) -> str:
    names = [other.name for other in path.parent.iterdir()] if path.parent.is_dir() else []
    near = difflib.get_close_matches(path.name, names, 1, 0.5)
    return f"; did you mean {path.with_name(near[0])}?" if near else ""


def _file(path: Path, row: int | None) -> Description | None:
    with path.open("rb") as file:
        start = file.read(4)
    if start == PARQUET:
        return parquet(path, [path], row)
    if start == FASTTEXT:
        return _model(path)
    if path.suffix == ".json" and path.name not in (store.MANIFEST, records.BUILD):
        return _json(path)
    return None


def _ours(folder: Path, row: int | None, verify: bool) -> Description | None:
    """Return the description of a finished corpus or build in exactly this folder."""
    corpus = store.open_corpus(folder)
    if corpus is not None:
        return corpus_of(corpus, row, verify)
    if records.read_record(folder) is not None:
        return _build(builds.open_build(folder), row, verify)
    return None


def _folder(folder: Path, row: int | None, verify: bool) -> Description | None:
    """Return the description of a root of builds (its only build, if there is one) or of a folder of Parquet."""
    root = folder.parent if folder.name in ("builds", "corpora") else folder
    recorded = sorted(path.parent for path in root.glob(f"builds/*/{records.BUILD}"))
    if len(recorded) == 1:
        return _ours(recorded[0], row, verify)
    if recorded or any(root.glob(f"corpora/*/{store.MANIFEST}")):
        return _root(root, recorded)
    if (folder / store.IDENTITY).is_file():
        raise ConfigError(f"{folder} is a corpus that is not finished; `corpusmill build` goes on with it")
    if files := sorted(path for path in folder.rglob("*.parquet") if path.is_file()):
        return parquet(folder, files, row)
    return None


def corpus_of(corpus: Corpus, row: int | None, verify: bool) -> Description:
    """Return the description of a finished corpus; that of packed sequences if it holds them."""
    manifest = corpus.manifest
    damage = tuple(store.damage(corpus, checksums=True)) if verify else None
    packed = any(shard.name.endswith(PACKED) for shard in manifest.shards)
    if packed:
        return describe_sequences.sequences(corpus, row, damage)
    summary = {
        "stage": manifest.stage,
        "version": manifest.version,
        "fingerprint": manifest.fingerprint,
        "rows": manifest.rows,
        "bytes": manifest.bytes,
        "shards": len(manifest.shards),
    }
    if manifest.files:
        summary["files"] = [shard.name for shard in manifest.files[:20]]
    noted, facts = split(manifest.facts)
    paths = [path for path in corpus.paths() if path.suffix == ".parquet" and path.exists()]
    tables = {"schema": _schema(pq.read_schema(paths[0]))} if paths else {}
    return Description(
        kind="corpus",
        path=str(corpus.root),
        summary=summary,
        tables=tables | {"ledger": domains(manifest.ledger)} | noted,
        details={"params": manifest.params, "inputs": inputs(corpus), "facts": facts},
        example=_corpus_example(corpus, paths, row),
        damage=damage,
    )


def domains(books: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return a ledger as a table: a row a domain, a column a reason."""
    reasons = sorted({reason for entry in books.values() for reason in entry.get("dropped", {})})
    rows = []
    for domain, entry in [*books.items(), *([("all", ledger.total(dict(books)))] if len(books) > 1 else [])]:
        row = {"domain": domain, "rows_in": entry["rows_in"], "rows_kept": entry["rows_kept"]}
        row |= {f"{reason}": entry.get("dropped", {}).get(reason, 0) for reason in reasons}
        rows.append(row | {"in_bytes": entry["bytes_in"], "kept_bytes": entry["bytes_kept"]})
    return rows


def inputs(corpus: Corpus) -> dict[str, str]:
    """Return role -> the folder of the corpus that played it, or its fingerprint where the folder is not beside it."""
    found = {}
    for role, print_ in corpus.manifest.inputs.items():
        beside = next(iter(corpus.root.parent.glob(f"*-{print_[:SHORT]}")), None)
        found[role] = beside.name if beside else print_
    return found


def _corpus_example(corpus: Corpus, paths: Sequence[Path], row: int | None) -> dict[str, Any]:
    if not paths:
        return {}
    values = _row(paths, [shard.rows for shard in corpus.manifest.shards], row, corpus.root)
    if isinstance(tokens := values.get("tokens"), bytes) and "dtype" in corpus.manifest.facts:
        ids = np.frombuffer(tokens, np.dtype(corpus.manifest.facts["dtype"]).newbyteorder("<")).tolist()
        text, _ = describe_sequences.decoder(corpus)
        values |= {"tokens": ids, "text": text(ids)}
    return {name: _plain(value) for name, value in values.items()}


def _row(paths: Sequence[Path], counts: Sequence[int], row: int | None, where: Path) -> dict[str, Any]:
    """Return one row of several files, of which only its row group is read; {} where there are no rows at all."""
    total = sum(counts)
    row = row or 0
    if not total and not row:
        return {}
    if not 0 <= row < total:
        raise ConfigError(f"row {row:,}: {where} has rows 0 to {total - 1:,}")
    ends = list(accumulate(counts))
    at = next(i for i, end in enumerate(ends) if row < end)
    place = row - (ends[at] - counts[at])
    with pq.ParquetFile(paths[at], pre_buffer=False) as file:
        for group in range(file.metadata.num_row_groups):
            rows = file.metadata.row_group(group).num_rows
            if place < rows:
                table = file.read_row_group(group).slice(place, 1)
                return {"row": row} | {name: _value(table[name]) for name in table.column_names}
            place -= rows
    return {}


def _value(column: pa.ChunkedArray) -> Any:
    """Return the one value of a column; text that is not UTF-8 is shown with replacement characters."""
    kind = column.type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        wide = pa.large_binary() if pa.types.is_large_string(kind) else pa.binary()
        value = column.chunk(0).view(wide)[0].as_py()
        return None if value is None else value.decode("utf-8", "replace")
    return column[0].as_py()


def _plain(value: Any) -> Any:
    """Return a value as JSON, cut to what a screen can hold."""
    if isinstance(value, bytes):
        return value.hex() if len(value) <= 32 else f"{value[:32].hex()}… ({len(value):,} bytes)"
    if isinstance(value, str):
        return cut(value)
    if isinstance(value, Mapping):
        return {str(name): _plain(part) for name, part in value.items()}
    if isinstance(value, list):
        more = [f"… {len(value) - ELEMENTS:,} more"] if len(value) > ELEMENTS else []
        return [_plain(part) for part in value[:ELEMENTS]] + more
    if value is None or isinstance(value, bool | int | float):
        return value
    return str(value)


def cut(text: str, most: int = TEXT) -> str:
    """Return a text, cut after `most` characters with a word on how long it is."""
    return text if len(text) <= most else f"{text[:most]}… ({len(text):,} characters)"


def _build(build: builds.Build, row: int | None, verify: bool) -> Description:
    steps, packed = [], None
    damage: list[str] | None = [] if verify else None
    for name, corpus in build.corpora.items():
        steps.append(_step(name, corpus))
        if any(shard.name.endswith(PACKED) for shard in corpus.manifest.shards):
            packed = corpus
        if damage is not None:
            damage += store.damage(corpus, checksums=True)
    kept = [c.manifest.ledger for c in build.corpora.values() if c.manifest.ledger and c.manifest.stage != PACK]
    tables: dict[str, list[dict[str, Any]]] = {"steps": steps}
    if kept:
        tables["domains, from the first to the last step that decides"] = _from_to(kept[0], kept[-1])
    return Description(
        kind="build",
        path=str(build.folder),
        summary={"name": build.name, "steps": len(steps), "bytes": sum(step["bytes"] for step in steps)},
        tables=tables,
        example=describe_sequences.example(packed, row) if packed else {},
        damage=None if damage is None else tuple(damage),
    )


def _step(name: str, corpus: Corpus) -> dict[str, Any]:
    manifest = corpus.manifest
    dropped = ledger.total(manifest.ledger)["dropped"] if manifest.ledger else {}
    return {
        "step": name,
        "stage": manifest.stage,
        "fingerprint": manifest.fingerprint[:SHORT],
        "rows": manifest.rows,
        "bytes": manifest.bytes + manifest.files.bytes,
        "dropped": ", ".join(f"{reason} {rows:,}" for reason, rows in sorted(dropped.items())) or None,
    }


def _from_to(first: Mapping[str, Any], last: Mapping[str, Any]) -> list[dict[str, Any]]:
    rows = []
    for domain, books in first.items():
        end = last.get(domain, {"rows_kept": 0, "bytes_kept": 0})
        sizes = {"read_bytes": books["bytes_in"], "kept_bytes": end["bytes_kept"]}
        rows.append({"domain": domain, "rows_read": books["rows_in"], "rows_kept": end["rows_kept"]} | sizes)
    return rows


def _root(root: Path, recorded: Sequence[Path]) -> Description:
    rows = [{"build": p.name, "steps": len((records.read_record(p) or {"steps": ()})["steps"])} for p in recorded]
    corpora = sorted(path.parent.name for path in root.glob(f"corpora/*/{store.MANIFEST}"))
    summary = {"builds": len(rows), "corpora": len(corpora)}
    return Description("root", str(root), summary, {"builds": rows, "corpora": [{"corpus": name} for name in corpora]})


def parquet(path: Path, files: Sequence[Path], row: int | None) -> Description:
    """Return the description of one Parquet file or of all in a folder; the schema is the first file's."""
    counts, groups, differing, first = [], 0, 0, None
    for file in files:
        try:
            with pq.ParquetFile(file) as opened:
                counts.append(opened.metadata.num_rows)
                groups += opened.metadata.num_row_groups
                schema = opened.schema_arrow
        except (pa.ArrowInvalid, OSError) as error:
            raise ConfigError(f"{file} cannot be read as Parquet: {error}") from None
        first = first or schema
        differing += not schema.equals(first)
    assert first is not None
    size = sum(file.stat().st_size for file in files)
    summary = {"files": len(files), "rows": sum(counts), "bytes": size, "row_groups": groups}
    if differing:
        summary["files_with_another_schema"] = differing
    example = {name: _plain(value) for name, value in _row(files, counts, row, path).items()}
    return Description("parquet", str(path), summary, {"schema": _schema(first)}, {}, example)


def _schema(schema: pa.Schema) -> list[dict[str, Any]]:
    return [{"column": f.name, "type": str(f.type), "null": "may be" if f.nullable else "never"} for f in schema]


def _json(path: Path) -> Description | None:
    try:
        value = json.loads(path.read_bytes())
    except ValueError as error:
        raise ConfigError(f"{path} is not JSON: {error}") from None
    if not isinstance(value, dict):
        return None
    if isinstance(model := value.get("model"), dict) and "vocab" in model:
        return _tokenizer(path, value, model)
    return (
        Description("plan", str(path), {"bytes": path.stat().st_size}, {}, {"plan": value}) if _is_plan(value) else None
    )


def _is_plan(value: Mapping[str, Any]) -> bool:
    return "domains" in value and any("budget" in name or "tokens" in name for name in value)


def _tokenizer(path: Path, value: Mapping[str, Any], model: Mapping[str, Any]) -> Description:
    added = [token["content"] for token in value.get("added_tokens", [])]
    summary = {"model": model.get("type"), "vocabulary": len(model["vocab"]), "merges": len(model.get("merges", []))}
    return Description("tokenizer", str(path), summary | {"added_tokens": added, "bytes": path.stat().st_size})


def _model(path: Path) -> Description:
    """Return the description of a fastText model from its header: magic, version, then the arguments as int32."""
    with path.open("rb") as file:
        words = memoryview(file.read(64)[:56]).cast("i")
    names = ("dim", "window", "epoch", "min_count", "negative", "word_ngrams", "loss", "kind", "bucket", "minn", "maxn")
    summary = {"version": words[1]} | dict(zip(names, words[2:13], strict=True)) | {"bytes": path.stat().st_size}
    return Description("model", str(path), summary)
