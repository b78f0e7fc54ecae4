"""quality.strength: the formula on losses from elsewhere, beside each document, and ladders of no use refused."""

import math

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import scipy.stats

from pipeline.errors import DataError
from pipeline.execution import LocalRunner
from pipeline.quality.ladder import Ladder
from pipeline.quality.losses import LOSSES, LossesParams
from pipeline.quality.strength import DOCUMENT, STRENGTH, StrengthParams, check, of_use, strengths
from pipeline.schemas import DOC_ID, mask
from tests.conftest import read, run_stage, write_corpus, write_documents
from tests.kernels import reference_strength

SCORES = {"tiny": 30.0, "small": 42.5, "middle": 41.0, "large": 60.0}
BETTER = ("tiny", "middle", "small", "large")
ROWS = [(f"text number {i} " * (1 + i % 4), ("web", "forum")[i % 2]) for i in range(60)]


@pytest.fixture
def documents(tmp_path):
    return write_documents(tmp_path / "documents", [ROWS[:25], ROWS[25:40], ROWS[40:]])


@pytest.fixture
def scores(tmp_path):
    path = tmp_path / "scores.csv"
    path.write_text("model,score\n" + "".join(f"{model},{score}\n" for model, score in SCORES.items()))
    return path


def invented(documents, models=SCORES, noise=0.3, seed=0):
    """Return nats [N, M]: better models lose less on the whole, but not on every document."""
    rng = np.random.default_rng(seed)
    sizes = np.array(read(documents)["bytes"].to_pylist())
    means = np.array([1.6 - 0.01 * SCORES[model] for model in models])
    return np.round(np.maximum(rng.normal(means, noise, (len(sizes), len(means))), 0.05) * sizes[:, None], 3)


def losses(root, documents, nats, models=SCORES, rows=None):
    """Import the losses of documents (all, or those named by `rows`)."""
    table, chosen = read(documents), list(range(len(nats))) if rows is None else list(rows)
    ids = [table["doc_id"][i].as_py() for i in chosen]
    sizes = [table["bytes"][i].as_py() for i in chosen]
    columns = {"doc_id": [], "model": [], "nats": [], "bytes": []}
    for at, model in enumerate(models):
        columns["doc_id"] += ids
        columns["model"] += [model] * len(ids)
        columns["nats"] += [float(nats[i, at]) for i in chosen]
        columns["bytes"] += sizes
    schema = pa.schema([("doc_id", DOC_ID), ("model", pa.string()), ("nats", pa.float64()), ("bytes", pa.int64())])
    root.mkdir(parents=True)
    pq.write_table(pa.table(columns, schema=schema), root / "losses.parquet")
    roles = {"documents": documents, "losses.given": root / "losses.parquet"}
    return run_stage(root / "corpus", LOSSES, LossesParams(), **roles)


def strength(root, documents, scores, made, params=None, runner=None, **more):
    corpora = made if isinstance(made, dict) else {"losses": made}
    params = params or StrengthParams()
    return run_stage(root, STRENGTH, params, runner=runner, documents=documents, scores=scores, **corpora, **more)


def expected(documents, nats, models=SCORES):
    bits = nats / np.array(read(documents)["bytes"].to_pylist())[:, None]
    return [reference_strength.agreement(row, [SCORES[model] for model in models]) for row in bits]


def test_strength_is_that_of_the_formula_beside_each_document(tmp_path, documents, scores):
    nats = invented(documents)
    made = strength(tmp_path / "out", documents, scores, losses(tmp_path / "l", documents, nats))
    assert made.manifest.shards[1].rows == 15
    np.testing.assert_allclose(read(made)["strength"].to_pylist(), expected(documents, nats), rtol=1e-6)
    of_use(StrengthParams(), made)


def test_models_may_come_in_several_tables_and_workers_do_not_matter(tmp_path, documents, scores):
    nats = invented(documents)
    whole = strength(tmp_path / "whole", documents, scores, losses(tmp_path / "l", documents, nats))
    parts = {
        f"losses.{model}": losses(tmp_path / model, documents, nats[:, [at]], [model])
        for at, model in enumerate(SCORES)
    }
    with LocalRunner(2) as runner:
        split = strength(tmp_path / "split", documents, scores, parts, runner=runner)
    assert whole.manifest.shards == split.manifest.shards
    assert whole.manifest.facts == split.manifest.facts


def test_spearman_is_half_of_one_less_rho(tmp_path, documents, scores):
    nats = invented(documents)
    made = losses(tmp_path / "l", documents, nats)
    found = read(strength(tmp_path / "out", documents, scores, made, StrengthParams(statistic="spearman")))
    rho = [scipy.stats.spearmanr(row, list(SCORES.values())).statistic for row in nats]
    np.testing.assert_allclose(found["strength"].to_pylist(), [(1 - r) / 2 for r in rho], atol=1e-6)


