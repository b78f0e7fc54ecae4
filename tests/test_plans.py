"""A plan: every step by its fingerprint, and a sentence for what cannot be planned."""

import pytest

from pipeline.config import Profile
from pipeline.errors import ConfigError
from pipeline.plans import plan
from pipeline.recipe import Recipe

PRINTS = {"web": "1" * 32}


def planned(tmp_path, prints=PRINTS, **sections):
    recipe = Recipe(name="demo", sources={"web": "w"}, **sections)
    steps = plan(recipe, Profile(root=tmp_path / "root"), {}, prints)
    return {step.name: step for step in steps}


def folders(steps):
    return {name: step.folder.name for name, step in steps.items()}


def test_a_plan_writes_nothing(tmp_path):
    planned(tmp_path, dedup={})
    assert list(tmp_path.iterdir()) == []


def test_the_same_recipe_has_the_same_folders_under_any_root(tmp_path):
    assert folders(planned(tmp_path / "a", dedup={})) == folders(planned(tmp_path / "b", dedup={}))


def test_a_changed_parameter_moves_its_step_and_what_reads_it(tmp_path):
    base, changed = (folders(planned(tmp_path, dedup={"threshold": t})) for t in (0.8, 0.7))
    assert {name for name in base if base[name] != changed[name]} == {"similar", "near"}
    base, changed = (folders(planned(tmp_path, dedup={"bands": b, "rows": 6})) for b in (20, 10))
    assert {name for name in base if base[name] != changed[name]} == {"bands", "candidates", "similar", "near"}
    base, changed = (folders(planned(tmp_path, dedup={"source_cap": c})) for c in (None, 0.1))
    assert base == changed, "a limit is no part of what a corpus is"


def test_other_content_moves_everything(tmp_path):
    base, changed = folders(planned(tmp_path, dedup={})), folders(planned(tmp_path, {"web": "2" * 32}, dedup={}))
    assert all(base[name] != changed[name] for name in base)


def test_a_file_counts_by_its_content(tmp_path):
    def scores(name, content):
        (tmp_path / name).write_bytes(content)
        quality = {"model": str(tmp_path / name), "share": 0.5}
        return planned(tmp_path, quality=quality)["scores"].fingerprint

    assert scores("a.bin", b"model") == scores("b.bin", b"model")
    assert scores("a.bin", b"model") != scores("a.bin", b"other")


@pytest.mark.parametrize(
    ("sections", "said"),
    [
        (
            {"quality": {"model": "nowhere.bin", "share": 0.5}},
            r"steps.scores.inputs.model.0: there is no file nowhere.bin",
        ),
        ({"steps": {"x": {"stage": "dedup.exct"}}}, r"steps.x.stage: no stage is called 'dedup.exct'; did you mean"),
        ({"steps": {"x": {"stage": "dedup.exact"}}}, r"steps.x.inputs: dedup.exact also needs documents"),
        (
            {"steps": {"x": {"stage": "dedup.exact", "inputs": {"documents": "documnts"}}}},
            r"steps.x.inputs.documents: 'documnts' is not a step; did you mean 'documents'\?",
        ),
        (
            {"steps": {"x": {"stage": "dedup.exact", "inputs": {"documents": "documents", "masc": "documents"}}}},
            r"steps.x.inputs.masc: dedup.exact has no such input; did you mean 'mask'\?",
        ),
        (
            {"dedup": {}, "steps": {"similar": {"params": {"treshold": 1}}}},
            r"steps.similar.params.treshold: dedup.verify has no such parameter; did you mean 'threshold'\?",
        ),
        (
            {"dedup": {}, "steps": {"similar": {"params": {"threshold": 7}}}},
            r"steps.similar.params.threshold: Input should be .* \(found 7\)",
        ),
        (
            {"tokens": {}, "steps": {"tokenizer": {"params": {"weights": "even"}}}},
            r"^steps.tokenizer.params.weights: Input should be 'natural' or .*, or a mapping .* \(found 'even'\)$",
        ),
        ({"dedup": {"keep": "oldest"}}, r"steps.exact.params: keep: oldest needs `column`"),
        ({"dedup": {"priority": ["web"]}}, r"steps.exact.params: keep: longest does not look at `priority`"),
        ({"steps": {"x": {"stage": "nowhere:fn", "version": 1}}}, r"steps.x.stage: cannot import nowhere:fn"),
        ({"steps": {"x": {"stage": "json:dumps"}}}, r"steps.x.stage: json:dumps needs a `version: 1`"),
        (
            {"steps": {"x": {"stage": "json:__name__", "version": 1}}},
            r"json:__name__ is str, not a function or a Stage",
        ),
    ],
)
def test_what_cannot_be_planned_is_said_with_its_place(tmp_path, sections, said):
    with pytest.raises(ConfigError, match=said):
        planned(tmp_path, **sections)


def test_a_step_of_ones_own_after_the_documents_can_be_planned_before_deduplication(tmp_path):
    mine = {"mine": {"stage": "json:dumps", "version": 1, "after": "documents"}}
    assert list(planned(tmp_path, dedup={}, steps=mine))[:3] == ["documents", "mine", "exact"]


def test_a_step_says_why_it_runs(tmp_path):
    step = planned(tmp_path, dedup={})["similar"]
    assert step.why(None) == "new"
    before = step.identity()
    assert step.why(before) == "its corpus is gone"
    assert step.why(before | {"params": before["params"] | {"threshold": 0.7}}) == "threshold 0.7 -> 0.8"
    assert "candidates changed" in step.why(before | {"inputs": before["inputs"] | {"candidates": "0"}})
