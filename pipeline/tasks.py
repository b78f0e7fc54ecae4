"""What a worker does: the bodies of the tasks that `Step`'s verbs make, and the foreman who hands them to a runner."""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar, overload

import numpy as np
import pyarrow as pa

from pipeline import identity, ledger, store
from pipeline.corpus import DATA, Shard
from pipeline.errors import DataError, StageError
from pipeline.execution.base import Failure, Runner, TasksFailed
from pipeline.ledger import Tally
from pipeline.parquet import ShardWriter, read_zipped, write_table
from pipeline.schemas import ADDRESS
from pipeline.shuffle import Blocks, BlockWriter, Part, by_column
from pipeline.store import Attempt, Earlier, Record

T = TypeVar("T")
R = TypeVar("R")
BatchFn = Callable[..., pa.RecordBatch]
Sent = tuple[pa.Table, np.ndarray]
PartFn = Callable[[Part], Iterator[Sent | Tally]]

LEDGER = "ledger"
SHOWN_FAILURES = 5


@dataclass(frozen=True, slots=True)
class Task:
    """One unit of work: a key that names its files, and the identity of what they are made from ("": unknown)."""

    key: str
    identity: str = ""
    payload: Any = None


@dataclass(frozen=True, slots=True)
class ShardTask:
    """Where a worker finds the columns of one shard of every role."""

    columns: Mapping[Path, tuple[str, ...]]
    first_address: int
    with_address: bool
    ordinal: int


