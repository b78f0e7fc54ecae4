"""Run tasks on this machine: in this process, or in a small pool of processes of our own. Never imports ray.

One pipe and one task at a time for each worker, so that a dead worker names its task. Workers are plain subprocesses
rather than a `ProcessPoolExecutor`, which breaks as a whole when one process dies, or `multiprocessing`, which
imports the user's main module again and keeps a tracker process beside the workers.
"""

import contextlib
import json
import os
import pickle
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection, wait
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from pipeline.errors import RunnerError
from pipeline.execution import worker as worker_module
from pipeline.execution.attempt import ONE_THREAD, Report, cpus, try_here
from pipeline.execution.base import Settings, TasksFailed
from pipeline.execution.schedule import Schedule

T = TypeVar("T")
R = TypeVar("R")

# A worker that dies before it can take a task is replaced so often before the machine is to blame.
FAILED_STARTS = 5
# Dead workers are noticed by the end of their pipe at once; a process that keeps the pipe open, within this time.
POLL_S = 1.0
# An idle worker ends by itself when its pipe closes; after this it is killed.
FAREWELL_S = 2.0
# Signals that come from outside: the out-of-memory killer, an operator, a container that is stopped.
OUTSIDE_SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)

_MAIN = (
    "import sys, json; pipe, lifeline, parent, sys.path[:] = json.loads(sys.argv.pop(1)); "
    "from pipeline.execution.worker import main; main(pipe, lifeline, parent)"
)


class LocalRunner:
    """`workers=1` runs in this very process, for a debugger or a test; more are processes, kept between runs."""

    def __init__(self, workers: int | None = None, settings: Settings | None = None):
        self._settings = settings or Settings()
        self.workers = workers or self._settings.workers or cpus()
        self._pool: list[_Worker] = []
        self._failed_starts = 0

    def run(self, fn: Callable[[T], R], tasks: Sequence[T], *, warm: bool = False) -> Iterator[tuple[int, R]]:
        """Yield (index, result) in completion order; see `Runner.run`. Its processes are warm in any case."""
        schedule = Schedule(len(tasks), self._settings.retries, memory_alone=True)
        yield from self._run_here(fn, tasks, schedule) if self.workers == 1 else self._run_pool(fn, tasks, schedule)
        if warm:  # the models that its processes hold are of no use to the next run
            self.close()
        if schedule.failures:
            raise TasksFailed(schedule.failures, len(tasks))

    def close(self) -> None:
        """Stop all workers: idle ones end as their pipe closes, the others are killed."""
        pool, self._pool = self._pool, []
        for worker in pool:
            worker.end()
        deadline = time.monotonic() + FAREWELL_S
        for worker in pool:
            worker.bury(max(0.0, deadline - time.monotonic()))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _run_here(self, fn: Callable[[T], R], tasks: Sequence[T], schedule: Schedule) -> Iterator[tuple[int, R]]:
        while schedule.unsettled:
            index = schedule.take(in_flight=0)
            if index is None:
                time.sleep(schedule.wait_s(0, POLL_S))
                continue
            result, report = try_here(fn, tasks[index])
            if report is None:
                schedule.done(index)
                yield index, result
            else:
                schedule.refused(index, report)

    def _run_pool(self, fn: Callable[[T], R], tasks: Sequence[T], schedule: Schedule) -> Iterator[tuple[int, R]]:
        call = _pickled_call(fn)
        for worker in self._pool:
            worker.knows_call = False
        try:
            while schedule.unsettled:
                self._hire(schedule.unsettled)
                self._feed(call, tasks, schedule)
                patience = schedule.wait_s(self._in_flight, POLL_S) if self._idle else POLL_S
                ready = wait([worker.pipe for worker in self._pool], patience)
                results = [self._listen(worker, schedule) for worker in list(self._pool) if worker.speaks(ready)]
                self._feed(call, tasks, schedule)  # nobody waits while the consumer of a result is at work
                yield from (result for result in results if result is not None)
        except BaseException:  # Ctrl-C, or the consumer has gone: what runs now is of no use to anyone
            for worker in self._pool:
                worker.kill()
            self.close()
            raise

    @property
    def _idle(self) -> list["_Worker"]:
        return [worker for worker in self._pool if worker.ready and worker.task is None]

    @property
    def _in_flight(self) -> int:
        return sum(worker.task is not None for worker in self._pool)

    def _hire(self, unsettled: int) -> None:
        while len(self._pool) < min(self.workers, unsettled):
            self._pool.append(_Worker(self._settings.log))

    def _feed(self, call: bytes, tasks: Sequence[Any], schedule: Schedule) -> None:
        for worker in self._idle:
            index = schedule.take(self._in_flight)
            if index is None:
                return
            try:
                message = _pickled_task(tasks[index])
            except Exception as error:
                text = f"the task cannot be sent to a worker: {type(error).__name__}: {error}"
                schedule.refused(index, Report("bug", text))
                continue
            if not worker.send(None if worker.knows_call else call, message, index):
                schedule.give_back(index)

    def _listen(self, worker: "_Worker", schedule: Schedule) -> tuple[int, Any] | None:
        """Take one message from `worker`, or its end; return (index, result) if it was one."""
        try:
            message = worker.pipe.recv_bytes()
        except (EOFError, OSError):
            self._mourn(worker, schedule)
            return None
        kind, payload = message[:1], memoryview(message)[1:]
        if kind == worker_module.READY:
            worker.ready, self._failed_starts = True, 0
            return None
        index, worker.task = worker.task, None
        assert index is not None, "a worker speaks of a task only when it has one"
        try:
            content = pickle.loads(payload)
        except Exception as error:
            content = Report("bug", f"its result cannot be read in the driver: {type(error).__name__}: {error}")
            kind = worker_module.REPORT
        if kind == worker_module.REPORT:
            schedule.refused(index, content)
            return None
        schedule.done(index)
        return index, content

    def _mourn(self, worker: "_Worker", schedule: Schedule) -> None:
        alone = schedule.unsettled == 1
        self._pool.remove(worker)
        worker.kill()
        code = worker.bury(FAREWELL_S)
        if worker.task is not None:
            if code == -signal.SIGKILL and worker.memory_ran_out():
                schedule.refused(worker.task, Report("memory", "the system ran out of memory and killed its worker"))
            else:
                schedule.lost(worker.task, describe_exit(code), guilty=alone or -code not in OUTSIDE_SIGNALS)
        elif not worker.ready:
            self._failed_starts += 1
            if self._failed_starts >= FAILED_STARTS:
                raise RunnerError(
                    f"{FAILED_STARTS} worker processes in a row died before their first task ({describe_exit(code)}); "
                    f"see {self._settings.log or 'the log (none was set)'}, or build with workers: 1"
                )


