"""A surface as a control variate: what a law need not find out, since texts tell it without a run.

The runs' losses minus f s(w) are what the laws are fitted to, and f s(w) is added to what they expect. The variance
they have to explain falls as far as s goes with the losses (Glasserman 2003, "Monte Carlo methods in financial
engineering", 4.1). s is the power law of a surface of `mixture.surface`; with f >= 0 its sum with another is convex.

The factors tried are a half and the whole of the ratio of the losses' deviation to the surface's, so the units of the
losses do not matter.

N runs, M mixtures, D domains.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from pipeline.mixture.regress.arrays import Array
from pipeline.mixture.regress.power import PowerLaw

SHARES = (0.5, 1.0)


@dataclass(frozen=True, slots=True)
class Control:
    """A surface's name, its law, and the factor it is taken with."""

    surface: str
    factor: float
    law: PowerLaw

    def predict(self, weights_MD: Array) -> Array:
        """Return what is taken from the losses of each mixture, [M]; held to no range, so that it stays convex."""
        return self.factor * self.law.scale.up(self.law.raw(weights_MD))

    def curve(self, weights_D: Array) -> tuple[float, Array, Array]:
        """Return value, gradient [D] and Hessian [D, D] at one mixture."""
        value, gradient_D, hessian_DD = self.law.curve(weights_D)
        return self.factor * value, self.factor * gradient_D, self.factor * hessian_DD

    def state(self) -> dict[str, Any]:
        """Return the control variate as JSON."""
        return {"surface": self.surface, "factor": self.factor, "law": self.law.state()}

    @classmethod
    def restore(cls, state: dict[str, Any]) -> Self:
        """Return the control variate that `state` describes."""
        return cls(state["surface"], state["factor"], PowerLaw.restore(state["law"]))


def controls(surfaces: Mapping[str, PowerLaw], weights_ND: Array, losses_N: Array) -> Iterator[Control]:
    """Yield the control variates to be tried; none of a surface that tells the runs' mixtures not apart."""
    for name, law in surfaces.items():
        spread = float(np.std(law.scale.up(law.raw(weights_ND))))
        if spread > 1e-9 * law.scale.spread:
            yield from (Control(name, share * float(np.std(losses_N)) / spread, law) for share in SHARES)
