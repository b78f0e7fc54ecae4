import pytest

from pipeline.execution.attempt import Report, classify
from pipeline.execution.base import Retries
from pipeline.execution.schedule import KEPT_TRACEBACKS, Schedule

IO = Report("io", "the disk hiccups")
MEMORY = Report("memory", "too much")


class Clock:
    """A clock that moves when told."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock():
    return Clock()


def schedule(total, clock, **retries):
    return Schedule(total, Retries(**retries), memory_alone=True, clock=clock)


def test_fresh_tasks_come_in_order(clock):
    plan = schedule(3, clock)
    assert [plan.take(0) for _ in range(4)] == [0, 1, 2, None]
    assert plan.drained


def test_a_retry_waits_its_time_and_then_goes_first(clock):
    plan = schedule(9, clock, backoff_s=1.0)
    plan.refused(plan.take(0), IO)
    assert plan.take(1) == 1
    assert plan.wait_s(1, 60) == pytest.approx(1.0)
    clock.now += 1.0
    assert plan.take(1) == 0


def test_waits_double_up_to_the_cap(clock):
    plan = schedule(1, clock, io=5, backoff_s=1.0, backoff_cap_s=3.0)
    waits = []
    for _ in range(4):
        plan.refused(plan.take(0), IO)
        waits.append(plan.wait_s(0, 60))
        clock.now += waits[-1]
    assert waits == pytest.approx([1.0, 2.0, 3.0, 3.0])


def test_outside_kills_are_counted_apart_from_the_task_s_own(clock):
    plan = schedule(1, clock, crash=8, poisoned=3, backoff_s=0)
    for _ in range(8):
        plan.lost(plan.take(0), "killed", guilty=False)
    assert not plan.failures
    plan.lost(plan.take(0), "killed", guilty=False)
    assert [(failure.kind, failure.attempts) for failure in plan.failures] == [("crash", 9)]


def test_three_deaths_of_its_own_doing_poison_a_task(clock):
    plan = schedule(1, clock, backoff_s=0)
    plan.lost(plan.take(0), "killed", guilty=False)
    for _ in range(3):
        plan.lost(plan.take(0), "segfault", guilty=True)
    assert [(failure.kind, failure.attempts) for failure in plan.failures] == [("crash", 4)]
    assert plan.unsettled == 0


def test_a_task_that_ran_out_of_memory_waits_until_it_is_alone_and_stays_so(clock):
    plan = schedule(3, clock, backoff_s=0)
    first, second = plan.take(0), plan.take(1)
    plan.refused(first, MEMORY)
    assert plan.take(1) == 2
    assert plan.take(2) is None
    assert plan.wait_s(2, 7.0) == 7.0
    plan.done(second)
    plan.done(2)
    assert plan.take(0) == first
    assert plan.memory_failures(first) == 1


def test_a_task_given_back_costs_no_attempt(clock):
    plan = schedule(1, clock, io=0)
    for _ in range(50):
        plan.give_back(plan.take(0))
    plan.done(plan.take(0))
    assert not plan.failures
    assert plan.unsettled == 0


def test_tracebacks_are_kept_for_the_first_failures_only(clock):
    plan = schedule(KEPT_TRACEBACKS + 5, clock)
    for _ in range(KEPT_TRACEBACKS + 5):
        plan.refused(plan.take(0), Report("bug", "no", "a long traceback"))
    assert sum(bool(failure.traceback) for failure in plan.failures) == KEPT_TRACEBACKS
    assert len(plan.failures) == KEPT_TRACEBACKS + 5


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (ValueError(), "bug"),
        (FileNotFoundError(), "bug"),
        (PermissionError(), "bug"),
        (OSError("disk"), "io"),
        (ConnectionResetError(), "io"),
        (TimeoutError(), "io"),
        (MemoryError(), "memory"),
        (SystemExit(), "bug"),
    ],
)
def test_exceptions_fall_into_classes(error, kind):
    assert classify(error) == kind
