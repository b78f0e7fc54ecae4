"""quality.select: the share is exact to a document, and nothing depends on shards or on the order of rows."""

from fractions import Fraction

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from pipeline.errors import DataError, StageError
from pipeline.histogram import Histogram
from pipeline.quality.ranking import Learned
from pipeline.quality.select import SELECT, schema, select_batch
from pipeline.quality.select_params import SelectParams
from pipeline.schemas import mask
from tests.conftest import documents_table, read, run_stage, write_corpus

SCORES = pa.schema([("score", pa.float32())])


def corpora(root, rows, shards=3, order=None, kept=None, lengths=None):
    """Documents of (text, domain, score) rows cut into shards, their scores, and if asked a mask and token counts."""
    order = list(order if order is not None else range(len(rows)))
    cuts = [order[len(order) * s // shards : len(order) * (s + 1) // shards] for s in range(shards)]

    def write(name, schema, *columns):
        table = pa.table([pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)], schema)
        return write_corpus(root / name, [table.take(pa.array(cut, pa.int64())) for cut in cuts])

    found = {
        "documents": write_corpus(root / "documents", [documents_table([rows[i][:2] for i in cut]) for cut in cuts]),
        "scores": write("scores", SCORES, [row[2] for row in rows]),
    }
    if kept is not None:
        found["mask"] = write("mask", mask(), kept, [None if keep else "exact_duplicate" for keep in kept])
    if lengths is not None:
        found["tokens"] = write("tokens", pa.schema([("length", pa.int64())]), lengths)
    return found


def select(root, inputs, **params):
    return run_stage(root, SELECT, SelectParams(**params), **inputs)


def decisions(corpus, documents):
    """(keep, reason) by doc_id."""
    ids = read(documents)["doc_id"].to_pylist()
    table = read(corpus)
    return dict(zip(ids, zip(table["keep"].to_pylist(), table["reason"].to_pylist(), strict=True), strict=True))


def some_rows(n, seed=0, levels=None):
    """Documents whose scores are distinct, or one of `levels`, in three domains."""
    rng = np.random.default_rng(seed)
    scores = rng.random(n, np.float32) if levels is None else rng.choice(levels, n)
    domains = rng.choice(["web", "forum", "books"], n)
    return [
        (f"text {i} " + "x" * int(rng.integers(0, 200)), str(d), float(s))
        for i, (d, s) in enumerate(zip(domains, scores, strict=True))
    ]


def weights_of(rows, by, lengths=None):
    if by == "documents":
        return [1] * len(rows)
    return lengths if by == "tokens" else [len(text.encode()) for text, _, _ in rows]


@pytest.mark.parametrize("by", ["bytes", "tokens", "documents"])
@pytest.mark.parametrize("share", [0.001, 0.1, 0.5, 0.97, 1.0])
@pytest.mark.parametrize("levels", [None, [0.0, 0.5, 1.00001]], ids=["distinct scores", "three scores"])
def test_the_kept_share_is_exact_to_one_document(tmp_path, by, share, levels):
    rows = some_rows(300, levels=levels)
    lengths = list(range(1, 301))
    inputs = corpora(tmp_path, rows, lengths=lengths)
    table = read(select(tmp_path / "out", inputs, share=share, by=by))
    weights = np.array(weights_of(rows, by, lengths))
    keep, scores = table["keep"].to_numpy(), np.array([row[2] for row in rows])
    wanted = Fraction(str(share)) * int(weights.sum())
    assert weights[keep].sum() >= wanted
    lowest = scores[keep].min()
    assert scores[~keep].max(initial=-1) <= lowest
    at_the_cut = weights[keep & (scores == lowest)]
    assert weights[keep].sum() - at_the_cut.max() < wanted


@pytest.mark.parametrize("scope", ["overall", "domain"])
def test_decisions_do_not_depend_on_shards_or_order(tmp_path, scope):
    rows = some_rows(200, levels=[0.1, 0.2, 0.3])
    found = []
    for trial, shards in enumerate((1, 2, 7)):
        inputs = corpora(tmp_path / str(trial), rows, shards, np.random.default_rng(trial).permutation(len(rows)))
        mask_ = select(tmp_path / str(trial) / "out", inputs, share=0.4, scope=scope)
        found.append((decisions(mask_, inputs["documents"]), mask_.manifest.facts, mask_.manifest.ledger))
    assert found[0] == found[1] == found[2]


def test_each_domain_keeps_its_share(tmp_path):
    rows = some_rows(300)
    table = read(select(tmp_path / "out", corpora(tmp_path, rows), share=0.25, by="documents", scope="domain"))
    keep = table["keep"].to_numpy()
    for domain in ("web", "forum", "books"):
        here = np.array([row[1] == domain for row in rows])
        assert keep[here].sum() == -(-here.sum() // 4)


def test_a_threshold_keeps_scores_that_reach_it(tmp_path):
    rows = [("a", "web", 0.89), ("b", "web", 0.9), ("c", "web", 0.91), ("d", "web", 1.00001)]
    corpus = select(tmp_path / "out", corpora(tmp_path, rows, 2), threshold=0.9)
    assert read(corpus)["keep"].to_pylist() == [False, True, True, True]
    assert read(corpus)["reason"].to_pylist() == ["low_quality", None, None, None]
    assert read(corpus)["score"].to_pylist() == pytest.approx([row[2] for row in rows])


def test_exempt_domains_are_kept_and_label_only_domains_are_dropped_and_neither_counts(tmp_path):
    rows = [(f"{domain} {i}", domain, i / 10) for domain in ("web", "code", "reference") for i in range(10)]
    inputs = corpora(tmp_path, rows)
    corpus = select(tmp_path / "out", inputs, share=0.5, by="documents", exempt=["code"], label_only=["reference"])
    ledger = corpus.manifest.ledger
    assert (ledger["code"]["rows_kept"], ledger["web"]["rows_kept"]) == (10, 5)
    assert ledger["reference"]["dropped"] == {"label_only": 10}
    assert ledger["web"]["dropped"] == {"low_quality": 5}
    kept_web = [
        row[2] for row, keep in zip(rows, read(corpus)["keep"].to_pylist(), strict=True) if keep and row[1] == "web"
    ]
    assert kept_web == [0.5, 0.6, 0.7, 0.8, 0.9]


def test_what_was_dropped_before_stays_so_for_its_earlier_reason_and_does_not_count(tmp_path):
    rows = [(f"d{i}", "web", None if i % 2 else i / 20) for i in range(20)]
    inputs = corpora(tmp_path, rows, kept=[i % 2 == 0 for i in range(20)])
    corpus = select(tmp_path / "out", inputs, share=0.5, by="documents")
    table = read(corpus)
    assert table["keep"].to_pylist() == [i % 2 == 0 and i >= 10 for i in range(20)]
    assert set(table["reason"].to_pylist()[1::2]) == {"exact_duplicate"}
    assert corpus.manifest.ledger["web"]["dropped"] == {"low_quality": 5}


def test_documents_that_weigh_nothing_are_kept_when_all_is(tmp_path):
    rows = [("a", "web", 0.1), ("b", "web", 0.9)]
    corpus = select(tmp_path / "out", corpora(tmp_path, rows, 1, lengths=[0, 5]), share=1.0, by="tokens")
    assert read(corpus)["keep"].to_pylist() == [True, True]


def test_a_kept_document_without_a_score_is_an_error_that_names_its_domain(tmp_path):
    with pytest.raises(StageError, match=r"domains \['books'\] are kept by the mask but have no score"):
        select(tmp_path / "out", corpora(tmp_path, [("a", "web", 0.5), ("b", "books", None)], 1), share=0.5)


def test_an_unknown_domain_is_refused_with_those_there_are(tmp_path):
    inputs = corpora(tmp_path, [("a", "web", 0.5)], 1)
    with pytest.raises(DataError, match=r"exempt names \['wbe'\], but the domains are \['web'\]"):
        select(tmp_path / "out", inputs, share=0.5, exempt=["wbe"])


def test_tokens_without_token_counts_are_refused(tmp_path):
    with pytest.raises(DataError, match="needs the role `tokens`"):
        select(tmp_path / "out", corpora(tmp_path, [("a", "web", 0.5)], 1), share=0.5, by="tokens")


@pytest.mark.parametrize("params", [{}, {"share": 0.5, "threshold": 0.5}])
def test_exactly_one_rule_is_wanted(params):
    with pytest.raises(ValidationError, match="exactly one of `share`"):
        SelectParams(**params)


def test_a_domain_cannot_be_both_kept_and_dropped():
    with pytest.raises(ValidationError, match=r"\['code'\] are both exempt"):
        SelectParams(share=0.5, exempt=("code", "web"), label_only=("code",))


def test_an_empty_corpus_is_selected_from_without_complaint(tmp_path):
    inputs = corpora(tmp_path, [], 1)
    assert read(select(tmp_path / "out", inputs, share=0.5)).schema.equals(schema(SelectParams(share=0.5)))


def test_a_batch_function_needs_no_runner():
    table = documents_table([("a", "web"), ("b", "code")])
    batch = table.append_column("score", pa.array([0.2, 0.1], pa.float32()))
    batch = batch.append_column("keep", pa.array([True, True])).append_column("reason", pa.nulls(2, pa.string()))
    out = select_batch(batch.to_batches()[0], SelectParams(threshold=0.5, exempt=("code",)), Learned())
    assert out["reason"].to_pylist() == ["low_quality", None]


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 2**40)), max_size=40), st.integers(0, 40))
@settings(deadline=None)
def test_histograms_of_parts_add_up_to_the_histogram_of_all(pairs, at):
    def of(some):
        bins, weights = (np.array(column, np.int64) for column in (zip(*some, strict=True) if some else ((), ())))
        return Histogram.of(bins, weights)

    whole, sum_ = of(pairs), of(pairs[:at]) + of(pairs[at:])
    for field in ("bins", "documents", "weights"):
        assert getattr(whole, field).tolist() == getattr(sum_, field).tolist()
