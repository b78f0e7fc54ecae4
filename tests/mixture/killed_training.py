"""Train proxies, saving after every step and dying by SIGKILL behind the steps given: `python -m ... ROOT STEPS`."""

import os
import signal
import sys
from pathlib import Path

from pipeline.mixture import proxies
from pipeline.proxy.training import Training
from tests.mixture.proxies import World


def main() -> None:
    root, left = Path(sys.argv[1]), int(sys.argv[2])
    proxies.SAVED_EVERY_S = 0.0
    learn = Training.learn

    def learn_or_die(self, rows_BT):
        nonlocal left
        if not left:
            os.kill(os.getpid(), signal.SIGKILL)
        left -= 1
        learn(self, rows_BT)

    Training.learn = learn_or_die
    World(root).train("out")


if __name__ == "__main__":
    main()
