"""Run ingest on raw files as a build does: inspect, take checksums, run the stage, check the books, finish."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline import store
from pipeline.corpus import DATA, Corpus, Manifest
from pipeline.execution.local import LocalRunner
from pipeline.identity import fingerprint
from pipeline.ingest.checksums import with_checksums
from pipeline.ingest.inspect import inspect_sources
from pipeline.ingest.sources import SourceSpec
from pipeline.ingest.stage import INGEST, IngestParams
from pipeline.ledger import check
from pipeline.stage import Step
from pipeline.store import Earlier
from pipeline.tasks import Foreman

PARAMS = ("quarantine_limit", "unreadable_files", "shard_bytes")


def ingest(
    root: Path, sources: Mapping[str, Any], earlier: Corpus | None = None, cache: dict | None = None, **options: Any
) -> Corpus:
    """Ingest `domain: path or spec` into the folder `root`; options are ingest's params, or columns of every domain."""
    params = {name: options.pop(name) for name in PARAMS if name in options}
    specs = {
        domain: given if isinstance(given, SourceSpec) else SourceSpec(paths=_paths(given), **options)
        for domain, given in sources.items()
    }
    report = inspect_sources(specs, params.get("unreadable_files", "fail"), threads=2)
    files = with_checksums(report.sources, {} if cache is None else cache)
    chosen = IngestParams(sources={domain: spec.columns() for domain, spec in specs.items()}, **params)
    prints = {domain: each.fingerprint for domain, each in files.items()}
    foreman = Foreman("ingest", root, LocalRunner(1), Earlier(earlier) if earlier else None)
    step = Step("ingest", root, {}, foreman, prints, sources=files)
    root.mkdir(parents=True, exist_ok=True)
    INGEST.run(step, chosen)
    check(step.ledger, "ingest")

    def manifest(shards, files):
        return Manifest(
            stage="ingest",
            version=INGEST.version,
            fingerprint=fingerprint("ingest", INGEST.version, chosen, prints),
            params=chosen.model_dump(mode="json"),
            inputs=prints,
            ledger=step.ledger,
            facts=step.facts,
            shards=shards,
            files=files,
        )

    corpus = store.finish(root, manifest, step.keys)
    INGEST.gate(chosen, corpus)
    return corpus


def _paths(given: Any) -> tuple[str, ...]:
    return tuple(map(str, given)) if isinstance(given, (list, tuple)) else (str(given),)


def refused(corpus: Corpus) -> list[dict[str, Any]]:
    """Return the rows of the quarantine, in the order of file and place."""
    tables = [pq.read_table(corpus.root / DATA / file.name) for file in corpus.manifest.files]
    rows = pa.concat_tables(tables).to_pylist() if tables else []
    return sorted(rows, key=lambda row: (row["file"], row["row"] or 0, row["byte"] or 0))


def write(path: Path, texts: list[Any], kind: pa.DataType | None = None, **columns: Any) -> Path:
    """Write a raw Parquet file with a text column of a type, and other columns."""
    groups = {name: columns.pop(name) for name in ("row_group_size", "write_page_checksum") if name in columns}
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({"text": pa.array(texts, kind or pa.string()), **columns}), path, **groups)
    return path