class _Worker:
    """The driver's end of one worker process."""

    def __init__(self, log: Path | None):
        self.ready = False
        self.knows_call = False
        self.task: int | None = None
        self._oom_kills = _oom_kills()
        ours, theirs = socket.socketpair()
        lifeline, self._lifeline = os.pipe()
        arguments = json.dumps([theirs.fileno(), lifeline, os.getpid(), sys.path])
        with open(log or os.devnull, "ab") as output, contextlib.closing(theirs):
            self._process = subprocess.Popen(
                [sys.executable, "-c", _MAIN, arguments],
                env={**os.environ, **ONE_THREAD, "PYTHONUNBUFFERED": "1"},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                pass_fds=(theirs.fileno(), lifeline),
            )
        os.close(lifeline)
        self.pipe = Connection(ours.detach())

    def send(self, call: bytes | None, task: bytes, index: int) -> bool:
        """Hand over a task; False if the worker is dead already (its pipe tells so at the next wait)."""
        try:
            self.pipe.send_bytes(pickle.dumps((call, task)))
        except OSError:
            self.ready = True  # it was: this is not a failed start
            return False
        self.task, self.knows_call = index, True
        return True

    def speaks(self, ready: list[Any]) -> bool:
        """Return whether a message, or the end of the process, is there to be read."""
        if self.pipe in ready:
            return True
        if self._process.poll() is None or self.pipe.poll():
            return False
        self.pipe.close()  # a child of the dead worker holds its end open: make the next read fail
        return True

    def memory_ran_out(self) -> bool:
        """Return whether the kernel has killed anything for want of memory since this worker started."""
        return _oom_kills() > self._oom_kills

    def end(self) -> None:
        """Ask the process to end by closing its pipe; kill it if it has a task."""
        if self.task is not None:
            self.kill()
        self.pipe.close()

    def kill(self) -> None:
        """Kill the process at once."""
        self._process.kill()

    def bury(self, timeout_s: float) -> int:
        """Wait until the process is gone, kill it after `timeout_s`, and return its exit code."""
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.kill()
            self._process.wait()
        if self._lifeline >= 0:
            os.close(self._lifeline)
            self._lifeline = -1
        self.pipe.close()
        return self._process.returncode


def describe_exit(code: int) -> str:
    """Return what an exit code (negative: a signal, as `subprocess` has it) says about a worker's end."""
    if code >= 0:
        return f"its worker ended itself with exit code {code}"
    try:
        return f"its worker died of {signal.Signals(-code).name}"
    except ValueError:
        return f"its worker died of signal {-code}"


def _pickled_call(fn: Callable[[Any], Any]) -> bytes:
    try:
        return pickle.dumps(fn, pickle.HIGHEST_PROTOCOL)
    except Exception as error:
        raise RunnerError(
            f"the function of this stage cannot be sent to workers: {type(error).__name__}: {error}; "
            "it must be a top-level function of a module, or a functools.partial of one with picklable arguments"
        ) from error


def _pickled_task(task: Any) -> bytes:
    return pickle.dumps(task, pickle.HIGHEST_PROTOCOL)


def _oom_kills() -> int:
    """Return the kernel's count of processes killed for want of memory; 0 where it keeps none."""
    try:
        lines = Path("/proc/vmstat").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("oom_kill ")), 0)
