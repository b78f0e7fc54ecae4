"""Is the Ray cluster there, how large is it now, and does its head still answer? Is handed ray, does not import it.

Asked every few seconds, because Ray itself waits a minute for a lost head and then ends the driver without an
exception.
"""

import os
import socket
import time
from pathlib import Path
from typing import Any

from pipeline.errors import RunnerError
from pipeline.execution.base import Settings

# How often the cluster is looked at: its CPUs come and go, its head may be lost.
LOOK_S = 5.0
# Where `ray start` writes the address of its cluster, and `ray stop` removes it.
CURRENT_CLUSTER = Path("/tmp/ray/ray_current_cluster")

AGAIN = "finished shards are kept: run the same command again to go on"


class Cluster:
    """What is known of the cluster: how many CPUs and GPUs it has now, and whether its head still answers."""

    def __init__(self, ray: Any, settings: Settings):
        self._ray = ray
        self._settings = settings
        self._head = ray.get_runtime_context().gcs_address
        node = getattr(ray._private.worker, "_global_node", None)
        self._raylet = getattr(node, "raylet_socket_name", None)
        self._answered = self._had_cpus = time.monotonic()
        self._looked = float("-inf")
        self.slots = 1
        self.gpus = 0.0

    def look(self) -> None:
        """Look again if the last look is some seconds old.

        Raises:
            RunnerError: the head has not answered for too long, or no node with a CPU has come.
        """
        now = time.monotonic()
        if now - self._looked < LOOK_S:
            return
        self._looked = now
        if not self._raylet_answers():  # in some seconds Ray would end this process without a word
            raise RunnerError(f"the Ray cluster is gone: the driver's own node (raylet) died\n{AGAIN}")
        if not answers(self._head):
            if now - self._answered > self._settings.head_lost_s:
                raise RunnerError(f"the Ray cluster is gone: its head {self._head} does not answer\n{AGAIN}")
            return
        self._answered = now
        resources = self._ray.cluster_resources()
        cpus, self.gpus = int(resources.get("CPU", 0)), float(resources.get("GPU", 0))
        self._had_cpus = now if cpus else self._had_cpus
        if now - self._had_cpus > self._settings.no_cpu_s:
            raise RunnerError(f"the Ray cluster at {self._head} has had no CPU for {self._settings.no_cpu_s:.0f} s")
        self.slots = max(1, cpus)

    def more_memory(self, failures: int) -> int:
        """Return the bytes to reserve for a task that has run out of memory so often: a slot's share, doubled each
        time.

        Never more than the largest node has, or the task would wait for ever.
        """
        nodes = [node["Resources"] for node in self._ray.nodes() if node["Alive"]]
        largest: dict[str, float] = max(nodes, key=lambda resources: resources.get("memory", 0), default={})
        memory = int(largest.get("memory", 0))
        return min(memory, int(memory / max(1.0, largest.get("CPU", 1.0))) * 2**failures)

    def _raylet_answers(self) -> bool:
        if not self._raylet or not os.path.exists(self._raylet):
            return True  # not where this version of Ray keeps it
        with socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(LOOK_S)
            try:
                probe.connect(self._raylet)
            except (ConnectionError, FileNotFoundError):
                return False
            except OSError:
                return True  # busy
        return True


def require_head(address: str) -> None:
    """Make sure that something listens at `address`; Ray itself would try for minutes.

    Raises:
        RunnerError: nothing does, or no cluster is known on this machine.
    """
    if address == "auto":
        address = os.environ.get("RAY_ADDRESS", "")
        if not address and CURRENT_CLUSTER.exists():
            address = CURRENT_CLUSTER.read_text().strip()
        if not address:
            raise RunnerError(
                "no Ray cluster is known here (address: auto): start one with `ray start --head`, set RAY_ADDRESS, "
                "or submit the build to one: ray job submit --working-dir . -- python jobs/build.py RECIPE --on PROFILE"
            )
    if "://" in address:
        raise RunnerError(
            f"the Ray address {address!r} is that of a remote client; give the head's own, HOST:6379, "
            "or submit the build: ray job submit --working-dir . -- python jobs/build.py RECIPE --on PROFILE"
        )
    if not answers(address):
        raise RunnerError(
            f"no Ray cluster answers at {address}; nothing has run: "
            "is it up (`ray status`), and is the profile's `address` right?"
        )


def answers(address: str) -> bool:
    """Return whether something accepts connections at "host:port"."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=LOOK_S).close()
    except (OSError, ValueError):
        return False
    return True
