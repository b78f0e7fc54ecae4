"""Deduplication: lines, paragraphs, bloom, exact, withdrawn, bands, candidates, similar, near, index, substrings."""

from typing import Any

from pipeline.errors import ConfigError
from pipeline.road.quality import score
from pipeline.road.steps import Road


def dedup(road: Road) -> None:
    """Lay the steps that remove copies."""
    wanted = road.recipe.dedup
    assert wanted is not None
    for name in ("lines", "paragraphs"):
        if (params := getattr(wanted, name)) is not None:
            road.shorten(name, params)
    keeper: dict[str, Any] = {"keep": wanted.keep, "priority": wanted.priority, "column": wanted.column}
    scores = _early_scores(road)
    earlier = {f"earlier.{at}": f"build:dedup.index@{build}" for at, build in enumerate(wanted.earlier)}
    exact: dict[str, str] = {}
    if wanted.bloom is not None:
        road.decide("bloom", "dedup.bloom", {}, **wanted.bloom)
    if wanted.exact:
        road.decide("exact", "dedup.exact", scores | earlier, source_cap=wanted.source_cap, **keeper)
        exact = {"exact": "exact"}
    if wanted.withdraw:
        road.decide("withdrawn", "dedup.withdraw", {"ids": f"file:{wanted.withdraw}"} | exact)
    if wanted.near:
        _near(road, scores, earlier, exact, keeper)
    if wanted.substrings is not None:
        road.shorten("substrings", wanted.substrings)


def _near(
    road: Road, scores: dict[str, str], earlier: dict[str, str], exact: dict[str, str], keeper: dict[str, Any]
) -> None:
    wanted = road.recipe.dedup
    assert wanted is not None
    documents, compared = road.documents, road.mask
    shingles = {"ngram": wanted.ngram, "unit": wanted.unit}
    sketch = {**shingles, "hashing": wanted.hashing, **wanted.shape()._asdict(), "seed": road.recipe.seed}
    road.lay("bands", "dedup.sign", documents | compared, **sketch)
    bands = {"bands": "bands"}
    inputs = documents | bands | compared | scores | earlier
    road.lay("candidates", "dedup.match", inputs, earlier_wins=wanted.earlier_wins, **keeper)
    likeness = {"threshold": wanted.threshold, "containment": wanted.containment}
    road.lay("similar", "dedup.verify", documents | {"candidates": "candidates"} | earlier, **likeness, **shingles)
    road.decide("near", "dedup.keep", {"similar": "similar"} | exact, source_cap=wanted.source_cap)
    if wanted.index != "none":
        compact = wanted.index == "compact"
        roles = documents | bands | {"compared": compared["mask"]} | road.mask | scores
        road.lay("index", "dedup.index", roles | (earlier if compact else {}), compact=compact, **likeness, **keeper)


def _early_scores(road: Road) -> dict[str, str]:
    """Return who plays `scores` when the best score decides; the scores then come before deduplication."""
    wanted, wanted_scores = road.recipe.dedup, road.recipe.quality
    if wanted is None or wanted.keep != "best_score" or wanted.column is not None:
        return {}
    if wanted_scores is None or wanted_scores.labels() or not wanted_scores.brought():
        raise ConfigError(
            "dedup.keep: best_score needs scores before deduplication: a `dedup.column` that holds them, or a "
            "`quality.model` that was trained elsewhere"
        )
    score(road, wanted_scores, {})
    return {"scores": "scores"}
