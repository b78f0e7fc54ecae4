"""`duplicates`: what is told of a document that went, of one that stayed, of one nobody knows; and how texts differ."""

import json
import shutil
from itertools import pairwise
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

import pipeline
from pipeline import cli, word_diff
from pipeline.config import Profile
from pipeline.errors import ConfigError, DataError
from pipeline.recipe import Recipe
from pipeline.word_diff import Change, changes, rendered, shortened
from tests.conftest import read

WORDS = [f"word{i}" for i in range(400)]
BASE = " ".join(WORDS)
NEAR = " ".join([*WORDS[:200], "other", *WORDS[201:]])
FAR = " ".join(f"else{i}" for i in range(300))
SAME = "twice in one domain, letter for letter"
RAW = {
    "web": [
        ("w0", BASE),
        ("w1", NEAR),
        ("w2", FAR),
        ("w3", FAR),
        ("w4", "  short text \n"),
        ("w5", SAME),
        ("w6", SAME),
    ],
    "mirror": [("m0", BASE + " and a longer end"), ("m1", FAR), ("w2", "a text of its own")],
}


def built(home: Path, name="dups", **sections):
    for domain, rows in RAW.items():
        (home / "raw" / domain).mkdir(parents=True, exist_ok=True)
        table = pa.table({"id": [i for i, _ in rows], "text": [t for _, t in rows]})
        pq.write_table(table, home / "raw" / domain / "0.parquet")
    sources = {domain: {"paths": [str(home / "raw" / domain)], "id": "id"} for domain in RAW}
    recipe = {"name": name, "sources": sources, "dedup": {"keep": "longest"}} | sections
    recipe = {key: value for key, value in recipe.items() if value is not None}
    return pipeline.build(Recipe.model_validate(recipe), Profile(root=home / "root", workers=1))


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return tmp_path_factory.mktemp("mill")


@pytest.fixture(scope="module")
def build(home):
    return built(home)


def id_of(build, source, domain=None):
    rows = read(build["documents"]).to_pylist()
    return next(r["doc_id"].hex() for r in rows if r["source_id"] == source and domain in (None, r["domain"]))


def test_a_near_duplicate_has_its_keeper_its_cluster_and_the_words_that_differ(build):
    found = pipeline.duplicates(build.folder, id_of(build, "w1"))
    mask = read(build["near"]).to_pylist()
    row = next(r for r, d in zip(mask, read(build["documents"]).to_pylist(), strict=True) if d["source_id"] == "w1")
    assert (found.step, found.reason) == ("near", "near_duplicate")
    assert (found.keeper["doc_id"], found.keeper["domain"]) == (id_of(build, "m0"), "mirror")
    assert (found.keeper["similarity"], found.keeper["containment"]) == (row["similarity"], row["containment"])
    assert found.cluster["size"] == row["cluster_size"] == 3
    assert [member["kept"] for member in found.cluster["members"]] == [True, False, False]
    assert {m["doc_id"] for m in found.cluster["members"]} == {id_of(build, s) for s in ("m0", "w0", "w1")}
    assert [change[:2] for change in found.differences if change.kind != "same"] == [
        ("removed", "word200"),
        ("added", "other"),
        ("removed", "and a longer end"),
    ]
    text = found.to_text(100)
    assert "dropped by near (near_duplicate)" in text
    assert "[-word200-] {+other+} word201" in text
    assert "\x1b" not in text


def test_an_exact_copy_has_the_document_that_stands_for_it(build):
    kept = id_of(build, "m1"), id_of(build, "w2", "web")
    dropped, keeper = (kept[0], kept[1]) if pipeline.duplicates(build.folder, kept[0]).step else (kept[1], kept[0])
    found = pipeline.duplicates(build.folder, dropped)
    assert (found.step, found.reason) == ("exact", "exact_duplicate")
    assert found.keeper["doc_id"] == keeper
    assert (found.document["copies"], found.document["similarity"]) == (3, 1.0)
    assert found.shadows["count"] == 0
    assert "the two texts have the same words in the same order" in found.to_text()


