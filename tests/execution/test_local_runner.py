import os
import time
from functools import partial

import psutil
import pytest

from pipeline.errors import RunnerError
from pipeline.execution import Retries
from tests.execution import chores
from tests.execution.conftest import failures_of, local


def test_a_task_that_ran_out_of_memory_runs_alone_the_next_time(local_pool, tmp_path):
    results = dict(local_pool.run(partial(chores.alone_after_memory_error, folder=tmp_path), range(20)))
    assert len(results) == 20
    assert results[0] == 0


def test_a_function_that_cannot_be_sent_is_refused_before_anything_runs(local_pool):
    with pytest.raises(RunnerError, match="top-level function"):
        list(local_pool.run(lambda task: task, range(3)))


def test_a_task_that_ends_its_worker_by_itself_gets_three_workers_and_no_more(local_pool, tmp_path):
    _, failures = failures_of(local_pool, partial(chores.die, folder=tmp_path, how="SIGSEGV", times=99), range(40))
    assert failures[2].attempts == 3
    assert len(list(tmp_path.glob("2.*"))) == 3


def test_the_last_words_of_a_dying_worker_are_in_the_log(local_pool, tmp_path):
    dict(local_pool.run(partial(chores.die, folder=tmp_path, how="SIGSEGV", times=1), range(4)))
    assert "chores.py" in (tmp_path / "log").read_text()


def test_back_off_does_not_hold_up_other_tasks(tmp_path):
    patient = Retries(backoff_s=1.0, backoff_cap_s=1.0)
    for workers in (1, 2):
        folder = tmp_path / str(workers)
        folder.mkdir()
        fn = partial(chores.raise_at_first, folder=folder, error=OSError("again"), times=1, at=0)
        with local(workers, retries=patient) as started:
            assert [index for index, _ in started.run(fn, range(20))][-1] == 0


def test_workers_are_kept_between_runs_and_gone_after_close():
    with local(2) as started:
        first = {pid for _, pid in started.run(chores.pid_of_worker, range(8))}
        second = {pid for _, pid in started.run(chores.pid_of_worker, range(8))}
    assert first == second
    assert os.getpid() not in first
    assert not any(psutil.pid_exists(pid) for pid in first)


def test_leaving_the_results_early_stops_what_runs(tmp_path):
    with local(2) as started:
        results = started.run(partial(chores.touch_pid_and_square, folder=tmp_path), range(100))
        next(results)
        results.close()
        assert not [
            child for child in psutil.Process().children() if "pipeline.execution.worker" in child.cmdline()[-2]
        ]
        assert len(dict(started.run(chores.square, range(5)))) == 5


def test_one_worker_is_this_very_process():
    with local(1) as started:
        assert dict(started.run(chores.pid_of_worker, [0])) == {0: os.getpid()}


def test_what_workers_print_goes_to_the_log_and_not_to_the_screen(local_pool, tmp_path, capfd):
    dict(local_pool.run(chores.shout, range(2)))
    log = (tmp_path / "log").read_text()
    assert "printed by task 1" in log
    assert "written to file descriptor 2" in log
    assert capfd.readouterr() == ("", "")


def test_workers_that_cannot_start_are_an_error_and_not_a_loop(monkeypatch, tmp_path):
    monkeypatch.setattr("pipeline.execution.local._MAIN", "raise SystemExit(9)")
    with (
        local(2, log=tmp_path / "log") as started,
        pytest.raises(RunnerError, match=r"in a row died before their first task .*exit code 9.*workers: 1"),
    ):
        list(started.run(chores.square, range(5)))


def test_a_loop_waiting_for_a_retry_does_not_spin(tmp_path):
    patient = Retries(backoff_s=0.5, backoff_cap_s=0.5)
    fn = partial(chores.raise_at_first, folder=tmp_path, error=OSError("again"), times=2, at=0)
    with local(2, retries=patient) as started:
        before = time.process_time()
        dict(started.run(fn, range(1)))
        assert time.process_time() - before < 0.5
