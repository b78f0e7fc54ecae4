import os
import random
import signal
import threading
import time
import tracemalloc
from functools import partial

import psutil
import pytest

from pipeline.errors import RunnerError
from pipeline.execution import LocalRunner, Retries, Settings, TasksFailed
from tests.execution import chores

QUICK = Retries(backoff_s=0.01, backoff_cap_s=0.05)


def runner(workers: int, log=None, retries: Retries = QUICK) -> LocalRunner:
    return LocalRunner(workers, Settings(retries=retries, log=log))


@pytest.fixture(params=[1, 2, 3])
def any_runner(request):
    with runner(request.param) as started:
        yield started


@pytest.fixture
def pool(tmp_path):
    with runner(2, log=tmp_path / "log") as started:
        yield started


def failures_of(started, fn, tasks):
    """Run to the end and return (results by index, failures by index)."""
    results = {}
    with pytest.raises(TasksFailed) as caught:
        results.update(started.run(fn, tasks))
    return results, {failure.index: failure for failure in caught.value.failures}


def test_every_task_comes_back_once_with_its_index(any_runner):
    assert sorted(any_runner.run(chores.square, range(50))) == [(i, i * i) for i in range(50)]


def test_no_tasks_are_no_work(any_runner):
    assert list(any_runner.run(chores.square, [])) == []


def test_a_runner_runs_one_function_after_the_other(any_runner):
    assert dict(any_runner.run(chores.square, [3])) == {0: 9}
    assert dict(any_runner.run(partial(chores.slow_square, seconds=0), [4, 5, 6])) == {0: 16, 1: 25, 2: 36}


def test_a_bug_is_tried_once_and_named_after_all_others_have_finished(any_runner):
    results, failures = failures_of(any_runner, chores.fail_on_three, range(8))
    assert results == {i: i for i in range(8) if i != 3}
    assert list(failures) == [3]
    assert (failures[3].kind, failures[3].attempts) == ("bug", 1)
    assert failures[3].message == "ValueError: three is no good"
    assert "fail_on_three" in failures[3].traceback


def test_the_message_names_the_first_failures_and_counts_the_rest(any_runner):
    with pytest.raises(TasksFailed, match=r"(?s)10 of 20 tasks failed:\n  task 1 \(bug, 1 attempt\).*and 5 more"):
        list(any_runner.run(chores.fail_on_odd, range(20)))


def test_exceptions_that_do_not_survive_pickling_arrive_as_text(any_runner):
    _, failures = failures_of(any_runner, chores.raise_selfish, range(3))
    assert failures[1].message == "SelfishError: this and that"


def test_sys_exit_is_a_bug_of_the_task(any_runner):
    results, failures = failures_of(any_runner, chores.leave, range(3))
    assert results == {0: 0, 2: 2}
    assert (failures[1].kind, failures[1].message) == ("bug", "SystemExit: 3")


def test_io_errors_are_tried_again(any_runner, tmp_path):
    fn = partial(chores.raise_at_first, folder=tmp_path, error=OSError("the disk hiccups"), times=3)
    assert dict(any_runner.run(fn, range(5))) == {i: i for i in range(5)}


def test_io_errors_that_last_are_reported_with_their_attempts(any_runner, tmp_path):
    fn = partial(chores.raise_at_first, folder=tmp_path, error=TimeoutError("no answer"), times=99)
    results, failures = failures_of(any_runner, fn, range(5))
    assert len(results) == 4
    assert (failures[2].kind, failures[2].attempts, failures[2].message) == ("io", 4, "TimeoutError: no answer")


def test_a_missing_file_is_not_waited_for(any_runner, tmp_path):
    fn = partial(chores.raise_at_first, folder=tmp_path, error=FileNotFoundError("gone"), times=99)
    _, failures = failures_of(any_runner, fn, range(5))
    assert (failures[2].kind, failures[2].attempts) == ("bug", 1)


def test_a_memory_error_is_tried_again_and_given_up_in_the_end(any_runner, tmp_path):
    fn = partial(chores.raise_at_first, folder=tmp_path, error=MemoryError("too much"), times=99)
    results, failures = failures_of(any_runner, fn, range(5))
    assert len(results) == 4
    assert (failures[2].kind, failures[2].attempts) == ("memory", 4)


def test_a_task_that_ran_out_of_memory_runs_alone_the_next_time(pool, tmp_path):
    results = dict(pool.run(partial(chores.alone_after_memory_error, folder=tmp_path), range(20)))
    assert len(results) == 20
    assert results[0] == 0


def test_a_result_that_cannot_be_sent_is_a_bug_that_names_its_type(pool):
    results, failures = failures_of(pool, chores.return_a_lock, range(3))
    assert results == {0: 0, 2: 2}
    assert failures[1].kind == "bug"
    assert failures[1].message.startswith("its result (lock) cannot be sent back to the driver")


def test_a_task_that_cannot_be_sent_is_a_bug_of_that_task(pool):
    results, failures = failures_of(pool, chores.square, [1, threading.Lock(), 3])
    assert results == {0: 1, 2: 9}
    assert failures[1].message.startswith("the task cannot be sent to a worker")


def test_a_function_that_cannot_be_sent_is_refused_before_anything_runs(pool):
    with pytest.raises(RunnerError, match="top-level function"):
        list(pool.run(lambda task: task, range(3)))


@pytest.mark.parametrize("how", ["exit", "SIGSEGV", "SIGKILL", "SIGTERM", "SIGABRT"])
def test_a_worker_that_dies_is_replaced_and_its_task_tried_again(pool, tmp_path, how):
    fn = partial(chores.die, folder=tmp_path, how=how, times=2)
    assert dict(pool.run(fn, range(12))) == {i: i for i in range(12)}


