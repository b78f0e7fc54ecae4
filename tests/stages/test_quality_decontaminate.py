"""Benchmark items in documents: found under disguises, counted, dropped, cut; and clean documents left alone."""

import json
import random

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import pipeline
from pipeline.api import Silent
from pipeline.config import Profile
from pipeline.dedup.cut import CUT, CutParams
from pipeline.errors import ConfigError, DataError
from pipeline.execution.local import LocalRunner
from pipeline.quality import benchmarks
from pipeline.quality.decontaminate import DECONTAMINATE, DecontaminateParams, check
from tests.conftest import read, run_stage, write_documents

QUESTION = "How many ducks did the old farmer sell at the market in April, if each of his six ponds held nine?"
ANSWER = "He sold fifty-four ducks, because six times nine is fifty-four, and he kept none of them for the winter."
ITEM = f"{QUESTION}\n{ANSWER}"
OTHER = "Welche Farbe hatte der Zug, der am Abend über die lange Brücke nach Süden fuhr und niemals ankam?"
SHORT = "Zanzibar exports cloves"
CHINESE = "黑豹队的防守只丢了三百零八分在联赛中排名第六同时也以二十四次拦截领先"
ITEMS = [("ducks", "math", ITEM, QUESTION), ("zug", "german", OTHER, None), ("cloves", "trade", SHORT, None)]
ITEMS.append(("zh", "chinese", CHINESE, None))
NAMES = ("id", "task", "text", "question")


def filler(seed, words=300):
    """Return a text that shares nothing with an item."""
    draw = random.Random(seed)
    return " ".join("".join(draw.choices("bcdfghjklmnpqrstvwxz", k=6)) for _ in range(words))


def benchmark(folder, items=ITEMS, name="items.parquet"):
    path = folder / name
    if name.endswith(".jsonl"):
        path.write_text("".join(json.dumps(dict(zip(NAMES, item, strict=True))) + "\n" for item in items))
    else:
        columns = list(zip(*items, strict=True)) if items else [[]] * 4
        pq.write_table(pa.table({n: pa.array(c, pa.string()) for n, c in zip(NAMES, columns, strict=True)}), path)
    return path


def judged(root, texts, path=None, runner=None, shards=1, **params):
    """Return the mask of texts."""
    (root / "documents").mkdir(parents=True)
    rows = [(text, "web" if i % 2 else "docs") for i, text in enumerate(texts)]
    documents = write_documents(root / "documents", [rows[i::shards] for i in range(shards)])
    files = {"benchmarks.0": path or benchmark(root)}
    params = DecontaminateParams(**params)
    return documents, run_stage(root / "mask", DECONTAMINATE, params, runner, documents=documents, **files)


def within(text, seed=0):
    return f"{filler(seed)}\n\n{text}\n\n{filler(seed + 1000)}"


