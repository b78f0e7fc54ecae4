"""quality.train and quality.score: from labels to a model that official fastText reads, and its scores."""

import numpy as np
import pyarrow as pa
import pytest
from pydantic import ValidationError
from sklearn.metrics import roc_auc_score

from pipeline.errors import DataError
from pipeline.quality.judge import auc
from pipeline.quality.score import SCORE, ScoreParams
from pipeline.quality.train import TRAIN
from pipeline.quality.train_params import TrainParams
from pipeline.schemas import mask
from tests.conftest import read, run_stage, write_corpus, write_documents
from tests.kernels import official_fasttext as official

DOMAINS = {"positive": ("reference",), "negative": ("forum",)}
SETTINGS = {"bucket": 4096, "epochs": 2, "learning_rate": 0.5}


def invented(n=400, seed=0):
    """(text, domain) rows: `reference` favours the first half of the words, `forum` the second, `web` none."""
    rng = np.random.default_rng(seed)
    words = np.array(official.WORDS)
    places = np.arange(len(words))
    rows = []
    for i in range(n):
        domain = ("reference", "forum", "web")[i % 3]
        p = {"reference": places < 35, "forum": places >= 35, "web": places >= 0}[domain] + 0.5
        text = " ".join(rng.choice(words, int(rng.integers(5, 60)), p=p / p.sum()))
        rows.append((text + f"\nnumber {i}\n", domain))
    return rows


def shards_of(rows, n=3, seed=None):
    order = np.arange(len(rows)) if seed is None else np.random.default_rng(seed).permutation(len(rows))
    return [[rows[i] for i in part] for part in np.array_split(order, n)]


def train(root, documents, **params):
    inputs = {"documents": documents} if not isinstance(documents, dict) else documents
    return run_stage(root, TRAIN, TrainParams(**{**DOMAINS, **SETTINGS, **params}), **inputs)


def model_bytes(corpus):
    return (corpus.root / "data" / "model.bin").read_bytes()


@pytest.mark.slow
def test_the_model_scores_as_official_fasttext_does(tmp_path):
    documents = write_documents(tmp_path / "documents", shards_of(invented()))
    model = train(tmp_path / "model", documents)
    scores = read(run_stage(tmp_path / "scores", SCORE, ScoreParams(), **{"documents": documents, "model.0": model}))[
        "score"
    ]
    texts = read(documents)["text"].to_pylist()
    expected = [found["__label__1"] for found in official.predict(model.root / "data" / "model.bin", texts)]
    np.testing.assert_allclose(scores.to_numpy(), expected, atol=1e-6)


def test_it_tells_the_classes_apart_on_documents_held_out(tmp_path):
    facts = train(tmp_path / "model", write_documents(tmp_path / "documents", shards_of(invented(900)))).manifest.facts
    assert facts["held_out_auc"] > 0.9
    assert 10 < facts["held_out_documents"]["positive"] < 60
    assert facts["documents_found"] == {"positive": 300, "negative": 300}
    assert facts["newlines"] == "space"


def test_shards_and_order_of_rows_change_no_byte_of_the_model(tmp_path):
    rows = invented()
    models = []
    for trial, shards in enumerate((1, 2, 5)):
        documents = write_documents(tmp_path / f"documents-{trial}", shards_of(rows, shards, seed=trial))
        models.append(model_bytes(train(tmp_path / f"model-{trial}", documents, max_bytes=5000)))
    assert models[0] == models[1] == models[2]


def test_another_seed_takes_another_sample(tmp_path):
    documents = write_documents(tmp_path / "documents", shards_of(invented()))
    first, second = (train(tmp_path / f"model-{seed}", documents, seed=seed, max_bytes=5000) for seed in (0, 1))
    assert model_bytes(first) != model_bytes(second)


def test_the_sample_is_balanced_and_bounded(tmp_path):
    rows = invented() + [(f"short {i}", "forum") for i in range(500)]
    documents = write_documents(tmp_path / "documents", shards_of(rows))
    facts = train(tmp_path / "model", documents, max_bytes=6000).manifest.facts
    assert facts["documents_found"] == {"positive": 134, "negative": 633}
    assert facts["bytes_sampled"] <= 12000
    positive = sorted(len(text.encode()) for text, domain in rows if domain == "reference")
    assert facts["documents_sampled_per_class"] > 6000 // positive[-1] - 1
    assert facts["documents_sampled_per_class"] < 134


