"""The section on verifications: does the selection help, by how much, and on what evidence."""

from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.reporting import markup, numerals
from pipeline.reporting.evidence import Evidence, Told, mapping

VERIFY = "quality.verify"


def verification(evidence: Evidence) -> str:
    """Return the verdict, its numbers target by target, and every run; nothing where nothing was verified."""
    steps = [step for step in evidence.of_stage(VERIFY) if "verdict" in step.facts]
    if not steps:
        return ""
    return markup.section(
        "verification",
        "Does the selection help?",
        "Small language models were trained on the selection and on random subsets of what it chose from, all for the "
        "same number of tokens. Fewer bits per byte of the targets are better; a gain is what the selection saves.",
        *map(_told, steps),
    )


def _told(step: Told) -> str:
    runs = [run for run in step.facts.get("runs", ()) if isinstance(run, Mapping)]
    return "".join(
        (
            markup.tiles(_tiles(step)),
            *(markup.words(str(note)) for note in step.facts.get("notes", ())),
            _comparisons(step),
            markup.folded("Every run", _runs(runs)),
        )
    )


def _tiles(step: Told) -> dict[str, tuple[str, str]]:
    found, model = mapping(step.facts, "overall"), mapping(step.facts, "model")
    selection, pool = mapping(step.facts, "selection"), mapping(step.facts, "pool")
    tiles = {"verdict": (str(step.facts["verdict"]), f"of {step.roles.get('selected', 'the selection')}")}
    if found:
        tiles["gain"] = (_signed(found.get("gain")), f"bits per byte; {_interval(found)}")
    if selection and pool:
        kept = f"{numerals.count(selection['documents'])} of {numerals.count(pool['documents'])} documents"
        tiles["selected text"] = (numerals.share(selection["bytes"], pool["bytes"]), kept)
    if model:
        budget = f"{numerals.short(model['budget_tokens'])} tokens each"
        tiles["parameters"] = (numerals.short(model["parameters"]), budget)
    return tiles


def _comparisons(step: Told) -> str:
    found = dict(mapping(step.facts, "by_target"))
    if len(found) > 1:
        found["mean of targets"] = mapping(step.facts, "overall")
    confidence = step.facts.get("confidence", 0.95)
    head = ("target", "selected", "± run", "random", "± run", "gain", f"{confidence:.0%} interval", "verdict")
    return markup.table(head, [[name, *_sides(each)] for name, each in found.items()])


def _sides(found: Mapping[str, Any]) -> list[markup.Cell]:
    names = ("selected_mean", "selected_deviation", "random_mean", "random_deviation")
    sides = [f"{found[name]:.4f}" if name in found else None for name in names]
    return [*sides, _signed(found.get("gain")), _interval(found), found.get("verdict")]


def _runs(runs: Sequence[Mapping[str, Any]]) -> str:
    targets = list(dict.fromkeys(name for run in runs for name in run.get("bits_per_byte", {})))
    head = ("run", "seed", "documents", "text", "tokens", "epochs", *targets)
    rows = [
        [
            run["run"],
            run["seed"],
            run["documents"],
            numerals.size(run["bytes"]),
            run["tokens"],
            f"{run['epochs']:.2f}",
            *(f"{run['bits_per_byte'][name]:.4f}" for name in targets),
        ]
        for run in runs
    ]
    return markup.table(head, rows)


def _interval(found: Mapping[str, Any]) -> str:
    return f"{_signed(found.get('low'))} to {_signed(found.get('high'))}"


def _signed(value: float | None) -> str:
    return "–" if value is None else f"{value:+.4f}".replace("-", numerals.MINUS)