class Stream(Protocol):
    """A function on batches that remembers those it has seen."""

    def batch(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Return the output of one batch, row for row."""
        ...

    def tally(self) -> Tally:
        """Return what is to be told of the stream at its end."""
        ...


class LazySequence(Sequence[T], Generic[T]):
    """A sequence that makes its members when asked, so that a hundred thousand tasks weigh nothing."""

    def __init__(self, length: int, make: Callable[[int], T]):
        self._length = length
        self._make = make

    def __len__(self) -> int:
        return self._length

    @overload
    def __getitem__(self, index: int) -> T: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[T]: ...
    def __getitem__(self, index: int | slice) -> T | Sequence[T]:
        if isinstance(index, slice):
            chosen = range(self._length)[index]
            return LazySequence(len(chosen), lambda i: self._make(chosen[i]))
        if not -self._length <= index < self._length:
            raise IndexError(index)
        return self._make(index % self._length)


@dataclass
class Foreman:
    """Hands a step's tasks to a runner: skips what is finished, adopts what an earlier build made, sums tallies."""

    stage: str
    root: Path
    runner: Runner
    earlier: Earlier | None = None
    watch: Callable[[int, int, Record | None], None] = lambda done, total, record: None

    def run(
        self, fn: Callable[[Task, Attempt], Tally | None], todo: Sequence[Task], *, round_name: str, warm: bool = False
    ) -> Tally:
        """Get every task of a round committed, by warm workers (see `Runner.run`) if asked; return their tallies."""
        finished = store.recorded(self.root, round_name)
        totals: Tally = {}
        waiting: list[int] = []
        for index, key in enumerate(task.key for task in todo):
            record = store.finished(self.root, round_name, key) if key in finished else None
            if record is None:
                waiting.append(index)
            else:
                ledger.add(totals, record.tally)
        done = len(todo) - len(waiting)
        self.watch(done, len(todo), None)
        work = partial(attempt, fn=fn, root=self.root, round_name=round_name, earlier=self.earlier)
        for _, record in self._run(work, LazySequence(len(waiting), lambda i: todo[waiting[i]]), warm):
            done += 1
            ledger.add(totals, record.tally)
            self.watch(done, len(todo), record)
        return totals

    def collect(self, fn: Callable[[Task], R], todo: Sequence[Task]) -> Iterator[R]:
        """Yield the result of every task in the order of the tasks; only those that came too early are held."""
        early: dict[int, R] = {}
        due = 0
        for index, result in self._run(fn, todo):
            early[index] = result
            while due in early:
                yield early.pop(due)
                due += 1

    def _run(self, fn: Callable[[Task], R], todo: Sequence[Task], warm: bool = False) -> Iterator[tuple[int, R]]:
        try:
            yield from self.runner.run(fn, todo, warm=warm)
        except TasksFailed as failed:
            raise _stage_error(self.stage, failed.failures, todo) from None


def _stage_error(stage: str, failures: Sequence[Failure], todo: Sequence[Task]) -> StageError:
    """Return one error that names every failed shard and its cause; the tracebacks go along for the log."""
    shown = failures[:SHOWN_FAILURES]
    lines = [f"  {todo[failure.index].key}: {failure.message}" for failure in shown]
    if len(failures) > len(shown):
        lines.append(f"  ... and {len(failures) - len(shown):,} more, all in the log")
    head = f"{stage} failed on {len(failures):,} of {len(todo):,} tasks:"
    tail = "finished tasks are kept: mend the cause and run the same command again to go on"
    details = "\n".join(f"{stage} {todo[f.index].key} [{f.kind}, {f.attempts} tries]\n{f.traceback}" for f in failures)
    return StageError("\n".join([head, *lines, tail]), details)


def attempt(
    task: Task,
    *,
    fn: Callable[[Task, Attempt], Tally | None],
    root: Path,
    round_name: str,
    earlier: Earlier | None,
) -> Record:
    """Do one task and commit it; what an earlier corpus made from the same content is taken over instead."""
    attempt = Attempt(root, task.key, round_name=round_name)
    try:
        if earlier is not None and task.identity and round_name == DATA:
            record = earlier.find(task.identity)
            adopted = attempt.adopt(record, earlier.folder) if record else None
            if adopted:
                return adopted
        return attempt.commit(fn(task, attempt) or {}, task.identity)
    except BaseException:
        attempt.abort()
        raise


def origin(binding: str, shards: Iterable[Shard]) -> str:
    """Return the identity of a map task's output: what binds the function, and the content of its shards."""
    return hashlib.sha256("|".join([binding, *(shard.checksum for shard in shards)]).encode()).hexdigest()[:32]


def binding(
    fn: BatchFn, whole: Mapping[str, str], columns: Mapping[str, Sequence[str]], places: Mapping[str, str]
) -> str | None:
    """Return a digest of a batch function, what is bound into it, who offers which column and the whole inputs.

    None when something bound has no stable text (an array, a table): such an output is never taken over. A bound path
    stands for what lies there: `places` are path -> identity.
    """
    bound = {"args": fn.args, "kwargs": fn.keywords} if isinstance(fn, partial) else {}
    inner = fn.func if isinstance(fn, partial) else fn
    name = f"{inner.__module__}.{inner.__qualname__}"
    try:
        text = identity.canonical_json(bound)
        for place, print_ in sorted(places.items(), reverse=True):
            text = text.replace(json.dumps(place)[1:-1], print_)
        return identity.digest({"fn": name, "bound": text, "inputs": dict(whole), "columns": dict(columns)})
    except (TypeError, ValueError):
        return None


def batches(task: ShardTask, fill: tuple[str, ...]) -> Iterator[pa.RecordBatch]:
    """Yield a shard's batches; `fill` are the mask columns to supply because no mask is wired: all kept."""
    for batch in read_zipped(task.columns, task.first_address if task.with_address else None):
        for name in fill:
            kept = pa.array(np.ones(batch.num_rows, bool)) if name == "keep" else pa.nulls(batch.num_rows, pa.string())
            batch = batch.append_column(name, kept)
        yield batch


def map_shard(
    task: Task,
    attempt: Attempt,
    *,
    fn: BatchFn,
    schema: pa.Schema,
    tally: Callable[[pa.RecordBatch, pa.RecordBatch], Tally] | None,
    fill: tuple[str, ...],
    mask: bool,
    addressed: tuple[Blocks, ...],
) -> Tally:
    """Write the output shard of one input shard."""
    name = f"{task.key}.parquet"
    rows = _sent_to(task.payload, addressed)
    totals: Tally = {}
    with ShardWriter(attempt.path(name), schema) as writer:
        for batch in batches(task.payload, fill):
            first = task.payload.first_address + writer.rows
            result = fn(batch, _between(rows, first, batch.num_rows)) if addressed else fn(batch)
            _write(writer, batch, result, totals, tally=tally, mask=mask)
    attempt.rows(name, writer.rows)
    return totals


def _sent_to(shard: ShardTask, addressed: Sequence[Blocks]) -> pa.Table | None:
    """Return the rows that were sent to the addresses of a shard, by address; None if there are none."""
    tables = [table for blocks in addressed if (table := blocks.read(shard.ordinal)) is not None]
    return by_column(pa.concat_tables(tables), ADDRESS) if tables else None


def _write(
    writer: ShardWriter,
    batch: pa.RecordBatch,
    result: pa.RecordBatch,
    totals: Tally,
    *,
    tally: Callable[[pa.RecordBatch, pa.RecordBatch], Tally] | None,
    mask: bool,
) -> None:
    """Write the output of one batch and add it to the totals."""
    if result.num_rows != batch.num_rows:
        raise DataError(f"a map returned {result.num_rows:,} rows for {batch.num_rows:,}; it must return one for each")
    writer.write(result)
    if mask:
        ledger.add(totals, {LEDGER: ledger.count_decisions(batch, result)})
    if tally:
        ledger.add(totals, tally(batch, result))


def stream_shards(
    task: Task,
    attempt: Attempt,
    *,
    start: Callable[[], Stream],
    schema: pa.Schema,
    tally: Callable[[pa.RecordBatch, pa.RecordBatch], Tally] | None,
    fill: tuple[str, ...],
    mask: bool,
) -> Tally:
    """Write the output shards of all input shards, one after the other."""
    stream = start()
    totals: Tally = {}
    for key, shard in task.payload:
        name = f"{key}.parquet"
        with ShardWriter(attempt.path(name), schema) as writer:
            for batch in batches(shard, fill):
                _write(writer, batch, stream.batch(batch), totals, tally=tally, mask=mask)
        attempt.rows(name, writer.rows)
    return ledger.add(totals, stream.tally())


def _between(rows: pa.Table | None, first: int, count: int) -> pa.Table | None:
    if rows is None:
        return None
    low, high = np.searchsorted(rows[ADDRESS].to_numpy(), np.array([first, first + count], np.uint64))
    return rows.slice(low, high - low)


def scatter(
    task: Task,
    attempt: Attempt,
    *,
    fn: Callable[..., tuple[pa.RecordBatch, np.ndarray]],
    partitions: int,
    fill: tuple[str, ...],
    addressed: tuple[Blocks, ...],
) -> Tally:
    """Send the rows of a group of shards to partitions."""
    with BlockWriter(attempt.path(f"{task.key}.blocks"), partitions) as writer:
        for shard in task.payload:
            rows, done = _sent_to(shard, addressed), shard.first_address
            for batch in batches(shard, fill):
                writer.add(*(fn(batch, _between(rows, done, batch.num_rows)) if addressed else fn(batch)))
                done += batch.num_rows
    return {"rows": writer.rows}


def send(
    task: Task,
    attempt: Attempt,
    *,
    fn: Callable[[Any], Iterator[tuple[pa.RecordBatch, np.ndarray]]],
    partitions: int,
) -> Tally:
    """Send what a payload yields to partitions."""
    with BlockWriter(attempt.path(f"{task.key}.blocks"), partitions) as writer:
        for rows, destinations in fn(task.payload):
            writer.add(rows, destinations)
    return {"rows": writer.rows}


def regroup(
    task: Task,
    attempt: Attempt,
    *,
    fn: PartFn,
    rounds: tuple[Blocks, ...],
    partitions: int,
) -> Tally:
    """Work off one partition, send the rows that come out to new partitions and add up what was counted."""
    totals: Tally = {}
    with BlockWriter(attempt.path(f"{task.key}.blocks"), partitions) as writer:
        for made in fn(Part(rounds, task.payload)):
            if isinstance(made, dict):
                ledger.add(totals, made)
            else:
                writer.add(*made)
    return totals | {"rows": writer.rows}


def whole(part: Part, *, fn: Callable[[pa.Table], Sent]) -> Iterator[Sent]:
    """Yield what `fn` makes of all rows of a partition; nothing for one without rows."""
    if (table := part.table()) is not None:
        yield fn(table)


def homeward(part: Part, *, fn: Callable[[Part], Iterator[pa.Table | Tally]]) -> Iterator[Sent | Tally]:
    """Yield the tables of `fn(part)`, each row for the shard that its address names, and the counts."""
    for made in fn(part):
        if isinstance(made, dict):
            yield made
        else:
            yield made, (made[ADDRESS].to_numpy() >> np.uint64(32)).astype(np.uint32)


def table_of(part: Part, *, fn: Callable[[pa.Table], pa.Table]) -> Iterator[pa.Table]:
    """Yield `fn(table)` of all rows of a partition; nothing for one without rows."""
    if (table := part.table()) is not None:
        yield fn(table)


def gather(
    task: Task,
    attempt: Attempt,
    *,
    fn: Callable[[pa.Table], pa.Table],
    blocks: Blocks,
    schema: pa.Schema,
    tally: Callable[[pa.Table], Tally] | None,
) -> Tally:
    """Write the output shard of one partition."""
    name = f"{task.key}.parquet"
    table = blocks.read(task.payload)
    result = schema.empty_table() if table is None else fn(table)
    attempt.rows(name, write_table(attempt.path(name), result, schema))
    return tally(result) if tally else {}


def fold(task: Task, *, fn: Callable[[Iterator[pa.RecordBatch]], R], fill: tuple[str, ...]) -> R:
    """Return the small result of one shard."""
    return fn(batches(task.payload, fill))


def write_file(task: Task, attempt: Attempt, *, name: str, content: bytes) -> Tally:
    """Write one whole file."""
    attempt.path(name).write_bytes(content)
    return {}
