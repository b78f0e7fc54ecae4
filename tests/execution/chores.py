"""Tasks for the runners: top-level functions that workers can import, each good at going wrong in one way.

A task that must behave differently on a second attempt counts its attempts in files, one file an attempt.
"""

import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path


class Lazy(Sequence):
    """So many tasks, none of which exists before it is asked for; it remembers how far it has been read."""

    def __init__(self, length: int, padding: int = 1000):
        self.length = length
        self.padding = padding
        self.read = 0

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index):
        self.read = max(self.read, index + 1)
        return index, b"x" * self.padding


class SelfishError(Exception):
    """An exception that can be pickled, but not unpickled."""

    def __init__(self, first, second):
        super().__init__(f"{first} and {second}")


def square(number):
    return number * number


def slow_square(number, seconds=0.05):
    time.sleep(seconds)
    return number * number


def length_of_padding(task):
    index, padding = task
    return index + len(padding)


def pid_of_worker(_task):
    time.sleep(0.05)
    return os.getpid()


def environment(name):
    return os.environ.get(name)


def attempt_number(folder: Path, task) -> int:
    """Count this attempt of `task` and return its number, from 1."""
    number = 1 + len(list(folder.glob(f"{task}.*")))
    (folder / f"{task}.{number}").touch()
    return number


def fail_on_three(task):
    if task == 3:
        raise ValueError("three is no good")
    return task


def fail_on_odd(task):
    if task % 2:
        raise KeyError(task)
    return task


def raise_selfish(task):
    if task == 1:
        raise SelfishError("this", "that")
    return task


def return_a_lock(task):
    import threading

    return threading.Lock() if task == 1 else task


def leave(task):
    if task == 1:
        sys.exit(3)
    return task


def die(task, folder: Path, how: str, times: int, at: int = 2):
    """Kill this worker in the first `times` attempts of task `at`."""
    if task != at or attempt_number(folder, task) > times:
        time.sleep(0.02)
        return task
    if how == "exit":
        os._exit(7)
    os.kill(os.getpid(), signal.Signals[how])
    time.sleep(60)
    return None


def raise_at_first(task, folder: Path, error: BaseException, times: int, at: int = 2):
    """Raise `error` in the first `times` attempts of task `at`."""
    if task == at and attempt_number(folder, task) <= times:
        raise error
    return task


def alone_after_memory_error(task, folder: Path):
    """Task 0 runs out of memory once; at its second attempt it says how many tasks are running beside it."""
    if task == 0:
        if attempt_number(folder, task) == 1:
            raise MemoryError("too much")
        time.sleep(0.2)
        return len(list(folder.glob("running.*")))
    mark = folder / f"running.{task}"
    mark.touch()
    time.sleep(0.05)
    mark.unlink()
    return 0


_seen: list[int] = []


def remember(task):
    """Return this process and how many tasks it has remembered, this one included."""
    time.sleep(0.02)
    _seen.append(task)
    return os.getpid(), len(_seen)


def shout(task):
    print(f"printed by task {task}", flush=True)
    os.write(2, b"written to file descriptor 2\n")
    return task


def tell_and_sleep(task, folder: Path):
    """Leave a file named for this process, then sleep for a minute."""
    (folder / f"{os.getpid()}.pid").touch()
    time.sleep(60)
    return task


def touch_pid_and_square(task, folder: Path):
    """Like `slow_square`, telling in a file which process is at which task."""
    mark = folder / f"{os.getpid()}.{task}.pid"
    mark.touch()
    time.sleep(0.1)
    mark.unlink()
    return task * task


def dawdle_at_first(task, folder: Path):
    """Task 0 sleeps for a minute in its first attempt only."""
    if task == 0 and attempt_number(folder, task) == 1:
        time.sleep(60)
    return task


def folder_and_memory(_task):
    """Return the working directory of the worker, and what Ray has reserved for this task."""
    import ray

    return os.getcwd(), ray.get_runtime_context().get_assigned_resources().get("memory", 0.0)


def memory_after_failures(task, folder: Path, failures: int):
    """Run out of memory so often, then return the bytes that Ray has reserved for the attempt."""
    if attempt_number(folder, task) <= failures:
        raise MemoryError
    return folder_and_memory(task)[1]
