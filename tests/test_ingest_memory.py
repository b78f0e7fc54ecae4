"""A file of any size and any shape is ingested in less than 300 MB over the imports."""

import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest


def big_plain(path):
    """600 MB of text in one row group."""
    rng = np.random.default_rng(1)
    words = np.array([f"word{i} " for i in range(3000)])
    texts = ["".join(rng.choice(words, 2000)) for _ in range(200)]
    table = pa.table({"text": [f"{i} {texts[i % 200]}" for i in range(40_000)]})
    pq.write_table(table, path, row_group_size=40_000, use_dictionary=False, write_statistics=False)


def big_repeated(path):
    """2.3 GB of text, more than a string column's offsets reach, in a file of half a megabyte."""
    page = "".join(np.random.default_rng(1).choice(list("abcdefgh "), 1_000_000))
    column = pa.DictionaryArray.from_arrays(pa.array(np.zeros(2300, np.int32)), pa.array([page]))
    pq.write_table(pa.table({"text": column}), path, store_schema=False)


def big_lines(path):
    """600 MB of text in one compressed stream."""
    with pa.CompressedOutputStream(path, "zstd") as stream:
        for i in range(60_000):
            stream.write(b'{"text":"%d %s"}\n' % (i, b"some words that repeat " * 435))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("make", "rows", "name"),
    [(big_plain, 40_000, "a.parquet"), (big_repeated, 2300, "a.parquet"), (big_lines, 60_000, "a.jsonl.zst")],
)
def test_memory_does_not_grow_with_the_file_or_its_row_group(tmp_path, make, rows, name):
    make(tmp_path / name)
    script = f"""
from pathlib import Path
from tests.ingested import ingest
def high_water():  # not ru_maxrss, which begins with what the parent held
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) // 1024
before = high_water()
corpus = ingest(Path({str(tmp_path / "out")!r}), {{"web": {str(tmp_path / name)!r}}})
assert corpus.manifest.rows == {rows}
print(high_water() - before)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 300
