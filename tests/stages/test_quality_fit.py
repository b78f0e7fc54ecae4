"""quality.train: what chooses, what calibrates, what judges; the official backend; what is told beside the model."""

import importlib.util
import json
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pytest
from pydantic import ValidationError

from pipeline.errors import ConfigError, DataError
from pipeline.kernels import fasttext_train
from pipeline.kernels.fasttext_model import parse
from pipeline.preflight import _ask
from pipeline.quality import fit, official, telling
from pipeline.quality.model import load
from pipeline.quality.train import TRAIN, check
from pipeline.quality.train_params import DEFAULTS, Setting, TrainParams
from pipeline.schemas import doc_ids
from tests.conftest import documents_table, read, write_documents
from tests.kernels import official_fasttext
from tests.stages.test_quality_train import DOMAINS, invented, model_bytes, shards_of, train

OFFICIAL = {"backend": "official", "bucket": 2000, "dim": 8, "learning_rate": 0.5, "epochs": 5}


def sample_of(n=600, noise=0.0, seed=0):
    """Return a sample as `survey.drawn` gives it, with a share of its labels wrong."""
    documents = documents_table([row for row in invented(n, seed) if row[1] != "web"])
    wrong = np.random.default_rng(seed).random(len(documents)) < noise
    positive = (np.array(documents["domain"].to_pylist()) == "reference") ^ wrong
    return pa.table(
        {
            "doc_id": documents["doc_id"],
            "text": documents["text"],
            "domain": documents["domain"],
            "address": pa.array(range(len(documents)), pa.uint64()),
            "positive": positive,
        }
    )


def params_of(**more):
    return TrainParams(**{**DOMAINS, "bucket": 4096, **more})


def test_the_three_parts_have_nothing_in_common_and_everything_together():
    sample = sample_of()
    parts = fit.split(sample, params_of(validation=0.2, held_out=0.3))
    ids = [set(part.table["doc_id"].to_pylist()) for part in parts]
    assert sum(map(len, ids)) == len(set.union(*ids)) == len(sample)
    assert 0.2 < len(ids[2]) / len(sample) < 0.4
    assert 0.1 < len(ids[1]) / len(sample) < 0.3


def test_the_same_held_out_documents_judge_whatever_the_validation_part():
    sample = sample_of()
    small, large = (fit.split(sample, params_of(validation=share)) for share in (0.05, 0.4))
    assert small.held_out.table.equals(large.held_out.table)


def test_the_validation_part_chooses():
    parts = fit.split(sample_of(noise=0.2), params_of())
    best, areas = fit.fit(parts, params_of(learning_rate=[0.05, 1.0, 500.0], epochs=[1, 4], word_ngrams=[1, 2]))
    assert len(areas) == 12
    highest = max(area for _, area in areas)
    assert best.setting == next(setting for setting, area in areas if area == highest)
    assert min(area for _, area in areas) < highest - 0.01


def test_the_cheapest_of_equals_is_chosen():
    sample = sample_of(300)
    texts = [("good words " if p else "bad things ") * 5 for p in sample["positive"].to_pylist()]
    sample = sample.set_column(1, "text", pa.array(texts, pa.large_string()))
    best, _ = fit.fit(fit.split(sample, params_of()), params_of(learning_rate=[4, 1], epochs=[3, 2]))
    assert best.setting == Setting(2, 1, 2)


def test_settings_that_share_a_run_give_the_bytes_they_give_alone():
    sample = sample_of()
    for epochs in (1, 3):
        parts = fit.split(sample, params_of())
        alone = fit.fit(parts, params_of(learning_rate=2, epochs=epochs))[0]
        shared = list(fit._ours(parts, params_of(learning_rate=[0.5, 2], epochs=[1, 3])))
        twin = next(c for c in shared if c.setting == alone.setting)
        assert np.array_equal(twin.model.inputs_RD, alone.model.inputs_RD)
        assert twin.losses == alone.losses


def test_the_held_out_part_chooses_and_teaches_nothing(tmp_path):
    rows = invented(500)
    documents = documents_table(rows)
    params = params_of(learning_rate=[0.5, 2.0])
    chance = fit.fractions(fit.draw(0, doc_ids(documents["doc_id"]), fit.HELD_OUT))
    kept = [row for row, c in zip(rows, chance, strict=True) if c >= params.held_out]
    assert len(kept) < len(rows)
    whole, rest = (fit.split(_sample(part), params) for part in (rows, kept))
    assert whole.learned.table.equals(rest.learned.table)
    assert not len(rest.held_out.positive)
    models = [fit.calibrated(fit.fit(parts, params)[0], parts.validation)[0] for parts in (whole, rest)]
    assert np.array_equal(models[0].inputs_RD, models[1].inputs_RD)


def _sample(rows):
    documents = documents_table([row for row in rows if row[1] != "web"])
    positive = pa.array([domain == "reference" for domain in documents["domain"].to_pylist()])
    return documents.select(["doc_id", "text", "domain"]).append_column("positive", positive)


