"""Every runner there is, quick to try again; one embedded Ray serves all tests of this folder."""

import pytest

from pipeline.execution import LocalRunner, Retries, Runner, Settings, TasksFailed

QUICK = Retries(backoff_s=0.01, backoff_cap_s=0.05)


def local(workers: int, log=None, retries: Retries = QUICK) -> LocalRunner:
    return LocalRunner(workers, Settings(retries=retries, log=log))


def failures_of(runner: Runner, fn, tasks):
    """Run to the end and return (results by index, failures by index)."""
    results = {}
    with pytest.raises(TasksFailed) as caught:
        results.update(runner.run(fn, tasks))
    return results, {failure.index: failure for failure in caught.value.failures}


@pytest.fixture(scope="package")
def ray_runner(tmp_path_factory):
    from pipeline.execution.cluster import RayRunner

    log = tmp_path_factory.mktemp("ray") / "log"
    retries = Retries(backoff_s=0.05, backoff_cap_s=0.5)
    # Second attempts of stragglers start soon, so that one test can wait for one.
    with RayRunner(Settings(runner="ray", workers=2, retries=retries, log=log, straggler_s=2.0)) as runner:
        yield runner


@pytest.fixture(params=["local 1", "local 2", "local 3", pytest.param("ray", marks=pytest.mark.ray)])
def runner(request):
    """Each runner in turn."""
    if request.param == "ray":
        yield request.getfixturevalue("ray_runner")
        return
    with local(int(request.param[-1])) as started:
        yield started


@pytest.fixture(params=["local 2", pytest.param("ray", marks=pytest.mark.ray)])
def pool(request, tmp_path):
    """Each runner that has processes of its own."""
    if request.param == "ray":
        yield request.getfixturevalue("ray_runner")
        return
    with local(2, log=tmp_path / "log") as started:
        yield started


@pytest.fixture
def local_pool(tmp_path):
    """Two local processes; their log is `tmp_path / "log"`."""
    with local(2, log=tmp_path / "log") as started:
        yield started