@pytest.mark.parametrize(("how", "words"), [("exit", "exit code 7"), ("SIGSEGV", "SIGSEGV"), ("SIGKILL", "SIGKILL")])
def test_a_poisoned_task_is_named_and_the_others_finish(pool, tmp_path, how, words):
    results, failures = failures_of(pool, partial(chores.die, folder=tmp_path, how=how, times=99), range(12))
    assert results == {i: i for i in range(12) if i != 2}
    assert failures[2].kind == "crash"
    assert 3 <= failures[2].attempts <= 9
    assert words in failures[2].message


def test_a_task_that_ends_its_worker_by_itself_gets_three_workers_and_no_more(pool, tmp_path):
    _, failures = failures_of(pool, partial(chores.die, folder=tmp_path, how="SIGSEGV", times=99), range(40))
    assert failures[2].attempts == 3
    assert len(list(tmp_path.glob("2.*"))) == 3


def test_the_last_words_of_a_dying_worker_are_in_the_log(pool, tmp_path):
    dict(pool.run(partial(chores.die, folder=tmp_path, how="SIGSEGV", times=1), range(4)))
    assert "chores.py" in (tmp_path / "log").read_text()


def test_workers_killed_from_outside_at_random_cost_nothing_but_time(tmp_path):
    generator, stop = random.Random(7), threading.Event()

    def kill_workers():
        for _ in range(25):
            if stop.wait(generator.uniform(0.02, 0.1)):
                return
            at_work = [int(mark.name.split(".")[0]) for mark in tmp_path.glob("*.pid")]
            victims = [pid for pid in at_work if psutil.pid_exists(pid)]
            if victims:
                os.kill(generator.choice(victims), signal.SIGKILL)

    killer = threading.Thread(target=kill_workers)
    killer.start()
    try:
        with runner(2, retries=Retries()) as started:
            results = dict(started.run(partial(chores.touch_pid_and_square, folder=tmp_path), range(60)))
    finally:
        stop.set()
        killer.join()
    assert results == {i: i * i for i in range(60)}


def test_back_off_does_not_hold_up_other_tasks(tmp_path):
    patient = Retries(backoff_s=1.0, backoff_cap_s=1.0)
    for workers in (1, 2):
        folder = tmp_path / str(workers)
        folder.mkdir()
        fn = partial(chores.raise_at_first, folder=folder, error=OSError("again"), times=1, at=0)
        with runner(workers, retries=patient) as started:
            assert [index for index, _ in started.run(fn, range(20))][-1] == 0


def test_a_hundred_thousand_tasks_are_asked_for_one_at_a_time(any_runner):
    count = 100_000 if any_runner.workers == 1 else 10_000
    tasks = chores.Lazy(count)
    tracemalloc.start()
    try:
        seen, ahead = 0, 0
        for _ in any_runner.run(chores.length_of_padding, tasks):
            seen += 1
            ahead = max(ahead, tasks.read - seen)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert seen == count
    assert ahead <= 2 * any_runner.workers
    assert peak < 5_000_000


def test_workers_are_kept_between_runs_and_gone_after_close():
    with runner(2) as started:
        first = {pid for _, pid in started.run(chores.pid_of_worker, range(8))}
        second = {pid for _, pid in started.run(chores.pid_of_worker, range(8))}
    assert first == second
    assert os.getpid() not in first
    assert not any(psutil.pid_exists(pid) for pid in first)


def test_leaving_the_results_early_stops_what_runs(tmp_path):
    with runner(2) as started:
        results = started.run(partial(chores.touch_pid_and_square, folder=tmp_path), range(100))
        next(results)
        results.close()
        assert not [
            child for child in psutil.Process().children() if "pipeline.execution.worker" in child.cmdline()[-2]
        ]
        assert len(dict(started.run(chores.square, range(5)))) == 5


def test_one_worker_is_this_very_process():
    with runner(1) as started:
        assert dict(started.run(chores.pid_of_worker, [0])) == {0: os.getpid()}


@pytest.mark.parametrize("name", ["OMP_NUM_THREADS", "NUMBA_NUM_THREADS", "RAYON_NUM_THREADS", "ARROW_IO_THREADS"])
def test_workers_compute_on_one_thread(pool, name):
    assert dict(pool.run(chores.environment, [name])) == {0: "1"}


def test_what_workers_print_goes_to_the_log_and_not_to_the_screen(pool, tmp_path, capfd):
    dict(pool.run(chores.shout, range(2)))
    log = (tmp_path / "log").read_text()
    assert "printed by task 1" in log
    assert "written to file descriptor 2" in log
    assert capfd.readouterr() == ("", "")


def test_workers_that_cannot_start_are_an_error_and_not_a_loop(monkeypatch, tmp_path):
    monkeypatch.setattr("pipeline.execution.local._MAIN", "raise SystemExit(9)")
    with (
        runner(2, log=tmp_path / "log") as started,
        pytest.raises(RunnerError, match=r"in a row died before their first task .*exit code 9.*workers: 1"),
    ):
        list(started.run(chores.square, range(5)))


def test_a_loop_waiting_for_a_retry_does_not_spin(tmp_path):
    patient = Retries(backoff_s=0.5, backoff_cap_s=0.5)
    fn = partial(chores.raise_at_first, folder=tmp_path, error=OSError("again"), times=2, at=0)
    with runner(2, retries=patient) as started:
        before = time.process_time()
        dict(started.run(fn, range(1)))
        assert time.process_time() - before < 0.5
