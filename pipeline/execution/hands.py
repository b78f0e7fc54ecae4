"""Who runs the tasks of a run on Ray: any free process of the cluster, or a crew of its own. Is handed ray.

A crew is for tasks that load something heavy, such as a model: its actors keep it from task to task, may hold GPUs, and
end with the run. Each has one task at a time, so a dead one names its task.
"""

import logging
import pickle
import signal
from collections.abc import Callable
from typing import Any, Protocol

from pipeline.errors import RunnerError
from pipeline.execution.attempt import try_pickled
from pipeline.execution.health import Cluster

# Tasks handed to Ray for each CPU: one runs, the others wait, so that no CPU waits for the driver. With 2, 4 and 16
# an empty task took 1.4, 0.84 and 0.77 ms.
WINDOW_PER_CPU = 4


class Hands(Protocol):
    """What a run needs to know of who does its tasks."""

    @property
    def slots(self) -> int:
        """How many attempts run at once."""

    @property
    def window(self) -> int:
        """How many attempts may be in flight."""

    def give(self, task: bytes, failures: int) -> Any:
        """Start an attempt and return its reference; more memory is reserved for one that has run out of it before."""

    def freed(self, ref: Any, *, alive: bool) -> None:
        """Hear that an attempt has ended, and whether its process lives."""

    def stop(self, ref: Any) -> None:
        """Stop an attempt that runs."""

    def close(self) -> None:
        """Leave nothing of the run's own behind."""


class Anyone:
    """Plain Ray tasks."""

    def __init__(self, ray: Any, cluster: Cluster, call: Any):
        self._ray, self._cluster, self._call = ray, cluster, call
        self._remote = ray.remote(num_cpus=1, max_retries=0)(serve)

    @property
    def slots(self) -> int:
        return self._cluster.slots

    @property
    def window(self) -> int:
        return WINDOW_PER_CPU * self.slots

    def give(self, task: bytes, failures: int) -> Any:
        more = {"memory": self._cluster.more_memory(failures)} if failures else {}
        remote = self._remote.options(**more) if more else self._remote
        return remote.remote(self._call, task)

    def freed(self, ref: Any, *, alive: bool) -> None:
        """Nothing to do: the process is Ray's."""

    def stop(self, ref: Any) -> None:
        try:
            self._ray.cancel(ref, force=True)
        except Exception:  # the cluster may be gone, and with it the task
            logging.getLogger("ray").debug("a task could not be cancelled", exc_info=True)

    def close(self) -> None:
        """Nothing to do: attempts are stopped one by one."""


class Crew:
    """Actors of the run's own, hired as they are needed.

    Raises:
        RunnerError: the cluster has not the GPUs that one of them wants.
    """

    def __init__(self, ray: Any, cluster: Cluster, call: Any, gpus: float):
        if cluster.gpus < gpus:
            raise RunnerError(
                f"the Ray cluster has {cluster.gpus:g} GPUs, and a worker that holds a model is to have {gpus:g}: "
                "start a node with a GPU, or give it none in the profile"
            )
        self._ray, self._cluster, self._call, self._gpus = ray, cluster, call, gpus
        self._kind = ray.remote(num_cpus=1, num_gpus=gpus, max_restarts=0)(Attendant)
        self._idle: list[Any] = []
        self._busy: dict[Any, Any] = {}

    @property
    def slots(self) -> int:
        cpus = self._cluster.slots
        return max(1, min(cpus, int(self._cluster.gpus / self._gpus))) if self._gpus else cpus

    @property
    def window(self) -> int:
        return self.slots

    def give(self, task: bytes, failures: int) -> Any:
        actor = self._idle.pop() if self._idle else None
        if failures and actor is not None:  # its CPU is for the one that reserves more memory
            self._dismiss(actor)
            actor = None
        if actor is None:
            more = {"memory": self._cluster.more_memory(failures)} if failures else {}
            actor = self._kind.options(**more).remote()
        ref = actor.serve.remote(self._call, task)
        self._busy[ref] = actor
        return ref

    def freed(self, ref: Any, *, alive: bool) -> None:
        actor = self._busy.pop(ref)
        if alive:
            self._idle.append(actor)

    def stop(self, ref: Any) -> None:
        self._dismiss(self._busy.pop(ref))

    def close(self) -> None:
        for actor in (*self._idle, *self._busy.values()):
            self._dismiss(actor)
        self._idle.clear()
        self._busy.clear()

    def _dismiss(self, actor: Any) -> None:
        try:
            self._ray.kill(actor)
        except Exception:  # the cluster may be gone, and with it the actor
            logging.getLogger("ray").debug("an actor could not be ended", exc_info=True)


def serve(call: bytes, task: bytes) -> tuple[bool, bytes]:
    """Run one attempt in a Ray worker; see `try_pickled`."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # Ray's handler raises SystemExit inside the task
    return try_pickled(lambda: _unpickled(call), task)


class Attendant:
    """What an actor of a crew is: a process that serves, and remembers what the modules of its tasks cache."""

    def serve(self, call: bytes, task: bytes) -> tuple[bool, bytes]:
        """Run one attempt."""
        return serve(call, task)


_last: tuple[bytes, Callable[[Any], Any]] | None = None


def _unpickled(call: bytes) -> Callable[[Any], Any]:
    """Return the function, unpickled once a run rather than once a task."""
    global _last
    if _last is None or _last[0] != call:
        _last = call, pickle.loads(call)
    return _last[1]
