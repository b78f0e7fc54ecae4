"""The section on clusters as domains."""

import pytest

from pipeline.reporting.clusters import clusters
from pipeline.reporting.evidence import Evidence
from tests.reported import build, step
from tests.test_reporting import HOSTILE, Checker, pictures, told

TEA = {
    "documents": 1204,
    "bytes": 2_500_000,
    "cohesion": 0.3125,
    "main_domain": "web",
    "main_domain_share": 0.875,
    "words": ["leaf", "kettle", "pot"],
    "nearest": {"name": "law-court", "similarity": -0.25},
}
LAW = {
    "documents": 7,
    "bytes": 300,
    "cohesion": 0.5,
    "main_domain": "books",
    "main_domain_share": 1.0,
    "words": ["law"],
}
FACTS = {
    "clusters": {"law-court": LAW, "leaf-kettle": TEA},
    "wanted": 3,
    "sample_documents": 1190,
    "agreement_with_domains": {"purity": 0.876, "nmi": 0.5432},
}


def shown(tmp_path, facts):
    html = clusters(Evidence.of(build(tmp_path / "built", {"clusters": step("mixture.cluster", facts=facts)})))
    assert Checker(html).open == []
    return html


def test_sizes_words_neighbours_and_agreement_are_there_the_largest_first(tmp_path):
    html = shown(tmp_path, FACTS)
    text = " ".join(Checker(html).texts)
    for said in (
        "of 3 wanted",
        "1,190",
        "87.6%",
        "0.54",
        "1,204",
        "0.31",
        "web 88%",
        "law-court -0.25",
        "leaf kettle pot",
    ):
        assert said in text, said
    assert html.index("leaf-kettle") < html.index("law-court</")
    (picture,) = pictures(html)
    assert "leaf-kettle: 2.50 MB" in picture[1].text


def test_a_build_without_clusters_has_no_section(tmp_path):
    assert "Clusters as domains" not in told(tmp_path / "page", {"documents": step("ingest")})
    assert "Clusters as domains" in told(tmp_path / "with", {"clusters": step("mixture.cluster", facts=FACTS)})


def test_a_step_that_noted_nothing_is_told_without_a_division_by_zero(tmp_path):
    assert "of 0 wanted" in shown(tmp_path, {})


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_stay_text(tmp_path, name):
    cluster = TEA | {"words": [name], "main_domain": name, "nearest": {"name": name}}
    assert "<script" not in shown(tmp_path, FACTS | {"clusters": {name: cluster}})
