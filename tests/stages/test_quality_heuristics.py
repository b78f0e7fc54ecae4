"""quality.heuristics: every rule drops what it is about, for a reason of its own, and nothing depends on shards."""

import random

import numpy as np
import pyarrow as pa
import pytest
from pydantic import ValidationError

from pipeline.dedup.cut import CUT, CutParams
from pipeline.errors import DataError
from pipeline.kernels.fasttext_model import serialise
from pipeline.quality.heuristics import HEURISTICS, HeuristicsParams
from pipeline.schemas import text_buffers
from tests.conftest import read, run_stage, write_documents
from tests.kernels.test_fasttext_train import train
from tests.stages.masks import masked
from tests.stages.road import in_shards

NONE = {"gopher_repetition": None, "gopher_quality": None, "fineweb": None}
ONLY = {
    "repetition": NONE | {"gopher_repetition": {}},
    "quality": NONE | {"gopher_quality": {}},
    "c4": NONE | {"c4": {}},
    "fineweb": NONE | {"fineweb": {}},
}


def prose(sentences: int = 12, seed: int = 0, words: int = 11) -> str:
    """Sentences of words that do not repeat, with the stop words of English, one a line."""
    chance = random.Random(seed)
    letters = "abcdefghijklmnopqrstuvwxyz"
    made = []
    for _ in range(sentences):
        fresh = ["".join(chance.choices(letters, k=chance.randint(4, 7))) for _ in range(words - 2)]
        made.append(" ".join([fresh[0], "the", *fresh[1:4], "of", *fresh[4:]]).capitalize() + ".")
    return "\n".join(made)


def judged(root, texts, **params):
    documents = write_documents(root / "documents", [[(text, "web") for text in texts]])
    return run_stage(root / "out", HEURISTICS, HeuristicsParams(**params), documents=documents)


def reasons(corpus):
    return read(corpus)["reason"].to_pylist()


def test_prose_is_kept_by_all_rules(tmp_path):
    corpus = judged(tmp_path, [prose()], c4={})
    assert read(corpus)["keep"].to_pylist() == [True]
    assert read(corpus)["broken"].to_pylist() == [0]


LINES = prose(40).split("\n")
WORDS = [word for line in LINES for word in line.lower().rstrip(".").split() if word not in ("the", "of")]
BREAKERS = {
    "gopher_dup_para_frac": ("repetition", "\n\n".join([*["A short one."] * 5, *LINES[:8]])),
    "gopher_dup_para_char_frac": ("repetition", "\n\n".join([LINES[0] * 6, LINES[0] * 6, *LINES[1:9]])),
    "gopher_dup_line_frac": ("repetition", "\n".join([*["Short."] * 5, *LINES[:8]])),
    "gopher_dup_line_char_frac": ("repetition", "\n".join([LINES[0] * 6, LINES[0] * 6, *LINES[1:9]])),
    "gopher_top_2_gram": ("repetition", " ".join(f"magnificent elephants {word}" for word in WORDS[:60])),
    "gopher_top_3_gram": (
        "repetition",
        " ".join(f"big fat cat {' '.join(WORDS[4 * i : 4 * i + 5])}" for i in range(30)),
    ),
    "gopher_duplicated_5_n_grams": ("repetition", " ".join([*WORDS[:40], *WORDS[:20]])),
    "gopher_short_doc": ("quality", "The end of the tale is near."),
    "gopher_long_doc": ("quality", "The end of a tale " * 25_000),
    "gopher_below_avg_threshold": ("quality", "the of a b c d e f " * 10),
    "gopher_above_avg_threshold": (
        "quality",
        " ".join(f"{a}{b}{a}" for a, b in zip(WORDS[:99], WORDS[99:198], strict=True)),
    ),
    "gopher_too_many_hashes": ("quality", prose() + " #" * 30),
    "gopher_too_many_ellipsis": ("quality", prose() + " …" * 30),
    "gopher_too_many_bullets": ("quality", "\n".join(f"- {line}" for line in LINES[:10])),
    "gopher_too_many_end_ellipsis": ("quality", "\n".join(f"{line}.." for line in LINES[:10])),
    "gopher_below_alpha_threshold": ("quality", prose() + " 2024" * 60),
    "gopher_stop_words": ("quality", " ".join(WORDS[:99])),
    "c4_empty": ("c4", "Menu | Home\nContact | About us"),
    "c4_lorem_ipsum": ("c4", prose() + "\nLorem Ipsum dolor sit amet."),
    "c4_curly_bracket": ("c4", prose() + "\nThis is { a bracket."),
    "c4_too_few_sentences": ("c4", prose(4)),
    "fineweb_line_punct_ratio": ("fineweb", prose(30).replace(".", "")),
    "fineweb_short_line_ratio": ("fineweb", "\n".join(f"Line {word} ends here." for word in WORDS[:30])),
    "fineweb_char_dup_ratio": ("fineweb", prose() + "\n" + LINES[0]),
    "fineweb_list_ratio": ("fineweb", ("\n" * 6).join(LINES[:9])),
}


