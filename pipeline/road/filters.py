"""Filters: filtered, and cleaned where lines are removed or addresses masked."""

from pipeline.errors import ConfigError, DataError
from pipeline.quality import model
from pipeline.road.steps import Road


def filters(road: Road) -> None:
    """Lay the step that judges documents by rules of thumb, and the one that writes them cleaned."""
    wanted = road.recipe.filters
    assert wanted is not None
    roles = {f"model.{at}": f"file:{given.path}" for at, given in enumerate(wanted.models.values())}
    roles |= {f"bad_words.{name}": f"file:{path}" for name, path in wanted.bad_words.items()}
    if wanted.language is not None and wanted.language.column is None:
        roles["language"] = f"file:{wanted.language.model or _installed()}"
    params = wanted.heuristics()
    road.decide("filtered", "quality.heuristics", roles, **params.model_dump())
    if params.cuts():
        road.cut("cleaned")


def _installed() -> str:
    try:
        return str(model.language_model())
    except DataError as error:
        raise ConfigError(f"filters.language: {error}") from None
