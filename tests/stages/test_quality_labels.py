"""quality.train: who is positive and who is negative, by domain, column, number and predictive strength."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from pipeline.errors import DataError, StageError
from pipeline.histogram import Histogram
from pipeline.kernels.hashing import draw
from pipeline.quality import extremes
from pipeline.quality.labels import Labels
from pipeline.quality.survey import SAMPLE
from pipeline.quality.train import TRAIN
from pipeline.quality.train_params import TrainParams
from pipeline.schemas import doc_ids
from tests.conftest import read, run_stage, write_corpus, write_documents
from tests.stages.test_quality_train import SETTINGS, invented, model_bytes

PRESELECT = {"positive": {"strength": {"min": 1}}, "negative": {"strength": "lowest"}}


def write_strength(root, shards):
    """Write a corpus of strengths beside documents, one shard an inner list."""
    schema = pa.schema([pa.field("strength", pa.float32())])
    return write_corpus(root, [pa.table([pa.array(part, pa.float32())], schema) for part in shards])


def graded(seed=0, n=400):
    """(text, domain) rows, and a strength of sixteen steps for each; None for some."""
    rng = np.random.default_rng(seed)
    strength = [None if i % 17 == 0 else int(rng.integers(0, 16)) / 15 for i in range(n)]
    return invented(n), strength


def cut_up(rows, values, shards, seed):
    """Return documents and values in shards, in an order of `seed`."""
    order = np.random.default_rng(seed).permutation(len(rows))
    parts = np.array_split(order, shards)
    return [[rows[i] for i in part] for part in parts], [[values[i] for i in part] for part in parts]


def train(root, documents, strength=None, **params):
    inputs = {"documents": documents} | ({"strength": strength} if strength else {})
    return run_stage(root, TRAIN, TrainParams(**{**SETTINGS, **params}), **inputs)


def found(tmp_path, rows, strength, **params):
    """Return the facts of a model trained on rows with strengths."""
    documents = write_documents(tmp_path / "documents", [rows[:150], rows[150:]])
    return train(
        tmp_path / "model", documents, write_strength(tmp_path / "s", [strength[:150], strength[150:]]), **params
    ).manifest.facts


def test_positive_is_strength_one_and_negative_as_many_from_the_lowest(tmp_path):
    rows, strength = graded()
    facts = found(tmp_path, rows, strength, **PRESELECT)
    strongest = strength.count(1.0)
    assert facts["documents_found"] == {"positive": strongest, "negative": strongest}
    lowest = sorted((s, i) for i, s in enumerate(strength) if s is not None)[:strongest]
    assert lowest[-1][0] < 0.2
    assert facts["documents_in_both_classes"] == 0


def test_ties_at_the_cut_are_broken_by_a_draw_and_not_by_the_place(tmp_path):
    rows, strength = graded()
    models = []
    for trial, shards in enumerate((1, 2, 5)):
        parts, values = cut_up(rows, strength, shards, trial)
        documents = write_documents(tmp_path / f"documents-{trial}", parts)
        strengths = write_strength(tmp_path / f"strength-{trial}", values)
        models.append(model_bytes(train(tmp_path / f"model-{trial}", documents, strengths, **PRESELECT)))
    assert models[0] == models[1] == models[2]


@pytest.mark.parametrize("share", [0.1, 0.333, 1.0])
def test_a_share_by_strength_is_exact_to_one_document(tmp_path, share):
    rows, strength = graded()
    known = sum(s is not None for s in strength)
    positive, negative = {"strength": {"top": share / 2}}, {"strength": {"bottom": share / 2}}
    facts = found(tmp_path, rows, strength, positive=positive, negative=negative)
    expected = int(np.ceil(share / 2 * known - 1e-9))
    assert facts["documents_found"] == {"positive": expected, "negative": expected}


def test_domain_and_strength_together_want_both(tmp_path):
    rows, strength = graded()
    positive = {"domains": ["reference"], "strength": {"min": 0.5}}
    negative = {"domains": ["forum"], "strength": {"max": 0.5}}
    facts = found(tmp_path, rows, strength, positive=positive, negative=negative)
    known = [(domain, s) for (_, domain), s in zip(rows, strength, strict=True) if s is not None]
    assert facts["documents_found"] == {
        "positive": sum(domain == "reference" and s >= 0.5 for domain, s in known),
        "negative": sum(domain == "forum" and s <= 0.5 for domain, s in known),
    }


def test_the_same_domain_may_be_both_classes_if_strength_tells_them_apart(tmp_path):
    rows, strength = graded()
    positive = {"domains": ["web"], "strength": {"top": 0.25}}
    facts = found(tmp_path, rows, strength, positive=positive, negative={"domains": ["web"], "strength": "lowest"})
    known = sum(domain == "web" and s is not None for (_, domain), s in zip(rows, strength, strict=True))
    expected = int(np.ceil(known / 4))
    assert facts["documents_found"] == {"positive": expected, "negative": expected}
    with pytest.raises(ValidationError, match="both positive and negative"):
        TrainParams(positive=positive, negative=["web"])


def test_the_mask_decides_before_strength_does(tmp_path):
    rows, strength = graded()
    documents = write_documents(tmp_path / "documents", [rows])
    keep = [i % 2 == 0 for i in range(len(rows))]
    reason = pa.array([None if k else "near_duplicate" for k in keep], pa.string())
    mask = write_corpus(tmp_path / "mask", [pa.table({"keep": keep, "reason": reason})])
    strengths = write_strength(tmp_path / "strength", [strength])
    facts = run_stage(
        tmp_path / "model",
        TRAIN,
        TrainParams(**SETTINGS, **PRESELECT),
        documents=documents,
        strength=strengths,
        mask=mask,
    ).manifest.facts
    strongest = sum(k and s == 1 for k, s in zip(keep, strength, strict=True))
    assert facts["documents_found"] == {"positive": strongest, "negative": strongest}


def test_without_a_corpus_of_strengths_there_is_no_class_by_strength(tmp_path):
    documents = write_documents(tmp_path / "documents", [invented(30)])
    with pytest.raises(DataError, match="no corpus plays that role"):
        train(tmp_path / "model", documents, **PRESELECT)


def test_a_strength_above_one_is_refused(tmp_path):
    rows, strength = graded()
    with pytest.raises(StageError, match=r"is 1\.5; a strength lies from 0 to 1"):
        found(tmp_path, rows, [1.5, *strength[1:]], **PRESELECT)


def test_a_class_without_documents_is_refused_with_the_strengths_there_are(tmp_path):
    rows, strength = graded()
    with pytest.raises(DataError, match=r"no kept document is positive \(strength >= 1\)") as error:
        found(tmp_path, rows, [None if s is None else s / 2 for s in strength], **PRESELECT)
    assert "strength: 0.0, 0.0333" in str(error.value)


def test_classes_may_be_told_by_the_numbers_in_a_column(tmp_path):
    rows = invented(300)
    grade = [[" 4.5", "1e0", "-3", "", None, "3"][i % 6] for i in range(300)]
    documents = write_documents(tmp_path / "documents", [rows], grade=[grade])
    labels = {"positive": {"column": "grade", "min": 3}, "negative": {"column": "grade", "max": 1}}
    facts = train(tmp_path / "model", documents, **labels).manifest.facts
    assert facts["documents_found"] == {"positive": 100, "negative": 100}


@pytest.mark.parametrize("wrong", ["good", "nan", "1,5", "1e999"])
def test_a_value_that_is_no_number_is_refused_with_its_document(tmp_path, wrong):
    documents = write_documents(tmp_path / "documents", [invented(4)], grade=[["4", "1", wrong, "2"]])
    labels = {"positive": {"column": "grade", "min": 3}, "negative": {"column": "grade", "max": 2}}
    ids = read(documents)["doc_id"].to_pylist()
    with pytest.raises(StageError, match=f"grade of document {ids[2].hex()}.* is '{wrong}', which is no number"):
        train(tmp_path / "model", documents, **labels)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ({"strength": {}}, "give bounds"),
        ({"strength": {"min": 0.5, "top": 0.1}}, "give bounds"),
        ({"strength": {"min": 0.5, "max": 0.1}}, "is above"),
        ({"column": "grade"}, "comes with its `values`"),
        ({"column": "grade", "values": ["a"], "min": 1}, "comes with its `values`"),
        ({"min": 1, "domains": ["web"]}, "comes with its `values`"),
        ({}, "name `domains`"),
    ],
)
def test_labels_that_say_nothing_or_two_things_are_refused(labels, message):
    with pytest.raises(ValidationError, match=message):
        Labels(**labels)


def test_the_lowest_are_for_the_negative_class():
    with pytest.raises(ValidationError, match="it is for `negative`"):
        TrainParams(positive={"strength": "lowest"}, negative={"domains": ["web"]})


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        ({"domains": ["a"]}, "domain in ['a']"),
        ({"domains": ["a"], "column": "c", "max": 2}, "domain in ['a'] or c <= 2"),
        (
            {"domains": ["a"], "column": "c", "values": ["x"], "strength": {"top": 0.1}},
            "(domain in ['a'] or c in ['x']) and strength in the top 0.1",
        ),
        ({"strength": "lowest"}, "of the lowest strength"),
        ({"domains": ["a"], "strength": {"min": 0.5, "max": 1}}, "domain in ['a'] and strength >= 0.5 and <= 1"),
    ],
)
def test_labels_are_told_in_words(labels, said):
    assert str(Labels(**labels)) == said


@given(
    st.lists(st.integers(0, 6), min_size=1, max_size=60),
    st.floats(0, 1),
    st.booleans(),
    st.integers(1, 4),
)
def test_the_cut_takes_what_a_sort_would_take(steps, share, falling, shards):
    n = len(steps)
    ids_N2 = np.stack([np.arange(n), np.arange(n)], axis=1).astype(np.uint64)
    strengths = (np.array(steps) / 6).astype(np.float32)
    keys = extremes.keys(strengths, ids_N2, 5, falling=falling)
    pieces = np.array_split(keys, shards, axis=1)
    none = Histogram.of(np.empty(0, np.uint64), np.empty(0, np.int64))
    wanted = max(round(share * n), 1)
    cut = extremes.first(lambda total: wanted, lambda known: sum((extremes.by_digit(p, known) for p in pieces), none))
    ties = draw(5, ids_N2, extremes.TIES)
    order = np.lexsort((~ties, -strengths) if falling else (ties, strengths))
    assert np.flatnonzero(cut.takes(keys)).tolist() == sorted(order[:wanted].tolist())


def test_ties_and_the_sample_are_drawn_apart(tmp_path):
    ids_N2 = doc_ids(read(write_documents(tmp_path / "documents", [invented(100)]))["doc_id"])
    assert not np.array_equal(draw(0, ids_N2, SAMPLE), draw(0, ids_N2, extremes.TIES))