@pytest.mark.parametrize("reason", BREAKERS)
def test_every_rule_drops_what_it_is_about_for_its_own_reason(tmp_path, reason):
    group, text = BREAKERS[reason]
    assert reasons(judged(tmp_path, [text], **ONLY[group])) == [reason]


@pytest.mark.parametrize("reason", [reason for reason in BREAKERS if reason != "c4_empty"])
def test_a_rule_that_is_off_drops_nothing(tmp_path, reason):
    group, text = BREAKERS[reason]
    name = next(name for name, value in ONLY[group].items() if value is not None)
    field = reason.removeprefix("gopher_").removeprefix("c4_").removeprefix("fineweb_")
    off = False if field in ("lorem_ipsum", "curly_bracket") else None
    assert reason not in reasons(judged(tmp_path, [text], **ONLY[group] | {name: {field: off}}))


def test_the_first_rule_broken_is_the_reason_and_all_are_known(tmp_path):
    corpus = judged(tmp_path, ["- one\n- one\n- one"])
    facts, broken = corpus.manifest.facts, read(corpus)["broken"].to_pylist()[0]
    names = [name for place, name in enumerate(facts["rules"]) if broken >> place & 1]
    assert names[0] == reasons(corpus)[0] == "gopher_dup_line_frac"
    assert {"gopher_short_doc", "gopher_too_many_bullets", "fineweb_short_line_ratio"} <= set(names)
    assert facts["would_drop"] == dict.fromkeys(sorted(names), 1)
    assert facts["only_this_rule"] == {}


def test_a_document_dropped_earlier_keeps_its_reason_and_counts_in_no_rule(tmp_path):
    documents = write_documents(tmp_path / "documents", [[("short", "web"), (prose(), "web"), ("brief", "docs")]])
    mask = masked(tmp_path / "mask", documents, [[False, True, True]])
    params = HeuristicsParams(c4={}, masking={})
    corpus = run_stage(tmp_path / "out", HEURISTICS, params, documents=documents, mask=mask)
    table = read(corpus)
    assert table["reason"].to_pylist() == ["by hand", None, "gopher_short_doc"]
    assert table["broken"].to_pylist()[0] is None
    assert table["spans"].to_pylist() == [None, [], None]
    assert corpus.manifest.facts["would_drop_by_domain"]["gopher_short_doc"] == {"docs": 1}
    assert corpus.manifest.ledger["docs"]["dropped"] == {"gopher_short_doc": 1}


