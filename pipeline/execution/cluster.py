"""Run tasks on Ray: a small cluster of our own that ends with us, or a running one. The only module that imports ray.

Ray is asked for little: to run a function on a free CPU and to say how that ended. Retries, the order of the tasks
and the patience with a lost head are ours, because Ray's own retries spend one budget on guilty and innocent tasks
alike and try for ever when memory is short. Tasks are idempotent (a commit takes the first of two twins), so a
straggler gets a second attempt.
"""

import logging
import pickle
import statistics
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self, TypeVar

from pipeline.errors import RunnerError
from pipeline.execution.attempt import Report
from pipeline.execution.base import Settings, TasksFailed
from pipeline.execution.embedded import EmbeddedSession, quiet_environment
from pipeline.execution.hands import Anyone, Crew, Hands
from pipeline.execution.health import AGAIN, LOOK_S, Cluster, require_head
from pipeline.execution.schedule import Schedule

T = TypeVar("T")
R = TypeVar("R")

# A larger function is put into the object store once; a smaller one travels with each task, which is quicker.
INLINE_BYTES = 8192
# Durations of finished tasks that the median of a straggler is taken from.
REMEMBERED_DURATIONS = 1000

QUIETLY = {"log_to_driver": False, "logging_level": "ERROR"}


class RayRunner:
    """Keeps a bounded number of tasks in flight and retries them by kind of failure.

    Raises:
        RunnerError: Ray is not installed, does not start, or nothing answers at the address.
    """

    def __init__(self, settings: Settings | None = None):
        self._settings = settings or Settings(runner="ray")
        self._session: EmbeddedSession | None = None
        self._connected = False
        self._ray = self._import_ray()
        self._connect()
        self._cluster = Cluster(self._ray, self._settings)

    def run(self, fn: Callable[[T], R], tasks: Sequence[T], *, warm: bool = False) -> Iterator[tuple[int, R]]:
        """Yield (index, result) in completion order; see `Runner.run`."""
        schedule = Schedule(len(tasks), self._settings.retries, memory_alone=False)
        if not schedule.unsettled:
            return
        self._cluster.look()
        flight = _Flight(self._ray, self._settings, self._hands(fn, warm), tasks, schedule)
        try:
            while schedule.unsettled:
                self._cluster.look()
                flight.fill()
                yield from flight.land()
        except self._ray.exceptions.RaySystemError as error:
            raise RunnerError(f"Ray failed: {error}\n{AGAIN}") from None
        finally:
            flight.cancel_all()
        if schedule.failures:
            raise TasksFailed(schedule.failures, len(tasks))

    def _hands(self, fn: Callable[[Any], Any], warm: bool) -> Hands:
        call = _pickled_call(self._ray, fn)
        shipped = call if len(call) <= INLINE_BYTES else self._ray.put(call)
        if warm:
            return Crew(self._ray, self._cluster, shipped, self._settings.gpus_per_warm_worker)
        return Anyone(self._ray, self._cluster, shipped)

    def close(self) -> None:
        """Leave the cluster; one of our own ends here, and what its workers printed goes to the log."""
        if self._connected:
            self._connected = False
            self._ray.shutdown()
        if self._session:
            self._session.close()
            self._session = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _import_ray(self) -> Any:
        early = "ray" in sys.modules
        quiet_environment(embedded=self._settings.address is None)  # Ray reads it once, when it is imported
        try:
            import ray
            import ray.exceptions
        except ImportError as error:
            raise RunnerError(f"Ray cannot be imported ({error}); `pip install 'ray>=2.60'`") from None
        if early and not ray.is_initialized():
            _read_environment_again(ray)
        return ray

    def _connect(self) -> None:
        """Start or join a cluster, unless the caller has one in this process already."""
        if self._ray.is_initialized():
            return
        self._connected = True
        try:
            if self._settings.address is None:
                self._session = EmbeddedSession(self._settings)
                with self._session.environment():
                    self._ray.init(**QUIETLY, **self._session.options())
            else:
                require_head(self._settings.address)
                self._ray.init(address=self._settings.address, **QUIETLY)
        except RunnerError:
            raise
        except Exception as error:
            self.close()
            what = f"join the cluster at {self._settings.address!r}" if self._settings.address else "start"
            raise RunnerError(f"Ray cannot {what}: {type(error).__name__}: {error}") from None
        except BaseException:  # Ctrl-C
            self.close()
            raise
        self._hush()

    def _hush(self) -> None:
        """Send to the log what Ray would print on the user's screen: its own log lines, and every worker's death."""
        log = self._settings.log
        handler = logging.FileHandler(log, delay=True) if log else logging.NullHandler()
        logger = logging.getLogger("ray")
        logger.handlers, logger.propagate = [handler], False
        private: Any = getattr(getattr(self._ray, "_private", None), "worker", None)
        if hasattr(private, "print_to_stdstream"):
            private.print_to_stdstream = lambda data, *_, **__: logger.error("\n".join(data["lines"]))


def _read_environment_again(ray: Any) -> None:
    """Have Ray, imported by someone before us, take notice of `quiet_environment`."""
    config = getattr(ray._raylet, "Config", None)
    tokens = getattr(ray._raylet, "AuthenticationTokenLoader", None)
    if config and tokens:
        config.initialize("")
        tokens.instance().reset_cache()


@dataclass(slots=True)
class _Attempt:
    index: int
    started: float


