"""Quality: losses, strength, model, scores, select."""

from typing import Any

from pipeline.errors import ConfigError
from pipeline.quality.select_params import SelectParams
from pipeline.recipe_quality import STRENGTH, FastText, Quality
from pipeline.road.steps import Road

TRAINED = "model"


def quality(road: Road) -> None:
    """Lay the steps that score documents and keep the best."""
    wanted = road.recipe.quality
    assert wanted is not None
    if wanted.ladder is not None:
        _strength(road)
    if wanted.labels():
        _trained(road, wanted)
    if "scores" not in road.steps and (wanted.labels() or wanted.brought()):
        score(road, wanted, road.mask)
    _select(road, wanted)


def score(road: Road, wanted: Quality, mask: dict[str, str]) -> None:
    """Lay the step that scores documents by all fastText models, the one that is trained here first."""
    models: dict[str, tuple[str, FastText | None]] = {}
    if wanted.labels():
        models["score"] = (TRAINED, None)
    models |= {name: (f"file:{model.path}", model) for name, model in wanted.brought().items()}
    roles = {f"model.{at}": reference for at, (reference, _) in enumerate(models.values())}
    asked = [{"name": name} | _asked(model) for name, (_, model) in models.items()]
    road.lay("scores", "quality.score", road.documents | roles | mask, models=asked)


def _asked(model: FastText | None) -> dict[str, Any]:
    return {} if model is None else {"label": model.label, "newlines": model.newlines}


def _strength(road: Road) -> None:
    """Lay the steps that ask a ladder of language models, and compare what they say with benchmarks."""
    assert road.recipe.quality is not None
    ladder = road.recipe.quality.ladder
    assert ladder is not None
    roles = {f"model.{name}": f"folder:{path}" for name, path in ladder.models.items()}
    roles |= {f"losses.{name}": f"file:{path}" for name, path in ladder.losses.items()}
    inputs = road.documents | road.mask
    road.lay(
        "losses", "quality.losses", inputs | roles, **({"seed": road.recipe.seed, "hub": ladder.hub} | ladder.read)
    )
    road.lay(
        STRENGTH,
        "quality.strength",
        inputs | {"losses": "losses", "scores": f"file:{ladder.scores}"},
        **ladder.strength,
    )


def _trained(road: Road, wanted: Quality) -> None:
    labels = {side: found.model_dump() for side, found in wanted.labels().items()}
    roles = road.documents | road.mask
    if any(found.strength for found in wanted.labels().values()):
        roles = roles | {STRENGTH: STRENGTH}
    road.lay(TRAINED, "quality.train", roles, **({"seed": road.recipe.seed} | labels | wanted.train))


def _select(road: Road, wanted: Quality) -> None:
    params = {name: getattr(wanted, name) for name in SelectParams.model_fields}
    if wanted.samples and "seed" not in wanted.model_fields_set:
        params["seed"] = road.recipe.seed
    roles = {"scores": "scores"} if "scores" in road.steps else {}
    if wanted.ladder is not None and STRENGTH in wanted.columns:
        roles["scores.0"] = STRENGTH
    if wanted.by == "tokens":
        if road.recipe.tokens is None:
            raise ConfigError(
                "quality.by: to select by tokens the recipe needs a `tokens:` section; or select by bytes"
            )
        roles["tokens"] = "tokens"
    road.decide("select", "quality.select", roles, **params)
