"""What the tests of masks with spans share: texts with passages in common, and what a mask leaves of each document."""

import random
from pathlib import Path

from pipeline.corpus import Corpus
from tests.conftest import documents_table, read, run_stage, write_documents
from tests.kernels import reference_passages as twin
from tests.stages.dedup import Rows, prose

Left = dict[tuple[str, str], tuple]


def mixed(documents: int = 40) -> Rows:
    """Return documents of three domains that share lines and paragraphs, many-byte characters and blanks in them."""
    generator = random.Random(3)
    pool = [prose(seed, 8) for seed in range(25)] + [
        "漢字かな交じりの行です、これは長い" * 2,
        "é" * 40,
        "}",
        "",
        "  \t",
        "\u3000",
    ]
    rows = []
    for number in range(documents):
        parts = [generator.choice(pool) for _ in range(generator.randrange(1, 9))] + [prose(1000 + number, 6)]
        generator.shuffle(parts)
        text = "".join(part + generator.choice(["\n", "\n", "\n\n", "\n \n", "  \r\n"]) for part in parts)
        rows.append((text if number % 3 else text.rstrip("\n"), ("web", "docs", "books")[number % 3]))
    rows += [(pool[0], "web"), (f" {pool[0]}\n", "docs"), (f"{pool[1]}\n\n{pool[0]}", "books")]
    return list(dict.fromkeys(rows))


def left(documents: Corpus, mask: Corpus) -> Left:
    """Return (keep, reason, text left, removed bytes) of every (text, domain)."""
    found = {}
    for document, row in zip(read(documents).to_pylist(), read(mask).to_pylist(), strict=True):
        text, spans = document["text"].encode(), row["spans"] or []
        assert (row["spans"] is not None) == row["keep"]
        rest = twin.without(text, list(zip(spans[::2], spans[1::2], strict=True))).decode()
        assert len(text) - len(rest.encode()) == row["removed_bytes"]
        found[document["text"], document["domain"]] = (row["keep"], row["reason"], rest, row["removed_bytes"])
    return found


def run(root: Path, stage, params, shards: list[Rows], **mask: Corpus) -> tuple[Corpus, Corpus]:
    """Return documents of these shards and the stage's mask of them."""
    (root / "documents").mkdir(parents=True)  # a corpus without shards has no task that would make it
    documents = write_documents(root / "documents", shards)
    return documents, run_stage(root / "mask", stage, params, documents=documents, **mask)


def doc_keys(rows: Rows) -> list[tuple[int, int]]:
    """Return the two halves of every document's id."""
    ids = documents_table(rows)["doc_id"].to_pylist()
    return [(int.from_bytes(i[:8], "little"), int.from_bytes(i[8:], "little")) for i in ids]
