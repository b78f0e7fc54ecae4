"""The life of a local worker process: take a task from the pipe, run it, send what came of it, until the driver ends.

Started by `pipeline.execution.local` as `python -c`, never imported by a stage. It must not outlive the driver, even
one that died by SIGKILL in the middle of a task: on Linux the kernel kills it (PR_SET_PDEATHSIG); everywhere a thread
waits for the end of a pipe that only the driver holds open.
"""

import contextlib
import ctypes
import faulthandler
import os
import pickle
import signal
import sys
import threading
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

from pipeline.execution.attempt import try_pickled

# First byte of a message from a worker.
READY, RESULT, REPORT = b"r", b"+", b"-"

_PR_SET_PDEATHSIG = 1


def main(pipe: int, lifeline: int, parent: int) -> None:
    """Serve tasks from file descriptor `pipe` until it closes; `lifeline` closes when process `parent` ends."""
    _die_with_parent(lifeline, parent)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole terminal; the driver decides what ends
    faulthandler.enable()
    connection = Connection(pipe)
    current = _Call()
    # A driver that closes its end, or dies, ends the loop.
    with contextlib.suppress(EOFError, OSError):
        connection.send_bytes(READY)
        while True:
            call, task = pickle.loads(connection.recv_bytes())
            if call is not None:
                current.receive(call)
            done, payload = try_pickled(current.get, task)
            connection.send_bytes((RESULT if done else REPORT) + payload)


class _Call:
    """The function of the present run: unpickled at its first task, then kept."""

    def __init__(self) -> None:
        self._pickled = b""
        self._fn: Callable[[Any], Any] | None = None

    def receive(self, pickled: bytes) -> None:
        self._pickled, self._fn = pickled, None

    def get(self) -> Callable[[Any], Any]:
        if self._fn is None:
            self._fn = pickle.loads(self._pickled)
        return self._fn


def _die_with_parent(lifeline: int, parent: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died before the line above
        os._exit(1)
    threading.Thread(target=_wait_for_the_end, args=(lifeline,), daemon=True).start()


def _wait_for_the_end(lifeline: int) -> None:
    with contextlib.suppress(OSError):
        os.read(lifeline, 1)
    os._exit(1)
