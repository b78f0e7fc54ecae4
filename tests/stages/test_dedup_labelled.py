"""The labelled corpus: every pair of its documents with J >= 0.2 is known, computed without hashing."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.conftest import read, write_documents
from tests.stages.dedup import near


@pytest.mark.shared
def test_true_pairs_are_found_and_nothing_is_dropped_without_a_kept_one_as_like(tmp_path, shared):
    folder = shared / "data/dups"
    tables = [pq.read_table(path, columns=["id", "text"]) for path in sorted(folder.glob("docs-*.parquet"))]
    names = pa.concat_tables(tables)["id"].to_pylist()
    documents = write_documents(tmp_path / "documents", [[(t, "dups") for t in x["text"].to_pylist()] for x in tables])
    keep = dict(zip(names, read(near(tmp_path, documents))["keep"].to_pylist(), strict=True))

    pairs = pq.read_table(folder / "pairs.parquet")
    like = {name: set() for name in names}
    true = [
        (a, b) for a, b, j in zip(*(pairs[c].to_pylist() for c in ("id_a", "id_b", "jaccard")), strict=True) if j >= 0.8
    ]
    for a, b in true:
        like[a].add(b)
        like[b].add(a)
    assert sum(not (keep[a] and keep[b]) for a, b in true) >= 0.99 * len(true)
    assert [name for name in names if not keep[name] and not any(keep[other] for other in like[name])] == []
