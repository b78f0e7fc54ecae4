import os
import random
import signal
import threading
import time
import tracemalloc
from functools import partial

import psutil
import pytest

from pipeline.execution import LocalRunner, Retries, TasksFailed
from tests.execution import chores
from tests.execution.conftest import failures_of, local


def test_every_task_comes_back_once_with_its_index(runner):
    assert sorted(runner.run(chores.square, range(50))) == [(i, i * i) for i in range(50)]


def test_no_tasks_are_no_work(runner):
    assert list(runner.run(chores.square, [])) == []


def test_a_runner_runs_one_function_after_the_other(runner):
    assert dict(runner.run(chores.square, [3])) == {0: 9}
    assert dict(runner.run(partial(chores.slow_square, seconds=0), [4, 5, 6])) == {0: 16, 1: 25, 2: 36}


def test_a_bug_is_tried_once_and_named_after_all_others_have_finished(runner):
    results, failures = failures_of(runner, chores.fail_on_three, range(8))
    assert results == {i: i for i in range(8) if i != 3}
    assert list(failures) == [3]
    assert (failures[3].kind, failures[3].attempts) == ("bug", 1)
    assert failures[3].message == "ValueError: three is no good"
    assert "fail_on_three" in failures[3].traceback


def test_the_message_names_the_first_failures_and_counts_the_rest(runner):
    with pytest.raises(TasksFailed, match=r"(?s)10 of 20 tasks failed:\n  task 1 \(bug, 1 attempt\).*and 5 more"):
        list(runner.run(chores.fail_on_odd, range(20)))


def test_exceptions_that_do_not_survive_pickling_arrive_as_text(runner):
    _, failures = failures_of(runner, chores.raise_selfish, range(3))
    assert failures[1].message == "SelfishError: this and that"


def test_sys_exit_is_a_bug_of_the_task(runner):
    results, failures = failures_of(runner, chores.leave, range(3))
    assert results == {0: 0, 2: 2}
    assert (failures[1].kind, failures[1].message) == ("bug", "SystemExit: 3")


def test_io_errors_are_tried_again(runner, tmp_path):
    fn = partial(chores.raise_at_first, folder=tmp_path, error=OSError("the disk hiccups"), times=3)
    assert dict(runner.run(fn, range(5))) == {i: i for i in range(5)}


def test_io_errors_that_last_are_reported_with_their_attempts(runner, tmp_path):
    fn = partial(chores.raise_at_first, folder=tmp_path, error=TimeoutError("no answer"), times=99)
    results, failures = failures_of(runner, fn, range(5))
    assert len(results) == 4
    assert (failures[2].kind, failures[2].attempts, failures[2].message) == ("io", 4, "TimeoutError: no answer")


def test_a_missing_file_is_not_waited_for(runner, tmp_path):
    fn = partial(chores.raise_at_first, folder=tmp_path, error=FileNotFoundError("gone"), times=99)
    _, failures = failures_of(runner, fn, range(5))
    assert (failures[2].kind, failures[2].attempts) == ("bug", 1)


def test_a_memory_error_is_tried_again_and_given_up_in_the_end(runner, tmp_path):
    fn = partial(chores.raise_at_first, folder=tmp_path, error=MemoryError("too much"), times=99)
    results, failures = failures_of(runner, fn, range(5))
    assert len(results) == 4
    assert (failures[2].kind, failures[2].attempts) == ("memory", 4)


def test_a_result_that_cannot_be_sent_is_a_bug_that_names_its_type(pool):
    results, failures = failures_of(pool, chores.return_a_lock, range(3))
    assert results == {0: 0, 2: 2}
    assert failures[1].kind == "bug"
    assert failures[1].message.startswith("its result (lock) cannot be sent back to the driver")


def test_a_task_that_cannot_be_sent_is_a_bug_of_that_task(pool):
    results, failures = failures_of(pool, chores.square, [1, threading.Lock(), 3])
    assert results == {0: 1, 2: 9}
    assert failures[1].message.startswith("the task cannot be sent to a worker")


@pytest.mark.parametrize("how", ["exit", "SIGSEGV", "SIGKILL", "SIGTERM", "SIGABRT"])
def test_a_worker_that_dies_is_replaced_and_its_task_tried_again(pool, tmp_path, how):
    fn = partial(chores.die, folder=tmp_path, how=how, times=2)
    assert dict(pool.run(fn, range(12))) == {i: i for i in range(12)}


