"""Packed sequences exported, and what lies in them said the slow way: for the tests of the exports."""

import itertools

from pipeline.corpus import Corpus, Manifest, Shards
from pipeline.stages import find
from pipeline.tokens.exports.parts import ExportParams
from pipeline.tokens.format import PADDING
from tests.conftest import run_stage
from tests.tokens.packed import write_packed


def sequences(root, **options):
    """Write sequences by hand; return the corpus and [(tokens, segments)] of its rows."""
    written = write_packed(root, **options)
    manifest = Manifest(stage="tokens.pack", version=1, fingerprint="f", params={}, inputs={}, shards=Shards())
    return Corpus(root=root, manifest=manifest), written


def export(root, name, corpus):
    """Return the corpus that an export makes."""
    return run_stage(root, find(f"tokens.{name}", None, "test"), ExportParams(), sequences=corpus)


def exported(tmp_path, name, **options):
    """Return the folder of an export of sequences made by hand, its facts and the rows that went in."""
    corpus, written = sequences(tmp_path / "in", **options)
    out = export(tmp_path / "out", name, corpus)
    return out.root / "data", out.manifest.facts, written


def rows_and_ends(written):
    """Return [(tokens, ends of the pieces of documents)] of rows."""
    ends = [[int(s["end"]) for s in segments if s["domain"] != PADDING] for _, segments in written]
    return [(tokens, its) for (tokens, _), its in zip(written, ends, strict=True)]


def documents(written, parts):
    """Return [tokens of a document], in the order of first pieces: pieces of one use follow each other by their start.

    Only for sequences without equal documents.
    """
    found = {}
    size = len(written) // parts
    for number, (tokens, segments) in enumerate(written):
        begin = 0
        for segment in segments:
            piece = (int(segment["start"]), tokens[begin : int(segment["end"])])
            begin = int(segment["end"])
            if segment["domain"] != PADDING:
                key = (number // size, segment["doc_id"].tobytes(), int(segment["epoch"]))
                found.setdefault(key, []).append(piece)
    return [joined for pieces in found.values() for joined in _joined(sorted(pieces))]


def _joined(pieces):
    """Yield runs of pieces that follow each other without a hole."""
    ends = itertools.accumulate(
        range(1, len(pieces)),
        lambda run, i: run + (pieces[i][0] != pieces[i - 1][0] + len(pieces[i - 1][1])),
        initial=0,
    )
    for _, run in itertools.groupby(zip(ends, pieces, strict=True), key=lambda pair: pair[0]):
        yield [token for _, (_, tokens) in run for token in tokens]