def test_decisions_and_facts_do_not_depend_on_shards_or_order(tmp_path):
    rows = [(text, "web") for _, text in BREAKERS.values()] + [(prose(seed=i), "docs") for i in range(10)]
    found = []
    for trial, shards in enumerate((1, 3, 7)):
        documents = write_documents(tmp_path / f"d{trial}", in_shards(rows, shards, trial))
        corpus = run_stage(tmp_path / f"o{trial}", HEURISTICS, HeuristicsParams(c4={}, masking={}), documents=documents)
        ids = read(documents)["doc_id"].to_pylist()
        decided = read(corpus).to_pylist()
        found.append((dict(zip(ids, decided, strict=True)), corpus.manifest.facts, corpus.manifest.ledger))
    assert found[0] == found[1] == found[2]


def test_lines_that_go_and_identifiers_are_written_out_by_cut(tmp_path):
    lines = LINES[:6]
    text = "\n".join(
        ["Home | Menu", lines[0] + "[1]", *lines[1:], "Write to jo@corp.org or 8.8.8.8 now.", "Use cookies."]
    )
    documents = write_documents(tmp_path / "documents", [[(text, "web"), (prose(), "web")]])
    params = HeuristicsParams(**NONE, c4={}, masking={"ip": None})
    mask = run_stage(tmp_path / "mask", HEURISTICS, params, documents=documents)
    assert read(mask)["marks"].to_pylist()[0].count("email@example.com") == 1
    cut = run_stage(tmp_path / "cut", CUT, CutParams(), documents=documents, mask=mask)
    expected = "\n".join([*lines, "Write to email@example.com or 8.8.8.8 now."])
    assert read(cut)["text"].to_pylist() == [expected, prose()]
    assert mask.manifest.facts["shortened"]["web"]["documents"] == 1


def test_fineweb_sees_the_text_as_c4_leaves_it(tmp_path):
    text = "\n".join(["Menu", "Menu", *LINES[:20], "Menu"])
    assert reasons(judged(tmp_path / "a", [text], **NONE | {"fineweb": {"char_dup_ratio": 0}})) == [
        "fineweb_char_dup_ratio"
    ]
    assert reasons(judged(tmp_path / "b", [text], **NONE | {"fineweb": {"char_dup_ratio": 0}, "c4": {}})) == [None]


def test_bad_words_are_those_of_the_file_and_count_as_whole_words(tmp_path):
    (tmp_path / "en.txt").write_text("darn it\nheck\n\n")
    documents = write_documents(
        tmp_path / "documents",
        [[(prose() + f"\n{end}", "web") for end in ("Oh Heck, no.", "Oh heckle him.", "Darn it all.")]],
    )
    params = HeuristicsParams(**NONE, c4={"bad_words": "en"})
    inputs = {"documents": documents, "bad_words.en": tmp_path / "en.txt"}
    assert reasons(run_stage(tmp_path / "out", HEURISTICS, params, **inputs)) == ["c4_bad_words", None, "c4_bad_words"]


def languages(root, **params):
    rows = [(prose(), "web"), ("kurz", "web"), ("短い", "web"), ("???", "web")]
    documents = write_documents(root / "documents", [rows], lang=[["en", "de", "ja", None]])
    language = {"column": "lang"} | params.pop("language", {})
    return run_stage(root / "out", HEURISTICS, HeuristicsParams(language=language, **params), documents=documents)


def test_documents_of_other_languages_are_dropped_and_asked_nothing_more(tmp_path):
    corpus = languages(tmp_path, language={"keep": ["en"]})
    assert reasons(corpus) == [None, "language", "language", "language"]
    assert corpus.manifest.facts["would_drop"] == {"language": 3}
    assert corpus.manifest.facts["languages"]["unknown"] == {"read": 1, "kept": 0}
    assert read(corpus)["language"].to_pylist() == ["en", "de", "ja", None]


