"""May the runs be believed? Three questions to the runs of every target, each answered in words.

    noise   the deviation between runs of one mixture, as a share of the deviation between all runs: at most a half, so
            that at most a quarter of the losses' variance is noise
    ranks   Spearman's correlation of the losses in the middle of the training with those at its end: at least 0.9, or
            longer training may rank the mixtures otherwise
    law     Spearman's correlation of the law's guesses with runs it has not seen: at least 0.8, or it tells little of
            mixtures that have not been tried

They stop nothing: what a recommendation may not rest on, its gain says (see `mixture.recommend`).
"""

from collections.abc import Mapping
from typing import Any

LOUDEST = 0.5
STEADIEST = 0.9
TRUEST = 0.8
GOOD, POOR, UNKNOWN = "good", "poor", "not known"


def gates(told: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return a row for every target and gate: target, gate, figure, verdict, and what it means.

    Args:
        told: target -> what `mixture.fit.story` tells of it.
    """
    return [
        {"target": name} | gate
        for name, target in told.items()
        for gate in (_noise(target), _ranks(target), _law(target))
    ]


def doubts(found: list[dict[str, Any]]) -> list[str]:
    """Return a sentence for every gate that is poor."""
    return [f"{row['target']}: {row['meaning']}" for row in found if row["verdict"] == POOR]


def _noise(target: Mapping[str, Any]) -> dict[str, Any]:
    noise, spread = target["noise"], target["spread"]
    if noise is None or not spread:
        meaning = "no mixture was trained twice, so the noise is not known" if noise is None else "all losses are equal"
        return _row("noise", None, UNKNOWN, meaning)
    share = noise / spread
    said = f"runs of one mixture differ by {share:.0%} of what all runs do"
    good = share <= LOUDEST
    return _row("noise", share, GOOD if good else POOR, said if good else f"{said}: train longer, or read more of it")


def _ranks(target: Mapping[str, Any]) -> dict[str, Any]:
    steady = target["rank_stability"]
    if steady is None:
        return _row("ranks", None, UNKNOWN, "the losses are of one step, so whether ranks still change is not known")
    good = steady >= STEADIEST
    said = f"in the middle of the training mixtures rank as at its end with {steady:.2f}"
    return _row("ranks", steady, GOOD if good else POOR, said if good else f"{said}: train longer")


def _law(target: Mapping[str, Any]) -> dict[str, Any]:
    rank = target["held_out"][target["law"]]["spearman"]
    good = rank >= TRUEST
    said = f"the law ranks runs that it has not seen with {rank:.2f}"
    return _row("law", rank, GOOD if good else POOR, said if good else f"{said}: train more mixtures, or longer")


def _row(gate: str, figure: float | None, verdict: str, meaning: str) -> dict[str, Any]:
    return {"gate": gate, "figure": figure, "verdict": verdict, "meaning": meaning}