def test_documents_without_all_losses_and_dropped_ones_are_unknown(tmp_path, documents, scores):
    nats = invented(documents)
    some = {
        "losses.a": losses(tmp_path / "a", documents, nats[:, :2], list(SCORES)[:2]),
        "losses.b": losses(tmp_path / "b", documents, nats[:, 2:], list(SCORES)[2:], rows=range(50)),
    }
    keep = [i % 3 != 0 for i in range(60)]
    tables = [
        pa.table({"keep": part, "reason": pa.array([None if k else "exact_duplicate" for k in part], pa.string())})
        for part in (keep[:25], keep[25:40], keep[40:])
    ]
    masked = write_corpus(tmp_path / "mask", [table.cast(mask()) for table in tables], "dedup.exact")
    made = strength(tmp_path / "out", documents, scores, some, mask=masked)
    known = [value is not None for value in read(made)["strength"].to_pylist()]
    assert known == [keep[i] and i < 50 for i in range(60)]
    facts = made.manifest.facts
    assert (facts["scored_by_some"], facts["scored_by_all"]) == (sum(keep), sum(keep[:50]))
    assert sum(sum(bins) for bins in facts["documents_by_strength"].values()) == sum(keep[:50])
    assert sum(facts["unknown"].values()) == sum(keep[50:])


def test_a_text_that_is_there_twice_has_one_strength(tmp_path, scores):
    documents = write_documents(tmp_path / "documents", [ROWS[:20], ROWS[:20]])
    nats = invented(documents)
    made = losses(tmp_path / "l", documents, nats, rows=range(20))
    found = read(strength(tmp_path / "out", documents, scores, made))["strength"].to_pylist()
    assert found[:20] == found[20:]
    assert None not in found


def test_facts_tell_the_ladder_the_distribution_and_the_share_at_the_top(tmp_path, documents, scores):
    nats = invented(documents)
    made = strength(tmp_path / "out", documents, scores, losses(tmp_path / "l", documents, nats))
    facts, values = made.manifest.facts, expected(documents, nats)
    assert [row["model"] for row in facts["models"]] == list(BETTER)
    means = (nats / np.array(read(documents)["bytes"].to_pylist())[:, None] / math.log(2)).mean(0)
    by_model = dict(zip(SCORES, means, strict=True))
    for row in facts["models"]:
        assert row["bits_per_byte"] == pytest.approx(by_model[row["model"]], abs=1e-5)
        assert (row["score"], row["documents"]) == (SCORES[row["model"]], 60)
    assert facts["rank_correlation"] == pytest.approx(scipy.stats.spearmanr(means, list(SCORES.values())).statistic)
    assert facts["saturated"] == sum(value == 1 for value in values)
    domains = read(documents)["domain"].to_pylist()
    for domain in ("web", "forum"):
        of_domain = [round(value * 6) for value, d in zip(values, domains, strict=True) if d == domain]
        assert facts["documents_by_strength"][domain] == np.bincount(of_domain, minlength=7).tolist()


def test_a_saturated_ladder_is_refused(tmp_path, documents, scores):
    made = strength(
        tmp_path / "out", documents, scores, losses(tmp_path / "l", documents, invented(documents, noise=0.0))
    )
    with pytest.raises(DataError, match=r"100% of documents have strength 1, and `saturated` allows 50%"):
        of_use(StrengthParams(), made)
    of_use(StrengthParams(saturated=1), made)


def test_a_ladder_whose_better_models_lose_more_is_refused(tmp_path, documents, scores):
    nats = invented(documents)[:, ::-1]
    made = strength(tmp_path / "out", documents, scores, losses(tmp_path / "l", documents, nats))
    with pytest.raises(DataError, match=r"better models do not lose less here \(rank correlation"):
        of_use(StrengthParams(), made)


def test_losses_of_too_few_common_documents_are_refused(tmp_path, documents, scores):
    nats = invented(documents)
    some = {
        "losses.a": losses(tmp_path / "a", documents, nats[:, :2], list(SCORES)[:2]),
        "losses.b": losses(tmp_path / "b", documents, nats[:, 2:], list(SCORES)[2:], rows=range(50)),
    }
    made = strength(tmp_path / "out", documents, scores, some)
    with pytest.raises(DataError, match=r"of 60 documents with a loss 50 have one of every model .*large 50.*90% are"):
        of_use(StrengthParams(), made)
    of_use(StrengthParams(coverage=0.8), made)
    with pytest.raises(DataError, match="100% are asked for"):
        of_use(StrengthParams(coverage=0.8, missing="refuse"), made)


