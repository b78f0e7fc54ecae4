"""Drop documents by published rules of thumb, by language and by given classifiers, in one pass over the text.

Reads documents (text), an earlier mask, fastText models (role `language`, and model.0, model.1 ... for each of
`models`) and lists of bad words (role bad_words.NAME, a phrase a line). Writes a mask with

    broken          uint64: bit k is set if the document breaks rule k of the fact `rules`; null if dropped earlier
    language, language_score
                    with `language`: the most probable one and its P; null if dropped earlier
    NAME            float32, for each of `models`: P of its label; null if dropped earlier
    spans, marks    where C4's rules or `masking` are on: what `dedup.cut` takes out, and what it puts there instead;
                    null where the document is not kept

The reason is the first rule broken, in the order: language, Gopher's repetition and quality, C4, FineWeb, models. All
rules are asked of every document, so that it is known what each would drop alone, but for two cases: a document that
its language drops is asked nothing more, and FineWeb's rules, which see the text as C4's leave it, are not asked of one
that C4's drop. All else sees the whole text.
"""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field, field_validator, model_validator

from pipeline import schemas
from pipeline.corpus import Frozen
from pipeline.errors import DataError
from pipeline.kernels.identifiers import KINDS
from pipeline.kernels.span_union import Spans, union
from pipeline.ledger import Tally
from pipeline.quality import heuristics_facts, judging
from pipeline.quality import model as models
from pipeline.quality.judging import Rules
from pipeline.quality.model import MODEL_FILE
from pipeline.quality.score import Ready, Scored, score_batch
from pipeline.stage import Params, Stage, Step

LANGUAGE, UNSURE = "language", "language_score"
BAD_WORDS = "bad_words."
MOST_MODELS = 16


class Language(Params):
    """Whose documents stay: those of `keep` (of all if null) that are so with `min_score` or more.

    The language is what the model of the role `language` says, or what stands in `column` of the documents, which has
    no score.
    """

    keep: tuple[str, ...] | None = None
    min_score: float = Field(0.65, ge=0, le=1)
    column: str | None = None


class Masking(Params):
    """What is written in place of e-mail addresses, public IP addresses and telephone numbers; null leaves them."""

    email: str | None = "email@example.com"
    ip: str | None = "22.214.171.124"
    phone: str | None = None

    def kinds(self) -> tuple[str, ...]:
        """Return the kinds that are replaced."""
        return tuple(kind for kind in KINDS if getattr(self, kind) is not None)


class Limit(Scored):
    """A model's label and how probable it may be: at most `max`, at least `min`. The reason is `name`."""

    best: Literal[False] = False
    min: float | None = None
    max: float | None = None

    @model_validator(mode="after")
    def _one_limit(self) -> "Limit":
        if (self.min is None) == (self.max is None):
            raise ValueError("give one of `min` and `max`")
        return self


Route = Literal["pass", "drop"] | dict[str, Any]


class HeuristicsParams(Rules):
    """Groups of rules, and what is otherwise for the documents of a language.

    A route is "pass" (no rule is asked), "drop", or groups whose fields stand in place of these here; null switches a
    group off for that language.
    """

    language: Language | None = None
    routes: dict[str, Route] = {}
    masking: Masking | None = None
    models: tuple[Limit, ...] = Field((), max_length=MOST_MODELS)

    @field_validator("models")
    @classmethod
    def _names_differ(cls, limits: tuple[Limit, ...]) -> tuple[Limit, ...]:
        taken = [*schemas.MASK, "broken", "spans", "marks", LANGUAGE, UNSURE, *judging.reasons()]
        for limit in limits:
            if limit.name in taken:
                raise ValueError(f"the name {limit.name!r} is taken; give each of `models` a `name` of its own")
            taken.append(limit.name)
        return limits

    @model_validator(mode="after")
    def _routes_are_rules(self) -> "HeuristicsParams":
        if self.routes and self.language is None:
            raise ValueError("`routes` go by language; give `language` too")
        for name in self.routes:
            self.route(name)
        return self

    def route(self, name: str) -> Rules | None:
        """Return the rules for the documents of a language; None if none is asked."""
        given = self.routes.get(name, {})
        if isinstance(given, str):
            return None
        base = {field: getattr(self, field) for field in Rules.model_fields}
        groups = {field: group and group.model_dump() for field, group in base.items()}
        for field, changes in given.items():
            group = groups.get(field)
            groups[field] = {**group, **changes} if isinstance(group, dict) and isinstance(changes, dict) else changes
        return Rules.model_validate(groups)

    def every_route(self) -> list[Rules]:
        """Return the rules of all routes, the default first."""
        routes = [self.route(name) for name in ("", *self.routes)]
        return [rules for rules in routes if rules is not None]

    def cuts(self) -> bool:
        """Tell whether texts change."""
        return bool(self.masking and self.masking.kinds()) or any(rules.c4 for rules in self.every_route())


