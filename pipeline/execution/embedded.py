"""The surroundings of a Ray cluster of our own: environment, a folder in /tmp, its logs, its end. Does not import ray.

Makes a folder `cm-ray-*` with Ray's sockets and logs. A small process of its own (`reaper`) ends what Ray leaves
running and removes the folder, whether the driver leaves in order or is killed.
"""

import contextlib
import os
import secrets
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pipeline.execution import reaper
from pipeline.execution.attempt import ONE_THREAD, cpus
from pipeline.execution.base import Settings

PREFIX = "cm-ray-"
# Ray refuses less than 75 MB.
LEAST_OBJECT_STORE_MB = 80
# Lines that Ray itself writes into the files of its workers' output.
RAY_LINES = (b":job_id:", b":task_name:", b":actor_name:")
# How long the driver waits for the reaper; it goes on by itself.
REAPER_S = 10.0

QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}
OWN_CLUSTER = {
    "RAY_AUTH_MODE": "token",
    # Ray reads its settings once a process, so one token serves all embedded clusters of a driver.
    "RAY_AUTH_TOKEN": secrets.token_hex(32),
    "RAY_worker_niceness": "0",  # 15 by default, which starves a worker beside anything else
    "RAY_task_events_max_num_task_in_gcs": "1000",
}


def quiet_environment(*, embedded: bool) -> None:
    """Set what Ray reads when it is imported.

    An embedded cluster listens on open ports, so it gets a token that only this process knows; a token file of the
    user's is neither read nor written.
    """
    os.environ.update(QUIET)
    if embedded:
        os.environ.update(OWN_CLUSTER)


class EmbeddedSession:
    """One embedded cluster's folder, options and end."""

    def __init__(self, settings: Settings):
        self._settings = settings
        # Paths of Unix sockets are at most 107 bytes and Ray's own part takes 70: TMPDIR may be too long.
        parent = Path("/tmp") if os.access("/tmp", os.W_OK) else Path(tempfile.gettempdir())
        self.folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
        lifeline, self._lifeline = os.pipe()
        self._reaper = subprocess.Popen(
            [sys.executable, "-I", reaper.__file__, str(lifeline), str(self.folder)],
            pass_fds=(lifeline,),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is not for it
        )
        os.close(lifeline)

    def options(self) -> dict[str, Any]:
        """Return the arguments of `ray.init`."""
        return {
            "address": "local",  # never the cluster of a stranger on this host, nor the one in RAY_ADDRESS
            "num_cpus": self._settings.workers or cpus(),
            "num_gpus": None if self._settings.gpus_per_warm_worker else 0,  # None: Ray looks for them
            "include_dashboard": False,
            "object_store_memory": max(LEAST_OBJECT_STORE_MB, self._settings.object_store_mb) * 1_000_000,
            "_temp_dir": str(self.folder),
            "_node_ip_address": "127.0.0.1",  # a laptop's address may change under a running build
        }

    @contextlib.contextmanager
    def environment(self) -> Iterator[None]:
        """Set what Ray's processes inherit while they are started: one thread, and the driver's import path."""
        paths = dict.fromkeys(os.path.abspath(path) for path in sys.path if os.path.isdir(path or "."))
        inherited = {**ONE_THREAD, "PYTHONPATH": os.pathsep.join(paths), "PYTHONUNBUFFERED": "1"}
        before = {name: os.environ.get(name) for name in inherited}
        os.environ.update(inherited)
        try:
            yield
        finally:
            for name, value in before.items():
                if value is None:
                    os.environ.pop(name, None)
                else:
                    os.environ[name] = value

    def close(self) -> None:
        """Append what the workers printed to the log, and let the reaper end the rest."""
        if self._settings.log:
            with self._settings.log.open("ab") as log:
                log.writelines(self._printed())
        os.close(self._lifeline)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._reaper.wait(REAPER_S)

    def _printed(self) -> Iterator[bytes]:
        for path in sorted(self.folder.glob("session_2*/logs/worker-*.*")):
            with contextlib.suppress(OSError), path.open("rb") as file:
                for line in file:
                    if not line.startswith(RAY_LINES):
                        yield line
