"""Where the documents of packed sequences came from: looked up by doc_id in the documents they were encoded from.

Manifests lead there: that of the sequences names the tokens, that of the tokens the documents. They are looked for
beside the sequences and may be gone.
"""

from collections.abc import Iterable
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline import places, schemas, store
from pipeline.corpus import Corpus
from pipeline.errors import DataError
from pipeline.identity import SHORT
from pipeline.places import Place

Source = dict[str, Any]


def beside(corpus: Corpus, role: str) -> Corpus | None:
    """Return the finished corpus that plays `role` for `corpus`, if it lies in the same folder."""
    print_ = corpus.manifest.inputs.get(role, "")
    found = (store.open_corpus(root) for root in corpus.root.parent.glob(f"*-{print_[:SHORT]}")) if print_ else iter(())
    return next((other for other in found if other and other.manifest.fingerprint == print_), None)


def sources(sequences: Corpus, ids: Iterable[bytes]) -> dict[bytes, Source]:
    """Return, by doc_id, the shard and row of a document and its id in its source; of equal documents the first.

    Reads the doc_ids of all documents until each is found. A document that is not there any more is left out.

    Raises:
        DataError: a shard of the documents cannot be read.
    """
    tokens = beside(sequences, "tokens")
    documents = beside(tokens, "documents") if tokens else None
    wanted = set(ids)
    if documents is None or not wanted:
        return {}
    try:
        found = _places(documents, wanted)
        told = places.values(documents, found.values(), ("doc_id", "source_id"))
        return {row["doc_id"]: _source(documents, place, row) for place, row in told}
    except (OSError, IndexError, pa.ArrowException) as error:
        raise DataError(f"{documents.root}: a shard cannot be read ({error}); build again") from None


def _places(documents: Corpus, wanted: set[bytes]) -> dict[bytes, Place]:
    found: dict[bytes, Place] = {}
    for path in documents.paths():
        if len(found) == len(wanted):
            break
        ids = pq.read_table(path, columns=["doc_id"])["doc_id"].combine_chunks()
        left = pa.array(sorted(wanted - found.keys()), schemas.DOC_ID)
        for row in pc.indices_nonzero(pc.is_in(ids, value_set=left)).to_pylist():
            found.setdefault(ids[row].as_py(), Place(path.name, row))
    return found


def _source(documents: Corpus, place: Place, row: dict[str, Any]) -> Source:
    return {"source_id": row["source_id"], "documents": documents.root.name, "shard": place.shard, "row": place.row}
