"""Outlive the driver of an embedded Ray cluster by a moment, to end what the cluster has left. Standard library only.

Run as a script: `python -I reaper.py LIFELINE FOLDER`. Waits until file descriptor LIFELINE closes, which happens when
the driver says so or dies, however it dies. Then every process that is writing a file in FOLDER is killed, and the
folder is removed. Ray alone takes a minute: its agents first try to tell the head, dead too, about it.
"""

import contextlib
import os
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

# Processes may start others while they are being looked for; after this many clean looks there is none left.
LOOKS = 3
PAUSE_S = 0.1


def main(lifeline: int, folder: str) -> None:
    """Wait, kill, remove."""
    driver = os.getppid()
    with contextlib.suppress(OSError):
        os.read(lifeline, 1)
    clean = 0
    while clean < LOOKS:
        found = [pid for pid in writing_to(folder) if pid != driver]
        for pid in found:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        clean = 0 if found else clean + 1
        time.sleep(PAUSE_S)
    shutil.rmtree(folder, ignore_errors=True)


def writing_to(folder: str) -> Iterator[int]:
    """Yield the processes that have a file in `folder` open for writing; none where there is no /proc.

    Neither command lines nor environments tell Ray's processes: they write their titles over both.
    """
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if any(_writes(process, number, folder) for number in os.listdir(process / "fd")):
                yield int(process.name)


def _writes(process: Path, number: str, folder: str) -> bool:
    if not os.readlink(process / "fd" / number).startswith(f"{folder}/"):
        return False
    information = (process / "fdinfo" / number).read_text()
    flags = next(int(line.split()[1], 8) for line in information.splitlines() if line.startswith("flags:"))
    return flags & os.O_ACCMODE != os.O_RDONLY


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
