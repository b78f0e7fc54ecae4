import dataclasses
import os
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest

from pipeline.errors import RunnerError
from tests.execution import chores

pytestmark = pytest.mark.ray

REPOSITORY = Path(__file__).parents[2]


def run_python(program: str, **environment: str) -> subprocess.CompletedProcess:
    """Run a driver of its own, because Ray reads its settings once a process."""
    return subprocess.run(
        [sys.executable, "-c", program],
        cwd=REPOSITORY,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_a_function_that_cannot_be_sent_is_refused_before_anything_runs(ray_runner):
    lock = __import__("threading").Lock()
    with pytest.raises(RunnerError, match="top-level function"):
        list(ray_runner.run(partial(chores.square, lock), range(3)))


def test_workers_stand_where_the_driver_stands(ray_runner):
    assert dict(ray_runner.run(chores.folder_and_memory, [0]))[0][0] == os.getcwd()


def test_each_time_memory_runs_out_the_next_attempt_reserves_twice_as_much(ray_runner, tmp_path):
    reserved = []
    for failures in (1, 2):
        folder = tmp_path / str(failures)
        folder.mkdir()
        fn = partial(chores.memory_after_failures, folder=folder, failures=failures)
        reserved.append(dict(ray_runner.run(fn, [0]))[0])
    assert 0 < reserved[0] <= reserved[1]


def test_a_straggler_gets_a_second_attempt_and_the_first_result_counts(ray_runner, tmp_path):
    started = time.monotonic()
    assert dict(ray_runner.run(partial(chores.dawdle_at_first, folder=tmp_path), range(6))) == {i: i for i in range(6)}
    assert time.monotonic() - started < 50  # the first attempt alone sleeps for sixty seconds


def test_gpus_that_the_cluster_has_not_are_refused_before_anything_runs(ray_runner, monkeypatch):
    wanting = dataclasses.replace(ray_runner._settings, gpus_per_warm_worker=1.0)
    monkeypatch.setattr(ray_runner, "_settings", wanting)
    with pytest.raises(RunnerError, match="has 0 GPUs, and a worker that holds a model is to have 1"):
        list(ray_runner.run(chores.square, range(3), warm=True))
    assert dict(ray_runner.run(chores.square, [3])) == {0: 9}


def test_leaving_the_results_early_stops_what_runs(ray_runner, tmp_path):
    results = ray_runner.run(partial(chores.touch_pid_and_square, folder=tmp_path), range(1000))
    next(results)
    results.close()
    assert dict(ray_runner.run(chores.square, range(5))) == {i: i * i for i in range(5)}
    assert len(list(tmp_path.glob("*.pid"))) <= 4


@pytest.mark.slow
def test_nothing_of_ray_is_on_the_screen_and_the_workers_words_are_in_the_log(tmp_path):
    program = f"""
from functools import partial
from pathlib import Path
from pipeline.execution import Retries, Settings, runner_for
from tests.execution import chores
folder = Path({str(tmp_path)!r})
with runner_for(Settings(runner="ray", workers=1, log=folder / "log", retries=Retries(backoff_s=0.01))) as runner:
    list(runner.run(chores.shout, range(2)))
    list(runner.run(partial(chores.die, folder=folder, how="SIGKILL", times=2), range(3)))
"""
    done = run_python(program)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    log = (tmp_path / "log").read_text()
    assert "printed by task 1" in log
    assert "written to file descriptor 2" in log


@pytest.mark.slow
def test_a_token_file_of_the_user_s_is_neither_used_nor_written(tmp_path):
    program = """
from pipeline.execution import Settings, runner_for
from tests.execution import chores
with runner_for(Settings(runner="ray", workers=1)) as runner:
    print(dict(runner.run(chores.square, range(3))))
"""
    assert run_python(program, HOME=str(tmp_path)).stdout == "{0: 0, 1: 1, 2: 4}\n"
    assert not (tmp_path / ".ray").exists()
    token = tmp_path / ".ray" / "auth_token"
    token.parent.mkdir()
    token.write_text("a token of another cluster")
    done = run_python(program, HOME=str(tmp_path), RAY_ADDRESS="127.0.0.1:1")
    assert (done.returncode, done.stdout, done.stderr) == (0, "{0: 0, 1: 1, 2: 4}\n", "")
    assert token.read_text() == "a token of another cluster"


@pytest.mark.slow
def test_ray_may_have_been_imported_before():
    program = """
import ray
from pipeline.execution import Settings, runner_for
from tests.execution import chores
for _ in range(2):
    with runner_for(Settings(runner="ray", workers=1)) as runner:
        print(dict(runner.run(chores.square, range(3))))
"""
    done = run_python(program)
    assert (done.returncode, done.stdout, done.stderr) == (0, "{0: 0, 1: 1, 2: 4}\n" * 2, "")


@pytest.mark.slow
def test_an_address_where_nothing_answers_is_one_clear_error():
    program = """
from pipeline.errors import RunnerError
from pipeline.execution import Settings, runner_for
try:
    runner_for(Settings(runner="ray", address="127.0.0.1:1"))
except RunnerError as error:
    print(error)
"""
    done = run_python(program)
    assert done.stdout.startswith("no Ray cluster answers at 127.0.0.1:1; nothing has run")
    assert done.returncode == 0


@pytest.mark.slow
@pytest.mark.parametrize("victim", ["gcs_server", "raylet"])
def test_a_cluster_that_loses_its_head_is_an_error_and_not_a_hang(victim, tmp_path):
    program = f"""
import os, signal, sys
from functools import partial
from pathlib import Path
import psutil
from pipeline.errors import RunnerError
from pipeline.execution import Settings, runner_for
from tests.execution import chores
try:
    with runner_for(Settings(runner="ray", workers=1, head_lost_s=3.0)) as runner:
        for index, _ in runner.run(partial(chores.slow_square, seconds=1), range(100)):
            if index == 0:
                [head] = [child for child in psutil.Process().children() if child.name() == {victim!r}]
                head.kill()
except RunnerError as error:
    print(error)
    sys.exit(1)
"""
    done = run_python(program)
    assert done.returncode == 1
    assert done.stdout.startswith("the Ray cluster is gone")
    assert "run the same command again" in done.stdout
