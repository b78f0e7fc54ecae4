"""What a finished build keeps: the documents it goes on with, and the mask that says which of them stayed."""

import pyarrow.parquet as pq

from pipeline import schemas, store
from pipeline.builds import Build
from pipeline.corpus import Corpus
from pipeline.errors import DataError
from pipeline.identity import SHORT

PACK, CUT = "tokens.pack", "dedup.cut"


def kept(build: Build) -> tuple[Corpus, Corpus | None]:
    """Return the documents that a build keeps, as they were cut, and their mask; None where nothing was decided.

    They are those that are packed. A build that packs nothing keeps what the last of its steps left that wrote a mask
    or cut documents.

    Raises:
        DataError: there are no documents, or they lie in another root.
    """
    corpora = list(build.corpora.values())
    if packed := next((c for c in corpora if c.manifest.stage == PACK), None):
        tokens = played(build, packed, "tokens")
        return played(build, tokens, "documents"), _mask_of(build, packed)
    last = next((c for c in reversed(corpora) if c.manifest.stage == CUT or is_mask(c)), None)
    if last is None:
        ingested = next((c for c in corpora if c.manifest.stage == "ingest"), None)
        if ingested is None:
            raise DataError(f"the build {build.folder} has no documents: no step of ingest, none that writes a mask")
        return ingested, None
    if last.manifest.stage == CUT:
        return last, _mask_of(build, last)
    return played(build, last, "documents"), last


def is_mask(corpus: Corpus) -> bool:
    """Tell whether a corpus says of each document whether it is kept."""
    first = next((path for path in corpus.paths() if path.suffix == ".parquet"), None)
    return "documents" in corpus.manifest.inputs and first is not None and schemas.is_mask(pq.read_schema(first))


def _mask_of(build: Build, corpus: Corpus) -> Corpus | None:
    return played(build, corpus, "mask") if "mask" in corpus.manifest.inputs else None


def played(build: Build, corpus: Corpus, role: str) -> Corpus:
    """Return the corpus that played a role; it may be one of an earlier build in the same root."""
    print_ = corpus.manifest.inputs.get(role, "")
    for other in build.corpora.values():
        if other.manifest.fingerprint == print_:
            return other
    for folder in corpus.root.parent.glob(f"*-{print_[:SHORT]}"):
        if (found := store.open_corpus(folder)) is not None:
            return found
    raise DataError(f"the {role} that {corpus.root} was made from are neither in {build.folder} nor beside it")
