"""Quality: model, scores, select."""

from pipeline.errors import ConfigError
from pipeline.road.steps import Road


def quality(road: Road) -> None:
    """Lay the steps that score documents and keep the best."""
    wanted, documents = road.recipe.quality, road.documents
    assert wanted is not None
    model = f"file:{wanted.model}"
    if wanted.positive and wanted.negative:
        labels = {"positive": wanted.positive.model_dump(), "negative": wanted.negative.model_dump()}
        road.lay(
            "model", "quality.train", documents | road.mask, **({"seed": road.recipe.seed} | labels | wanted.train)
        )
        model = "model"
    if "scores" not in road.steps:
        road.lay(
            "scores", "quality.score", documents | {"model.0": model} | road.mask, models=[{"label": wanted.label}]
        )
    tokens = {"tokens": "tokens"} if wanted.by == "tokens" else {}
    if tokens and road.recipe.tokens is None:
        raise ConfigError("quality.by: to select by tokens the recipe needs a `tokens:` section; or select by bytes")
    road.decide(
        "select",
        "quality.select",
        {"scores": "scores"} | tokens,
        share=wanted.share,
        threshold=wanted.threshold,
        by=wanted.by,
        scope=wanted.scope,
        exempt=wanted.exempt,
        label_only=wanted.label_only,
    )
