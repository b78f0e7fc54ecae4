"""quality.select with criteria, ensembles, quotas, lots and buckets: equal to the slow twin, and to the papers."""

import random
from collections import Counter
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from pipeline.errors import DataError, StageError
from pipeline.histogram import Histogram, merged
from pipeline.quality import quantiles
from pipeline.quality.sampling import Moments, total
from pipeline.quality.scores import from_bits, rising
from pipeline.quality.select_params import SelectParams
from tests.conftest import read, write_corpus
from tests.stages import reference_select as twin
from tests.stages.selected import DOMAINS, corpora, decisions, documents_of, rows, select

FLOATS = st.floats(-1e6, 1e6, width=32)


def some_params(seed):
    """Every part of the params by chance, those that go together."""
    chance = random.Random(seed)
    by = chance.choice(["bytes", "tokens", "documents"])
    rule = chance.choice(["share", "quotas", "both", "threshold", "criteria"])
    params = {"by": by, "scope": chance.choice(["overall", "domain"]), "missing": chance.choice(["drop", "keep"])}
    if chance.random() < 0.5:
        params |= {"ensemble": {"columns": ["good", "fine", "rating"], "buckets": chance.choice([2, 5, 20])}}
    else:
        params |= {"rank": chance.choice(["good", "rating"])}
    if rule in ("share", "both"):
        params["share"] = chance.choice([0.01, 0.3, 0.5, 1.0])
    if rule in ("quotas", "both"):
        params["quotas"] = {"web": 0.25, "forum": {by: chance.choice([1, 40, 10**6])}}
        params["exempt"] = ["books"] if rule == "quotas" else []
    elif chance.random() < 0.5:
        params |= {"exempt": ["books"], "label_only": ["forum"]}
    if rule == "threshold":
        params["threshold"] = 0.5
    if rule == "criteria" or chance.random() < 0.3:
        missing = chance.choice(["drop", "keep"])
        params["criteria"] = [{"column": "rating", "min": 2}, {"column": "fine", "max": 0.9, "missing": missing}]
    if "share" in params or "quotas" in params:
        params |= {"temperature": chance.choice([None, 0, 0.5, 2.0, "infinite"]), "seed": chance.randint(0, 9)}
    params["buckets"] = chance.choice([None, 2, 7, [0.25, 0.75], {"edges": [3], "names": ["low", "high"]}])
    return params


@pytest.mark.parametrize("seed", range(30))
def test_every_decision_is_that_of_the_slow_twin(tmp_path, seed):
    documents = rows(150, seed, levels=[None, [0.0, 0.5, 0.9, 1.0]][seed % 2], missing=0.1)
    inputs, params = corpora(tmp_path, documents), some_params(seed)
    corpus = select(tmp_path / "out", inputs, **params)
    wanted = twin.select(documents_of(inputs, documents), SelectParams(**params))
    with_bucket = ("bucket",) if params["buckets"] else ()
    found = decisions(corpus, inputs["documents"], *with_bucket)
    assert found == {
        doc_id: (keep, reason, *([name] if with_bucket else [])) for doc_id, (keep, reason, _, name) in wanted.items()
    }
    scores = decisions(corpus, inputs["documents"], "score")
    assert all(scores[doc_id][2] == score for doc_id, (_, _, score, _) in wanted.items() if score is not None)


@pytest.mark.parametrize(
    "params",
    [
        {"ensemble": ["good", "fine"], "share": 0.4, "buckets": 3},
        {"rank": "good", "share": 0.3, "temperature": 1.0, "seed": 4, "buckets": 2},
        {"rank": "rating", "quotas": {"web": 0.2, "forum": {"bytes": 900}}, "share": 0.9},
    ],
)
def test_nothing_depends_on_shards_or_order(tmp_path, params):
    documents, found = rows(160, 3), []
    for trial, shards in enumerate((1, 2, 7)):
        order = np.random.default_rng(trial).permutation(len(documents))
        inputs = corpora(tmp_path / str(trial), documents, shards, order)
        corpus = select(tmp_path / str(trial) / "out", inputs, **params)
        more = ("score", "bucket") if "buckets" in params else ("score",)
        found.append((decisions(corpus, inputs["documents"], *more), corpus.manifest.facts, corpus.manifest.ledger))
    assert found[0] == found[1] == found[2]