class Plan(Frozen):
    """All that a worker needs."""

    params: HeuristicsParams
    ready: tuple[Ready, ...]
    bad_words: dict[str, tuple[str, ...]]

    @property
    def rules(self) -> list[str]:
        """The reasons, in the order in which they decide; a rule's place is its bit in `broken`."""
        return [LANGUAGE, UNSURE, *judging.reasons(), *(limit.name for limit in self.params.models)]


def schema(params: HeuristicsParams) -> pa.Schema:
    """Return the columns of the mask."""
    fields = [pa.field("broken", pa.uint64())]
    if params.language:
        fields += [pa.field(LANGUAGE, pa.string()), pa.field(UNSURE, pa.float32())]
    fields += [pa.field(limit.name, pa.float32()) for limit in params.models]
    if params.cuts():
        fields += [pa.field("spans", pa.list_(pa.int64())), pa.field("marks", pa.list_(pa.string()))]
    return schemas.mask(*fields)


def judge_batch(batch: pa.RecordBatch, plan: Plan) -> pa.RecordBatch:
    """Return the decisions about a batch."""
    params, rules = plan.params, plan.rules
    keep_N = np.asarray(batch["keep"])
    broken_NR = np.zeros((batch.num_rows, len(rules)), bool)
    made = _scores(batch, plan)
    if params.language:
        for name, drop_N in _language_rules(made, params).items():
            broken_NR[:, rules.index(name)] = drop_N & keep_N
    asked_N = keep_N & ~broken_NR.any(axis=1)
    cut = _judge_texts(batch, made.get(LANGUAGE), asked_N, plan, broken_NR)
    for limit in params.models:
        scores = made[limit.name].fill_null(0).to_numpy()
        drop_N = scores > limit.max if limit.max is not None else scores < limit.min
        broken_NR[:, rules.index(limit.name)] = drop_N & asked_N
    made |= _decided(batch, broken_NR, rules)
    if params.cuts():
        kept_N = np.asarray(made["keep"])
        kinds = params.masking.kinds() if params.masking else ()
        text = schemas.text_buffers(batch["text"])
        made |= _cut_columns(judging.masked(*text, kept_N, kinds, cut), kept_N, params)
    columns = schema(params)
    return pa.record_batch([made[name] for name in columns.names], schema=columns)


def _scores(batch: pa.RecordBatch, plan: Plan) -> dict[str, pa.Array]:
    """Return the columns of the models, and the language where a column says it."""
    scored = score_batch(batch, plan.ready) if plan.ready else None
    made = {name: scored[name] for name in scored.schema.names} if scored else {}
    language = plan.params.language
    if language and language.column:
        said = pc.if_else(batch["keep"], batch[language.column], pa.scalar(None, pa.string()))
        made |= {LANGUAGE: said, UNSURE: pa.nulls(batch.num_rows, pa.float32())}
    return made


def _language_rules(made: Mapping[str, pa.Array], params: HeuristicsParams) -> dict[str, np.ndarray]:
    """Return which documents are of no language to keep, and which of an unsure one."""
    language = params.language or Language()
    dropped = pa.array([name for name, route in params.routes.items() if route == "drop"], pa.string())
    other_N = np.asarray(pc.is_in(made[LANGUAGE], value_set=dropped))
    if language.keep is not None:
        other_N = other_N | ~np.asarray(pc.is_in(made[LANGUAGE], value_set=pa.array(language.keep, pa.string())))
    unsure_N = np.asarray(pc.less(made[UNSURE], pa.scalar(language.min_score, pa.float32())).fill_null(False))
    return {LANGUAGE: other_N, UNSURE: unsure_N}


def _judge_texts(
    batch: pa.RecordBatch, languages: pa.Array | None, asked_N: np.ndarray, plan: Plan, broken_NR: np.ndarray
) -> Spans | None:
    """Ask the rules of each route of its documents, write which they break; return what the lines' rules cut out."""
    params, rules = plan.params, plan.rules
    names = list(params.routes)
    routes_N = np.full(batch.num_rows, -1)
    if languages is not None and names:
        routes_N = np.asarray(pc.index_in(languages, value_set=pa.array(names)).fill_null(-1))
    cut = None
    data, offsets = schemas.text_buffers(batch["text"])
    for place, name in enumerate(["", *names], -1):
        rows_N, its_rules = asked_N & (routes_N == place), params.route(name)
        if its_rules is None or not rows_N.any():
            continue
        judged = judging.judge(data, offsets, rows_N, its_rules, plan.bad_words)
        for reason, drop_N in judged.broken.items():
            broken_NR[:, rules.index(reason)] |= drop_N & rows_N
        if judged.spans is not None:
            cut = judged.spans if cut is None else union(cut, judged.spans)
    return cut


def _decided(batch: pa.RecordBatch, broken_NR: np.ndarray, rules: list[str]) -> dict[str, pa.Array]:
    """Return keep, reason and broken."""
    drop_N = broken_NR.any(axis=1)
    made = schemas.decide(batch, drop_N, "")
    first = pa.array(rules, pa.string()).take(pa.array(broken_NR.argmax(axis=1)))
    reason = pc.if_else(pa.array(drop_N), first, batch["reason"])
    bits_N = (broken_NR.astype(np.uint64) << np.arange(len(rules), dtype=np.uint64)).sum(axis=1, dtype=np.uint64)
    return {"keep": made["keep"], "reason": reason, "broken": pa.array(bits_N, mask=~np.asarray(batch["keep"]))}


