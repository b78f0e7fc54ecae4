import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

REPOSITORY = Path(__file__).parents[2]
# Ray takes a few seconds to notice that its driver is gone.
PATIENCE_S = 30


@pytest.fixture(params=["local", pytest.param("ray", marks=[pytest.mark.ray, pytest.mark.slow])])
def driver(request, tmp_path):
    """A driver process in the middle of its tasks: (process, all processes it has started)."""
    command = [sys.executable, "-m", "tests.execution.driver", request.param, str(tmp_path)]
    process = subprocess.Popen(
        command, cwd=REPOSITORY, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
    )
    try:
        wait_until(lambda: len(list(tmp_path.glob("*.pid"))) >= 2, "two tasks are at work")
        yield process, psutil.Process(process.pid).children(recursive=True)
    finally:
        process.kill()
        process.communicate()


def wait_until(condition, what: str, seconds: float = PATIENCE_S) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds} s until {what}"
        time.sleep(0.05)


def running(processes) -> list[psutil.Process]:
    return [process for process in processes if process.is_running() and process.status() != psutil.STATUS_ZOMBIE]


def test_ctrl_c_ends_everything_and_is_a_keyboard_interrupt(driver):
    process, children = driver
    os.killpg(process.pid, signal.SIGINT)  # what a terminal does: to all of its foreground processes
    output, errors = process.communicate(timeout=PATIENCE_S)
    assert (process.returncode, output, errors) == (130, "interrupted\n", "")
    wait_until(lambda: not running(children), f"{running(children)} are gone")


def test_a_driver_that_is_killed_leaves_nothing_running(driver):
    process, children = driver
    assert len(children) >= 2
    process.kill()
    process.wait()
    wait_until(lambda: not running(children), f"{running(children)} are gone")