def test_limits_are_no_part_of_what_the_corpus_is():
    assert StrengthParams(saturated=1, coverage=0, missing="refuse").model_dump() == StrengthParams().model_dump()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("model,score\ntiny,1\nsmall,2\nmiddle,2\nlarge,4\n", "the models 'middle' and 'small' have the same score 2"),
        ("model,score\ntiny,1\nsmall,2\nmiddle,3\n", "gives no score to the model 'large', which has losses"),
    ],
)
def test_scores_that_make_no_ladder_are_refused(tmp_path, documents, text, said):
    path = tmp_path / "scores.csv"
    path.write_text(text)
    with pytest.raises(DataError, match=said):
        strength(tmp_path / "out", documents, path, losses(tmp_path / "l", documents, invented(documents)))


def test_two_models_make_no_ladder(tmp_path, documents, scores):
    made = losses(tmp_path / "l", documents, invented(documents), list(SCORES)[:2])
    with pytest.raises(DataError, match=r"2 models with scores and losses \(small, tiny\) make no ladder"):
        strength(tmp_path / "out", documents, scores, made)


def test_losses_of_one_model_from_two_steps_are_refused(tmp_path, documents, scores):
    made = losses(tmp_path / "l", documents, invented(documents))
    with pytest.raises(DataError, match=r"losses.a and losses.b both have losses of the model"):
        strength(tmp_path / "out", documents, scores, {"losses.a": made, "losses.b": made})


def test_scores_are_means_over_benchmarks_that_every_model_has(tmp_path, documents):
    from pipeline.quality.ladder import read_scores

    rows = [(model, name, score + shift) for model, score in SCORES.items() for name, shift in (("a", 1), ("b", -1))]
    table = pa.table(dict(zip(("model", "benchmark", "score"), map(list, zip(*rows, strict=True)), strict=True)))
    pq.write_table(table, tmp_path / "scores.parquet")
    assert read_scores(tmp_path / "scores.parquet") == SCORES
    pq.write_table(table.slice(0, len(rows) - 1), tmp_path / "less.parquet")
    with pytest.raises(DataError, match="the model 'large' has no score on 'b'"):
        check(StrengthParams(), {"scores": tmp_path / "less.parquet"})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name,score\na,1\n", "has no column 'model'; it has name, score"),
        ("model,score\na,good\n", "row 1: .* is no model with a score"),
        ("model,score\na,nan\n", "row 1: .* is no model with a score"),
        ("model,score\na,\n", "row 1: .* is no model with a score"),
        ("model,score\na,1\na,2\n", "row 2: the model 'a' has the benchmark '' twice"),
        ("", "cannot be read as CSV or Parquet"),
    ],
)
def test_a_table_of_scores_that_makes_no_sense_is_refused_before_anything_runs(tmp_path, text, said):
    (tmp_path / "scores.csv").write_text(text)
    with pytest.raises(DataError, match=said):
        check(StrengthParams(), {"scores": tmp_path / "scores.csv"})


def test_scores_of_models_without_losses_are_told(tmp_path, documents):
    path = tmp_path / "scores.csv"
    path.write_text("model,score\nhuge,90\n" + "".join(f"{model},{score}\n" for model, score in SCORES.items()))
    made = strength(tmp_path / "out", documents, path, losses(tmp_path / "l", documents, invented(documents)))
    assert made.manifest.facts["notes"] == ["the table of scores names models without losses: huge"]


def test_documents_without_a_single_shard_or_loss_of_theirs_are_refused_by_the_gate(tmp_path, documents, scores):
    other = write_documents(tmp_path / "other", [[("quite another text", "web")]])
    made = strength(tmp_path / "out", other, scores, losses(tmp_path / "l", documents, invented(documents)))
    assert read(made)["strength"].to_pylist() == [None]
    assert made.manifest.facts["of_no_kept_document"] == 60
    with pytest.raises(DataError, match="of 0 documents with a loss 0 have one of every model"):
        of_use(StrengthParams(), made)


def test_of_two_losses_of_one_document_the_smallest_counts():
    rows = [("a", 0, 3.0), ("a", 1, 9.0), ("a", 1, 2.0), ("a", 1, 9.0), ("a", 2, 1.0), ("a", DOCUMENT, 0.0)]
    ids, models, bits = zip(*rows, strict=True)
    table = pa.table(
        {
            "doc_id": pa.array([name.encode() * 16 for name in ids], DOC_ID),
            "model": pa.array(models, pa.int16()),
            "bits": bits,
            "address": pa.array([0] * 5 + [7], pa.uint64()),
        }
    )
    ladder = Ladder(("x", "y", "z"), (1.0, 2.0, 3.0))
    made, told = strengths(Whole(table), ladder=ladder, statistic="agreement")
    assert made.to_pylist() == [{"address": 7, "strength": 1.0}]
    assert told["microbits"] == {"x": 3_000_000, "y": 2_000_000, "z": 1_000_000}


class Whole:
    """A partition that is in memory."""

    def __init__(self, table):
        self.table = lambda: table
