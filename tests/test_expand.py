"""The one visible function that lays the road: which steps a recipe's sections become, and in what order."""

import itertools

import pytest

from pipeline.errors import ConfigError
from pipeline.recipe import Recipe
from pipeline.road.expand import expand

QUALITY = {"positive": ["good"], "negative": ["web"], "share": 0.5}
SECTIONS = {"dedup": {}, "quality": QUALITY, "tokens": {}, "mixture": {}}
DEDUP = ["exact", "bands", "candidates", "similar", "near"]
SCORING = ["model", "scores", "select"]


def recipe(**sections):
    return Recipe(name="demo", seed=7, sources={"web": "w", "good": "g"}, **sections)


def masks(steps):
    """Return step -> the mask it reads."""
    return {name: step.inputs["mask"] for name, step in steps.items() if "mask" in step.inputs}


def follows(steps):
    """Tell whether every step comes after the steps it reads."""
    order = list(steps)
    return all(
        order.index(given) < order.index(name)
        for name, step in steps.items()
        for given in step.inputs.values()
        if given in steps
    )


@pytest.mark.parametrize("chosen", [c for n in range(5) for c in itertools.combinations(SECTIONS, n)])
def test_each_choice_of_sections_becomes_its_steps_in_order(chosen):
    wanted = recipe(**{name: SECTIONS[name] for name in chosen})
    if "mixture" in chosen and "tokens" not in chosen:
        with pytest.raises(ConfigError, match="mixture: counts tokens, so it needs a `tokens:` section"):
            expand(wanted)
        return
    steps = expand(wanted)
    names = ["documents"] + DEDUP * ("dedup" in chosen) + SCORING * ("quality" in chosen)
    names += ["tokenizer", "tokens", "plan", "sequences"] * ("tokens" in chosen)
    assert sorted(steps) == sorted(names)
    assert follows(steps)
    last = "select" if "quality" in chosen else "near" if "dedup" in chosen else None
    for name in ("tokens", "plan", "sequences"):
        assert masks(steps).get(name) == (last if "tokens" in chosen else None)
    assert masks(steps).get("select") == ("near" if {"dedup", "quality"} <= set(chosen) else None)


@pytest.mark.parametrize(
    ("dedup", "names", "last"),
    [
        ({"near": False}, ["exact"], "exact"),
        ({"exact": False}, ["bands", "candidates", "similar", "near"], "near"),
        ({"exact": False, "near": False}, [], None),
    ],
)
def test_half_of_dedup_can_be_left_out(dedup, names, last):
    steps = expand(recipe(dedup=dedup, tokens={}))
    assert [name for name in steps if name in DEDUP] == names
    assert masks(steps).get("tokens") == last


def test_every_mask_is_read_by_the_next_step_that_decides():
    steps = expand(recipe(dedup={}, quality=QUALITY))
    before, after = (
        dict.fromkeys(("bands", "candidates", "near"), "exact"),
        dict.fromkeys(("model", "scores", "select"), "near"),
    )
    assert masks(steps) == before | after


def test_a_selection_by_tokens_encodes_before_it_selects():
    steps = expand(recipe(dedup={}, quality=QUALITY | {"by": "tokens"}, tokens={}))
    order = list(steps)
    assert order.index("tokens") < order.index("select")
    assert steps["select"].inputs["tokens"] == "tokens"
    assert masks(steps)["tokens"] == "near"
    assert masks(steps)["plan"] == masks(steps)["sequences"] == "select"


def test_a_selection_by_tokens_needs_tokens():
    with pytest.raises(ConfigError, match=r"quality.by: .* needs a `tokens:` section"):
        expand(recipe(quality=QUALITY | {"by": "tokens"}))


def test_a_model_and_a_tokenizer_brought_along_are_not_trained():
    steps = expand(recipe(quality={"model": "m.bin", "share": 0.5}, tokens={"tokenizer": "t.json"}))
    assert "model" not in steps
    assert "tokenizer" not in steps
    assert steps["scores"].inputs["model.0"] == "file:m.bin"
    assert steps["tokens"].inputs["tokenizer"] == "file:t.json"


def test_an_export_is_a_step_behind_the_sequences():
    names = ["megatron", "mds", "litdata", "huggingface", "flat", "olmo", "datatrove"]
    steps = expand(recipe(tokens={"export": names}))
    assert [(steps[name].stage, steps[name].inputs) for name in names] == [
        (f"tokens.{name}", {"sequences": "sequences"}) for name in names
    ]


def test_the_seed_reaches_every_step_that_draws():
    steps = expand(recipe(dedup={}, quality=QUALITY, tokens={}))
    assert {name for name, step in steps.items() if step.params.get("seed") == 7} == {
        "bands",
        "model",
        "tokenizer",
        "sequences",
    }


