"""What a stage is, and the verbs it may use while it runs.

`produce` is the one verb: independent tasks, each committed by a record, finished ones never run again. The others
are written on it: `map_shards` and `stream` (co-partitioned output), `scatter`, `regroup`, `gather` (shuffle), `fold`
(small results).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial, reduce
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import ConfigDict

from pipeline import ledger, schemas, tasks
from pipeline.corpus import DATA, Corpus, Frozen, Shard
from pipeline.errors import DataError
from pipeline.ledger import Tally
from pipeline.schemas import ADDRESS
from pipeline.shuffle import Blocks, Part, part
from pipeline.store import Attempt
from pipeline.tasks import BatchFn, Foreman, LazySequence, ShardTask, Stream, Task

R = TypeVar("R")

PARTITION_BYTES = 64 << 20
MAX_PARTITIONS = 1024
MAX_MAP_TASKS = 512
"""A shuffle has at most this many first-round files: shards beyond it share a task, so a reader opens few files."""


class Params(Frozen):
    """Base of every stage's parameters. A field here changes the output; what does not, does not belong here."""

    model_config = ConfigDict(allow_inf_nan=False)  # a fingerprint is JSON, which has no infinity


@dataclass(frozen=True)
class Stage:
    """A named, versioned function from corpora to a corpus.

    `version` is bumped by hand when the same params on the same input give other bytes. A role in `optional` may be
    left unwired; a role of either kind may be played by a file, whose checksum is then its identity. `check(params,
    files by role)` raises a PipelineError for what can be refused before anything runs. `gate(params, corpus)` does so
    for a finished corpus that nothing may be built on, each time it is used: a limit is no part of what the corpus is.
    `agree(params, inputs, outside)` does so where a step does not fit those it reads, or a corpus of an earlier build
    those it meets; inputs are role -> (version, params) of a step. An optional role called `name.*` may be played by
    several: name.0 ... A role in `folders` may be played by a folder, which then is a file in all that is said here.
    Params in `extent` say how many tasks there are or what is told of them, nothing of what a task makes: corpora that
    differ in these params alone take over each other's tasks.
    """

    name: str
    version: int
    params: type[Params]
    inputs: tuple[str, ...]
    run: Callable[["Step", Any], None]
    optional: tuple[str, ...] = ()
    check: Callable[[Any, Mapping[str, Path]], None] | None = None
    gate: Callable[[Any, Corpus], None] | None = None
    agree: Callable[[Any, Mapping[str, tuple[int, Mapping[str, Any]]], Mapping[str, Corpus]], None] | None = None
    folders: tuple[str, ...] = ()
    extent: tuple[str, ...] = ()