def _cut_columns(cut: Spans | None, kept_N: np.ndarray, params: HeuristicsParams) -> dict[str, pa.Array]:
    """Return spans and marks; null where the document is not kept."""
    masking = params.masking or Masking()
    none = np.zeros((0, 2), np.int64), np.zeros(0, np.int64), np.zeros(len(kept_N) + 1, np.int64)
    spans_S2, marks_S, ends = none if cut is None else cut
    marks = pa.array([None, "\n", *(getattr(masking, kind) for kind in KINDS)], pa.string()).take(pa.array(marks_S))
    ends = ends.astype(np.int32)
    gone = pa.array(~kept_N)
    return {
        "spans": pa.ListArray.from_arrays(pa.array(2 * ends), pa.array(spans_S2.ravel()), mask=gone),
        "marks": pa.ListArray.from_arrays(pa.array(ends), marks, mask=gone),
    }


def count_broken(before: pa.RecordBatch, after: pa.RecordBatch, rules: list[str]) -> Tally:
    """Return what is told of a batch (see `heuristics_facts`)."""
    return heuristics_facts.counted(before, after, rules)


def check(params: HeuristicsParams, files: Mapping[str, Path]) -> None:
    """Refuse models that cannot be scored, lists of bad words that cannot be read, before anything runs."""
    for role, path in files.items():
        if role == LANGUAGE:
            models.check(path)
        elif role.startswith(BAD_WORDS):
            _phrases(path)
    for place, limit in enumerate(params.models):
        if f"model.{place}" in files:
            _asked(files[f"model.{place}"], limit, is_file=True)


def _phrases(path: Path) -> tuple[str, ...]:
    """Return the phrases of a list of bad words, a line each.

    Raises:
        DataError: it cannot be read, or a phrase is shorter than two bytes.
    """
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read as a list of phrases, a line each: {error}") from None
    if short := [line for line in lines if len(line.encode()) == 1]:
        raise DataError(f"{path}: the phrase {short[0]!r} has fewer than two characters; take it out")
    return tuple(dict.fromkeys(line for line in lines if line))


def heuristics(step: Step, params: HeuristicsParams) -> None:
    """Make the models and lists ready, judge shard by shard, and count what each rule drops."""
    plan = _plan(step, params)
    language = params.language
    text = ("text", "domain", "bytes", *([language.column] if language and language.column else []))
    totals = step.map_shards(
        partial(judge_batch, plan=plan),
        columns={"documents": text, "mask": schemas.MASK},
        schema=schema(params),
        tally=partial(count_broken, rules=plan.rules),
    )
    step.note(rules=plan.rules, **heuristics_facts.told(totals))


def _plan(step: Step, params: HeuristicsParams) -> Plan:
    given = {*step.inputs, *step.files}
    by_model = params.language is not None and params.language.column is None
    wanted = [f"model.{place}" for place in range(len(params.models))] + [LANGUAGE] * by_model
    wanted += [BAD_WORDS + rules.c4.bad_words for rules in params.every_route() if rules.c4 and rules.c4.bad_words]
    if missing := sorted(set(wanted) - given):
        raise DataError(f"{step.name}: nothing plays {missing[0]}, which the params ask for; wire a file or a step")
    if idle := sorted(given - set(wanted) - {"documents", "mask"}):
        raise DataError(f"{step.name}: {idle[0]} is wired, but the params ask nothing of it; take it away")
    scored: list[tuple[str, Scored]] = [(LANGUAGE, Scored(name=LANGUAGE, best=True))] * by_model
    scored += [(f"model.{place}", limit) for place, limit in enumerate(params.models)]
    return Plan(
        params=params,
        ready=tuple(_ready(step, role, asked) for role, asked in scored),
        bad_words={
            role.removeprefix(BAD_WORDS): _phrases(step.files[role])
            for role in sorted(set(wanted))
            if role.startswith(BAD_WORDS)
        },
    )


def _ready(step: Step, role: str, asked: Scored) -> Ready:
    path = step.file(role, MODEL_FILE)
    label, newlines = _asked(path, asked, is_file=role in step.files)
    prepared = models.prepare(path, step.root / "scratch" / role)
    return Ready(
        scored=Scored(**asked.model_dump(include=set(Scored.model_fields))),
        path=str(path),
        prepared=str(prepared),
        newlines=newlines,
        label=label,
    )


def _asked(path: Path, asked: Scored, *, is_file: bool) -> tuple[int, models.Newlines]:
    labels = models.check(path).labels
    label = -1 if asked.best else models.positive_label(labels, asked.label, str(path))
    return label, models.newlines_of(path, asked.newlines, is_file=is_file)


HEURISTICS = Stage(
    "quality.heuristics",
    version=1,
    params=HeuristicsParams,
    inputs=("documents",),
    optional=("mask", LANGUAGE, "model.*", f"{BAD_WORDS}*"),
    run=heuristics,
    check=check,
)
