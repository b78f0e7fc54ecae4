"""What the runs of a verification say, as facts of its manifest: the numbers, the verdict and the words for it."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import fmean
from typing import Any

from pipeline.ledger import Tally
from pipeline.quality.interval import Comparison, compared
from pipeline.quality.subsets import Run, Survey, Targets
from pipeline.quality.verify_params import VerifyParams

MANY_EPOCHS = 4
"""Beyond this a repeated token teaches clearly less than a new one (Muennighoff et al. 2023, section 6)."""
MOST_SHARED = 0.8
DIGITS = 6
KINDS = ("selected", "random")


@dataclass(frozen=True)
class Measured:
    """A run, how many tokens it saw, how often its subset was read for them, and its bits per byte of every target."""

    run: Run
    tokens: int
    epochs: float
    bits: Mapping[str, float]

    @property
    def mean(self) -> float:
        return fmean(self.bits.values())

    def row(self) -> dict[str, Any]:
        """Return it as a flat JSON object but for the bits per byte."""
        about = {"run": self.run.name, "kind": self.run.draw.kind, "seed": self.run.draw.seed}
        told = {"tokens": self.tokens, "epochs": self.epochs, "mean": round(self.mean, DIGITS)}
        return about | asdict(self.run.cut.subset) | told | {"bits_per_byte": dict(self.bits)}


def measured(runs: Sequence[Run], tally: Tally) -> list[Measured]:
    """Return what the tasks of the runs counted, in the order of the runs and of the targets' names."""
    found = []
    for run in runs:
        counted = tally[run.name]
        bits = dict(sorted(counted["bits_per_byte"].items()))
        found.append(Measured(run, int(counted["tokens"]), counted["epochs"], bits))
    return found


def facts(
    params: VerifyParams, survey: Survey, wanted: Targets, runs: Sequence[Measured], vocabulary: int
) -> dict[str, Any]:
    """Return what was measured, how, on what, and the verdict."""
    clean = survey.without_known(wanted)
    overall = _compared(runs, [run.mean for run in runs], params)
    by_target = {name: _compared(runs, [run.bits[name] for run in runs], params) for name in sorted(wanted)}
    model = {
        "setting": params.setting,
        "parameters": params.model.parameters(vocabulary),
        "vocabulary": vocabulary,
        "context": params.model.context,
        "budget_tokens": runs[0].tokens,
    }
    return {
        "verdict": overall.verdict,
        "confidence": params.confidence,
        "overall": overall.to_json(),
        "by_target": {name: each.to_json() for name, each in by_target.items()},
        "pool": asdict(survey.pool),
        "selection": asdict(survey.selected),
        "targets": {
            name: _size(clean[name]) | {"left_out": len(wanted[name]) - len(clean[name])} for name in by_target
        },
        "model": model,
        "runs": [run.row() for run in runs],
        "notes": [said(overall, params.confidence), evidence(model), *warnings(survey, wanted, runs)],
    }


def said(found: Comparison, confidence: float) -> str:
    """Return the verdict in a sentence."""
    gain = f"the selection gains {found.gain:+.4f} bits per byte over random subsets"
    interval = f"{confidence:.0%} interval {found.low:+.4f} to {found.high:+.4f}"
    if found.verdict != "no difference shown":
        return f"{found.verdict}: {gain} ({interval})"
    reach = (found.high - found.low) / 2
    return f"{found.verdict}: {gain} ({interval}); less than {reach:.4f} cannot be told from noise with these runs"


def evidence(model: Mapping[str, Any]) -> str:
    """Return what kind of evidence this is."""
    return (
        f"measured with models of {model['parameters'] / 1e6:.1f} million parameters, each trained for "
        f"{model['budget_tokens'] / 1e6:.2f} million tokens: small models are evidence for small models"
    )


def warnings(survey: Survey, wanted: Targets, runs: Sequence[Measured]) -> list[str]:
    """Return what weakens the verdict."""
    found = []
    if (most := max(run.epochs for run in runs)) > MANY_EPOCHS:
        found.append(
            f"a subset was read {most:.1f} times; beyond {MANY_EPOCHS} this measures repetition as well: "
            "lower budget_tokens, or select more"
        )
    share = survey.selected.bytes / survey.pool.bytes
    if share > MOST_SHARED:
        found.append(f"the selection is {share:.0%} of what it chose from, so random subsets hold most of it as well")
    for name, documents in survey.without_known(wanted).items():
        if gone := len(wanted[name]) - len(documents):
            found.append(
                f"target {name}: {gone:,} of {len(wanted[name]):,} texts are also documents that could be chosen; "
                "they were left out"
            )
    return found


def _compared(runs: Sequence[Measured], bits: Sequence[float], params: VerifyParams) -> Comparison:
    selected, random = (
        [value for run, value in zip(runs, bits, strict=True) if run.run.draw.kind == kind] for kind in KINDS
    )
    return compared(selected, random, params.confidence)


def _size(documents: Sequence[Any]) -> dict[str, int]:
    return {"documents": len(documents), "bytes": sum(len(document.text.encode()) for document in documents)}