def test_calibration_makes_probabilities_of_scores(tmp_path):
    documents = write_documents(tmp_path / "documents", [noisy(3000)])
    labels = {"positive": ("reference",), "negative": ("forum",), "held_out": 0.3, "validation": 0.2}
    facts = train(tmp_path / "model", documents, **labels, learning_rate=8.0, epochs=10).manifest.facts
    after, before = facts["calibration"], facts["calibration"]["before"]
    assert after["calibration_error"] < 0.7 * before["calibration_error"]
    assert after["brier"] < before["brier"]
    assert after["scale"] < 1
    plain = train(tmp_path / "plain", documents, **labels, learning_rate=8.0, epochs=10, calibrate=False)
    assert plain.manifest.facts["calibration"] == before
    assert plain.manifest.facts["held_out_auc"] == pytest.approx(facts["held_out_auc"], abs=1e-4)


def noisy(n):
    """Documents of which a fifth lie in the wrong domain."""
    wrong = np.random.default_rng(3).random(n) < 0.2
    other = {"reference": "forum", "forum": "reference", "web": "web"}
    return [(text, other[domain] if w else domain) for (text, domain), w in zip(invented(n), wrong, strict=True)]


def test_scores_that_fall_where_the_class_rises_are_left_as_they_are():
    parts = fit.split(sample_of(), params_of())
    candidate, _ = fit.fit(parts, params_of(learning_rate=0.5))
    backwards = fit.Documents(parts.validation.table, parts.validation.texts, ~parts.validation.positive)
    assert fit.calibrated(candidate, backwards) == (candidate.model, None)


def test_a_validation_part_without_a_class_is_refused_if_it_is_needed():
    sample = sample_of(40)
    chance = {"validation": 1e-6, "held_out": 0.1}
    with pytest.raises(DataError, match="a class has none to choose and calibrate by"):
        fit.split(sample, params_of(**chance))
    parts = fit.split(sample, params_of(**chance, calibrate=False, learning_rate=1.0))
    assert fit.fit(parts, params_of(calibrate=False, learning_rate=1.0))[1] == [(Setting(2, 1.0, 5), None)]


def test_beside_the_model_stands_how_text_must_be_prepared_for_it(tmp_path):
    documents = write_documents(tmp_path / "documents", shards_of(invented()))
    corpus = train(tmp_path / "model", documents, newlines="drop")
    told = json.loads((corpus.root / "data" / "model.json").read_text())
    assert told["newlines"] == "drop"
    assert told["labels"] == {"positive": "__label__1", "negative": "__label__0"}
    assert told["trained_on"] == corpus.manifest.facts["learned_documents"]
    assert told["learning_rate"] == 0.5
    assert told["calibration"]["scale"] == corpus.manifest.facts["calibration"]["scale"]


@pytest.mark.parametrize(("newlines", "known"), [("space", {b"one", b"two"}), ("drop", {b"onetwo"})])
def test_newlines_are_spaces_or_nothing(tmp_path, newlines, known):
    rows = [(f"one\ntwo filler{i}", ("reference", "forum")[i % 2]) for i in range(200)]
    documents = write_documents(tmp_path / "documents", [rows])
    model = load(train(tmp_path / "model", documents, newlines=newlines).root / "data" / "model.bin")
    words = {model.entry(number) for number in range(model.n_words)}
    assert words & {b"one", b"two", b"onetwo"} == known


def test_the_most_telling_features_are_named_and_counted(tmp_path):
    rows = [
        (f"{'fine wine' if i % 2 else 'cheap beer'} {'x y' if i % 3 else 'z'} {i}", "ab"[i % 2]) for i in range(300)
    ]
    documents = write_documents(tmp_path / "documents", [rows])
    facts = train(tmp_path / "model", documents, positive=("b",), negative=("a",), min_count=1).manifest.facts
    learned = sum(facts["learned_documents"].values())
    for name, said in (("positive", {"fine", "wine", "fine wine"}), ("negative", {"cheap", "beer", "cheap beer"})):
        told = facts["features"][name]
        assert said <= {feature["feature"] for feature in told[:6]}
        assert all(0.4 * learned < feature["documents"] < 0.6 * learned for feature in told[:3])
        gaps = [feature["gap"] for feature in told]
        assert gaps == sorted(gaps, reverse=True)
        assert all((feature["weight"] > 0) == (name == "positive") for feature in told)


def test_the_gaps_of_all_features_are_the_distance_of_the_classes(monkeypatch):
    parts = fit.split(sample_of(200), params_of())
    candidate, _ = fit.fit(parts, params_of(learning_rate=1.0))
    for name, value in (("FEATURES", 1 << 20), ("LEAST_SHARE", 0), ("LEAST", 0)):
        monkeypatch.setattr(telling, name, value)
    told = telling.features(candidate.model, parts.learned)
    features = fasttext_train.features_of(candidate.model, *parts.learned.buffers)
    logits = fasttext_train.logits(features, candidate.model.inputs_RD[:, 0])
    distance = logits[parts.learned.positive].mean() - logits[~parts.learned.positive].mean()
    assert sum(feature["gap"] for part in told.values() for feature in part) >= distance - 1e-2


