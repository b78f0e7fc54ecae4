"""YAML: what is right is read, what is wrong is named with its place and the nearest right word."""

import re

import pytest

from pipeline.config import Profile, load, validate
from pipeline.errors import ConfigError
from pipeline.recipe import Recipe

LEAST = {"name": "demo", "sources": {"web": "raw/*.parquet"}}


def written(path, text):
    (path / "r.yaml").write_text(text, encoding="utf-8")
    return path / "r.yaml"


def test_a_source_is_a_path_a_list_or_a_mapping(tmp_path):
    text = "name: demo\nsources:\n  a: x\n  b: [x, y]\n  c: {paths: z, text: body, id: key}\n"
    sources = load(written(tmp_path, text), Recipe).sources
    assert (sources["a"].paths, sources["b"].paths, sources["c"].paths) == (("x",), ("x", "y"), ("z",))
    assert (sources["c"].text, sources["c"].id) == ("body", "key")


@pytest.mark.parametrize("section", ["dedup", "mixture", "tokens"])
def test_a_section_named_alone_has_its_defaults_and_one_left_out_is_left_out(tmp_path, section):
    recipe = load(written(tmp_path, f"name: demo\nsources: {{web: x}}\n{section}:\n"), Recipe)
    assert getattr(recipe, section) is not None
    assert getattr(validate(LEAST, Recipe, "here"), section) is None


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"sorces": {}}, "sorces: no such key; did you mean 'sources'?"),
        ({"dedup": {"treshold": 0.5}}, "dedup.treshold: no such key; did you mean 'threshold'?"),
        ({"quality": {"modell": "m.bin", "share": 1}}, "quality.modell: no such key; did you mean 'model'?"),
        ({"tokens": {"vocabsize": 300}}, "tokens.vocabsize: no such key; did you mean 'vocab_size'?"),
        ({"mixture": {"max_epoch": 3}}, "mixture.max_epoch: no such key; did you mean 'max_epochs'?"),
        ({"ingest": {"shardmb": 3}}, "ingest.shardmb: no such key; did you mean 'shard_mb'?"),
        ({"sources": {"web": {"path": "x"}}}, "sources.web.path: no such key; did you mean 'paths'?"),
        ({"steps": {"mine": {"stag": "x"}}}, "steps.mine.stag: no such key; did you mean 'stage'?"),
    ],
)
def test_an_unknown_key_of_any_section_is_named_with_the_nearest_right_one(wrong, said):
    with pytest.raises(ConfigError) as error:
        validate(LEAST | wrong, Recipe, "r.yaml")
    assert said in str(error.value)
    assert str(error.value).startswith("r.yaml: ")


def test_an_unknown_key_deep_in_a_section_is_named_with_its_neighbours():
    labels = {"positive": {"domain": ["a"]}, "negative": ["web"], "share": 0.5}
    with pytest.raises(ConfigError, match=r"quality.positive.domain: no such key; did you mean 'domains'\?"):
        validate(LEAST | {"quality": labels}, Recipe, "r.yaml")


@pytest.mark.parametrize("idle", [{"vocab_size": 4096}, {"train_mb": 5}, {"kind": "bpe"}, {"train_weights": "uniform"}])
def test_what_says_how_to_train_is_refused_beside_a_vocabulary_brought_along(idle):
    with pytest.raises(ConfigError, match=f"a tokenizer is brought along, so `{next(iter(idle))}` says nothing"):
        validate(LEAST | {"tokens": {"tokenizer": "t.json"} | idle}, Recipe, "r.yaml")


@pytest.mark.parametrize(
    ("wrong", "place"),
    [
        ({"name": "a b"}, "name"),
        ({"seed": -1}, "seed"),
        ({"seed": "one"}, "seed"),
        ({"sources": {}}, "sources"),
        ({"dedup": {"threshold": 1.5}}, "dedup.threshold"),
        ({"dedup": {"threshold": "high"}}, "dedup.threshold"),
        ({"dedup": []}, "dedup"),
        ({"tokens": {"sequence_length": 4}}, "tokens.sequence_length"),
        ({"mixture": {"budget_tokens": 0}}, "mixture.budget_tokens"),
    ],
)
def test_a_wrong_value_is_named_with_its_place(wrong, place):
    with pytest.raises(ConfigError, match=rf"(?m)^  {place}: "):
        validate(LEAST | wrong, Recipe, "r.yaml")