DISGUISES = {
    "verbatim": ITEM,
    "upper case": ITEM.upper(),
    "no punctuation": "".join(c for c in ITEM if c.isalnum() or c.isspace()).replace("fiftyfour", "fifty four"),
    "reflowed": ITEM.replace(" ", "  \n\t"),
    "half": ITEM[: len(ITEM) // 2],
    "question": QUESTION,
    "answer": ANSWER,
    "numbers": ITEM.replace("six", "five").replace("nine", "eight"),
}


@pytest.mark.parametrize("disguise", DISGUISES)
def test_an_item_is_found_in_every_disguise(tmp_path, disguise):
    _, mask = judged(tmp_path, [within(DISGUISES[disguise]), filler(5)])
    assert read(mask).drop_columns("overlap").to_pylist() == [
        {"keep": False, "reason": "contaminated", "benchmark": "math/ducks"},
        {"keep": True, "reason": None, "benchmark": None},
    ]


def test_scripts_without_spaces_are_compared_by_character(tmp_path):
    _, mask = judged(tmp_path, [within(" ".join(CHINESE)), within(CHINESE[:20]), within(CHINESE[:7])])
    assert read(mask)["benchmark"].to_pylist() == ["chinese/zh", "chinese/zh", None]


def test_an_item_shorter_than_an_ngram_is_found_whole_or_not_at_all(tmp_path):
    texts = [within("zanzibar: exports CLOVES!"), within("Zanzibar exports"), within("exports cloves Zanzibar")]
    _, mask = judged(tmp_path, texts)
    assert read(mask)["benchmark"].to_pylist() == ["trade/cloves", None, None]
    _, mask = judged(tmp_path / "longer", texts, benchmark(tmp_path), least_words=4)
    assert read(mask)["benchmark"].to_pylist() == [None] * 3
    assert mask.manifest.facts["items_without_ngrams"] == 1


def test_overlap_is_the_share_of_the_ngrams_of_the_passage(tmp_path):
    words = [f"w{i}" for i in range(17)]  # ten n-grams
    path = benchmark(tmp_path, [("a", "t", " ".join(words), None)])
    _, mask = judged(tmp_path, [" ".join(words[:10]), " ".join(words), "w0"], path, run_words=None, overlap=0.4)
    assert read(mask)["overlap"].to_pylist() == pytest.approx([0.3, 1.0, 0.0])
    assert read(mask)["benchmark"].to_pylist() == [None, "t/a", None]


def test_a_long_run_is_enough_and_a_stammer_is_no_run(tmp_path):
    words = [f"w{i}" for i in range(400)] + ["one", "two"] * 20
    path = benchmark(tmp_path, [("a", "t", " ".join(words), None)])
    texts = [" ".join(words[50:63]), " ".join(words[50:62]), " ".join(["one", "two"] * 20)]
    _, mask = judged(tmp_path, texts, path)
    assert read(mask)["benchmark"].to_pylist() == ["t/a", None, None]


def test_ngrams_of_many_items_are_a_matter_of_form(tmp_path):
    form = "Answer the following question with one of the letters A, B, C or D and nothing else"
    items = [(str(i), "t", f"{form}: {filler(i + 50, 12)}", None) for i in range(4)]
    path = benchmark(tmp_path, items)
    texts = [within(form), within(items[2][2])]
    _, mask = judged(tmp_path, texts, path, most_items=3)
    assert read(mask)["benchmark"].to_pylist() == [None, "t/2"]
    assert mask.manifest.facts["ngrams_of_many_items"] > 0
    _, mask = judged(tmp_path / "all", texts, path, most_items=4)
    assert read(mask)["benchmark"].to_pylist() == ["t/0", "t/2"]


def test_what_many_documents_say_is_common_speech(tmp_path):
    texts = [within(SHORT, seed) for seed in range(4)]
    _, mask = judged(tmp_path, texts, most_documents=3)
    assert read(mask)["benchmark"].to_pylist() == [None] * 4
    assert mask.manifest.facts["ngrams_common_in_documents"] == 1
    _, mask = judged(tmp_path / "more", texts, most_documents=4)
    assert read(mask)["benchmark"].to_pylist() == ["trade/cloves"] * 4


def test_an_item_that_many_documents_copy_is_still_found(tmp_path):
    _, mask = judged(tmp_path, [within(ITEM, seed) for seed in range(6)], most_documents=3)
    assert read(mask)["keep"].to_pylist() == [False] * 6


def test_documents_dropped_before_are_not_looked_at(tmp_path):
    documents, first = judged(tmp_path, [within(OTHER), within(ITEM)], benchmark(tmp_path, ITEMS[1:2]))
    more = {"documents": documents, "mask": first, "benchmarks.1": benchmark(tmp_path, name="all.parquet")}
    second = run_stage(tmp_path / "second", DECONTAMINATE, DecontaminateParams(action="report"), **more)
    rows = read(second).to_pylist()
    assert [row["keep"] for row in rows] == [False, True]
    assert [row["benchmark"] for row in rows] == [None, "math/ducks"]
    assert (rows[0]["overlap"], rows[0]["reason"]) == (None, "contaminated")


def test_report_keeps_all_and_names_the_items(tmp_path):
    _, mask = judged(tmp_path, [within(ITEM), filler(1)], action="report")
    assert read(mask)["keep"].to_pylist() == [True, True]
    assert read(mask)["benchmark"].to_pylist() == ["math/ducks", None]


def cut(root, texts, **params):
    documents, mask = judged(root, texts, action="cut", **params)
    left = run_stage(root / "cut", CUT, CutParams(), documents=documents, mask=mask)
    return read(mask), read(left)["text"].to_pylist()


def test_cut_takes_the_item_and_a_margin_out_and_no_more(tmp_path):
    text = within(ITEM)
    mask, (left, clean) = cut(tmp_path, [text, filler(1)], margin=20, min_piece=30)
    start, end = text.index("How many"), text.index("winter") + len("winter")
    assert left == text[: start - 20] + text[end + 20 :]
    assert clean == filler(1)
    assert mask["keep"].to_pylist() == [True, True]
    assert mask["spans"].to_pylist() == [[start - 20, end + 20], []]


def test_cut_drops_a_document_of_which_nothing_or_too_many_pieces_are_left(tmp_path):
    texts = [within(ITEM, 1), f"short {ITEM} short", within(within(within(ITEM, 2), 3), 4), filler(9)]
    many = "\n".join(filler(seed, 20) + "\n" + text for seed, text in enumerate([ITEM, OTHER, ITEM, OTHER]))
    mask, _ = cut(tmp_path, [*texts, many], margin=0, min_piece=20, most_pieces=3)
    assert mask["keep"].to_pylist() == [True, False, True, True, False]
    assert mask["spans"].to_pylist()[1] is None


def test_cut_after_normal_form_leaves_nothing_of_the_item(tmp_path):
    """Where letters and accents stand apart, words are told apart by part only: the cut is wider, never beside."""
    item = "Où était la pâte à crêpes que mémé préparait pour le goûter de Zoé, près de la fenêtre en été?"
    apart = item.replace("é", "e\u0301").replace("ê", "e\u0302")
    path = benchmark(tmp_path, [("a", "t", item, None)])
    texts = [f"{filler(1)} {apart} {filler(2)}", f"{filler(3)} {item} {filler(4)}"]
    mask, left = cut(tmp_path, texts, path=path, margin=0, min_piece=1)
    assert mask["benchmark"].to_pylist() == ["t/a", "t/a"]
    assert not any(word in text for text in left for word in ("pâte", "Zoe\u0301", "Zoé", "pour"))
    assert all(len(text) > 3000 for text in left)


@pytest.mark.slow
def test_workers_shards_and_order_change_no_decision(tmp_path):
    texts = [within(text, seed) for seed, text in enumerate([ITEM, SHORT, OTHER, filler(7), CHINESE, ITEM[:60]] * 2)]
    expected = {}
    for name, runner, order, shards in (("one", None, 1, 1), ("two", LocalRunner(2), 1, 3), ("back", None, -1, 5)):
        documents, mask = judged(tmp_path / name, texts[::order], runner=runner, shards=shards, action="cut")
        rows = zip(read(documents)["text"].to_pylist(), read(mask).to_pylist(), strict=True)
        made = dict(rows), {k: v for k, v in mask.manifest.facts.items() if k != "found_by_domain"}
        if expected:
            assert made[0] == expected["rows"]
            assert {**made[1], "examples": 0} == {**expected["facts"], "examples": 0}
        expected = {"rows": made[0], "facts": made[1]}


def test_workers_map_the_index_that_was_made_once(tmp_path):
    known = benchmarks.load((benchmark(tmp_path),), DecontaminateParams().items())
    prepared = benchmarks.prepare(known, tmp_path / "scratch")
    sought = benchmarks.opened(prepared)
    assert sought.names.equals(known.names)
    assert sought.items.tolist() == known.items.tolist()
    for name, made, found in zip(known.index._fields, known.index, sought.index, strict=True):
        assert np.array_equal(made, found), name
    written = {path: path.stat().st_mtime_ns for path in prepared.iterdir()}
    assert benchmarks.prepare(known, tmp_path / "scratch") == prepared
    assert {path: path.stat().st_mtime_ns for path in prepared.iterdir()} == written


def test_the_books_tell_tasks_items_and_examples(tmp_path):
    documents, mask = judged(tmp_path, [within(ITEM), within(ITEM, 2), within(OTHER, 4), filler(6)])
    facts = mask.manifest.facts
    assert facts["found_by_task"]["math"] == {"items": 1, "items_found": 1, "documents": 2}
    assert facts["found_by_task"]["chinese"] == {"items": 1, "items_found": 0, "documents": 0}
    assert facts["most_found"][0] == {"benchmark": "math/ducks", "documents": 2}
    assert facts["found_by_domain"] == {"docs": 2, "web": 1}
    examples = {example["task"]: example for example in facts["examples"]}
    assert sorted(examples) == ["german", "math"]
    assert examples["german"]["text"].startswith(OTHER[:-1])
    assert examples["german"]["item"] == OTHER
    assert examples["math"]["doc_id"] in [i.hex() for i in read(documents)["doc_id"].to_pylist()]


def test_json_lines_and_parquet_are_the_same_items(tmp_path):
    masks = []
    for name in ("items.parquet", "items.jsonl"):
        path = benchmark(tmp_path, name=name)
        masks.append(read(judged(tmp_path / name.replace(".", "-"), [within(t) for t in (ITEM, OTHER)], path)[1]))
    assert masks[0].equals(masks[1])


def test_items_may_lie_in_several_files_without_tasks_and_questions(tmp_path):
    tables = ({"id": ["a"], "text": [ITEM]}, {"id": ["b"], "text": [OTHER]})
    paths = [tmp_path / f"{i}.parquet" for i in range(2)]
    for path, table in zip(paths, tables, strict=True):
        pq.write_table(pa.table(table), path)
    documents = write_documents(tmp_path / "documents", [[(within(ITEM), "web"), (within(OTHER), "web")]])
    roles = {f"benchmarks.{i}": path for i, path in enumerate(paths)}
    mask = run_stage(tmp_path / "mask", DECONTAMINATE, DecontaminateParams(task=None), documents=documents, **roles)
    assert read(mask)["benchmark"].to_pylist() == ["benchmark/a", "benchmark/b"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"not json", "cannot be read as benchmark items"),
        (b"[1]", "not an object"),
        (b'{"id": 1, "text": "a"}', "has no column 'task'"),
        (b'{"id": null, "task": "t", "text": "a"}', "item 1: id is null"),
        (b'{"id": 1, "task": "t", "text": 3}', "item 1: '3' is not a text"),
        (b'{"id": 1, "task": "t", "text": "\\ud800"}', "is not a text"),
        (b"", "have no items"),
        (b"PAR1 and no more", "cannot be read as benchmark items"),
    ],
)
def test_files_that_hold_no_items_are_refused_before_anything_runs(tmp_path, content, said):
    path = tmp_path / "items"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=said):
        check(DecontaminateParams(), {"benchmarks.0": path})