def test_a_ladder_of_language_models_teaches_the_classifier_that_scores():
    ladder = {
        "models": {"small": "s", "large": "l"},
        "losses": {"old": "old.parquet"},
        "scores": "scores.csv",
        "read": {"stride": 64},
        "strength": {"statistic": "spearman"},
    }
    labels = {"positive": {"strength": {"min": 1}}, "negative": {"strength": "lowest"}}
    steps = expand(recipe(dedup={}, quality={"ladder": ladder, **labels, "share": 0.1}))
    assert list(steps)[-5:] == ["losses", "strength", "model", "scores", "select"]
    assert steps["losses"].inputs == {
        "documents": "documents",
        "mask": "near",
        "model.small": "folder:s",
        "model.large": "folder:l",
        "losses.old": "file:old.parquet",
    }
    assert (steps["losses"].params["stride"], steps["losses"].params["seed"]) == (64, 7)
    assert steps["strength"].inputs["scores"] == "file:scores.csv"
    assert steps["model"].inputs["strength"] == "strength"
    assert "scores.0" not in steps["select"].inputs
    ranked = expand(recipe(quality={"ladder": ladder, "rank": "strength", "share": 0.1}))
    assert ranked["select"].inputs == {"documents": "documents", "scores.0": "strength"}


def test_several_models_are_scored_in_one_step_and_buckets_become_domains():
    quality = QUALITY | {
        "models": {"edu": {"path": "edu.bin", "label": "hq"}},
        "ensemble": ["score", "edu"],
        "buckets": 3,
    }
    steps = expand(recipe(quality=quality, tokens={}, mixture={"weights": {"web/0": 1, "good/2": 2}}))
    assert steps["scores"].inputs == {"documents": "documents", "model.0": "model", "model.1": "file:edu.bin"}
    assert [asked["name"] for asked in steps["scores"].params["models"]] == ["score", "edu"]
    assert steps["plan"].inputs["buckets"] == steps["sequences"].inputs["buckets"] == "select"


def test_where_the_files_lie_is_no_part_of_a_step():
    here = expand(Recipe(name="demo", sources={"web": "here"}))
    there = expand(Recipe(name="demo", sources={"web": "there"}))
    assert here == there


def test_a_step_of_ones_own_is_added():
    mine = {"mine": {"stage": "my.module:fn", "version": 2, "inputs": {"documents": "documents"}}}
    steps = expand(recipe(dedup={}, steps=mine))
    assert steps["mine"].stage == "my.module:fn"
    assert len(steps) == 1 + len(DEDUP) + 1


def test_a_step_of_a_section_can_be_changed_in_part():
    base = expand(recipe(dedup={}))
    change = {"similar": {"params": {"threshold": 0.7}}, "bands": {"inputs": {"mask": "documents"}}}
    steps = expand(recipe(dedup={}, steps=change))
    assert steps["similar"].params == base["similar"].params | {"threshold": 0.7}
    assert steps["similar"].inputs == base["similar"].inputs
    assert steps["bands"].inputs == base["bands"].inputs | {"mask": "documents"}
    assert steps["exact"] == base["exact"]


def test_a_step_under_another_stage_is_replaced():
    steps = expand(
        recipe(dedup={}, steps={"near": {"stage": "m:f", "version": 1, "inputs": {"documents": "documents"}}})
    )
    assert (steps["near"].stage, steps["near"].params) == ("m:f", {})


def test_a_step_without_a_stage_that_changes_nothing_is_refused():
    with pytest.raises(ConfigError, match=r"steps.neer: names no stage"):
        expand(recipe(dedup={}, steps={"neer": {"params": {"threshold": 0.7}}}))


def test_a_step_put_between_two_others_moves_before_its_reader():
    mine = {"mine": {"stage": "m:f", "version": 1, "inputs": {"documents": "documents", "mask": "exact"}}}
    steps = expand(recipe(dedup={}, steps=mine | {"bands": {"inputs": {"mask": "mine"}}}))
    assert follows(steps)
    assert list(steps).index("mine") < list(steps).index("bands")


def test_a_circle_is_named():
    with pytest.raises(ConfigError, match=r"circle: .*bands.*near.*bands|circle: .*near.*bands"):
        expand(recipe(dedup={}, steps={"bands": {"inputs": {"mask": "near"}}}))


MINE = {"stage": "m:f", "version": 1}


@pytest.mark.parametrize("after", ["exact", "near", "select"])
def test_a_step_after_a_deciding_one_takes_its_place_before_all_its_readers(after):
    sections = {"dedup": {}, "quality": QUALITY, "tokens": {}}
    before = masks(expand(recipe(**sections)))
    steps = expand(recipe(**sections, steps={"mine": MINE | {"after": after}}))
    assert masks(steps) == {k: "mine" if m == after else m for k, m in before.items()} | {"mine": after}
    assert steps["mine"].inputs["documents"] == "documents"
    assert follows(steps)