def test_rows_with_one_doc_id_are_told_apart_by_their_ids_in_the_source(build):
    one, other = (pipeline.duplicates(build.folder, name, source_id=True) for name in ("w5", "w6"))
    kept, copy = (one, other) if one.step is None else (other, one)
    assert kept.document["doc_id"] == copy.document["doc_id"] == copy.keeper["doc_id"]
    assert (kept.step, copy.step) == (None, "exact")
    assert copy.keeper["source_id"] == kept.document["source_id"]
    assert (kept.shadows["count"], copy.shadows["count"]) == (1, 0), "a copy stands for nobody"
    assert pipeline.duplicates(build.folder, kept.document["doc_id"]) == kept, "the doc_id means the row that stayed"


def test_a_kept_document_names_those_it_stands_for(build):
    found = pipeline.duplicates(build.folder, id_of(build, "m0"))
    assert (found.step, found.keeper, found.differences) == (None, None, ())
    assert found.shadows["count"] == 2
    assert {row["doc_id"] for row in found.shadows["documents"]} == {id_of(build, "w0"), id_of(build, "w1")}
    assert "dropped as copies of this one: 2" in found.to_text()
    assert found.to_text().splitlines()[2].split() == ["verdict", "kept"]


def test_a_document_like_no_other_is_kept_and_alone(build):
    found = pipeline.duplicates(build.folder, "w4", source_id=True)
    assert (found.step, found.cluster, found.keeper, found.shadows["count"]) == (None, None, None, 0)


def test_the_first_eight_digits_are_enough_and_fewer_are_not(build):
    whole = id_of(build, "w4")
    for digits in (8, 9, 17, 32):
        assert pipeline.duplicates(build.folder, whole[:digits].upper()).document["doc_id"] == whole
    for wrong in (whole[:7], whole + "0", "ghijklmn"):
        with pytest.raises(ConfigError, match="is no doc_id: that has 32 hexadecimal digits"):
            pipeline.duplicates(build.folder, wrong)


def test_an_unknown_document_is_an_error_that_says_where_to_look(build):
    with pytest.raises(ConfigError, match=r"has the doc_id 0{32}\. `corpusmill show .*` shows one; .* --source-id"):
        pipeline.duplicates(build.folder, "0" * 32)
    with pytest.raises(ConfigError, match=r"has the source_id nobody\. `corpusmill show .*` shows one$"):
        pipeline.duplicates(build.folder, "nobody", source_id=True)


def test_a_name_of_several_documents_is_refused_with_their_doc_ids(build):
    with pytest.raises(ConfigError) as error:
        pipeline.duplicates(build.folder, "w2", source_id=True)
    ids = sorted((id_of(build, "w2", "web"), id_of(build, "w2", "mirror")))
    assert str(error.value) == "w2 names 2 documents; give one of their doc_ids:\n  " + "\n  ".join(ids)


def test_a_build_without_deduplication_has_nothing_to_tell(home):
    plain = built(home, "plain", dedup=None)
    with pytest.raises(ConfigError, match=r"removes no duplicates: it has no step of dedup.exact or dedup.keep"):
        pipeline.duplicates(plain.folder, "0" * 32)


def test_exact_copies_alone_are_told_too(home):
    exact = built(home, "exact", dedup={"near": False})
    found = [pipeline.duplicates(exact.folder, name, source_id=True) for name in ("w3", "m1")]
    assert {f.step for f in found} >= {"exact"}
    for one in found:
        assert one.document["copies"] == 3
        assert one.cluster is None
        assert one.to_text()


def test_what_a_later_step_dropped_is_told_by_its_reason(home):
    (home / "fussy.py").write_text(
        "import pyarrow as pa\n\n\n"
        "def none(batch):\n"
        '    """Keep nothing."""\n'
        '    return pa.record_batch({"keep": pa.array([False] * batch.num_rows)})\n'
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(home))
        later = built(home, "later", steps={"fussy": {"stage": "fussy:none", "version": 1, "after": "near"}})
    found = pipeline.duplicates(later.folder, id_of(later, "m0"))
    assert (found.step, found.keeper) == ("fussy", None)
    assert found.document["keep"], "deduplication kept it"
    assert pipeline.duplicates(later.folder, id_of(later, "w1")).step == "near"


def test_a_text_that_cannot_be_read_is_an_error_that_says_so(home, build, tmp_path):
    shutil.copytree(home / "root", tmp_path / "root")
    folder = tmp_path / "root" / "builds" / "dups"
    for path in (tmp_path / "root" / "corpora").glob("ingest-*/data/*.parquet"):
        path.write_bytes(b"PAR1")
    with pytest.raises(DataError, match="a shard cannot be read"):
        pipeline.duplicates(folder, id_of(build, "w1"))


