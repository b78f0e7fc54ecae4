"""Sections on what the build is: steps of one's own, the identity of every step, and how to build it again."""

import yaml

from pipeline.identity import SHORT
from pipeline.reporting import markup, numerals
from pipeline.reporting.evidence import Evidence, Told

KNOWN = ("ingest", "dedup.", "quality.", "tokens.train", "tokens.encode", "tokens.pack", "mixture.")
"""Stages whose facts have a section of their own."""


def others(evidence: Evidence) -> str:
    """Return the facts and decisions of steps that no other section tells of; nothing if there are none."""
    steps = [step for step in evidence.steps if not step.stage.startswith(KNOWN) and (step.facts or ":" in step.stage)]
    return markup.section("others", "Further steps", "", *map(_other, steps)) if steps else ""


def _other(step: Told) -> str:
    decided = ""
    if step.manifest.ledger:
        books = step.books
        kept, came, gone = books["rows_kept"], books["rows_in"], sum(books["dropped"].values())
        counts = (numerals.count(n) for n in (kept, came, gone))
        decided = markup.words("{} of {} documents kept, {} dropped.".format(*counts))
    facts = {name.replace("_", " "): value for name, value in step.facts.items()}
    return markup.words(f"{step.name} ({step.stage})", "h3") + decided + markup.pairs(facts)


def identity(evidence: Evidence) -> str:
    """Return stage, version, fingerprint, inputs and params of every step."""
    rows: list[list[markup.Cell]] = [
        [
            s.name,
            s.stage,
            str(s.manifest.version),
            s.manifest.fingerprint[:SHORT],
            s.manifest.rows,
            numerals.size(_size(s)),
        ]
        for s in evidence.steps
    ]
    return markup.section(
        "identity",
        "What every step is",
        "A step's fingerprint is the hash of its stage, version, parameters and the fingerprints of its inputs. Two "
        "steps with one fingerprint hold the same bytes.",
        markup.table(("step", "stage", "version", "fingerprint", "rows", "on disk"), rows, left=4),
        *map(_parameters, evidence.steps),
    )


def _size(step: Told) -> int:
    return step.manifest.bytes + step.manifest.files.bytes


def _parameters(step: Told) -> str:
    inputs = {role: f"{step.roles.get(role, 'file')} {print_[:SHORT]}" for role, print_ in step.manifest.inputs.items()}
    if step.stage == "ingest":
        inputs = {domain: print_[:SHORT] for domain, print_ in step.manifest.inputs.items()}
    told = {"fingerprint": step.manifest.fingerprint, "inputs": inputs, "parameters": dict(step.params)}
    return markup.folded(f"{step.name}: {step.stage}", markup.pairs(told))


def rebuild(evidence: Evidence) -> str:
    """Return the recipe; nothing if the build's record has none."""
    if not evidence.recipe:
        return ""
    text = yaml.safe_dump(dict(evidence.recipe), sort_keys=False, allow_unicode=True, width=100)
    return markup.section(
        "rebuild",
        "How to build it again",
        "Save this as recipe.yaml and run: corpusmill build recipe.yaml. The same files give the same fingerprints.",
        markup.code(text),
    )