class _Flight:
    """The attempts of one run that Ray has in hand."""

    def __init__(
        self,
        ray: Any,
        settings: Settings,
        hands: Hands,
        tasks: Sequence[Any],
        schedule: Schedule,
    ):
        self._ray, self._settings, self._hands = ray, settings, hands
        self._tasks, self._schedule = tasks, schedule
        self._attempts: dict[Any, _Attempt] = {}
        self._durations: deque[float] = deque(maxlen=REMEMBERED_DURATIONS)
        self._none_queued_since = float("inf")

    def fill(self) -> None:
        """Submit tasks up to the window; once none is left, second attempts of stragglers."""
        while len(self._attempts) < self._hands.window:
            index = self._schedule.take(len(self._attempts))
            if index is None:
                break
            self._submit(index)
        if self._schedule.drained and len(self._attempts) < self._hands.slots:
            self._second_attempts()
        else:
            self._none_queued_since = float("inf")

    def land(self) -> list[tuple[int, Any]]:
        """Wait until an attempt ends or a retry is due; return the results that have come."""
        patience = self._schedule.wait_s(len(self._attempts), LOOK_S)
        if not self._attempts:
            time.sleep(patience)
            return []
        refs = list(self._attempts)
        if len(refs) >= self._hands.window:
            patience = LOOK_S  # a retry that is due must wait for a place anyway
        ready, _ = self._ray.wait(refs, num_returns=1, timeout=patience)
        if ready:
            ready, _ = self._ray.wait(refs, num_returns=len(refs), timeout=0)
        landed = [self._land(ref) for ref in ready if ref in self._attempts]
        return [result for result in landed if result is not None]

    def cancel_all(self) -> None:
        """Stop whatever still runs."""
        for ref in self._attempts:
            self._hands.stop(ref)
        self._attempts.clear()
        self._hands.close()

    def _submit(self, index: int) -> None:
        try:
            task = self._ray.cloudpickle.dumps(self._tasks[index])
        except Exception as error:
            text = f"the task cannot be sent to a worker: {type(error).__name__}: {error}"
            self._schedule.refused(index, Report("bug", text))
            return
        ref = self._hands.give(task, self._schedule.memory_failures(index))
        self._attempts[ref] = _Attempt(index, time.monotonic())

    def _second_attempts(self) -> None:
        now = time.monotonic()
        self._none_queued_since = min(self._none_queued_since, now)
        usual = statistics.median(self._durations) if self._durations else 0.0
        limit = max(self._settings.straggler_s, self._settings.straggler_medians * usual)
        indexes = [attempt.index for attempt in self._attempts.values()]
        for attempt in list(self._attempts.values()):
            running = now - max(attempt.started, self._none_queued_since)
            if running > limit and indexes.count(attempt.index) == 1 and len(self._attempts) < self._hands.slots:
                self._submit(attempt.index)

    def _land(self, ref: Any) -> tuple[int, Any] | None:
        attempt = self._attempts.pop(ref)
        twins = [other for other, also in self._attempts.items() if also.index == attempt.index]
        try:
            done, payload = self._ray.get(ref)
            self._hands.freed(ref, alive=True)
            content = pickle.loads(payload)
        except self._ray.exceptions.RayError as error:
            self._hands.freed(ref, alive=isinstance(error, self._ray.exceptions.RayTaskError))
            if not twins:
                self._lost(attempt.index, error)
            return None
        except Exception as error:
            done, content = False, Report("bug", f"its result cannot be read: {type(error).__name__}: {error}")
        if not done:
            if not twins:  # else the twin decides
                self._schedule.refused(attempt.index, content)
            return None
        for twin in twins:
            self._attempts.pop(twin)
            self._hands.stop(twin)
        self._durations.append(time.monotonic() - attempt.started)
        self._schedule.done(attempt.index)
        return attempt.index, content

    def _lost(self, index: int, error: Exception) -> None:
        """Count an attempt that ended without a word of its own: Ray says how.

        Raises:
            RunnerError: no other attempt can go better.
        """
        known, text = self._ray.exceptions, str(error).strip()
        if isinstance(error, known.LocalRayletDiedError):
            raise RunnerError(f"the Ray cluster is gone: the driver's own node (raylet) died\n{AGAIN}")
        if isinstance(error, (known.RuntimeEnvSetupError, known.TaskUnschedulableError, known.ActorUnschedulableError)):
            raise RunnerError(f"the Ray cluster cannot run a task: {text}")
        if isinstance(error, (known.RayTaskError, known.RayActorError)) and "No module named 'pipeline" in text:
            raise RunnerError(
                "the Ray cluster's workers cannot import `pipeline`; install corpusmill on every node, "
                "or submit the build: ray job submit --working-dir . -- python jobs/build.py RECIPE --on PROFILE"
            )
        if isinstance(error, known.RayTaskError):
            self._schedule.refused(index, Report("bug", text.splitlines()[-1] if text else "RayTaskError", text))
        elif isinstance(error, known.OutOfMemoryError):
            self._schedule.refused(index, Report("memory", "Ray killed its worker: its node ran out of memory", text))
        elif isinstance(error, (known.WorkerCrashedError, known.ActorDiedError)):
            # Ray does not tell who killed a worker: only the last task left is beyond doubt.
            guilty = self._schedule.unsettled == 1
            self._schedule.lost(index, "its Ray worker died", guilty=guilty, traceback=text)
        else:
            self._schedule.lost(index, f"lost by Ray ({type(error).__name__})", guilty=False, traceback=text)


def _pickled_call(ray: Any, fn: Callable[[Any], Any]) -> bytes:
    try:
        return ray.cloudpickle.dumps(fn)
    except Exception as error:
        raise RunnerError(
            f"the function of this stage cannot be sent to workers: {type(error).__name__}: {error}; "
            "it must be a top-level function of a module, or a functools.partial of one with picklable arguments"
        ) from error
