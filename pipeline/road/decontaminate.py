"""Decontamination: contaminated, and without_benchmarks where it cuts."""

from pipeline.quality.decontaminate import DecontaminateParams
from pipeline.road.steps import Road


def decontaminate(road: Road) -> None:
    """Lay the step that finds benchmark items in documents, and the one that cuts them out where that is asked for."""
    wanted = road.recipe.decontaminate
    assert wanted is not None
    params = {name: getattr(wanted, name) for name in DecontaminateParams.model_fields}
    files = {f"benchmarks.{at}": f"file:{path}" for at, path in enumerate(wanted.benchmarks)}
    road.decide("contaminated", "quality.decontaminate", files, **params)
    if wanted.action == "cut":
        road.cut("without_benchmarks")