def test_the_command_prints_the_same_as_the_function_and_exits_as_the_others_do(build):
    run = CliRunner()
    name = id_of(build, "w1")
    asked = run.invoke(cli.main, ["duplicates", str(build.folder), name, "--json"])
    assert json.loads(asked.output) == json.loads(json.dumps(pipeline.duplicates(build.folder, name).to_json()))
    assert json.loads(asked.output)["kept"] is False
    assert run.invoke(cli.main, ["duplicates", str(build.folder), "w4", "--source-id"]).exit_code == 0
    assert run.invoke(cli.main, ["duplicates", str(build.folder), "0" * 32]).exit_code == 2
    assert run.invoke(cli.main, ["duplicates", str(build.folder.parent / "no"), name]).exit_code == 1


def test_the_whole_difference_is_longer_than_a_screenful(build):
    short, whole = (pipeline.duplicates(build.folder, id_of(build, "w1"), full=full) for full in (False, True))
    assert "words the same" in short.to_text()
    assert "words the same" not in whole.to_text()
    assert " ".join(c.text for c in whole.differences if c.kind != "removed") == NEAR


TEXTS = st.lists(st.sampled_from(["a", "b", "c.", "d\n", "e", "語", "文"]), max_size=30).map(" ".join)


@given(TEXTS, TEXTS)
def test_the_runs_spell_both_texts(old, new):
    runs = changes(old, new)

    def spelled(kinds):
        return "".join("".join(run.text.split()) for run in runs if run.kind in kinds)

    assert spelled(("same", "removed")) == "".join(old.split())
    assert spelled(("same", "added")) == "".join(new.split())
    assert sum(run.words for run in runs if run.kind == "same") <= min(len(old.split()), len(new.split()))


@given(TEXTS, TEXTS)
def test_between_two_equal_runs_there_is_at_most_one_removed_and_then_one_added(old, new):
    kinds = [run.kind for run in changes(old, new)]
    assert not [pair for pair in pairwise(kinds) if pair[0] == pair[1]]
    assert ("added", "removed") not in set(pairwise(kinds))


def test_texts_that_differ_in_white_space_alone_do_not_differ():
    assert changes("a  b\nc", "a b c") == [Change("same", "a b c", 3)]
    assert changes("", " \n") == []


def test_a_script_without_spaces_is_compared_by_its_characters():
    assert [tuple(run[:2]) for run in changes("你好世界", "你好新世界")] == [
        ("same", "你好"),
        ("added", "新"),
        ("same", "世界"),
    ]


def test_what_is_shown_is_bounded_however_long_the_texts_are():
    old = [f"w{i}" for i in range(20_000)]
    new = [f"x{i}" if i % 100 == 0 else word for i, word in enumerate(old)]
    assert len(changes(" ".join(old), " ".join(new))) == 600, "a text without lines and sentences"
    runs = shortened(changes(" ".join(old), " ".join(new)))
    assert len(runs) == word_diff.CHANGES
    assert len(rendered(runs, 80, 24).splitlines()) == 24
    (cut,) = shortened(changes("", " ".join(WORDS)))
    assert cut == Change("added", " ".join(WORDS[: word_diff.SHOWN]) + " …", 400)


def test_what_went_before_passages_were_cut_out_is_told_of_the_step_that_dropped_it(home):
    lines = {"keep": "none_above", "most": 1, "min_bytes": 10}
    cut = built(home, "cut", dedup={"keep": "longest", "lines": lines})
    dropped = [r["reason"] for r in read(cut["lines"]).to_pylist()]
    assert "boilerplate" in dropped
    row = read(cut["documents"])["source_id"][dropped.index("boilerplate")].as_py()
    domain = read(cut["documents"])["domain"][dropped.index("boilerplate")].as_py()
    shortened_ids = read(cut["without_lines"]).to_pylist()
    doc_id = next(r["doc_id"].hex() for r in shortened_ids if (r["source_id"], r["domain"]) == (row, domain))
    found = pipeline.duplicates(cut.folder, doc_id)
    assert (found.step, found.reason) == ("lines", "boilerplate")
