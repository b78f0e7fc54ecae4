"""Gradient-boosted trees with RegMix's settings, but with no look at what judges them.

LightGBM as in Liu et al. 2024 ("RegMix", appendix): rate 0.01, at most 1,000 trees. How many is told by a part of the
runs themselves (one fold), never by the runs that the law is judged on; then all runs are fitted with as many. A leaf
holds fewer runs where there are few, for with LightGBM's 20 some tens of runs make a single leaf, a constant.

N runs, D domains.
"""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from pipeline.mixture.regress.arrays import Array, folds
from pipeline.mixture.regress.extra import library

_MOST_TREES, _PATIENCE = 1000, 10


@dataclass(frozen=True)
class Trees:
    """A LightGBM model as its own text, and the model read from it."""

    text: str
    model: Any

    @classmethod
    def fit(cls, weights_ND: Array, losses_N: Array) -> Self:
        """Return the trees.

        Raises:
            ConfigError: LightGBM is not installed.
        """
        lightgbm = library("lightgbm")
        settings = _settings(len(losses_N))
        judges = folds(weights_ND) == 0
        part = lightgbm.Dataset(weights_ND[~judges], losses_N[~judges], params=settings)
        stop = lightgbm.early_stopping(_PATIENCE, verbose=False)
        against = part.create_valid(weights_ND[judges], losses_N[judges])
        tried = lightgbm.train(settings, part, _MOST_TREES, valid_sets=[against], callbacks=[stop])
        whole = lightgbm.Dataset(weights_ND, losses_N, params=settings)
        model = lightgbm.train(settings, whole, max(tried.best_iteration, 1))
        return cls(model.model_to_string(), model)

    def predict(self, weights_ND: Array) -> Array:
        """Return the loss of each mixture, [N]."""
        return np.asarray(self.model.predict(weights_ND, num_threads=1), float)

    def state(self) -> dict[str, Any]:
        """Return the law as JSON."""
        return {"text": self.text}

    @classmethod
    def restore(cls, state: dict[str, Any]) -> Self:
        """Return the law that `state` describes.

        Raises:
            ConfigError: LightGBM is not installed.
        """
        return cls(state["text"], library("lightgbm").Booster(model_str=state["text"]))


def _settings(runs: int) -> dict[str, Any]:
    return {
        "objective": "l2",
        "learning_rate": 0.01,
        "min_data_in_leaf": min(20, max(1, runs // 16)),
        "min_data_in_bin": min(3, max(1, runs // 32)),
        "deterministic": True,
        "force_row_wise": True,
        "num_threads": 1,
        "seed": 42,
        "verbosity": -1,
    }
