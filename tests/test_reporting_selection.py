"""The section on selection: the rule in words, the cuts, what each domain kept, and the buckets."""

import pytest

from pipeline.reporting.evidence import Evidence
from pipeline.reporting.selection import selection
from tests.reported import build, road, step
from tests.stages.selected import corpora, rows, select
from tests.test_reporting import Checker


def shown(tmp_path, **params):
    """The section of a selection that was really run."""
    documents = [d | {"keep": True} for d in rows(200, 1)]
    corpus = select(tmp_path / "out", corpora(tmp_path, documents), **params)
    html = selection(Evidence.of(build(tmp_path / "built", {"select": corpus.manifest})))
    assert Checker(html).open == []
    return html, corpus.manifest


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({"rank": "good", "threshold": 0.5}, ["All from a score of 0.5 upwards. Ranked by good."]),
        ({"rank": "good", "share": 0.25, "scope": "domain"}, ["A share of 0.25 of the bytes, in each domain."]),
        (
            {"rank": "good", "quotas": {"web": 0.5, "forum": {"documents": 9}}, "by": "documents", "share": 0.1},
            ["web a share of 0.5, forum 9 documents; every other domain 0.1 of the documents."],
        ),
        ({"rank": "good", "share": 0.3, "temperature": 2.0}, ["by exp(score / 2)", "lowest key drawn"]),
        ({"rank": "good", "share": 0.3, "temperature": "infinite"}, ["Drawn evenly, whatever the score."]),
        (
            {"ensemble": ["good", "fine"], "threshold": 15},
            ["the highest of 20 buckets over the scorers good, fine", "Where the buckets of fine begin"],
        ),
        (
            {"criteria": [{"column": "rating", "min": 3, "missing": "drop"}]},
            ["All that meet the criteria.", "limit on rating", "min 3; without a number: drop"],
        ),
    ],
)
def test_the_rule_is_told_in_words(tmp_path, params, said):
    html, _ = shown(tmp_path, **params)
    for words in said:
        assert words in html


def test_every_bucket_is_counted_and_drawn(tmp_path):
    html, manifest = shown(tmp_path, rank="good", share=1.0, buckets={"count": 2, "names": ["low", "high"]})
    for domain, counts in manifest.facts["buckets"].items():
        for name, count in counts.items():
            assert f'<th scope="row">{domain}/{name}</th><td class="num">{count["documents"]}</td>' in html
    assert html.index("/low") < html.index("/high")
    assert html.count("<svg") == 1
    many, _ = shown(tmp_path / "many", rank="good", share=1.0, buckets=12)
    assert "/11</th>" in many
    assert "<svg" not in many


def test_a_build_without_a_selection_has_no_such_section(tmp_path):
    steps = {name: made for name, made in road().items() if name != "select"}
    assert selection(Evidence.of(build(tmp_path, steps))) == ""


def test_facts_of_another_shape_do_not_break_the_page(tmp_path):
    facts = {"cuts": {"web": 3}, "buckets": [], "points": None, "ranked_by": ["a"]}
    made = {"select": step("quality.select", {"share": None}, facts=facts)}
    assert Checker(selection(Evidence.of(build(tmp_path, made)))).open == []


def test_a_bucket_has_the_colour_of_its_domain(tmp_path):
    evidence = Evidence.of(build(tmp_path, road()))
    assert evidence.tone("web/high") == evidence.tone("web") != evidence.tone("code/high")
    assert evidence.tone("nowhere/high") == "dx"
