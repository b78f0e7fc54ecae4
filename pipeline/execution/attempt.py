"""One attempt of one task, wherever it runs: its result, or a report that can always be sent home.

No exception leaves an attempt as an object: classes that do not survive pickling, SystemExit and failures of pickling
itself all arrive in the driver as the same three strings.
"""

import os
import pickle
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pipeline.errors import PipelineError
from pipeline.execution.base import Kind

# An OSError of these classes will not pass by waiting.
LASTING_OS_ERRORS = (FileNotFoundError, PermissionError, FileExistsError, IsADirectoryError, NotADirectoryError)

# What numba, the BLAS, rayon, polars and Arrow would otherwise start in every worker. Arrow's CPU pool obeys
# OMP_NUM_THREADS.
ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "NUMBA_NUM_THREADS": "1",
    "RAYON_NUM_THREADS": "1",
    "POLARS_MAX_THREADS": "1",
    "ARROW_IO_THREADS": "1",
    "TOKENIZERS_PARALLELISM": "false",
}


@dataclass(frozen=True, slots=True)
class Report:
    """Why an attempt has no result, in strings only."""

    kind: Kind
    message: str
    traceback: str = ""


def classify(error: BaseException) -> Kind:
    """Return the kind of failure an exception stands for."""
    if isinstance(error, MemoryError):
        return "memory"
    if isinstance(error, OSError) and not isinstance(error, LASTING_OS_ERRORS):
        return "io"
    return "bug"


def report(error: BaseException) -> Report:
    """Return `error` as strings: our own errors by their message alone, all others with their class."""
    try:
        text = str(error)
    except Exception:  # a __str__ that raises is a bug of the task, and must not become one of the runner
        text = "(its message cannot be printed)"
    own = isinstance(error, PipelineError) and text
    message = text if own else f"{type(error).__name__}: {text}" if text else type(error).__name__
    return Report(classify(error), message, "".join(traceback.format_exception(error)))


def try_here(fn: Callable[[Any], Any], task: Any) -> tuple[Any, Report | None]:
    """Call `fn(task)` in this process and return (result, None), or (None, report). Ctrl-C passes through."""
    try:
        return fn(task), None
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        return None, report(error)


def try_pickled(call: Callable[[], Callable[[Any], Any]], task: bytes) -> tuple[bool, bytes]:
    """Run a pickled task in a worker and return (True, pickled result), or (False, pickled Report). Never raises.

    `call` returns the function; it is asked inside the attempt because unpickling it imports the stage's modules,
    which may fail.
    """
    try:
        result = call()(pickle.loads(task))
    except BaseException as error:  # a KeyboardInterrupt in a worker is the task's own, and a bug
        return False, pickle.dumps(report(error))
    try:
        return True, pickle.dumps(result, pickle.HIGHEST_PROTOCOL)
    except BaseException as error:
        cause = report(error)
        message = f"its result ({type(result).__name__}) cannot be sent back to the driver: {cause.message}"
        return False, pickle.dumps(Report(cause.kind, message, cause.traceback))


def cpus() -> int:
    """Return how many CPUs this process may use, at least one."""
    if hasattr(os, "sched_getaffinity"):
        return max(1, len(os.sched_getaffinity(0)))
    return max(1, os.cpu_count() or 1)
