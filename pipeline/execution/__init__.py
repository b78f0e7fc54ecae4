"""Run many independent tasks. One verb, two runners; only `cluster` imports ray, only when it is asked for."""

from pipeline.execution.base import Failure, Retries, Runner, Settings, TasksFailed
from pipeline.execution.local import LocalRunner

__all__ = ["Failure", "LocalRunner", "Retries", "Runner", "Settings", "TasksFailed", "runner_for"]


def runner_for(profile: Settings) -> Runner:
    """Return the runner a profile asks for; use it as a context manager, so that nothing is left running.

    Raises:
        RunnerError: the Ray cluster cannot be started or reached.
    """
    if profile.runner == "local":
        return LocalRunner(settings=profile)
    from pipeline.execution.cluster import RayRunner

    return RayRunner(profile)
