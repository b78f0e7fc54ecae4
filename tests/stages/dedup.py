"""What the tests of the deduplication stages share: the whole road on a list of shards, and answers by text."""

import random
from pathlib import Path

from pipeline.corpus import Corpus
from pipeline.dedup.keep import KEEP, KeepParams
from pipeline.dedup.match import MATCH, MatchParams
from pipeline.dedup.sign import SIGN, SignParams
from pipeline.dedup.verify import VERIFY, VerifyParams
from tests.conftest import read, run_stage, write_documents

Rows = list[tuple[str, str]]


def candidates(
    root: Path,
    documents: Corpus,
    sign: SignParams | None = None,
    match: MatchParams | None = None,
    memory_bytes: int = 1 << 30,
    **more: Corpus,
) -> tuple[Corpus, Corpus]:
    """Sign and match; return the bands and the candidates. `more` are the roles mask and scores."""
    mask = {role: corpus for role, corpus in more.items() if role == "mask"}
    bands = run_stage(root / "sign", SIGN, sign or SignParams(), documents=documents, **mask)
    inputs = {"documents": documents, "bands": bands, **more}
    return bands, run_stage(root / "match", MATCH, match or MatchParams(), memory_bytes=memory_bytes, **inputs)


def near(
    root: Path,
    documents: Corpus,
    sign: SignParams | None = None,
    match: MatchParams | None = None,
    verify: VerifyParams | None = None,
    memory_bytes: int = 1 << 30,
    **more: Corpus,
) -> Corpus:
    """Run the four stages of near deduplication; return the mask. `more` are the roles mask, scores and exact."""
    early = {role: corpus for role, corpus in more.items() if role in ("mask", "scores")}
    late = {role: corpus for role, corpus in more.items() if role in ("mask", "exact")}
    _, found = candidates(root, documents, sign, match, memory_bytes, **early)
    room = {"memory_bytes": memory_bytes, "documents": documents}
    similar = run_stage(root / "verify", VERIFY, verify or VerifyParams(), candidates=found, **room)
    return run_stage(root / "keep", KEEP, KeepParams(), similar=similar, **room, **late)


def answers(documents: Corpus, mask: Corpus) -> dict[tuple[str, str], dict]:
    """Return the mask's row of every (text, domain), in which documents are named by their text instead of their id."""
    table = read(documents)
    texts = dict(zip(table["doc_id"].to_pylist(), table["text"].to_pylist(), strict=True))
    rows = read(mask).to_pylist()
    for row in rows:
        row |= {name: texts[row[name]] for name in ("keeper", "cluster") if row.get(name)}
    keys = zip(table["text"].to_pylist(), table["domain"].to_pylist(), strict=True)
    return dict(zip(keys, rows, strict=True))


def numbers(doc_id):
    """Return a doc_id as the two numbers by which documents are ordered."""
    return tuple(int.from_bytes(doc_id[k : k + 8], "little") for k in (0, 8))


def prose(seed: int, words: int = 120) -> str:
    """Return words of a small vocabulary, different for every seed."""
    generator = random.Random(seed)
    return " ".join(f"w{generator.randrange(5000)}" for _ in range(words))


def edited(text: str, seed: int, words: int = 1) -> str:
    """Return the text with some words replaced."""
    generator = random.Random(seed)
    changed = text.split()
    for place in generator.sample(range(len(changed)), words):
        changed[place] = f"x{generator.randrange(10**9)}"
    return " ".join(changed)


def family(seed: int, copies: int) -> Rows:
    """Return a text and near copies of it, of two domains and of different lengths."""
    text = prose(seed)
    return [(text, "web"), *((edited(text, 100 * seed + i, 1 + i % 3), ("web", "docs")[i % 2]) for i in range(copies))]


def several() -> Rows:
    """Return families of near copies, strangers, and the hard cases: few words, no words, another script."""
    rows = [row for seed in range(12) for row in family(seed, seed % 5)]
    rows += [(prose(1000 + seed), "web") for seed in range(15)]
    rows += [
        ("one", "web"),
        ("one two three", "docs"),
        ("...", "web"),
        ("。、", "docs"),
        ("漢字仮名交じり文の例です", "web"),
    ]
    return rows


def layouts(rows: Rows) -> list[list[Rows]]:
    """Return the rows cut into shards in several ways and orders."""
    shuffled = random.Random(7).sample(rows, len(rows))
    return [[rows], [rows[:9], rows[9:10], rows[10:]], [shuffled[i::5] for i in range(5)], [list(reversed(rows)), []]]


def written(root: Path, shards: list[Rows]) -> Corpus:
    return write_documents(root, shards)