@pytest.mark.parametrize(
    ("weights", "said"),
    [
        ("even", "mixture.weights: Input should be 'natural' or 'uniform', or a mapping of keys (found 'even')"),
        ({"web": "half"}, "mixture.weights.web: Input should be a valid number, unable to parse .* (found 'half')"),
    ],
)
def test_a_value_of_several_shapes_is_one_problem(weights, said):
    with pytest.raises(ConfigError) as error:
        validate(LEAST | {"mixture": {"weights": weights}}, Recipe, "r.yaml")
    first, line = str(error.value).splitlines()
    assert first == "r.yaml: 1 problem"
    assert re.fullmatch(re.escape(said).replace(r"\.\*", ".*"), line.strip())


def test_a_vocabulary_too_large_for_a_flat_file_is_refused_before_anything_runs():
    tokens = {"vocab_size": 1 << 16, "export": ["mds", "flat"]}
    validate(LEAST | {"tokens": tokens}, Recipe, "r.yaml")
    with pytest.raises(ConfigError, match="vocab_size is 65,537, and the export `flat` has 16 bits a token"):
        validate(LEAST | {"tokens": tokens | {"vocab_size": 65_537}}, Recipe, "r.yaml")


def test_all_problems_are_told_at_once():
    with pytest.raises(ConfigError) as error:
        validate({"sources": {"web": "x"}, "seed": "one", "tokns": None}, Recipe, "r.yaml")
    first, *lines = str(error.value).splitlines()
    assert first == "r.yaml: 3 problems"
    assert {line.split(":")[0].strip() for line in lines} == {"name", "seed", "tokns"}


@pytest.mark.parametrize(
    ("quality", "said"),
    [
        ({"share": 0.5}, "nothing writes the column 'score' to rank by: give `model`"),
        ({"model": "m", "positive": ["web"], "negative": ["w"], "share": 0.5}, "two models write the column 'score'"),
        ({"models": {"a": "m.bin"}, "rank": "b", "share": 0.5}, "has a column 'b'.*there are a, bytes"),
        ({"model": "m.bin", "train": {"epochs": 2}, "share": 0.5}, "`train` speaks of a classifier trained here"),
        ({"model": "m.bin", "ladder": {"scores": "s.csv"}, "share": 0.5}, "to make a ladder of"),
        (
            {"positive": {"strength": {"min": 1}}, "negative": {"strength": "lowest"}, "share": 0.5},
            "which a `ladder` of language models gives",
        ),
        ({"positive": ["web"], "share": 0.5}, "training needs both"),
        ({"model": "m.bin"}, "exactly one of `share`"),
        ({"model": "m.bin", "share": 0.5, "threshold": 0.5}, "exactly one of `share`"),
    ],
)
def test_quality_takes_one_of_each_choice(quality, said):
    with pytest.raises(ConfigError, match=said):
        validate(LEAST | {"quality": quality}, Recipe, "r.yaml")


def test_a_column_that_no_source_carries_decides_nothing():
    dedup = {"dedup": {"keep": "oldest", "column": "date"}}
    with pytest.raises(ConfigError, match=r"dedup.column: no source carries a column 'date'; name it in .*`extra`"):
        validate(LEAST | dedup, Recipe, "r.yaml")
    carried = {"sources": {"web": "x", "old": {"paths": "y", "extra": ["date"]}}}
    assert validate(LEAST | carried | dedup, Recipe, "r.yaml").dedup.column == "date"


def test_a_preferred_source_that_there_is_not_is_named_with_the_nearest():
    dedup = {"dedup": {"keep": "source_priority", "priority": ["wep"]}}
    with pytest.raises(ConfigError, match=r"dedup.priority: no source is called 'wep'; did you mean 'web'"):
        validate(LEAST | dedup, Recipe, "r.yaml")


def test_a_key_given_twice_is_refused_wherever_it_stands(tmp_path):
    for text in ("name: a\nname: b\n", "name: a\nsources:\n  web: x\n  web: y\n"):
        with pytest.raises(ConfigError, match=r"(?s)the key '(name|web)' is given twice.*line \d"):
            load(written(tmp_path, text), Recipe)


@pytest.mark.parametrize("text", ["a: [1", "\tname: x", "a: b: c", "? [1, 2]\n: x\n", "? {a: 1}\n: x\n", "\x00"])
def test_what_is_no_yaml_is_said_so(tmp_path, text):
    with pytest.raises(ConfigError, match=r"r\.yaml"):
        load(written(tmp_path, text), Recipe)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is empty"),
        ("- a\n", "holds list, not a mapping of keys"),
        ("word", "holds str, not a mapping of keys"),
    ],
)
def test_what_is_no_mapping_is_said_so(tmp_path, text, said):
    with pytest.raises(ConfigError, match=said):
        load(written(tmp_path, text), Recipe)


