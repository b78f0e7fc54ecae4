"""Fingerprint raw files by their bytes, in threads, each file once for as long as it is not touched.

The checksum is the one of our own files (the first 128 bits of sha256), of streamed bytes, so that a remote
file needs no copy here.
"""

import hashlib
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from pipeline.errors import DataError
from pipeline.ingest.sources import LOCAL, Cache, SourceFile, SourceFiles, open_file

PIECE_BYTES = 1 << 20


def with_checksums(sources: Mapping[str, SourceFiles], cache: Cache, threads: int = 4) -> dict[str, SourceFiles]:
    """Return the sources with the checksum of every file; `cache` spares the work and is brought up to date.

    A cached checksum counts only for the same path, size and time of change. Remote files are streamed. A file that
    cannot be read has the checksum of what can be said of it: its problem.

    Raises:
        DataError: a file is gone, or its system refuses to read it.
    """
    everything = [file for files in sources.values() for file in files.files]
    with ThreadPoolExecutor(threads) as pool:
        sums = list(pool.map(lambda file: _checksum(file, cache), everything))
    done = iter(replace(file, checksum=sum_) for file, sum_ in zip(everything, sums, strict=True))
    return {domain: SourceFiles(domain, tuple(next(done) for _ in files.files)) for domain, files in sources.items()}


def _checksum(file: SourceFile, cache: Cache) -> str:
    stamp = [file.size, file.mtime_ns or 0]
    cached = cache.get(file.url)
    if cached and file.mtime_ns is not None and cached[:2] == stamp:
        return str(cached[2])
    if file.kind == "unreadable" and file.mtime_ns is None and file.root == LOCAL:
        return hashlib.sha256(file.problem.encode()).hexdigest()[:32]
    try:
        result = _hash(file)
    except OSError as error:
        raise DataError(f"{file.url} cannot be read to its end: {error}") from None
    if file.mtime_ns is not None:
        cache[file.url] = [*stamp, result]
    return result


def _hash(file: SourceFile) -> str:
    sha = hashlib.sha256()
    with open_file(file) as stream:
        while piece := stream.read(PIECE_BYTES):
            sha.update(piece)
    return sha.hexdigest()[:32]