@dataclass
class Step:
    """One stage at work: its inputs, its folder and the foreman who gets its tasks done.

    `memory_bytes` is about what one task may hold. It comes from the profile, so it may decide how often a task reads
    its part, and no byte of what it writes.
    """

    name: str
    root: Path
    inputs: Mapping[str, Corpus]
    foreman: Foreman
    identities: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, Path] = field(default_factory=dict)
    sources: Mapping[str, Any] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)
    ledger: Tally = field(default_factory=dict)
    memory_bytes: int = 1 << 30
    keys: Sequence[str] = ()
    _rounds: int = 0

    def file(self, role: str, name: str) -> Path:
        """Return the path of file `name` of the corpus that plays `role`, or of the external file wired to it."""
        return self.files[role] if role in self.files else self.inputs[role].root / DATA / name

    def note(self, **facts: Any) -> None:
        """Put JSON-able facts into the manifest, for people and for the report."""
        self.facts.update(facts)

    def partitions(self, size: int) -> int:
        """Return how many partitions hold `size` bytes at some 64 MiB each: a matter of the data, never of workers."""
        return int(max(1, min(MAX_PARTITIONS, -(-size // PARTITION_BYTES))))

    def produce(
        self, fn: Callable[[Task, Attempt], Tally | None], todo: Sequence[Task], *, warm: bool = False
    ) -> Tally:
        """Run tasks that write the corpus' files; return the sum of their tallies.

        `fn` writes under `attempt.path(name)`, names beginning with the task's key, and says `attempt.rows(name, n)`
        of every file that is a shard. A step may produce more than once, under other keys. With `warm`, a process
        keeps what `fn` loads (a model) for its next task and ends with the round.

        Raises:
            DataError: a key was used before; its task would be taken for done.
        """
        before, count = self.keys, len(self.keys)
        if count and (clash := set(before) & {task.key for task in todo}):
            raise DataError(
                f"{self.name} produced {sorted(clash)[0]!r} twice; give the tasks of every round other keys"
            )
        self.keys = LazySequence(
            count + len(todo), lambda index: before[index] if index < count else todo[index - count].key
        )
        return self.foreman.run(fn, todo, round_name=DATA, warm=warm)

    def shard_tasks(self, columns: Mapping[str, Sequence[str]], binding: str) -> Sequence[Task]:
        """Return a task for each shard of the first role, for `produce`; `tasks.batches` reads its payload.

        `binding` stands for all that the task's output depends on beside the shards' content.
        """
        return self._shard_tasks(columns, binding)

    def map_shards(
        self,
        fn: BatchFn,
        *,
        columns: Mapping[str, Sequence[str]],
        schema: pa.Schema,
        tally: Callable[[pa.RecordBatch, pa.RecordBatch], Tally] | None = None,
        addressed: Blocks | tuple[Blocks, ...] = (),
    ) -> Tally:
        """Write one shard per shard of the first role in `columns`: same stem, rows and row order.

        The batches `fn` gets hold the asked columns of all roles. For a mask schema the ledger is kept as well; its
        input then needs domain and bytes. With `addressed`, `fn(batch, rows)` also gets the rows sent to the batch's
        addresses, sorted by address.

        Returns: the sum of the tallies.
        """
        work = partial(
            tasks.map_shard,
            fn=fn,
            schema=schema,
            tally=tally,
            fill=self._unwired(columns),
            mask=schemas.is_mask(schema),
            addressed=_several(addressed),
        )
        todo = self._shard_tasks(columns, reusable=None if addressed else self._binding(fn, columns))
        totals = self.produce(work, todo)
        self.ledger = ledger.ordered(totals.pop(tasks.LEDGER, {}))
        return ledger.ordered(totals)

    def stream(
        self,
        start: Callable[[], Stream],
        *,
        columns: Mapping[str, Sequence[str]],
        schema: pa.Schema,
        tally: Callable[[pa.RecordBatch, pa.RecordBatch], Tally] | None = None,
    ) -> Tally:
        """Write one shard per shard of the first role as `map_shards` does, but by a function with a memory.

        One task reads all shards in their order; what `start()` returns there decides about batch after batch. Nothing
        runs beside it, and an attempt that is stopped begins again: only for what cannot be done shard by shard.

        Returns: the sum of the tallies, and the stream's own at its end.
        """
        work = partial(
            tasks.stream_shards,
            start=start,
            schema=schema,
            tally=tally,
            fill=self._unwired(columns),
            mask=schemas.is_mask(schema),
        )
        shards = tuple((task.key, task.payload) for task in self._shard_tasks(columns))
        totals = self.produce(work, [Task("stream", payload=shards)] if shards else [])
        self.ledger = ledger.ordered(totals.pop(tasks.LEDGER, {}))
        return ledger.ordered(totals)

    def scatter(
        self,
        fn: Callable[..., tuple[pa.RecordBatch, np.ndarray]],
        *,
        columns: Mapping[str, Sequence[str]],
        partitions: int,
        addressed: Blocks | tuple[Blocks, ...] = (),
    ) -> Blocks:
        """Shuffle, first round: send rows of shards to partitions. `fn` returns rows and a destination for each.

        With `addressed`, `fn(batch, rows)` also gets the rows sent to the batch's addresses, sorted by address.
        """
        shard_tasks = self._shard_tasks(columns)
        groups = min(len(shard_tasks), MAX_MAP_TASKS)
        bounds = [len(shard_tasks) * g // groups for g in range(groups + 1)] if groups else [0]
        todo = LazySequence(
            groups,
            lambda g: Task(part(g), payload=tuple(shard_tasks[i].payload for i in range(bounds[g], bounds[g + 1]))),
        )
        fill, sent = self._unwired(columns), _several(addressed)
        work = partial(tasks.scatter, fn=fn, partitions=partitions, fill=fill, addressed=sent)
        return self._blocks(work, todo, partitions)

    def regroup(
        self,
        blocks: Blocks,
        fn: Callable[[pa.Table], tuple[pa.Table, np.ndarray]],
        *,
        partitions: int,
    ) -> Blocks:
        """Reduce every partition of `blocks` and send what comes out to new partitions.

        `fn` is not called for a partition without rows.
        """
        return self.regroup_parts(blocks, partial(tasks.whole, fn=fn), partitions=partitions)

    def regroup_parts(self, blocks: Blocks | tuple[Blocks, ...], fn: tasks.PartFn, *, partitions: int) -> Blocks:
        """Do as `regroup`, but let `fn` read its part as it likes, so that it may be larger than memory.

        `fn` yields (rows, destinations), and dicts of what it counted, whose sum is the `tally` of the result. Rounds
        that were cut into as many partitions may be worked off together.
        """
        rounds = _several(blocks)
        work = partial(tasks.regroup, fn=fn, rounds=rounds, partitions=partitions)
        return self._blocks(work, _partition_tasks(rounds[0]), partitions)

    def to_shards(
        self,
        blocks: Blocks,
        fn: Callable[[pa.Table], pa.Table],
        *,
        role: str = "documents",
    ) -> Blocks:
        """Reduce every partition and send the rows home: to the shard of `role` that their `address` names."""
        return self.parts_to_shards(blocks, partial(tasks.table_of, fn=fn), role=role)

    def parts_to_shards(
        self,
        blocks: Blocks | tuple[Blocks, ...],
        fn: Callable[[Part], Iterator[pa.Table | Tally]],
        *,
        role: str = "documents",
    ) -> Blocks:
        """Do as `to_shards`; `fn` reads its part as it likes and yields tables and counts (see `regroup_parts`)."""
        shards = len(self.inputs[role].manifest.shards)
        return self.regroup_parts(blocks, partial(tasks.homeward, fn=fn), partitions=max(shards, 1))

    def gather(
        self,
        blocks: Blocks,
        fn: Callable[[pa.Table], pa.Table],
        *,
        schema: pa.Schema,
        tally: Callable[[pa.Table], Tally] | None = None,
    ) -> Tally:
        """Shuffle, last round: write one shard per partition. `fn` is not called for a partition without rows."""
        work = partial(tasks.gather, fn=fn, blocks=blocks, schema=schema, tally=tally)
        return self.produce(work, _partition_tasks(blocks))

    def send(
        self,
        fn: Callable[[Any], Iterator[tuple[pa.RecordBatch, np.ndarray]]],
        payloads: Sequence[Any],
        *,
        partitions: int,
    ) -> Blocks:
        """Shuffle, first round, of what is not a role's shards: `fn(payload)` yields rows and their destinations."""
        todo = LazySequence(len(payloads), lambda index: Task(part(index), payload=payloads[index]))
        return self._blocks(partial(tasks.send, fn=fn, partitions=partitions), todo, partitions)

    def fold(
        self,
        fn: Callable[[Iterator[pa.RecordBatch]], R],
        combine: Callable[[R, R], R],
        *,
        columns: Mapping[str, Sequence[str]],
    ) -> R | None:
        """Return the small results of all shards, combined in shard order; None for a corpus without shards."""
        work = partial(tasks.fold, fn=fn, fill=self._unwired(columns))
        results = self.foreman.collect(work, self._shard_tasks(columns))
        first = next(results, None)
        return None if first is None else reduce(combine, results, first)

    def write_file(self, name: str, content: bytes) -> None:
        """Write one file of the corpus, such as a model or a plan; the corpus' only task."""
        self.produce(partial(tasks.write_file, name=name, content=content), [Task(Path(name).stem)])

    def _blocks(self, work: Callable[[Task, Attempt], Tally | None], todo: Sequence[Task], partitions: int) -> Blocks:
        self._rounds += 1
        round_name = f"scratch/{self._rounds}"
        tally = self.foreman.run(work, todo, round_name=round_name)
        return Blocks(self.root / round_name, len(todo), partitions, ledger.ordered(tally))

    def _shard_tasks(self, columns: Mapping[str, Sequence[str]], reusable: str | None = None) -> Sequence[Task]:
        wired = {role: tuple(names) for role, names in columns.items() if role in self.inputs}
        corpora = [self.inputs[role] for role in wired]
        for role, names in wired.items():
            self._check_columns(role, names)
        _check_partners(wired, corpora)
        if bare := [role for role, names in wired.items() if not set(names) - {ADDRESS}]:
            raise DataError(
                f"{self.name}: of {bare} only the address is asked; ask for a column too, which tells the rows"
            )
        wants_address = any(ADDRESS in names for names in wired.values())

        def task(index: int) -> Task:
            shards = [corpus.manifest.shards[index] for corpus in corpora]
            asked: dict[Path, tuple[str, ...]] = {}
            for corpus, shard, names in zip(corpora, shards, wired.values(), strict=True):
                path = corpus.path(shard)  # two roles may be played by one corpus
                asked[path] = (*asked.get(path, ()), *(name for name in names if name != ADDRESS))
            payload = ShardTask(
                columns=asked,
                first_address=index << 32,
                with_address=wants_address,
                ordinal=index,
            )
            origin = "" if reusable is None or wants_address else tasks.origin(reusable, shards)
            return Task(stem(shards[0]), origin, payload)

        return LazySequence(len(corpora[0].manifest.shards), task)

    def _check_columns(self, role: str, names: Sequence[str]) -> None:
        """See that the corpus of a role is of the kind the stage reads, by its first shard: recipes wire by hand.

        Raises:
            DataError: it has not the columns asked for.
        """
        corpus = self.inputs[role]
        first = next(iter(corpus.paths()), None)
        if first is None or not first.exists():  # a file that is gone is named by the task that wants it
            return
        present = pq.read_schema(first).names
        if missing := [name for name in names if name != ADDRESS and name not in present]:
            raise DataError(
                f"{self.name}: its input {role!r} is {corpus.root.name}, which has no column {missing[0]!r}; it has "
                f"{', '.join(present)}. Wire another step as {role!r} in the recipe's steps."
            )

    def _unwired(self, columns: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
        if missing := [role for role in columns if role not in self.inputs and role != "mask"]:
            raise DataError(f"{self.name}: no corpus plays {missing}; wire it in the recipe's steps")
        return tuple(columns["mask"]) if "mask" in columns and "mask" not in self.inputs else ()

    def _binding(self, fn: BatchFn, columns: Mapping[str, Sequence[str]]) -> str | None:
        """Return what the output depends on beside the shards' own content; None if that has no stable text."""
        whole = {role: print_ for role, print_ in self.identities.items() if role not in columns}
        wired = {role: names for role, names in columns.items() if role in self.inputs}
        places = {str(corpus.root): corpus.manifest.fingerprint for corpus in self.inputs.values()}
        places[str(self.root)] = ""  # what it prepares there for its tasks is made of params and inputs
        return tasks.binding(fn, whole, wired, places | {str(p): self.identities[r] for r, p in self.files.items()})


def _several(addressed: Blocks | tuple[Blocks, ...]) -> tuple[Blocks, ...]:
    """Return the rounds whose rows go to addresses, without their tallies: they travel to every worker."""
    given = (addressed,) if isinstance(addressed, Blocks) else addressed
    return tuple(replace(blocks, tally={}) for blocks in given)


def stem(shard: Shard) -> str:
    """Return the name that co-partitioned shards share."""
    return shard.name.split(".", 1)[0]


def _partition_tasks(blocks: Blocks) -> Sequence[Task]:
    return LazySequence(blocks.partitions, lambda index: Task(part(index), payload=index))


def _check_partners(roles: Mapping[str, Any], corpora: Sequence[Corpus]) -> None:
    first = corpora[0].manifest.shards
    for role, corpus in zip(roles, corpora, strict=True):
        shards = corpus.manifest.shards
        if len(shards) != len(first) or any(
            a.rows != b.rows or stem(a) != stem(b) for a, b in zip(first, shards, strict=True)
        ):
            raise DataError(
                f"{corpus.root} (as {role}) is not co-partitioned with {corpora[0].root}: {shards!r} against "
                f"{first!r}. Both must come from the same documents; check the inputs of this step."
            )