def test_a_step_after_the_documents_comes_before_every_mask():
    steps = expand(recipe(tokens={}, steps={"mine": MINE | {"after": "documents"}}))
    assert masks(steps) == dict.fromkeys(("tokenizer", "tokens", "plan", "sequences"), "mine")
    steps = expand(recipe(dedup={}, steps={"mine": MINE | {"after": "documents"}}))
    assert masks(steps) == {"exact": "mine", "bands": "exact", "candidates": "exact", "near": "exact"}
    steps = expand(recipe(dedup={"exact": False}, steps={"mine": MINE | {"after": "documents"}}))
    assert masks(steps) == {"bands": "mine", "candidates": "mine", "near": "mine"}


def test_what_is_dropped_after_the_exact_copies_is_dropped_for_all_near_steps():
    steps = expand(recipe(dedup={}, steps={"mine": MINE | {"after": "exact"}}))
    assert masks(steps) == {"mine": "exact", "bands": "mine", "candidates": "mine", "near": "mine"}
    assert steps["near"].inputs["exact"] == "exact", "the copies are told of by the exact mask, whoever decides later"


def test_near_duplicates_are_found_compared_and_dropped_in_turn():
    steps = expand(recipe(dedup={"threshold": 0.7, "ngram": 3, "containment": 0.9, "source_cap": 0.5}))
    assert steps["candidates"].inputs == {"documents": "documents", "bands": "bands", "mask": "exact"}
    assert steps["similar"].inputs == {"documents": "documents", "candidates": "candidates"}
    near = {"documents": "documents", "similar": "similar", "mask": "exact", "exact": "exact"}
    assert steps["near"].inputs == near
    assert steps["similar"].params == {"threshold": 0.7, "containment": 0.9, "ngram": 3, "unit": "word"}
    assert steps["bands"].params["ngram"] == 3
    assert [steps[name].params["source_cap"] for name in ("exact", "near")] == [0.5, 0.5]
    assert "exact" not in expand(recipe(dedup={"exact": False}))["near"].inputs


@pytest.mark.parametrize(
    "keeper",
    [{"keep": "longest"}, {"keep": "oldest", "column": "date"}, {"keep": "source_priority", "priority": ["web"]}],
)
def test_exact_and_near_copies_are_ranked_alike(keeper):
    sources = {"web": {"paths": "w", "extra": ["date"]}}
    steps = expand(Recipe(name="demo", sources=sources, dedup=keeper))
    ranked = [{n: steps[s].params[n] for n in ("keep", "priority", "column")} for s in ("exact", "candidates")]
    assert ranked[0] == ranked[1]
    assert ranked[0] | {k: tuple(v) if isinstance(v, list) else v for k, v in keeper.items()} == ranked[0]


def test_two_steps_can_follow_each_other():
    steps = expand(recipe(dedup={}, tokens={}, steps={"a": MINE | {"after": "near"}, "b": MINE | {"after": "a"}}))
    assert (masks(steps)["a"], masks(steps)["b"], masks(steps)["tokens"]) == ("near", "a", "b")


def test_a_step_after_none_that_there_is_is_refused():
    with pytest.raises(ConfigError, match=r"steps.mine.after: 'neer' is not a step; did you mean 'near'"):
        expand(recipe(dedup={}, steps={"mine": MINE | {"after": "neer"}}))


def test_what_quality_says_of_training_goes_before_what_the_recipe_says():
    assert expand(recipe(quality=QUALITY | {"train": {"seed": 3}}))["model"].params["seed"] == 3


def test_a_vocabulary_that_is_trained_has_the_end_of_text_that_is_asked_for():
    steps = expand(recipe(tokens={"eos": "</s>"}))
    assert steps["tokenizer"].params["special_tokens"] == ["</s>"]
    assert "special_tokens" not in expand(recipe(tokens={}))["tokenizer"].params


def test_what_is_cut_out_is_cut_before_or_behind_and_all_later_steps_read_it():
    dedup = {"lines": {"min_bytes": 20}, "paragraphs": None, "substrings": {"min_bytes": 100}}
    steps = expand(recipe(dedup=dedup, quality=QUALITY, tokens={}))
    assert follows(steps)
    order = ["documents", "lines", "without_lines", "paragraphs", "without_paragraphs", *DEDUP]
    assert [name for name in steps if name in order] == order
    documents = {name: step.inputs.get("documents") for name, step in steps.items()}
    assert documents["lines"] == documents["without_lines"] == "documents"
    assert documents["paragraphs"] == documents["without_paragraphs"] == "without_lines"
    assert {documents[name] for name in DEDUP if documents[name]} == {"without_paragraphs"}
    assert documents["substrings"] == documents["without_substrings"] == "without_paragraphs"
    assert {documents[n] for n in ("model", "scores", "select", "tokenizer", "tokens")} == {"without_substrings"}
    read = masks(steps)
    assert read["without_lines"] == read["paragraphs"] == "lines"
    assert read["exact"] == read["without_paragraphs"] == "paragraphs"
    assert (read["substrings"], read["without_substrings"], read["model"]) == ("near", "substrings", "substrings")
    assert steps["lines"].params == {"min_bytes": 20}
    assert steps["paragraphs"].params == {}