def test_the_ends_of_the_scores_are_found_again_by_their_places(tmp_path):
    documents = write_documents(tmp_path / "documents", shards_of(invented(600), 3))
    facts = train(tmp_path / "model", documents).manifest.facts
    for end in ("highest", "lowest"):
        examples = facts["examples"][end]
        assert len(examples) == telling.DOCUMENTS
        for example in examples:
            shard = next(path for path in documents.paths() if path.name == example["shard"])
            row = pa.parquet.read_table(shard).slice(example["row"], 1).to_pylist()[0]
            assert (row["doc_id"].hex(), row["domain"]) == (example["doc_id"], example["domain"])
    assert facts["examples"]["highest"][0]["score"] > facts["examples"]["lowest"][0]["score"]


def test_a_classifier_that_knows_lengths_only_is_pointed_out(tmp_path):
    rng = np.random.default_rng(0)
    rows = [("w " * int(rng.integers(2, 40) + (30 if i % 2 else 0)), "ab"[i % 2]) for i in range(600)]
    rows = [(f"{text}{i}", domain) for i, (text, domain) in enumerate(rows)]
    documents = write_documents(tmp_path / "documents", [rows])
    facts = train(tmp_path / "model", documents, positive=("b",), negative=("a",), word_ngrams=1).manifest.facts
    assert facts["held_out_auc_of_length"] > 0.8
    assert "hardly better" in facts["warning"]
    other = write_documents(tmp_path / "other", shards_of(invented(600)))
    assert "warning" not in train(tmp_path / "better", other).manifest.facts


def test_official_fasttext_trains_a_model_that_is_judged_like_ours(tmp_path):
    documents = write_documents(tmp_path / "documents", shards_of(invented(600)))
    corpus = train(tmp_path / "model", documents, **OFFICIAL)
    facts = corpus.manifest.facts
    assert facts["held_out_auc"] > 0.9
    assert "threads race" in facts["determinism"]
    assert facts["features"]["positive"]
    model = parse(model_bytes(corpus))
    assert model.inputs_RD.shape[1] == 8
    texts = read(documents)["text"].to_pylist()
    positive = np.array([domain == "reference" for domain in read(documents)["domain"].to_pylist()])
    found = official_fasttext.predict(corpus.root / "data" / "model.bin", texts)
    scores = np.array([labels["__label__1"] for labels in found])
    assert scores[positive].mean() > scores[~positive].mean() + 0.3


def test_official_fasttext_never_takes_a_word_for_a_label(tmp_path):
    rows = [(f"{text} __label__7 \0 __label__0 </s> __label__9", domain) for text, domain in invented(300)]
    documents = write_documents(tmp_path / "documents", [rows])
    model = parse(model_bytes(train(tmp_path / "model", documents, **OFFICIAL)))
    assert sorted(model.labels) == ["__label__0", "__label__1"]


def test_official_fasttext_is_refused_before_anything_runs_where_it_is_not_installed(monkeypatch):
    params = params_of(backend="official")
    check(params, {})
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(DataError, match=r"pip install 'corpusmill\[fasttext\]'"):
        check(params, {})
    check(params_of(), {})

    class Planned:
        name, stage, files, outside = "model", TRAIN, {}, {}

    Planned.params = params
    with pytest.raises(ConfigError, match=r"steps\.model: .*which is not installed"):
        _ask(Planned, {})


def test_our_trainer_never_imports_fasttext():
    code = "import sys, pipeline.quality.train, pipeline.quality.official; print('fasttext' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "False"


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"dim": 16}, "our models have one dimension"),
        ({"backend": "official", "calibrate": True}, "`calibrate` is for `backend: ours`"),
        ({"validation": 0.5, "held_out": 0.5}, "must be below 1"),
        ({"learning_rate": []}, "at least 1"),
        ({"epochs": [3, 0]}, "greater than or equal to 1"),
        ({"backend": "theirs"}, "'ours' or 'official'"),
    ],
)
def test_params_that_make_no_sense_are_refused(params, message):
    with pytest.raises(ValidationError, match=message):
        params_of(**params)


@pytest.mark.parametrize("backend", ["ours", "official"])
def test_defaults_are_the_backends_and_stand_in_the_params(backend):
    params = TrainParams(**DOMAINS, backend=backend)
    told = params.model_dump()
    assert {name: told[name] for name in DEFAULTS[backend]} == dict(DEFAULTS[backend])
    assert TrainParams(**told) == params


def test_official_lines_are_the_words_our_trainer_sees():
    assert official._line(b"a\nb\tc \0 d</s> __label__x </s> gone") == b"a b c d</s>"
