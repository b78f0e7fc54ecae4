"""What the rest of the package may know about where tasks run: one protocol, its settings and its failures.

A task is any picklable value; `fn` is a top-level function or a `functools.partial` of one. Four kinds of failure, each
with its own number of retries, and all counted by `pipeline.execution.schedule` in the driver, the same for every
runner:

    bug      the task raised: final
    crash    its worker died under it: tried again, unless it is plain that the task itself kills workers
    memory   MemoryError, or its worker was killed for want of memory: tried again with more room
    io       an OSError that may pass (not a missing or forbidden file): tried again
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Literal, Protocol, Self, TypeVar

from pipeline.errors import RunnerError

T = TypeVar("T")
R = TypeVar("R")

Kind = Literal["bug", "crash", "memory", "io"]

# How many failed tasks the message of `TasksFailed` names; the rest is in its `failures`.
NAMED_FAILURES = 5


@dataclass(frozen=True, slots=True)
class Retries:
    """How often a task is tried again, by kind of failure, and how long it waits before that.

    The wait before retry n is `backoff_s * 2**(n - 1)`, at most `backoff_cap_s`. A task is poisoned, and named at
    once, when `poisoned` of its workers died by its own doing (see `Schedule.lost`).
    """

    crash: int = 8
    memory: int = 3
    io: int = 3
    poisoned: int = 3
    backoff_s: float = 0.2
    backoff_cap_s: float = 10.0


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything a runner is told. Nothing in here may change a byte of any output.

    workers: processes at once; None = one for each CPU this process may use. Under Ray it sizes an embedded cluster
    only.
    address: of a running Ray cluster ("auto", "host:port"); None = a small cluster of our own, which ends with us.
    gpus_per_warm_worker: what Ray reserves for each worker of a warm run (see `Runner.run`), which is started for it.
    log: where workers' prints and the dead workers' last words go; None = nowhere.
    """

    runner: Literal["local", "ray"] = "local"
    workers: int | None = None
    address: str | None = None
    retries: Retries = field(default_factory=Retries)
    log: Path | None = None
    object_store_mb: int = 100
    gpus_per_warm_worker: float = 0.0
    # A second attempt of the last tasks: once nothing is queued and one runs longer than both of these.
    straggler_s: float = 30.0
    straggler_medians: float = 3.0
    # The cluster is given up when its head has not answered, or it has had no CPU, for so long.
    head_lost_s: float = 20.0
    no_cpu_s: float = 900.0


@dataclass(frozen=True, slots=True)
class Failure:
    """One task that was given up: which, why, after how many attempts; `traceback` is for the log and may be empty."""

    index: int
    kind: Kind
    attempts: int
    message: str
    traceback: str = ""


class TasksFailed(RunnerError):
    """Raised once all other tasks have finished; `failures` holds one entry for each task given up, by index."""

    def __init__(self, failures: list[Failure], total: int):
        self.failures = sorted(failures, key=lambda failure: failure.index)
        lines = [f"{len(failures):,} of {total:,} tasks failed:"]
        for failure in self.failures[:NAMED_FAILURES]:
            tries = "1 attempt" if failure.attempts == 1 else f"{failure.attempts} attempts"
            lines.append(f"  task {failure.index} ({failure.kind}, {tries}): {failure.message}")
        if len(failures) > NAMED_FAILURES:
            lines.append(f"  and {len(failures) - NAMED_FAILURES:,} more")
        super().__init__("\n".join(lines))


class Runner(Protocol):
    """Runs independent tasks somewhere; a context manager that leaves nothing running."""

    def run(self, fn: Callable[[T], R], tasks: Sequence[T], *, warm: bool = False) -> Iterator[tuple[int, R]]:
        """Yield (index of the task, its result) in completion order.

        Of `tasks` only `len` and one item at a time are asked for, so it may be lazy. A task that fails leaves the
        others alone. Leaving the iterator early stops what is running.

        Args:
            warm: the tasks load something heavy, such as a model, that the next task in the same process finds again:
                processes are kept from task to task and end with the run, with all that they hold.

        Raises:
            TasksFailed: at the very end, naming every task that was given up.
            RunnerError: no worker can be started, the cluster is gone, or it has not the GPUs of a warm worker.
        """
        ...

    def close(self) -> None:
        """Stop every process that was started. May be called twice."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