def test_documents_that_fail_a_criterion_do_not_count_in_the_ranking(tmp_path):
    documents = [d | {"keep": True} for d in rows(100, 1)]
    criteria = [{"column": "rating", "min": 3}]
    corpus = select(
        tmp_path / "out", corpora(tmp_path, documents), rank="good", share=0.5, by="documents", criteria=criteria
    )
    meets = sum(d["rating"] >= 3 for d in documents)
    dropped = Counter(read(corpus)["reason"].to_pylist())
    assert dropped["criterion_rating"] == 100 - meets
    assert read(corpus)["keep"].to_pylist().count(True) == -(-meets // 2)


def test_the_limits_of_a_criterion_belong_to_it_in_the_precision_of_the_column(tmp_path):
    documents = [d | {"keep": True, "good": np.float32(v)} for d, v in zip(rows(4), (0.1, 0.9, 0.4, 0.95), strict=True)]
    corpus = select(
        tmp_path / "out", corpora(tmp_path, documents, 1), criteria=[{"column": "good", "min": 0.1, "max": 0.9}]
    )
    assert read(corpus)["keep"].to_pylist() == [True, True, True, False]


def test_a_text_that_is_no_number_is_refused_with_its_document(tmp_path):
    documents = rows(6)
    documents = [d | {"keep": True} for d in documents]
    inputs = corpora(tmp_path, documents, 1)
    table = read(inputs["documents"])
    column = table.schema.get_field_index("rating")
    spoilt = table.set_column(column, table.schema.field(column), [["4", "", " 5 ", "good", "1", "2"]])
    inputs["documents"] = write_corpus(tmp_path / "spoilt", [spoilt])
    doc_id = table["doc_id"][3].as_py().hex()
    with pytest.raises(
        StageError, match=rf"document {doc_id} of .* \(source id None\) has rating = 'good', which is no"
    ):
        select(tmp_path / "out", inputs, criteria=[{"column": "rating", "min": 2, "missing": "keep"}])


def test_a_text_of_a_document_that_is_not_judged_may_be_anything(tmp_path):
    documents = [d | {"keep": i > 0} for i, d in enumerate(rows(3))]
    inputs = corpora(tmp_path, documents, 1)
    table = read(inputs["documents"])
    column = table.schema.get_field_index("rating")
    inputs["documents"] = write_corpus(
        tmp_path / "other", [table.set_column(column, table.schema.field(column), [["n/a", "2", "4"]])]
    )
    corpus = select(tmp_path / "out", inputs, criteria=[{"column": "rating", "min": 3}])
    assert read(corpus)["reason"].to_pylist() == ["exact_duplicate", "criterion_rating", None]


@pytest.mark.parametrize("params", [{"rank": "good", "share": 0.5}, {"ensemble": ["fine", "good"], "share": 0.5}])
def test_a_missing_number_stops_the_build_unless_said_otherwise(tmp_path, params):
    documents = [d | {"keep": True} for d in rows(8)]
    documents[5] |= {"good": None, "domain": "books"}
    inputs = corpora(tmp_path, documents, 2)
    with pytest.raises(StageError, match=r"domains \['books'\] are kept by the mask but have no good"):
        select(tmp_path / "out", inputs, **params)
    assert select(tmp_path / "dropped", inputs, **params, missing="drop").manifest.ledger


def test_a_column_that_no_input_has_or_two_have_is_refused(tmp_path):
    inputs = corpora(tmp_path, rows(5))
    with pytest.raises(
        DataError, match=r"no input has a column 'godo'; there are good in scores; fine in scores.1; doc_id"
    ):
        select(tmp_path / "out", inputs, rank="godo", share=0.5)
    with pytest.raises(DataError, match=r"scores and scores.2 both have a column 'good'; give the models"):
        select(tmp_path / "out", inputs | {"scores.2": inputs["scores"]}, rank="good", share=0.5)


def test_a_domain_without_a_quota_is_refused_unless_a_share_is_for_all_others(tmp_path):
    inputs = corpora(tmp_path, rows(30))
    with pytest.raises(DataError, match=r"the domains \['books', 'forum'\] have no quota"):
        select(tmp_path / "out", inputs, rank="good", quotas={"web": 0.5})


def test_a_quota_that_a_domain_cannot_fill_takes_all_and_is_told(tmp_path):
    documents = [d | {"keep": True} for d in rows(30)]
    quotas = {"web": {"documents": 10**6}, "forum": {"documents": 1}, "books": 1.0}
    corpus = select(tmp_path / "out", corpora(tmp_path, documents), rank="good", by="documents", quotas=quotas)
    ledger = corpus.manifest.ledger
    web = sum(d["domain"] == "web" for d in documents)
    assert corpus.manifest.facts["less_than_the_quota"] == {"web": web}
    assert ledger["web"]["rows_kept"] == web
    assert ledger["forum"]["rows_kept"] == 1
    assert ledger["forum"]["dropped"] == {"over_quota": ledger["forum"]["rows_in"] - 1}


def drawn(tmp_path, documents, name, **params):
    inputs = corpora(tmp_path / name, documents)
    return select(tmp_path / name / "out", inputs, rank="good", share=0.3, by="documents", **params)


def test_a_temperature_of_zero_cuts_and_an_infinite_one_looks_at_no_score(tmp_path):
    documents = [d | {"keep": True} for d in rows(2000, 5)]
    cut, cold, even = (
        drawn(tmp_path, documents, name, temperature=t) for name, t in (("a", None), ("b", 0), ("c", "infinite"))
    )
    assert read(cut).equals(read(cold))
    scores, keep = read(even)["score"].to_numpy(), read(even)["keep"].to_numpy()
    assert keep.sum() == 600
    assert set(read(even)["reason"].to_pylist()) == {None, "not_sampled"}
    assert abs(scores[keep].mean() - scores.mean()) < 4 * scores.std() / 600**0.5
    flat = [d | {"good": np.float32(0.5)} for d in documents]  # no score tells more than another
    assert read(drawn(tmp_path, flat, "d", temperature=0.1))["keep"].equals(read(even)["keep"])


def test_a_higher_temperature_keeps_worse_documents_and_a_seed_others(tmp_path):
    documents = [d | {"keep": True} for d in rows(2000, 6)]
    tables = [read(drawn(tmp_path, documents, f"{t}", temperature=t)) for t in (0.25, 1.0, 4.0)]
    means = [table["score"].to_numpy()[table["keep"].to_numpy()].mean() for table in tables]
    assert means[0] > means[1] > means[2] > 0.5
    other = read(drawn(tmp_path, documents, "seed", temperature=1.0, seed=1))
    assert not other["keep"].equals(tables[1]["keep"])


def test_a_document_is_drawn_with_the_probability_of_the_paper(tmp_path):
    """With one of many drawn, p is exp(z / temperature), normalised: twice the weight is drawn twice as often."""
    documents = [d | {"keep": True, "good": np.float32(i % 2)} for i, d in enumerate(rows(6000, 7))]
    inputs = corpora(tmp_path, documents)
    corpus = select(
        tmp_path / "out", inputs, rank="good", quotas=dict.fromkeys(DOMAINS, 0.02), by="documents", temperature=1.5
    )
    scores, keep = read(corpus)["score"].to_numpy(), read(corpus)["keep"].to_numpy()
    odds = (scores[keep] == 1).sum() / (scores[keep] == 0).sum()
    assert odds == pytest.approx(np.exp(2 / 1.5), rel=0.5)  # the scores are a standard deviation above and below


def test_one_scorer_that_thinks_well_of_a_document_is_enough(tmp_path):
    documents = [d | {"keep": True} for d in rows(400, 8)]
    inputs = corpora(tmp_path, documents)
    corpus = select(tmp_path / "out", inputs, ensemble=["good", "fine"], threshold=19, by="documents")
    place = {name: np.argsort(np.argsort([d[name] for d in documents])) for name in ("good", "fine")}
    wanted = (place["good"] >= 380) | (place["fine"] >= 380)
    assert read(corpus)["keep"].to_pylist() == wanted.tolist()
    assert set(read(corpus)["score"].to_pylist()) == set(range(20))
    assert len(corpus.manifest.facts["points"]["good"]["overall"]) == 19


def test_a_scorer_that_says_the_same_of_all_lifts_nobody(tmp_path):
    documents = [d | {"keep": True, "fine": np.float32(0.7)} for d in rows(100, 9)]
    inputs = corpora(tmp_path, documents)
    both = select(tmp_path / "both", inputs, ensemble=["good", "fine"], share=0.2)
    one = select(tmp_path / "one", inputs, ensemble=["good"], share=0.2)
    assert read(both).equals(read(one))


def test_buckets_share_out_what_is_kept_and_the_manifest_counts_them(tmp_path):
    documents = [d | {"keep": True} for d in rows(300, 10)]
    buckets = {"count": 3, "names": ["low", "mid", "high"]}
    params = {"rank": "good", "share": 0.5, "by": "documents", "scope": "domain", "buckets": buckets}
    corpus = select(tmp_path / "out", corpora(tmp_path, documents), **params)
    for domain, counts in corpus.manifest.facts["buckets"].items():
        sizes = [counts[name]["documents"] for name in buckets["names"]]
        assert sum(sizes) == corpus.manifest.ledger[domain]["rows_kept"]
        assert max(sizes) - min(sizes) <= 1
    table = read(corpus)
    means = {
        name: np.mean(
            [s for s, b in zip(table["score"].to_pylist(), table["bucket"].to_pylist(), strict=True) if b == name]
        )
        for name in buckets["names"]
    }
    assert means["low"] < means["mid"] < means["high"]
    assert table["bucket"].is_null().to_pylist() == [not keep for keep in table["keep"].to_pylist()]


def test_a_domain_called_as_a_bucket_is_refused(tmp_path):
    documents = [d | {"domain": ("web", "web/1")[i % 2]} for i, d in enumerate(rows(8))]
    with pytest.raises(DataError, match="'web/1' is called as a bucket of another"):
        select(tmp_path / "out", corpora(tmp_path, documents), rank="good", share=0.5, buckets=2)


@given(
    st.lists(st.tuples(FLOATS, st.integers(0, 2**40)), min_size=1, max_size=50), st.integers(2, 20), st.integers(0, 50)
)
def test_quantiles_of_merged_histograms_are_those_of_the_sorted_list(pairs, count, at):
    parts = [pairs[:at], pairs[at:]]

    def view(part):
        yield ("", ""), np.array([v for v, _ in part], np.float32), np.array([w for _, w in part], np.int64)

    def fold(known):
        halves = [quantiles.histograms([part], view=view, known=known) for part in parts if part]
        return merged(*halves) if len(halves) == 2 else halves[0]

    assert quantiles.solve(fold, count)["", ""] == tuple(map(float, twin.edges(pairs, count)))


@given(
    st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1, max_size=40), st.integers(0, 40)
)
def test_moments_are_exact_and_add_up(scores, at):
    values = np.array(scores, np.float32)
    scale = total([Moments.of(values[:at]), Moments.of(values[at:])]).scale()
    exact = [Fraction(float(value)) for value in values]
    mean = sum(exact) / len(exact)
    assert scale.mean == float(mean)
    assert scale.deviation == pytest.approx(float(sum((v - mean) ** 2 for v in exact) / len(exact)) ** 0.5)


