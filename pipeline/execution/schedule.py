"""Which task is next, which is tried again and when, and which is given up. The same for every runner; starts nothing.

The state is a cursor over the tasks plus one small entry for each task that has failed so far: flat in the number of
tasks.
"""

import heapq
import time
from collections.abc import Callable
from dataclasses import dataclass

from pipeline.execution.attempt import Report
from pipeline.execution.base import Failure, Retries

# The tracebacks of so many failed tasks are kept; a stage whose every shard fails must not fill the driver's memory.
KEPT_TRACEBACKS = 100


@dataclass(slots=True)
class _History:
    """What has gone wrong with one task so far."""

    crash: int = 0
    memory: int = 0
    io: int = 0
    guilty: int = 0

    @property
    def total(self) -> int:
        return self.crash + self.memory + self.io


class Schedule:
    """Hands out indexes 0..total-1, first the retries whose wait is over, then fresh ones.

    memory_alone: a task that ran out of memory is tried again only when nothing else runs, and nothing is started
    beside it.
    """

    def __init__(
        self, total: int, retries: Retries, *, memory_alone: bool, clock: Callable[[], float] = time.monotonic
    ):
        self.total = total
        self.unsettled = total
        self.failures: list[Failure] = []
        self._retries = retries
        self._memory_alone = memory_alone
        self._clock = clock
        self._fresh = 0
        self._waiting: list[tuple[float, int]] = []
        self._lonely: list[tuple[float, int]] = []
        self._alone: int | None = None
        self._histories: dict[int, _History] = {}

    @property
    def drained(self) -> bool:
        """True when every task has been handed out at least once and none waits for a retry."""
        return self._fresh == self.total and not self._waiting and not self._lonely

    def take(self, in_flight: int) -> int | None:
        """Return the task to start now, or None if there is none to start beside the `in_flight` others."""
        if self._alone is not None:
            return None
        now = self._clock()
        if self._waiting and self._waiting[0][0] <= now:
            return heapq.heappop(self._waiting)[1]
        if self._fresh < self.total:
            self._fresh += 1
            return self._fresh - 1
        if self._lonely and not in_flight and self._lonely[0][0] <= now:
            self._alone = heapq.heappop(self._lonely)[1]
            return self._alone
        return None

    def wait_s(self, in_flight: int, longest: float) -> float:
        """Return the seconds until the next retry may start beside `in_flight` others, between 0 and `longest`."""
        due = [self._waiting[0][0]] if self._waiting and self._alone is None else []
        if self._lonely and not in_flight:
            due.append(self._lonely[0][0])
        return min(longest, max(0.0, min(due) - self._clock())) if due else longest

    def done(self, index: int) -> None:
        """Settle `index`: it has a result."""
        self._settle(index)

    def give_back(self, index: int) -> None:
        """Queue `index` again at no cost: it never reached a worker."""
        self._release(index)
        heapq.heappush(self._waiting, (self._clock(), index))

    def refused(self, index: int, report: Report) -> None:
        """Count what the task raised, or that it was killed for want of memory: try again or give up, by kind."""
        history = self._histories.setdefault(index, _History())
        if report.kind == "memory":
            history.memory += 1
            again, so_far = history.memory <= self._retries.memory, history.memory
        elif report.kind == "io":
            history.io += 1
            again, so_far = history.io <= self._retries.io, history.io
        else:
            again, so_far = False, 0
        if again:
            self._again(index, so_far, lonely=self._memory_alone and report.kind == "memory")
        else:
            self._give_up(index, report, history.total + (report.kind == "bug"))

    def lost(self, index: int, message: str, *, guilty: bool, traceback: str = "") -> None:
        """Count a worker that died under the task.

        guilty: the task did it, beyond doubt: the worker ended itself (a segmentation fault, an exit), or this task
        is the only one left. An outside kill -9 is not the task's doing, and forty of them must not name an innocent
        task.
        """
        history = self._histories.setdefault(index, _History())
        history.crash += 1
        history.guilty += guilty
        if history.guilty >= self._retries.poisoned or history.crash > self._retries.crash:
            self._give_up(index, Report("crash", message, traceback), history.total)
        else:
            self._again(index, history.crash, lonely=False)

    def memory_failures(self, index: int) -> int:
        """Return how often the task has run out of memory so far."""
        history = self._histories.get(index)
        return history.memory if history else 0

    def _again(self, index: int, retry: int, *, lonely: bool) -> None:
        self._release(index)
        wait = min(self._retries.backoff_cap_s, self._retries.backoff_s * 2 ** (retry - 1))
        heapq.heappush(self._lonely if lonely else self._waiting, (self._clock() + wait, index))

    def _give_up(self, index: int, report: Report, attempts: int) -> None:
        traceback = report.traceback if len(self.failures) < KEPT_TRACEBACKS else ""
        self.failures.append(Failure(index, report.kind, attempts, report.message, traceback))
        self._settle(index)

    def _settle(self, index: int) -> None:
        self._release(index)
        self._histories.pop(index, None)
        self.unsettled -= 1

    def _release(self, index: int) -> None:
        if self._alone == index:
            self._alone = None