def test_a_missing_file_is_named_with_the_nearest_one_there_is(tmp_path):
    written(tmp_path, "name: x")
    with pytest.raises(ConfigError, match=r"there is no file .*rr\.yaml .*did you mean .*/r\.yaml"):
        load(tmp_path / "rr.yaml", Recipe)
    with pytest.raises(ConfigError, match="there is no file"):
        load(tmp_path / "nowhere" / "r.yaml", Recipe)


def test_a_folder_and_a_binary_file_cannot_be_read_as_recipes(tmp_path):
    (tmp_path / "b.yaml").write_bytes(b"\xff\xfe\xfa")
    for path in (tmp_path, tmp_path / "b.yaml"):
        with pytest.raises(ConfigError, match="cannot be read"):
            load(path, Recipe)


def test_a_profile_wants_a_folder_for_its_root():
    assert str(validate({"root": "data/x"}, Profile, "p").root) == "data/x"
    with pytest.raises(ConfigError, match="root: the root must be a folder"):
        validate({"root": "s3://bucket/x"}, Profile, "p")
    with pytest.raises(ConfigError, match="workers: "):
        validate({"workers": 0}, Profile, "p")


def test_recipe_and_profile_share_no_field():
    assert not set(Recipe.model_fields) & set(Profile.model_fields)


@pytest.mark.parametrize(
    ("section", "said"),
    [
        ({"tokens": {"export": "megatron"}}, r"tokens.export: Input should be a list, such as \[a, b\] .*'megatron'"),
        ({"dedup": True}, r"dedup: Input should be a mapping of keys \(found True\)"),
        ({"mixture": {"weights": "unifrom"}}, r"mixture.weights: Input should be 'natural' or 'uniform', .*'unifrom'"),
    ],
)
def test_shapes_are_called_as_in_yaml(section, said):
    with pytest.raises(ConfigError, match=said):
        validate({"name": "x", "sources": {"web": "w"}} | section, Recipe, "r.yaml")


def test_a_section_with_nothing_behind_it_takes_its_defaults():
    bare = validate({"name": "x", "sources": {"web": "w"}, "ingest": None, "steps": None, "dedup": None}, Recipe, "r")
    assert (bare.ingest.shard_mb, bare.steps) == (64, {})
    assert bare.dedup is not None


def test_a_running_cluster_needs_a_root_that_all_its_machines_see():
    with pytest.raises(ConfigError, match="root: data is relative; on a running cluster"):
        validate({"root": "data", "runner": "ray", "address": "auto"}, Profile, "p.yaml")


@pytest.mark.parametrize(
    ("dedup", "said"),
    [
        ({"near": False, "threshold": 0.7}, "`near: false` leaves threshold without effect"),
        ({"earlier_wins": False}, "speaks of `earlier` builds"),
        ({"keep": "source_priority", "priority": ["web", "web"]}, "priority: web stands there twice"),
        ({"earlier": ["a", "b", "a"]}, "earlier: a stands there twice"),
    ],
)
def test_a_key_of_dedup_that_would_do_nothing_is_refused(dedup, said):
    with pytest.raises(ConfigError, match=said):
        validate({"name": "x", "sources": {"web": "w"}, "dedup": dedup}, Recipe, "r.yaml")


def test_gpus_are_given_out_by_ray_only():
    assert validate({"runner": "ray", "gpus_per_model": 0.5}, Profile, "p.yaml").gpus_per_model == 0.5
    with pytest.raises(ConfigError, match="gpus_per_model: only Ray gives GPUs to workers"):
        validate({"gpus_per_model": 1}, Profile, "p.yaml")


@pytest.mark.parametrize(
    ("filters", "said"),
    [
        ({"gopher_qualty": None}, "filters.gopher_qualty: no such key; did you mean 'gopher_quality'"),
        ({"routes": {"de": "drop"}}, "`routes` go by language"),
        ({"models": {"toxic": {"path": "t.bin"}}}, "give one of `min` and `max`"),
        ({"language": {"column": "lang"}}, "filters.language.column: no source carries a column 'lang'"),
    ],
)
def test_filters_are_refused_with_the_place_of_what_is_wrong(filters, said):
    with pytest.raises(ConfigError, match=said):
        validate(LEAST | {"filters": filters}, Recipe, "r.yaml")
