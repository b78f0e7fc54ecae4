"""Documents of earlier builds that a build knows by their indexes: found by doc_id, read where they lie."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from pipeline import parquet, places, store
from pipeline.builds import Build
from pipeline.corpus import Corpus
from pipeline.dedup import earlier
from pipeline.identity import SHORT
from pipeline.places import Place
from pipeline.schemas import doc_ids

COLUMNS = ("doc_id", "domain", "bytes", "source_id")


def find(build: Build, doc_id: bytes) -> dict[str, Any] | None:
    """Return a document of an earlier build with its text and the folder it lies in; None if there is none.

    Of several rows with this doc_id it is one that its own build has kept.

    Raises:
        DataError: documents that an index points to are gone.
    """
    for documents, mask in _known(build):
        found = [place for place, _ in places.values(documents, _places(documents, doc_id), ("doc_id",))]
        kept = [place for place, row in places.values(mask, found, ("keep",)) if row["keep"]]
        for place in (kept or found)[:1]:
            ((_, row),) = places.values(documents, [place], (*COLUMNS, "text"))
            return row | {"keep": bool(kept), "folder": str(documents.root)}
    return None


def _known(build: Build) -> Iterator[tuple[Corpus, Corpus]]:
    """Yield the documents and the mask of every build whose index was given to this one."""
    seen = set()
    for corpus in build.corpora.values():
        for role in earlier.roles(list(corpus.manifest.inputs)):
            print_ = corpus.manifest.inputs[role]
            index = store.open_corpus(corpus.root.parent / f"dedup.index-{print_[:SHORT]}")
            if index is not None and print_ not in seen:
                seen.add(print_)
                opened = earlier.pointed_to(index)
                yield from zip(opened[::2], opened[1::2], strict=True)


def _places(documents: Corpus, doc_id: bytes) -> Iterator[Place]:
    wanted = np.frombuffer(doc_id, np.uint64)
    for shard in documents.manifest.shards:
        first = 0
        for batch in parquet.read_zipped({documents.path(shard): ("doc_id",)}):
            rows = np.flatnonzero((doc_ids(batch["doc_id"]) == wanted).all(axis=1))
            yield from (Place(shard.name, first + row) for row in rows.tolist())
            first += batch.num_rows
