"""The section on the classifier: how well it tells the classes apart, whether its scores are probabilities, and what it
goes by. All of it is of documents that it never saw, but for the words."""

from collections.abc import Iterator, Mapping
from typing import Any

from pipeline.places import Place
from pipeline.reporting import markup, numerals
from pipeline.reporting.evidence import Evidence, Told, listed, mapping
from pipeline.reporting.excerpts import Excerpts, Quoted
from pipeline.reporting.plots import Bar, Line, Row, lines, stacked

TRAIN = "quality.train"
TRAINED_ON = ("documents_found", "bytes_found", "learned_documents", "validation_documents", "held_out_documents")
TOLD_ABOVE = (
    "held_out_auc",
    "held_out_auc_of_length",
    "held_out_precision",
    "calibration",
    "features",
    "examples",
    "warning",
    "validation_auc",
    "chosen",
)
GAP = (
    "The weight is a feature's part in the logit; the gap is how far it moves the mean logits of the classes apart: "
    "the weight times the difference of its mean shares of their documents."
)
ENDS = {"highest": "The highest scores", "lowest": "The lowest scores"}


def classifier(evidence: Evidence, excerpts: Excerpts) -> str:
    """Return every classifier that the build has trained; nothing where it has none."""
    steps = list(evidence.of_stage(TRAIN))
    if not steps:
        return ""
    return markup.section(
        "classifier",
        "The classifier",
        "Trained on a balanced sample; a validation part chose its settings, a held-out part judges it here.",
        *(_classifier(step, excerpts, named=len(steps) > 1) for step in steps),
    )


def quoted(evidence: Evidence) -> Iterator[Quoted]:
    """Yield the documents that the section quotes."""
    for step in evidence.of_stage(TRAIN):
        for end in ENDS:
            yield from (_quoted(step, example) for example in listed(mapping(step.facts, "examples"), end))


def _classifier(step: Told, excerpts: Excerpts, *, named: bool) -> str:
    facts = step.facts
    warning = facts.get("warning")
    return "".join(
        [
            markup.words(step.name, "h3") if named else "",
            markup.tiles(_tiles(step)),
            markup.words(f"Caution: {warning}.", kind="note") if isinstance(warning, str) else "",
            _precision(mapping(facts, "held_out_precision")),
            _calibration(mapping(facts, "calibration")),
            _features(mapping(facts, "features")),
            *(_examples(step, end, excerpts) for end in ENDS),
            markup.folded("How it was trained", _training(step)),
        ]
    )


def _tiles(step: Told) -> dict[str, tuple[str, str]]:
    tiles = {}
    area, by_length = step.facts.get("held_out_auc"), step.facts.get("held_out_auc_of_length")
    if isinstance(area, float):
        judged = sum(mapping(step.facts, "held_out_documents").values())
        tiles["held-out AUC"] = (f"{area:.4f}", f"on {numerals.count(judged)} documents")
    if isinstance(by_length, float):
        tiles["AUC of the length alone"] = (f"{by_length:.4f}", "what long or short would tell")
    calibration = mapping(step.facts, "calibration")
    before = mapping(calibration, "before")
    for name, title in (("brier", "Brier score"), ("calibration_error", "calibration error")):
        if isinstance(calibration.get(name), float):
            remark = f"{before[name]:.4f} before calibration" if name in before else ""
            tiles[title] = (f"{calibration[name]:.4f}", remark)
    return tiles


def _precision(shares: Mapping[str, Any]) -> str:
    known = {share: part for share, part in shares.items() if isinstance(part, float)}
    rows = [
        Row(f"best {share}", (Bar(part, "keep", f"{part:.1%} positive"),), f"{part:.1%}")
        for share, part in known.items()
    ]
    if not rows:
        return ""
    picture = stacked("Positive documents among those that would be kept", rows, whole=1.0)
    return markup.figure(
        picture, "How many of the best-scored held-out documents are positive; half of all of them are."
    )


def _calibration(calibration: Mapping[str, Any]) -> str:
    drawn = {"calibrated": ("d0", calibration), "as trained": ("dx", mapping(calibration, "before"))}
    if not drawn["as trained"][1]:
        drawn = {"as trained": ("d0", calibration)}
    series = [
        Line(
            name,
            tone,
            tuple((b["score"], b["positive"], f"{b['documents']:,} documents") for b in listed(part, "curve")),
        )
        for name, (tone, part) in drawn.items()
    ]
    if not any(line.points for line in series):
        return ""
    picture = lines("Calibration", series, axes=("score", "share that is positive"))
    caption = (
        "Held-out documents by tenths of the score. On the dashed line a score is the probability it claims to be."
    )
    note = calibration.get("note")
    key = markup.key({line.name: line.tone for line in series})
    return markup.figure(picture, f"{caption} {note}." if isinstance(note, str) else caption, key)


def _features(features: Mapping[str, Any]) -> str:
    tables = [
        markup.table(
            (f"for {name}", "weight", "gap", "documents"),
            [(f["feature"], f["weight"], f.get("gap"), f["documents"]) for f in listed(features, name)],
        )
        for name in features
    ]
    if not any(tables):
        return ""
    return markup.words("What it goes by", "h3") + markup.words(GAP) + markup.columns(*tables)


def _examples(step: Told, end: str, excerpts: Excerpts) -> str:
    told = [
        (
            f"{example.get('score', 0):.4f} · {example.get('domain')} · {example.get('class')} · "
            f"{str(example.get('doc_id'))[:12]}",
            excerpts[_quoted(step, example)],
        )
        for example in listed(mapping(step.facts, "examples"), end)
    ]
    return markup.words(ENDS[end], "h3") + markup.quotes(told) if told else ""


def _training(step: Told) -> str:
    columns = [mapping(step.facts, name) for name in TRAINED_ON]
    found, size, *rest = columns
    rows = [[name, found[name], numerals.size(size.get(name, 0)), *(part.get(name) for part in rest)] for name in found]
    head = ("class", "documents found", "text found", "learned from", "validation", "held out")
    chosen = mapping(step.facts, "chosen")
    trials = [
        [", ".join(f"{name.replace('_', ' ')} {trial.get(name)}" for name in chosen), trial.get("auc")]
        for trial in listed(step.facts, "validation_auc")
    ]
    said = {name: step.params[name] for name in ("positive", "negative") if name in step.params}
    said |= {name: value for name, value in step.facts.items() if name not in (*TRAINED_ON, *TOLD_ABOVE)}
    return (
        markup.table(head, rows)
        + markup.table(("setting", "AUC on the validation part"), trials)
        + markup.pairs({"chosen": chosen} | {name.replace("_", " "): value for name, value in said.items()})
    )


def _quoted(step: Told, where: Mapping[str, Any]) -> Quoted:
    shard, row = where.get("shard"), where.get("row")
    place = Place(shard, row) if isinstance(shard, str) and isinstance(row, int) else None
    return Quoted(step.manifest.inputs.get("documents", ""), place)