def test_a_stream_filter_stands_in_for_exact_copies_and_not_beside_them():
    steps = expand(recipe(dedup={"exact": False, "bloom": {"expected": 1000}}))
    assert masks(steps)["bands"] == masks(steps)["near"] == "bloom"
    with pytest.raises(ValueError, match="set `exact: false` beside it"):
        recipe(dedup={"bloom": {"expected": 1000}})


def test_earlier_builds_and_withdrawn_documents_reach_the_steps_that_know_them():
    steps = expand(recipe(dedup={"earlier": ["a", "b"], "index": "compact", "withdraw": "ids.txt"}))
    assert follows(steps)
    earlier = {"earlier.0": "build:dedup.index@a", "earlier.1": "build:dedup.index@b"}
    for name in ("exact", "candidates", "similar", "index"):
        assert earlier.items() <= steps[name].inputs.items()
    assert not earlier.items() & steps["bands"].inputs.items()
    assert steps["withdrawn"].inputs["ids"] == "file:ids.txt"
    assert masks(steps)["bands"] == masks(steps)["near"] == steps["index"].inputs["compared"] == "withdrawn"
    assert steps["near"].inputs["exact"] == steps["withdrawn"].inputs["exact"] == "exact"
    assert masks(steps)["index"] == "near"
    own = expand(recipe(dedup={"earlier": ["a"], "index": "own"}))
    assert "earlier.0" not in own["index"].inputs


def test_a_step_behind_exact_copies_is_what_the_index_was_compared_with():
    mine = {"stage": "m:f", "version": 1, "after": "exact"}
    steps = expand(recipe(dedup={"index": "own"}, steps={"mine": mine}))
    assert masks(steps)["bands"] == steps["index"].inputs["compared"] == "mine"


def test_the_best_score_is_known_before_deduplication_or_refused():
    steps = expand(recipe(dedup={"keep": "best_score"}, quality={"model": "m.bin", "share": 0.5}))
    assert follows(steps)
    assert steps["exact"].inputs["scores"] == steps["candidates"].inputs["scores"] == "scores"
    assert "mask" not in steps["scores"].inputs
    assert steps["select"].inputs["scores"] == "scores"
    for quality in (None, QUALITY):
        with pytest.raises(ConfigError, match="best_score needs scores before deduplication"):
            expand(recipe(dedup={"keep": "best_score"}, quality=quality))


@pytest.mark.parametrize("action", ["drop", "cut", "report"])
def test_decontamination_comes_after_copies_are_gone_and_before_anything_is_learned(action):
    steps = expand(
        recipe(dedup={}, decontaminate={"benchmarks": ["a.parquet", "b.jsonl"], "action": action}, quality=QUALITY)
    )
    cut = ["without_benchmarks"] * (action == "cut")
    assert list(steps)[5:] == ["near", "contaminated", *cut, *SCORING]
    found = steps["contaminated"]
    assert found.inputs["mask"] == "near"
    assert (found.inputs["benchmarks.0"], found.inputs["benchmarks.1"]) == ("file:a.parquet", "file:b.jsonl")
    assert steps["model"].inputs == {"documents": cut[0] if cut else "documents", "mask": "contaminated"}


def test_filters_come_first_and_what_they_clean_is_what_all_others_read():
    filters = {
        "c4": {"bad_words": "en"},
        "bad_words": {"en": "bad.txt"},
        "language": {"model": "lid.ftz", "keep": ["en"]},
        "models": {"toxic": {"path": "t.bin", "label": "toxic", "max": 0.5}},
        "masking": True,
    }
    steps = expand(recipe(filters=filters, dedup={}, tokens={}))
    assert list(steps)[:4] == ["documents", "filtered", "cleaned", "exact"]
    assert steps["filtered"].inputs == {
        "documents": "documents",
        "model.0": "file:t.bin",
        "bad_words.en": "file:bad.txt",
        "language": "file:lid.ftz",
    }
    assert [limit["name"] for limit in steps["filtered"].params["models"]] == ["toxic"]
    assert steps["exact"].inputs == {"documents": "cleaned", "mask": "filtered"}
    assert steps["tokens"].inputs["documents"] == "cleaned"
    rules_only = expand(recipe(filters={}, dedup={}))
    assert list(rules_only)[:3] == ["documents", "filtered", "exact"]
