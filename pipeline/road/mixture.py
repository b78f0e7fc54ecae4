"""Mixture: clusters, plan; where the weights are found: available, surface, mixtures, runs, fit, recommended, plan.

A mixture is sampled around what there is, and a plan says what there is; so there are two plans: `available` takes
every domain as it is, and `plan` takes the weights that are recommended.
"""

from typing import Any

from pipeline.recipe_mixture import Mixture, Regress
from pipeline.road.steps import Road

AVAILABLE, PLAN = "available", "plan"
CLUSTERS, SURFACE = "clusters", "surface"

Roles = dict[str, str]


def mixture(road: Road, packing: dict[str, Any]) -> Roles:
    """Lay the steps that end in the plan, and return who plays `buckets` for what reads it.

    Args:
        packing: how a plan counts documents, so that packing meets it.
    """
    wanted = road.recipe.mixture or Mixture()
    buckets = _buckets(road, wanted)
    told = wanted.model_dump(mode="json", include={"budget_tokens", "max_epochs", "on_cap"}) | packing
    counted = {"tokens": "tokens"} | road.mask | buckets
    if wanted.regress is None:
        given = wanted.model_dump(mode="json", include={"weights", "temperature"})
        road.lay(PLAN, "mixture.plan", counted, **given, **told)
    else:
        road.lay(AVAILABLE, "mixture.plan", counted, **told)
        _regress(road, wanted, wanted.regress, buckets)
        road.lay(PLAN, "mixture.plan", counted | {"weights": "recommended"}, **told)
    return buckets


def _buckets(road: Road, wanted: Mixture) -> Roles:
    """Return who parts the domains, if anything does."""
    quality = road.recipe.quality
    if wanted.clusters is not None:
        params = {"seed": road.recipe.seed} | wanted.clusters
        road.lay(CLUSTERS, "mixture.cluster", road.documents | road.mask, **params)
        return {"buckets": CLUSTERS}
    return {"buckets": "select"} if quality and quality.buckets else {}


def _regress(road: Road, wanted: Mixture, how: Regress, buckets: Roles) -> None:
    """Lay the steps that find the weights."""
    seed, plan = {"seed": road.recipe.seed}, {"plan": AVAILABLE}
    read = road.documents | road.mask | buckets
    read |= {f"targets.{name}": f"file:{path}" for name, path in how.files().items()}
    texts = {name: getattr(how, name) for name in ("text", "held_out_bytes") if getattr(how, name) is not None}
    surface: Roles = {}
    if how.surface is not None:
        road.lay(SURFACE, "mixture.surface", read, **(seed | texts | how.surface))
        surface = {"surface": SURFACE}
    runs = f"file:{how.runs}"
    if how.runs is None:
        _proxies(road, how, read, surface, seed | texts)
        runs = "runs"
    road.lay("fit", "mixture.fit", {"runs": runs} | surface, **_fit(how))
    road.lay("recommended", "mixture.recommend", {"fit": "fit"} | plan, **(seed | _asked(wanted, how)))


def _proxies(road: Road, how: Regress, read: Roles, surface: Roles, told: dict[str, Any]) -> None:
    """Lay the steps that draw mixtures, screened by the surface if that is asked for, and train a proxy on each."""
    plan, screen = {"plan": AVAILABLE}, surface if "screen" in how.sample else {}
    drawn = {"mixtures": how.mixtures, "replicates": how.replicates, "seed": road.recipe.seed}
    road.lay("mixtures", "mixture.sample", plan | screen, **(drawn | _limits(how) | how.sample))
    size: dict[str, Any] = {"setting": how.model} | ({"budget_tokens": how.tokens} if how.tokens else {})
    road.lay("runs", "mixture.train", {"mixtures": "mixtures"} | read | plan, **(told | size | how.train))


def _fit(how: Regress) -> dict[str, Any]:
    """Return the params of mixture.fit: of runs made elsewhere, the targets that are named."""
    named = {"targets": tuple(how.targets)} if how.runs is not None and how.targets else {}
    return named | ({"laws": how.laws} if how.laws else {}) | how.fit


def _asked(wanted: Mixture, how: Regress) -> dict[str, Any]:
    """Return the params of mixture.recommend."""
    caps = wanted.model_dump(include={"budget_tokens", "max_epochs"})
    # Proxies trained here repeat each domain as often as the budget will; of others nothing is known.
    worth = {} if how.runs else {"repetition": "seen"}
    targets = {"targets": {name: target.weight for name, target in how.targets.items()}}
    return _limits(how) | caps | worth | targets | how.recommend


def _limits(how: Regress) -> dict[str, Any]:
    return {"floors": how.floors, "ceilings": how.ceilings}
