"""Does a selection help? Train small language models on it and on random subsets, and compare them on given texts.

Reads documents (doc_id, text, bytes), the mask they were selected by (role `selected`), the mask before it, and targets
(`targets.NAME: file:PATH`); writes a row for every run and target, and the verdict as facts.

Every run trains one model of one setting for one number of tokens: on the selection with several seeds, and on as many
random subsets of the documents the selection chose from, each as large as the selection in bytes. A run that has fewer
tokens than the budget reads them again; how often is told (`epochs`). All runs share one vocabulary, learned from a
random sample of the documents chosen from. The measure is bits per byte of the targets, each document read alone, so
neither the vocabulary nor a long document favours anyone; `pipeline.quality.interval` has the formula of the verdict.

Targets whose words are those of a document chosen from are left out: they would be known by heart.
"""

import importlib.util
from collections.abc import Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from pipeline import ledger
from pipeline.corpus import DATA
from pipeline.errors import DataError
from pipeline.identity import digest
from pipeline.proxy import targets, vocabulary
from pipeline.quality import findings, subsets
from pipeline.quality.subsets import Run, Survey
from pipeline.quality.verify_params import VerifyParams
from pipeline.shuffle import Blocks
from pipeline.stage import Stage, Step
from pipeline.store import Attempt
from pipeline.tasks import Task

EXTENT = ("random", "seeds", "confidence")
TOKENIZER, TEXTS = "tokenizer.json", "targets.parquet"


def check(params: VerifyParams, files: Mapping[str, Path]) -> None:
    """Refuse to begin without torch, or with targets that are missing or cannot be read."""
    if importlib.util.find_spec("torch") is None:
        raise DataError("quality.verify trains models, which needs torch: pip install 'corpusmill[lm]'")
    named = {role: path for role, path in files.items() if role.startswith(targets.ROLE)}
    if not named:
        raise DataError(f"quality.verify measures on texts: wire them as inputs, `{targets.ROLE}NAME: file:PATH`")
    for path in named.values():
        next(targets.batches(path, params.text), None)


def trial(task: Task, attempt: Attempt, *, folder: Path, blocks: Blocks, params: VerifyParams) -> dict[str, Any]:
    """Train and judge one run; torch is imported where that happens, and nowhere else."""
    from pipeline.quality import trials

    table = blocks.read(task.payload.partition)
    if table is None:
        raise DataError(f"quality.verify: no document was sent to the run {task.key}; delete its corpus and try again")
    return trials.trial(task.payload, table, attempt, folder / TOKENIZER, folder / TEXTS, params)


def verify(step: Step, params: VerifyParams) -> None:
    """Draw the subsets, learn the vocabulary, train every run as a task of its own, and compare."""
    wanted = targets.wired(step, params.text, params.target_bytes, params.seed)
    draws = params.draws()
    survey = subsets.surveyed(step, draws, wanted)
    _check_selection(step, survey)
    clean = survey.without_known(wanted)
    if empty := [name for name, documents in clean.items() if not documents]:
        raise DataError(
            f"quality.verify: every text of the targets {empty} is also a document that the selection chose from; "
            "give texts that were held out"
        )
    cuts = subsets.cuts(survey, draws)
    blocks = subsets.sent(step, draws, cuts)
    words = vocabulary.trained(subsets.texts(blocks, 0, params.seed), params.model.vocabulary)
    step.write_file(TOKENIZER, words.to_str().encode())
    step.write_file(TEXTS, targets.to_parquet({name: [d.text for d in found] for name, found in clean.items()}))
    runs = [Run(draw, cut, place) for place, (draw, cut) in enumerate(zip(draws, cuts, strict=True))][1:]
    work = partial(trial, folder=step.root / DATA, blocks=blocks, params=params)
    found = step.produce(work, [Task(run.name, _origin(step, params, run), run) for run in runs], warm=True)
    vocabulary_size = words.get_vocab_size()
    step.note(**findings.facts(params, survey, wanted, findings.measured(runs, found), vocabulary_size))


def _origin(step: Step, params: VerifyParams, run: Run) -> str:
    """Return what a run depends on: all but how many others there are, and what is made of them."""
    same = params.model_dump(mode="json", exclude=set(EXTENT))
    return digest([same, dict(step.identities), asdict(run.draw), asdict(run.cut)])


def _check_selection(step: Step, survey: Survey) -> None:
    selection, pool = survey.selected, survey.pool
    kept = ledger.total(step.inputs["selected"].manifest.ledger)["rows_kept"]
    if step.inputs["selected"].manifest.ledger and kept != selection.documents:
        raise DataError(
            f"quality.verify: the mask played by `selected` keeps {kept:,} documents, and {selection.documents:,} of "
            "those that `mask` keeps; wire as `mask` the one that the selection read"
        )
    if not selection.documents or selection.documents == pool.documents:
        raise DataError(
            f"quality.verify: {selection.documents:,} of {pool.documents:,} documents are selected, so no random "
            "subset is another choice than this; verify a selection that keeps some and drops some"
        )


VERIFY = Stage(
    name="quality.verify",
    version=1,
    params=VerifyParams,
    inputs=("documents", "selected"),
    optional=("mask", f"{targets.ROLE}*"),
    run=verify,
    check=check,
    extent=EXTENT,
)
