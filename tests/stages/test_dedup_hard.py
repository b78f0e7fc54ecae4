"""Near deduplication of what is hard on it: masses of equal, tiny, empty, huge and boilerplate documents; scripts."""

import itertools

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from pipeline.dedup.match import MATCH, MatchParams
from pipeline.dedup.sign import SIGN, SignParams
from pipeline.kernels import lsh
from tests.conftest import documents_table, read, run_stage, write_corpus, write_documents
from tests.kernels import reference_dedup as twin
from tests.stages.dedup import edited, near, prose

BIG = 100_000


def kept(mask) -> int:
    return pc.sum(read(mask)["keep"]).as_py()


def pairs(tmp_path, documents, **params) -> int:
    bands = run_stage(tmp_path / "signed", SIGN, SignParams(), documents=documents)
    found = run_stage(tmp_path / "matched", MATCH, MatchParams(**params), documents=documents, bands=bands)
    return found.manifest.facts["pairs"]


@pytest.mark.slow
def test_a_hundred_thousand_equal_documents_leave_one_and_make_a_star(tmp_path):
    documents = write_documents(tmp_path / "documents", [[("the same banner of a few words", "web")] * BIG])
    mask = near(tmp_path, documents)
    assert kept(mask) == 1
    assert set(read(mask)["cluster_size"].to_pylist()) == {BIG}
    assert pairs(tmp_path, documents) <= lsh.HUBS * BIG


@pytest.mark.slow
def test_half_a_million_documents_of_five_words_leave_one_of_each_word_sequence(tmp_path):
    words = np.random.default_rng(0).integers(0, 9, (5 * BIG, 5))
    marks = np.array([".", "!", "?", " -"])[np.arange(5 * BIG) % 4]
    texts = [" ".join(f"w{w}" for w in row) + mark for row, mark in zip(words.tolist(), marks.tolist(), strict=True)]
    table = documents_table([(text, "web") for text in texts])
    documents = write_corpus(tmp_path / "documents", [table.slice(0, 3 * BIG), table.slice(3 * BIG)])
    mask = near(tmp_path, documents)
    assert kept(mask) == len(np.unique(words, axis=0))
    rows = read(mask)
    for domain_row in rows.filter(pc.invert(rows["keep"])).slice(0, 50).to_pylist():
        assert domain_row["similarity"] == 1.0


def test_documents_of_one_word_or_none_are_like_their_equals_only(tmp_path):
    rows = [(text, "web") for text in ("", "...", "a", "A", "a.", "b", "。", "中", "中。", "ก", "!?")]
    found = read(near(tmp_path, write_documents(tmp_path / "documents", [rows])))
    words = [tuple(twin.words(text)) for text, _ in rows]
    for own in set(words):
        stays = [keep for keep, other in zip(found["keep"].to_pylist(), words, strict=True) if other == own]
        assert sum(stays) == (1 if own else len(stays))


@pytest.mark.parametrize(("own_words", "stay"), [(4, 1), (400, 3000)])
def test_pages_of_boilerplate_go_only_if_there_is_little_else_on_them(tmp_path, own_words, stay):
    banner = prose(1, 200)
    rows = [(f"{banner} {prose(100 + i, own_words)}", "web") for i in range(3000)]
    documents = write_documents(tmp_path / "documents", [rows[:1000], rows[1000:]])
    assert kept(near(tmp_path, documents)) == stay
    assert pairs(tmp_path, documents, run=8) <= lsh.HUBS * SignParams().bands * len(rows)


@pytest.mark.slow
def test_a_document_of_twenty_megabytes_is_compared_like_any_other(tmp_path):
    generator = np.random.default_rng(3)
    long = " ".join(f"w{n}" for n in generator.integers(0, 10**7, 2_400_000).tolist())
    assert len(long) > 20e6
    rows = [(long, "books"), (f"{long} the end", "books"), (long[: len(long) // 2], "books"), ("short", "web")]
    assert read(near(tmp_path, write_documents(tmp_path / "documents", [rows])))["keep"].to_pylist() == [
        False,
        True,
        True,
        True,
    ]


@pytest.mark.shared
def test_in_every_language_what_goes_is_like_what_stays_and_like_documents_do_not_both_stay(tmp_path, shared):
    tables = [
        pq.read_table(path, columns=["text", "lang"]) for path in sorted((shared / "data/small").glob("*.parquet"))
    ]
    table = pa.concat_tables(tables)
    langs = [lang or "none" for lang in table["lang"].to_pylist()]
    by_lang: dict[str, list[str]] = {}
    for text, lang in zip(table["text"].to_pylist(), langs, strict=True):
        if len(by_lang.setdefault(lang, [])) < 60:
            by_lang[lang].append(text)
    rows = [(text, lang) for lang, texts in by_lang.items() for text in texts]
    rows += [(edited(text, i), lang) for i, (text, lang) in enumerate(rows[::7]) if len(text.split()) > 60]
    mask = read(near(tmp_path, write_documents(tmp_path / "documents", [rows])))
    keep = mask["keep"].to_pylist()
    assert len(by_lang) > 10
    assert not all(keep)
    for lang in by_lang:
        mine = [i for i, (_, other) in enumerate(rows) if other == lang]
        sets = {i: set(twin.shingles(rows[i][0], 5)) for i in mine}
        likes = {i: set() for i in mine}
        for a, b in itertools.combinations(mine, 2):
            small, large = sorted((len(sets[a]), len(sets[b])))
            if small and small >= 0.8 * large and twin.jaccard(sets[a], sets[b]) >= 0.8:
                likes[a].add(b)
                likes[b].add(a)
        stays = {i for i in mine if keep[i]}
        assert not any(likes[i] & stays for i in stays), f"two like documents of {lang} stay"
