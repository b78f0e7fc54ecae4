"""Kill a build at twenty moments, drivers and workers alike, and run the same command again until it is done."""

import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pyarrow.parquet as pq
import pytest

from pipeline import store
from pipeline.files import checksum
from tests.corpora import raw_rows, road, tree, write_raw, write_yaml

REPOSITORY = Path(__file__).parents[1]
KILLS = 20
LEAST = 3
"""Of each kind; a busy machine may leave few moments at which a worker is there to be hit."""
PATIENCE_S = 300

pytestmark = pytest.mark.slow


class Builds:
    """The same build of the sources in `folder`, again and again, on one profile."""

    def __init__(self, folder: Path, runner: str):
        recipe = write_yaml(folder / "recipe.yaml", road(folder / "raw"))
        self.root = folder / f"root-{runner}"
        profile = {"root": str(self.root), "runner": runner, "workers": 2}
        profile_path = write_yaml(folder / f"{runner}.yaml", profile)
        self._command = [sys.executable, "-m", "pipeline", "build", str(recipe), "--on", str(profile_path)]
        self._screen = folder / "screen.txt"

    def start(self) -> subprocess.Popen:
        with self._screen.open("wb") as screen:
            return subprocess.Popen(self._command, cwd=REPOSITORY, stdout=screen, stderr=screen)

    def finish(self, driver: subprocess.Popen) -> dict[str, bytes]:
        """Wait for a driver that must end well; return every file of the corpora it has built."""
        assert driver.wait(PATIENCE_S) == 0, self._screen.read_text()
        return tree(self.root / "corpora")


def workers_of(driver: subprocess.Popen) -> list[psutil.Process]:
    """Return the processes that run tasks for `driver`: the local pool's, or Ray's, at work or idle."""
    workers = []
    with contextlib.suppress(psutil.NoSuchProcess):
        for process in psutil.Process(driver.pid).children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                if is_worker(process.name(), process.cmdline()):
                    workers.append(process)
    return workers


def is_worker(name: str, command: list[str]) -> bool:
    return name.startswith(("ray::serve", "ray::IDLE")) or any("execution.worker" in word for word in command)


def check_nothing_is_partial(root: Path) -> None:
    """Whatever has a final name is whole: what records and manifests name has its checksum, Parquet and JSON open."""
    for folder in (root / "corpora").glob("*"):
        for key in store.recorded(folder, "data"):
            record = store.Record.from_json(store.record_path(folder, "data", key).read_bytes())
            for shard in (*record.shards, *record.files):
                assert checksum(folder / "data" / shard.name) == shard.checksum, (folder, shard)
        corpus = store.open_corpus(folder)
        if corpus is not None:
            assert not store.damage(corpus, checksums=True)
        for path in (folder / "data").rglob("*.parquet"):
            pq.ParquetFile(path, page_checksum_verification=True).read()
    for path in root.rglob("*.json"):
        if not path.name.startswith("."):
            json.loads(path.read_bytes())


@pytest.mark.parametrize("runner", ["local", pytest.param("ray", marks=pytest.mark.ray)])
def test_a_build_killed_anywhere_ends_with_the_same_bytes(runner, tmp_path):
    write_raw(tmp_path / "raw", raw_rows(60))
    calm = Builds(tmp_path, "local")
    undisturbed = calm.finish(calm.start())  # compiles the kernels too, so that the next build takes its usual time
    shutil.rmtree(calm.root)
    builds = Builds(tmp_path, runner)
    started = time.monotonic()
    assert builds.finish(builds.start()) == undisturbed
    usual_s = time.monotonic() - started
    shutil.rmtree(builds.root)

    generator = random.Random(20)
    victims = {"driver": 0, "worker": 0}
    driver = builds.start()
    while sum(victims.values()) < KILLS or min(victims.values()) < LEAST:
        moment = generator.uniform(0, 0.7 * usual_s)  # what is left of a build gets shorter with every try
        try:
            driver.wait(moment)
        except subprocess.TimeoutExpired:
            if generator.random() < 0.5 or victims["driver"] > KILLS - LEAST:
                workers = workers_of(driver)
                if workers:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(generator.choice(workers).pid, signal.SIGKILL)
                    victims["worker"] += 1
                continue  # this driver must get over it
            driver.kill()
            driver.wait()
            victims["driver"] += 1
            check_nothing_is_partial(builds.root)
            driver = builds.start()
        else:
            assert builds.finish(driver) == undisturbed
            shutil.rmtree(builds.root)
            driver = builds.start()
    assert builds.finish(driver) == undisturbed
    check_nothing_is_partial(builds.root)
