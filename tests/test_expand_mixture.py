"""How the weights of a mixture are found, laid as steps: from what there is, through proxies, to the packed tokens."""

import pytest
from pydantic import ValidationError

from pipeline.recipe import Recipe
from pipeline.road.expand import expand
from tests.test_expand import QUALITY, follows, masks

FOUND = ["available", "mixtures", "runs", "fit", "recommended", "plan", "sequences"]


def recipe(mixture, **sections):
    sections = {"tokens": {}} | sections
    return Recipe(name="demo", seed=7, sources={"web": "w", "good": "g"}, mixture=mixture, **sections)


def regress(mixture=None, sections=None, **keys):
    return expand(recipe((mixture or {}) | {"regress": keys}, **(sections or {})))


def test_weights_are_found_from_what_there_is_through_proxies_to_the_packer():
    steps = regress({"budget_tokens": 1000, "max_epochs": 3}, {"dedup": {}})
    assert list(steps)[-7:] == FOUND
    assert follows(steps)
    counted = {"tokens": "tokens", "mask": "near"}
    assert steps["available"].inputs == counted
    assert steps["mixtures"].inputs == {"plan": "available"}
    assert steps["runs"].inputs == {
        "mixtures": "mixtures",
        "documents": "documents",
        "mask": "near",
        "plan": "available",
    }
    assert steps["fit"].inputs == {"runs": "runs"}
    assert steps["recommended"].inputs == {"fit": "fit", "plan": "available"}
    assert steps["plan"].inputs == counted | {"weights": "recommended"}
    assert steps["sequences"].inputs["plan"] == "plan"
    for name in ("available", "plan"):
        assert steps[name].params == {"budget_tokens": 1000, "max_epochs": 3, "on_cap": "redistribute"}
    recommended = steps["recommended"].params
    assert (recommended["budget_tokens"], recommended["max_epochs"]) == (1000, 3)


def test_proxies_trained_here_have_seen_the_repetition_and_others_may_not_have():
    assert regress()["recommended"].params["repetition"] == "seen"
    assert "repetition" not in regress(runs="runs.parquet")["recommended"].params
    assert regress(recommend={"repetition": "discount"})["recommended"].params["repetition"] == "discount"


def test_without_regress_there_is_one_plan_with_the_weights_given():
    steps = expand(recipe({"weights": {"web": 1}, "budget_tokens": 9}))
    assert list(steps)[-2:] == ["plan", "sequences"]
    assert steps["plan"].params["weights"] == {"web": 1}
    assert "weights" not in steps["plan"].inputs
    assert "temperature" in expand(recipe({"temperature": 2.0}))["plan"].params


def test_the_keys_of_regress_reach_their_stages():
    keys = {"mixtures": 12, "replicates": 2, "model": "smoke", "tokens": 5000, "laws": ["power"]}
    limits = {"floors": {"web": 0.1}, "ceilings": {"good": 0.5}}
    more = {"sample": {"flatten": 0.2}, "train": {"evaluations": 3}, "recommend": {"pull": 0.5}}
    steps = regress(**keys, **limits, **more, targets={"web": 2, "good": {"weight": 1}}, held_out_bytes=999)
    drawn = {"mixtures": 12, "replicates": 2, "seed": 7, "flatten": 0.2}
    assert steps["mixtures"].params == drawn | limits
    trained = {"seed": 7, "setting": "smoke", "budget_tokens": 5000, "evaluations": 3, "held_out_bytes": 999}
    assert steps["runs"].params == trained
    assert steps["fit"].params == {"laws": ("power",)}
    found = steps["recommended"].params
    assert {"targets": {"web": 2, "good": 1}, "pull": 0.5, "seed": 7}.items() <= found.items()
    assert limits.items() <= found.items()


def test_targets_that_are_files_are_read_by_all_who_look_at_targets():
    steps = regress(
        targets={"wiki": "wiki.parquet", "math": {"path": "m.parquet", "weight": 3}}, surface=True, text="t"
    )
    files = {"targets.wiki": "file:wiki.parquet", "targets.math": "file:m.parquet"}
    for name in ("runs", "surface"):
        assert files.items() <= steps[name].inputs.items()
        assert steps[name].params["text"] == "t"
    assert steps["recommended"].params["targets"] == {"wiki": 1, "math": 3}


