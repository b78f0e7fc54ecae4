"""A driver for the tests that kill one: `python -m tests.execution.driver RUNNER FOLDER` starts tasks of a minute.

Its log goes to FOLDER/log. On Ctrl-C it prints "interrupted" and exits with 130.
"""

import sys
from functools import partial
from pathlib import Path

from pipeline.execution import Settings, runner_for
from tests.execution import chores


def main(kind: str, folder: Path) -> int:
    settings = Settings(runner=kind, workers=2, log=folder / "log")
    try:
        with runner_for(settings) as runner:
            list(runner.run(partial(chores.tell_and_sleep, folder=folder), range(4)))
    except KeyboardInterrupt:
        print("interrupted")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], Path(sys.argv[2])))
