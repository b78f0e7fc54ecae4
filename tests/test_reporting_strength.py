"""The section on language models as judges."""

import pytest

from pipeline.reporting.evidence import Evidence
from pipeline.reporting.strength import strength
from tests.reported import build, step
from tests.test_reporting import HOSTILE, Checker, pictures, told

LOSSES = {
    "models": {
        "small": {
            "documents": 1204,
            "bytes": 99_000,
            "tokens": 31_007,
            "bits_per_byte": 1.2345,
            "bits_per_byte_by_domain": {"web": 1.5, "books": 1.1},
        },
        "gone": {"documents": 0},
    }
}
STRENGTH = {
    "scored_by_some": 1204,
    "scored_by_all": 1200,
    "saturated": 300,
    "models": [
        {"model": "small", "score": 41.5, "bits_per_byte": 1.2345, "documents": 1204},
        {"model": "large", "score": 60.0, "bits_per_byte": 0.9, "documents": 1200},
    ],
    "rank_correlation": -1.0,
    "documents_by_strength": {"web": [1, 2, 300], "books": [0, 897, 0]},
    "unknown": {"web": 4},
}


def shown(tmp_path, **facts):
    steps = {name: step(f"quality.{name}", facts=found) for name, found in facts.items()}
    html = strength(Evidence.of(build(tmp_path / "built", steps)))
    assert Checker(html).open == []
    return html


def test_the_ladder_the_costs_and_the_strengths_are_there(tmp_path):
    html = shown(tmp_path, losses=LOSSES, strength=STRENGTH)
    text = " ".join(Checker(html).texts)
    for said in ("1,200", "of 1,204 documents with a loss", "25", "-1.00", "41.5", "31,007", "1.1", "4 kept documents"):
        assert said in text, said
    (picture,) = pictures(html)
    assert "web: 303" in picture[1].text


def test_losses_alone_are_a_table(tmp_path):
    html = shown(tmp_path, losses=LOSSES)
    assert "<svg" not in html
    assert "31,007" in html


def test_a_build_without_either_has_no_section(tmp_path):
    assert shown(tmp_path) == ""
    assert "Predictive strength" not in told(tmp_path / "page", {"documents": step("ingest")})


def test_steps_that_noted_nothing_are_told_without_a_division_by_zero(tmp_path):
    assert "of known strength" in shown(tmp_path, losses={}, strength={})


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_stay_text(tmp_path, name):
    costs = {"models": {name: LOSSES["models"]["small"] | {"bits_per_byte_by_domain": {name: 1.0}}}}
    ladder = STRENGTH | {"models": [{"model": name}], "documents_by_strength": {name: [1, 2]}, "unknown": {name: 1}}
    assert "<script" not in shown(tmp_path, losses=costs, strength=ladder)