def test_a_surface_helps_the_fit_and_screens_only_where_that_is_asked_for():
    steps = regress(surface={"order": 3})
    assert steps["surface"].params == {"seed": 7, "order": 3}
    assert steps["fit"].inputs == {"runs": "runs", "surface": "surface"}
    assert steps["mixtures"].inputs == {"plan": "available"}
    steps = regress(surface=True, sample={"screen": 0.5})
    assert steps["mixtures"].inputs == {"plan": "available", "surface": "surface"}
    assert follows(steps)
    assert "surface" not in regress(surface=False)


def test_runs_made_elsewhere_are_fitted_without_proxies():
    steps = regress(runs="runs.parquet", targets={"pile_cc": 1})
    assert [name for name in steps if name in (*FOUND, "surface")] == [
        n for n in FOUND if n not in ("mixtures", "runs")
    ]
    assert steps["fit"].inputs == {"runs": "file:runs.parquet"}
    assert steps["fit"].params == {"targets": ("pile_cc",)}
    assert steps["recommended"].params["targets"] == {"pile_cc": 1}
    assert "surface" in regress(runs="runs.parquet", surface=True, targets={"pile_cc": "p.parquet"})


def test_everyone_who_counts_domains_knows_the_buckets_of_a_selection():
    steps = regress({}, {"quality": QUALITY | {"buckets": 3}}, floors={"web/0": 0.1}, surface=True)
    for name in ("available", "surface", "runs", "plan", "sequences"):
        assert steps[name].inputs["buckets"] == "select"
        assert masks(steps)[name] == "select"


def test_clusters_stand_for_domains_where_there_are_none():
    steps = regress({"clusters": {"count": 8}}, {"dedup": {}}, floors={"bread flour": 0.1})
    assert steps["clusters"].inputs == {"documents": "documents", "mask": "near"}
    assert steps["clusters"].params == {"seed": 7, "count": 8}
    for name in ("available", "runs", "plan", "sequences"):
        assert steps[name].inputs["buckets"] == "clusters"
    steps = expand(recipe({"clusters": None}))
    assert steps["plan"].inputs == {"tokens": "tokens", "buckets": "clusters"}


@pytest.mark.parametrize(
    ("mixture", "said"),
    [
        ({"weights": "uniform", "regress": {}}, "`regress` finds the weights, and weights would tell them"),
        ({"temperature": 2, "regress": {}}, "`regress` finds the weights, and temperature would tell them"),
        ({"regress": {"runs": "r", "mixtures": 8, "model": "tiny"}}, "leaves mixtures, model without effect"),
        ({"regress": {"runs": "r", "targets": {"a": "a.parquet"}}}, "nothing reads targets.a.path unless a `surface`"),
        ({"regress": {"runs": "r", "held_out_bytes": 5}}, "nothing reads held_out_bytes"),
        ({"regress": {"targets": {"a": "a.parquet", "web": 1}}}, "targets: web has no file and others have"),
        ({"regress": {"targets": {"web": 0}}}, "targets: all weights are 0"),
        (
            {"regress": {"targets": {"wbe": 1}}},
            "mixture.regress.targets: no source is called 'wbe'; did you mean 'web'",
        ),
        ({"regress": {"floors": {"wbe": 0.1}}}, "mixture.regress.floors: no source is called 'wbe'"),
        ({"regress": {"ceilings": {"wbe": 0.1}}}, "mixture.regress.ceilings: no source is called 'wbe'"),
        ({"regress": {"model": "huge"}}, "Input should be"),
        ({"regress": {"mixture": 8}}, "mixture"),
    ],
)
def test_what_contradicts_itself_or_names_nothing_is_refused(mixture, said):
    with pytest.raises(ValidationError, match=said):
        recipe(mixture)


def test_clusters_and_buckets_cannot_both_part_the_domains():
    with pytest.raises(ValidationError, match=r"mixture.clusters and quality.buckets both part the domains"):
        recipe({"clusters": {}}, quality=QUALITY | {"buckets": 3})
