"""The report's section on rules of thumb: what each rule dropped and would drop, languages, shortened texts."""

import re

from pipeline.reporting.evidence import Evidence
from pipeline.reporting.heuristics import heuristics
from tests.reported import books, build, step

RULES = ["language", "language_score", "gopher_short_doc", "c4_empty", "low_quality"]


def told(tmp_path, facts):
    ledger, _ = books(("web", "docs"), {"web": 4000, "docs": 1500}, "low_quality")
    steps = {"rules": step("quality.heuristics", {}, {}, ledger, {"rules": RULES} | facts, rows=5500)}
    return heuristics(Evidence.of(build(tmp_path, steps)))


def cells(html):
    return [re.findall(r"<t[hd][^>]*>([^<]*)<", row) for row in re.findall(r"<tr>(.*?)</tr>", html)]


def test_every_rule_that_is_broken_is_told_in_the_order_in_which_they_decide(tmp_path):
    html = told(
        tmp_path,
        {
            "would_drop": {"low_quality": 2400, "gopher_short_doc": 70},
            "would_drop_by_domain": {"low_quality": {"web": 1400, "docs": 1000}, "gopher_short_doc": {"web": 70}},
            "only_this_rule": {"low_quality": 2330},
        },
    )
    rows = cells(html)
    assert rows[0] == ["rule", "dropped", "break it", "of all", "break no other", "web", "docs"]
    assert rows[1] == ["gopher short doc", "0", "70", "1.3 %", "0", "70", "0"]
    assert rows[2] == ["low quality", "2,100", "2,400", "43.6 %", "2,330", "1,400", "1,000"]


def test_languages_and_shortened_texts_are_told_where_they_are_known(tmp_path):
    html = told(
        tmp_path,
        {
            "languages": {"de": {"read": 10, "kept": 4}, "<b>": {"read": 90, "kept": 90}},
            "dropped_by_language": {"de": {"gopher_short_doc": 5, "language": 1}},
            "shortened": {"web": {"documents": 12, "bytes": 3400}},
        },
    )
    assert ["&lt;b&gt;", "", "90", "90", "100.0 %"] in cells(html)
    assert ["de", "gopher short doc 5, language 1", "10", "4", "40.0 %"] in cells(html)
    assert ["web", "12", "3.40 kB"] in cells(html)


def test_a_build_without_rules_has_no_such_section(tmp_path):
    assert heuristics(Evidence.of(build(tmp_path, {"documents": step("ingest")}))) == ""