def test_without_benchmarks_nothing_is_begun(tmp_path):
    with pytest.raises(ConfigError, match="no benchmark items to look for; wire files"):
        check(DecontaminateParams(), {})
    with pytest.raises(DataError, match="no benchmark items"):
        run_stage(tmp_path, DECONTAMINATE, DecontaminateParams(), documents=write_documents(tmp_path, [[]]))


@pytest.mark.parametrize(
    ("given", "said"),
    [({"least_words": 9}, r"least_words \(9\)"), ({"run_words": 7}, r"run_words \(7\)"), ({"texts": ()}, "texts")],
)
def test_params_that_contradict_each_other_are_refused(given, said):
    with pytest.raises(ValueError, match=said):
        DecontaminateParams(**given)


def test_no_documents_are_taken(tmp_path):
    for name, shards in (("none", []), ("empty", [[]])):
        (tmp_path / name).mkdir()
        documents = write_documents(tmp_path / name, shards)
        mask = run_stage(
            tmp_path / f"{name}-mask",
            DECONTAMINATE,
            DecontaminateParams(action="cut"),
            documents=documents,
            **{"benchmarks.0": benchmark(tmp_path)},
        )
        assert mask.manifest.rows == 0


RECIPE = """
name: clean
sources: {{web: {raw}}}
steps:
  decontaminate:
    stage: quality.decontaminate
    inputs: {{documents: documents, benchmarks.0: "file:{items}"}}
    params: {{action: cut}}
  clean: {{stage: dedup.cut, inputs: {{documents: documents, mask: decontaminate}}}}
"""