def test_each_language_goes_its_own_route(tmp_path):
    corpus = languages(
        tmp_path, routes={"de": {"gopher_quality": {"short_doc": 1, "words": ["kurz"], "stop_words": 1}}, "ja": "pass"}
    )
    assert reasons(corpus)[0] is None
    assert reasons(corpus)[2] is None
    rules = corpus.manifest.facts["rules"]
    broken = [
        {name for place, name in enumerate(rules) if bits >> place & 1} for bits in read(corpus)["broken"].to_pylist()
    ]
    assert not {"gopher_short_doc", "gopher_stop_words"} & broken[1]
    assert {"gopher_short_doc", "gopher_stop_words"} <= broken[3]
    assert reasons(languages(tmp_path / "drop", **NONE, routes={"de": "drop"})) == [None, "language", None, None]


def a_model(path, ones, zeros):
    """Write a model that tells the words of `ones` (label 1) from those of `zeros`."""
    texts = [*ones, *zeros] * 8
    data, offsets = text_buffers(pa.array(texts, pa.large_string()))
    positive = np.array([True] * len(ones) + [False] * len(zeros)).repeat(1)
    order = np.tile(np.arange(len(texts)), (5, 1))
    model, _ = train(data, offsets, np.tile(positive, 8), order, bucket=1024)
    path.write_bytes(serialise(model))
    return path


def test_a_model_drops_by_its_limit_under_its_name_and_another_tells_the_language(tmp_path):
    texts = ["vile hateful rant", "calm kindly words"]
    model = a_model(tmp_path / "model.bin", [texts[0]], [texts[1]])
    documents = write_documents(tmp_path / "documents", [[(text, "web") for text in texts]])
    inputs = {"documents": documents, "model.0": model}
    params = HeuristicsParams(**NONE, models=[{"name": "toxic", "label": "1", "max": 0.5}])
    corpus = run_stage(tmp_path / "out", HEURISTICS, params, **inputs)
    assert reasons(corpus) == ["toxic", None]
    assert [score > 0.5 for score in read(corpus)["toxic"].to_pylist()] == [True, False]
    params = HeuristicsParams(**NONE, language={"keep": ["0"], "min_score": 0.5})
    corpus = run_stage(tmp_path / "lid", HEURISTICS, params, documents=documents, language=model)
    assert reasons(corpus) == ["language", None]
    params = HeuristicsParams(**NONE, language={"min_score": 1})
    corpus = run_stage(tmp_path / "unsure", HEURISTICS, params, documents=documents, language=model)
    assert set(reasons(corpus)) == {"language_score"}


def test_what_the_params_ask_for_must_be_wired_and_nothing_else(tmp_path):
    documents = write_documents(tmp_path / "documents", [[("text", "web")]])
    model = a_model(tmp_path / "model.bin", ["a"], ["b"])
    with pytest.raises(DataError, match=r"nothing plays language"):
        run_stage(tmp_path / "a", HEURISTICS, HeuristicsParams(language={}), documents=documents)
    with pytest.raises(DataError, match=r"language is wired, but the params ask nothing of it"):
        run_stage(tmp_path / "b", HEURISTICS, HeuristicsParams(), documents=documents, language=model)
    with pytest.raises(DataError, match=r"nothing plays bad_words.en"):
        run_stage(tmp_path / "c", HEURISTICS, HeuristicsParams(c4={"bad_words": "en"}), documents=documents)


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({"routes": {"de": "pass"}}, "`routes` go by language"),
        ({"language": {}, "routes": {"de": {"gopher": {}}}}, "Extra inputs"),
        ({"models": [{"name": "x", "label": "1"}]}, "one of `min` and `max`"),
        ({"models": [{"name": "keep", "label": "1", "max": 0.1}]}, "is taken"),
        ({"c4": {"policy": ["x"]}}, "fewer than two"),
    ],
)
def test_params_that_cannot_be_meant_are_refused(params, said):
    with pytest.raises(ValidationError, match=said):
        HeuristicsParams(**params)


def test_an_empty_corpus_is_judged_without_complaint(tmp_path):
    documents = write_documents(tmp_path / "documents", [[]])
    params = HeuristicsParams(c4={}, masking={})
    assert read(run_stage(tmp_path / "out", HEURISTICS, params, documents=documents)).num_rows == 0