def test_classes_may_be_told_by_a_column(tmp_path):
    rows = [(text, "web") for text, _ in invented(300)]
    grade = [["good", "bad", None][i % 3] for i in range(300)]
    documents = write_documents(tmp_path / "documents", [rows[:100], rows[100:]], grade=[grade[:100], grade[100:]])
    labels = {"positive": {"column": "grade", "values": ["good"]}, "negative": {"column": "grade", "values": ["bad"]}}
    by_column = train(tmp_path / "by-column", documents, **labels)
    assert by_column.manifest.facts["documents_found"] == {"positive": 100, "negative": 100}
    assert by_column.manifest.facts["held_out_auc"] > 0.8


def test_a_document_of_both_classes_teaches_nothing_and_is_counted(tmp_path):
    rows = invented(300)
    grade = ["bad" if i < 30 else None for i in range(300)]
    documents = write_documents(tmp_path / "documents", [rows], grade=[grade])
    negative = {"domains": ["forum"], "column": "grade", "values": ["bad"]}
    facts = train(tmp_path / "model", documents, negative=negative).manifest.facts
    assert facts["documents_in_both_classes"] == 10
    assert facts["documents_found"] == {"positive": 90, "negative": 110}
    assert facts["documents_sampled_per_class"] == 90


def test_documents_that_the_mask_drops_are_neither_learned_from_nor_scored(tmp_path):
    rows = invented()
    documents = write_documents(tmp_path / "documents", [rows])
    keep = [i % 2 == 0 for i in range(len(rows))]
    reason = pa.array([None if k else "exact_duplicate" for k in keep], pa.string())
    earlier = write_corpus(tmp_path / "mask", [pa.table([keep, reason], mask())])
    rest = write_documents(tmp_path / "rest", [[row for row, kept in zip(rows, keep, strict=True) if kept]])
    masked = train(tmp_path / "masked", {"documents": documents, "mask": earlier})
    assert model_bytes(masked) == model_bytes(train(tmp_path / "alone", rest))
    whole = run_stage(tmp_path / "whole", SCORE, ScoreParams(), **{"documents": documents, "model.0": masked})
    some = run_stage(
        tmp_path / "some", SCORE, ScoreParams(), mask=earlier, **{"documents": documents, "model.0": masked}
    )
    expected = [score if kept else None for score, kept in zip(read(whole)["score"].to_pylist(), keep, strict=True)]
    assert read(some)["score"].to_pylist() == expected
    counts = some.manifest.facts["documents_by_score"]["score"]
    assert sum(map(sum, counts.values())) == sum(keep)


def test_an_empty_class_is_refused_with_the_domains_there_are(tmp_path):
    documents = write_documents(tmp_path / "documents", [invented(30)])
    with pytest.raises(DataError, match=r"no kept document is positive \(domain in \['books'\]\)") as error:
        train(tmp_path / "model", documents, positive=("books",))
    assert "domain: forum, reference, web" in str(error.value)


def test_an_empty_class_by_column_is_refused_with_the_values_there_are(tmp_path):
    documents = write_documents(tmp_path / "documents", [invented(30)], grade=[["good", "fair", None] * 10])
    with pytest.raises(DataError, match="grade: fair, good"):
        train(tmp_path / "model", documents, negative={"column": "grade", "values": ["bad"]})


def test_a_column_that_is_not_there_is_refused_with_those_that_are(tmp_path):
    documents = write_documents(tmp_path / "documents", [invented(30)])
    with pytest.raises(DataError, match=r"no column 'grade'; they have doc_id, text, domain, bytes, source_id"):
        train(tmp_path / "model", documents, negative={"column": "grade", "values": ["bad"]})


def test_too_few_documents_are_refused(tmp_path):
    documents = write_documents(tmp_path / "documents", [[("a b", "reference"), ("c d", "forum")]])
    with pytest.raises(DataError, match="1 documents a class are too few"):
        train(tmp_path / "model", documents, held_out=0.99999, validation=0.000001)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"negative": ("reference", "web")}, r"\['reference'\] are both positive and negative"),
        ({"negative": ()}, "name `domains`, a `column`"),
        ({"negative": {"column": "grade"}}, "`column` comes with its `values`, or with a range"),
    ],
)
def test_labels_that_make_no_sense_are_refused(params, message):
    with pytest.raises(ValidationError, match=message):
        TrainParams(**{**DOMAINS, **params})


def test_auc_equals_the_public_one():
    rng = np.random.default_rng(0)
    for _ in range(20):
        scores, positive = rng.integers(0, 12, 200) / 7, rng.random(200) < 0.4
        assert auc(scores, positive) == pytest.approx(roc_auc_score(positive, scores))
    assert auc(np.array([0.5]), np.array([True])) is None