def test_a_recipe_wires_it_as_a_step(tmp_path):
    pq.write_table(pa.table({"text": [within(ITEM), filler(3)]}), tmp_path / "raw.parquet")
    recipe = RECIPE.format(raw=tmp_path / "raw.parquet", items=benchmark(tmp_path))
    (tmp_path / "clean.yaml").write_text(recipe)
    built = pipeline.build(tmp_path / "clean.yaml", Profile(root=tmp_path / "data", workers=1), watcher=Silent())
    assert not any("ducks" in text for text in read(built["clean"])["text"].to_pylist())


@pytest.mark.shared
@pytest.mark.slow
def test_planted_items_are_found_and_clean_documents_kept(tmp_path, shared):
    folder = shared / "data/evals"
    labels = pq.read_table(folder / "contaminated/labels.parquet").to_pylist()
    kinds = {row["id"]: row["kind"] for row in labels}
    table = pq.read_table(folder / "contaminated/docs-00000.parquet").to_pylist()
    documents = write_documents(tmp_path / "documents", [[(row["text"], row["source"]) for row in table]])
    files = {"benchmarks.0": folder / "benchmarks.parquet"}
    mask = run_stage(tmp_path / "mask", DECONTAMINATE, DecontaminateParams(), documents=documents, **files)
    found = {}
    for row, name in zip(table, read(mask)["benchmark"].to_pylist(), strict=True):
        found.setdefault(kinds[row["id"]], []).append(name is not None)
    shares = {kind: sum(hits) / len(hits) for kind, hits in found.items()}
    planted = [hit for kind, hits in found.items() if kind not in ("clean", "paraphrase_numbers") for hit in hits]
    assert shares["verbatim"] >= 0.99
    assert sum(planted) / len(planted) >= 0.95
    assert shares["clean"] < 0.002
