"""Which of several like documents stays, by every policy, for exact and for near copies."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from pipeline.dedup import ranking
from pipeline.dedup.exact import EXACT, ExactParams
from pipeline.dedup.match import MatchParams
from pipeline.dedup.ranking import LAST, Keeper
from pipeline.errors import DataError, StageError
from tests.conftest import read, run_stage, write_corpus, write_documents
from tests.stages.dedup import near, prose

TEXT = prose(1)
NEAR = [(TEXT + " and more", "web"), (TEXT, "docs"), (TEXT + " or", "books")]
EXACT_ROWS = [(TEXT + "  ", "web"), (TEXT, "docs"), (TEXT + " ", "books")]

BY_COLUMN = [
    ("oldest", ["2021-03-01", "2020-03-01", "2022-03-01"], "docs"),
    ("newest", ["2021-03-01", "2020-03-01", "2022-03-01"], "books"),
    ("oldest", [None, "2020-03-01", ""], "docs"),
    ("newest", [None, " ", "1969-12-31"], "books"),
    ("oldest", [None, None, None], "web"),
    ("newest", ["2021-03-01", "2021-03-01T00:00:00Z", "1614556800.000001"], "books"),
    ("oldest", ["2021-03-01T02:00:00+02:00", "2021-03-01T00:00:01", "2021-03-01 00:00:00.000001Z"], "web"),
    ("best_score", ["0.5", "0.75", "-3"], "docs"),
    ("best_score", [None, "-1e9", ""], "docs"),
    ("best_score", ["nan", None, "-inf"], "books"),
    ("best_score", ["9", "10", "1e1"], "books"),
    ("best_score", ["-2", "-1", "-1.5"], "docs"),
]


def kept(documents, mask):
    """Return the domains of the documents that stay."""
    return [
        d for d, keep in zip(read(documents)["domain"].to_pylist(), read(mask)["keep"].to_pylist(), strict=True) if keep
    ]


@pytest.mark.parametrize(("keep", "values", "domain"), BY_COLUMN)
def test_the_best_by_a_column_stays_and_without_a_value_comes_last(tmp_path, keep, values, domain):
    best = {"keep": keep, "column": "told"}
    for rows, name in ((EXACT_ROWS, "exact"), (NEAR, "near")):
        documents = write_documents(tmp_path / name, [rows[:1], rows[1:]], told=[values[:1], values[1:]])
        if name == "exact":
            mask = run_stage(tmp_path / "out", EXACT, ExactParams(**best), documents=documents)
        else:
            mask = near(tmp_path / "road", documents, match=MatchParams(**best))
        tied = len(set(values)) == 1
        assert kept(documents, mask) == [domain] if name == "near" or not tied else len(kept(documents, mask)) == 1


@pytest.mark.parametrize("scores", [[0.5, 0.75, 0.25], [None, 0.0, None], [float("nan"), -1.0, None]])
def test_the_best_by_a_corpus_of_scores_stays(tmp_path, scores):
    for rows, name in ((EXACT_ROWS, "exact"), (NEAR, "near")):
        documents = write_documents(tmp_path / name, [rows[:1], rows[1:]])
        tables = [pa.table({"score": pa.array(part, pa.float32())}) for part in (scores[:1], scores[1:])]
        corpus = write_corpus(tmp_path / f"{name} scores", tables, stage="scores")
        if name == "exact":
            params = ExactParams(keep="best_score")
            mask = run_stage(tmp_path / "out", EXACT, params, documents=documents, scores=corpus)
        else:
            mask = near(tmp_path / "road", documents, match=MatchParams(keep="best_score"), scores=corpus)
        assert kept(documents, mask) == ["docs"]


def test_the_best_score_without_scores_is_refused(tmp_path):
    documents = write_documents(tmp_path / "documents", [NEAR])
    with pytest.raises(DataError, match=r"no corpus plays \['scores'\]"):
        run_stage(tmp_path / "out", EXACT, ExactParams(keep="best_score"), documents=documents)


@pytest.mark.parametrize("order", [("docs",), ("books", "docs"), ("web",), ("docs", "web", "books")])
def test_the_preferred_source_stays_although_it_is_shorter(tmp_path, order):
    best = {"keep": "source_priority", "priority": order}
    near_documents = write_documents(tmp_path / "near", [NEAR])
    assert kept(near_documents, near(tmp_path / "road", near_documents, match=MatchParams(**best))) == [order[0]]
    exact_documents = write_documents(tmp_path / "exact", [EXACT_ROWS])
    mask = run_stage(tmp_path / "out", EXACT, ExactParams(**best), documents=exact_documents)
    assert kept(exact_documents, mask) == [order[0]]


def test_within_a_source_and_among_the_unnamed_the_longest_stays(tmp_path):
    rows = [(TEXT, "a"), (TEXT + " more", "b"), (TEXT + " still more", "a")]
    documents = write_documents(tmp_path / "documents", [rows])
    for number, order in enumerate([("a",), ("elsewhere",)]):
        match = MatchParams(keep="source_priority", priority=order)
        assert read(near(tmp_path / str(number), documents, match=match))["keep"].to_pylist() == [False, False, True]


WRONG = [
    ("oldest", "last week", "time"),
    ("newest", "2021-13-01", "time"),
    ("oldest", "2021-03-01T00:00:00 CET", "time"),
    ("best_score", "good", "number"),
    ("best_score", "1,5", "number"),
]


@pytest.mark.parametrize(("keep", "word", "kind"), WRONG)
def test_a_word_that_is_no_time_or_number_is_refused_with_its_column(tmp_path, keep, word, kind):
    documents = write_documents(
        tmp_path / "documents", [NEAR], told=[["2021-03-01" if kind == "time" else "1", None, word]]
    )
    with pytest.raises(StageError, match=rf"(?s)'told'.*neither empty nor a {kind}.*{word}"):
        run_stage(tmp_path / "out", EXACT, ExactParams(keep=keep, column="told"), documents=documents)
    batch = read(documents).combine_chunks().to_batches()[0]
    with pytest.raises(DataError, match="'told'"):
        ranking.ranks(batch, Keeper(keep=keep, column="told"))


@pytest.mark.parametrize("column", ["bytes", "doc_id"])
def test_a_column_that_holds_no_text_is_refused_by_name(tmp_path, column):
    batch = read(write_documents(tmp_path / "documents", [NEAR])).combine_chunks().to_batches()[0]
    for keep in ("oldest", "best_score"):
        with pytest.raises(DataError, match=f"'{column}'"):
            ranking.ranks(batch, Keeper(keep=keep, column=column))


def test_a_column_that_is_not_there_is_refused(tmp_path):
    documents = write_documents(tmp_path / "documents", [NEAR])
    with pytest.raises(DataError, match="no column 'told'"):
        run_stage(tmp_path / "out", EXACT, ExactParams(keep="oldest", column="told"), documents=documents)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"keep": "source_priority"}, "needs `priority`"),
        ({"keep": "oldest"}, "oldest needs `column`"),
        ({"keep": "newest"}, "newest needs `column`"),
        ({"column": "told"}, "longest reads no column"),
        ({"keep": "source_priority", "priority": ("a",), "column": "told"}, "source_priority reads no column"),
        ({"priority": ("a",)}, "longest does not look at `priority`"),
        ({"keep": "tallest"}, "longest"),
    ],
)
def test_a_policy_says_what_it_needs(wrong, said):
    for params in (ExactParams, MatchParams):
        with pytest.raises(ValidationError, match=said):
            params(**wrong)


def ranks(keep, values):
    batch = pa.record_batch({"told": pa.array(values, pa.string())})
    return ranking.ranks(batch, Keeper(keep=keep, column="told"))


@given(st.lists(st.none() | st.floats(), min_size=1))
def test_scores_are_ranked_as_numbers_are(values):
    found = ranks("best_score", [None if v is None else repr(v) for v in values])
    unknown = [v is None or v != v for v in values]
    assert (found == LAST).tolist() == unknown
    known = [(v, r) for v, r, none in zip(values, found.tolist(), unknown, strict=True) if not none]
    for value, rank in known:
        assert all((other > value) == (its < rank) for other, its in known)


@given(st.lists(st.datetimes(), min_size=1))
def test_times_are_ranked_as_times_are(times):
    oldest, newest = (ranks(keep, [t.isoformat() for t in times]) for keep in ("oldest", "newest"))
    assert (oldest == -newest).all()
    order = np.argsort(oldest, kind="stable").tolist()
    assert [times[i] for i in order] == sorted(times)


@pytest.mark.parametrize(
    "same",
    [
        ("2021-03-01", "2021-03-01T00:00", "2021-03-01 00:00:00", "2021-03-01T00:00:00Z", " 2021-03-01T00:00:00.000Z "),
        (
            "2021-03-01T00:00:00+00:00",
            "2021-03-01T02:00:00+02:00",
            "2021-02-28T19:00:00-0500",
            "1614556800",
            "1614556800.0",
        ),
        ("2021-03-01T00:00:00.123456789Z", "2021-03-01T00:00:00.123456", "1614556800.123456"),
    ],
)
def test_the_same_time_in_other_words_has_the_same_rank(same):
    assert len(set(ranks("oldest", list(same)).tolist())) == 1


def test_the_id_decides_between_documents_of_one_rank(tmp_path):
    rows = [(TEXT + " " * i, f"d{i}") for i in range(6)]
    documents = write_documents(tmp_path / "documents", [rows], told=[["1"] * 6])
    for keep in ("oldest", "newest", "best_score"):
        mask = run_stage(tmp_path / keep, EXACT, ExactParams(keep=keep, column="told"), documents=documents)
        ids = [
            tuple(int.from_bytes(i[k : k + 8], "little") for k in (0, 8)) for i in read(documents)["doc_id"].to_pylist()
        ]
        assert read(mask)["keep"].to_pylist() == [i == min(ids) for i in ids]
