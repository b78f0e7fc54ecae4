"""What a task is told of a run. Imports no torch: the driver makes these."""

from dataclasses import dataclass
from pathlib import Path

from pipeline.mixture.pools import Pools


@dataclass(frozen=True)
class Run:
    """A mixture to train on, without the domains that have no weight, and the seed of the first weights and of rows."""

    key: str
    weights: dict[str, float]
    seed: int


@dataclass(frozen=True)
class Places:
    """Where a run finds the vocabulary, the texts of the targets and the pools, and where it may leave its state."""

    tokenizer: Path
    targets: Path
    pools: Pools
    states: Path