@pytest.mark.parametrize("how", ["exit", "SIGSEGV", "SIGKILL"])
def test_a_poisoned_task_is_named_and_the_others_finish(pool, tmp_path, how):
    results, failures = failures_of(pool, partial(chores.die, folder=tmp_path, how=how, times=99), range(12))
    assert results == {i: i for i in range(12) if i != 2}
    assert failures[2].kind == "crash"
    assert 3 <= failures[2].attempts <= 9
    assert "worker" in failures[2].message


def test_a_warm_worker_remembers_from_task_to_task_and_ends_with_the_run(pool):
    for _ in range(2):
        counts = {}
        for pid, count in dict(pool.run(chores.remember, range(12), warm=True)).values():
            counts.setdefault(pid, []).append(count)
        assert 1 <= len(counts) <= 2
        assert all(sorted(seen) == list(range(1, len(seen) + 1)) for seen in counts.values())
        gone = time.monotonic() + 10
        while any(psutil.pid_exists(pid) for pid in counts) and time.monotonic() < gone:
            time.sleep(0.05)
        assert not any(psutil.pid_exists(pid) for pid in counts)


@pytest.mark.parametrize("how", ["exit", "SIGKILL"])
def test_a_warm_worker_that_dies_is_replaced_and_its_task_tried_again(pool, tmp_path, how):
    fn = partial(chores.die, folder=tmp_path, how=how, times=2)
    assert dict(pool.run(fn, range(6), warm=True)) == {i: i for i in range(6)}


def test_a_poisoned_task_of_warm_workers_is_named_and_the_others_finish(pool, tmp_path):
    fn = partial(chores.die, folder=tmp_path, how="SIGSEGV", times=99)
    with pytest.raises(TasksFailed, match=r"1 of 6 tasks failed:\n  task 2 \(crash"):
        dict(pool.run(fn, range(6), warm=True))


def test_a_warm_worker_that_runs_out_of_memory_gets_more_room(pool, tmp_path):
    fn = partial(chores.raise_at_first, folder=tmp_path, error=MemoryError("too much"), times=2)
    assert dict(pool.run(fn, range(5), warm=True)) == {i: i for i in range(5)}


@pytest.fixture(params=["local", pytest.param("ray", marks=pytest.mark.ray)])
def patient_pool(request):
    """A runner whose back-off outlasts a volley of kills, and the longest pause between two shots at it."""
    if request.param == "ray":
        yield request.getfixturevalue("ray_runner"), 0.4
        return
    with local(2, retries=Retries()) as started:
        yield started, 0.1


def test_workers_killed_from_outside_at_random_cost_nothing_but_time(patient_pool, tmp_path):
    runner, pause = patient_pool
    generator, stop = random.Random(7), threading.Event()

    def kill_workers():
        for _ in range(20):
            if stop.wait(generator.uniform(0.02, pause)):
                return
            at_work = [int(mark.name.split(".")[0]) for mark in tmp_path.glob("*.pid")]
            victims = [pid for pid in at_work if psutil.pid_exists(pid)]
            if victims:
                os.kill(generator.choice(victims), signal.SIGKILL)

    killer = threading.Thread(target=kill_workers)
    killer.start()
    try:
        results = dict(runner.run(partial(chores.touch_pid_and_square, folder=tmp_path), range(100)))
    finally:
        stop.set()
        killer.join()
    assert results == {i: i * i for i in range(100)}


def test_a_hundred_thousand_tasks_are_asked_for_one_at_a_time(runner):
    workers = runner.workers if isinstance(runner, LocalRunner) else 2
    count = 100_000 if workers == 1 else 2_000
    tasks = chores.Lazy(count)
    tracemalloc.start()
    try:
        seen, ahead = 0, 0
        for _ in runner.run(chores.length_of_padding, tasks):
            seen += 1
            ahead = max(ahead, tasks.read - seen)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert seen == count
    assert ahead <= 4 * workers + 1
    assert peak < 5_000_000


@pytest.mark.parametrize("name", ["OMP_NUM_THREADS", "NUMBA_NUM_THREADS", "RAYON_NUM_THREADS", "ARROW_IO_THREADS"])
def test_workers_compute_on_one_thread(pool, name):
    assert dict(pool.run(chores.environment, [name])) == {0: "1"}
