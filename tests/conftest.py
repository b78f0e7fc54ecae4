"""Small corpora that every test can afford, and the way to run one stage on them."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import settings

from pipeline import store
from pipeline.corpus import Corpus, Manifest
from pipeline.execution.local import LocalRunner
from pipeline.identity import digest
from pipeline.kernels import hashing
from pipeline.ledger import check
from pipeline.parquet import write_table
from pipeline.schemas import doc_id_array, documents, text_buffers
from pipeline.stage import Params, Stage, Step
from pipeline.tasks import Foreman

SHARED = Path(os.environ.get("CORPUSMILL_SHARED", Path(__file__).parents[2] / "shared"))


# The first example compiles, and machines are shared: time is no promise of a test.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave out the tests that need the shared corpora where there are none."""
    if not (SHARED / "data").is_dir():
        items[:] = [item for item in items if item.get_closest_marker("shared") is None]


@pytest.fixture
def shared() -> Path:
    return SHARED


class Bucket:
    """A bucket of a server of S3 on this machine."""

    def __init__(self, client: Any, name: str, query: str):
        self.client, self.name, self.query = client, name, query

    def put(self, path: Path, key: str) -> None:
        """Copy a file into the bucket."""
        self.client.upload_file(str(path), self.name, key)

    def url(self, key: str) -> str:
        """Return what pyarrow reads `key` by."""
        return f"s3://{self.name}/{key}?{self.query}"


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    """The address of a server that answers as S3 does, to which every key is right."""
    from moto import server

    s3 = server.ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    s3.start()
    yield ":".join(map(str, s3.get_host_and_port()))
    s3.stop()


@pytest.fixture
def bucket(s3_server: str, monkeypatch: pytest.MonkeyPatch) -> Bucket:
    """An empty bucket, and what a client needs to be let in."""
    import boto3

    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    client = boto3.client("s3", endpoint_url=f"http://{s3_server}", region_name="us-east-1")
    name = f"bucket-{uuid4().hex}"
    client.create_bucket(Bucket=name)
    return Bucket(client, name, f"scheme=http&endpoint_override={s3_server}&region=us-east-1")


def documents_table(rows: list[tuple[str, str]], **extra: list[str | None]) -> pa.Table:
    """Return (text, domain) rows as a documents table."""
    texts = pa.array([text for text, _ in rows], pa.large_string())
    domains = [domain for _, domain in rows]
    seeds = [hashing.murmur128(*text_buffers(pa.array([d])), 0)[0, 0] for d in domains]
    data, offsets = text_buffers(texts)
    ids = hashing.murmur128(data, offsets, pa.array(seeds, pa.uint64()).to_numpy())
    columns = [doc_id_array(ids), texts, pa.array(domains), pa.array([len(t.encode()) for t, _ in rows], pa.int64())]
    source_ids = pa.array([None] * len(rows), pa.string())
    more = [pa.array(values, pa.string()) for values in extra.values()]
    return pa.Table.from_arrays([*columns, source_ids, *more], schema=documents(tuple(extra)))


def write_corpus(root: Path, tables: list[pa.Table], stage: str = "ingest") -> Corpus:
    """Write a finished corpus with one shard a table."""
    keys = []
    for index, table in enumerate(tables):
        attempt = store.Attempt(root, f"part-{index:05d}")
        name = f"part-{index:05d}.parquet"
        attempt.rows(name, write_table(attempt.path(name), table))
        attempt.commit({})
        keys.append(attempt.key)

    def manifest(shards, files):
        print_ = digest({"stage": stage, "shards": sorted(shard.checksum for shard in shards)})
        return Manifest(stage=stage, version=1, fingerprint=print_, params={}, inputs={}, shards=shards, files=files)

    return store.finish(root, manifest, keys)


def write_documents(root: Path, shards: list[list[tuple[str, str]]], **extra: list[list[str | None]]) -> Corpus:
    """Write documents, one shard an inner list of (text, domain)."""
    tables = [
        documents_table(rows, **{name: columns[i] for name, columns in extra.items()}) for i, rows in enumerate(shards)
    ]
    return write_corpus(root, tables)


def run_stage(
    root: Path, stage: Stage, params: Params, runner=None, memory_bytes: int = 1 << 30, **inputs: Corpus | Path
) -> Corpus:
    """Run one stage in this process on finished corpora and files; check its books as a build does."""
    corpora = {role: given for role, given in inputs.items() if isinstance(given, Corpus)}
    files = {role: given for role, given in inputs.items() if not isinstance(given, Corpus)}
    identities = {role: corpus.manifest.fingerprint for role, corpus in corpora.items()}
    identities |= {role: store.checksum(path) for role, path in files.items()}
    foreman = Foreman(stage.name, root, runner or LocalRunner(1))
    step = Step(stage.name, root, corpora, foreman, identities, files, memory_bytes=memory_bytes)
    root.mkdir(parents=True, exist_ok=True)
    stage.run(step, params)
    check(step.ledger, stage.name)

    def manifest(shards, files):
        return Manifest(
            stage=stage.name,
            version=stage.version,
            fingerprint=digest([stage.name, params, identities]),
            params=params.model_dump(mode="json"),
            inputs=identities,
            ledger=step.ledger,
            facts=step.facts,
            shards=shards,
            files=files,
        )

    return store.finish(root, manifest, step.keys)


def read(corpus: Corpus) -> pa.Table:
    """Return all shards of a corpus as one table."""
    return pa.concat_tables(pq.read_table(path) for path in corpus.paths())
