"""What the laws expect of one domain more: how each target's loss changes when a domain's share goes up by 0.1.

The others give in proportion: w_d becomes w_d' = min(w_d + 0.1, 1), and every other w_j is multiplied by
(1 - w_d') / (1 - w_d). Repetition is counted as it is in the recommendation; caps do not matter here, for this says
what would help, not what there is.

D domains.
"""

from collections.abc import Callable, Mapping

import numpy as np

from pipeline.mixture.regress.arrays import Array
from pipeline.mixture.regress.laws import Fitted

STEP = 0.1


def effects(
    laws: Mapping[str, Fitted], seen: Callable[[Array], Array], domains: tuple[str, ...], from_D: Array, there_D: Array
) -> dict[str, dict[str, float]]:
    """Return domain -> target -> change of the expected loss; below 0 is better.

    Args:
        seen: what shares are worth, with repetition; see `mixture.repetition`.
        from_D: the mixture that is changed.
        there_D: what there is of each domain; one that has nothing is left out.
    """
    places = [place for place, amount in enumerate(there_D) if amount > 0]
    mixtures = seen(np.stack([from_D, *(raised(from_D, place) for place in places)]))
    expected = {name: law.predict(mixtures) for name, law in laws.items()}
    return {
        domains[place]: {name: float(losses[row + 1] - losses[0]) for name, losses in expected.items()}
        for row, place in enumerate(places)
    }


def raised(from_D: Array, place: int) -> Array:
    """Return the mixture with one domain's share raised by 0.1, or to 1, [D]."""
    share = float(from_D[place])
    more = min(share + STEP, 1.0)
    scale = (1 - more) / (1 - share) if share < 1 else 0.0
    changed_D: Array = from_D * scale
    changed_D[place] = more
    return changed_D