@given(st.lists(st.floats(width=32, allow_nan=False), min_size=2))
def test_bits_rise_with_scores_and_can_be_read_back(scores):
    values = np.array(sorted(scores), np.float32)
    keys = rising(values)
    assert np.all(keys[1:] >= keys[:-1])
    assert [from_bits(int(key)) for key in keys] == values.tolist()


def test_moments_of_many_and_of_none():
    values = np.random.default_rng(0).normal(3, 2, 100_000).astype(np.float32)
    scale = Moments.of(values).scale()
    assert (scale.mean, scale.deviation) == pytest.approx((values.mean(dtype=float), values.std(dtype=float)))
    assert Moments.of(values[:0]).scale().deviation == 0
    assert Histogram.of(np.zeros(0), np.zeros(0)).total_weight == 0


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({"share": 0.5, "threshold": 0.5}, "exactly one of `share`"),
        ({"threshold": 90}, "`score` is taken for a probability"),
        ({"threshold": 0.5, "temperature": 1.0}, "draws up to a `share`"),
        ({"share": 0.5, "temperature": -1.0}, "temperature is -1"),
        ({"share": 0.5, "rank": "a", "ensemble": ["b"]}, "leave out one"),
        ({"share": 0.5, "ensemble": ["b", "b"]}, "more than once"),
        ({"quotas": {"web": {"tokens": 5}}}, "counts tokens, but `by` is bytes"),
        ({"quotas": {"web": {"share": 0.5, "bytes": 5}}}, "a quota is one of"),
        ({"quotas": {"web": 0.5}, "exempt": ["web"]}, "have a quota but stand outside"),
        ({"criteria": [{"column": "a"}]}, "neither `min` nor `max`"),
        ({"criteria": [{"column": "a", "min": 2, "max": 1}]}, "min 2 above max 1"),
        ({"criteria": [{"column": "a", "min": 2}, {"column": "a", "max": 3}]}, "several criteria"),
        ({"share": 0.5, "buckets": {}}, "either `count`"),
        ({"share": 0.5, "buckets": [0.5, 0.5]}, "edges must rise"),
        ({"share": 0.5, "buckets": {"count": 2, "names": ["a"]}}, "2 buckets have 1 names"),
        ({"share": 0.5, "buckets": {"count": 2, "names": ["a", "b/c"]}}, "'b/c' is empty, has a `/`"),
    ],
)
def test_params_that_do_not_go_together_are_refused(params, said):
    with pytest.raises(ValidationError, match=said):
        SelectParams(**params)
