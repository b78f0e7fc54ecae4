"""The report: what it shows of a build, what it leaves out, and that no name in it can break the page."""

import json
import re
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest
import yaml

from pipeline.corpus import DATA, Shards
from pipeline.errors import DataError
from pipeline.ledger import add, entry
from pipeline.parquet import write_table
from pipeline.places import Place, values
from pipeline.reporting import numerals, plots
from pipeline.reporting.evidence import Evidence
from pipeline.reporting.excerpts import CHARACTERS, ELSEWHERE, GONE, Excerpts, Quoted
from pipeline.reporting.flow import State, flow
from pipeline.reporting.page import page, write_report
from pipeline.reporting.plots import Bar, Line, Mark, Row, lines
from tests.conftest import documents_table, write_documents
from tests.reported import build, road, step

VOID = {"meta", "br", "hr", "img", "link", "input"}
HOSTILE = ('<script>alert("x")</script>', "a&b<c>'\"", "ключ\u202e\x00", "x" * 300, "")


class Checker(HTMLParser):
    """Checks that tags nest, and collects texts, tags and attributes."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.values, self.texts = [], [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.values += [(tag, name, value) for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)


def told(tmp_path, steps, **more):
    return page(Evidence.of(build(tmp_path, steps, **more)), Excerpts())


def titles(html):
    return re.findall(r"<h2>([^<]*)</h2>", html)


def pictures(html):
    return [ElementTree.fromstring(text) for text in re.findall(r"<svg.*?</svg>", html, re.S)]


@pytest.fixture
def whole(tmp_path):
    return told(tmp_path, road())


def test_the_whole_road_has_every_section(whole):
    assert titles(whole) == [
        "The road at a glance",
        "What was dropped, and why",
        "Duplicates",
        "The classifier",
        "Quality",
        "Selection",
        "Document lengths",
        "Tokens",
        "Mixture",
        "Packed sequences",
        "What every step is",
        "How to build it again",
    ]


def test_the_page_is_one_file_without_script_or_anything_from_elsewhere(whole):
    parsed = Checker(whole)
    assert parsed.open == []
    assert not {"script", "link", "img", "iframe", "object"} & set(parsed.tags)
    assert not [v for v in parsed.values if v[1] in ("src", "href") and not v[2].startswith("#")]
    assert "url(" not in whole
    assert "@import" not in whole


def test_every_picture_is_well_formed_and_says_what_it_shows(whole):
    found = pictures(whole)
    assert len(found) >= 9
    for picture in found:
        assert picture.get("role") == "img"
        assert picture[0].tag.endswith("title")
        assert picture[0].text
        assert picture[1].tag.endswith("desc")
        assert picture[1].text
        assert "nan" not in ElementTree.tostring(picture, "unicode")


def test_the_same_build_gives_the_same_bytes_wherever_it_lies(tmp_path):
    first = write_report(build(tmp_path / "one", road())).read_bytes()
    assert write_report(build(tmp_path / "other", road())).read_bytes() == first
    assert write_report(build(tmp_path / "one", road())).read_bytes() == first
    assert str(tmp_path).encode() not in first


def test_the_report_lies_in_the_build_unless_another_place_is_named(tmp_path):
    made = build(tmp_path, road())
    assert write_report(made) == made.folder / "report.html"
    assert write_report(made, tmp_path / "elsewhere" / "r.html").exists()


@pytest.mark.parametrize("domain", HOSTILE)
def test_a_hostile_domain_name_stays_text(tmp_path, domain):
    steps = road((domain, "web", "code"))
    html = told(tmp_path, steps, recipe={"name": "n", "sources": {domain: {"paths": [domain]}}})
    parsed = Checker(html)
    assert parsed.open == []
    assert "script" not in parsed.tags
    assert {tag for tag, name, _ in parsed.values if name.startswith("on")} == set()
    for text in re.findall(r"<svg.*?</svg>", html, re.S):
        ElementTree.fromstring(text)


def test_hostile_facts_params_and_reasons_stay_text(tmp_path):
    bad = HOSTILE[0]
    ledger = {"web": add(entry(5, 50), entry(1, 9, bad))}
    own = step("mine:filter", {bad: bad}, {bad: bad}, ledger, {bad: {bad: [bad, None, True, 1.5]}}, 6)
    html = told(tmp_path, {bad: own}, name="n")
    assert "<script" not in html
    assert html.count("&lt;script&gt;") > 5


def test_documents_alone_have_only_the_sections_of_documents(tmp_path):
    html = told(tmp_path, {"documents": road()["documents"]})
    assert titles(html) == [
        "The road at a glance",
        "What was dropped, and why",
        "What every step is",
        "How to build it again",
    ]


def test_a_build_that_drops_nothing_has_no_section_on_what_was_dropped(tmp_path):
    clean = step("ingest", {}, {}, {"web": entry(3, 30)}, {"files": {"web": 1}}, 3)
    assert "What was dropped, and why" not in titles(told(tmp_path, {"documents": clean}))


def test_packing_is_told_with_its_pictures_and_what_it_leaves_out(tmp_path):
    html = told(tmp_path, road())
    for words in ("Sequences by the documents in them", "Documents cut into pieces, by domain", "short rest"):
        assert words in html
    assert "only what is longer than a sequence is cut" in html


def test_a_build_without_rows_is_told_without_a_division_by_zero(tmp_path):
    nothing = {"web": entry(0, 0)}
    steps = {"documents": step("ingest", {}, {}, nothing), "near": step("dedup.keep", {"threshold": 0.8}, {}, nothing)}
    facts = {"sequence_length": 8, "tokens": 0, "by_domain": {}}
    steps["sequences"] = step("tokens.pack", {}, {}, {}, facts)
    html = told(tmp_path, steps)
    assert "Packed sequences" in titles(html)
    assert Checker(html).open == []


def test_stages_that_noted_nothing_are_told_by_their_ledgers_alone(tmp_path):
    bare = {name: manifest.model_copy(update={"facts": {}}) for name, manifest in road().items()}
    html = told(tmp_path, bare)
    assert "The road at a glance" in titles(html)
    assert "Document lengths" not in titles(html)
    assert Checker(html).open == []


def test_a_step_of_ones_own_gets_its_ledger_and_facts(tmp_path):
    own = step("mine:filter", {}, {}, {"web": add(entry(5, 50), entry(2, 9, "too_short"))}, {"least": 40}, 7)
    html = told(tmp_path, road() | {"mine": own})
    assert "Further steps" in titles(html)
    assert "5 of 7 documents kept, 2 dropped." in html
    assert "<dt>least</dt><dd>40</dd>" in html
    assert "too short (mine)" in html


def test_passages_are_shown_with_their_counts_and_a_stream_with_its_caution(tmp_path):
    facts = {"passages_by_documents": {"2": 31, "3 to 10": 7}, "most_frequent": [{"documents": 9, "text": "<b>Menu"}]}
    lines = step("dedup.lines", {"most": 2}, {}, {"web": entry(5, 50)}, facts, 5)
    stream = step("dedup.bloom", {}, {}, {"web": entry(5, 50)}, {"order_dependent": True, "caution": "mind it"}, 5)
    html = told(tmp_path, road() | {"lines": lines, "stream": stream})
    assert '<th scope="row">&lt;b&gt;Menu</th><td class="num">9</td>' in html
    assert "Copies of a passage" in html
    assert "What this step kept depends on the order in which documents came" in html
    assert "<dt>caution</dt><dd>mind it</dd>" in html
    assert Checker(html).open == []


def test_the_tables_carry_the_numbers_of_the_ledgers(tmp_path):
    steps = road()
    html = told(tmp_path, steps)
    for name in ("documents", "exact", "near", "select"):
        for books in steps[name].ledger.values():
            for rows in books.get("dropped", {}).values():
                assert f'<td class="num">{rows:,}</td>' in html
    tokens = steps["plan"].facts["tokens"]
    assert f'<td class="num">{tokens:,}</td>' in html


def test_tokens_that_never_come_are_counted_by_domain_and_listed(whole):
    assert '<th scope="row">under 100 times</th><td class="num">5,021</td><td class="num">30.6 %</td>' in whole
    assert '<th scope="row">never</th><td class="num">1,207</td><td class="num">7.4 %</td>' in whole
    assert '<th scope="row">never in books</th><td class="num">4,321</td>' in whole
    assert "solidgoldmagikarp&lt;" in whole


def test_an_engine_that_was_not_taken_and_a_domain_with_too_little_text_are_told_of(tmp_path):
    steps, why = road(), "fastokens differs from tokenizers on 'a<b'"
    encoded = steps["tokens"].facts | {"engine": "tokenizers", "engine_note": why, "notes": ["lost, 3 times"]}
    steps["tokens"] = steps["tokens"].model_copy(update={"facts": encoded})
    trained = steps["tokenizer"].facts | {"kind": "superbpe", "notes": ["domain 'web' has 3 bytes: it is taken whole"]}
    steps["tokenizer"] = steps["tokenizer"].model_copy(update={"facts": trained})
    texts = Checker(told(tmp_path, steps)).texts
    assert why in texts
    assert "lost, 3 times" in texts
    assert "domain 'web' has 3 bytes: it is taken whole" in texts
    assert "byte-level SuperBPE, trained here" in texts


def test_a_hundred_domains_still_make_a_page(tmp_path):
    html = told(tmp_path, road(tuple(f"domain-{i}" for i in range(100))))
    assert Checker(html).open == []
    assert len(html) < 3_000_000


def test_scores_may_be_cut_by_domain(tmp_path):
    steps = road()
    cuts = {
        "web": {"threshold": 0.25, "documents": 9, "bytes": 99},
        "code": {"threshold": None, "documents": 1, "bytes": 9},
    }
    params = steps["select"].params | {"scope": "domain"}
    steps["select"] = steps["select"].model_copy(update={"params": params, "facts": {"by": "bytes", "cuts": cuts}})
    html = told(tmp_path, steps)
    assert "0.250000" in html
    assert html.count('class="mark"') == 2, "the cut of web and the threshold of the bands"


def test_every_model_has_its_scores_shown_and_the_labels_it_gave_most_often(tmp_path):
    steps = road()
    old = steps["scores"].facts
    languages = {f"l{i:02}": 100 - i for i in range(15)}
    facts = {
        "labels": old["labels"],
        "documents_by_score": old["documents_by_score"] | {"language": old["documents_by_score"]["score"]},
        "documents_by_label": {"language": {"web": languages, "code": {"l03": 7}}},
    }
    steps["scores"] = steps["scores"].model_copy(update={"facts": facts})
    html = told(tmp_path, steps)
    assert "Documents by language, P of the best label" in html
    assert "Documents by score, P(positive)" in html
    assert "the 12 most frequent of 15" in html
    assert ">l03<" in html
    assert ">l14<" not in html


def test_the_recipe_can_be_read_back(tmp_path):
    recipe = {"name": "x", "seed": 3, "sources": {"a: b": {"paths": ["p"]}}, "tokens": {"eos": "<|endoftext|>"}}
    html = told(tmp_path, road(), recipe=recipe)
    text = "".join(Checker(re.search(r"<pre.*?</pre>", html, re.S)[0]).texts)
    assert yaml.safe_load(text) == recipe


def test_a_broken_record_is_an_error_that_says_so(tmp_path):
    made = build(tmp_path, road())
    (made.folder / "build.json").write_text("[]")
    with pytest.raises(DataError, match="is not the record of a build"):
        write_report(made)


def test_a_report_can_be_made_when_every_shard_is_gone(tmp_path):
    made = build(tmp_path, road())
    assert not [path for path in tmp_path.rglob("*") if path.parent.name == "data"]
    assert write_report(made).exists()


def test_a_corpus_of_many_shards_is_told_by_its_sums(tmp_path):
    steps = road()
    steps["documents"] = steps["documents"].model_copy(update={"shards": Shards(list(steps["documents"].shards) * 500)})
    assert json.dumps("part-00000.parquet") not in told(tmp_path, steps)


def quoting(tmp_path, texts, **changes):
    """Return a build whose documents corpus has a shard of these texts, and the page about it."""
    steps = road()
    for name, facts in changes.items():
        steps[name] = steps[name].model_copy(update={"facts": steps[name].facts | facts})
    made = build(tmp_path, steps)
    data = made["documents"].root / DATA
    data.mkdir()
    write_table(data / "part-00000.parquet", documents_table([(text, "web") for text in texts]))
    return made, write_report(made).read_text()


def quotes(html):
    """Return (text of the dropped document, text of its keeper) of every pair that is quoted."""
    pairs = re.findall(r'<div class="beside">(.*?)</div>', html, re.S)
    return [tuple(re.findall(r"<p>([^<]*)</p>", pair)) for pair in pairs]


TEXTS = [f"document {i} says <b>" for i in range(20)]


def test_examples_stand_beside_their_keepers_and_hot_keys_with_their_best_document(tmp_path):
    _, html = quoting(tmp_path, TEXTS)
    found = quotes(html)
    assert len(found) == 12
    assert {keeper for _, keeper in found} == {"document 1 says &lt;b&gt;"}
    assert {dropped for dropped, _ in found} >= {"document 0 says &lt;b&gt;", "document 2 says &lt;b&gt;"}
    assert "<dt>640 documents</dt><dd>document 1 says &lt;b&gt;</dd>" in html
    assert Checker(html).open == []


def test_a_long_text_is_quoted_by_its_beginning_on_one_line(tmp_path):
    made, _ = quoting(tmp_path, [*TEXTS[:1], "a\n\n  b " * 10_000, *TEXTS[2:]])
    quoted = Quoted(made["documents"].manifest.fingerprint, Place("part-00000.parquet", 1))
    assert Excerpts.of(made, [quoted])[quoted] == "a b " * (CHARACTERS // 4) + "…"


def test_texts_that_are_gone_or_broken_are_said_to_be_so(tmp_path):
    made, html = quoting(tmp_path, TEXTS[:2])
    assert (GONE in html, "document 1 says" in html) == (True, True), "rows beyond the second are not there"
    path = made["documents"].root / DATA / "part-00000.parquet"
    path.write_bytes(b"PAR1 no more")
    assert len(quotes(write_report(made).read_text())) == 12
    path.unlink()
    html = write_report(made).read_text()
    assert set(quotes(html)) == {(GONE, GONE)}


def test_a_keeper_of_an_earlier_build_is_not_quoted(tmp_path):
    example = {"domain": "web", "keeper_domain": "books", "doc_id": "ab" * 16, "keeper": "cd" * 16, "similarity": 0.9}
    example |= {"shard": "part-00000.parquet", "row": 3}
    _, html = quoting(tmp_path, TEXTS, near={"examples": [example]}, exact={"examples": []})
    assert quotes(html) == [("document 3 says &lt;b&gt;", ELSEWHERE)]


def test_half_of_the_examples_are_of_two_domains_and_of_those_that_lost_most(tmp_path):
    _, html = quoting(tmp_path, TEXTS)
    heads = re.findall(r'<blockquote><p class="sub">(\w+): dropped, (\w+)[^<]*</p>.*?</blockquote>', html)
    keepers = re.findall(r'<p class="sub">(\w+): its keeper', html)
    near = [(loser, keeper) for (loser, kind), keeper in zip(heads, keepers, strict=True) if kind == "similarity"]
    assert [loser != keeper for loser, keeper in near] == [True] * 4 + [False] * 4
    sources = road()["near"].facts["sources"]
    for part in (near[:4], near[4:]):
        lost = [sources[loser][keeper]["documents"] for loser, keeper in part]
        assert lost == sorted(lost, reverse=True)


def test_the_table_of_losses_says_who_lost_what_to_whom(tmp_path):
    steps = road()
    facts = {"sources": {"web": {"books": {"documents": 30, "bytes": 320_000}}}, "examples": []}
    steps["near"] = steps["near"].model_copy(update={"facts": facts})
    size = steps["near"].ledger["web"]["bytes_in"]
    share = numerals.share(320_000, size)
    html = told(tmp_path, steps)
    cell = f'<td class="num">30 · {share}</td>'
    assert f'<tr><th scope="row">web</th>{cell}{cell}</tr>' in html, "all, and books"


def test_the_losses_of_a_hundred_domains_are_a_table_of_bounded_width(tmp_path):
    html = told(tmp_path, road(tuple(f"domain-{i:03d}" for i in range(100))))
    tables = [t for t in re.findall(r"<table>.*?</table>", html, re.S) if "lost by" in t]
    assert len(tables) == 2
    for text in tables:
        rows = re.findall(r"<tr>(.*?)</tr>", text, re.S)
        assert {len(re.findall(r"<t[hd]", row)) for row in rows} == {13}
        assert len(rows) == 41
    assert html.count("60 more domains lost documents.") == 2


def test_the_picture_of_the_bands_marks_the_threshold_and_the_recall_there(whole):
    (picture,) = [p for p in pictures(whole) if p[0].text == "Chance of being compared"]
    texts = [e.text for e in picture.iter() if e.tag.endswith("text")]
    expected = f"{1 - (1 - 0.8**6) ** 20:.4f}"
    assert {"threshold 0.8", f"chance {expected}"} <= set(texts)
    assert f"Expected recall of pairs exactly at the threshold: {expected}" in whole


def test_classes_stand_in_the_order_of_their_sizes(tmp_path):
    steps = road()
    sizes = {"over 1,000": 1, "11 to 100": 2, "2": 3, "101 to 1,000": 4, "3 to 10": 5}
    steps["near"] = steps["near"].model_copy(update={"facts": {"cluster_sizes": sizes}})
    (picture,) = [p for p in pictures(told(tmp_path, steps)) if p[0].text == "Sizes of clusters"]
    names = [e.text for e in picture.iter() if e.tag.endswith("text") and e.get("text-anchor") == "end"]
    assert names == ["2", "3 to 10", "11 to 100", "101 to 1,000", "over 1,000"]


def test_a_stage_that_depends_on_the_order_of_documents_says_so(tmp_path, whole):
    seen = step("dedup.bloom", {}, {}, {"web": add(entry(5, 50), entry(2, 9, "seen"))}, {"order_dependent": True}, 7)
    html = told(tmp_path, {"seen": seen})
    assert "depends on the order in which documents came" in html
    assert "depends on the order in which documents came" not in whole


def test_stages_on_parts_of_documents_are_told_by_their_facts(tmp_path):
    frequent = [{"documents": 900, "text": "All rights reserved."}, {"documents": 12, "text": "<b>"}]
    lines = step("dedup.lines", {}, {}, {}, {"passages": 31, "most_frequent": frequent}, 7)
    html = told(tmp_path, {"lines": lines})
    assert titles(html)[0] == "Duplicates"
    assert "<dt>passages</dt><dd>31</dd>" in html
    assert '<th scope="row">All rights reserved.</th><td class="num">900</td>' in html
    assert Checker(html).open == []


FOUND = {
    "items": 30,
    "ngrams": 4000,
    "items_without_ngrams": 2,
    "found_by_domain": {"web": 5},
    "found_by_task": {"math": {"items": 10, "items_found": 3, "documents": 5}, "poems": {"items": 20, "documents": 0}},
    "most_found": [{"benchmark": "math/7", "documents": 3}],
    "examples": [
        {
            "task": "math",
            "benchmark": "math/7",
            "doc_id": "0a",
            "domain": "web",
            "overlap": 0.5,
            "text": "<b>in",
            "item": "of",
        }
    ],
}


@pytest.mark.parametrize(("action", "dropped"), [("drop", 5), ("cut", 2), ("report", 0)])
def test_benchmark_items_are_told_by_task_with_examples(tmp_path, action, dropped):
    ledger = {"web": {}}
    add(ledger["web"], entry(100 - dropped, 1000))
    if dropped:
        add(ledger["web"], entry(dropped, 50, "contaminated"))
    steps = {"clean": step("quality.decontaminate", {"action": action}, ledger=ledger, facts=FOUND)}
    html = told(tmp_path, steps)
    assert "Benchmark items" in titles(html)
    assert f"5.0 % of documents; {dropped} dropped" in html
    assert ("documents that stay, shortened" in html) == (action == "cut")
    for text in ("math/7", "&lt;b&gt;in", "50% of its n-grams", "Nothing was found of poems."):
        assert text in html


def test_rows_are_read_by_their_places_once_and_in_order(tmp_path):
    corpus = write_documents(tmp_path, [[("a", "x"), ("b", "x")], [("c", "x")]])
    wanted = [Place("part-00001.parquet", 0), Place("part-00000.parquet", 1), Place("part-00000.parquet", 1)]
    found = [(*place, row["text"]) for place, row in values(corpus, wanted, ("text",))]
    assert found == [("part-00000.parquet", 1, "b"), ("part-00001.parquet", 0, "c")]
    with pytest.raises(IndexError, match="has 1 rows and no row 3"):
        list(values(corpus, [Place("part-00001.parquet", 3)], ("text",)))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (numerals.count(1234567), "1,234,567"),
        (numerals.count(-3), "−3"),
        (numerals.short(942), "942"),
        (numerals.short(11_698), "11.7k"),
        (numerals.short(999_600), "1.00M"),
        (numerals.size(831), "831 B"),
        (numerals.size(47_100_000), "47.1 MB"),
        (numerals.size(0), "0 B"),
        (numerals.share(1, 3), "33.3 %"),
        (numerals.share(1, 100_000), "< 0.1 %"),
        (numerals.share(0, 5), "0.0 %"),
        (numerals.share(1, 0), "–"),
        (numerals.binary(2048), "2Ki"),
        (numerals.number(0.12345), "0.1235"),
        (numerals.number(True), "yes"),
    ],
)
def test_numbers_are_written_for_people(text, expected):
    assert text == expected


def rectangles(picture, tone):
    found = [e for e in ElementTree.fromstring(picture).iter() if e.tag.endswith("rect")]
    return [e for e in found if e.get("class") == tone]


def test_bars_are_as_long_as_their_values():
    picture = plots.stacked("t", [Row("a", (Bar(3, "r0", "3"), Bar(1, "r1", "1"))), Row("b", (Bar(2, "r0", "2"),))])
    long, short = (float(e.get("width")) for e in rectangles(picture, "r0"))
    (rest,) = (float(e.get("width")) for e in rectangles(picture, "r1"))
    assert long == pytest.approx(3 * rest, rel=1e-3)
    assert short == pytest.approx(2 * rest, rel=1e-3)


def test_a_ridge_has_a_bar_for_every_bin_that_is_not_empty():
    picture = plots.ridges(
        "t", {"a": ("d0", [0, 4, 2, 0])}, names=["0", "", "", "", "1"], axis="x", marks=[Mark(2, "m")]
    )
    tall, low = (float(e.get("height")) for e in rectangles(picture, "d0"))
    assert tall == pytest.approx(2 * low, rel=1e-3)


def test_the_flow_keeps_the_bytes_it_is_given():
    states = [State("read", {"a": 60, "b": 40}, {}), State("exact", {"a": 30, "b": 40}, {"a": 30, "b": 0})]
    picture = flow("t", states, {"a": "d0", "b": "d1"})
    whole, kept = (float(e.get("height")) for e in rectangles(picture, "d0"))
    (gone,) = (float(e.get("height")) for e in rectangles(picture, "d0 gone"))
    assert whole == pytest.approx(kept + gone, abs=0.02)
    assert [float(e.get("height")) for e in rectangles(picture, "d1")] == pytest.approx([84.0, 84.0], abs=0.02)


def test_there_is_no_flow_of_nothing():
    assert flow("t", [State("read", {"a": 0}, {}), State("exact", {"a": 0}, {})], {"a": "d0"}) == ""
    assert flow("t", [State("read", {"a": 1}, {})], {"a": "d0"}) == ""


def test_a_long_road_cuts_its_names_and_not_its_numbers():
    states = [State("a step with a long name", {"a": 60 - i}, {"a": 1} if i else {}) for i in range(14)]
    texts = [e.text for e in ElementTree.fromstring(flow("t", states, {"a": "d0"})).iter() if e.tag.endswith("text")]
    assert all(len(text) <= 8 for text in texts)
    assert texts.count("60 B") == 1


def test_the_classifier_is_told_by_its_held_out_part(whole):
    section = re.search(r'<section id="classifier">.*?</section>', whole, re.S)[0]
    for said in ("0.9731", "on 605 documents", "0.5512", "best 10%", "98.8%", "theorem 1", "lol 30"):
        assert said in section
    assert "0.0700 before calibration" in section
    assert "theorem 31" not in section
    pictures_of = [picture[0].text for picture in pictures(section)]
    assert pictures_of == ["Positive documents among those that would be kept", "Calibration"]
    assert "Caution" not in section


def test_a_classifier_that_only_knows_lengths_is_pointed_out(tmp_path):
    steps = road()
    facts = steps["model"].facts | {"warning": "it is hardly better than a <ruler>"}
    steps["model"] = steps["model"].model_copy(update={"facts": facts})
    assert "Caution: it is hardly better than a &lt;ruler&gt;." in told(tmp_path, steps)


def test_a_classifier_that_noted_little_is_told_by_that(tmp_path):
    steps = road()
    steps["model"] = steps["model"].model_copy(update={"facts": {"held_out_auc": None, "calibration": {"curve": []}}})
    html = told(tmp_path, steps)
    assert Checker(html).open == []
    assert "The classifier" in html


def test_a_score_that_means_what_it_says_lies_on_the_diagonal():
    picture = lines("x", [Line("one", "d0", ((0.0, 0.0, ""), (0.5, 0.5, ""), (1.0, 1.0, "")))], axes=("a", "b"))
    diagonal = re.search(r'<line x1="([^"]*)" y1="([^"]*)" x2="([^"]*)" y2="([^"]*)" class="even"/>', picture).groups()
    path = re.search(r'<path d="M([^"]*)" class="d0 thread">', picture)[1]
    assert [tuple(point.split(",")) for point in path.split("L")][::2] == [diagonal[:2], diagonal[2:]]
